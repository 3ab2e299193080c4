//! The ways out, behind one door: each takes a notice and says whether it arrived.
//!
//! One attempt each; waiting and trying again is the matter of [`super::Delivery`].

use std::time::Duration;

use super::mask::masked;
use super::receivers::ReceiverSettings;
use super::route::Notice;
use super::settings::SettingsError;
use super::text::Texts;
use super::way::Way;

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SendError {
    pub message: String,
    /// False when the same request can never succeed.
    pub retry: bool,
}

impl SendError {
    pub(crate) fn passing(message: impl Into<String>) -> SendError {
        SendError { message: message.into(), retry: true }
    }

    pub(crate) fn lasting(message: impl Into<String>) -> SendError {
        SendError { message: message.into(), retry: false }
    }
}

/// The parts of a notice (recipients of an SMS, decisions of a webhook) that are behind us.
#[derive(Debug, Default)]
pub struct Done {
    parts: usize,
    /// Why one of them can never arrive. The others are sent all the same.
    refused: Option<String>,
}

impl Done {
    pub(crate) fn parts(&self) -> usize {
        self.parts
    }

    /// Takes in what became of the next part; what can succeed later ends the attempt.
    pub(crate) fn part(&mut self, sent: Result<(), SendError>) -> Result<(), SendError> {
        match sent {
            Err(error) if error.retry => return Err(error),
            Err(error) => self.refused = Some(error.message),
            Ok(()) => {}
        }
        self.parts += 1;
        Ok(())
    }

    pub(crate) fn end(&self) -> Result<(), SendError> {
        self.refused.as_ref().map_or(Ok(()), |message| Err(SendError::lasting(message)))
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
    /// Reads the receiver's `ca` file if it has one; connects to nothing.
    pub fn new(
        name: &str,
        settings: &ReceiverSettings,
        reveal: bool,
        timeout: Duration,
    ) -> Result<Transport, SettingsError> {
        let unusable = |message: String| SettingsError::Unusable { name: name.to_owned(), message };
        let via = settings.via().ok_or_else(|| SettingsError::OneWay(name.to_owned()))?;
        let way = Way::new(name, via, timeout).map_err(unusable)?;
        let texts = Texts::new().map_err(|error| unusable(error.to_string()))?;
        Ok(Transport { way, texts, reveal: reveal || settings.reveal })
    }

    /// Whether a program listens: it wants each decision by itself, never a digest.
    pub fn is_machine(&self) -> bool {
        self.way.is_machine()
    }

    /// One attempt; a further one goes on behind what is `done`.
    pub async fn send(&self, notice: &Notice, done: &mut Done) -> Result<(), SendError> {
        let mut copy;
        let notice = if self.reveal {
            notice
        } else {
            copy = notice.clone();
            for decision in &mut copy.decisions {
                *decision = masked(decision);
            }
            &copy
        };
        self.way.send(&self.texts, notice, done).await
    }
}

/// What an HTTP answer means. Only answers that condemn the request itself are final: a wrong
/// token or path can be put right at the other end within the day.
pub(crate) fn verdict(answer: Result<reqwest::Response, reqwest::Error>) -> Result<(), SendError> {
    // The address may carry a credential, and errors are logged.
    let answer = answer.map_err(|error| SendError::passing(chain(&error.without_url())))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let message = format!("the receiver answered {status}");
    match status.as_u16() {
        400 | 413 | 422 => Err(SendError::lasting(message)),
        _ => Err(SendError::passing(message)),
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
