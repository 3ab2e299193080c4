//! A running instance: workers, notifier, web pages and the watch over rule files, from start to
//! a clean stop. Wires rooms together and decides nothing.

mod announce;
mod daily;
mod impact;
mod lock;
mod notices;
mod publisher;
mod retention;
mod rules;
mod sentry;
mod settings;
mod status;
mod why;

pub use lock::{InstanceLock, LockError};
pub use rules::{RuleFiles, plan_of};
pub use settings::{kafka_settings, notify_settings, worker_start};
pub use status::Totals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Config, Delivery};
use crate::http::{self, Admission, App, Readiness};
use crate::metrics::Metrics;
use crate::notify::{self, NotifyError, NotifyMetrics, NotifyRun, OwnRun};
use crate::snapshot::{Objects, Shelf};
use crate::stream::kafka::{KafkaSettings, TopicError, prepare, publish};
use crate::stream::{
    Clock, Fleet, PlanCell, RunnerSettings, SnapshotSettings, SystemClock, WorkerView,
};

use self::announce::Announcer;
use self::notices::Notices;
use self::publisher::{Publisher, settle};
use self::rules::Found;
use self::sentry::{Reports, Sentry};
use self::status::Status;
use self::why::Whys;

/// What ends a process that was not told to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error(transparent)]
    Topics(#[from] TopicError),
    #[error("{0}")]
    Replaced(String),
    #[error("cannot start: {0}")]
    Start(String),
}

/// Everything stops within this (C7); a broker that is away must not hold a process back.
const STOP: Duration = Duration::from_secs(7);
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
    rules: RuleFiles,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ServiceError> {
    let mut signals = Signals::new().map_err(start)?;
    let listen = config.http.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| ServiceError::Listen { address: listen, error })?;
    let mut service = Service::open(config, rules, listener)?;
    ready(service.address());
    let began = tokio::select! {
        began = service.begin() => began.map(|()| true),
        () = signals.stop() => Ok(false),
    };
    let result = match began {
        Ok(true) => service.attend(&mut signals).await,
        Ok(false) => Ok(()),
        Err(error) => return Err(error),
    };
    service.stop().await;
    result
}

/// A running instance, for whoever has to decide when it ends.
pub struct Service {
    config: Config,
    rules: RuleFiles,
    plans: Arc<PlanCell>,
    metrics: Metrics,
    notify_metrics: NotifyMetrics,
    status: Arc<Status>,
    whys: Arc<Whys>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    /// Whether the groups are left when it stops.
    leaving: Arc<AtomicBool>,
    pages: JoinHandle<std::io::Result<()>>,
    /// Once it has begun.
    work: Option<Work>,
}

struct Work {
    fleet: Fleet,
    announcer: Announcer,
    sentry: Sentry,
    publisher: Publisher,
    notifier: JoinHandle<Result<(), NotifyError>>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Service {
    /// Serves the web pages; works on nothing yet.
    ///
    /// # Errors
    /// When metrics cannot be made.
    pub fn open(
        config: &Config,
        rules: RuleFiles,
        listener: TcpListener,
    ) -> Result<Service, ServiceError> {
        let registry = registry().map_err(start)?;
        let metrics = Metrics::new(&registry).map_err(start)?;
        let notify_metrics = NotifyMetrics::new(&registry).map_err(start)?;
        #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch are a float here")]
        metrics.start_time_seconds.set(SystemClock.wall_us() as f64 / 1e6);
        metrics.rules_reload_success.set(1);
        metrics.rules_info.with_label_values(&[rules.version()]).set(1);
        let plans = Arc::new(PlanCell::new(rules.plan(config)));
        metrics.begin_decisions(plans.get().rule_set());
        let status =
            Arc::new(Status::new(config, plans.clone(), metrics.clone(), notify_metrics.clone()));
        let address = listener.local_addr().map_err(start)?;
        let whys = Arc::new(Whys::new(config, config.fold().map_err(start)?, plans.clone()));
        let (stop, stopped) = watch::channel(false);
        let pages = tokio::spawn(http::serve(
            listener,
            app(&registry, (&status, &whys), config),
            until(stopped),
        ));
        let config = config.clone();
        let work = None;
        let leaving = Arc::new(AtomicBool::new(config.kafka.leave_on_stop));
        Ok(Service {
            config,
            rules,
            plans,
            metrics,
            notify_metrics,
            status,
            whys,
            address,
            stop,
            leaving,
            pages,
            work,
        })
    }

    /// Where the web pages are.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether it is ready (K2), and why not.
    pub fn readiness(&self) -> Readiness {
        self.status.readiness()
    }

    /// The workers as they are; none before it has begun.
    pub fn workers(&self) -> Vec<WorkerView> {
        self.status.views()
    }

    /// Makes sure of the topics, however long a broker is away, and starts workers and notifier.
    ///
    /// # Errors
    /// When the topics cannot be used or the system gives no thread.
    pub async fn begin(&mut self) -> Result<(), ServiceError> {
        let partitions = topics(&self.config, &self.status).await?;
        let kafka = kafka_settings(&self.config);
        first_rules(&kafka, &self.config.kafka.instance, &self.rules, &self.status).await;
        let mut runner = runner(&self.config, partitions, &self.leaving)?;
        runner.kafka.address.get_or_insert(self.address.to_string());
        let fleet = Fleet::start(&runner, &self.plans, &self.metrics).map_err(start)?;
        self.status.set_fleet(&fleet);
        self.whys.set_fleet(partitions, fleet.asks());
        let looks = (&fleet, &self.status);
        let (sentry, reports) =
            Sentry::start(&self.config, &kafka, looks, &self.metrics).map_err(start)?;
        let mut settings = notifier(&self.config, &self.notify_metrics, &self.leaving);
        let Reports { news, stood, alive } = reports;
        settings.own = Some(OwnRun { news, stood, alive });
        let notifier = notify::run(settings, self.stop.subscribe());
        let announcer = Announcer::new(&kafka).map_err(start)?;
        let publisher = Publisher::new(kafka, self.config.kafka.instance.clone());
        let notifier = tokio::spawn(notifier);
        tokio::spawn(retention::compare(kafka_settings(&self.config), self.config.rules.clone()));
        self.work = Some(Work { fleet, announcer, sentry, publisher, notifier });
        Ok(())
    }

    /// One look at changed rule files and lists, whether they changed or not when `forced`.
    ///
    /// # Errors
    /// When another instance has taken this one's name.
    pub fn look(&mut self, forced: bool) -> Result<(), ServiceError> {
        if let Some(reason) = self.work.as_ref().and_then(|work| work.fleet.replaced()) {
            let (instance, group) = (&self.config.kafka.instance, &self.config.kafka.group);
            return Err(ServiceError::Replaced(format!(
                "another instance named `{instance}` runs in group `{group}`: {reason}; give \
                 each its own `kafka.instance`"
            )));
        }
        // The gauge must be right although nobody asks for /readyz.
        self.status.readiness();
        // Before it has begun nothing is published; what the files say by then is.
        let Some(work) = &mut self.work else { return Ok(()) };
        let in_force = self.plans.get();
        match self.rules.reload(forced, &in_force, &self.metrics) {
            Found::Nothing => {}
            Found::Another => work.publisher.publish(self.rules.published().clone()),
            Found::Faults(mut decision) => {
                work.sentry.faulty_rules(&decision.summary);
                if work.sentry.tells() {
                    decision.alert = None;
                }
                work.announcer.tell(&decision);
            }
        }
        for decision in work.sentry.look(&self.status, &in_force, &self.metrics) {
            work.announcer.tell(&decision);
        }
        Ok(())
    }

    /// Waits for the end, and takes in changed rule files meanwhile.
    async fn attend(&mut self, signals: &mut Signals) -> Result<(), ServiceError> {
        let mut look = tokio::time::interval(LOOK);
        loop {
            let forced = tokio::select! {
                heard = signals.next() => match heard {
                    Heard::Stop => return Ok(()),
                    Heard::Leave => {
                        self.leaving.store(true, Ordering::Release);
                        return Ok(());
                    }
                    Heard::Reload => true,
                },
                _ = look.tick() => false,
            };
            self.look(forced)?;
        }
    }

    /// Commits what is in hand and closes, in a bounded time (C7).
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Some(Work { fleet, notifier, .. }) = self.work {
            tracing::info!("stopping");
            let workers = tokio::task::spawn_blocking(move || fleet.stop());
            if tokio::time::timeout(STOP, workers).await.is_err() {
                tracing::warn!(
                    "workers did not end in time; what they had not committed is read again"
                );
            }
            drop(tokio::time::timeout(PAUSE, notifier).await);
        }
        drop(tokio::time::timeout(PAUSE, self.pages).await);
        tracing::info!("stopped");
    }
}

fn start(error: impl std::fmt::Display) -> ServiceError {
    ServiceError::Start(error.to_string())
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
            Err(error @ TopicError::NotAdmitted(_)) => {
                let now_us = SystemClock.now_us();
                if now_us.saturating_sub(told_us) >= REMIND_US {
                    told_us = now_us;
                    tracing::error!(brokers = config.kafka.brokers, "{error}; trying on");
                }
                status.set_waiting(Some(error.to_string()));
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Publishes the files that the instance starts with, where that is due; waits for a broker as
/// long as it takes.
async fn first_rules(settings: &KafkaSettings, instance: &str, rules: &RuleFiles, status: &Status) {
    let mut told_us = i64::MIN;
    while let Err(error) = settle(settings, instance, rules.published(), false).await {
        let now_us = SystemClock.now_us();
        if now_us.saturating_sub(told_us) >= REMIND_US {
            told_us = now_us;
            tracing::warn!(%error, "rules cannot be published; trying on");
        }
        status.set_waiting(Some(format!("rules cannot be published: {error}")));
        tokio::time::sleep(PAUSE).await;
    }
    status.set_waiting(None);
}

fn runner(
    config: &Config,
    partitions: u32,
    leaving: &Arc<AtomicBool>,
) -> Result<RunnerSettings, ServiceError> {
    let fold = config.fold().map_err(start)?;
    let flush_ms = config.engine.flush_interval.as_millis();
    Ok(RunnerSettings {
        kafka: kafka_settings(config),
        leaving: leaving.clone(),
        instance: config.kafka.instance.clone(),
        workers: config.engine.workers,
        partitions,
        flush_interval_ms: u64::try_from(flush_ms).unwrap_or(u64::MAX),
        max_bytes: fold.max_bytes,
        start: worker_start(config),
        decoder: fold.decoder,
        snapshots: snapshots(config)?,
    })
}

/// The store of snapshots, opened.
fn snapshots(config: &Config) -> Result<Option<(Shelf, SnapshotSettings)>, ServiceError> {
    let state = &config.state;
    if state.snapshots == "off" {
        return Ok(None);
    }
    let store = Objects::open(&state.snapshots)
        .map_err(|error| ServiceError::Start(format!("state.snapshots: {error}")))?;
    let shelf = Shelf::new(Arc::new(store), &config.kafka.group, state.keep);
    let interval_ms = u64::try_from(state.interval.as_millis()).unwrap_or(u64::MAX);
    Ok(Some((shelf, SnapshotSettings { interval_ms, accept_gap: state.accept_gap })))
}

fn notifier(config: &Config, metrics: &NotifyMetrics, leaving: &Arc<AtomicBool>) -> NotifyRun {
    NotifyRun {
        brokers: config.kafka.brokers.clone(),
        group: config.kafka.group.clone(),
        instance: config.kafka.instance.clone(),
        properties: config.kafka.properties.clone(),
        decisions_topic: config.topics.decisions.clone(),
        may_repeat: config.engine.delivery == Delivery::AtLeastOnce,
        dead_topic: config.topics.notices_dead.clone(),
        told_topic: config.kafka.told(),
        standing_topic: config.kafka.standing(),
        control_topic: Some(config.topics.control.clone()),
        publish: Some(publish_in_background(kafka_settings(config))),
        notify: notify_settings(config),
        reveal: config.privacy.reveal,
        metrics: metrics.clone(),
        own: None,
        leaving: leaving.clone(),
    }
}

/// What is not written now is written when it is due again.
fn publish_in_background(settings: KafkaSettings) -> notify::Publish {
    let runtime = tokio::runtime::Handle::current();
    Arc::new(move |change| {
        let settings = settings.clone();
        runtime.spawn(async move {
            if let Err(error) = publish(&settings, &change).await {
                tracing::warn!(%error, "the end of a silence is not written yet");
            }
        });
    })
}

fn registry() -> Result<prometheus::Registry, prometheus::Error> {
    let registry = prometheus::Registry::new();
    let process = prometheus::process_collector::ProcessCollector::for_self();
    registry.register(Box::new(process))?;
    Ok(registry)
}

fn app(
    registry: &prometheus::Registry,
    (status, whys): (&Arc<Status>, &Arc<Whys>),
    config: &Config,
) -> App {
    let (kafka, notices) = (kafka_settings(config), Arc::new(Notices::new(config)));
    let token = config.http.token.as_ref();
    let (ready, shown) = (status.clone(), status.clone());
    let (whys, impacts) = (whys.clone(), whys.clone());
    App {
        registry: registry.clone(),
        ready: Arc::new(move || ready.readiness()),
        status: Arc::new(move || shown.json()),
        why: Arc::new(move |request| Box::pin(whys.clone().answer(request))),
        impact: Arc::new(move |request| Box::pin(impacts.clone().impact(request))),
        daily: Arc::new(move |request| Box::pin(daily::answer(kafka.clone(), request))),
        notices: Arc::new(move |request| Box::pin(notices.clone().answer(request))),
        admission: token.map(|token| Admission::new(token.expose())),
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone: the process ends.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

/// SIGTERM and Ctrl-C stop; SIGUSR1 stops and leaves the group; SIGHUP looks at the rules.
pub(crate) struct Signals {
    leave: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    reload: tokio::signal::unix::Signal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Stop,
    Leave,
    Reload,
}

impl Signals {
    pub(crate) fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            leave: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.terminate.recv() => Heard::Stop,
            _ = self.interrupt.recv() => Heard::Stop,
            _ = self.leave.recv() => Heard::Leave,
            _ = self.reload.recv() => Heard::Reload,
        }
    }

    pub(crate) async fn stop(&mut self) {
        while self.next().await == Heard::Reload {}
    }
}
