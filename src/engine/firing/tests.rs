//! Edges, levels, re-arming and cooldown, as rows of values.

use super::*;
use crate::rule::{Level, Severity};

/// The level that fires at each (time, value), `None` = quiet, `Some(9)` = suppressed.
fn check(
    bounds: &[i64],
    clear: Option<i64>,
    cooldown: Option<i64>,
    rows: &[(i64, i64, Option<usize>)],
) {
    let level = |bound: &i64| Level {
        bound: Number::Integer(*bound),
        forecast_ms: None,
        severity: Severity::Warning,
        then: Vec::new(),
    };
    let levels = Levels {
        side: Side::Above,
        clear: clear.map(Number::Integer),
        levels: bounds.iter().map(level).collect(),
    };
    let (mut fired, mut all) = (0, Cooldowns::default());
    for (now, value, expected) in rows {
        let mut cooldown =
            Cooldown { all: &mut all, rule: 0, key: 0, length_ms: cooldown, now: *now };
        let reading = Measured::Integer(*value).into();
        let got = match evaluate(&levels, reading, &mut fired, true, &mut cooldown) {
            Verdict::Quiet => None,
            Verdict::Suppressed => Some(9),
            Verdict::Fires(level) => Some(level),
        };
        assert_eq!(got, *expected, "at {now}");
    }
}

#[test]
fn an_edge_fires_once_and_again_after_it_has_cleared() {
    check(&[10], None, None, &[(0, 11, Some(0)), (1, 12, None), (2, 10, None), (3, 11, Some(0))]);
    check(
        &[10],
        Some(5),
        None,
        &[(0, 11, Some(0)), (1, 6, None), (2, 11, None), (3, 5, None), (4, 11, Some(0))],
    );
}

#[test]
fn the_highest_new_level_fires_and_the_lower_count_as_fired() {
    check(
        &[10, 20],
        None,
        None,
        &[(0, 25, Some(1)), (1, 15, None), (2, 25, Some(1)), (3, 9, None), (4, 15, Some(0))],
    );
}

#[test]
fn a_cooldown_ends_at_its_instant_and_lets_no_lower_level_through() {
    check(
        &[10],
        None,
        Some(100),
        &[(0, 11, Some(0)), (1, 9, None), (99, 11, Some(9)), (99, 9, None), (100, 11, Some(0))],
    );
    check(
        &[10, 20],
        None,
        Some(60),
        &[(0, 15, Some(0)), (50, 25, Some(1)), (51, 0, None), (61, 25, Some(9))],
    );
}

#[test]
fn integers_and_floats_compare_without_rounding() {
    let big = (1i64 << 53) + 1;
    let above = |value, bound| Measured::Integer(value).breaches(Side::Above, Number::Float(bound));
    assert!(above(big, 9_007_199_254_740_992.0));
    assert!(above(3, 2.5) && !above(2, 2.5) && above(-2, -2.5) && !above(-3, -2.5));
    assert!(above(i64::MIN, f64::NEG_INFINITY) && !above(i64::MAX, f64::INFINITY));
    assert!(!above(1, f64::NAN));
    assert!(Measured::Float(2.5).breaches(Side::Above, Number::Integer(2)));
    assert!(Measured::Float(2.5).breaches(Side::Below, Number::Integer(3)));
}

/// The second level goes with one edit and another comes in its place with a later one.
#[test]
fn a_level_that_comes_where_one_was_taken_away_starts_armed() {
    let levels = |bounds: &[i64]| Levels {
        side: Side::Above,
        clear: Some(Number::Integer(5)),
        levels: bounds
            .iter()
            .map(|bound| Level {
                bound: Number::Integer(*bound),
                forecast_ms: None,
                severity: Severity::Warning,
                then: Vec::new(),
            })
            .collect(),
    };
    let (mut fired, mut all) = (0, Cooldowns::default());
    let mut judge = |bounds: &[i64], value: i64| {
        let mut cooldown = Cooldown { all: &mut all, rule: 0, key: 0, length_ms: None, now: 0 };
        let reading = Measured::Integer(value).into();
        let verdict = evaluate(&levels(bounds), reading, &mut fired, true, &mut cooldown);
        (verdict, fired)
    };
    assert_eq!(judge(&[10, 20], 25), (Verdict::Fires(1), 0b11));
    assert_eq!(judge(&[10], 26), (Verdict::Quiet, 0b01));
    assert_eq!(judge(&[10, 24], 27), (Verdict::Fires(1), 0b11));
    let all_levels: Vec<i64> = (10..42).collect();
    assert_eq!(judge(&all_levels, 60), (Verdict::Fires(31), u32::MAX));
}
