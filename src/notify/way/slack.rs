//! Slack incoming webhooks: a header and a section.

use reqwest::Client;
use serde_json::{Value, json};
use url::Url;

use crate::notify::notice::Notice;
use crate::notify::receivers::SlackSettings;
use crate::notify::text::{Chat, TextError, Texts};
use crate::notify::transport::{SendError, reply};

/// Characters of a header, and of a section.
const HEADER_MAX: usize = 150;
const SECTION_MAX: usize = 3_000;

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

    pub(super) fn body(texts: &Texts, notice: &Notice) -> Result<Value, TextError> {
        let fits = |chat: &Chat| chat.text.chars().count() <= SECTION_MAX;
        let Chat { title, text } = texts.chat(notice, fits)?;
        let mut header: String = title.chars().take(HEADER_MAX).collect();
        if title.chars().count() > HEADER_MAX {
            header.pop();
            header.push('…');
        }
        // What a notification and a screen reader say; read for marks and mentions as well.
        let plain = title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        Ok(json!({
            "text": plain,
            "blocks": [
                { "type": "header", "text": { "type": "plain_text", "text": header, "emoji": false } },
                { "type": "section", "text": { "type": "mrkdwn", "text": text } },
            ],
        }))
    }

    pub(super) async fn send(&self, texts: &Texts, notice: &Notice) -> Result<(), SendError> {
        let body = Self::body(texts, notice)?;
        reply(self.http.post(self.url.clone()).json(&body).send().await).await?.verdict()
    }
}
