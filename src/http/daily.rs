//! `/api/v1/daily`: the account of a day.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::http::{App, ImpactAnswer, WhyError};

/// Which day is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DailyRequest {
    /// Such as `2025-11-22`; the last one unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
}

/// Answers questions.
pub type Daily = Arc<dyn Fn(DailyRequest) -> ImpactAnswer + Send + Sync>;

/// `GET`: `?date=`.
pub(super) async fn get(
    State(app): State<App>,
    query: Result<Query<DailyRequest>, QueryRejection>,
) -> Result<Json<Value>, WhyError> {
    let Query(request) = query.map_err(|error| WhyError::Bad(error.body_text()))?;
    (app.daily)(request).await.map(Json)
}

/// `POST`: a [`DailyRequest`].
pub(super) async fn post(
    State(app): State<App>,
    body: Result<Json<DailyRequest>, JsonRejection>,
) -> Result<Json<Value>, WhyError> {
    let Json(request) = body.map_err(|error| WhyError::Bad(error.body_text()))?;
    (app.daily)(request).await.map(Json)
}
