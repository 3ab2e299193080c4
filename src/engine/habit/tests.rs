//! Half a line says what was put into it; a table of both forms is a map.

use proptest::prelude::*;

use crate::engine::rows::Held;
use crate::engine::table::Table;

use super::*;

const DAY_MS: i64 = 86_400_000;

fn day(n: i64) -> Span {
    Span { start: n * DAY_MS, end: (n + 1) * DAY_MS }
}

/// What a counter has beside its key; some of it is too much for half a line.
fn body() -> impl Strategy<Value = ZCell> {
    let value = prop_oneof![
        8 => -1000..1000_i64,
        1 => Just(i64::from(i32::MAX)),
        1 => Just(i64::from(i32::MIN)),
        1 => any::<i64>(),
    ];
    let open = (0..5_i64, value, any::<bool>(), any::<bool>());
    let open = prop::collection::vec(open, 0..3);
    let windows = prop_oneof![6 => 0..100_u32, 1 => Just(65_535), 1 => Just(65_536)];
    let empties = prop_oneof![6 => 0..40_u32, 1 => Just(EMPTIES_MAX), 1 => Just(EMPTIES_MAX + 1)];
    let numbers = (any::<f64>(), 0.0..1e12_f64, windows, empties);
    let marks = (any::<bool>(), any::<bool>(), prop::option::weighted(0.1, 0..9_u8), 0..5_i64);
    (numbers, marks, open).prop_map(|(numbers, marks, open)| {
        let (mean, var, windows, empties) = numbers;
        let (armed_above, armed_below, values, next) = marks;
        let values = values.map(|values| Box::new((0..values).map(f64::from).collect()));
        let open = open.into_iter().map(|(n, value, events, fired)| {
            let span = day(n);
            OpenWindow { span, sum: Sum::Number(value), events, fired }
        });
        ZCell {
            series: Series { mean, var, values, windows },
            next: day(next),
            open: open.collect(),
            empties,
            armed_above,
            armed_below,
            usual: None,
        }
    })
}

fn fits(body: &ZCell) -> bool {
    let small = |open: &OpenWindow| i32::try_from(open.sum.value()).is_ok();
    body.series.values.is_none()
        && body.series.windows <= 65_535
        && body.empties <= EMPTIES_MAX
        && body.open.len() <= 1
        && body.open.iter().all(small)
}

fn cell(key: u32, body: &ZCell) -> Cell {
    Cell { key, fired: 0, body: Body::ZScore(Box::new(body.clone())) }
}

proptest! {
    #[test]
    fn what_fits_comes_out_as_it_went_in(body in body(), key: u32) {
        let mut periods = Periods::default();
        let whole = cell(key, &body);
        let habit = Habit::pack(&whole, &mut periods);
        prop_assert_eq!(habit.is_some(), fits(&body));
        if let Some(habit) = habit {
            prop_assert_eq!(format!("{:?}", habit.cell(key, &periods)), format!("{:?}", Some(whole)));
            let read = Habit::of_bytes(&habit.to_bytes());
            prop_assert_eq!(format!("{read:?}"), format!("{habit:?}"));
        }
    }

    /// A table against a list of (key, content): counters come, grow, shrink and go.
    #[test]
    fn a_table_of_both_forms_is_a_map(
        steps in prop::collection::vec((0..5_u8, 0..40_usize, body()), 1..150),
    ) {
        let mut table = Table::default();
        let mut model: Vec<(u32, Held, ZCell)> = Vec::new();
        let mut keys = 0;
        for (what, at, body) in steps {
            let known = (!model.is_empty()).then(|| at % model.len());
            match (what, known) {
                (0 | 1, _) => {
                    let held = table.insert_least(cell(keys, &body));
                    prop_assert_eq!(matches!(held, Held::Habit(_)), fits(&body));
                    model.push((keys, held, body));
                    keys += 1;
                }
                (2, Some(at)) => {
                    let (key, held, _) = model[at];
                    let place = table.grow(key, held);
                    model[at].1 = place.map_or(held, Held::Whole);
                    prop_assert!(matches!(model[at].1, Held::Whole(_)));
                }
                (3, Some(at)) => {
                    let (_, held, body) = &mut model[at];
                    if let Held::Whole(place) = held {
                        *held = table.shrink(*place as usize).unwrap_or(*held);
                        prop_assert_eq!(matches!(held, Held::Habit(_)), fits(body));
                    }
                }
                (4, Some(at)) => {
                    let (_, held, _) = model.remove(at);
                    table.remove(held);
                }
                _ => {}
            }
            prop_assert_eq!(table.len(), model.len());
            for (key, held, body) in &model {
                let held = table.get(*key, *held).unwrap();
                prop_assert_eq!(format!("{:?}", &*held), format!("{:?}", cell(*key, body)));
            }
        }
    }
}

#[test]
fn periods_that_nobody_is_in_make_room() {
    let mut table = Table::default();
    let body = |n: i64| ZCell {
        series: Series::new(),
        next: day(n),
        open: SmallVec::new(),
        empties: 0,
        armed_above: true,
        armed_below: true,
        usual: None,
    };
    // Ever new days, of which one is kept at a time.
    let mut held = table.insert_least(cell(0, &body(0)));
    for n in 1..5_000 {
        let next = table.insert_least(cell(0, &body(n)));
        assert!(matches!(next, Held::Habit(_)), "day {n}");
        table.remove(held);
        held = next;
    }
}
