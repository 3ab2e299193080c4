//! Entries combine by rule, key, step and direction; many values as few do.

use super::*;
use crate::engine::space::Key;
use crate::engine::tally::Values;

fn add(pending: &mut Pending, key: &str, step: i64, offset: i64, value: u64) {
    let id = format!("e{offset}");
    let slot = Slot {
        at: 0,
        rule: 7,
        key: &Key::new(key),
        step,
        reversal: false,
        id: &id,
        event_ts: offset,
        offset,
    };
    let values = [(value, offset)];
    let of = Added { count: 1, sum: 2, max: Some(offset), values: Values::Pairs(&values) };
    pending.add(&slot, offset, (&of, &Added::default()));
}

#[test]
fn entries_stand_in_order_of_coming_with_their_last_event() {
    let mut pending = Pending::default();
    for (offset, (key, step)) in [("a", 0), ("b", 0), ("a", 0), ("a", 1)].into_iter().enumerate() {
        add(&mut pending, key, step, i64::try_from(offset).unwrap(), 1);
    }
    let entries: Vec<_> = pending.entries().collect();
    let told: Vec<_> =
        entries.iter().map(|one| (one.key, one.step, one.of.count, one.mark.id, one.ts)).collect();
    assert_eq!(told, [("a", 0, 2, "e2", 2), ("b", 0, 1, "e1", 1), ("a", 1, 1, "e3", 3)]);
    pending.clear();
    assert!(pending.is_empty());
}

#[test]
fn many_values_are_kept_once_each_with_their_latest_time() {
    let mut pending = Pending::default();
    for offset in 0..1000 {
        add(&mut pending, "k", 0, offset, u64::try_from(offset % 300).unwrap() << 40);
    }
    let entries: Vec<_> = pending.entries().collect();
    let [entry] = &entries[..] else { unreachable!("one key, one step") };
    assert_eq!((entry.of.count, entry.of.sum, entry.of.max), (1000, 2000, Some(999)));
    let expected: Vec<(u64, i64)> = (0..300)
        .map(|value: i64| {
            let last = if value < 100 { 900 + value } else { 600 + value };
            (u64::try_from(value).unwrap() << 40, last)
        })
        .collect();
    assert_eq!(entry.of.values.iter().collect::<Vec<_>>(), expected);
}
