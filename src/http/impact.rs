//! `/api/v1/impact`: whom another rule set would hit at once.

use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::PublishedRules;
use crate::http::{App, WhyError};

/// Rules and lists together; the control topic takes no more either.
pub(super) const BYTES_MAX: usize = 100 * 1024 * 1024;

/// A rule set that is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImpactRequest {
    pub rules: PublishedRules,
    /// Of this instance alone: what one instance asks another.
    #[serde(default)]
    pub local: bool,
}

/// What comes of a question.
pub type ImpactAnswer = Pin<Box<dyn Future<Output = Result<Value, WhyError>> + Send>>;
/// Answers questions.
pub type Impact = Arc<dyn Fn(ImpactRequest) -> ImpactAnswer + Send + Sync>;

/// `POST`: an [`ImpactRequest`].
pub(super) async fn post(
    State(app): State<App>,
    body: Result<Json<ImpactRequest>, JsonRejection>,
) -> Result<Json<Value>, WhyError> {
    let Json(request) = body.map_err(|error| WhyError::Bad(error.body_text()))?;
    (app.impact)(request).await.map(Json)
}
