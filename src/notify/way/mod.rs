//! The ways out: one file each, and the choice between them.

mod alertmanager;
mod aliyun;
mod dingtalk;
mod email;
mod feishu;
mod http_template;
mod outbox;
mod ping;
mod robot;
mod sign;
mod slack;
mod twilio;
mod webhook;
mod wecom;

use std::time::Duration;

use serde_json::Value;

pub(super) use ping::Ping;
pub use sign::signature;

use self::alertmanager::Alertmanager;
use self::aliyun::Aliyun;
use self::dingtalk::Dingtalk;
use self::email::Email;
use self::feishu::Feishu;
use self::http_template::HttpTemplate;
use self::outbox::Outbox;
use self::slack::Slack;
use self::twilio::Twilio;
use self::webhook::Webhook;
use self::wecom::Wecom;
use super::heart::Beat;
use super::notice::Notice;
use super::receivers::{Provider, Via};
use super::text::{Encoding, TextError, Texts, segments};
use super::transport::{Done, SendError};

#[derive(Debug)]
pub(super) enum Way {
    Email(Box<Email>),
    Twilio(Twilio),
    Aliyun(Box<Aliyun>),
    HttpTemplate(Box<HttpTemplate>),
    Webhook(Webhook),
    Slack(Slack),
    Dingtalk(Dingtalk),
    Feishu(Feishu),
    Wecom(Wecom),
    Alertmanager(Box<Alertmanager>),
    Outbox(Outbox),
}

impl Way {
    /// Reads files that the settings name; connects to nothing.
    pub(super) fn new(
        name: &str,
        via: Via<'_>,
        texts: &Texts,
        timeout: Duration,
    ) -> Result<Way, String> {
        let http = |url: &str| client(url, timeout);
        Ok(match via {
            Via::Email(email) => Way::Email(Box::new(Email::new(email, timeout)?)),
            Via::Sms(sms) => match sms.provider {
                Provider::Twilio => Way::Twilio(Twilio::new(sms, http(&sms.url)?)?),
                Provider::Aliyun => Way::Aliyun(Box::new(Aliyun::new(sms, texts, &http)?)),
                Provider::Template => {
                    Way::HttpTemplate(Box::new(HttpTemplate::new(sms, texts, &http)?))
                }
            },
            Via::Webhook(hook) => Way::Webhook(Webhook::new(hook, http(&hook.url)?)?),
            Via::Slack(slack) => Way::Slack(Slack::new(slack, http(slack.url.expose())?)?),
            Via::Dingtalk(robot) => Way::Dingtalk(Dingtalk::new(robot, http(robot.url.expose())?)?),
            Via::Feishu(robot) => Way::Feishu(Feishu::new(robot, http(robot.url.expose())?)?),
            Via::Wecom(robot) => Way::Wecom(Wecom::new(robot, http(robot.url.expose())?)?),
            Via::Alertmanager(far) => {
                Way::Alertmanager(Box::new(Alertmanager::new(far, http(&far.url)?)?))
            }
            Via::Outbox(outbox) => Way::Outbox(Outbox::new(name, outbox)),
        })
    }

    /// Whether a program listens: it wants each decision by itself, never a digest.
    pub(super) fn is_machine(&self) -> bool {
        matches!(self, Way::Webhook(_) | Way::Alertmanager(_))
    }

    /// One attempt; a further one goes on behind what is `done`.
    pub(super) async fn send(
        &self,
        texts: &Texts,
        notice: &Notice,
        done: &mut Done,
    ) -> Result<(), SendError> {
        match self {
            Way::Email(email) => email.send(&texts.mail(notice)?, &notice.id()).await,
            Way::Twilio(sms) => sms.send(&texts.sms(notice)?, done).await,
            Way::Aliyun(sms) => sms.send(texts, notice, done).await,
            Way::HttpTemplate(sms) => sms.send(texts, notice, done).await,
            Way::Webhook(hook) => hook.send(notice, done).await,
            Way::Slack(slack) => slack.send(texts, notice).await,
            Way::Dingtalk(robot) => robot.send(texts, notice).await,
            Way::Feishu(robot) => robot.send(texts, notice).await,
            Way::Wecom(robot) => robot.send(texts, notice).await,
            Way::Alertmanager(far) => far.send(texts, notice).await,
            Way::Outbox(outbox) => outbox.send(texts, notice).await,
        }
    }

    /// That all is well, for programs.
    pub(super) async fn beat(&self, beat: &Beat) -> Result<(), SendError> {
        match self {
            Way::Webhook(hook) => hook.beat(beat).await,
            Way::Alertmanager(far) => far.beat(beat).await,
            _ => Err(SendError::lasting("it takes no heartbeats")),
        }
    }

    /// What would be sent, part by part: a name and the text. Signatures are left out.
    pub(super) fn preview(
        &self,
        texts: &Texts,
        notice: &Notice,
    ) -> Result<Vec<(String, String)>, TextError> {
        let part = |name: &str, text: String| (name.to_owned(), text);
        let pretty = |body: &Value| serde_json::to_string_pretty(body).unwrap_or_default();
        Ok(match self {
            Way::Email(_) | Way::Outbox(_) => {
                let mail = texts.mail(notice)?;
                let mut parts = vec![
                    part("subject", mail.subject),
                    part("text", mail.text),
                    part("html", mail.html),
                ];
                if matches!(self, Way::Outbox(_)) {
                    parts.extend(short(texts.sms(notice)?));
                }
                parts
            }
            Way::Twilio(_) => short(texts.sms(notice)?).into(),
            Way::Aliyun(sms) => vec![part("params", sms.params(texts, notice)?)],
            Way::HttpTemplate(sms) => {
                let written = sms.sample(texts, notice)?;
                let mut parts = vec![part("url", written.url), part("body", written.body)];
                parts.extend(short(texts.sms(notice)?));
                parts
            }
            Way::Webhook(_) => {
                let bodies = notice.decisions.iter();
                bodies
                    .map(|decision| serde_json::to_string(decision).unwrap_or_default())
                    .map(|body| part("body", body))
                    .collect()
            }
            Way::Slack(_) => vec![part("body", pretty(&Slack::body(texts, notice)?))],
            Way::Dingtalk(_) => vec![part("body", pretty(&Dingtalk::body(texts, notice)?))],
            Way::Feishu(_) => vec![part("body", pretty(&Feishu::body(texts, notice)?))],
            Way::Wecom(_) => vec![part("body", pretty(&Wecom::body(texts, notice)?))],
            Way::Alertmanager(far) => vec![part("body", pretty(&far.body(texts, notice)?))],
        })
    }
}

/// A short message and its size.
fn short(text: String) -> [(String, String); 2] {
    let size = segments(&text);
    let encoding = match size.encoding {
        Encoding::Gsm7 => "GSM-7",
        Encoding::Ucs2 => "UCS-2",
    };
    let parts = if size.parts == 1 { "part" } else { "parts" };
    let told = format!("{} {parts}, {} units of {encoding}", size.parts, size.units);
    [("sms".to_owned(), text), ("size".to_owned(), told)]
}

/// A client for one receiver.
fn client(url: &str, timeout: Duration) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .timeout(timeout)
        // A redirect would carry a signed body, or a token, to a place nobody configured.
        .redirect(reqwest::redirect::Policy::none());
    if is_here(url) {
        // A proxy of the environment would look for the receiver on its own machine.
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| error.to_string())
}

/// Whether the address is one of this machine's own.
fn is_here(url: &str) -> bool {
    let url = url::Url::parse(url);
    url.is_ok_and(|url| match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    })
}
