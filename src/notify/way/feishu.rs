//! Feishu (Lark) robots: a card, signed in the body.

use jiff::Timestamp;
use reqwest::Client;
use serde_json::{Value, json};

use super::robot::{Codes, Robot};
use super::sign::sha256_base64;
use crate::notify::notice::Notice;
use crate::notify::receivers::RobotSettings;
use crate::notify::text::{Chat, TextError, Texts};
use crate::notify::transport::SendError;
use crate::rule::Severity;

/// A request may have 20 KB; timestamp and signature take some 100 bytes of them.
const BODY_MAX: usize = 20_000 - 200;

const CODES: Codes = Codes {
    code: &["code", "StatusCode"],
    message: &["msg", "StatusMessage"],
    // A body that is none, a card that is none, too large.
    lasting: &[9_499, 19_002, 11_246, 230_025],
};

#[derive(Debug)]
pub(in crate::notify) struct Feishu(Robot);

impl Feishu {
    pub(super) fn new(settings: &RobotSettings, http: Client) -> Result<Feishu, String> {
        Robot::new(&settings.url, settings.secret.as_ref(), http).map(Feishu)
    }

    pub(super) fn body(texts: &Texts, notice: &Notice) -> Result<Value, TextError> {
        let colour = match notice.decisions.iter().map(|decision| decision.severity).max() {
            Some(Severity::Critical) => "red",
            Some(Severity::Warning) => "orange",
            Some(Severity::Info) | None => "blue",
        };
        let body = |chat: &Chat| {
            json!({ "msg_type": "interactive", "card": {
                "config": { "wide_screen_mode": true },
                "header": { "template": colour,
                    "title": { "tag": "plain_text", "content": chat.title } },
                "elements": [{ "tag": "div", "text": { "tag": "lark_md", "content": chat.text } }],
            } })
        };
        let fits = |chat: &Chat| body(chat).to_string().len() <= BODY_MAX;
        Ok(body(&texts.chat(notice, fits)?))
    }

    pub(super) async fn send(&self, texts: &Texts, notice: &Notice) -> Result<(), SendError> {
        let mut body = Self::body(texts, notice)?;
        if let Some(secret) = &self.0.secret {
            let now = Timestamp::now().as_second();
            body["timestamp"] = now.to_string().into();
            body["sign"] = sign(now, secret.expose()).into();
        }
        self.0.post(self.0.url.clone(), &body, &CODES).await
    }
}

/// The HMAC of nothing, under the timestamp, an end of line and the secret.
fn sign(now_s: i64, secret: &str) -> String {
    sha256_base64(&format!("{now_s}\n{secret}"), "")
}

#[cfg(test)]
mod tests;
