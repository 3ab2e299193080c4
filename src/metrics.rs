//! What the process counts (contract K3). Labels are of bounded size only: never a user, a
//! device or an address.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use crate::rule::RuleSet;

/// Milliseconds to minutes: a freeze takes some ten milliseconds.
const LATENCY_BUCKETS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 5.0,
    60.0,
];
/// Tens of milliseconds to hours: what reports late counts, too.
const DETECTION_BUCKETS: [f64; 16] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0,
    86_400.0,
];
const RESTORE_BUCKETS: [f64; 9] = [0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0];

/// Handles of everything the detector exports; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub registry: Registry,
    pub records_consumed: IntCounterVec,
    pub events: IntCounterVec,
    pub quarantined: IntCounterVec,
    pub key_mismatch: IntCounter,
    pub decisions: IntCounterVec,
    pub commands: IntCounterVec,
    pub event_to_command_seconds: Histogram,
    pub detection_seconds: Histogram,
    pub consumer_lag: IntGaugeVec,
    pub transaction_seconds: Histogram,
    pub transactions: IntCounterVec,
    pub state_keys: IntGaugeVec,
    pub state_keys_limit: IntGauge,
    pub state_bytes: IntGaugeVec,
    pub watermark_seconds: GaugeVec,
    pub cap_forecast_seconds: GaugeVec,
    pub restore_seconds: Histogram,
    pub history_missing: IntGaugeVec,
    pub history_missing_seconds: GaugeVec,
    pub daily_reports: IntCounterVec,
    pub rules_warming: IntGaugeVec,
    pub warming_ratio: GaugeVec,
    pub snapshots: IntCounterVec,
    pub snapshot_seconds: Histogram,
    pub snapshot_pause_seconds: Histogram,
    pub worker_pause_seconds: HistogramVec,
    pub snapshot_bytes: IntGaugeVec,
    pub snapshot_timestamp_seconds: GaugeVec,
    pub rules_reload_success: IntGauge,
    pub rules_info: IntGaugeVec,
    pub suppressed: IntCounter,
    pub freezes_ended: IntCounter,
    pub sums_saturated: IntCounter,
    pub closed_window_events: IntCounter,
    pub partials_late: IntCounter,
    pub partials_unreadable: IntCounter,
    pub control_unreadable: IntCounter,
    pub control_unavailable: IntGaugeVec,
    pub watermark_jumps: IntCounter,
    pub values_dropped: IntCounter,
    pub keys_given_up: IntCounterVec,
    pub worker_restarts: IntCounter,
    pub canaries: IntCounterVec,
    pub canary_seconds: Histogram,
    pub canary_timestamp_seconds: Gauge,
    pub watch_alerts: IntGaugeVec,
    pub ready: IntGauge,
    pub restoring: IntGauge,
    pub start_time_seconds: Gauge,
}

/// Registers one family after another under the prefix.
struct Maker {
    registry: Registry,
}

impl Maker {
    fn add<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        made: Result<C, prometheus::Error>,
    ) -> Result<C, prometheus::Error> {
        let made = made?;
        self.registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::with_opts(opts(name, help)))
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(opts(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::with_opts(opts(name, help)))
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(opts(name, help), labels))
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, prometheus::Error> {
        let opts = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
        self.add(Histogram::with_opts(opts))
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("tidegate_{name}"), help)
}

impl Metrics {
    /// Registers every family at `registry`.
    ///
    /// # Errors
    /// When one of the names is taken there.
    #[expect(clippy::too_many_lines, reason = "a table: one entry a metric")]
    pub fn new(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let maker = Maker { registry: registry.clone() };
        let per_log = ["log", "partition"];
        let metrics = Metrics {
            registry: registry.clone(),
            records_consumed: maker.counters(
                "records_consumed_total",
                "Records of the input topic read since the start of the process, committed.",
                &["partition"],
            )?,
            events: maker.counters(
                "events_total",
                "What became of the records: accepted, duplicate, late or quarantined.",
                &["partition", "outcome"],
            )?,
            quarantined: maker.counters(
                "quarantined_total",
                "Records copied to the quarantine topic, by reason; late ones included.",
                &["reason"],
            )?,
            key_mismatch: maker.counter(
                "key_mismatch_total",
                "Events whose record key is not their user: partitioning by user is at risk.",
            )?,
            decisions: maker.counters(
                "decisions_total",
                "Decisions committed.",
                &["rule", "level", "mode"],
            )?,
            commands: maker.counters("commands_total", "Commands committed.", &["command"])?,
            event_to_command_seconds: maker.histogram(
                "event_to_command_seconds",
                "From the timestamp of the record that tipped a rule to the commit of its command, or its \
                 acknowledgement where it does not wait for one.",
                &LATENCY_BUCKETS,
            )?,
            detection_seconds: maker.histogram(
                "detection_seconds",
                "From the event time of a decision to its commit or acknowledgement: what the \
                 pipeline takes to report an event, and what it takes to judge it.",
                &DETECTION_BUCKETS,
            )?,
            consumer_lag: maker.gauges(
                "consumer_lag",
                "Records of the input topic not yet read.",
                &["partition"],
            )?,
            transaction_seconds: maker.histogram(
                "transaction_seconds",
                "Time a transaction took from begin to commit.",
                &LATENCY_BUCKETS,
            )?,
            transactions: maker.counters(
                "transactions_total",
                "Transactions by end: committed or aborted.",
                &["outcome"],
            )?,
            state_keys: maker.gauges("state_keys", "Keys held in memory.", &per_log)?,
            state_keys_limit: maker.gauge(
                "state_keys_limit",
                "Keys that the state of one partition holds at most (engine.max_keys).",
            )?,
            state_bytes: maker.gauges(
                "state_bytes",
                "Bytes of state held in memory, estimated.",
                &per_log,
            )?,
            watermark_seconds: maker.add(GaugeVec::new(
                opts("watermark_seconds", "Watermark: event time in seconds since the epoch."),
                &per_log,
            ))?,
            cap_forecast_seconds: maker.add(GaugeVec::new(
                opts(
                    "cap_forecast_seconds",
                    "Until the first key of a rule exceeds its next bound at the present rate; \
                     infinite when none does so before its window ends.",
                ),
                &["rule", "partition"],
            ))?,
            restore_seconds: maker.histogram(
                "restore_seconds",
                "From the assignment of a partition to its state being restored.",
                &RESTORE_BUCKETS,
            )?,
            history_missing: maker.gauges(
                "history_missing",
                "1 where the log no longer held the beginning when state was restored from it.",
                &per_log,
            )?,
            history_missing_seconds: maker.add(GaugeVec::new(
                opts(
                    "history_missing_seconds",
                    "How much longer the rules that were made ready last look back than the log \
                     reached.",
                ),
                &per_log,
            ))?,
            daily_reports: maker.counters(
                "daily_reports_total",
                "Accounts of days that this process issued, by whether their records add up.",
                &["verdict"],
            )?,
            rules_warming: maker.gauges(
                "rules_warming",
                "Rules of the set in force that are made ready from the log and do not act yet.",
                &per_log,
            )?,
            warming_ratio: maker.add(GaugeVec::new(
                opts("warming_ratio", "How far they are, from 0 to 1; 1 when all rules act."),
                &per_log,
            ))?,
            snapshots: maker.counters(
                "snapshots_total",
                "Snapshots written, failed to be, restored from, and skipped for a fault.",
                &["outcome"],
            )?,
            snapshot_seconds: maker.histogram(
                "snapshot_seconds",
                "From the instant that a snapshot is of to its being stored.",
                &RESTORE_BUCKETS,
            )?,
            snapshot_pause_seconds: maker.histogram(
                "snapshot_pause_seconds",
                "How long a worker stood still at a time to tell a piece of a snapshot.",
                &LATENCY_BUCKETS,
            )?,
            worker_pause_seconds: maker.add(HistogramVec::new(
                HistogramOpts::from(opts(
                    "worker_pause_seconds",
                    "How long a worker took no events at a time, a millisecond or more, by what it \
                     did instead.",
                ))
                .buckets(LATENCY_BUCKETS.to_vec()),
                &["cause"],
            ))?,
            snapshot_bytes: maker.gauges(
                "snapshot_bytes",
                "Size of the partition's last snapshot as stored.",
                &per_log,
            )?,
            snapshot_timestamp_seconds: maker.add(GaugeVec::new(
                opts(
                    "snapshot_timestamp_seconds",
                    "When the partition's last snapshot was fixed, seconds since the epoch.",
                ),
                &per_log,
            ))?,
            rules_reload_success: maker.gauge(
                "rules_reload_success",
                "1 when the last reading of rules and lists succeeded, 0 when it failed.",
            )?,
            rules_info: maker.gauges("rules_info", "The rule set in force.", &["ruleset"])?,
            suppressed: maker.counter("suppressed_total", "Firings held back by a cooldown.")?,
            freezes_ended: maker.counter(
                "freezes_ended_total",
                "Freezes not written because their end did not lie after the watermark.",
            )?,
            sums_saturated: maker
                .counter("sums_saturated_total", "Sums that would have overflowed 64 bits.")?,
            closed_window_events: maker.counter(
                "closed_window_events_total",
                "Events left out of a window that its rule had closed.",
            )?,
            partials_late: maker.counter(
                "partials_late_total",
                "Partial aggregates that came for a window already closed.",
            )?,
            control_unreadable: maker.counter(
                "control_unreadable_total",
                "Records of the control topic that are no changes, once a worker and restore",
            )?,
            control_unavailable: maker.gauges(
                "control_unavailable",
                "1 while a worker cannot read the control topic, so that changes wait there.",
                &["worker"],
            )?,
            partials_unreadable: maker.counter(
                "partials_unreadable_total",
                "Records of the partials topic that could not be read.",
            )?,
            watermark_jumps: maker.counter(
                "watermark_jumps_total",
                "Jumps of a watermark by more than input.max_ahead.",
            )?,
            values_dropped: maker.counter(
                "values_dropped_total",
                "Values that a bounded memory of `new` had to leave out.",
            )?,
            keys_given_up: maker.counters(
                "keys_given_up_total",
                "Keys that a full state forgot to make room (evicted), or did not count (refused).",
                &["outcome"],
            )?,
            worker_restarts: maker.counter(
                "worker_restarts_total",
                "Workers rebuilt after a failure that their client could not recover from.",
            )?,
            canaries: maker.counters(
                "canaries_total",
                "Canaries of this instance: sent, returned as a decision, lost.",
                &["outcome"],
            )?,
            canary_seconds: maker.histogram(
                "canary_seconds",
                "From sending a canary to reading the committed decision that answers it.",
                &DETECTION_BUCKETS,
            )?,
            canary_timestamp_seconds: maker.add(Gauge::with_opts(opts(
                "canary_timestamp_seconds",
                "When canaries came through in all partitions of this instance last, seconds since \
                 the epoch; 0 where none has.",
            )))?,
            watch_alerts: maker.gauges(
                "watch_alerts",
                "1 while the instance says of itself that this is wrong.",
                &["alert"],
            )?,
            ready: maker.gauge("ready", "1 when /readyz says yes.")?,
            restoring: maker
                .gauge("restoring", "1 while state is being restored, and that goes on.")?,
            start_time_seconds: maker.add(Gauge::with_opts(opts(
                "start_time_seconds",
                "When the process started, seconds since the epoch.",
            )))?,
        };
        // A series that is born at 1 has no increase; these are watched by alerts.
        for outcome in ["committed", "aborted"] {
            metrics.transactions.with_label_values(&[outcome]);
        }
        for outcome in ["sent", "returned", "lost"] {
            metrics.canaries.with_label_values(&[outcome]);
        }
        for outcome in ["evicted", "refused"] {
            metrics.keys_given_up.with_label_values(&[outcome]);
        }
        for outcome in ["written", "failed", "restored", "skipped"] {
            metrics.snapshots.with_label_values(&[outcome]);
        }
        for verdict in ["ok", "mismatch"] {
            metrics.daily_reports.with_label_values(&[verdict]);
        }
        for command in ["freeze", "unfreeze", "review", "deduct"] {
            metrics.commands.with_label_values(&[command]);
        }
        Ok(metrics)
    }

    /// Begins to count what a rule set can decide, at 0: the first decision of a rule, as rare as it
    /// is, must be seen as an increase. What has been counted stays.
    pub fn begin_decisions(&self, rules: &RuleSet) {
        for (rule, level, mode) in rules.outcomes() {
            self.decisions.with_label_values(&[rule, &level.to_string(), mode.as_str()]);
        }
    }
}

#[cfg(test)]
mod tests;
