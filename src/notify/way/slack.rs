//! Slack incoming webhooks: the plain text of a notice as one message.

use reqwest::Client;
use serde_json::json;
use url::Url;

use crate::notify::receivers::SlackSettings;
use crate::notify::text::Message;
use crate::notify::transport::{SendError, verdict};

pub(in crate::notify) struct Slack {
    url: Url,
    http: Client,
}

/// The address is the credential and stays hidden.
impl std::fmt::Debug for Slack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slack").finish_non_exhaustive()
    }
}

impl Slack {
    pub(super) fn new(settings: &SlackSettings, http: Client) -> Result<Slack, String> {
        let url =
            Url::parse(settings.url.expose()).map_err(|error| format!("slack url: {error}"))?;
        Ok(Slack { url, http })
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), SendError> {
        // Slack reads `<…>` as links and mentions; a user id must not ping a channel.
        let text = format!("{}\n{}", message.subject, message.text)
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        verdict(self.http.post(self.url.clone()).json(&json!({ "text": text })).send().await)
    }
}
