//! A demonstration in one process: the detector as it runs in earnest, between a Kafka stand-in,
//! a stream with labelled abuse, and receivers that lay what they are told into an outbox.
//!
//! Decides nothing about risk. Events travel through Kafka to the workers, decisions through
//! Kafka to the notifier, mails over SMTP and messages over HTTP: only the far ends are ours.

mod feed;
mod ledger;
mod outbox;
mod smtp;
mod stage;
#[cfg(test)]
mod tests;
mod view;
mod web;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use prometheus::core::Collector;
use serde::Serialize;

use crate::engine::Decision;
use crate::service::{RuleFiles, Service, Signals, Totals, kafka_settings};
use crate::stream::kafka::{Follower, StandIn};
use crate::stream::{Clock, SystemClock, WorkerView, lock};

use self::feed::{Feed, Pace};
use self::ledger::Ledger;
pub use self::ledger::Tally;
pub use self::outbox::Delivered;
use self::outbox::Outbox;
use self::stage::Receivers;
use self::view::{Figures, Places, View};

const TICK: Duration = Duration::from_millis(200);
/// Ticks without any change after which nothing is under way any more.
const CALM_TICKS: u32 = 3;
/// What is under way at the end may take so long; within the 10 s of C7 after a signal.
const DRAIN: Duration = Duration::from_secs(20);
const DRAIN_AFTER_SIGNAL: Duration = Duration::from_secs(3);

/// What to show.
#[derive(Debug, Clone)]
pub struct Options {
    /// Length of the stream; 0 goes on until a signal.
    pub seconds: u64,
    /// Ordinary events a second.
    pub rate: u64,
    pub seed: u64,
    /// The shipped rules unless given.
    pub rules: Option<PathBuf>,
    /// 127.0.0.1:8080 unless given, or a free port where that is taken.
    pub listen: Option<SocketAddr>,
    /// A fresh folder unless given.
    pub outbox: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    #[serde(flatten)]
    pub tally: Tally,
    pub sent: u64,
    pub totals: Totals,
    pub commands: BTreeMap<String, u64>,
    pub delivered: Delivered,
    pub outbox: PathBuf,
    pub status_page: String,
    pub kafka: String,
    /// Whether everything that was sent was judged and told before the end.
    pub complete: bool,
}

/// Runs the demo to its end or to a signal.
///
/// # Errors
/// When it cannot start: rules with faults (as [`crate::control::LoadError`]), an address that
/// is taken, a folder that cannot be written.
pub async fn run(options: &Options) -> Result<Outcome> {
    let mut show = Show::open(options).await?;
    let result = show.play().await;
    show.view.end();
    show.reading.store(false, Ordering::Release);
    let outcome = result?;
    show.service.stop().await;
    Ok(outcome)
}

struct Show {
    pace: Pace,
    signals: Signals,
    view: View,
    service: Service,
    kafka: Arc<StandIn>,
    events: String,
    receivers: Receivers,
    ledger: Arc<Mutex<Ledger>>,
    /// While decisions are read for the picture and the score.
    reading: Arc<AtomicBool>,
    fresh: std::sync::mpsc::Receiver<Decision>,
    began: Instant,
}

impl Show {
    async fn open(options: &Options) -> Result<Show> {
        let signals = Signals::new().context("cannot hear signals")?;
        let folder = match (&options.rules, &options.outbox) {
            (Some(_), Some(_)) => PathBuf::new(),
            _ => stage::fresh_folder()?,
        };
        let rules = options.rules.clone().unwrap_or_else(|| folder.join("rules"));
        if options.rules.is_none() {
            stage::unpack_rules(&rules)?;
        }
        let rule_files = RuleFiles::read(&rules)?;
        let outbox = options.outbox.clone().unwrap_or_else(|| folder.join("outbox"));
        let receivers = Receivers::open(&outbox).await?;
        let kafka = StandIn::start().context("cannot start the Kafka stand-in")?;
        let listener = stage::listen(options.listen).await?;
        let config = receivers.config(kafka.brokers(), rules.clone(), listener.local_addr()?);
        kafka
            .create_topics(&kafka_settings(&config), config.topics.partitions)
            .context("cannot create the topics")?;
        let service = Service::open(&config, rule_files, listener)?;
        let reader =
            Follower::open(kafka.brokers(), &config.topics.decisions, config.topics.partitions)?;
        let (found, fresh) = std::sync::mpsc::channel();
        let (ledger, reading) = (Arc::new(Mutex::new(Ledger::default())), Arc::default());
        watch(reader, &ledger, &reading, found)?;
        let view = View::new();
        view.places(&Places {
            page: &format!("http://{}/", service.address()),
            kafka: kafka.brokers(),
            events: &config.topics.events,
            decisions: &config.topics.decisions,
            outbox: outbox.display().to_string(),
            rules: rules.display().to_string(),
        });
        Ok(Show {
            pace: Pace {
                seconds: options.seconds,
                rate: options.rate,
                seed: options.seed,
                now_ms: SystemClock.wall_us() / 1000,
            },
            signals,
            view,
            service,
            kafka: Arc::new(kafka),
            events: config.topics.events.clone(),
            receivers,
            ledger,
            reading,
            fresh,
            began: Instant::now(),
        })
    }

    async fn play(&mut self) -> Result<Outcome> {
        if !self.join().await? {
            return Ok(self.outcome(0, false));
        }
        self.began = Instant::now();
        let feed = Feed::start(
            self.pace,
            self.kafka.clone(),
            self.events.clone(),
            self.ledger.clone(),
            self.service.metrics().clone(),
        )?;
        let mut stopped = false;
        while !stopped && !feed.is_over() {
            stopped = self.tick(&feed).await?;
        }
        feed.stop();
        if self.pace.seconds == 0 {
            // The rounds are over: what there is to see stays until a signal.
            while !stopped {
                stopped = self.tick(&feed).await?;
            }
        }
        let complete = self.drain(&feed, stopped).await?;
        Ok(self.outcome(feed.sent(), complete))
    }

    /// Starts the detector and waits until it is ready; false when a signal comes first.
    async fn join(&mut self) -> Result<bool> {
        tokio::select! {
            began = self.service.begin() => began?,
            () = self.signals.stop() => return Ok(false),
        }
        self.view.line("joining the consumer group, some 3 s");
        while !self.service.readiness().ready {
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                () = self.signals.stop() => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Waits a moment and shows what has happened; true after a signal.
    async fn tick(&mut self, feed: &Feed) -> Result<bool> {
        let stopped = tokio::select! {
            () = tokio::time::sleep(TICK) => false,
            () = self.signals.stop() => true,
        };
        self.service.look(false)?;
        while let Ok(decision) = self.fresh.try_recv() {
            self.view.decision(&decision);
        }
        let figures = self.figures(feed);
        self.view.show(&figures);
        Ok(stopped)
    }

    /// Waits until everything sent was judged, and everybody told; false when that takes too
    /// long or a signal comes.
    async fn drain(&mut self, feed: &Feed, mut stopped: bool) -> Result<bool> {
        let began = Instant::now();
        let (mut before, mut calm) = ((0, 0), 0);
        loop {
            stopped |= self.tick(feed).await?;
            let figures = self.figures(feed);
            let now = (figures.totals.decisions, figures.totals.consumed);
            let quiet = feed.is_over() && self.is_quiet(&figures) && now == before;
            calm = if quiet { calm + 1 } else { 0 };
            before = now;
            if calm >= CALM_TICKS {
                return Ok(true);
            }
            let within = if stopped { DRAIN_AFTER_SIGNAL } else { DRAIN };
            if began.elapsed() > within {
                return Ok(false);
            }
        }
    }

    fn is_quiet(&self, figures: &Figures) -> bool {
        let read = |worker: &WorkerView| worker.partitions.iter().all(|at| at.lag == Some(0));
        let (known, alerts) = {
            let ledger = lock(&self.ledger);
            (ledger.decisions(), ledger.alerts)
        };
        figures.totals.consumed >= figures.sent
            && self.service.workers().iter().all(read)
            && known >= figures.totals.decisions
            // The webhook hears of every decision that alerts, and of each by itself.
            && figures.delivered.webhooks >= alerts
            && self.notices_open() == 0
    }

    /// Decisions that still wait for a receiver.
    fn notices_open(&self) -> u64 {
        let families = self.service.metrics().registry.gather();
        let open = families.iter().find(|family| family.name() == "tidegate_notices_open");
        let value = open.and_then(|family| family.get_metric().first());
        value.map_or(0, |metric| whole(metric.get_gauge().get_value()))
    }

    fn figures(&self, feed: &Feed) -> Figures {
        let metrics = self.service.metrics();
        let totals = Totals::of(metrics);
        let ledger = lock(&self.ledger);
        let workers = self.service.workers();
        Figures {
            passed: self.began.elapsed(),
            // Asked for after the totals, so that no more was read than sent.
            sent: feed.sent(),
            totals,
            keys: workers.iter().flat_map(|worker| &worker.partitions).map(|at| at.keys).sum(),
            commands: by_label(&metrics.commands),
            rules: ledger.rules.clone(),
            delivered: self.receivers.outbox.delivered(),
        }
    }

    fn outcome(&self, sent: u64, complete: bool) -> Outcome {
        let metrics = self.service.metrics();
        let outbox: &Outbox = &self.receivers.outbox;
        Outcome {
            tally: lock(&self.ledger).tally(),
            sent,
            totals: Totals::of(metrics),
            commands: by_label(&metrics.commands),
            delivered: outbox.delivered(),
            outbox: outbox.folder().to_owned(),
            status_page: format!("http://{}/", self.service.address()),
            kafka: self.kafka.brokers().to_owned(),
            complete,
        }
    }
}

/// Reads decisions on a thread of its own, keeps the score and passes them on to be shown.
fn watch(
    reader: Follower,
    ledger: &Arc<Mutex<Ledger>>,
    reading: &Arc<AtomicBool>,
    found: std::sync::mpsc::Sender<Decision>,
) -> std::io::Result<()> {
    let (ledger, reading) = (ledger.clone(), reading.clone());
    reading.store(true, Ordering::Release);
    let read = move || {
        while reading.load(Ordering::Acquire) {
            let Some(value) = reader.next(TICK) else { continue };
            let Ok(decision) = serde_json::from_slice::<Decision>(&value) else { continue };
            if lock(&ledger).add(&decision) {
                // Refused only at the end, when nobody looks any more.
                found.send(decision).unwrap_or_default();
            }
        }
    };
    std::thread::Builder::new().name("onlooker".into()).spawn(read).map(drop)
}

/// A counter with one label: its value for each of them.
fn by_label(counters: &prometheus::IntCounterVec) -> BTreeMap<String, u64> {
    let families = counters.collect();
    let metrics = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
    let named = metrics.filter_map(|metric| {
        let label = metric.get_label().first()?;
        Some((label.value().to_owned(), whole(metric.get_counter().get_value())))
    });
    named.collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts below 2^53, never negative"
)]
fn whole(value: f64) -> u64 {
    value as u64
}
