//! Small counters say what was put into them.

use proptest::prelude::*;

use crate::engine::table::Table;

use super::*;

const DAY_MS: i64 = 86_400_000;

fn little() -> impl Strategy<Value = Little> {
    let number = prop_oneof![
        -1000..1000_i64,
        Just(i64::from(i32::MAX)),
        Just(i64::from(i32::MIN)),
        Just(i64::from(i32::MAX) + 1),
        Just(i64::MIN),
        any::<i64>(),
    ];
    let ts = prop_oneof![
        1_763_740_800_000..1_763_740_900_000_i64,
        -5000..5000_i64,
        Just(i64::MAX),
        Just(i64::MIN),
        any::<i64>(),
    ];
    let rolling = (ts, number.clone()).prop_map(|(ts, value)| Little::Rolling(Entry { ts, value }));
    let calendar =
        (-3..3_i64, 1..40_i64, -2..90 * DAY_MS, number).prop_map(|(day, days, after, number)| {
            let start = day * DAY_MS;
            let span = Span { start, end: start + days * DAY_MS };
            Little::Calendar { span, number, t: start.saturating_add(after) }
        });
    // In an even and an odd epoch.
    let value = (any::<u64>(), 0..1_i64 << 33).prop_map(|(hash, ts)| Little::Value { hash, ts });
    prop_oneof![rolling, calendar, value]
}

/// What must fit: a number of 32 bits, and a time not too far behind the start of a period.
fn fits(little: &Little) -> bool {
    match little {
        Little::Rolling(entry) => i32::try_from(entry.value).is_ok(),
        Little::Value { .. } => true,
        Little::Calendar { span, number, t } => {
            i32::try_from(*number).is_ok() && u32::try_from(t - span.start).is_ok()
        }
    }
}

proptest! {
    #[test]
    fn what_fits_comes_out_as_it_went_in(little in little(), key in 0..ODD) {
        let mut sizes = Sizes::default();
        let small = sizes.pack(key, little);
        prop_assert_eq!(small.is_some(), fits(&little));
        if let Some(small) = small {
            prop_assert_eq!(small.key(), Some(key));
            prop_assert_eq!(sizes.unpack(&small), Some(little));
            let cell = sizes.cell(&small).unwrap();
            prop_assert_eq!((cell.key, cell.fired), (key, 0));
            prop_assert_eq!(Little::of(&cell), Some(little));
        }
    }

    /// A table against a list of (key, content): counters come, change, grow, shrink and go.
    #[test]
    fn a_table_of_both_forms_is_a_map(
        steps in prop::collection::vec((0..6_u8, 0..40_usize, little()), 1..200),
        kind in prop::sample::select(vec![Kind::Calendar, Kind::Rolling, Kind::Value]),
    ) {
        let mut table = Table::default();
        let mut model: Vec<(u32, u32, Little)> = Vec::new();
        let mut keys = 0;
        for (what, at, little) in steps {
            if little.kind() != kind {
                continue;
            }
            let known = (!model.is_empty()).then(|| at % model.len());
            match (what, known) {
                (0 | 1, _) => {
                    let place = table.insert_small(keys, little);
                    prop_assert_eq!(place.is_some(), fits(&little));
                    let place = place.unwrap_or_else(|| table.insert(little.cell(keys)));
                    model.push((keys, place, little));
                    keys += 1;
                }
                (2, Some(at)) => {
                    let (_, place, content) = &mut model[at];
                    if let Some((small, sizes)) = table.small_mut(*place)
                        && sizes.repack(small, little)
                    {
                        *content = little;
                    }
                }
                (3, Some(at)) => {
                    let place = table.grow(model[at].1);
                    model[at].1 = place.unwrap_or(model[at].1);
                    prop_assert!(table.get_mut(model[at].1).is_some());
                }
                (4, Some(at)) => {
                    let place = table.shrink(model[at].1);
                    model[at].1 = place.unwrap_or(model[at].1);
                    prop_assert_eq!(table.small_mut(model[at].1).is_some(), fits(&model[at].2));
                }
                (5, Some(at)) => {
                    let (_, place, _) = model.remove(at);
                    table.remove(place);
                    prop_assert!(!table.has(place) && table.get(place).is_none());
                }
                _ => {}
            }
            prop_assert_eq!(table.len(), model.len());
            for (key, place, content) in &model {
                prop_assert!(table.has(*place));
                let cell = table.get(*place).unwrap();
                prop_assert_eq!((cell.key, Little::of(&cell)), (*key, Some(*content)));
            }
            let mut held = table.keys();
            held.sort_unstable();
            prop_assert!(held.into_iter().eq(model.iter().map(|(key, ..)| *key)));
        }
    }
}

#[test]
fn periods_without_counters_make_room() {
    let mut table = Table::default();
    let day = |n: i64| Span { start: n * DAY_MS, end: (n + 1) * DAY_MS };
    let one = |n: i64| Little::Calendar { span: day(n), number: 7, t: n * DAY_MS + 1 };
    let most = i64::try_from(PERIODS_MAX).unwrap();
    let places: Vec<u32> = (0..most).map(|n| table.insert_small(1, one(n)).unwrap()).collect();
    assert_eq!(table.insert_small(2, one(most)), None, "all periods have a counter");
    let again = table.insert_small(2, one(5)).unwrap();
    table.remove(places[3]);
    table.remove(again);
    let other = table.insert_small(2, one(most)).unwrap();
    let says = |table: &Table, place: u32| Little::of(&table.get(place).unwrap());
    assert_eq!(says(&table, other), Some(one(most)));
    assert_eq!(says(&table, places[5]), Some(one(5)));
}

#[test]
fn values_lie_in_an_even_and_an_odd_epoch() {
    let mut table = Table::default();
    let epoch = 1_i64 << 32;
    let one = |n: i64| Little::Value { hash: u64::MAX - 7, ts: n * epoch + epoch - 1 };
    let places = [-3, 8].map(|n| table.insert_small(1, one(n)).unwrap());
    assert_eq!(table.insert_small(2, one(10)), None, "there are values in another even one");
    assert_eq!(table.insert_small(2, one(-1)), None, "there are values in another odd one");
    let again = table.insert_small(2, one(8)).unwrap();
    table.remove(places[1]);
    assert_eq!(table.insert_small(3, one(10)), None);
    table.remove(again);
    let other = table.insert_small(3, one(10)).unwrap();
    let says = |table: &Table, place: u32| Little::of(&table.get(place).unwrap());
    assert_eq!(says(&table, other), Some(one(10)));
    assert_eq!(says(&table, places[0]), Some(one(-3)));
    let key = table.insert_small(ODD, one(10));
    assert_eq!(key, None, "no key may look like one of an odd epoch");
}

#[test]
fn a_place_of_nobody_and_none_at_all_have_nothing() {
    let mut table = Table::default();
    for place in [0, 1, u32::MAX, u32::MAX - 1, 1 << 31] {
        assert!(!table.has(place) && table.get(place).is_none());
        assert!(table.grow(place).is_none() && table.shrink(place).is_none());
        table.near(place);
        table.remove(place);
    }
    assert_eq!(table.len(), 0);
}
