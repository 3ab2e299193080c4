//! The heartbeat: tells somebody outside, again and again, that all is well. Whoever misses it
//! raises the alarm (a dead man's switch).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::metrics::NotifyMetrics;
use super::receivers::Secret;
use super::settings::{NotifySettings, SettingsError, duration};
use super::transport::{SendError, Transport};
use super::way::Ping;

/// As often as Prometheus sends its alerts.
const EVERY_MS: i64 = 60_000;
const EVERY_MIN_MS: i64 = 1_000;
/// For one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What an address of its own is called among the receivers.
const URL: &str = "url";

/// Whom to tell, and how often.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeartbeatSettings {
    /// Milliseconds between two; 1 min if absent.
    #[serde(deserialize_with = "duration")]
    pub every: Option<i64>,
    /// Receivers that are programs: webhooks and Alertmanagers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// An address that is asked for, such as that of a check at healthchecks.io; a secret as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Secret>,
    pub method: BeatMethod,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum BeatMethod {
    #[default]
    Get,
    Head,
    Post,
}

impl HeartbeatSettings {
    pub(super) fn faults(&self, settings: &NotifySettings) -> Vec<SettingsError> {
        let place = "heartbeat".to_owned();
        let fault = |message: &str| SettingsError::Route {
            place: place.clone(),
            message: message.to_owned(),
        };
        let mut faults = Vec::new();
        if self.to.is_empty() && self.url.is_none() {
            faults.push(fault("tells nobody: give `url` or `to`"));
        }
        if self.every.is_some_and(|ms| ms < EVERY_MIN_MS) {
            faults.push(fault("`every` must be at least 1s"));
        }
        for name in &self.to {
            match settings.receivers.get(name) {
                None => faults.push(SettingsError::Unknown {
                    place: "`heartbeat.to`".to_owned(),
                    name: name.clone(),
                }),
                Some(receiver) if !receiver.is_machine() => faults.push(fault(&format!(
                    "`to` names `{name}`: only a webhook or an Alertmanager takes heartbeats"
                ))),
                Some(_) => {}
            }
        }
        faults
    }

    fn every_ms(&self) -> i64 {
        self.every.unwrap_or(EVERY_MS)
    }
}

/// What a heartbeat says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Beat {
    /// Always `tidegate.heartbeat`.
    pub(super) rule: &'static str,
    pub(super) instance: String,
    pub(super) group: String,
    /// Milliseconds since the epoch.
    pub(super) ts: i64,
    /// Until when there is another one, at the latest.
    pub(super) until: i64,
}

#[derive(Debug)]
enum Way {
    Receiver(Box<Transport>),
    Url(Ping),
}

/// One who is told.
#[derive(Debug)]
struct Target {
    name: String,
    way: Way,
}

#[derive(Debug)]
pub(super) struct Heart {
    targets: Vec<Arc<Target>>,
    every_ms: i64,
    due_at: i64,
    /// Group and instance.
    names: (String, String),
    metrics: NotifyMetrics,
    runtime: Handle,
    is_silent: bool,
}

impl Heart {
    /// `None` where nobody is to be told. Must be called within a tokio runtime.
    pub(super) fn new(
        settings: &NotifySettings,
        names: (String, String),
        metrics: &NotifyMetrics,
    ) -> Result<Option<Heart>, SettingsError> {
        let Some(heartbeat) = &settings.heartbeat else { return Ok(None) };
        let mut targets = Vec::new();
        for name in &heartbeat.to {
            let Some(receiver) = settings.receivers.get(name) else { continue };
            let transport = Transport::new(name, receiver, settings, false, TIMEOUT)?;
            let way = Way::Receiver(Box::new(transport));
            targets.push(Arc::new(Target { name: name.clone(), way }));
        }
        if let Some(url) = &heartbeat.url {
            let ping = Ping::new(url, heartbeat.method, TIMEOUT);
            let place = "heartbeat".to_owned();
            let ping = ping.map_err(|message| SettingsError::Route { place, message })?;
            targets.push(Arc::new(Target { name: URL.to_owned(), way: Way::Url(ping) }));
        }
        for target in &targets {
            for outcome in ["sent", "failed", "withheld"] {
                metrics.heartbeats(&target.name, outcome, 0);
            }
        }
        Ok(Some(Heart {
            targets,
            every_ms: heartbeat.every_ms(),
            due_at: i64::MIN,
            names,
            metrics: metrics.clone(),
            runtime: Handle::current(),
            // Nothing has been heard yet.
            is_silent: true,
        }))
    }

    /// Beats when it is time and all is well. What is not well stops it at once.
    pub(super) fn turn(&mut self, now: i64, alive: Result<(), String>) {
        let was_silent = std::mem::replace(&mut self.is_silent, alive.is_err());
        let is_due = now >= self.due_at;
        if let Err(reason) = alive {
            if !was_silent {
                tracing::warn!(reason, "heartbeats are withheld");
            }
            if !is_due {
                return;
            }
            for target in &self.targets {
                self.metrics.heartbeats(&target.name, "withheld", 1);
            }
        } else if is_due || was_silent {
            self.beat(now);
        } else {
            return;
        }
        self.due_at = now.saturating_add(self.every_ms);
    }

    fn beat(&self, now: i64) {
        let (group, instance) = self.names.clone();
        // Two may fail before anybody thinks that it has stopped.
        let until = now.saturating_add(self.every_ms.saturating_mul(3));
        let beat = Arc::new(Beat { rule: "tidegate.heartbeat", instance, group, ts: now, until });
        for target in &self.targets {
            let (target, beat, metrics) = (target.clone(), beat.clone(), self.metrics.clone());
            self.runtime.spawn(async move {
                match target.send(&beat).await {
                    Ok(()) => metrics.heartbeats(&target.name, "sent", 1),
                    Err(error) => {
                        tracing::warn!(to = target.name, %error, "a heartbeat was not taken");
                        metrics.heartbeats(&target.name, "failed", 1);
                    }
                }
            });
        }
    }
}

impl Target {
    async fn send(&self, beat: &Beat) -> Result<(), SendError> {
        match &self.way {
            Way::Receiver(transport) => transport.beat(beat).await,
            Way::Url(ping) => ping.send(beat).await,
        }
    }
}

impl Beat {
    /// Begin and end, for whoever wants instants.
    pub(super) fn span(&self) -> (Timestamp, Timestamp) {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
        (at(self.ts), at(self.until))
    }
}

#[cfg(test)]
mod tests;
