//! Quiet hours: whether it is quiet at an instant, and until when. Pure.
//!
//! By local time, so that 07:00 is 07:00 on the days on which clocks change, too.

use jiff::Timestamp;
use jiff::civil::Time;

use super::routes::Quiet;
use crate::rule::Severity;

/// Hours and days that follow on each other are at most a week.
const STEPS_MAX: usize = 16;

impl Quiet {
    /// Whether it is quiet at `at_ms` for some severity.
    pub(super) fn is_on(&self, at_ms: i64) -> bool {
        let all = [Severity::Info, Severity::Warning, Severity::Critical];
        all.into_iter().any(|severity| self.ends_at(severity, at_ms).is_some())
    }

    /// When it is over, if it is quiet at `at_ms`; milliseconds since the epoch.
    pub(super) fn ends_at(&self, severity: Severity, at_ms: i64) -> Option<i64> {
        if self.except.contains(&severity) {
            return None;
        }
        let mut end = None;
        let mut at = Timestamp::from_millisecond(at_ms).ok()?;
        for _ in 0..STEPS_MAX {
            let Some(next) = self.next(at) else { break };
            at = next;
            end = Some(next.as_millisecond());
        }
        end
    }

    /// The end of what is quiet at `at`, looking at that alone.
    fn next(&self, at: Timestamp) -> Option<Timestamp> {
        let local = at.to_zoned_datetime(self.zone.clone());
        let (date, time) = (local.date(), local.time());
        let tomorrow = || date.tomorrow().ok();
        let (day, until) = if self.days.contains(&date.weekday()) {
            (tomorrow()?, Time::midnight())
        } else {
            let (from, to) = self.hours?;
            match (from < to, time >= from, time < to) {
                (true, true, true) | (false, false, true) => (date, to),
                (false, true, _) => (tomorrow()?, to),
                _ => return None,
            }
        };
        let end = day.to_datetime(until).to_zoned_datetime(self.zone.clone()).ok()?.timestamp();
        // Where clocks go back, the same local time comes again: it is over the second time.
        (end > at).then_some(end)
    }
}

#[cfg(test)]
mod tests;
