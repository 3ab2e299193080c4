//! One receiver's settings: the ways to reach it, each with its own keys.
//!
//! Reads and checks only; opens nothing. Secrets never leave through `Debug` or `Serialize`.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};

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
