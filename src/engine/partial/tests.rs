//! Records that would be too large are taken apart, and nothing is lost by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::engine::tally::{Tally, Values};

fn slot<'a>(key: &'a Key<'a>, id: &'a str) -> Slot<'a> {
    Slot { at: 0, rule: 9, key, step: 0, reversal: false, id, event_ts: 7, offset: 3 }
}

fn outbox(keys: &[(&str, u64, u64)]) -> PartialsOutbox {
    let mut outbox = PartialsOutbox::default();
    for (name, of, to) in keys {
        let side = |count: u64| (0..count).map(|value| (value, 7)).collect::<Vec<_>>();
        let (of, to) = (side(*of), side(*to));
        let added =
            |values| Added { count: 2, sum: 20, max: Some(5), values: Values::Pairs(values) };
        let key = Key::new(name);
        outbox.pending.add(&slot(&key, "e"), 7, (&added(&of), &added(&to)));
    }
    outbox
}

fn drain(outbox: &mut PartialsOutbox) -> Vec<(u32, Vec<u8>)> {
    let from = Origin { topic: Arc::from("points.events"), partition: 1 };
    outbox.drain(&from, Some(EventTime(7)), 1, false, false)
}

#[test]
fn what_fits_is_one_record_with_the_watermark() {
    let records = drain(&mut outbox(&[("a", 1, 0), ("b", 0, 0)]));
    let [(0, record)] = &records[..] else { unreachable!("one destination") };
    let batch = Batch::decode(record).unwrap();
    assert_eq!(batch.watermark, Some(7));
    assert_eq!(batch.entries.iter().map(|entry| entry.key).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn nothing_to_say_is_no_record_until_the_watermark_moves() {
    let mut outbox = outbox(&[]);
    assert_eq!(drain(&mut outbox).len(), 1);
    assert_eq!(drain(&mut outbox), []);
}

#[test]
fn records_are_small_and_add_up_to_the_whole() {
    let keys = [("a", 90_000, 3), ("b", 2, 70_000), ("c", 40_000, 40_000), ("d", 1, 0)];
    let records = drain(&mut outbox(&keys));
    assert!(records.len() > 10);
    let mut sums: BTreeMap<String, (Tally, Tally)> = BTreeMap::new();
    for (at, (_, record)) in records.iter().enumerate() {
        assert!(record.len() <= RECORD_MAX + RECORD_MAX / 8, "{} bytes", record.len());
        let batch = Batch::decode(record).unwrap();
        // Only the last record moves the watermark.
        assert_eq!(batch.watermark.is_some(), at + 1 == records.len());
        for entry in &batch.entries {
            let (of, to) = sums.entry(entry.key.to_owned()).or_default();
            for (sum, side) in [(of, &entry.of), (to, &entry.to)] {
                sum.values.extend(side.values.iter());
                sum.add_numbers(side);
            }
        }
    }
    for (name, of, to) in keys {
        let (of_sum, to_sum) = &sums[name];
        assert_eq!(of_sum.values.len() as u64, of, "{name}");
        assert_eq!(to_sum.values.len() as u64, to, "{name}");
        assert_eq!((of_sum.count, of_sum.sum, of_sum.max), (2, 20, Some(5)), "{name}");
        assert_eq!((to_sum.count, to_sum.sum), (2, 20), "{name}");
    }
}

#[test]
fn times_that_no_event_has_make_a_record_unreadable() {
    let records = drain(&mut outbox(&[("a", 1, 0)]));
    let whole = Batch::decode(&records[0].1).unwrap();
    assert!(whole.is_sound());
    let mark = whole.entries[0].mark;
    for wrong in [-1, i64::MIN, i64::MAX, EventTime::MAX.0 + 1] {
        let far = EntryMark { ts: wrong, ..mark };
        assert!(!Batch { watermark: Some(wrong), ..whole.clone() }.is_sound());
        assert!(!Batch { mover: Some(far), ..whole.clone() }.is_sound());
        for entry in
            [Entry { ts: wrong, ..whole.entries[0] }, Entry { mark: far, ..whole.entries[0] }]
        {
            assert!(!Batch { entries: vec![entry], ..whole.clone() }.is_sound());
        }
    }
}
