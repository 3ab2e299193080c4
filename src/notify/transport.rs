//! The ways out, behind one door: each takes a notice and says whether it arrived.
//!
//! One attempt each; waiting and trying again is the matter of [`super::Delivery`].

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde_json::Value;

use super::heart::Beat;
use super::mask::masked;
use super::notice::Notice;
use super::receivers::ReceiverSettings;
use super::settings::{NotifySettings, SettingsError};
use super::text::{TextError, Texts};
use super::way::Way;

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SendError {
    pub message: String,
    /// False when the same request can never succeed.
    pub retry: bool,
    /// What the receiver answered, as far as it was text. Never logged: it may repeat whom the
    /// notice is about.
    pub answer: String,
    /// How long the receiver asks not to be sent anything.
    pub retry_after: Option<Duration>,
}

impl SendError {
    pub(crate) fn passing(message: impl Into<String>) -> SendError {
        SendError { message: message.into(), retry: true, answer: String::new(), retry_after: None }
    }

    pub(crate) fn lasting(message: impl Into<String>) -> SendError {
        SendError { retry: false, ..SendError::passing(message) }
    }
}

impl From<TextError> for SendError {
    fn from(error: TextError) -> SendError {
        SendError::lasting(error.to_string())
    }
}

/// The parts of a notice (recipients of an SMS, decisions of a webhook) that are behind us.
#[derive(Debug, Default)]
pub struct Done {
    parts: usize,
    /// Why one of them can never arrive, and the answer. The others are sent all the same.
    refused: Option<(String, String)>,
}

impl Done {
    pub(crate) fn parts(&self) -> usize {
        self.parts
    }

    /// Takes in what became of the next part; what can succeed later ends the attempt.
    pub(crate) fn part(&mut self, sent: Result<(), SendError>) -> Result<(), SendError> {
        match sent {
            Err(error) if error.retry => return Err(error),
            Err(error) => self.refused = Some((error.message, error.answer)),
            Ok(()) => {}
        }
        self.parts += 1;
        Ok(())
    }

    pub(crate) fn end(&self) -> Result<(), SendError> {
        let Some((message, answer)) = &self.refused else { return Ok(()) };
        Err(SendError { answer: answer.clone(), ..SendError::lasting(message) })
    }
}

/// One receiver's way out.
#[derive(Debug)]
pub struct Transport {
    way: Way,
    texts: Texts,
    reveal: bool,
}

impl Transport {
    /// Must be called within a tokio runtime. Reads the receiver's `ca` file and its templates, if
    /// it has any; connects to nothing.
    /// `notify` are the settings of all; `reveal` lifts masking.
    pub fn new(
        name: &str,
        receiver: &ReceiverSettings,
        notify: &NotifySettings,
        reveal: bool,
        timeout: Duration,
    ) -> Result<Transport, SettingsError> {
        let unusable = |message: String| SettingsError::Unusable { name: name.to_owned(), message };
        let via = receiver.via().ok_or_else(|| SettingsError::OneWay(name.to_owned()))?;
        let texts = Texts::new(notify, receiver).map_err(|error| unusable(error.to_string()))?;
        let way = Way::new(name, via, &texts, timeout).map_err(unusable)?;
        Ok(Transport { way, texts, reveal: reveal || receiver.reveal })
    }

    /// Whether a program listens: it wants each decision by itself, never a digest.
    pub fn is_machine(&self) -> bool {
        self.way.is_machine()
    }

    /// One attempt; a further one goes on behind what is `done`.
    pub async fn send(&self, notice: &Notice, done: &mut Done) -> Result<(), SendError> {
        self.way.send(&self.texts, &self.seen(notice), done).await
    }

    /// That all is well, where a program listens.
    pub(super) async fn beat(&self, beat: &Beat) -> Result<(), SendError> {
        self.way.beat(beat).await
    }

    /// What would be sent, part by part: a name and the text.
    ///
    /// # Errors
    /// When a template cannot be rendered.
    pub fn preview(&self, notice: &Notice) -> Result<Vec<(String, String)>, TextError> {
        self.way.preview(&self.texts, &self.seen(notice))
    }

    /// The notice as this receiver may see it.
    fn seen<'n>(&self, notice: &'n Notice) -> Cow<'n, Notice> {
        if self.reveal {
            return Cow::Borrowed(notice);
        }
        let mut copy = notice.clone();
        for decision in &mut copy.decisions {
            *decision = masked(decision);
        }
        Cow::Owned(copy)
    }
}

/// The most that is read of an answer: what a provider has to say is short.
const ANSWER_MAX: usize = 64 * 1024;
/// The most of it that is shown.
const SHOWN_MAX: usize = 500;

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    body: String,
    /// `null` unless the body is JSON.
    json: Value,
    retry_after: Option<Duration>,
}

/// The answer with its body.
pub(crate) async fn reply(
    answer: Result<reqwest::Response, reqwest::Error>,
) -> Result<Reply, SendError> {
    // The address may carry a credential, and errors are logged.
    let passing = |error: reqwest::Error| SendError::passing(chain(&error.without_url()));
    let mut answer = answer.map_err(passing)?;
    let status = answer.status();
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.filter(|_| matches!(status.as_u16(), 429 | 503));
    let retry_after = retry_after.and_then(|value| asked_for(value, Timestamp::now()));
    let mut body = Vec::new();
    while body.len() < ANSWER_MAX
        && let Some(chunk) = answer.chunk().await.map_err(passing)?
    {
        body.extend_from_slice(&chunk);
    }
    let json = serde_json::from_slice(&body).unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Reply { status, body, json, retry_after })
}

/// Seconds, or an instant as HTTP writes it (RFC 9110, 10.2.3).
fn asked_for(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    pub(crate) fn json(&self) -> &Value {
        &self.json
    }

    /// What the status means. Only those that condemn the request itself are final: a wrong
    /// token or path can be put right at the other end within the day.
    pub(crate) fn verdict(&self) -> Result<(), SendError> {
        if self.status.is_success() {
            return Ok(());
        }
        let message = format!("the receiver answered {}", self.status);
        match self.status.as_u16() {
            400 | 413 | 422 => Err(self.lasting(message)),
            _ => Err(self.passing(message)),
        }
    }

    pub(crate) fn passing(&self, message: impl Into<String>) -> SendError {
        let retry_after = self.retry_after;
        SendError { answer: self.shown(), retry_after, ..SendError::passing(message) }
    }

    pub(crate) fn lasting(&self, message: impl Into<String>) -> SendError {
        SendError { answer: self.shown(), ..SendError::lasting(message) }
    }

    fn shown(&self) -> String {
        let text = self.body.trim();
        let more = if text.chars().nth(SHOWN_MAX).is_some() { "…" } else { "" };
        format!("{}{more}", text.chars().take(SHOWN_MAX).collect::<String>())
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
