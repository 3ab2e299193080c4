//! Points in, as fast as the clock says: the generated stream into the topic of events.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::generate::{Disorder, Options as StreamOptions, Stream};
use crate::metrics::Metrics;
use crate::service::Totals;
use crate::stream::kafka::StandIn;
use crate::stream::lock;

use super::ledger::Ledger;

/// Event time of one stream. Minutes that stand out need an hour and a half before them.
const EVENT_SECONDS: u64 = 7200;
/// Wall time of a stream, where the whole has no end.
const ROUND_SECONDS: u64 = 45;
/// Nothing of one round is remembered in the next: devices are for 30 days.
const ROUND_APART_MS: i64 = 31 * 86_400_000;
/// Rounds without end must not reach the present, or they would lie too far ahead of their
/// records. As many as fit behind 2000-01-01, which E1 asks for: three hours.
const ROUNDS_MAX: i64 = 280;
/// 10:00 in the shipped rules' zone, so that midnight is far.
const HOUR_MS: i64 = 2 * 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// The stand-in forgets what lies more than 5 MB behind, some 28,000 events a partition.
const AHEAD_MAX: u64 = 20_000;
const STEP: Duration = Duration::from_millis(5);
const LOOK_EVERY: u64 = 200;
const FLUSH: Duration = Duration::from_secs(5);

/// What to send, and how fast.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Wall time; 0 goes on until it is stopped.
    pub(super) seconds: u64,
    /// Ordinary events a second of wall time.
    pub(super) rate: u64,
    pub(super) seed: u64,
    pub(super) now_ms: i64,
}

impl Pace {
    fn round_seconds(&self) -> u64 {
        if self.seconds == 0 { ROUND_SECONDS } else { self.seconds }
    }

    fn rounds(&self) -> i64 {
        if self.seconds == 0 { ROUNDS_MAX } else { 1 }
    }

    fn stream(&self, round: i64) -> StreamOptions {
        let yesterday = (self.now_ms / DAY_MS - 1) * DAY_MS + HOUR_MS;
        let events = self.rate.saturating_mul(self.round_seconds()).max(1);
        StreamOptions {
            users: (events / 4).clamp(1000, 1_000_000),
            events: Some(events),
            seconds: EVENT_SECONDS,
            start: yesterday - (self.rounds() - 1 - round) * ROUND_APART_MS,
            seed: self.seed.wrapping_add_signed(round),
            disorder: Disorder { late: 0.002, duplicates: 0.005, broken: 0.002, far_ahead: 0.0005 },
            ..StreamOptions::default()
        }
    }
}

/// The sending thread.
#[derive(Debug)]
pub(super) struct Feed {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    sent: AtomicU64,
    stop: AtomicBool,
}

impl Feed {
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(
        pace: Pace,
        kafka: Arc<StandIn>,
        topic: String,
        ledger: Arc<Mutex<Ledger>>,
        metrics: Metrics,
    ) -> std::io::Result<Feed> {
        let shared: Arc<Shared> = Arc::default();
        let sender = Sender { pace, kafka, topic, ledger, metrics, shared: shared.clone() };
        let thread = std::thread::Builder::new().name("feed".into()).spawn(move || sender.run())?;
        Ok(Feed { shared, thread })
    }

    /// Records handed to Kafka.
    pub(super) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Acquire)
    }

    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Sends no more; the thread ends when what it has sent is in the topic.
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

struct Sender {
    pace: Pace,
    kafka: Arc<StandIn>,
    topic: String,
    ledger: Arc<Mutex<Ledger>>,
    metrics: Metrics,
    shared: Arc<Shared>,
}

impl Sender {
    fn run(&self) {
        for round in 0..self.pace.rounds() {
            if self.is_stopped() || !self.round(&self.pace.stream(round)) {
                break;
            }
        }
        if !self.kafka.flush(FLUSH) {
            tracing::error!("the stand-in did not take all events in time");
        }
    }

    /// Sends one stream; false when it was stopped before its end.
    fn round(&self, options: &StreamOptions) -> bool {
        let mut stream = Stream::new(options);
        lock(&self.ledger).begin(&stream, options.start);
        let began = Instant::now();
        let wall_ms = self.pace.round_seconds().saturating_mul(1000);
        let mut count: u64 = 0;
        while let Some(line) = stream.next_line() {
            let passed = u128::from((line.at - options.start).unsigned_abs());
            let due = passed * u128::from(wall_ms) / u128::from(EVENT_SECONDS * 1000);
            let due = Duration::from_millis(u64::try_from(due).unwrap_or(u64::MAX));
            while began.elapsed() < due {
                if self.is_stopped() {
                    return false;
                }
                std::thread::sleep(STEP.min(due.saturating_sub(began.elapsed())));
            }
            if count.is_multiple_of(LOOK_EVERY) && !self.look(line.at) {
                return false;
            }
            count += 1;
            if let Err(error) = self.kafka.send(&self.topic, line.user, line.bytes) {
                tracing::error!(%error, "the stand-in took no event");
                return false;
            }
            self.shared.sent.fetch_add(1, Ordering::AcqRel);
        }
        lock(&self.ledger).finish();
        true
    }

    /// Notes how far the stream has come, and waits while the detector is far behind.
    fn look(&self, at: i64) -> bool {
        // What came before `at` has been sent, what is at it not yet.
        lock(&self.ledger).sent(at - 1);
        let sent = self.shared.sent.load(Ordering::Acquire);
        while sent.saturating_sub(Totals::of(&self.metrics).consumed) > AHEAD_MAX {
            if self.is_stopped() {
                return false;
            }
            std::thread::sleep(STEP);
        }
        !self.is_stopped()
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }
}
