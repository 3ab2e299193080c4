//! Calendar periods against a walk through local time.

use super::*;

const HOUR: i64 = 3_600_000;

fn calendar(name: &str) -> Calendar {
    Calendar::new(TimeZone::get(name).unwrap(), name.to_owned())
}

fn at(text: &str) -> EventTime {
    EventTime(text.parse::<Timestamp>().unwrap().as_millisecond())
}

#[test]
fn days_follow_the_clock() {
    let hours = |zone: &str, instant: &str| {
        let span = calendar(zone).span(Period::Day, at(instant));
        (span.end - span.start) * 10 / HOUR
    };
    assert_eq!(hours("Europe/Berlin", "2025-03-30T12:00:00Z"), 230);
    assert_eq!(hours("Europe/Berlin", "2025-10-26T12:00:00Z"), 250);
    assert_eq!(hours("Australia/Lord_Howe", "2025-10-05T00:00:00Z"), 235);
    assert_eq!(hours("Australia/Lord_Howe", "2025-04-06T00:00:00Z"), 245);
}

#[test]
fn a_skipped_day_does_not_exist() {
    let apia = calendar("Pacific/Apia");
    let before = apia.span(Period::Day, at("2011-12-30T09:59:59Z"));
    let after = apia.next(Period::Day, before);
    assert_eq!(before.end, at("2011-12-30T10:00:00Z").0);
    assert_eq!(apia.label(Period::Day, before), "day 2011-12-29 Pacific/Apia");
    assert_eq!(apia.label(Period::Day, after), "day 2011-12-31 Pacific/Apia");
}

#[test]
fn a_cached_pair_of_two_days_is_not_taken_for_one() {
    let utc = calendar("UTC");
    let first = utc.span(Period::Day, at("2025-11-22T00:00:00Z"));
    let second = utc.next(Period::Day, first);
    utc.last[Period::Day as usize].0.store(first.start, Ordering::Relaxed);
    utc.last[Period::Day as usize].1.store(second.end, Ordering::Relaxed);
    assert_eq!(utc.span(Period::Day, EventTime(first.start)), first);
}

#[test]
fn days_tile_time_and_start_with_their_date() {
    for zone in ["America/St_Johns", "America/Sao_Paulo", "Asia/Beirut", "Pacific/Apia"] {
        let calendar = calendar(zone);
        let mut span = calendar.span(Period::Day, at("2005-01-01T12:00:00Z"));
        for _ in 0..3000 {
            let next = calendar.next(Period::Day, span);
            assert_eq!(next.start, span.end, "{zone}");
            let date = calendar.date(EventTime(next.start));
            assert!(calendar.date(EventTime(next.start - 1)) < date, "{zone} {date}");
            span = next;
        }
    }
}

#[test]
fn durations_are_labelled_by_the_largest_unit() {
    let labels = [600_000, HOUR, 168 * HOUR, 90_000, 500].map(duration_label);
    assert_eq!(labels, ["10m", "1h", "7d", "90s", "500ms"]);
    assert_eq!(fixed(1000, EventTime(-1)), Span { start: -1000, end: 0 });
}
