//! What is written is read; what is damaged is refused and nothing else happens.

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;

const RULES: [u64; 3] = [7, u64::MAX, 0];

fn added() -> impl Strategy<Value = (i64, i64, Option<i64>, Vec<(u64, i64)>)> {
    let value = (any::<u64>(), 946_684_800_000_i64..4_102_444_800_000);
    (any::<i64>(), any::<i64>(), any::<Option<i64>>(), prop::collection::vec(value, 0..4))
}

type Sides = (i64, i64, Option<i64>, Vec<(u64, i64)>);

#[derive(Debug, Clone)]
struct Case {
    rule: u32,
    key: String,
    step: i64,
    ts: i64,
    id: String,
    mark: (i64, i64),
    reversal: bool,
    of: Sides,
    to: Sides,
}

fn case() -> impl Strategy<Value = Case> {
    let mark = (any::<i64>(), any::<i64>());
    let texts = ("[a-z]{0,200}", "\\PC{0,20}");
    (0..3_u32, texts, any::<i64>(), any::<i64>(), mark, any::<bool>(), added(), added()).prop_map(
        |(rule, (key, id), step, ts, mark, reversal, of, to)| Case {
            rule,
            key,
            step,
            ts,
            id,
            mark,
            reversal,
            of,
            to,
        },
    )
}

fn view((count, sum, max, values): &Sides) -> Added<'_> {
    Added { count: *count, sum: *sum, max: *max, values: Values::Pairs(values) }
}

fn entry(case: &Case) -> Entry<'_> {
    Entry {
        rule: case.rule,
        key: &case.key,
        key_hash: hash_of(&case.key),
        step: case.step,
        reversal: case.reversal,
        ts: case.ts,
        of: view(&case.of),
        to: view(&case.to),
        mark: EntryMark { id: &case.id, ts: case.mark.0, offset: case.mark.1 },
    }
}

fn head(watermark: Option<i64>, mover: Option<EntryMark<'_>>) -> Batch<'_> {
    Batch {
        topic: "points.events",
        partition: 3,
        partitions: 12,
        watermark,
        tells: false,
        idle: watermark.is_none(),
        mover,
        rules: Cow::Borrowed(&RULES),
        entries: Vec::new(),
    }
}

fn record(cases: &[Case], watermark: Option<i64>) -> Vec<u8> {
    let mover = cases.first().map(|case| entry(case).mark);
    let mut letter = Letter::default();
    for case in cases {
        letter.push(&entry(case), &RULES);
    }
    let record = letter.seal(&head(watermark, mover));
    assert!(letter.is_empty());
    record
}

proptest! {
    #[test]
    fn a_record_reads_as_it_was_written(
        cases in prop::collection::vec(case(), 0..6),
        watermark in any::<Option<i64>>(),
    ) {
        let record = record(&cases, watermark);
        let read = Batch::decode(&record).unwrap();
        let mover = cases.first().map(|case| entry(case).mark);
        let expected = head(watermark, mover);
        prop_assert_eq!((read.topic, read.partition, read.partitions), ("points.events", 3, 12));
        prop_assert_eq!((read.watermark, read.idle), (expected.watermark, expected.idle));
        prop_assert_eq!(read.mover, mover);
        prop_assert_eq!(read.entries.len(), cases.len());
        for (read_entry, case) in read.entries.iter().zip(&cases) {
            let written = entry(case);
            prop_assert_eq!(read.rules[read_entry.rule as usize], RULES[case.rule as usize]);
            prop_assert_eq!(Entry { rule: case.rule, ..*read_entry }, written);
        }
    }

    #[test]
    fn a_damaged_record_is_no_panic(
        cases in prop::collection::vec(case(), 1..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let whole = record(&cases, Some(5));
        prop_assert_eq!(Batch::decode(&whole[..at.index(whole.len())]), None);
        let mut damaged = whole.clone();
        damaged[at.index(whole.len())] = byte;
        // It may still read as something; it must not panic or ask for much memory.
        let read = Batch::decode(&damaged);
        prop_assert!(read.is_none_or(|read| read.entries.len() <= whole.len() / 8));
    }

    #[test]
    fn noise_is_no_panic(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let noise = [vec![VERSION], noise].concat();
        let read = Batch::decode(&noise);
        prop_assert!(read.is_none_or(|read| read.entries.len() <= noise.len() / 8));
    }
}

#[test]
fn another_version_is_refused() {
    let mut record = record(&[], None);
    assert!(Batch::decode(&record).is_some());
    record[0] = 1;
    assert_eq!(Batch::decode(&record), None);
    assert_eq!(Batch::decode(&[]), None);
}
