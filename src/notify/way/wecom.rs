//! WeCom (Enterprise WeChat) robots: markdown of at most 4,096 bytes.

use reqwest::Client;
use serde_json::{Value, json};

use super::robot::{Codes, Robot};
use crate::notify::notice::Notice;
use crate::notify::receivers::SlackSettings;
use crate::notify::text::{Chat, TextError, Texts, escaped};
use crate::notify::transport::SendError;

/// Bytes of the text.
const TEXT_MAX: usize = 4_096;

const CODES: Codes = Codes {
    code: &["errcode"],
    message: &["errmsg"],
    // No such kind of message, no text, a parameter that is too long or unfit, no JSON.
    lasting: &[40_008, 44_004, 40_058, 47_001],
};

#[derive(Debug)]
pub(in crate::notify) struct Wecom(Robot);

impl Wecom {
    pub(super) fn new(settings: &SlackSettings, http: Client) -> Result<Wecom, String> {
        Robot::new(&settings.url, None, http).map(Wecom)
    }

    pub(super) fn body(texts: &Texts, notice: &Notice) -> Result<Value, TextError> {
        let content = |chat: &Chat| format!("**{}**\n{}", escaped(&chat.title), chat.text);
        let chat = texts.chat(notice, |chat| content(chat).len() <= TEXT_MAX)?;
        Ok(json!({ "msgtype": "markdown", "markdown": { "content": content(&chat) } }))
    }

    pub(super) async fn send(&self, texts: &Texts, notice: &Notice) -> Result<(), SendError> {
        let body = Self::body(texts, notice)?;
        self.0.post(self.0.url.clone(), &body, &CODES).await
    }
}
