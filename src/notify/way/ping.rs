//! An address that is asked for, to say that all is well; nobody reads the answer.

use std::time::Duration;

use reqwest::{Client, Method};
use url::Url;

use super::client;
use crate::notify::heart::{Beat, BeatMethod};
use crate::notify::receivers::Secret;
use crate::notify::transport::{SendError, reply};

#[derive(Debug)]
pub(in crate::notify) struct Ping {
    url: Url,
    method: Method,
    http: Client,
}

impl Ping {
    pub(in crate::notify) fn new(
        url: &Secret,
        method: BeatMethod,
        timeout: Duration,
    ) -> Result<Ping, String> {
        let http = client(url.expose(), timeout)?;
        let url = Url::parse(url.expose()).map_err(|error| format!("`url`: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("`url` is not an http or https URL".to_owned());
        }
        let method = match method {
            BeatMethod::Get => Method::GET,
            BeatMethod::Head => Method::HEAD,
            BeatMethod::Post => Method::POST,
        };
        Ok(Ping { url, method, http })
    }

    pub(in crate::notify) async fn send(&self, beat: &Beat) -> Result<(), SendError> {
        let mut request = self.http.request(self.method.clone(), self.url.clone());
        if self.method == Method::POST {
            request = request.json(beat);
        }
        reply(request.send().await).await?.verdict()
    }
}
