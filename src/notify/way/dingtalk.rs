//! DingTalk robots: markdown, signed in the address.

use jiff::Timestamp;
use reqwest::Client;
use serde_json::{Value, json};
use url::Url;

use super::robot::{Codes, Robot};
use super::sign::sha256_base64;
use crate::notify::notice::Notice;
use crate::notify::receivers::RobotSettings;
use crate::notify::text::{Chat, TextError, Texts};
use crate::notify::transport::SendError;

/// A request may have 20,000 bytes.
const BODY_MAX: usize = 20_000;

const CODES: Codes = Codes {
    code: &["errcode"],
    message: &["errmsg"],
    // No text, no such kind of message, too long; unsafe content, links or images.
    lasting: &[40_035, 43_004, 400_105, 460_101, 430_101, 430_102, 430_103, 430_104],
};

#[derive(Debug)]
pub(in crate::notify) struct Dingtalk(Robot);

impl Dingtalk {
    pub(super) fn new(settings: &RobotSettings, http: Client) -> Result<Dingtalk, String> {
        Robot::new(&settings.url, settings.secret.as_ref(), http).map(Dingtalk)
    }

    pub(super) fn body(texts: &Texts, notice: &Notice) -> Result<Value, TextError> {
        let body = |chat: &Chat| {
            // A single end of line is a space there; two spaces before it keep it.
            let text = chat.text.replace('\n', "  \n");
            let title = crate::notify::text::escaped(&chat.title);
            let text = format!("#### {title}\n\n{text}");
            json!({ "msgtype": "markdown", "markdown": { "title": chat.title, "text": text } })
        };
        let fits = |chat: &Chat| body(chat).to_string().len() <= BODY_MAX;
        Ok(body(&texts.chat(notice, fits)?))
    }

    pub(super) async fn send(&self, texts: &Texts, notice: &Notice) -> Result<(), SendError> {
        let body = Self::body(texts, notice)?;
        let mut url = self.0.url.clone();
        if let Some(secret) = &self.0.secret {
            sign(&mut url, Timestamp::now().as_millisecond(), secret.expose());
        }
        self.0.post(url, &body, &CODES).await
    }
}

/// The HMAC of `timestamp`, an end of line and the secret, under the secret.
fn sign(url: &mut Url, now_ms: i64, secret: &str) {
    let signed = sha256_base64(secret, &format!("{now_ms}\n{secret}"));
    let timestamp = now_ms.to_string();
    url.query_pairs_mut().append_pair("timestamp", &timestamp).append_pair("sign", &signed);
}

#[cfg(test)]
mod tests;
