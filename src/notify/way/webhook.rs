//! Webhooks: one signed JSON request per decision (N1).
//!
//! The `Idempotency-Key` is the decision's id, so that a repeated delivery can be told.

use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;
use url::Url;

use super::sign::signature;
use crate::notify::heart::Beat;
use crate::notify::notice::Notice;
use crate::notify::receivers::{Secret, WebhookSettings};
use crate::notify::transport::{Done, SendError, reply};

#[derive(Debug)]
pub(in crate::notify) struct Webhook {
    url: Url,
    secret: Option<Secret>,
    http: Client,
}

impl Webhook {
    pub(super) fn new(settings: &WebhookSettings, http: Client) -> Result<Webhook, String> {
        let url = Url::parse(&settings.url).map_err(|error| format!("webhook url: {error}"))?;
        Ok(Webhook { url, secret: settings.secret.clone(), http })
    }

    pub(super) async fn send(&self, notice: &Notice, done: &mut Done) -> Result<(), SendError> {
        while let Some(decision) = notice.decisions.get(done.parts()) {
            done.part(self.post(decision, &decision.id).await)?;
        }
        done.end()
    }

    /// That all is well.
    pub(super) async fn beat(&self, beat: &Beat) -> Result<(), SendError> {
        self.post(beat, &format!("heartbeat-{}-{}", beat.instance, beat.ts)).await
    }

    async fn post(&self, body: &impl Serialize, key: &str) -> Result<(), SendError> {
        let body =
            serde_json::to_vec(body).map_err(|error| SendError::lasting(error.to_string()))?;
        let mut request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", key);
        if let Some(secret) = &self.secret {
            let signed = signature(secret.expose().as_bytes(), &body);
            request = request.header("Tidegate-Signature", signed);
        }
        reply(request.body(body).send().await).await?.verdict()
    }
}
