//! Rates minute by minute, and when they reach a bound.

use super::*;

const T: i64 = 1_763_779_200_000;
const DAY_END: i64 = T + 14 * 3_600_000;

/// A flow with these amounts, each in its minute after `T`, and a second into it.
fn flow(amounts: &[(i64, i64)]) -> Flow {
    let mut flow = Flow::new((T + amounts[0].0 * MINUTE_MS) / MINUTE_MS);
    for (minute, amount) in amounts {
        flow.add(T + minute * MINUTE_MS + 1000, *amount, false);
    }
    flow
}

/// Amount and minutes of the rate at a minute.
fn rate(flow: &Flow, minute: i64) -> Option<(i64, i64)> {
    let rise = flow.rise(T + minute * MINUTE_MS + 30_000, DAY_END)?;
    Some((rise.amount, rise.minutes))
}

#[test]
fn a_rate_is_of_whole_minutes_without_the_busiest() {
    let steady: Vec<(i64, i64)> = (0..6).map(|minute| (minute, 100)).collect();
    // Not before five minutes are over; the one that has begun does not count.
    assert_eq!(rate(&flow(&steady[..5]), 4), None);
    assert_eq!(rate(&flow(&steady), 5), Some((400, 4)));
    let mut batch = steady;
    batch[3].1 = 1_000_000;
    assert_eq!(rate(&flow(&batch), 5), Some((400, 4)));
    // One batch alone is no rate.
    assert_eq!(rate(&flow(&[(0, 5), (6, 1)]), 6), None);
    // Silence counts.
    assert_eq!(rate(&flow(&[(0, 60), (1, 60)]), 11), Some((60, 10)));
}

#[test]
fn only_the_last_half_hour_counts_and_silence_of_that_length_begins_anew() {
    let steady: Vec<(i64, i64)> = (0..40).map(|minute| (minute, minute)).collect();
    let sum: i64 = (10..39).sum();
    assert_eq!(rate(&flow(&steady), 40), Some((sum, 29)));
    assert_eq!(rate(&flow(&steady), 69), None);
    let after = [&steady[..], &(71..77).map(|minute| (minute, 7)).collect::<Vec<_>>()].concat();
    assert_eq!(rate(&flow(&after), 76), Some((28, 4)));
    let sooner = [&steady[..], &(69..75).map(|minute| (minute, 7)).collect::<Vec<_>>()].concat();
    assert_eq!(rate(&flow(&sooner), 74), Some((28, 29)));
}

#[test]
fn what_comes_late_or_is_taken_back_counts_in_its_minute() {
    let mut flow = flow(&[(0, 10), (1, 10), (2, 10), (3, 10), (8, 10)]);
    flow.add(T + 2 * MINUTE_MS, 5, false);
    flow.add(T + 3 * MINUTE_MS, -10, true);
    assert_eq!(rate(&flow, 8), Some((20, 7)));
    // Ahead of all events, and behind what is kept.
    flow.add(T + 9 * MINUTE_MS, -10, true);
    flow.add(T - 23 * MINUTE_MS, -10, true);
    assert_eq!((rate(&flow, 8), flow.last), (Some((20, 7)), T / MINUTE_MS + 8));
    flow.add(T - 2 * MINUTE_MS, 20, false);
    assert_eq!(rate(&flow, 8), Some((35, 9)));
    flow.add(T + 2 * MINUTE_MS, i64::MAX, false);
    flow.add(T + 2 * MINUTE_MS, 1, false);
    assert_eq!(rate(&flow, 8), Some((40, 9)));
}

#[test]
fn a_bound_is_reached_at_the_instant_that_exceeds_it() {
    let rise = Rise { now: T, end: DAY_END, amount: 400, minutes: 4 };
    let after = |value, bound| rise.reaches(value, bound).map(|at| at - T);
    // 100 a minute: the point that exceeds the bound comes 600 ms after the bound itself.
    assert_eq!(after(0, Number::Integer(1000)), Some(600_600));
    assert_eq!(after(999, Number::Float(999.5)), Some(600));
    assert_eq!(after(1000, Number::Integer(1000)), Some(600));
    assert_eq!(after(1001, Number::Integer(1000)), Some(0));
    // Fourteen hours are left, at the end of which 84,000 points have come.
    assert_eq!(after(0, Number::Integer(83_998)), Some(DAY_END - T - 600));
    assert_eq!(after(0, Number::Integer(83_999)), None);
    assert_eq!(after(i64::MIN, Number::Integer(i64::MAX)), None);
    assert_eq!(after(0, Number::Float(1e300)), None);
    assert_eq!(Rise { now: DAY_END, ..rise }.reaches(5, Number::Integer(1)), None);
}

#[test]
fn rates_and_times_are_told_to_people() {
    let calendar = Calendar::new(jiff::tz::TimeZone::UTC, "UTC".to_owned());
    let told = |amount, minutes, wait_ms| {
        Rise { now: T, end: DAY_END, amount, minutes }.told(T + wait_ms, &calendar)
    };
    // T is 02:40 of the day.
    assert_eq!(told(243_000, 10, 6_720_000), "at 04:32 (in 1h 52m) at 24300 a minute");
    assert_eq!(told(5, 4, 59_999), "at 02:40 (within a minute) at 1.25 a minute");
    assert_eq!(told(99, 10, 300_000), "at 02:45 (in 5m) at 9.90 a minute");
    assert_eq!(told(105, 10, 100_800_000), "at 2025-11-23 06:40 (in 1d 4h) at 11 a minute");
}
