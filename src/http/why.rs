//! `/api/v1/why`: why a rule fired for a target, or did not (C5).

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::engine::explain::Question;
use crate::http::App;
use crate::http::notices::html;

/// What somebody asks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WhyRequest {
    pub question: Question,
    /// Id of an event that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Of this instance alone: what one instance asks another.
    #[serde(default)]
    pub local: bool,
    /// The record of the event, where the asker has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyError {
    /// The question lacks something.
    Bad(String),
    NotFound(String),
    Unready(String),
    Failed(String),
}

impl fmt::Display for WhyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (WhyError::Bad(text)
        | WhyError::NotFound(text)
        | WhyError::Unready(text)
        | WhyError::Failed(text)) = self;
        f.write_str(text)
    }
}

impl IntoResponse for WhyError {
    fn into_response(self) -> Response {
        let status = match self {
            WhyError::Bad(_) => StatusCode::BAD_REQUEST,
            WhyError::NotFound(_) => StatusCode::NOT_FOUND,
            WhyError::Unready(_) => StatusCode::SERVICE_UNAVAILABLE,
            WhyError::Failed(_) => StatusCode::BAD_GATEWAY,
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

/// What comes of a question.
pub type WhyAnswer = Pin<Box<dyn Future<Output = Result<Value, WhyError>> + Send>>;
/// Answers questions.
pub type Why = Arc<dyn Fn(WhyRequest) -> WhyAnswer + Send + Sync>;

/// `GET`: every parameter but `rule` and `event` is a field of the key. A browser, which asks for
/// HTML, gets a page.
pub(super) async fn get(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, WhyError> {
    let Query(pairs) = query.map_err(|error| WhyError::Bad(error.body_text()))?;
    let mut request = WhyRequest::default();
    let mut fields = BTreeMap::new();
    for (name, value) in pairs {
        match name.as_str() {
            "rule" => request.question.rule = Some(value),
            "event" => request.event = Some(value),
            "user" | "device" | "ip" | "source" => {
                fields.insert(name, value);
            }
            _ if name.starts_with("attrs.") => {
                fields.insert(name, value);
            }
            _ => {
                return Err(WhyError::Bad(format!(
                    "no parameter `{name}`: user, device, ip, source, attrs.NAME, rule, event"
                )));
            }
        }
    }
    request.question.fields = fields;
    let Json(answer) = answered(&app, request).await?;
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok());
    let mut response = if accepts.is_some_and(|accepts| accepts.contains("text/html")) {
        html(StatusCode::OK, PAGE, &answer)?
    } else {
        Json(answer).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

pub(super) const PAGE: &str = include_str!("why.html");

/// `POST`: a [`WhyRequest`].
pub(super) async fn post(
    State(app): State<App>,
    body: Result<Json<WhyRequest>, JsonRejection>,
) -> Result<Json<Value>, WhyError> {
    let Json(request) = body.map_err(|error| WhyError::Bad(error.body_text()))?;
    answered(&app, request).await
}

async fn answered(app: &App, request: WhyRequest) -> Result<Json<Value>, WhyError> {
    if request.question.fields.is_empty()
        && request.question.rule.is_none()
        && request.event.is_none()
    {
        return Err(WhyError::Bad("name a user, a rule or an event".to_owned()));
    }
    (app.why)(request).await.map(Json)
}
