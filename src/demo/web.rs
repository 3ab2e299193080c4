//! The SMS provider and the webhook of the demo: they check what theirs would check, and lay
//! what they are sent into the outbox.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use axum::{Form, Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::notify::signature;

use super::outbox::{Kind, Outbox};

/// What the receivers of the demo know each other by; nothing real hangs on it.
pub(super) const ACCOUNT: &str = "DEMO";
pub(super) const TOKEN: &str = "demo-token";
pub(super) const SECRET: &str = "demo-secret";
pub(super) const HOOK: &str = "/hook";

#[derive(Clone)]
struct Desk {
    outbox: Arc<Outbox>,
    /// Ids of decisions that have arrived: a repeated delivery is told by them.
    known: Arc<Mutex<BTreeSet<String>>>,
}

/// The form of a Twilio-compatible request.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sms {
    to: String,
    from: String,
    body: String,
}

/// Serves until it is aborted.
pub(super) async fn serve(listener: TcpListener, outbox: Arc<Outbox>) {
    let router = Router::new()
        .route("/2010-04-01/Accounts/{account}/Messages.json", post(sms))
        .route(HOOK, post(webhook))
        .with_state(Desk { outbox, known: Arc::default() });
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the receivers of the demo have ended");
    }
}

async fn sms(
    State(desk): State<Desk>,
    Path(account): Path<String>,
    headers: HeaderMap,
    Form(sms): Form<Sms>,
) -> (StatusCode, Json<Value>) {
    let wanted = format!("Basic {}", STANDARD.encode(format!("{account}:{TOKEN}")));
    if account != ACCOUNT || header(&headers, header::AUTHORIZATION.as_str()) != Some(&wanted) {
        return (StatusCode::UNAUTHORIZED, Json(json!({ "message": "who are you?" })));
    }
    let text = json!({ "to": sms.to, "from": sms.from, "body": sms.body });
    match desk.outbox.put(Kind::Sms, format!("{text:#}\n").as_bytes()) {
        Ok(()) => (StatusCode::CREATED, Json(json!({ "status": "queued" }))),
        Err(error) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "message": error.to_string() })))
        }
    }
}

async fn webhook(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signed = signature(SECRET.as_bytes(), &body);
    let Some(id) = header(&headers, "Idempotency-Key") else { return StatusCode::BAD_REQUEST };
    if header(&headers, "Tidegate-Signature") != Some(&signed) {
        return StatusCode::UNAUTHORIZED;
    }
    let mut known = desk.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if known.contains(id) {
        return StatusCode::OK;
    }
    if desk.outbox.put(Kind::Webhook, &body).is_err() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    known.insert(id.to_owned());
    StatusCode::OK
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
