//! Records that would be too large are taken apart, and nothing is lost by it.

use std::borrow::Cow;

use super::{Entry, EntryMark, Tally, split};

fn entry(key: &str, count: i64, values: u64) -> Entry<'_> {
    let values = (0..values).map(|value| (value, 7)).collect();
    let of = Tally { count, sum: count * 10, max: Some(5), values };
    Entry {
        rule: 1,
        key,
        step: 0,
        reversal: false,
        ts: 7,
        of: Cow::Owned(of),
        to: Cow::Owned(Tally { count: 1, ..Tally::default() }),
        mark: EntryMark { id: "e", ts: 7, offset: 3 },
    }
}

#[test]
fn what_fits_stays_together() {
    let parts = split(vec![entry("a", 1, 1), entry("b", 2, 0)], 1_000);
    assert_eq!(parts, [vec![entry("a", 1, 1), entry("b", 2, 0)]]);
    assert_eq!(split(Vec::new(), 1_000), [Vec::new()]);
}

#[test]
fn parts_are_small_and_add_up_to_the_whole() {
    let whole: Vec<Entry<'_>> = vec![entry("a", 9, 500), entry("b", 2, 3), entry("c", 1, 120)];
    let parts = split(whole.clone(), 1_000);
    assert!(parts.len() > 10);
    let mut sums: Vec<(String, Tally, Tally)> = Vec::new();
    for entry in parts.iter().flatten() {
        assert!(entry.of.values.len() <= 50);
        if let Some((_, of, to)) = sums.iter_mut().find(|(key, ..)| key == entry.key) {
            of.add(&entry.of);
            to.add(&entry.to);
        } else {
            let (of, to) = (entry.of.clone().into_owned(), entry.to.clone().into_owned());
            sums.push((entry.key.to_owned(), of, to));
        }
    }
    let expected = whole
        .into_iter()
        .map(|entry| (entry.key.to_owned(), entry.of.into_owned(), entry.to.into_owned()));
    assert_eq!(sums, expected.collect::<Vec<_>>());
}
