//! A running instance: workers, notifier, web pages and the watch over rule files, from start to
//! a clean stop. Wires rooms together and decides nothing.

mod announce;
mod lock;
mod rules;
mod settings;
mod status;

pub use lock::{InstanceLock, LockError};
pub use rules::{RuleFiles, plan_of};
pub use settings::{kafka_settings, worker_start};

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use crate::http::{self, App};
use crate::metrics::Metrics;
use crate::notify::{self, NotifyMetrics, NotifyRun};
use crate::stream::kafka::{TopicError, prepare};
use crate::stream::{Clock, Fleet, PlanCell, RunnerSettings, SystemClock};

use self::announce::Announcer;
use self::status::Status;

/// What ends a process that was not told to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("cannot listen on {address}: {error}")]
    Listen { address: std::net::SocketAddr, error: std::io::Error },
    #[error(transparent)]
    Topics(#[from] TopicError),
    #[error("{0}")]
    Replaced(String),
    #[error("cannot start: {0}")]
    Start(String),
}

/// Everything stops within this (C7); a broker that is away must not hold a process back.
const STOP: Duration = Duration::from_secs(8);
/// Rule files and lists are looked at so often, and at once on SIGHUP (R17: within 5 s).
const LOOK: Duration = Duration::from_secs(1);
/// Pause between two tries to reach a broker.
const PAUSE: Duration = Duration::from_secs(1);
/// A broker that is away is told of so often.
const REMIND_US: i64 = 30_000_000;

/// Runs until a signal; `ready` hears the address of the web pages.
///
/// # Errors
/// When it cannot start at all, or another instance has taken its name. A broker that is away
/// is waited for, never an error.
pub async fn run(
    config: &Config,
    mut rules: RuleFiles,
    ready: impl FnOnce(std::net::SocketAddr),
) -> Result<(), ServiceError> {
    let mut signals = Signals::new().map_err(|error| ServiceError::Start(error.to_string()))?;
    let registry = registry().map_err(|error| ServiceError::Start(error.to_string()))?;
    let failed = |error: prometheus::Error| ServiceError::Start(error.to_string());
    let metrics = Metrics::new(&registry).map_err(failed)?;
    let notify_metrics = NotifyMetrics::new(&registry).map_err(failed)?;
    #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch are a float here")]
    metrics.start_time_seconds.set(SystemClock.now_us() as f64 / 1e6);
    metrics.rules_reload_success.set(1);
    metrics.rules_info.with_label_values(&[rules.version()]).set(1);

    let plans = Arc::new(PlanCell::new(rules.plan(config)));
    let status =
        Arc::new(Status::new(config, plans.clone(), metrics.clone(), notify_metrics.clone()));
    let listen = config.http.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| ServiceError::Listen { address: listen, error })?;
    let address = listener.local_addr().unwrap_or(listen);
    let (stop, stopped) = watch::channel(false);
    let pages =
        tokio::spawn(http::serve(listener, app(&registry, &status), until(stopped.clone())));
    ready(address);

    let partitions = tokio::select! {
        found = topics(config, &status) => Some(found?),
        () = signals.stop() => None,
    };
    if let Some(partitions) = partitions {
        let fleet = Fleet::start(&runner(config, partitions)?, &plans, &metrics)
            .map_err(|error| ServiceError::Start(error.to_string()))?;
        status.set_fleet(&fleet);
        let notifier = tokio::spawn(notify::run(notifier(config, &notify_metrics), stopped));
        let announcer = Announcer::new(&kafka_settings(config)).map_err(ServiceError::Start)?;
        let post =
            Attended { config, plans: &plans, metrics: &metrics, status: &status, announcer };
        let result = post.attend(&mut rules, &mut signals, &fleet).await;
        tracing::info!("stopping");
        stop.send_replace(true);
        let workers = tokio::task::spawn_blocking(move || fleet.stop());
        if tokio::time::timeout(STOP, workers).await.is_err() {
            tracing::warn!(
                "workers did not end in time; what they had not committed is read again"
            );
        }
        drop(tokio::time::timeout(PAUSE, notifier).await);
        drop(tokio::time::timeout(PAUSE, pages).await);
        tracing::info!("stopped");
        return result;
    }
    stop.send_replace(true);
    drop(tokio::time::timeout(PAUSE, pages).await);
    Ok(())
}

/// What is looked after while the workers run.
struct Attended<'a> {
    config: &'a Config,
    plans: &'a PlanCell,
    metrics: &'a Metrics,
    status: &'a Status,
    announcer: Announcer,
}

impl Attended<'_> {
    /// Waits for the end; takes in changed rule files and keeps readiness up to date meanwhile.
    async fn attend(
        &self,
        rules: &mut RuleFiles,
        signals: &mut Signals,
        fleet: &Fleet,
    ) -> Result<(), ServiceError> {
        let mut look = tokio::time::interval(LOOK);
        loop {
            let forced = tokio::select! {
                heard = signals.next() => match heard {
                    Heard::Stop => return Ok(()),
                    Heard::Reload => true,
                },
                _ = look.tick() => false,
            };
            // The gauge must be right although nobody asks for /readyz.
            self.status.readiness();
            if let Some(reason) = fleet.replaced() {
                let kafka = &self.config.kafka;
                return Err(ServiceError::Replaced(format!(
                    "another instance named `{}` runs in group `{}`: {reason}; give each its own \
                     `kafka.instance`",
                    kafka.instance, kafka.group
                )));
            }
            if let Some(decision) = rules.reload(self.config, forced, self.plans, self.metrics) {
                self.announcer.tell(&decision);
            }
        }
    }
}

/// Makes sure of the topics; waits for a broker as long as it takes.
async fn topics(config: &Config, status: &Status) -> Result<u32, ServiceError> {
    let settings = kafka_settings(config);
    let partitions = u32::try_from(config.topics.partitions).unwrap_or(1);
    let mut told_us = i64::MIN;
    loop {
        match prepare(&settings, config.topics.create, partitions).await {
            Ok((partitions, created)) => {
                if !created.is_empty() {
                    tracing::info!(topics = created.join(", "), "created");
                }
                status.set_waiting(None);
                return Ok(partitions);
            }
            Err(TopicError::Unreachable(reason)) => {
                let now_us = SystemClock.now_us();
                if now_us.saturating_sub(told_us) >= REMIND_US {
                    told_us = now_us;
                    let brokers = &config.kafka.brokers;
                    tracing::warn!(brokers, reason, "no broker answers; trying on");
                }
                status.set_waiting(Some(format!("no broker answers: {reason}")));
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn runner(config: &Config, partitions: u32) -> Result<RunnerSettings, ServiceError> {
    let fold = config.fold().map_err(|error| ServiceError::Start(error.to_string()))?;
    let flush_ms = config.engine.flush_interval.as_millis();
    Ok(RunnerSettings {
        kafka: kafka_settings(config),
        instance: config.kafka.instance.clone(),
        workers: config.engine.workers,
        partitions,
        flush_interval_ms: u64::try_from(flush_ms).unwrap_or(u64::MAX),
        max_bytes: fold.max_bytes,
        start: worker_start(config),
        decoder: fold.decoder,
    })
}

fn notifier(config: &Config, metrics: &NotifyMetrics) -> NotifyRun {
    NotifyRun {
        brokers: config.kafka.brokers.clone(),
        group: config.kafka.notify_group(),
        instance: config.kafka.instance.clone(),
        properties: config.kafka.properties.clone(),
        decisions_topic: config.topics.decisions.clone(),
        dead_topic: config.topics.notices_dead.clone(),
        notify: config.notify.clone(),
        reveal: config.privacy.reveal,
        metrics: metrics.clone(),
    }
}

fn registry() -> Result<prometheus::Registry, prometheus::Error> {
    let registry = prometheus::Registry::new();
    let process = prometheus::process_collector::ProcessCollector::for_self();
    registry.register(Box::new(process))?;
    Ok(registry)
}

fn app(registry: &prometheus::Registry, status: &Arc<Status>) -> App {
    let (ready, shown) = (status.clone(), status.clone());
    App {
        registry: registry.clone(),
        ready: Arc::new(move || ready.readiness()),
        status: Arc::new(move || shown.json()),
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone: the process ends.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

/// SIGTERM and Ctrl-C stop; SIGHUP looks at the rules.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    reload: tokio::signal::unix::Signal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Stop,
    Reload,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.terminate.recv() => Heard::Stop,
            _ = self.interrupt.recv() => Heard::Stop,
            _ = self.reload.recv() => Heard::Reload,
        }
    }

    async fn stop(&mut self) {
        while self.next().await != Heard::Stop {}
    }
}
