//! The ways out: one file each, and the choice between them.

mod email;
mod outbox;
mod slack;
mod sms;
mod webhook;

use std::time::Duration;

pub use webhook::signature;

use self::email::Email;
use self::outbox::Outbox;
use self::slack::Slack;
use self::sms::Sms;
use self::webhook::Webhook;
use super::receivers::Via;
use super::route::Notice;
use super::text::Texts;
use super::transport::{Done, SendError};

#[derive(Debug)]
pub(super) enum Way {
    Email(Box<Email>),
    Sms(Sms),
    Webhook(Webhook),
    Slack(Slack),
    Outbox(Outbox),
}

impl Way {
    /// Reads files that the settings name; connects to nothing.
    pub(super) fn new(name: &str, via: Via<'_>, timeout: Duration) -> Result<Way, String> {
        let http = |url: &str| client(url, timeout);
        Ok(match via {
            Via::Email(email) => Way::Email(Box::new(Email::new(email, timeout)?)),
            Via::Sms(sms) => Way::Sms(Sms::new(sms, http(&sms.url)?)?),
            Via::Webhook(hook) => Way::Webhook(Webhook::new(hook, http(&hook.url)?)?),
            Via::Slack(slack) => Way::Slack(Slack::new(slack, http(slack.url.expose())?)?),
            Via::Outbox(outbox) => Way::Outbox(Outbox::new(name, outbox)),
        })
    }

    /// Whether a program listens: it wants each decision by itself, never a digest.
    pub(super) fn is_machine(&self) -> bool {
        matches!(self, Way::Webhook(_))
    }

    /// One attempt; a further one goes on behind what is `done`.
    pub(super) async fn send(
        &self,
        texts: &Texts,
        notice: &Notice,
        done: &mut Done,
    ) -> Result<(), SendError> {
        let message = || texts.write(notice).map_err(|error| SendError::lasting(error.to_string()));
        match self {
            Way::Email(email) => email.send(&message()?).await,
            Way::Sms(sms) => sms.send(&message()?, done).await,
            Way::Webhook(hook) => hook.send(notice, done).await,
            Way::Slack(slack) => slack.send(&message()?).await,
            Way::Outbox(outbox) => outbox.send(notice, &message()?).await,
        }
    }
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
