//! What the web pages show of an instance.

use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Config;
use crate::engine::daily::is_none;
use crate::http::Readiness;
use crate::metrics::Metrics;
use crate::notify::NotifyMetrics;
use crate::stream::{Clock, Fleet, PlanCell, Recent, SystemClock, WorkerView, lock, readiness};

/// Collected from the rooms when somebody asks.
pub(super) struct Status {
    instance: String,
    group: String,
    receivers: Vec<String>,
    reveal: bool,
    plans: Arc<PlanCell>,
    metrics: Metrics,
    notify: NotifyMetrics,
    /// Why no worker has started yet.
    waiting: Mutex<Option<String>>,
    fleet: Mutex<Option<Looks>>,
}

struct Looks {
    views: Vec<Arc<Mutex<WorkerView>>>,
    recent: Arc<Recent>,
}

impl Status {
    pub(super) fn new(
        config: &Config,
        plans: Arc<PlanCell>,
        metrics: Metrics,
        notify: NotifyMetrics,
    ) -> Status {
        // A series that is born at 1 has no increase; alerts watch these.
        for receiver in config.notify.receivers.keys() {
            for outcome in ["delivered", "failed", "dead", "digested"] {
                notify.value(receiver, outcome);
            }
        }
        Status {
            instance: config.kafka.instance.clone(),
            group: config.kafka.group.clone(),
            receivers: config.notify.receivers.keys().cloned().collect(),
            reveal: config.privacy.reveal,
            plans,
            metrics,
            notify,
            waiting: Mutex::new(Some("starting".to_owned())),
            fleet: Mutex::new(None),
        }
    }

    pub(super) fn set_waiting(&self, reason: Option<String>) {
        *lock(&self.waiting) = reason;
    }

    pub(super) fn set_fleet(&self, fleet: &Fleet) {
        let looks = Looks { views: fleet.view_handles(), recent: fleet.recent().clone() };
        *lock(&self.fleet) = Some(looks);
    }

    pub(super) fn views(&self) -> Vec<WorkerView> {
        let fleet = lock(&self.fleet);
        let views = fleet.iter().flat_map(|fleet| &fleet.views);
        views.map(|view| lock(view).clone()).collect()
    }

    pub(super) fn readiness(&self) -> Readiness {
        let verdict = match lock(&self.waiting).clone() {
            Some(reason) => Err(reason),
            None if lock(&self.fleet).is_none() => Err("starting".to_owned()),
            None => readiness(&self.views(), SystemClock.now_us()),
        };
        self.metrics.ready.set(i64::from(verdict.is_ok()));
        let ready = verdict.is_ok();
        Readiness { ready, reason: verdict.err().unwrap_or_else(|| "ready".to_owned()) }
    }

    pub(super) fn json(&self) -> Value {
        let ready = self.readiness();
        let plan = self.plans.get();
        let rules = plan.rule_set().rules.iter().map(|rule| {
            let mode = rule.mode;
            json!({ "name": rule.name, "mode": mode, "levels": rule.check.levels() })
        });
        let recent = lock(&self.fleet).as_ref().map(|fleet| fleet.recent.all());
        let notices = self.receivers.iter().map(|name| {
            let value = |outcome| self.notify.value(name, outcome);
            json!({ "receiver": name, "delivered": value("delivered"), "failed": value("failed"),
                "dead": value("dead"), "digested": value("digested") })
        });
        json!({
            "instance": self.instance, "group": self.group, "version": env!("CARGO_PKG_VERSION"),
            "ready": ready.ready, "reason": (!ready.ready).then_some(ready.reason),
            "ruleset": plan.rule_set().version, "rules": rules.collect::<Vec<_>>(),
            "workers": self.views(), "totals": Totals::of(&self.metrics),
            "recent": recent.unwrap_or_default(), "reveal": self.reveal, "notices": notices.collect::<Vec<_>>(),
        })
    }
}

/// What has come in and gone out since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub consumed: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub late: u64,
    pub quarantined: u64,
    /// Records of the events topic that were canaries.
    #[serde(skip_serializing_if = "is_none")]
    pub canary: u64,
    pub decisions: u64,
    pub commands: u64,
}

impl Totals {
    pub fn of(metrics: &Metrics) -> Totals {
        let outcome = |name: &str| sum(&metrics.events, Some(("outcome", name)));
        Totals {
            consumed: sum(&metrics.records_consumed, None),
            accepted: outcome("accepted"),
            duplicate: outcome("duplicate"),
            late: outcome("late"),
            quarantined: outcome("quarantined"),
            canary: outcome("canary"),
            decisions: sum(&metrics.decisions, None),
            commands: sum(&metrics.commands, None),
        }
    }
}

/// Over all label values, or those with one of them.
fn sum(counters: &prometheus::IntCounterVec, only: Option<(&str, &str)>) -> u64 {
    use prometheus::core::Collector;
    let families = counters.collect();
    let metrics = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
    let wanted = metrics.filter(|metric| {
        only.is_none_or(|(name, value)| {
            metric.get_label().iter().any(|label| label.name() == name && label.value() == value)
        })
    });
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "integer counters below 2^53"
    )]
    let total = wanted.map(|metric| metric.get_counter().get_value()).sum::<f64>() as u64;
    total
}
