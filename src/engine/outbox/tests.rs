//! Entries combine by rule, key, step and direction; many values as few do.

use proptest::collection::vec;
use proptest::prelude::*;

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

/// What a contribution may bring: numbers, values, several of them, or nothing.
fn brought() -> impl Strategy<Value = (Tally, i64)> {
    let number = prop_oneof![Just(0_i64), -3..100_i64, Just(i64::MAX), Just(i64::MIN)];
    let max = proptest::option::of(-3..100_i64);
    let value = prop_oneof![3 => 0..2_u64, 1 => 0..40_u64];
    let one = (0..6_usize, -3..100_i64, number, max, value, 0..50_i64);
    let one = one.prop_map(|(form, count, sum, max, value, ts)| {
        let tally = match form {
            0 => Tally { count, ..Tally::default() },
            1 => Tally { sum, ..Tally::default() },
            2 => Tally { max, ..Tally::default() },
            3 => Tally { values: [(value, ts)].into_iter().collect(), ..Tally::default() },
            4 => Tally {
                values: [(value, ts / 2), (value + 7, ts)].into_iter().collect(),
                ..Tally::default()
            },
            _ => Tally { count, sum, max, values: [(value, ts)].into_iter().collect() },
        };
        (tally, ts)
    });
    // Mostly of one form, as a rule brings it.
    prop_oneof![3 => one.clone(), 1 => one.prop_map(|(_, ts)| (Tally::default(), ts))]
}

proptest! {
    #[test]
    fn entries_hold_what_a_tally_would(
        form in 0..6_usize,
        all in vec(brought(), 1..40),
        same in any::<bool>(),
    ) {
        let is_form = |tally: &Tally| match form {
            0 => tally.count != 0,
            1 => tally.sum != 0,
            2 => tally.max.is_some(),
            _ => !tally.values.is_empty(),
        };
        let all = all.into_iter().filter(|(tally, _)| !same || is_form(tally) || *tally == Tally::default());
        let mut pending = Pending::default();
        let (mut of, mut to, mut latest) = (Tally::default(), Tally::default(), i64::MIN);
        let mut told = None;
        for (offset, (tally, ts)) in (0..).zip(all) {
            let slot = Slot {
                at: 0,
                rule: 7,
                key: &Key::new("k"),
                step: 0,
                reversal: false,
                id: "e",
                event_ts: ts,
                offset,
            };
            let other = if ts % 5 == 0 { tally.view() } else { NOTHING };
            let saturated = pending.add(&slot, ts, (&tally.view(), &other));
            let over = (of.add(&tally.view()), to.add(&other));
            prop_assert_eq!(saturated, over.0 || over.1);
            latest = latest.max(ts);
            let entry = pending.entries().next().unwrap();
            told = Some((entry.of == of.view(), entry.to == to.view(), entry.ts == latest));
            prop_assert_eq!(told, Some((true, true, true)), "{:?} is not {:?}", entry, (&of, &to));
        }
        prop_assert!(told.is_none() || pending.len() == 1);
    }
}
