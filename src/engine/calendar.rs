//! Calendar periods of a zone, fixed windows, and their labels (R6, D1).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::event::EventTime;
use crate::rule::{Period, write_duration};

/// A half-open stretch `[start, end)` of event time, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// Day 0.
const EPOCH: Date = Date::constant(1970, 1, 1);

/// The date of a day, counted from 1970-01-01.
pub(crate) fn date_of(day: i32) -> Date {
    EPOCH.saturating_add(i64::from(day).days())
}

/// The calendar of one zone. Periods start at the first instant of their local date.
#[derive(Debug, Clone)]
pub(crate) struct Calendar {
    zone: TimeZone,
    name: String,
    /// The period looked up last, by kind: (start, end). A hint only; any value is checked.
    last: Arc<[(AtomicI64, AtomicI64); 5]>,
}

impl Calendar {
    pub(crate) fn new(zone: TimeZone, name: String) -> Calendar {
        Calendar { zone, name, last: Arc::default() }
    }

    /// The period that an instant falls in.
    pub(crate) fn span(&self, period: Period, at: EventTime) -> Span {
        // Start and end of two writers may mix; a mixed pair of the same kind of period would
        // be longer than any real one or empty, so its length is checked too.
        let (start, end) = &self.last[period as usize];
        let known = Span { start: start.load(Ordering::Relaxed), end: end.load(Ordering::Relaxed) };
        if known.start <= at.0 && at.0 < known.end && known.end - known.start <= longest(period) {
            return known;
        }
        let found = self.find(period, at);
        start.store(found.start, Ordering::Relaxed);
        end.store(found.end, Ordering::Relaxed);
        found
    }

    fn find(&self, period: Period, at: EventTime) -> Span {
        let mut first = first_date(period, self.date(at));
        // A date that the zone skips has no instant: its period begins with the next one.
        loop {
            let next = following(period, first);
            let span = Span { start: self.first_instant(first), end: self.first_instant(next) };
            if at.0 < span.end || next <= first {
                return span;
            }
            first = next;
        }
    }

    /// The period after one.
    pub(crate) fn next(&self, period: Period, span: Span) -> Span {
        self.span(period, EventTime(span.end))
    }

    /// `day 2025-11-22 ZONE` and the like.
    pub(crate) fn label(&self, period: Period, span: Span) -> String {
        let date = self.date(EventTime(span.start));
        let zone = &self.name;
        let year = date.year();
        match period {
            Period::Day => format!("day {date} {zone}"),
            Period::Week => {
                let week = date.iso_week_date();
                format!("week {}-W{:02} {zone}", week.year(), week.week())
            }
            Period::Month => format!("month {year}-{:02} {zone}", date.month()),
            Period::Quarter => format!("quarter {year}-Q{} {zone}", (date.month() - 1) / 3 + 1),
            Period::Year => format!("year {year} {zone}"),
        }
    }

    /// 0–23 in the zone.
    pub(crate) fn hour(&self, at: EventTime) -> i64 {
        i64::from(self.zone.to_datetime(timestamp(at)).hour())
    }

    /// `mon` … `sun` in the zone.
    pub(crate) fn weekday(&self, at: EventTime) -> &'static str {
        match self.date(at).weekday() {
            Weekday::Monday => "mon",
            Weekday::Tuesday => "tue",
            Weekday::Wednesday => "wed",
            Weekday::Thursday => "thu",
            Weekday::Friday => "fri",
            Weekday::Saturday => "sat",
            Weekday::Sunday => "sun",
        }
    }

    /// `14:20` in the zone, with its date where that is not the one of `now`.
    pub(crate) fn clock(&self, at: EventTime, now: EventTime) -> String {
        let local = self.zone.to_datetime(timestamp(at));
        let form = if local.date() == self.date(now) { "%H:%M" } else { "%Y-%m-%d %H:%M" };
        local.strftime(form).to_string()
    }

    /// Local dates from one instant's to another's.
    pub(crate) fn days_between(&self, from: EventTime, to: EventTime) -> i64 {
        let days = self.date(from).until(self.date(to)).map(|span| span.get_days());
        days.map_or(0, i64::from)
    }

    /// The same time of the day in the zone, so many days before. One that its clock skipped is
    /// as much later, of one that came twice it is the first.
    pub(crate) fn days_before(&self, at: EventTime, days: i64) -> EventTime {
        let local = self.zone.to_datetime(timestamp(at)).saturating_sub(days.days());
        let before = self.zone.to_ambiguous_timestamp(local).compatible();
        before.map_or(at, |before| EventTime(before.as_millisecond()))
    }

    /// The local date of an instant, as days since 1970-01-01.
    pub(crate) fn day_of(&self, at: EventTime) -> i32 {
        EPOCH.until(self.date(at)).map_or(0, |since| since.get_days())
    }

    /// A local date, which is empty where the zone skips it.
    pub(crate) fn day_span(&self, day: i32) -> Span {
        let date = date_of(day);
        let start = self.first_instant(date);
        Span { start, end: self.first_instant(following(Period::Day, date)).max(start) }
    }

    fn date(&self, at: EventTime) -> Date {
        self.zone.to_datetime(timestamp(at)).date()
    }

    /// First instant of a local date: midnight, or the end of the gap that holds it.
    fn first_instant(&self, date: Date) -> i64 {
        let midnight = date.to_datetime(jiff::civil::Time::midnight());
        let ambiguous = self.zone.to_ambiguous_timestamp(midnight);
        // In a fold the earlier instant. In a gap `later` reads midnight with the offset before
        // the gap, so the transition that made the gap is the last one up to there.
        let found = match ambiguous.offset() {
            jiff::tz::AmbiguousOffset::Gap { .. } => {
                let later = ambiguous.later().unwrap_or(Timestamp::MIN);
                let behind = later.checked_add(1.nanosecond()).unwrap_or(later);
                let transition = self.zone.preceding(behind).next();
                transition.map_or(later, |transition| transition.timestamp())
            }
            _ => ambiguous.earlier().unwrap_or(Timestamp::MIN),
        };
        found.as_millisecond()
    }
}

/// The epoch-aligned window of `window_ms` milliseconds that an instant falls in.
pub(crate) fn fixed(window_ms: i64, at: EventTime) -> Span {
    let start = at.0.div_euclid(window_ms) * window_ms;
    Span { start, end: start + window_ms }
}

/// `10m`, `1h`, `7d`: the largest unit that divides the duration.
pub(crate) fn duration_label(ms: i64) -> String {
    write_duration(ms.unsigned_abs().into())
}

/// An instant for people: RFC 3339, or the milliseconds where it is none.
pub(crate) fn instant_label(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| at.to_string())
}

fn first_date(period: Period, date: Date) -> Date {
    let month = match period {
        Period::Day => return date,
        Period::Week => {
            let back = i64::from(date.weekday().to_monday_zero_offset());
            return date.saturating_sub(back.days());
        }
        Period::Month => date.month(),
        Period::Quarter => (date.month() - 1) / 3 * 3 + 1,
        Period::Year => 1,
    };
    Date::new(date.year(), month, 1).unwrap_or(date)
}

fn following(period: Period, first: Date) -> Date {
    first.saturating_add(match period {
        Period::Day => 1.day(),
        Period::Week => 1.week(),
        Period::Month => 1.month(),
        Period::Quarter => 3.months(),
        Period::Year => 1.year(),
    })
}

/// Longer than any period of its kind (but for days of a moved date line, which are then looked
/// up each time), shorter than any two in a row.
fn longest(period: Period) -> i64 {
    let hours = match period {
        Period::Day => 36,
        Period::Week => 8 * 24,
        Period::Month => 32 * 24,
        Period::Quarter => 93 * 24,
        Period::Year => 367 * 24,
    };
    hours * 3_600_000
}

fn timestamp(at: EventTime) -> Timestamp {
    Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
