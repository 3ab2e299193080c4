//! What the notifier counts (K3): outcomes and delay per receiver.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// Labels are receiver names and outcomes only, so their number is bounded by configuration.
#[derive(Debug, Clone)]
pub struct NotifyMetrics {
    notifications: IntCounterVec,
    seconds: HistogramVec,
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
                "From the first decision of a notice reaching the notifier to its delivery.",
            )
            .buckets(vec![0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 86_400.0]),
            &["receiver"],
        )?;
        registry.register(Box::new(notifications.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(NotifyMetrics { notifications, seconds })
    }

    pub fn count(&self, receiver: &str, outcome: &str) {
        self.notifications.with_label_values(&[receiver, outcome]).inc();
    }

    pub fn delivered_after(&self, receiver: &str, seconds: f64) {
        self.seconds.with_label_values(&[receiver]).observe(seconds);
    }

    /// The count so far, for status pages and tests.
    pub fn value(&self, receiver: &str, outcome: &str) -> u64 {
        self.notifications.with_label_values(&[receiver, outcome]).get()
    }
}
