//! What the notifier counts (K3): outcomes and delay per receiver, and how much waits.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// Labels are receiver names and outcomes only, so their number is bounded by configuration.
#[derive(Debug, Clone)]
pub struct NotifyMetrics {
    notifications: IntCounterVec,
    seconds: HistogramVec,
    open: IntGauge,
    held: IntGauge,
    paused: IntGauge,
    unreadable: IntCounter,
    heartbeats: IntCounterVec,
}

impl NotifyMetrics {
    pub fn new(registry: &Registry) -> Result<NotifyMetrics, prometheus::Error> {
        let notifications = IntCounterVec::new(
            Opts::new(
                "tidegate_notifications_total",
                "Attempts to tell a receiver: delivered, failed (tried again), digested, dead.",
            ),
            &["receiver", "outcome"],
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "tidegate_notification_seconds",
                "From the commit of a notice's first decision to a receiver taking it.",
            )
            .buckets(vec![0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 86_400.0]),
            &["receiver"],
        )?;
        let open = IntGauge::new(
            "tidegate_notices_open",
            "Decisions that have been read and wait for a receiver.",
        )?;
        let held = IntGauge::new(
            "tidegate_notices_held",
            "Decisions that wait for a mute or quiet hours to end, or for somebody to acknowledge.",
        )?;
        let paused = IntGauge::new(
            "tidegate_notices_paused",
            "1 while so many decisions wait that no more are read.",
        )?;
        let unreadable = IntCounter::new(
            "tidegate_notices_unreadable_total",
            "Records in the topic of decisions that are no decisions; they are skipped.",
        )?;
        let heartbeats = IntCounterVec::new(
            Opts::new(
                "tidegate_heartbeats_total",
                "Heartbeats: sent and taken, failed, withheld since something does not work.",
            ),
            &["to", "outcome"],
        )?;
        registry.register(Box::new(heartbeats.clone()))?;
        registry.register(Box::new(notifications.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(open.clone()))?;
        registry.register(Box::new(held.clone()))?;
        registry.register(Box::new(paused.clone()))?;
        registry.register(Box::new(unreadable.clone()))?;
        Ok(NotifyMetrics { notifications, seconds, open, held, paused, unreadable, heartbeats })
    }

    /// Begins to count what becomes of a receiver's notices, at 0: the first that is given up must be
    /// seen as an increase.
    pub(crate) fn begin(&self, receiver: &str) {
        for outcome in ["delivered", "failed", "digested", "dead"] {
            self.notifications.with_label_values(&[receiver, outcome]);
        }
    }

    pub fn count(&self, receiver: &str, outcome: &str) {
        self.notifications.with_label_values(&[receiver, outcome]).inc();
    }

    pub fn delivered_after(&self, receiver: &str, seconds: f64) {
        self.seconds.with_label_values(&[receiver]).observe(seconds);
    }

    pub(crate) fn heartbeats(&self, to: &str, outcome: &str, by: u64) {
        self.heartbeats.with_label_values(&[to, outcome]).inc_by(by);
    }

    /// Heartbeats so far, for tests.
    pub fn heartbeats_value(&self, to: &str, outcome: &str) -> u64 {
        self.heartbeats.with_label_values(&[to, outcome]).get()
    }

    /// The count so far, for status pages and tests.
    pub fn value(&self, receiver: &str, outcome: &str) -> u64 {
        self.notifications.with_label_values(&[receiver, outcome]).get()
    }

    pub(crate) fn waiting(&self, open: usize, held: usize, paused: bool) {
        self.open.set(i64::try_from(open).unwrap_or(i64::MAX));
        self.held.set(i64::try_from(held).unwrap_or(i64::MAX));
        self.paused.set(i64::from(paused));
    }

    pub(crate) fn unreadable(&self) {
        self.unreadable.inc();
    }
}
