//! The `notify:` section of the configuration (contract K): who can be told, and by what route.
//!
//! Reads and checks only; opens nothing. Secrets never leave through `Debug` or `Serialize`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rule::{Severity, parse_duration};

/// Text that is shown as `***`.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

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
}

/// One receiver. Exactly one of the ways is set; [`ReceiverSettings::via`] says which.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReceiverSettings {
    pub email: Option<EmailSettings>,
    pub sms: Option<SmsSettings>,
    pub webhook: Option<WebhookSettings>,
    pub slack: Option<SlackSettings>,
    pub outbox: Option<OutboxSettings>,
    /// Lifts masking (N5).
    pub reveal: bool,
    /// Notices per minute; 30 for people, unlimited for machines.
    pub rate: Option<u32>,
}

/// How a receiver is reached.
#[derive(Debug, Clone, Copy)]
pub enum Via<'a> {
    Email(&'a EmailSettings),
    Sms(&'a SmsSettings),
    Webhook(&'a WebhookSettings),
    Slack(&'a SlackSettings),
    Outbox(&'a OutboxSettings),
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EmailSettings {
    /// `smtp://user:password@host:port`; the whole counts as a secret.
    pub smtp: Secret,
    #[serde(default)]
    pub tls: TlsMode,
    /// A PEM file whose certificates are trusted besides the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    pub from: String,
    pub to: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    None,
    /// Refuses servers that do not offer it, rather than falling back to plain text.
    #[default]
    Starttls,
    Tls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    #[default]
    Twilio,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SmsSettings {
    #[serde(default)]
    pub provider: Provider,
    /// The base; the provider's path is appended.
    pub url: String,
    pub account: String,
    pub token: Secret,
    pub from: String,
    pub to: Vec<String>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    pub url: String,
    /// Without a secret, requests are not signed.
    #[serde(default)]
    pub secret: Option<Secret>,
}

/// Addresses may carry a password or a token in any part.
macro_rules! silent {
    ($($settings:ident),*) => {$(
        impl fmt::Debug for $settings {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($settings)).finish_non_exhaustive()
            }
        }
    )*};
}

silent!(EmailSettings, SmsSettings, WebhookSettings);

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SlackSettings {
    /// An incoming webhook; its path is the credential.
    pub url: Secret,
}

/// Mails as `.eml` and short messages as `.json` in a folder, for demonstrations.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxSettings {
    pub folder: PathBuf,
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
    #[error("notify: receiver `{0}` must have exactly one of email, sms, webhook, slack, outbox")]
    OneWay(String),
    #[error("notify: receiver `{0}` has nobody in `to`")]
    Nobody(String),
    #[error("notify: receiver `{0}` has a `rate` of 0; leave it out or give 1 and more")]
    NoRate(String),
    #[error("notify: {place} names an unknown receiver `{name}`")]
    Unknown { place: String, name: String },
    #[error("notify: receiver `{name}`: {message}")]
    Unusable { name: String, message: String },
}

impl NotifySettings {
    /// All faults at once; empty when the section can be used.
    pub fn faults(&self) -> Vec<SettingsError> {
        let mut faults = Vec::new();
        for (name, receiver) in &self.receivers {
            let nobody = match receiver.via() {
                None => {
                    faults.push(SettingsError::OneWay(name.clone()));
                    false
                }
                Some(Via::Email(email)) => email.to.is_empty(),
                Some(Via::Sms(sms)) => sms.to.is_empty(),
                Some(Via::Webhook(_) | Via::Slack(_) | Via::Outbox(_)) => false,
            };
            if nobody {
                faults.push(SettingsError::Nobody(name.clone()));
            }
            if receiver.rate == Some(0) {
                faults.push(SettingsError::NoRate(name.clone()));
            }
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
        let machines = self.receivers.iter().filter(|(_, receiver)| receiver.webhook.is_some());
        machines.map(|(name, _)| name.as_str()).collect()
    }
}

impl ReceiverSettings {
    /// `None` unless exactly one way is set.
    pub fn via(&self) -> Option<Via<'_>> {
        let ways = [
            self.email.as_ref().map(Via::Email),
            self.sms.as_ref().map(Via::Sms),
            self.webhook.as_ref().map(Via::Webhook),
            self.slack.as_ref().map(Via::Slack),
            self.outbox.as_ref().map(Via::Outbox),
        ];
        let mut ways = ways.into_iter().flatten();
        let way = ways.next()?;
        ways.next().is_none().then_some(way)
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    parse_duration(&text)
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a duration; try `10s`")))
}

#[cfg(test)]
mod tests;
