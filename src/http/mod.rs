//! The way in for probes, scrapers and people: health, metrics, status (K2).
//!
//! Answers from what it is handed and changes nothing: it knows neither Kafka nor the engine's
//! state, and a slow reader of it delays no event.

mod admission;
mod daily;
mod impact;
mod notices;
mod page;
mod status;
mod why;

pub use admission::Admission;
pub use daily::{Daily, DailyRequest};
pub use impact::{Impact, ImpactAnswer, ImpactRequest};
pub use notices::{By, ListRequest, NewSilence, NoticeRequest, Notices};
pub use why::{Why, WhyAnswer, WhyError, WhyRequest};

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How long an answer may still take once we are told to stop; less than the 10 s of C7.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What the routes answer from. Both functions are called for each request and must be quick.
#[derive(Clone)]
pub struct App {
    pub registry: Registry,
    pub ready: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// The status object; its shape is told in `docs/http.md`. Keys of the decisions in `recent`
    /// are masked here (N5) unless the object says `"reveal": true`.
    pub status: Arc<dyn Fn() -> Value + Send + Sync>,
    /// Answers `/api/v1/why`.
    pub why: Why,
    /// Answers `/api/v1/impact`.
    pub impact: Impact,
    /// Answers `/api/v1/daily`.
    pub daily: Daily,
    /// Answers what is asked and said about notices.
    pub notices: Notices,
    /// What all but health and readiness ask for; `None` asks for nothing.
    pub admission: Option<Admission>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

/// Whether work can be given to this instance, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    pub ready: bool,
    pub reason: String,
}

/// Serves until `stop` completes, then finishes the answers in hand.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    app: App,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopping, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, router(app)).with_graceful_shutdown(async move {
        stop.await;
        drop(stopping);
    });
    let overdue = async move {
        // The sender is only ever dropped.
        drop(stopped.await);
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        result = server => result,
        // A client that reads nothing must not keep the process alive.
        () = overdue => Ok(()),
    }
}

fn router(app: App) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status))
        .route("/api/v1/why", get(why::get).post(why::post))
        .route("/api/v1/daily", get(daily::get).post(daily::post))
        .route("/api/v1/notices", get(notices::list))
        .route("/api/v1/silences", get(notices::silences).post(notices::silence))
        .route("/api/v1/silences/{id}/end", post(notices::end_silence))
        .route("/api/v1/acknowledge", post(notices::acknowledge))
        .route("/notices", get(notices::page))
        .route("/acknowledge", get(notices::ask).post(notices::follow))
        .route("/api/v1/impact", post(impact::post).layer(DefaultBodyLimit::max(impact::BYTES_MAX)))
        .fallback(async |uri: Uri| refusal(&uri, StatusCode::NOT_FOUND, "no such resource"))
        .method_not_allowed_fallback(async |uri: Uri| {
            refusal(&uri, StatusCode::METHOD_NOT_ALLOWED, "no such method here")
        })
        .layer(middleware::from_fn_with_state(app.clone(), admission::admit))
        // The last one is the outermost: a refusal has these headers too.
        .layer(middleware::from_fn(guarded))
        .with_state(app)
}

async fn readyz(State(app): State<App>) -> (StatusCode, String) {
    let Readiness { ready, reason } = (app.ready)();
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, reason)
}

async fn metrics(State(app): State<App>) -> Response {
    match TextEncoder::new().encode_to_string(&app.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot write the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn status(State(app): State<App>) -> Json<Value> {
    Json(status::presented((app.status)()))
}

/// For programs under `/api`, for people elsewhere.
fn refusal(uri: &Uri, status: StatusCode, message: &str) -> Response {
    let path = uri.path();
    if path == "/api" || path.starts_with("/api/") {
        return (status, Json(json!({ "error": message }))).into_response();
    }
    (status, message.to_owned()).into_response()
}

/// Headers of every answer: nothing is stored, guessed, framed or told to other sites.
async fn guarded(request: axum::extract::Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let always: [(HeaderName, &'static str); 5] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // The page brings a policy of its own; everything else needs nothing at all.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    response
}

#[cfg(test)]
mod tests;
