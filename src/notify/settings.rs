//! The `notify:` section of the configuration (contract K): who can be told, and by what route.
//!
//! Reads and checks only; opens nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize};

use super::daily::DailySettings;
use super::heart::HeartbeatSettings;
use super::receivers::{Language, ReceiverSettings, Secret};
use super::routes::{self, InhibitSettings, RouteSettings};
use crate::rule::parse_duration;

/// The section as a whole. Empty by default: no receivers, nobody is told.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifySettings {
    pub receivers: BTreeMap<String, ReceiverSettings>,
    /// The first route that matches is taken.
    pub routes: Vec<RouteSettings>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inhibit: Vec<InhibitSettings>,
    /// Who is told, again and again, that all is well.
    pub heartbeat: Option<HeartbeatSettings>,
    /// Receivers of what no route matches.
    pub default: Vec<String>,
    /// Who gets the account of each day, and when.
    pub daily: DailySettings,
    /// Milliseconds after which an undelivered notice is a dead letter; 24 h if absent.
    #[serde(deserialize_with = "duration")]
    pub give_up: Option<i64>,
    /// The address that people reach the pages by, for links; `http.advertise` if absent.
    pub url: Option<String>,
    /// Signs links that acknowledge; made from `http.token` if absent, and without that there are
    /// none.
    pub secret: Option<Secret>,
    /// The longest that a silence lasts; 30 days if absent.
    #[serde(deserialize_with = "duration")]
    pub silence_max: Option<i64>,
    /// Decisions that may wait for their receivers before reading pauses; 50,000 if absent.
    pub open_max: Option<NonZeroUsize>,
    /// Decisions held by mutes and for steps; what is beyond is told at once. 100,000 if absent.
    pub held_max: Option<NonZeroUsize>,
    /// Of the texts, unless a receiver has its own.
    pub language: Language,
    /// A folder of templates that go before the built-in ones.
    pub templates: Option<PathBuf>,
    /// IANA zone of instants that no calendar window gives a zone; UTC if absent.
    pub timezone: Option<String>,
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
    #[error("notify: {place} {message}")]
    Route { place: String, message: String },
    #[error("notify: receiver `{name}`: {message}")]
    Unusable { name: String, message: String },
}

impl NotifySettings {
    /// All faults at once; empty when the section can be used.
    pub fn faults(&self) -> Vec<SettingsError> {
        let mut faults = Vec::new();
        for (name, receiver) in &self.receivers {
            faults.extend(receiver.faults(name));
            if name.starts_with(['~', '^', '!']) {
                let message = "a name does not begin with `~`, `^` or `!`".to_owned();
                faults.push(SettingsError::Unusable { name: name.clone(), message });
            }
        }
        if let Some(zone) = &self.timezone
            && TimeZone::get(zone).is_err()
        {
            faults.push(SettingsError::Zone(zone.clone()));
        }
        let known = |name: &str| self.receivers.contains_key(name);
        faults.extend(routes::faults(&self.routes, &self.inhibit, &known));
        for name in self.default.iter().filter(|name| !known(name)) {
            let place = "`default`".to_owned();
            faults.push(SettingsError::Unknown { place, name: name.clone() });
        }
        for name in self.daily.to.iter().filter(|name| !known(name)) {
            let place = "`daily`".to_owned();
            faults.push(SettingsError::Unknown { place, name: name.clone() });
        }
        if let Err(message) = self.daily.time() {
            faults.push(SettingsError::Route { place: "daily.at:".to_owned(), message });
        }
        faults.extend(self.heartbeat.iter().flat_map(|heartbeat| heartbeat.faults(self)));
        faults
    }

    /// Routes that can never be taken, each with the one that takes all that it matches.
    pub fn unreachable_routes(&self) -> Vec<(String, String)> {
        routes::unreachable(&self.routes)
    }

    /// The longest that a silence lasts, milliseconds.
    pub fn silence_max_ms(&self) -> i64 {
        self.silence_max.unwrap_or(30 * 86_400_000)
    }

    /// Receivers that forget what they are not told again.
    pub(super) fn forgetful(&self) -> BTreeSet<&str> {
        let forgetful =
            self.receivers.iter().filter(|(_, receiver)| receiver.alertmanager.is_some());
        forgetful.map(|(name, _)| name.as_str()).collect()
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
