//! Alertmanager, API v2: one alert per decision.
//!
//! An alert says when it ends: when the window that fired has passed, or some minutes on where
//! there is none. What still stands is sent again every minute, for Alertmanager keeps alerts in
//! memory alone; that is no second notice, since labels are what it tells alerts apart by. Of
//! those that stand only the latest are kept, and none of them through a restart of ours.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Client;
use serde::Serialize;
use serde_json::Value;
use tokio::task::AbortHandle;
use url::Url;

use crate::engine::Decision;
use crate::notify::heart::Beat;
use crate::notify::notice::Notice;
use crate::notify::receivers::AlertmanagerSettings;
use crate::notify::text::{TextError, Texts};
use crate::notify::transport::{SendError, reply};

/// As long as Alertmanager's own `resolve_timeout`.
const RESOLVE_AFTER_MS: i64 = 300_000;
/// As often as Prometheus sends its alerts again.
const RESEND_MS: i64 = 60_000;
/// Alerts that are sent again; some 10 MB.
const STANDING_MAX: usize = 10_000;
/// Alerts of one request.
const BATCH_MAX: usize = 500;

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<String>,
    /// The decision that is over.
    #[serde(skip)]
    resolves: Option<String>,
}

#[derive(Debug)]
pub(in crate::notify) struct Alertmanager {
    far: Arc<Far>,
    labels: BTreeMap<String, String>,
    resolve_after: i64,
    resend: i64,
    task: OnceLock<AbortHandle>,
}

/// The other end, and what stands there.
#[derive(Debug)]
struct Far {
    url: Url,
    http: Client,
    /// By decision; ids say nothing of age, so the order stands beside.
    standing: Mutex<BTreeMap<(Timestamp, String), Alert>>,
}

impl Alertmanager {
    pub(super) fn new(
        settings: &AlertmanagerSettings,
        http: Client,
    ) -> Result<Alertmanager, String> {
        let mut url =
            Url::parse(&settings.url).map_err(|error| format!("alertmanager url: {error}"))?;
        url.path_segments_mut()
            .map_err(|()| "alertmanager url: cannot be a base".to_owned())?
            .pop_if_empty()
            .extend(["api", "v2", "alerts"]);
        if let Some(label) = settings.labels.keys().find(|label| **label != name_of(label)) {
            return Err(format!("alertmanager.labels: `{label}` is not the name of a label"));
        }
        Ok(Alertmanager {
            far: Arc::new(Far { url, http, standing: Mutex::default() }),
            labels: settings.labels.clone(),
            resolve_after: settings.resolve_after.unwrap_or(RESOLVE_AFTER_MS),
            resend: settings.resend.unwrap_or(RESEND_MS),
            task: OnceLock::new(),
        })
    }

    /// The body of the request, for a preview.
    pub(super) fn body(&self, texts: &Texts, notice: &Notice) -> Result<Value, TextError> {
        let alerts = self.alerts(texts, notice)?;
        Ok(serde_json::to_value(alerts).unwrap_or_default())
    }

    pub(super) async fn send(&self, texts: &Texts, notice: &Notice) -> Result<(), SendError> {
        let mut alerts = Vec::new();
        for alert in self.alerts(texts, notice)? {
            // What is over ends the alert that it was, and is none itself.
            match alert.resolves {
                Some(id) => alerts.extend(self.far.ended(&id)),
                None => alerts.push(alert),
            }
        }
        if alerts.is_empty() {
            return Ok(());
        }
        self.far.post(&alerts).await?;
        self.far.stand(alerts);
        let wait = Duration::from_millis(self.resend.unsigned_abs());
        self.task.get_or_init(|| {
            let far = self.far.clone();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(wait).await;
                    far.again().await;
                }
            })
            .abort_handle()
        });
        Ok(())
    }

    /// An alert that always fires; whoever watches there misses it when it has ended.
    pub(super) async fn beat(&self, beat: &Beat) -> Result<(), SendError> {
        let mut labels = self.labels.clone();
        for (name, value) in [
            ("alertname", "TidegateHeartbeat"),
            ("severity", "none"),
            ("instance", &beat.instance),
            ("group", &beat.group),
        ] {
            labels.insert(name.to_owned(), value.to_owned());
        }
        let summary = format!("tidegate at {} works", beat.instance);
        let (starts_at, ends_at) = beat.span();
        let alert = Alert {
            labels,
            annotations: BTreeMap::from([("summary".to_owned(), summary)]),
            starts_at,
            ends_at,
            generator_url: None,
            resolves: None,
        };
        self.far.post(&[alert]).await
    }

    fn alerts(&self, texts: &Texts, notice: &Notice) -> Result<Vec<Alert>, TextError> {
        let now = Timestamp::now().as_millisecond();
        notice.decisions.iter().map(|decision| self.alert(texts, decision, notice, now)).collect()
    }

    fn alert(
        &self,
        texts: &Texts,
        decision: &Decision,
        notice: &Notice,
        now_ms: i64,
    ) -> Result<Alert, TextError> {
        let one = Notice { decisions: vec![decision.clone()], rest: 0, ..notice.clone() };
        let word = |source| texts.render(("alertmanager.txt", source), &one, &[]);
        let mut labels = self.labels.clone();
        for (name, value) in &decision.labels {
            labels.insert(name_of(name), value.clone());
        }
        for (field, value) in &decision.key {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            labels.insert(name_of(field), value);
        }
        labels.insert("alertname".to_owned(), decision.rule.clone());
        labels.insert("severity".to_owned(), word("{{ severity }}")?);
        labels.insert("level".to_owned(), decision.level.to_string());
        // Two users may look the same when they are masked, and are two alerts all the same.
        labels.insert("decision".to_owned(), decision.id.clone());
        labels.retain(|_, value| !value.is_empty());
        let mut annotations = BTreeMap::new();
        for (name, source) in [
            ("summary", "{{ first.who }}{{ t.comma }}{{ first.headline }}"),
            ("description", "{{ first.description or '' }}"),
            ("value", "{{ first.value or '' }}"),
            ("bound", "{{ first.bound or '' }}"),
            ("window", "{{ first.window or '' }}"),
            ("resets", "{{ first.reset_at or '' }}"),
            ("done", "{{ first.done_text }}"),
        ] {
            let text = word(source)?;
            if !text.is_empty() {
                annotations.insert(name.to_owned(), text);
            }
        }
        let link = word("{{ first.why_url or '' }}")?;
        Ok(Alert {
            labels,
            annotations,
            starts_at: at(decision.ts.0.min(now_ms)),
            ends_at: at(ends(decision).unwrap_or(i64::MIN).max(now_ms + self.resolve_after)),
            generator_url: (!link.is_empty()).then_some(link),
            resolves: decision.resolved.as_ref().map(|resolved| resolved.decision.clone()),
        })
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl Far {
    async fn post(&self, alerts: &[Alert]) -> Result<(), SendError> {
        reply(self.http.post(self.url.clone()).json(alerts).send().await).await?.verdict()
    }

    /// The alert of a decision, ended now. One that is not known any more ends by itself.
    fn ended(&self, id: &str) -> Option<Alert> {
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, alert) = standing.iter().find(|((_, decision), _)| decision == id)?;
        Some(Alert { ends_at: Timestamp::now(), ..alert.clone() })
    }

    fn stand(&self, alerts: Vec<Alert>) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        for alert in alerts {
            let id = alert.labels.get("decision").cloned().unwrap_or_default();
            if alert.ends_at > now {
                standing.insert((alert.ends_at, id), alert);
            } else {
                standing.retain(|(_, decision), _| *decision != id);
            }
        }
        while standing.len() > STANDING_MAX {
            standing.pop_first();
        }
    }

    /// Sends what has not ended once more. A failure is no matter: the next minute tries again.
    async fn again(&self) {
        let now = Timestamp::now();
        let alerts: Vec<Alert> = {
            let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
            standing.retain(|(ends_at, _), _| *ends_at > now);
            standing.values().cloned().collect()
        };
        for batch in alerts.chunks(BATCH_MAX) {
            if let Err(error) = self.post(batch).await {
                tracing::debug!(%error, "alerts that stand could not be sent again");
                return;
            }
        }
    }
}

/// When the window that fired has passed: the end of a calendar period; for a rolling or fixed
/// window, its length on from its end.
fn ends(decision: &Decision) -> Option<i64> {
    let window = decision.window.as_ref()?;
    let calendar = window.label.contains(' ');
    let length = window.end.0.saturating_sub(window.start.0);
    Some(if calendar { window.end.0 } else { window.end.0.saturating_add(length) })
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

/// What may name a label: letters, digits and `_`, no digit in front.
fn name_of(field: &str) -> String {
    let name: String =
        field.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests;
