//! Routes in the `notify:` section: a tree of who hears of what, when, and who hears next (N2, N3).
//!
//! Reads and checks only.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::settings::{SettingsError, duration};
use crate::engine::Matcher;
use crate::rule::Severity;

/// Deeper trees are a mistake, and would be read by nobody.
const DEPTH_MAX: usize = 8;

/// A route and those below it. What a child leaves out it has from its parent; `match`, `routes`
/// and `continue` are each route's own.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteSettings {
    #[serde(rename = "match")]
    pub matches: Matcher,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// What notices are grouped by: `rule`, `severity`, fields of the key, labels; `rule` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<Vec<String>>,
    /// Wait before a group's first notice, so that a burst is one notice; 10 s if absent.
    #[serde(deserialize_with = "duration")]
    pub group_wait: Option<i64>,
    /// Least time between two notices of a group; 1 min if absent.
    #[serde(deserialize_with = "duration")]
    pub group_interval: Option<i64>,
    /// For how long a decision already told is not told again; 4 h if absent.
    #[serde(deserialize_with = "duration")]
    pub repeat_interval: Option<i64>,
    /// How often what still fires is told again, `repeat_interval` apart; 6 times if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reminders: Option<u32>,
    /// Time from a notice that nobody acknowledges to the next step; short for one step to
    /// `notify.default`.
    #[serde(deserialize_with = "duration")]
    pub escalate_after: Option<i64>,
    /// Steps, each counted from the first notice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub escalate: Vec<StepSettings>,
    /// When people are not to be disturbed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet: Option<QuietSettings>,
    /// Whether the end of what was told is told, too; yes if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<bool>,
    /// Whether routes behind this one are looked at as well.
    #[serde(rename = "continue", skip_serializing_if = "std::ops::Not::not")]
    pub goes_on: bool,
    /// The first that matches is taken, and this route itself where none does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteSettings>,
}

/// Who is told when nobody has acknowledged.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StepSettings {
    #[serde(deserialize_with = "duration")]
    pub after: Option<i64>,
    pub to: Vec<String>,
}

/// Hours in which notices wait, and are told when they end.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuietSettings {
    /// `22:00`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `07:00`; at or before `from` means the next day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Quiet as a whole: `sat`, `sun`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<String>,
    /// IANA name; UTC if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Severities that do not wait.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Severity>,
}

/// What is known to follow from something worse is not told by itself.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct InhibitSettings {
    pub source: Matcher,
    pub target: Matcher,
    /// Key fields or labels that both must have, with the same value.
    pub equal: Vec<String>,
    /// How long a source mutes unless it is resolved or its window ends before; 1 h if absent.
    #[serde(deserialize_with = "duration")]
    pub lasts: Option<i64>,
}

/// Checked [`QuietSettings`].
#[derive(Debug, Clone)]
pub(super) struct Quiet {
    pub(super) hours: Option<(Time, Time)>,
    pub(super) days: Vec<Weekday>,
    pub(super) zone: TimeZone,
    pub(super) except: Vec<Severity>,
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// `22:00`
pub(super) fn time_of_day(text: &str) -> Result<Time, String> {
    let (hour, minute) = text.split_once(':').unwrap_or((text, ""));
    let two = |part: &str| (part.len() == 2).then(|| part.parse::<i8>().ok()).flatten();
    let time = two(hour).zip(two(minute));
    time.and_then(|(hour, minute)| Time::new(hour, minute, 0, 0).ok())
        .ok_or_else(|| format!("`{text}` is no time of day; write such as `22:00`"))
}

impl QuietSettings {
    pub(super) fn checked(&self) -> Result<Quiet, String> {
        let name = self.zone.as_deref().unwrap_or("UTC");
        let zone = TimeZone::get(name).map_err(|_| format!("`{name}` is no IANA time zone"))?;
        let time = |text: &String| time_of_day(text);
        let hours = match (&self.from, &self.to) {
            (Some(from), Some(to)) if from == to => {
                return Err("`from` and `to` are the same; a whole day stands in `days`".to_owned());
            }
            (Some(from), Some(to)) => Some((time(from)?, time(to)?)),
            (None, None) => None,
            _ => return Err("`from` and `to` go together".to_owned()),
        };
        let day = |text: &String| {
            let known = DAYS.iter().find(|(name, _)| name == text);
            known.map(|(_, day)| *day).ok_or_else(|| {
                format!("`{text}` is no day; there are mon, tue, wed, thu, fri, sat, sun")
            })
        };
        let days = self.days.iter().map(day).collect::<Result<Vec<_>, _>>()?;
        if hours.is_none() && days.is_empty() {
            return Err("says no time: give `from` and `to`, or `days`".to_owned());
        }
        if DAYS.iter().all(|(_, day)| days.contains(day)) {
            return Err("`days` names all seven: nothing would ever be told".to_owned());
        }
        Ok(Quiet { hours, days, zone, except: self.except.clone() })
    }
}

/// All faults of routes and inhibitions; `known` tells whether there is a receiver of a name.
pub(super) fn faults(
    routes: &[RouteSettings],
    inhibit: &[InhibitSettings],
    known: &dyn Fn(&str) -> bool,
) -> Vec<SettingsError> {
    let mut faults = Vec::new();
    of_routes(routes, "route ", true, 1, known, &mut faults);
    for (index, one) in inhibit.iter().enumerate() {
        if one.source.is_empty() || one.target.is_empty() {
            let place = format!("inhibit {}", index + 1);
            let message = "needs a `source` and a `target`".to_owned();
            faults.push(SettingsError::Route { place, message });
        }
    }
    faults
}

fn of_routes(
    routes: &[RouteSettings],
    above: &str,
    needs_to: bool,
    depth: usize,
    known: &dyn Fn(&str) -> bool,
    faults: &mut Vec<SettingsError>,
) {
    for (index, route) in routes.iter().enumerate() {
        let place = format!("{above}{}", index + 1);
        let mut fault = |message: String| {
            faults.push(SettingsError::Route { place: place.clone(), message });
        };
        if needs_to && route.to.is_empty() {
            fault("has nobody in `to`".to_owned());
        }
        if let Some(Err(message)) = route.quiet.as_ref().map(QuietSettings::checked) {
            fault(format!("`quiet` {message}"));
        }
        if route.escalate_after.is_some() && !route.escalate.is_empty() {
            fault("has both `escalate_after` and `escalate`; one will do".to_owned());
        }
        let times: Vec<i64> = route.escalate.iter().filter_map(|step| step.after).collect();
        if times.len() < route.escalate.len() || times.windows(2).any(|pair| pair[0] >= pair[1]) {
            fault("each step of `escalate` has an `after`, later than the one before".to_owned());
        }
        if route.escalate.iter().any(|step| step.to.is_empty()) {
            fault("a step of `escalate` has nobody in `to`".to_owned());
        }
        if depth > DEPTH_MAX {
            fault(format!("stands deeper than {DEPTH_MAX} levels"));
            continue;
        }
        let steps = route.escalate.iter().flat_map(|step| &step.to);
        for name in route.to.iter().chain(steps).filter(|name| !known(name)) {
            faults.push(SettingsError::Unknown { place: place.clone(), name: name.clone() });
        }
        of_routes(&route.routes, &format!("{place}."), false, depth + 1, known, faults);
    }
}

/// Routes that can never be taken, since one before them takes all that they match.
pub(super) fn unreachable(routes: &[RouteSettings]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    shadowed(routes, "route ", &mut found);
    found
}

fn shadowed(routes: &[RouteSettings], above: &str, found: &mut Vec<(String, String)>) {
    for (index, route) in routes.iter().enumerate() {
        let place = format!("{above}{}", index + 1);
        let before = routes.iter().take(index).enumerate();
        let taken = before
            .filter(|(_, other)| !other.goes_on)
            .find(|(_, other)| other.matches.covers(&route.matches));
        if let Some((other, _)) = taken {
            found.push((place.clone(), format!("{above}{}", other + 1)));
        }
        shadowed(&route.routes, &format!("{place}."), found);
    }
}
