//! Slots of windows, in a zone whose clock changes and in one that changes its date.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::*;
use crate::engine::calendar::fixed;
use crate::rule::{Method, Period};

const HOUR: i64 = 3_600_000;

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

/// Starts of the windows that the one at `instant` is held against, all closed before it.
fn slots(zone: &str, window_ms: i64, season: Season, seasons: u32, instant: &str) -> Vec<String> {
    let calendar = Calendar::new(TimeZone::get(zone).unwrap(), zone.to_owned());
    let slots = Slots { calendar: &calendar, window: Window::Duration(window_ms), season };
    let span = fixed(window_ms, EventTime(at(instant)));
    let closed = 10_000;
    let places = slots.places(seasons, span, span.start, closed);
    let starts = places.into_iter().map(|place| {
        let back = i64::try_from(closed - place).unwrap();
        Timestamp::from_millisecond(span.start - back * window_ms).unwrap().to_string()
    });
    starts.collect()
}

fn weeks(window_ms: i64, neighbours: u32) -> Season {
    let windows = u32::try_from(7 * DAY_MS / window_ms).unwrap();
    Season { length_ms: 7 * DAY_MS, windows, neighbours }
}

#[test]
fn the_same_hour_stays_the_same_hour_when_the_clock_changes() {
    // 20:00 in Berlin: summer time ends on 2025-10-26.
    let found = slots("Europe/Berlin", HOUR, weeks(HOUR, 0), 3, "2025-11-05T19:00:00Z");
    assert_eq!(found, ["2025-10-15T18:00:00Z", "2025-10-22T18:00:00Z", "2025-10-29T19:00:00Z"]);
    let found = slots("UTC", HOUR, weeks(HOUR, 0), 2, "2025-11-05T19:00:00Z");
    assert_eq!(found, ["2025-10-22T19:00:00Z", "2025-10-29T19:00:00Z"]);
    // Windows of six hours that begin at the hour of UTC: the one that covers most of the slot.
    let found = slots("Europe/Berlin", 6 * HOUR, weeks(6 * HOUR, 0), 1, "2025-10-30T06:00:00Z");
    assert_eq!(found, ["2025-10-23T06:00:00Z"]);
    // 02:30 did not exist on 2025-03-30.
    let found = slots("Europe/Berlin", HOUR, weeks(HOUR, 0), 1, "2025-04-06T00:00:00Z");
    assert_eq!(found, ["2025-03-30T01:00:00Z"]);
}

#[test]
fn neighbours_stand_on_both_sides_and_never_after_the_season() {
    let found = slots("UTC", HOUR, weeks(HOUR, 1), 1, "2025-11-05T19:00:00Z");
    assert_eq!(found, ["2025-10-29T18:00:00Z", "2025-10-29T19:00:00Z", "2025-10-29T20:00:00Z"]);
    // Seasons that are no days are as long as they are, whatever the clock does.
    let season = Season { length_ms: 3 * HOUR, windows: 3, neighbours: 1 };
    let found = slots("Europe/Berlin", HOUR, season, 2, "2025-10-26T04:00:00Z");
    let before = (21..24).map(|hour| format!("2025-10-25T{hour}:00:00Z"));
    let after = (0..3).map(|hour| format!("2025-10-26T{hour:02}:00:00Z"));
    assert_eq!(found, before.chain(after).collect::<Vec<_>>());
}

#[test]
fn only_what_has_closed_and_is_kept_counts() {
    let calendar = Calendar::new(TimeZone::UTC, "UTC".to_owned());
    let season = weeks(HOUR, 1);
    let slots = Slots { calendar: &calendar, window: Window::Duration(HOUR), season };
    let span = fixed(HOUR, EventTime(at("2025-11-05T19:00:00Z")));
    assert_eq!(slots.places(8, span, span.start, 166), Vec::<usize>::new());
    assert_eq!(slots.places(8, span, span.start, 168), [0, 1]);
    assert_eq!(slots.places(8, span, span.start, 169), [0, 1, 2]);
    // The last window closed ended two hours before this one begins.
    assert_eq!(slots.places(8, span, span.start - 2 * HOUR, 169), [2, 3, 4]);
    let all = slots.places(8, span, span.start, 8 * 168 + 1);
    assert_eq!((all.len(), all[0]), (24, 0));
    let method = Method::Seasonal(season);
    let baseline = Baseline { method, history: 8, min_windows: 9, min_sd: 1.0 };
    assert_eq!(kept(&baseline, season), 8 * 168 + 1 + 4);
}

#[test]
fn days_are_the_same_day_of_the_week() {
    let calendar =
        Calendar::new(TimeZone::get("Europe/Berlin").unwrap(), "Europe/Berlin".to_owned());
    let season = Season { length_ms: 7 * DAY_MS, windows: 7, neighbours: 0 };
    let slots = Slots { calendar: &calendar, window: Window::Calendar(Period::Day), season };
    let span = calendar.span(Period::Day, EventTime(at("2025-11-05T12:00:00Z")));
    assert_eq!(slots.places(2, span, span.start, 20), [6, 13]);
    // Two days are open.
    assert_eq!(slots.places(2, span, span.start - 2 * DAY_MS, 20), [8, 15]);
}
