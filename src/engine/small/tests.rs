//! Small counters say what was put into them.

use proptest::prelude::*;

use crate::engine::rows::Held;
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
    fn what_fits_comes_out_as_it_went_in(little in little(), key: u32) {
        let mut sizes = Sizes::default();
        let small = sizes.pack(little);
        prop_assert_eq!(small.is_some(), fits(&little));
        if let Some(small) = small {
            prop_assert_eq!(Small::of_bytes(&small.to_bytes(), small.is_odd), small);
            prop_assert_eq!(sizes.unpack(&small), Some(little));
            let cell = sizes.cell(key, &small).unwrap();
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
        let mut model: Vec<(u32, Held, Little)> = Vec::new();
        let mut keys = 0;
        for (what, at, little) in steps {
            if little.kind() != kind {
                continue;
            }
            let known = (!model.is_empty()).then(|| at % model.len());
            match (what, known) {
                (0 | 1, _) => {
                    let held = table.insert_little(keys, little);
                    prop_assert_eq!(matches!(held, Held::Small(_)), fits(&little));
                    model.push((keys, held, little));
                    keys += 1;
                }
                (2, Some(at)) => {
                    let (_, held, content) = &mut model[at];
                    if let Held::Small(small) = held
                        && table.small.sizes.repack(small, little)
                    {
                        *content = little;
                    }
                }
                (3, Some(at)) => {
                    let (key, held, _) = model[at];
                    let place = table.grow(key, held);
                    model[at].1 = place.map_or(held, Held::Whole);
                    prop_assert!(matches!(model[at].1, Held::Whole(_)));
                }
                (4, Some(at)) => {
                    let (_, held, content) = &mut model[at];
                    if let Held::Whole(place) = held {
                        *held = table.shrink(*place as usize).unwrap_or(*held);
                        prop_assert_eq!(matches!(held, Held::Small(_)), fits(content));
                    }
                }
                (5, Some(at)) => {
                    let (_, held, _) = model.remove(at);
                    table.remove(held);
                }
                _ => {}
            }
            prop_assert_eq!(table.len(), model.len());
            for (key, held, content) in &model {
                let cell = table.get(*key, *held).unwrap();
                prop_assert_eq!((cell.key, Little::of(&cell)), (*key, Some(*content)));
            }
        }
    }
}

#[test]
fn periods_without_counters_make_room() {
    let mut table = Table::default();
    let day = |n: i64| Span { start: n * DAY_MS, end: (n + 1) * DAY_MS };
    let one = |n: i64| Little::Calendar { span: day(n), number: 7, t: n * DAY_MS + 1 };
    let most = i64::try_from(PERIODS_MAX).unwrap();
    let all: Vec<Held> = (0..most).map(|n| table.small.insert(one(n)).unwrap()).collect();
    assert!(table.small.insert(one(most)).is_none(), "all periods have a counter");
    let again = table.small.insert(one(5)).unwrap();
    table.remove(all[3]);
    table.remove(again);
    let other = table.small.insert(one(most)).unwrap();
    let says = |table: &Table, held: Held| Little::of(&table.get(1, held).unwrap());
    assert_eq!(says(&table, other), Some(one(most)));
    assert_eq!(says(&table, all[5]), Some(one(5)));
}

#[test]
fn values_lie_in_an_even_and_an_odd_epoch() {
    let mut table = Table::default();
    let epoch = 1_i64 << 32;
    let one = |n: i64| Little::Value { hash: u64::MAX - 7, ts: n * epoch + epoch - 1 };
    let all = [-3, 8].map(|n| table.small.insert(one(n)).unwrap());
    assert!(table.small.insert(one(10)).is_none(), "there are values in another even one");
    assert!(table.small.insert(one(-1)).is_none(), "there are values in another odd one");
    let again = table.small.insert(one(8)).unwrap();
    table.remove(all[1]);
    assert!(table.small.insert(one(10)).is_none());
    table.remove(again);
    let other = table.small.insert(one(10)).unwrap();
    let says = |table: &Table, held: Held| Little::of(&table.get(1, held).unwrap());
    assert_eq!(says(&table, other), Some(one(10)));
    assert_eq!(says(&table, all[0]), Some(one(-3)));
}

#[test]
fn at_no_place_there_is_nothing() {
    let mut table = Table::default();
    for place in [0, 1, u32::MAX, u32::MAX - 1, 1 << 31] {
        assert!(
            table.get(1, Held::Whole(place)).is_none() && table.get_mut(place as usize).is_none()
        );
        assert!(
            table.grow(1, Held::Whole(place)).is_none() && table.shrink(place as usize).is_none()
        );
        table.near(place as usize);
    }
    assert_eq!(table.len(), 0);
}
