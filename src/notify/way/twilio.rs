//! Short messages through a Twilio-compatible provider (N1).

use reqwest::Client;
use url::Url;

use crate::notify::receivers::{Secret, SmsSettings};
use crate::notify::text::Message;
use crate::notify::transport::{Done, SendError, verdict};

#[derive(Debug)]
pub(in crate::notify) struct Sms {
    url: Url,
    account: String,
    token: Secret,
    from: String,
    to: Vec<String>,
    http: Client,
}

impl Sms {
    pub(super) fn new(settings: &SmsSettings, http: Client) -> Result<Sms, String> {
        let mut url = Url::parse(&settings.url).map_err(|error| format!("sms url: {error}"))?;
        url.path_segments_mut()
            .map_err(|()| "sms url: cannot be a base".to_owned())?
            .pop_if_empty()
            .extend(["2010-04-01", "Accounts", &settings.account, "Messages.json"]);
        Ok(Sms {
            url,
            account: settings.account.clone(),
            token: settings.token.clone(),
            from: settings.from.clone(),
            to: settings.to.clone(),
            http,
        })
    }

    /// One request per recipient.
    pub(super) async fn send(&self, message: &Message, done: &mut Done) -> Result<(), SendError> {
        while let Some(to) = self.to.get(done.parts()) {
            let form = [("To", to), ("From", &self.from), ("Body", &message.short)];
            let request = self
                .http
                .post(self.url.clone())
                .basic_auth(&self.account, Some(self.token.expose()))
                .form(&form);
            done.part(verdict(request.send().await))?;
        }
        done.end()
    }
}
