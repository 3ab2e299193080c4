//! What DingTalk's, Feishu's and WeCom's robots have in common: an address that holds the
//! credential, and answers of status 200 whose body says whether the message was taken.

use reqwest::Client;
use serde_json::Value;
use url::Url;

use crate::notify::receivers::Secret;
use crate::notify::transport::{Reply, SendError, reply};

pub(super) struct Robot {
    pub(super) url: Url,
    pub(super) secret: Option<Secret>,
    http: Client,
}

/// The address is the credential and stays hidden.
impl std::fmt::Debug for Robot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Robot").finish_non_exhaustive()
    }
}

/// How a robot answers.
pub(super) struct Codes {
    /// Members that may hold the code; 0 is success.
    pub(super) code: &'static [&'static str],
    pub(super) message: &'static [&'static str],
    /// Codes that condemn the message itself. Any other may pass: throttling does, and a wrong
    /// token, signature or keyword can be put right over there.
    pub(super) lasting: &'static [i64],
}

impl Robot {
    pub(super) fn new(
        url: &Secret,
        secret: Option<&Secret>,
        http: Client,
    ) -> Result<Robot, String> {
        // The faults of an address that is a credential are told without the address.
        let url = Url::parse(url.expose()).map_err(|error| format!("url: {error}"))?;
        Ok(Robot { url, secret: secret.cloned(), http })
    }

    pub(super) async fn post(
        &self,
        url: Url,
        body: &Value,
        codes: &Codes,
    ) -> Result<(), SendError> {
        judged(&reply(self.http.post(url).json(body).send().await).await?, codes)
    }
}

fn judged(reply: &Reply, codes: &Codes) -> Result<(), SendError> {
    let member = |names: &[&str]| names.iter().find_map(|name| reply.json().get(name));
    let Some(code) = member(codes.code).and_then(Value::as_i64) else {
        reply.verdict()?;
        return Err(reply.passing("the answer has no code"));
    };
    if code == 0 {
        return reply.verdict();
    }
    let said = member(codes.message).and_then(Value::as_str).unwrap_or_default();
    let message = format!("the robot refused with {code}: {said}");
    Err(if codes.lasting.contains(&code) { reply.lasting(message) } else { reply.passing(message) })
}
