//! The workers of an instance, each on a thread of its own; one that its client leaves without
//! a way on is built anew.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::event::Decoder;
use crate::metrics::Metrics;
use crate::snapshot::{Keeper, Shelf};
use crate::stream::kafka::{KafkaLog, KafkaSettings};
use crate::stream::shared::{Phase, Recent, WorkerView, lock};
use crate::stream::{
    Asks, Clock, Failure, PlanCell, SnapshotSettings, Start, SystemClock, Worker, WorkerSettings,
};

/// Pause before a worker is built anew; doubled up to the greatest.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Readiness ends when no broker answered for so long (K2).
const SILENCE_US: i64 = 30_000_000;

/// A broker that lost its memory of the group fences a member once; a twin does so again and
/// again, each time after we have joined anew.
const FENCED_MAX: u32 = 3;

/// What the workers of an instance have in common.
#[derive(Debug, Clone)]
pub struct RunnerSettings {
    pub kafka: KafkaSettings,
    /// Whether a stop leaves the group, so that others take over at once, or keeps the place for
    /// a restart; read when it stops.
    pub leaving: Arc<AtomicBool>,
    /// Worker slots are `<instance>-<n>`.
    pub instance: String,
    pub workers: usize,
    pub partitions: u32,
    pub flush_interval_ms: u64,
    pub max_bytes: usize,
    pub start: Start,
    pub decoder: Decoder,
    /// Where snapshots are kept; `None` keeps none.
    pub snapshots: Option<(Shelf, SnapshotSettings)>,
}

/// The running workers.
#[derive(Debug)]
pub struct Fleet {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    views: Vec<Arc<Mutex<WorkerView>>>,
    recent: Arc<Recent>,
    /// By worker.
    asks: Vec<Arc<Asks>>,
    replaced: Arc<Mutex<Option<String>>>,
}

impl Fleet {
    /// Starts a thread per worker.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        settings: &RunnerSettings,
        plans: &Arc<PlanCell>,
        metrics: &Metrics,
    ) -> std::io::Result<Fleet> {
        let mut fleet = Fleet {
            stop: Arc::default(),
            threads: Vec::new(),
            views: Vec::new(),
            recent: Arc::default(),
            asks: Vec::new(),
            replaced: Arc::default(),
        };
        for n in 0..settings.workers {
            let slot = format!("{}-{n}", settings.instance);
            let view =
                Arc::new(Mutex::new(WorkerView { slot: slot.clone(), ..WorkerView::default() }));
            fleet.views.push(view.clone());
            let asks = Arc::new(Asks::default());
            fleet.asks.push(asks.clone());
            let post = Post {
                slot: slot.clone(),
                settings: settings.clone(),
                plans: plans.clone(),
                metrics: metrics.clone(),
                view,
                recent: fleet.recent.clone(),
                asks,
                stop: fleet.stop.clone(),
                replaced: fleet.replaced.clone(),
            };
            let thread = std::thread::Builder::new().name(slot).spawn(move || post.serve())?;
            fleet.threads.push(thread);
        }
        Ok(fleet)
    }

    pub fn views(&self) -> Vec<WorkerView> {
        self.views.iter().map(|view| lock(view).clone()).collect()
    }

    pub fn recent(&self) -> &Arc<Recent> {
        &self.recent
    }

    /// Where questions are put, by worker.
    pub fn asks(&self) -> Vec<Arc<Asks>> {
        self.asks.clone()
    }

    /// Handles for threads that look on: see [`readiness`].
    pub fn view_handles(&self) -> Vec<Arc<Mutex<WorkerView>>> {
        self.views.clone()
    }

    /// Why the process must end: another instance has this one's name.
    pub fn replaced(&self) -> Option<String> {
        lock(&self.replaced).clone()
    }

    /// Commits what is in hand and closes; returns when all workers have.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

/// `Ok` when every worker is a member of the group and has its partitions restored; else why not.
///
/// # Errors
/// The reason, in words.
pub fn readiness(views: &[WorkerView], now_us: i64) -> Result<(), String> {
    for view in views {
        let slot = &view.slot;
        if now_us - view.contact_us > SILENCE_US && view.contact_us > 0 {
            return Err(format!("worker {slot}: no broker has answered for 30 s"));
        }
        let because = view.reason.as_deref().map(|reason| format!(": {reason}"));
        let because = because.unwrap_or_default();
        match view.state {
            Phase::Running => {
                if let Some(reason) = &view.control {
                    return Err(format!("worker {slot} cannot read changes by people: {reason}"));
                }
            }
            Phase::Joining => return Err(format!("worker {slot} is joining the group{because}")),
            Phase::Restoring => return Err(format!("worker {slot} is restoring state{because}")),
            Phase::Stuck => return Err(format!("worker {slot} cannot go on{because}")),
            Phase::Stopped => return Err(format!("worker {slot} has stopped")),
        }
    }
    Ok(())
}

/// One worker's thread.
struct Post {
    slot: String,
    settings: RunnerSettings,
    plans: Arc<PlanCell>,
    metrics: Metrics,
    view: Arc<Mutex<WorkerView>>,
    recent: Arc<Recent>,
    asks: Arc<Asks>,
    stop: Arc<AtomicBool>,
    replaced: Arc<Mutex<Option<String>>>,
}

impl Post {
    fn serve(&self) {
        let mut pause = PAUSE_MIN;
        let mut first = true;
        let mut fenced = 0;
        while !self.stopping() {
            if !first {
                self.metrics.worker_restarts.inc();
            }
            first = false;
            let began_us = SystemClock.now_us();
            let end = self.life();
            let lived_us = SystemClock.now_us() - began_us;
            // One that ran for a while starts afresh.
            if lived_us > SILENCE_US {
                (pause, fenced) = (PAUSE_MIN, 0);
            }
            fenced += u32::from(matches!(end, Err(Failure::Replaced(_))));
            match end {
                Ok(()) => break,
                Err(Failure::Replaced(reason)) if fenced >= FENCED_MAX => {
                    tracing::error!(slot = %self.slot, reason, "another instance has this name");
                    *lock(&self.replaced) = Some(reason);
                    break;
                }
                Err(failure) => {
                    tracing::error!(slot = %self.slot, %failure, "a worker failed and is built anew");
                    let mut view = lock(&self.view);
                    view.state = Phase::Stuck;
                    view.reason = Some(failure.to_string());
                    view.partitions.clear();
                }
            }
            self.rest(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
        lock(&self.view).state = Phase::Stopped;
    }

    /// From joining to a clean stop.
    fn life(&self) -> Result<(), Failure> {
        let Some(log) = self.open()? else { return Ok(()) };
        let settings = WorkerSettings {
            slot: self.slot.clone(),
            events_topic: self.settings.kafka.topics.events.clone(),
            partials_topic: self.settings.kafka.topics.partials.clone(),
            control_topic: self.settings.kafka.topics.control.clone(),
            partitions: self.settings.partitions,
            flush_interval_ms: self.settings.flush_interval_ms,
            max_bytes: self.settings.max_bytes,
            start: self.settings.start,
            delivery: self.settings.kafka.delivery,
        };
        let outside = (self.metrics.clone(), self.view.clone(), self.recent.clone());
        let (decoder, plans) = (self.settings.decoder.clone(), self.plans.clone());
        let mut worker = Worker::new(log, SystemClock, settings, decoder, plans, outside)
            .with_asks(self.asks.clone());
        if let Some((shelf, settings)) = &self.settings.snapshots {
            let keeper = Keeper::start(shelf.clone());
            let keeper = keeper.map_err(|error| Failure::Fatal(error.to_string()))?;
            worker = worker.with_snapshots(keeper, *settings);
        }
        while !self.stopping() {
            worker.turn()?;
        }
        let mut log = worker.stop()?;
        if self.settings.leaving.load(Ordering::Acquire) {
            log.leave();
        }
        Ok(())
    }

    /// Tries until a broker answers; `None` when the process stops first.
    fn open(&self) -> Result<Option<KafkaLog>, Failure> {
        let mut told_us = i64::MIN;
        while !self.stopping() {
            match KafkaLog::open(&self.settings.kafka, &self.slot) {
                Ok(log) => return Ok(Some(log)),
                Err(Failure::Retriable(reason) | Failure::Aborted(reason)) => {
                    let now_us = SystemClock.now_us();
                    if now_us.saturating_sub(told_us) > SILENCE_US {
                        told_us = now_us;
                        let brokers = &self.settings.kafka.brokers;
                        tracing::warn!(slot = %self.slot, brokers, reason,
                            "cannot reach the broker, trying on");
                    }
                    lock(&self.view).reason = Some(reason);
                    self.rest(PAUSE_MIN);
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(None)
    }

    /// Waits, but not beyond a stop.
    fn rest(&self, pause: Duration) {
        let until_us = SystemClock.now_us() + i64::try_from(pause.as_micros()).unwrap_or(0);
        while !self.stopping() && SystemClock.now_us() < until_us {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}
