//! Each waits for its turn and comes once; few come at once.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::engine::plan::Form;
use crate::engine::space::hash_of;
use crate::rule::Period;

const DAY_MS: i64 = 86_400_000;

fn paces() -> [Pace; 3] {
    [
        Pace::of(Form::Calendar, Window::Calendar(Period::Day)),
        Pace::of(Form::Rolling, Window::Duration(600_000)),
        Pace::of(Form::Rolling, Window::Duration(90 * DAY_MS)),
    ]
}

#[test]
fn a_counter_goes_soon_after_it_matters_and_not_before() {
    for (pace, latest_ms) in paces().into_iter().zip([3_600_000, 2_000, 300_000]) {
        for key in ["u-1", "u-2", "一", ""] {
            for until in [i64::MIN, -1, 0, 1_763_780_000_000, i64::MAX] {
                let over = pace.slot_of(until, || hash_of(key)).over();
                assert_eq!(over, pace.slot(until, hash_of(key)).over());
                assert!(over > until || until == i64::MAX);
                assert!(over.saturating_sub(until) <= latest_ms, "{pace:?} {key} {until}: {over}");
            }
        }
    }
}

#[test]
fn of_a_day_that_is_over_few_go_at_once() {
    let (mut expiry, pace) = (Expiry::default(), paces()[0]);
    expiry.prepare(paces().into_iter().take(1));
    for key in 0..100_000 {
        expiry.push(pace.slot_of(DAY_MS, || hash_of(&format!("u-{key}"))), 0, key);
    }
    let (mut most, mut gone) = (0, 0);
    for watermark in (DAY_MS..DAY_MS + 3_600_000).step_by(1_000) {
        let mut now = 0;
        while let Some((_, due)) = expiry.due(watermark) {
            now += due.iter().map(|(_, keys)| keys.len()).sum::<usize>();
        }
        (most, gone) = (most.max(now), gone + now);
    }
    assert_eq!(gone, 100_000);
    assert!(most < 2 * 100_000 / LANES, "{most} at once");
}

#[derive(Debug, Clone)]
enum Act {
    /// A rule, a key, and until when it matters.
    Push(usize, u32, i64),
    Wait(usize, u32, i64),
    /// The watermark goes on.
    Go(i64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let place = || (0..3usize, 0..50u32, -20_000i64..4_000_000);
    let act = prop_oneof![
        4 => place().prop_map(|(rule, key, ahead)| Act::Push(rule, key, ahead)),
        1 => place().prop_map(|(rule, key, ahead)| Act::Wait(rule, key, ahead)),
        2 => (0i64..3_000_000).prop_map(Act::Go),
    ];
    prop::collection::vec(act, 0..200)
}

proptest! {
    /// All that waited for a watermark comes when it is reached, once, and nothing else does.
    #[test]
    fn each_comes_in_its_turn(acts in acts()) {
        let mut expiry = Expiry::default();
        expiry.prepare(paces().into_iter());
        let mut naive: BTreeMap<i64, Vec<(u32, u32)>> = BTreeMap::new();
        let mut now = 1_763_780_000_000;
        for act in acts {
            match act {
                Act::Push(rule, key, ahead) | Act::Wait(rule, key, ahead) => {
                    let slot = paces()[rule].slot_of(now + ahead, || hash_of(&key.to_string()));
                    let rule_number = u32::try_from(rule).unwrap();
                    if matches!(act, Act::Push(..)) {
                        expiry.push(slot, rule, key);
                    } else {
                        expiry.wait(slot, rule_number, key);
                    }
                    naive.entry(slot.over()).or_default().push((rule_number, key));
                }
                Act::Go(by) => {
                    now += by;
                    while let Some((over, due)) = expiry.due(now) {
                        let flat = due.iter().flat_map(|(rule, keys)| keys.iter().map(|key| (*rule, *key)));
                        let mut came: Vec<_> = flat.collect();
                        let (first, mut expected) = naive.pop_first().unwrap();
                        came.sort_unstable();
                        expected.sort_unstable();
                        prop_assert_eq!((over, came), (first, expected));
                    }
                    prop_assert!(naive.first_key_value().is_none_or(|(over, _)| *over > now));
                }
            }
        }
    }
}
