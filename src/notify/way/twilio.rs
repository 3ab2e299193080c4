//! Short messages through Twilio's `Messages.json` and what speaks like it (N1).

use reqwest::Client;
use url::Url;

use crate::notify::receivers::{Secret, SmsSettings};
use crate::notify::transport::{Done, SendError, reply};

#[derive(Debug)]
pub(in crate::notify) struct Twilio {
    url: Url,
    account: String,
    token: Secret,
    from: String,
    to: Vec<String>,
    http: Client,
}

impl Twilio {
    pub(super) fn new(settings: &SmsSettings, http: Client) -> Result<Twilio, String> {
        let mut url = Url::parse(&settings.url).map_err(|error| format!("sms url: {error}"))?;
        url.path_segments_mut()
            .map_err(|()| "sms url: cannot be a base".to_owned())?
            .pop_if_empty()
            .extend(["2010-04-01", "Accounts", &settings.account, "Messages.json"]);
        Ok(Twilio {
            url,
            account: settings.account.clone(),
            token: settings.token.clone(),
            from: settings.from.clone(),
            to: settings.to.clone(),
            http,
        })
    }

    /// One request per recipient.
    pub(super) async fn send(&self, text: &str, done: &mut Done) -> Result<(), SendError> {
        while let Some(to) = self.to.get(done.parts()) {
            let form = [("To", to.as_str()), ("From", &self.from), ("Body", text)];
            let request = self
                .http
                .post(self.url.clone())
                .basic_auth(&self.account, Some(self.token.expose()))
                .form(&form);
            done.part(reply(request.send().await).await.and_then(|reply| reply.verdict()))?;
        }
        done.end()
    }
}
