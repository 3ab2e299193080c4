//! A folder instead of a network: mails as `.eml`, short messages as `.json`, for demonstrations.

use std::path::PathBuf;

use lettre::message::Mailbox;
use serde_json::json;

use super::email::mail;
use crate::notify::notice::Notice;
use crate::notify::receivers::OutboxSettings;
use crate::notify::text::Texts;
use crate::notify::transport::SendError;

#[derive(Debug)]
pub(in crate::notify) struct Outbox {
    name: String,
    folder: PathBuf,
}

impl Outbox {
    pub(super) fn new(name: &str, settings: &OutboxSettings) -> Outbox {
        Outbox { name: name.to_owned(), folder: settings.folder.clone() }
    }

    /// Named by the first decision: a repeated delivery writes the same files again.
    pub(super) async fn send(&self, texts: &Texts, notice: &Notice) -> Result<(), SendError> {
        let id = notice.decisions.first().map_or("empty", |decision| decision.id.as_str());
        let address = |name: &str| {
            format!("{name}@tidegate.example")
                .parse::<Mailbox>()
                .map_err(|error| SendError::lasting(error.to_string()))
        };
        let mail =
            mail(&address("tidegate")?, &[address("oncall")?], &texts.mail(notice)?, &notice.id())?;
        let sms = json!({ "to": self.name, "body": texts.sms(notice)? });
        tokio::fs::create_dir_all(&self.folder)
            .await
            .map_err(|error| SendError::passing(error.to_string()))?;
        let place = |ending: &str| self.folder.join(format!("{}-{id}.{ending}", self.name));
        tokio::fs::write(place("eml"), mail.formatted())
            .await
            .map_err(|error| SendError::passing(error.to_string()))?;
        tokio::fs::write(place("json"), sms.to_string())
            .await
            .map_err(|error| SendError::passing(error.to_string()))
    }
}
