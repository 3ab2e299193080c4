//! The `notify:` section of the configuration (contract K): who can be told, and by what route.
//!
//! Reads and checks only; opens nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize};

use super::receivers::{Language, ReceiverSettings};
use crate::rule::{Severity, parse_duration};

/// The section as a whole. Empty by default: no receivers, nobody is told.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifySettings {
    pub receivers: BTreeMap<String, ReceiverSettings>,
    /// The first route that matches is taken.
    pub routes: Vec<RouteSettings>,
    /// Receivers of what no route matches.
    pub default: Vec<String>,
    /// Milliseconds after which an undelivered notice is a dead letter; 24 h if absent.
    #[serde(deserialize_with = "duration")]
    pub give_up: Option<i64>,
    /// Decisions that may wait for their receivers before reading pauses; 50,000 if absent.
    pub open_max: Option<NonZeroUsize>,
    /// Of the texts, unless a receiver has its own.
    pub language: Language,
    /// A folder of templates that go before the built-in ones.
    pub templates: Option<PathBuf>,
    /// The address that people reach the pages by, for links; `http.advertise` if absent.
    pub url: Option<String>,
    /// IANA zone of instants that no calendar window gives a zone; UTC if absent.
    pub timezone: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    #[serde(rename = "match", default)]
    pub matches: Match,
    pub to: Vec<String>,
    /// Wait before a group's first notice, so that a burst is one notice; 10 s if absent.
    #[serde(default, deserialize_with = "duration")]
    pub group_wait: Option<i64>,
    /// Least time between two notices of a group; 1 min if absent.
    #[serde(default, deserialize_with = "duration")]
    pub group_interval: Option<i64>,
    /// For how long a decision already told is not told again; 4 h if absent.
    #[serde(default, deserialize_with = "duration")]
    pub repeat_interval: Option<i64>,
    /// Read, but not acted on: nothing can be acknowledged yet (N3).
    #[serde(default, deserialize_with = "duration")]
    pub escalate_after: Option<i64>,
}

/// All that is present must hold; an empty list holds for everything.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    pub severity: Vec<Severity>,
    pub rule: Vec<String>,
    /// Key field → accepted values.
    pub key: BTreeMap<String, Vec<String>>,
}

/// Why the section cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error(
        "notify: receiver `{0}` must have exactly one of email, sms, webhook, slack, dingtalk, feishu, wecom, alertmanager, outbox"
    )]
    OneWay(String),
    #[error("notify: receiver `{0}` has nobody in `to`")]
    Nobody(String),
    #[error("notify: receiver `{0}` has a `rate` of 0; leave it out or give 1 and more")]
    NoRate(String),
    #[error("notify: {place} names an unknown receiver `{name}`")]
    Unknown { place: String, name: String },
    #[error("notify: timezone: `{0}` is not an IANA zone, such as `Asia/Shanghai`")]
    Zone(String),
    #[error("notify: receiver `{name}`: {message}")]
    Unusable { name: String, message: String },
}

impl NotifySettings {
    /// All faults at once; empty when the section can be used.
    pub fn faults(&self) -> Vec<SettingsError> {
        let mut faults = Vec::new();
        for (name, receiver) in &self.receivers {
            faults.extend(receiver.faults(name));
        }
        if let Some(zone) = &self.timezone
            && TimeZone::get(zone).is_err()
        {
            faults.push(SettingsError::Zone(zone.clone()));
        }
        let named = self
            .routes
            .iter()
            .enumerate()
            .map(|(index, route)| (format!("route {}", index + 1), &route.to))
            .chain([("`default`".to_owned(), &self.default)]);
        for (place, to) in named {
            let unknown = to.iter().filter(|name| !self.receivers.contains_key(*name));
            faults.extend(
                unknown.map(|name| SettingsError::Unknown {
                    place: place.clone(),
                    name: name.clone(),
                }),
            );
        }
        faults
    }

    /// Receivers that are programs: they get every decision by itself and at once.
    pub fn machines(&self) -> BTreeSet<&str> {
        let machines = self.receivers.iter().filter(|(_, receiver)| receiver.is_machine());
        machines.map(|(name, _)| name.as_str()).collect()
    }
}

pub(super) fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    parse_duration(&text)
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a duration; try `10s`")))
}

#[cfg(test)]
mod tests;
