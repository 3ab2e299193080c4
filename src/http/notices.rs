//! `/api/v1/notices`, `/api/v1/silences`, `/api/v1/acknowledge`, and the two pages that links in
//! notices lead to (N2, N3).
//!
//! Mail scanners follow links: what a `GET` shows changes nothing, and a button does.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::{FormRejection, JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::{Form, Json};
use minijinja::{Environment, context};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::engine::Matcher;
use crate::engine::calendar::instant_label;
use crate::http::{App, WhyAnswer, WhyError};
use crate::notify::Signed;

/// Decisions of one answer unless it is told otherwise, and at most.
const LIMIT: usize = 1_000;
const LIMIT_MAX: usize = 10_000;

/// What is asked of notices.
#[derive(Debug, Clone, PartialEq)]
pub enum NoticeRequest {
    List(ListRequest),
    Silences,
    Silence(NewSilence),
    EndSilence {
        silence: String,
        by: By,
    },
    Acknowledge {
        group: String,
        through: Option<i64>,
        by: By,
    },
    /// By a link, which says itself whether it is ours.
    Follow {
        signed: Signed,
        signature: String,
        actor: Option<String>,
    },
}

/// Answers them.
pub type Notices = Arc<dyn Fn(NoticeRequest) -> WhyAnswer + Send + Sync>;

/// The decisions of some groups among those at some places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Partition of the topic of decisions → first and last offset.
    pub places: BTreeMap<i32, (i64, i64)>,
    /// Of any when empty.
    pub groups: Vec<String>,
    pub limit: usize,
}

/// Who says so, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    pub actor: String,
    #[serde(default)]
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSilence {
    #[serde(rename = "match")]
    pub matcher: Matcher,
    /// Such as `2h`; this or `until`.
    #[serde(default, rename = "for")]
    pub lasts: Option<String>,
    /// RFC 3339, or milliseconds since the epoch.
    #[serde(default)]
    pub until: Option<String>,
    pub actor: String,
    pub reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAcknowledge {
    group: String,
    #[serde(default)]
    through: Option<i64>,
    actor: String,
    #[serde(default)]
    reason: String,
}

type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;

pub(super) async fn list(State(app): State<App>, query: Pairs) -> Result<Json<Value>, WhyError> {
    let request = list_request(query)?;
    (app.notices)(NoticeRequest::List(request)).await.map(Json)
}

/// The same for people.
pub(super) async fn page(State(app): State<App>, query: Pairs) -> Result<Response, WhyError> {
    let answer = (app.notices)(NoticeRequest::List(list_request(query)?)).await?;
    html(StatusCode::OK, LISTING, &answer)
}

fn list_request(query: Pairs) -> Result<ListRequest, WhyError> {
    let Query(pairs) = query.map_err(|error| WhyError::Bad(error.body_text()))?;
    let mut request = ListRequest { limit: LIMIT, ..ListRequest::default() };
    for (name, value) in pairs {
        match name.as_str() {
            "at" => {
                for place in value.split(',') {
                    let read = place.split_once(':').and_then(|(partition, range)| {
                        let (first, last) = range.split_once('-')?;
                        Some((partition.parse().ok()?, (first.parse().ok()?, last.parse().ok()?)))
                    });
                    let (partition, range) = read.ok_or_else(|| {
                        WhyError::Bad(format!("`at={place}`: write PARTITION:FIRST-LAST"))
                    })?;
                    request.places.insert(partition, range);
                }
            }
            "group" => request.groups.push(value),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                request.limit = limit.ok_or_else(|| {
                    WhyError::Bad(format!("`limit={value}`: from 1 to {LIMIT_MAX}"))
                })?;
            }
            _ => return Err(WhyError::Bad(format!("no parameter `{name}`: at, group, limit"))),
        }
    }
    if request.places.is_empty() {
        return Err(WhyError::Bad("say where: `at=PARTITION:FIRST-LAST,…`".to_owned()));
    }
    Ok(request)
}

pub(super) async fn silences(State(app): State<App>) -> Result<Json<Value>, WhyError> {
    (app.notices)(NoticeRequest::Silences).await.map(Json)
}

pub(super) async fn silence(
    State(app): State<App>,
    body: Result<Json<NewSilence>, JsonRejection>,
) -> Result<Json<Value>, WhyError> {
    let Json(silence) = body.map_err(|error| WhyError::Bad(error.body_text()))?;
    (app.notices)(NoticeRequest::Silence(silence)).await.map(Json)
}

pub(super) async fn end_silence(
    State(app): State<App>,
    Path(silence): Path<String>,
    body: Result<Json<By>, JsonRejection>,
) -> Result<Json<Value>, WhyError> {
    let Json(by) = body.map_err(|error| WhyError::Bad(error.body_text()))?;
    (app.notices)(NoticeRequest::EndSilence { silence, by }).await.map(Json)
}

pub(super) async fn acknowledge(
    State(app): State<App>,
    body: Result<Json<NewAcknowledge>, JsonRejection>,
) -> Result<Json<Value>, WhyError> {
    let Json(new) = body.map_err(|error| WhyError::Bad(error.body_text()))?;
    let by = By { actor: new.actor, reason: new.reason };
    let request = NoticeRequest::Acknowledge { group: new.group, through: new.through, by };
    (app.notices)(request).await.map(Json)
}

/// What a link says, and a form repeats.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Link {
    group: String,
    through: i64,
    until: i64,
    signature: String,
    #[serde(default)]
    actor: Option<String>,
}

/// A page with a button; changes nothing.
pub(super) async fn ask(link: Result<Query<Link>, QueryRejection>) -> Result<Response, WhyError> {
    let Query(link) = link.map_err(|error| WhyError::Bad(error.body_text()))?;
    html(StatusCode::OK, ASKING, &json!(link))
}

/// The button.
pub(super) async fn follow(
    State(app): State<App>,
    form: Result<Form<Link>, FormRejection>,
) -> Result<Response, WhyError> {
    let Form(Link { group, through, until, signature, actor }) =
        form.map_err(|error| WhyError::Bad(error.body_text()))?;
    let actor = actor.map(|actor| actor.trim().to_owned()).filter(|actor| !actor.is_empty());
    let signed = Signed { group, through, until };
    match (app.notices)(NoticeRequest::Follow { signed, signature, actor }).await {
        Ok(answer) => html(StatusCode::OK, DONE, &answer),
        Err(error) => {
            let status = if matches!(error, WhyError::Bad(_)) {
                StatusCode::FORBIDDEN
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            html(status, REFUSED, &json!({ "error": error.to_string() }))
        }
    }
}

const ASKING: &str = "<h1>Acknowledge these alerts?</h1>\
<p>Whoever was woken by them hears that you look after them, and nobody else is woken.</p>\
<form method=\"post\" action=\"acknowledge\">\
{% for name in ['group', 'through', 'until', 'signature'] %}\
<input type=\"hidden\" name=\"{{ name }}\" value=\"{{ answer[name] }}\">{% endfor %}\
<p><label>Your name <input name=\"actor\" maxlength=\"100\"></label></p>\
<p><button>Acknowledge</button></p></form>";
const DONE: &str = "<h1>Acknowledged</h1><p>by {{ answer.actor }}. You may close this page.</p>";
const REFUSED: &str = "<h1>Not acknowledged</h1><p>{{ answer.error }}</p>";
const LISTING: &str = "<h1>{{ answer.decisions | length }} alert\
{{ '' if answer.decisions | length == 1 else 's' }}{% if answer.next %} of more{% endif %}</h1>\
<table><tr><th>when (UTC)</th><th>rule</th><th>severity</th><th>what</th></tr>\
{% for one in answer.decisions %}<tr><td>{{ one.at }}</td><td>{{ one.rule }}</td>\
<td>{{ one.severity }}</td><td>{{ one.summary }}</td></tr>{% endfor %}</table>\
{% if answer.next %}<p><a href=\"notices?{{ answer.next }}\">more</a></p>{% endif %}";

/// A page of a template over `answer`.
pub(super) fn html(status: StatusCode, body: &str, answer: &Value) -> Result<Response, WhyError> {
    let mut environment = Environment::new();
    // The ending turns HTML escaping on.
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>tidegate</title></head>\
         <body>{body}</body></html>"
    );
    let failed = |error: minijinja::Error| WhyError::Failed(error.to_string());
    environment.add_filter("instant", instant_label);
    environment.add_template("page.html", &page).map_err(failed)?;
    let text = environment.get_template("page.html").map_err(failed)?;
    let answer = minijinja::Value::from(minijinja::value::Serde(answer.clone()));
    let text = text.render(context! { answer }).map_err(failed)?;
    let policy = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    Ok((status, [(header::CONTENT_SECURITY_POLICY, policy)], Html(text)).into_response())
}
