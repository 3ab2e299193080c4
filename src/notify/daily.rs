//! Who gets the account of a day, and when. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::lane::{LaneKey, Mute};
use super::notice::Shares;
use super::offer::Offer;
use super::route::Router;
use super::routes::time_of_day;
use crate::engine::{DailyReport, Decision};
use crate::rule::Severity;

/// An older account is history that is being read: it is written, and nobody is told.
const STALE_MS: i64 = 3 * 86_400_000;
/// When people come to work.
const AT: &str = "08:00";

/// `notify.daily`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DailySettings {
    /// Receivers; nobody is told without any.
    pub to: Vec<String>,
    /// Time of the day after, in the zone of the rules; 08:00 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

impl DailySettings {
    /// The time of the day.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn time(&self) -> Result<Time, String> {
        time_of_day(self.at.as_deref().unwrap_or(AT))
    }
}

/// Checked [`DailySettings`].
#[derive(Debug, Clone, Default)]
pub(super) struct Daily {
    to: Vec<String>,
    at: Time,
}

impl Daily {
    pub(super) fn new(settings: &DailySettings) -> Daily {
        // What is wrong with it has been said at the start.
        Daily { to: settings.to.clone(), at: settings.time().unwrap_or_default() }
    }

    /// When people are to be told, milliseconds since the epoch. A time that the clock skips is as
    /// much later.
    fn due_at(&self, report: &DailyReport) -> i64 {
        let end = report.end.0;
        let zone = TimeZone::get(&report.zone).unwrap_or(TimeZone::UTC);
        let date = Timestamp::from_millisecond(end).map(|end| zone.to_datetime(end).date());
        let due = date.and_then(|date| date.to_datetime(self.at).to_zoned_datetime(zone));
        due.map_or(end, |due| due.timestamp().as_millisecond())
    }
}

/// Whether the account of a day goes by the routes, too: one that does not add up, while it is news.
pub(super) fn is_alarm(offer: &Offer<'_>) -> bool {
    offer.decision.severity == Severity::Critical && !is_history(offer)
}

fn is_history(offer: &Offer<'_>) -> bool {
    let report = offer.decision.daily.as_deref();
    report.is_none_or(|report| offer.now.saturating_sub(report.end.0) > STALE_MS)
}

/// Each day is a notice of its own.
pub(super) fn group(decision: &Decision) -> String {
    let date = decision.daily.as_deref().map_or("", |report| report.date.as_str());
    format!("date\u{1f}{date}")
}

impl Router {
    /// The account of a day goes to its own receivers, to programs at once, to people in time. Those
    /// in `told` have it by the routes.
    pub(super) fn daily(&mut self, offer: &Offer<'_>, told: &BTreeSet<String>, to: &mut Shares) {
        let Some(report) = offer.decision.daily.as_deref().filter(|_| !is_history(offer)) else {
            return;
        };
        let due_at = self.daily.due_at(report);
        for receiver in self.daily.to.clone() {
            if told.contains(&receiver) {
                continue;
            }
            let group = group(offer.decision);
            let key = LaneKey { receiver, route: 0, group, step: 0, mute: Mute::None };
            if self.machines.contains(&key.receiver) {
                self.program(offer, key, to);
            } else {
                let mute = if due_at > offer.now { Mute::Quiet(due_at) } else { Mute::None };
                self.person(offer, key, mute, to);
            }
        }
    }
}

#[cfg(test)]
mod tests;
