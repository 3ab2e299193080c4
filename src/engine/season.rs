//! Which closed windows share a slot with another: the same time of the day or week in past
//! seasons (R11).

use crate::engine::calendar::{Calendar, Span, fixed};
use crate::event::EventTime;
use crate::rule::{Baseline, Season, Window};

const DAY_MS: i64 = 86_400_000;

/// By so much a zone's clock may have been moved since; then the slot lies further back.
const MOVED_MS: i64 = 3 * 3_600_000;

/// Windows to keep, so that the slots of all seasons are among them.
pub(crate) fn kept(baseline: &Baseline, season: Season) -> usize {
    let window_ms = season.length_ms / i64::from(season.windows.max(1));
    let moved = if season.length_ms % DAY_MS == 0 { MOVED_MS / window_ms.max(1) + 1 } else { 0 };
    let seasons = u64::from(baseline.history) * u64::from(season.windows);
    let beside = u64::from(season.neighbours) + moved.unsigned_abs();
    usize::try_from(seasons + beside).unwrap_or(usize::MAX)
}

/// The slots of the windows of one rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slots<'a> {
    pub(crate) calendar: &'a Calendar,
    pub(crate) window: Window,
    pub(crate) season: Season,
}

impl Slots<'_> {
    /// Where the slot of `span` and its neighbours stand, in so many seasons before, among
    /// `closed` windows in a row of which the last ended at `end`. In order, each once.
    pub(crate) fn places(&self, seasons: u32, span: Span, end: i64, closed: usize) -> Vec<usize> {
        let closed = i64::try_from(closed).unwrap_or(i64::MAX);
        let beside = i64::from(self.season.neighbours);
        let mut places = Vec::new();
        for ago in 1..=i64::from(seasons) {
            let back = self.back(ago, span, end);
            if back - beside > closed {
                break;
            }
            let slots = (back - beside).max(1)..=(back + beside).min(closed);
            places.extend(slots.filter_map(|back| usize::try_from(closed - back).ok()));
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    /// How many windows before `end` the slot began, so many seasons ago.
    fn back(&self, ago: i64, span: Span, end: i64) -> i64 {
        let length_ms = self.season.length_ms;
        match self.window {
            // Dates count, also one that the zone went without.
            Window::Calendar(_) => {
                let since = self.calendar.days_between(EventTime(span.start), EventTime(end));
                since + ago * i64::from(self.season.windows)
            }
            Window::Duration(window_ms) => {
                // By the middle of the window: the clock may have been moved by part of one.
                let middle = EventTime(span.start + window_ms / 2);
                let then = if length_ms % DAY_MS == 0 {
                    self.calendar.days_before(middle, ago * (length_ms / DAY_MS))
                } else {
                    EventTime(middle.0.saturating_sub(ago * length_ms))
                };
                end.saturating_sub(fixed(window_ms, then).start) / window_ms
            }
        }
    }
}

#[cfg(test)]
mod tests;
