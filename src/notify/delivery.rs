//! Delivery: one task and one backlog per receiver, rate limit, retries (N2, N4).
//!
//! At least once. Every notice handed in is reported exactly once, delivered or dead; nothing
//! is dropped. No receiver waits for another, and [`Delivery::hand`] waits for none. What waits
//! here is bounded by whoever hands in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use governor::{DefaultDirectRateLimiter, RateLimiter};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::backlog::{Backlog, Entry, Next};
use super::ledger::{Ledger, Sent, WINDOW};
use super::metrics::NotifyMetrics;
use super::notice::Notice;
use super::rate;
use super::settings::{NotifySettings, SettingsError};
use super::transport::{SendError, Transport};
use crate::rule::millis;

/// A receiver that asks to be left alone for longer is asked again after so long.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);

/// How long to try, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    pub wait_min: Duration,
    pub wait_max: Duration,
    /// Counted from the time a notice's first decision was offered.
    pub give_up: Duration,
    /// For one attempt.
    pub timeout: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            wait_min: Duration::from_secs(1),
            wait_max: Duration::from_secs(30),
            give_up: Duration::from_hours(24),
            timeout: Duration::from_secs(10),
        }
    }
}

/// What became of a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// For the dead letters, with the last reason.
    Dead(String),
    /// It has not arrived: whether it still is to was asked meanwhile. Not before when it may be tried.
    Recalled(i64),
}

/// The end of a notice; its tickets are settled for this receiver, unless it was recalled.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub notice: Notice,
    pub outcome: Outcome,
    pub attempts: u32,
    /// Offset of the record that says so in the log of what was told.
    pub written_at: Option<i64>,
}

/// A notice on its way to its receiver's task: how often it was tried, and not before when it may be.
struct Handed {
    notice: Notice,
    attempts: u32,
    again_at: i64,
}

/// The receivers' tasks. Dropping it ends them; what was not reported was not settled.
#[derive(Debug)]
pub struct Delivery {
    queues: BTreeMap<String, UnboundedSender<Handed>>,
    reports: UnboundedSender<Sent>,
    metrics: NotifyMetrics,
    halted: watch::Sender<bool>,
    /// How often what waits for people was recalled.
    recalls: watch::Sender<u64>,
    tasks: JoinSet<()>,
    ledger: JoinSet<()>,
}

impl Delivery {
    /// Writes nothing down. Must be called within a tokio runtime. `reveal` lifts masking for all (`privacy.reveal`);
    /// the settings' `give_up` goes before that of `retry`.
    pub fn start(
        settings: &NotifySettings,
        reveal: bool,
        retry: Retry,
        metrics: &NotifyMetrics,
    ) -> Result<(Delivery, UnboundedReceiver<Report>), SettingsError> {
        Delivery::keeping(settings, reveal, (retry, metrics), Ledger::default())
    }

    /// The same with a ledger of what is told.
    pub(super) fn keeping(
        settings: &NotifySettings,
        reveal: bool,
        (mut retry, metrics): (Retry, &NotifyMetrics),
        ledger: Ledger,
    ) -> Result<(Delivery, UnboundedReceiver<Report>), SettingsError> {
        if let Some(ms) = settings.give_up.and_then(|ms| u64::try_from(ms).ok()) {
            retry.give_up = Duration::from_millis(ms);
        }
        let give_up_ms = millis(retry.give_up);
        let (reports, sent) = mpsc::unbounded_channel();
        let (told, settled) = mpsc::unbounded_channel();
        let (halted, halt) = watch::channel(false);
        let (recalls, recall) = watch::channel(0);
        let mut queues = BTreeMap::new();
        let mut workers = Vec::new();
        for (name, receiver) in &settings.receivers {
            metrics.begin(name);
            let transport = Transport::new(name, receiver, settings, reveal, retry.timeout)?;
            let (queue, waiting) = mpsc::unbounded_channel();
            queues.insert(name.clone(), queue);
            workers.push(Worker {
                name: name.clone(),
                transport,
                limit: rate::quota(receiver).map(|quota| Arc::new(RateLimiter::direct(quota))),
                retry,
                give_up_ms,
                backlog: Backlog::new(give_up_ms),
                pauses: waits(&retry),
                last_error: String::new(),
                clock: Clock::default(),
                window: Arc::new(Semaphore::new(WINDOW)),
                is_recalled: false,
                link: Link {
                    waiting,
                    halt: halt.clone(),
                    recall: recall.clone(),
                    reports: reports.clone(),
                },
                metrics: metrics.clone(),
            });
        }
        let mut tasks = JoinSet::new();
        for worker in workers {
            tasks.spawn(worker.run());
        }
        let mut keeper = JoinSet::new();
        keeper.spawn(ledger.run(sent, told));
        let metrics = metrics.clone();
        Ok((Delivery { queues, reports, metrics, halted, recalls, tasks, ledger: keeper }, settled))
    }

    /// Queues a notice without waiting. One for nobody is reported dead at once.
    pub fn hand(&self, notice: Notice) {
        self.hand_back(notice, (0, i64::MIN));
    }

    /// The same of one that was asked back after so many attempts.
    pub(super) fn hand_back(&self, notice: Notice, (attempts, again_at): (u32, i64)) {
        let queue = self.queues.get(&notice.receiver);
        let handed = Handed { notice, attempts, again_at };
        let notice = match queue {
            None => handed.notice,
            Some(queue) => match queue.send(handed) {
                Ok(()) => return,
                Err(refused) => refused.0.notice,
            },
        };
        let reason = "no such receiver";
        tracing::error!(receiver = %notice.receiver, reason, "a notice was not delivered");
        self.metrics.count(&notice.receiver, "dead");
        let outcome = Outcome::Dead(reason.to_owned());
        let report = Report { notice, outcome, attempts: 0, written_at: None };
        // Refused only when the other side is gone, and with it whoever would commit.
        self.reports.send((report, None)).unwrap_or_default();
    }

    /// Asks back, as [`Outcome::Recalled`], what waits for people and has not arrived in part.
    pub(super) fn recall(&self) {
        self.recalls.send_modify(|count| *count += 1);
    }

    /// Begins no further attempt and waits for those under way, `within` at most. What has
    /// arrived is reported; the rest stays unsettled.
    pub async fn halt(mut self, within: Duration) {
        self.halted.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // Out of time: dropping the tasks ends what is under way.
        tokio::time::timeout(within, all).await.unwrap_or_default();
        self.tasks.shutdown().await;
        drop(self.reports);
        // It ends by itself once nobody reports to it any more.
        while self.ledger.join_next().await.is_some() {}
    }
}

/// How a worker hears and answers.
struct Link {
    waiting: UnboundedReceiver<Handed>,
    halt: watch::Receiver<bool>,
    recall: watch::Receiver<u64>,
    reports: UnboundedSender<Sent>,
}

struct Worker {
    name: String,
    transport: Transport,
    limit: Option<Arc<DefaultDirectRateLimiter>>,
    retry: Retry,
    give_up_ms: i64,
    backlog: Backlog<ExponentialBackoff>,
    /// The back-off of the receiver as a whole.
    pauses: ExponentialBackoff,
    last_error: String,
    clock: Clock,
    /// Places for what is on its way, or told and not yet written down.
    window: Arc<Semaphore>,
    is_recalled: bool,
    link: Link,
    metrics: NotifyMetrics,
}

/// Whether a notice may be tried.
enum Admitted {
    Now(Entry<ExponentialBackoff>, OwnedSemaphorePermit),
    /// All that waits is asked back.
    NotYet(Entry<ExponentialBackoff>),
    Never,
}

/// What a wait ended with.
enum Heard {
    News,
    Time,
    Halt,
}

impl Worker {
    async fn run(mut self) {
        loop {
            // Looked at first: what was handed over before it was called has come by then.
            let is_recalled = self.is_recalled();
            self.is_recalled = false;
            self.link.recall.mark_unchanged();
            while let Ok(notice) = self.link.waiting.try_recv() {
                self.accept(notice);
            }
            if is_recalled {
                for (again_at, entry) in self.backlog.recall() {
                    self.report(entry, Outcome::Recalled(again_at), None);
                }
            }
            let now = self.clock.now_ms();
            for entry in self.backlog.expired(now.saturating_sub(self.give_up_ms)) {
                let reason = self.last_error.clone();
                self.report(entry, Outcome::Dead(reason), None);
            }
            let heard = match self.backlog.next(now) {
                Next::Try(entry) => match self.admit(entry).await {
                    Admitted::Now(entry, place) => {
                        self.attempt(entry, place).await;
                        Heard::News
                    }
                    Admitted::NotYet(entry) => {
                        self.backlog.put_back(entry, now);
                        Heard::News
                    }
                    Admitted::Never => Heard::Halt,
                },
                Next::WaitUntil(at) => self.hear(tokio::time::sleep(span(at - now))).await,
                Next::Idle => self.hear(std::future::pending()).await,
            };
            if matches!(heard, Heard::Halt) || *self.link.halt.borrow() {
                return;
            }
        }
    }

    /// Takes in what arrives until `time` is over.
    async fn hear(&mut self, time: impl Future<Output = ()>) -> Heard {
        tokio::select! {
            biased;
            () = halted(&mut self.link.halt) => Heard::Halt,
            Ok(()) = self.link.recall.changed() => {
                self.is_recalled = true;
                Heard::News
            }
            () = time => Heard::Time,
            notice = self.link.waiting.recv() => match notice {
                Some(notice) => {
                    self.accept(notice);
                    Heard::News
                }
                None => Heard::Halt,
            },
        }
    }

    /// Whether what waits is asked back. Programs hear of everything.
    fn is_recalled(&self) -> bool {
        let is_new = self.link.recall.has_changed().unwrap_or(false);
        (self.is_recalled || is_new) && !self.transport.is_machine()
    }

    fn accept(&mut self, Handed { notice, attempts, again_at }: Handed) {
        let mut waits = waits(&self.retry);
        if attempts > 0 {
            // As far as they had come; they grow no more after a few.
            waits.nth(attempts.min(60) as usize - 1);
            self.backlog.push_again(notice, waits, (attempts, again_at));
        } else if self.transport.is_machine() {
            self.backlog.push(notice, waits);
        } else if self.backlog.push_digest(notice, waits) {
            self.metrics.count(&self.name, "digested");
        }
    }

    /// Waits for a place in the window and for the rate limit; what waits for people by then joins
    /// the one digest. One that is asked back takes nothing of the rate.
    async fn admit(&mut self, mut entry: Entry<ExponentialBackoff>) -> Admitted {
        let place = match self.place().await {
            Ok(place) => place,
            Err(Heard::Halt) => return Admitted::Never,
            Err(_) => return Admitted::NotYet(entry),
        };
        let Some(limit) = self.limit.clone() else { return Admitted::Now(entry, place) };
        if entry.attempts > 0 || limit.check().is_ok() {
            return Admitted::Now(entry, place);
        }
        let ready = limit.until_ready();
        tokio::pin!(ready);
        loop {
            match self.hear(&mut ready).await {
                Heard::Halt => return Admitted::Never,
                Heard::News if self.is_recalled() => return Admitted::NotYet(entry),
                Heard::News => {}
                Heard::Time => break,
            }
        }
        if !self.transport.is_machine() {
            for _ in 0..self.backlog.digest_into(&mut entry) {
                self.metrics.count(&self.name, "digested");
            }
        }
        Admitted::Now(entry, place)
    }

    /// A place in the window, or what came instead.
    async fn place(&mut self) -> Result<OwnedSemaphorePermit, Heard> {
        let place = Arc::clone(&self.window).acquire_owned();
        tokio::pin!(place);
        let mut got = None;
        loop {
            // The window is never closed.
            let wait = async { got = (&mut place).await.ok() };
            match self.hear(wait).await {
                Heard::News if !self.is_recalled() => {}
                Heard::Time => return got.ok_or(Heard::Halt),
                heard => return Err(heard),
            }
        }
    }

    async fn attempt(&mut self, mut entry: Entry<ExponentialBackoff>, place: OwnedSemaphorePermit) {
        entry.attempts += 1;
        let attempt = self.transport.send(&entry.notice, &mut entry.done);
        let sent = match tokio::time::timeout(self.retry.timeout, attempt).await {
            Ok(sent) => sent,
            Err(_) => Err(SendError::passing("no answer in time")),
        };
        let error = match sent {
            Ok(()) => {
                self.arrived();
                return self.report(entry, Outcome::Delivered, Some(place));
            }
            Err(error) if error.retry => error,
            Err(error) => {
                // It refuses this request alone: the receiver is there.
                self.arrived();
                return self.report(entry, Outcome::Dead(error.message), None);
            }
        };
        let now = self.clock.now_ms();
        let asked = error.retry_after.map_or(Duration::ZERO, |asked| asked.min(RETRY_AFTER_MAX));
        let asked_at = now.saturating_add(millis(asked));
        let again_at = now.saturating_add(next_ms(&mut entry.waits, &self.retry)).max(asked_at);
        let is_down = self.backlog.failing(&entry);
        let pause = if is_down { next_ms(&mut self.pauses, &self.retry) } else { 0 };
        if is_down || !asked.is_zero() {
            self.backlog.pause_until(now.saturating_add(pause).max(asked_at));
        }
        if again_at >= entry.notice.offered_at.saturating_add(self.give_up_ms) {
            self.report(entry, Outcome::Dead(error.message.clone()), None);
        } else {
            tracing::warn!(receiver = %self.name, %error, "a notice will be tried again");
            self.metrics.count(&self.name, "failed");
            self.backlog.put_back(entry, again_at);
        }
        self.last_error = error.message;
    }

    fn arrived(&mut self) {
        self.backlog.arrived();
        self.pauses = waits(&self.retry);
    }

    fn report(
        &self,
        entry: Entry<ExponentialBackoff>,
        outcome: Outcome,
        place: Option<OwnedSemaphorePermit>,
    ) {
        let Entry { notice, attempts, .. } = entry;
        match &outcome {
            Outcome::Delivered => {
                let since = match notice.decided_at {
                    0 => notice.offered_at,
                    decided_at => decided_at,
                };
                let ms = self.clock.now_ms().saturating_sub(since).max(0);
                let ms = u32::try_from(ms).unwrap_or(u32::MAX);
                self.metrics.delivered_after(&self.name, f64::from(ms) / 1000.0);
                self.metrics.count(&self.name, "delivered");
            }
            Outcome::Recalled(_) => {}
            Outcome::Dead(reason) => {
                tracing::error!(receiver = %self.name, %reason, "a notice was not delivered");
                self.metrics.count(&self.name, "dead");
            }
        }
        // Refused only when the other side is gone, and with it whoever would commit.
        let report = Report { notice, outcome, attempts, written_at: None };
        self.link.reports.send((report, place)).unwrap_or_default();
    }
}

/// Also when the other side is gone.
async fn halted(halt: &mut watch::Receiver<bool>) {
    halt.wait_for(|halt| *halt).await.map(drop).unwrap_or_default();
}

fn waits(retry: &Retry) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(retry.wait_min)
        .with_max_delay(retry.wait_max)
        .without_max_times()
        .with_jitter()
        .build()
}

fn next_ms(waits: &mut ExponentialBackoff, retry: &Retry) -> i64 {
    millis(waits.next().unwrap_or(retry.wait_max))
}

fn span(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// The time of day as of the start, and from then on a clock that nobody sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started_at: i64,
    since: Instant,
}

impl Default for Clock {
    fn default() -> Clock {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started_at = millis(at);
        Clock { started_at, since: Instant::now() }
    }
}

impl Clock {
    /// Milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        self.started_at.saturating_add(millis(self.since.elapsed()))
    }
}

#[cfg(test)]
mod tests;
