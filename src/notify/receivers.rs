//! One receiver's settings: the ways to reach it, each with its own keys.
//!
//! Reads and checks only; opens nothing. Secrets never leave through `Debug` or `Serialize`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};

use super::settings::{SettingsError, duration};
use crate::rule::write_duration;

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
    pub dingtalk: Option<RobotSettings>,
    pub feishu: Option<RobotSettings>,
    pub wecom: Option<SlackSettings>,
    pub alertmanager: Option<AlertmanagerSettings>,
    pub outbox: Option<OutboxSettings>,
    /// Lifts masking (N5).
    pub reveal: bool,
    /// Notices per minute; what the provider bears if absent, without bound for programs.
    pub rate: Option<u32>,
    /// Of its texts; that of `notify` if absent.
    pub language: Option<Language>,
    /// A folder of templates that go before those of `notify`.
    pub templates: Option<PathBuf>,
}

/// The languages of built-in texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    #[default]
    En,
    Zh,
}

/// How a receiver is reached.
#[derive(Debug, Clone, Copy)]
pub enum Via<'a> {
    Email(&'a EmailSettings),
    Sms(&'a SmsSettings),
    Webhook(&'a WebhookSettings),
    Slack(&'a SlackSettings),
    Dingtalk(&'a RobotSettings),
    Feishu(&'a RobotSettings),
    Wecom(&'a SlackSettings),
    Alertmanager(&'a AlertmanagerSettings),
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
    /// Twilio's `Messages.json` and what speaks like it.
    #[default]
    Twilio,
    /// Aliyun's `SendSms`.
    Aliyun,
    /// Any other HTTP interface, by templates.
    Template,
}

impl Provider {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Provider::Twilio => "twilio",
            Provider::Aliyun => "aliyun",
            Provider::Template => "template",
        }
    }
}

/// Of all providers; [`crate::notify::NotifySettings::faults`] says which keys each one needs.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmsSettings {
    pub provider: Provider,
    /// The base; the provider's path is appended. `template`: the whole, a template itself.
    pub url: String,
    /// Account, or id of the access key.
    pub account: String,
    /// Token, or secret of the access key.
    pub token: Secret,
    /// Sender, or the name that signs.
    pub from: String,
    pub to: Vec<String>,
    /// `aliyun`: the code of the template that was approved there.
    pub template: String,
    /// `aliyun`: the variables of that template, each a template itself.
    pub params: BTreeMap<String, String>,
    /// `template`: the method of the request.
    pub method: Method,
    /// `template`: headers, each a template itself. All of them count as secrets.
    pub headers: BTreeMap<String, Secret>,
    /// `template`: the body, a template itself.
    pub body: String,
    /// `template`: an expression over `status` and `json` that holds when it was accepted.
    pub success: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    #[default]
    Post,
    Get,
    Put,
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

silent!(EmailSettings, SmsSettings, WebhookSettings, AlertmanagerSettings);

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SlackSettings {
    /// An incoming webhook; its path is the credential.
    pub url: Secret,
}

/// A robot in a group of a messenger; its address holds the credential.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RobotSettings {
    pub url: Secret,
    /// Signs requests, where the robot asks for it.
    #[serde(default)]
    pub secret: Option<Secret>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerSettings {
    /// The base; `/api/v2/alerts` is appended.
    pub url: String,
    /// Labels of every alert besides those of the decision.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Milliseconds for which an alert stands whose end is not known; 5 min if absent.
    #[serde(default, deserialize_with = "duration", serialize_with = "spelled")]
    pub resolve_after: Option<i64>,
    /// Milliseconds after which what still stands is sent again; 1 min if absent.
    #[serde(default, deserialize_with = "duration", serialize_with = "spelled")]
    pub resend: Option<i64>,
}

/// Mails as `.eml` and short messages as `.json` in a folder, for demonstrations.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxSettings {
    pub folder: PathBuf,
}

impl Via<'_> {
    /// As its key in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Via::Email(_) => "email",
            Via::Sms(_) => "sms",
            Via::Webhook(_) => "webhook",
            Via::Slack(_) => "slack",
            Via::Dingtalk(_) => "dingtalk",
            Via::Feishu(_) => "feishu",
            Via::Wecom(_) => "wecom",
            Via::Alertmanager(_) => "alertmanager",
            Via::Outbox(_) => "outbox",
        }
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
            self.dingtalk.as_ref().map(Via::Dingtalk),
            self.feishu.as_ref().map(Via::Feishu),
            self.wecom.as_ref().map(Via::Wecom),
            self.alertmanager.as_ref().map(Via::Alertmanager),
            self.outbox.as_ref().map(Via::Outbox),
        ];
        let mut ways = ways.into_iter().flatten();
        let way = ways.next()?;
        ways.next().is_none().then_some(way)
    }

    /// Whether a program listens: it gets every decision by itself and at once.
    pub fn is_machine(&self) -> bool {
        self.webhook.is_some() || self.alertmanager.is_some()
    }

    /// All faults at once, of the receiver that is called `name`.
    pub(super) fn faults(&self, name: &str) -> Vec<SettingsError> {
        let mut faults = Vec::new();
        let to = match self.via() {
            None => {
                faults.push(SettingsError::OneWay(name.to_owned()));
                None
            }
            Some(Via::Email(email)) => Some(&email.to),
            Some(Via::Sms(sms)) => {
                faults.extend(sms.faults().into_iter().map(|message| {
                    let name = name.to_owned();
                    SettingsError::Unusable { name, message }
                }));
                Some(&sms.to)
            }
            Some(_) => None,
        };
        if to.is_some_and(Vec::is_empty) {
            faults.push(SettingsError::Nobody(name.to_owned()));
        }
        if self.rate == Some(0) {
            faults.push(SettingsError::NoRate(name.to_owned()));
        }
        faults
    }
}

impl SmsSettings {
    /// Keys that the provider needs, and keys that are not for it.
    fn faults(&self) -> Vec<String> {
        use Provider::{Aliyun, Template, Twilio};
        let provider = self.provider.as_str();
        let keys: [(&str, bool, &[Provider], &[Provider]); 9] = [
            ("url", !self.url.is_empty(), &[Twilio, Template], &[Twilio, Aliyun, Template]),
            ("account", !self.account.is_empty(), &[Twilio, Aliyun], &[Twilio, Aliyun, Template]),
            ("token", !self.token.0.is_empty(), &[Twilio, Aliyun], &[Twilio, Aliyun, Template]),
            ("from", !self.from.is_empty(), &[Twilio, Aliyun], &[Twilio, Aliyun, Template]),
            ("template", !self.template.is_empty(), &[Aliyun], &[Aliyun]),
            ("params", !self.params.is_empty(), &[], &[Aliyun]),
            ("headers", !self.headers.is_empty(), &[], &[Template]),
            ("body", !self.body.is_empty(), &[], &[Template]),
            ("success", self.success.is_some(), &[], &[Template]),
        ];
        let mut faults = Vec::new();
        for (key, given, needed, known) in keys {
            if !given && needed.contains(&self.provider) {
                faults.push(format!("`sms.{key}` is missing; the provider `{provider}` needs it"));
            } else if given && !known.contains(&self.provider) {
                let whose = known.first().map_or("", |provider| provider.as_str());
                faults.push(format!(
                    "`sms.{key}` is for the provider `{whose}`, and this is `{provider}`"
                ));
            }
        }
        faults
    }
}

#[expect(clippy::ref_option, reason = "serde asks for it")]
fn spelled<S: Serializer>(ms: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    ms.map(|ms| write_duration(u128::from(ms.unsigned_abs()))).serialize(serializer)
}
