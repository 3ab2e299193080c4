//! What a worker tells others: metrics of what is committed, and how it looks.

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;

use crate::engine::Counts;
use crate::event::EventTime;
use crate::metrics::Metrics;
use crate::stream::bench::Outbox;
use crate::stream::emit::Note;
use crate::stream::part::Part;
use crate::stream::shared::{PartitionView, Phase, lock};
use crate::stream::worker::Worker;
use crate::stream::worker::commit::{Final, Flight};
use crate::stream::{Clock, Log, Place, Progress, Sink, Source};

/// The key of decisions that hold the account of a day.
const REPORT: &[u8] = b"date:";
/// A worker whose commits fail for so long says so.
const STUCK_US: i64 = 30_000_000;
/// Gauges and the status page are brought up to date so often.
const REPORT_US: i64 = 500_000;
/// Pauses from here on are told.
const PAUSE_US: i64 = 1_000;

impl<L: Log, C: Clock> Worker<L, C> {
    /// Tells how long the worker has taken no events, where that is worth telling.
    pub(super) fn paused(&self, cause: &str, since_us: &mut i64) {
        let now_us = self.clock.now_us();
        let pause_us = now_us - *since_us;
        if pause_us >= PAUSE_US {
            let pauses = self.metrics.worker_pause_seconds.with_label_values(&[cause]);
            pauses.observe(seconds(pause_us));
        }
        *since_us = now_us;
    }

    /// Counts what a transaction made final.
    pub(super) fn committed(
        &mut self,
        progress: &[(Place, Progress)],
        flight: &Flight,
        done_us: i64,
    ) {
        let metrics = &self.metrics;
        for (place, Progress { next, told }) in progress {
            if let Some(part) = self.parts.get_mut(place) {
                (part.committed, part.told_committed) = (*next, *told);
            }
        }
        for Final { place, changes, counts } in &flight.finals {
            if let Some(part) = self.parts.get_mut(place) {
                part.changes_open = part.changes_open.saturating_sub(*changes);
            }
            if let Some((before, now)) = counts {
                add(metrics, *place, before, now);
            }
        }
        metrics.transactions.with_label_values(&["committed"]).inc();
        metrics.transaction_seconds.observe(seconds(done_us - flight.since_us));
        metrics.key_mismatch.inc_by(flight.key_mismatches);
        self.count(&flight.outbox);
    }

    /// Counts what is written for good.
    pub(super) fn count(&self, outbox: &Outbox) {
        let metrics = &self.metrics;
        let wall_us = self.clock.wall_us();
        let waited =
            |since_ms: &i64| seconds(wall_us.saturating_sub(since_ms.saturating_mul(1000)).max(0));
        for tipped_ms in &outbox.tipped {
            metrics.event_to_command_seconds.observe(waited(tipped_ms));
        }
        for decided_ms in &outbox.decided {
            metrics.detection_seconds.observe(waited(decided_ms));
        }
        for note in &outbox.notes {
            count(metrics, note);
        }
        for output in &outbox.outputs {
            let is_report = output.key.as_deref().is_some_and(|key| key.starts_with(REPORT));
            // A canary has a header.
            if let (Sink::Decisions, Some(value), [], false) =
                (output.sink, &output.value, output.headers.as_slice(), is_report)
            {
                self.recent.push(value.clone());
            }
        }
    }

    /// Brings gauges and view up to date when it is time.
    pub(super) fn report(&mut self, now_us: i64) {
        if now_us.saturating_sub(self.reported_us) >= REPORT_US {
            self.report_now(now_us);
        }
    }

    /// Lets others see that it restores: for a while it may do nothing else.
    pub(super) fn begin_loading(&mut self, now_us: i64) {
        self.report_now(now_us);
        lock(&self.view).loading = Some(0);
        // What comes of it is seen at once.
        self.reported_us = i64::MIN;
    }

    pub(super) fn report_now(&mut self, now_us: i64) {
        self.reported_us = now_us;
        let mut partitions = Vec::new();
        let warming: Vec<_> = self.parts.values().map(|part| self.progress(part)).collect();
        for (part, warming) in self.parts.values_mut().zip(warming) {
            if part.restored && part.assigned_us > 0 {
                let took = seconds(now_us - part.assigned_us);
                self.metrics.restore_seconds.observe(took);
                part.assigned_us = 0;
            }
            let lag = self.log.lag(part.place, part.next);
            let view = PartitionView { warming, ..partition_view(part, lag) };
            gauges(&self.metrics, part.place, &view);
            if part.place.source == Source::Partials {
                forecasts(&self.metrics, part);
            }
            let limit = part.reign.plan.settings.max_keys;
            let limit = limit.map_or(i64::MAX, |max| i64::try_from(max).unwrap_or(i64::MAX));
            self.metrics.state_keys_limit.set(limit);
            partitions.push(view);
        }
        let restored = self.pending.is_none() && self.parts.values().all(|part| part.restored);
        let phase = match (self.member, restored) {
            (false, _) => Phase::Joining,
            (true, false) => Phase::Restoring,
            (true, true) => Phase::Running,
        };
        let mut view = lock(&self.view);
        view.slot.clone_from(&self.settings.slot);
        let failing = self.failing_since_us.filter(|since_us| now_us - since_us > STUCK_US);
        view.state = if failing.is_some() { Phase::Stuck } else { phase };
        let hindrance = self.hindrance.clone().filter(|_| self.pending.is_some());
        let failure = failing.map(|_| format!("no commit succeeds: {}", self.failure));
        view.reason = failure.or(hindrance);
        let control = self.desk.trouble(STUCK_US, now_us);
        view.control = control.map(str::to_owned);
        view.contact_us = self.contact_us;
        view.loading = None;
        view.partitions = partitions;
    }
}

/// Labels of a partition's gauges: the log it belongs to, and its number.
pub(super) fn labels(place: Place) -> [String; 2] {
    let log = match place.source {
        Source::Events => "events",
        Source::Partials => "partials",
    };
    [log.to_owned(), place.partition.to_string()]
}

/// Gauges of a partition that somebody else has now.
pub(super) fn forget(metrics: &Metrics, place: Place) {
    let labels = labels(place);
    // Refused only where there was no such gauge.
    metrics.consumer_lag.remove_label_values(&[&labels[1]]).unwrap_or_default();
    let gauges = [
        &metrics.state_keys,
        &metrics.state_bytes,
        &metrics.history_missing,
        &metrics.snapshot_bytes,
        &metrics.rules_warming,
    ];
    for gauges in gauges {
        gauges.remove_label_values(&labels).unwrap_or_default();
    }
    if place.source == Source::Partials {
        forget_forecasts(metrics, &labels[1], &[]);
    }
    let floats =
        [&metrics.watermark_seconds, &metrics.warming_ratio, &metrics.history_missing_seconds];
    for gauges in floats {
        gauges.remove_label_values(&labels).unwrap_or_default();
    }
    metrics.snapshot_timestamp_seconds.remove_label_values(&labels).unwrap_or_default();
}

fn partition_view(part: &Part, lag: Option<i64>) -> PartitionView {
    let origin = part.state.origin();
    PartitionView {
        topic: origin.topic.to_string(),
        partition: origin.partition,
        next: part.next,
        committed: part.committed,
        lag,
        watermark: part.state.watermark().map(|EventTime(ms)| ms),
        keys: part.state.keys(),
        bytes: part.state.bytes(),
        restored: part.restored,
        warming: None,
    }
}

fn gauges(metrics: &Metrics, place: Place, view: &PartitionView) {
    let labels = labels(place);
    if let (Source::Events, Some(lag)) = (place.source, view.lag) {
        metrics.consumer_lag.with_label_values(&[&labels[1]]).set(lag);
    }
    let size = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
    metrics.state_keys.with_label_values(&labels).set(size(view.keys));
    metrics.state_bytes.with_label_values(&labels).set(size(view.bytes));
    let rules = view.warming.as_ref().map_or(0, |warming| warming.rules.len());
    metrics.rules_warming.with_label_values(&labels).set(size(rules));
    let share = view.warming.as_ref().map_or(1.0, |warming| f64::from(warming.percent) / 100.0);
    metrics.warming_ratio.with_label_values(&labels).set(share);
    // There from the beginning on, at 0.
    metrics.history_missing_seconds.with_label_values(&labels);
    if let Some(ms) = view.watermark {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; 2^53 ms lie far off")]
        metrics.watermark_seconds.with_label_values(&labels).set(ms as f64 / 1000.0);
    }
}

/// When the caps of the keys that a partition owns will be reached.
fn forecasts(metrics: &Metrics, part: &Part) {
    let partition = part.place.partition.to_string();
    let soonest = part.state.forecasts(&part.reign.plan);
    for (rule, wait_ms) in &soonest {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; 2^53 ms lie far off")]
        let wait = wait_ms.map_or(f64::INFINITY, |ms| ms as f64 / 1000.0);
        metrics.cap_forecast_seconds.with_label_values(&[rule, partition.as_str()]).set(wait);
    }
    let rules: Vec<&str> = soonest.iter().map(|(rule, _)| *rule).collect();
    forget_forecasts(metrics, &partition, &rules);
}

/// Removes the forecasts of a partition but those of these rules.
fn forget_forecasts(metrics: &Metrics, partition: &str, rules: &[&str]) {
    for metric in metrics.cap_forecast_seconds.collect().iter().flat_map(MetricFamily::get_metric) {
        let label = |name: &str| {
            let found = metric.get_label().iter().find(|label| label.name() == name);
            found.map_or("", |label| label.value())
        };
        let rule = label("rule");
        if label("partition") == partition && !rules.contains(&rule) {
            // It was there a moment ago.
            let gone = metrics.cap_forecast_seconds.remove_label_values(&[rule, partition]);
            gone.unwrap_or_default();
        }
    }
}

fn count(metrics: &Metrics, note: &Note) {
    match note {
        Note::Decision { rule, level, mode } => {
            let level = level.to_string();
            metrics.decisions.with_label_values(&[rule, &level, mode]).inc();
        }
        Note::Command(command) => metrics.commands.with_label_values(&[command]).inc(),
        Note::Daily { ok } => {
            let verdict = if *ok { "ok" } else { "mismatch" };
            metrics.daily_reports.with_label_values(&[verdict]).inc();
        }
        Note::Quarantined(reason) => {
            metrics.quarantined.with_label_values(&[reason.to_string()]).inc();
        }
    }
}

fn add(metrics: &Metrics, place: Place, before: &Counts, now: &Counts) {
    if place.source == Source::Events {
        let partition = place.partition.to_string();
        let records = metrics.records_consumed.with_label_values(&[&partition]);
        records.inc_by(now.consumed - before.consumed);
        let outcomes = [
            ("accepted", now.accepted - before.accepted),
            ("duplicate", now.duplicate - before.duplicate),
            ("late", now.late - before.late),
            ("quarantined", now.quarantined - before.quarantined),
        ];
        for (outcome, more) in outcomes {
            metrics.events.with_label_values(&[&partition, outcome]).inc_by(more);
        }
        // Only where there are any.
        if now.canaries > before.canaries {
            let canaries = metrics.events.with_label_values(&[&partition, "canary"]);
            canaries.inc_by(now.canaries - before.canaries);
        }
    }
    metrics.suppressed.inc_by(now.suppressed - before.suppressed);
    metrics.freezes_ended.inc_by(now.freezes_ended - before.freezes_ended);
    metrics.sums_saturated.inc_by(now.saturated - before.saturated);
    metrics.closed_window_events.inc_by(now.closed_window - before.closed_window);
    metrics.partials_late.inc_by(now.partials_late - before.partials_late);
    metrics.partials_unreadable.inc_by(now.partials_unreadable - before.partials_unreadable);
    metrics.watermark_jumps.inc_by(now.watermark_jumps - before.watermark_jumps);
    metrics.values_dropped.inc_by(now.values_dropped - before.values_dropped);
    let given_up = |outcome: &str, by: u64| {
        metrics.keys_given_up.with_label_values(&[outcome]).inc_by(by);
    };
    given_up("evicted", now.keys_evicted - before.keys_evicted);
    given_up("refused", now.keys_refused - before.keys_refused);
}

#[expect(clippy::cast_precision_loss, reason = "seconds are floats in metrics")]
pub(super) fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}
