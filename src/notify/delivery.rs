//! Delivery: one task and one bounded queue per receiver, rate limit, retries (N2, N4).
//!
//! At least once. Every notice handed in is reported exactly once, delivered or dead; nothing
//! is dropped. No receiver waits for another, and [`Delivery::hand`] waits for none.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backon::{BackoffBuilder, ExponentialBuilder};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::metrics::NotifyMetrics;
use super::route::Notice;
use super::settings::{NotifySettings, SettingsError};
use super::transport::{SendError, Transport};

/// Notices that may wait for one receiver: at 2 kB each some 20 MB. What does not fit is dead.
const QUEUE_MAX: usize = 10_000;
/// Notices per minute that people are sent unless the receiver says otherwise.
const PEOPLE_RATE: NonZeroU32 = NonZeroU32::new(30).unwrap();

/// How long to try, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    pub wait_min: Duration,
    pub wait_max: Duration,
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
}

/// The end of a notice; its tickets are settled for this receiver.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub notice: Notice,
    pub outcome: Outcome,
}

/// The receivers' tasks. Dropping it ends them; what was not reported was not settled.
#[derive(Debug)]
pub struct Delivery {
    queues: BTreeMap<String, Sender<Notice>>,
    reports: UnboundedSender<Report>,
    metrics: NotifyMetrics,
    // Held for its drop, which ends the tasks.
    _tasks: JoinSet<()>,
}

impl Delivery {
    /// Must be called within a tokio runtime. `reveal` lifts masking for all (`privacy.reveal`);
    /// the settings' `give_up` goes before that of `retry`.
    pub fn start(
        settings: &NotifySettings,
        reveal: bool,
        mut retry: Retry,
        metrics: &NotifyMetrics,
    ) -> Result<(Delivery, UnboundedReceiver<Report>), SettingsError> {
        if let Some(ms) = settings.give_up.and_then(|ms| u64::try_from(ms).ok()) {
            retry.give_up = Duration::from_millis(ms);
        }
        let (reports, settled) = mpsc::unbounded_channel();
        let mut queues = BTreeMap::new();
        let mut tasks = JoinSet::new();
        let mut workers = Vec::new();
        for (name, receiver) in &settings.receivers {
            let transport = Transport::new(name, receiver, reveal, retry.timeout)?;
            let people = (!transport.is_machine()).then_some(PEOPLE_RATE);
            let rate = receiver.rate.and_then(NonZeroU32::new).or(people);
            let (queue, waiting) = mpsc::channel(QUEUE_MAX);
            queues.insert(name.clone(), queue);
            workers.push(Worker {
                name: name.clone(),
                transport,
                limit: rate.map(|rate| Arc::new(RateLimiter::direct(Quota::per_minute(rate)))),
                retry,
                waiting,
                reports: reports.clone(),
                metrics: metrics.clone(),
            });
        }
        for worker in workers {
            tasks.spawn(worker.run());
        }
        Ok((Delivery { queues, reports, metrics: metrics.clone(), _tasks: tasks }, settled))
    }

    /// Queues a notice without waiting. One that finds no place is reported dead at once.
    pub fn hand(&self, notice: Notice) {
        let (notice, reason) = match self.queues.get(&notice.receiver) {
            None => (notice, "no such receiver"),
            Some(queue) => match queue.try_send(notice) {
                Ok(()) => return,
                Err(refused) => (refused.into_inner(), "the receiver's queue is full"),
            },
        };
        tracing::error!(receiver = %notice.receiver, reason, "a notice was not delivered");
        self.metrics.count(&notice.receiver, "dead");
        let report = Report { notice, outcome: Outcome::Dead(reason.to_owned()) };
        // Refused only when the other side is gone, and with it whoever would commit.
        self.reports.send(report).unwrap_or_default();
    }
}

struct Worker {
    name: String,
    transport: Transport,
    limit: Option<Arc<DefaultDirectRateLimiter>>,
    retry: Retry,
    waiting: Receiver<Notice>,
    reports: UnboundedSender<Report>,
    metrics: NotifyMetrics,
}

impl Worker {
    async fn run(mut self) {
        while let Some(notice) = self.waiting.recv().await {
            let notice = self.admit(notice).await;
            let outcome = self.deliver(&notice).await;
            match &outcome {
                Outcome::Delivered => {
                    let ms = u32::try_from(now_ms().saturating_sub(notice.offered_at).max(0));
                    self.metrics
                        .delivered_after(&self.name, f64::from(ms.unwrap_or(u32::MAX)) / 1000.0);
                    self.metrics.count(&self.name, "delivered");
                }
                Outcome::Dead(reason) => {
                    tracing::error!(receiver = %self.name, %reason, "a notice was not delivered");
                    self.metrics.count(&self.name, "dead");
                }
            }
            if self.reports.send(Report { notice, outcome }).is_err() {
                return;
            }
        }
    }

    /// Waits for the rate limit. What arrives for people meanwhile joins the one digest.
    async fn admit(&mut self, mut notice: Notice) -> Notice {
        let Some(limit) = self.limit.clone() else { return notice };
        if limit.check().is_ok() {
            return notice;
        }
        let ready = limit.until_ready();
        if self.transport.is_machine() {
            ready.await;
            return notice;
        }
        tokio::pin!(ready);
        loop {
            tokio::select! {
                biased;
                () = &mut ready => return notice,
                Some(next) = self.waiting.recv() => {
                    self.metrics.count(&self.name, "digested");
                    notice.absorb(next);
                }
            }
        }
    }

    async fn deliver(&self, notice: &Notice) -> Outcome {
        let give_up_at = Instant::now() + self.retry.give_up;
        let mut waits = ExponentialBuilder::default()
            .with_min_delay(self.retry.wait_min)
            .with_max_delay(self.retry.wait_max)
            .without_max_times()
            .with_jitter()
            .build();
        let mut done = 0;
        loop {
            let attempt = self.transport.send(notice, &mut done);
            let error = match tokio::time::timeout(self.retry.timeout, attempt).await {
                Ok(Ok(())) => return Outcome::Delivered,
                Ok(Err(error)) => error,
                Err(_) => SendError::passing("no answer in time"),
            };
            let again_at = Instant::now() + waits.next().unwrap_or(self.retry.wait_max);
            if !error.retry || again_at >= give_up_at {
                return Outcome::Dead(error.message);
            }
            tracing::warn!(receiver = %self.name, %error, "a notice will be tried again");
            self.metrics.count(&self.name, "failed");
            tokio::time::sleep_until(again_at).await;
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
