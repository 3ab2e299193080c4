//! The loop of one worker: poll, apply, act on rebalances, commit.
//!
//! Outputs wait in an outbox and are produced in one transaction with the input offsets, at the
//! latest every flush interval, and at once (5 ms apart) when a command waits and everything
//! already fetched is applied. It goes on beside the loop, which counts events for the next one
//! meanwhile. After an abort, state and outputs stay and the same is tried again: nothing is
//! sought back or rolled back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use crate::event::Decoder;
use crate::metrics::Metrics;
use crate::stream::bench::Workbench;
use crate::stream::control::Desk;
use crate::stream::part::{Part, REACH};
use crate::stream::restore::{self, Origins, Restored};
use crate::stream::shared::{Recent, WorkerView};
use crate::stream::worker::commit::{Extent, Flight};
use crate::stream::worker::sending::UnderWay;
use crate::stream::worker::snapshots::Snapshots;
use crate::stream::worker::survey::Survey;
use crate::stream::worker::warming::Making;
use crate::stream::{Ask, Asks, Clock, Failure, Log, Place, PlanCell, Polled, Rebalance, Source};

mod answers;
mod changes;
mod commit;
mod report;
mod sending;
mod snapshots;
mod survey;
mod warming;

pub use sending::Delivery;
pub use snapshots::SnapshotSettings;

/// Where to begin without a committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    #[default]
    Oldest,
    /// What is there already warms the counters and emits nothing.
    Latest,
}

/// What a worker is told at its start.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// `<instance>-<n>`.
    pub slot: String,
    pub events_topic: Arc<str>,
    pub partials_topic: Arc<str>,
    pub control_topic: Arc<str>,
    /// Partitions of the events topic, and as many of the partials topic.
    pub partitions: u32,
    pub flush_interval_ms: u64,
    pub max_bytes: usize,
    pub start: Start,
    pub delivery: Delivery,
}

/// Longest wait in a poll, so that rebalances are served.
const POLL_MAX_MS: u64 = 10;
/// The broker is asked for a sign of life when nothing came for so long.
const CONTACT_US: i64 = 10_000_000;
/// Pause after a commit or a restore that failed.
const RETRY_US: i64 = 100_000;

/// One worker over one log.
#[derive(Debug)]
pub struct Worker<L, C> {
    log: L,
    clock: C,
    settings: WorkerSettings,
    plans: Arc<PlanCell>,
    /// A state is over: what it took in is committed before anything else.
    is_renewing: bool,
    bench: Workbench,
    under_way: UnderWay,
    /// The transaction that is under way.
    flight: Option<Flight>,
    /// How many there were.
    flights: u64,
    next_extent: Extent,
    parts: BTreeMap<Place, Part>,
    /// States of partitions that were taken away and may come back.
    parked: BTreeMap<Place, Part>,
    /// Where they are kept; none in a demo.
    snapshots: Option<Snapshots>,
    /// Changes by people that wait for the partitions.
    desk: Desk,
    /// An assignment whose restore must be tried again.
    pending: Option<Vec<Place>>,
    /// Why it must.
    hindrance: Option<String>,
    member: bool,
    metrics: Metrics,
    view: Arc<Mutex<WorkerView>>,
    recent: Arc<Recent>,
    /// Where others put questions, and those taken from there.
    asks: Option<Arc<Asks>>,
    asked: VecDeque<Ask>,
    /// The look at all counters that is under way.
    survey: Option<Survey>,
    /// The state that is being made for a rule set that counts otherwise, and when that may go on.
    warming: Option<Making>,
    warm_not_before_us: i64,
    /// When a partition was last seen whose rules were not all in force.
    ready_us: i64,
    last_commit_us: i64,
    /// The last transaction with all that waited.
    last_round_us: i64,
    /// For how long the last transaction was under way.
    took_us: i64,
    not_before_us: i64,
    /// Since when no commit has succeeded, and the last reason.
    failing_since_us: Option<i64>,
    failure: String,
    /// Everything that had been fetched is applied.
    drained: bool,
    /// Since when no more comes in, until what waits is committed.
    held_since_us: Option<i64>,
    contact_us: i64,
    reported_us: i64,
}

impl<L: Log, C: Clock> Worker<L, C> {
    pub fn new(
        log: L,
        clock: C,
        settings: WorkerSettings,
        decoder: Decoder,
        plans: Arc<PlanCell>,
        outside: (Metrics, Arc<Mutex<WorkerView>>, Arc<Recent>),
    ) -> Worker<L, C> {
        let (metrics, view, recent) = outside;
        let now_us = clock.now_us();
        let bench = Workbench::new(decoder, &settings);
        Worker {
            log,
            clock,
            settings,
            plans,
            is_renewing: false,
            bench,
            under_way: UnderWay::default(),
            flight: None,
            flights: 0,
            next_extent: Extent::default(),
            parts: BTreeMap::new(),
            parked: BTreeMap::new(),
            snapshots: None,
            desk: Desk::default(),
            pending: None,
            hindrance: None,
            member: false,
            metrics,
            view,
            recent,
            asks: None,
            asked: VecDeque::new(),
            survey: None,
            warming: None,
            warm_not_before_us: i64::MIN,
            ready_us: i64::MIN,
            last_commit_us: now_us,
            last_round_us: now_us,
            took_us: 0,
            not_before_us: i64::MIN,
            failing_since_us: None,
            failure: String::new(),
            drained: true,
            held_since_us: None,
            contact_us: now_us,
            reported_us: i64::MIN,
        }
    }

    /// The same, answering questions.
    #[must_use]
    pub fn with_asks(self, asks: Arc<Asks>) -> Worker<L, C> {
        Worker { asks: Some(asks), ..self }
    }

    /// One round of the loop; returns after at most 10 ms without input, later when a commit
    /// takes longer.
    ///
    /// # Errors
    /// [`Failure::Fatal`] and [`Failure::Replaced`]: build a new worker; after the latter again and
    /// again, end the process.
    pub fn turn(&mut self) -> Result<(), Failure> {
        let result = self.round();
        if result.is_err() {
            // It has no partitions any more, and what it was going to have is not restored.
            for place in self.parts.keys().chain(self.pending.iter().flatten()) {
                report::forget(&self.metrics, *place);
            }
        }
        result
    }

    fn round(&mut self) -> Result<(), Failure> {
        let mut since_us = self.clock.now_us();
        // Last before the poll: what comes after a change is judged by it.
        self.take_changes()?;
        self.paused("changes", &mut since_us);
        self.poll()?;
        since_us = self.clock.now_us();
        for rebalance in self.log.rebalances() {
            self.rebalance(rebalance)?;
        }
        self.paused("rebalance", &mut since_us);
        let now_us = since_us;
        if self.pending.is_some() && now_us >= self.not_before_us {
            self.restore(now_us)?;
        }
        self.paused("restore", &mut since_us);
        self.send()?;
        self.commit(now_us)?;
        self.paused("commit", &mut since_us);
        self.warm(since_us)?;
        self.paused("rules", &mut since_us);
        self.take_snapshots(since_us);
        self.paused("snapshot", &mut since_us);
        self.answer();
        self.keep_contact(now_us)?;
        self.report(since_us);
        self.paused("answers", &mut since_us);
        Ok(())
    }

    /// Goes on until a last snapshot of what has changed is taken, for a bounded time; commits
    /// what is applied and gives the log back, so that it can be closed.
    ///
    /// # Errors
    /// What the last commit fails with; the log's end of it is undone by whoever comes next.
    pub fn stop(mut self) -> Result<L, Failure> {
        self.make_haste();
        while self.is_in_haste() {
            self.turn()?;
        }
        self.flush()?;
        self.store_snapshots();
        let now_us = self.clock.now_us();
        self.report_now(now_us);
        Ok(self.log)
    }

    fn poll(&mut self) -> Result<(), Failure> {
        let now_us = self.clock.now_us();
        // Memory is bounded: no more comes in until what waits is committed.
        let must_wait = self.failing_since_us.is_some() || self.is_renewing;
        if must_wait || self.under_way.is_full() || self.takes_long(now_us) {
            self.held_since_us.get_or_insert(now_us);
            return self.log.serve(if must_wait { POLL_MAX_MS } else { 1 });
        }
        if let Some(mut since_us) = self.held_since_us.take() {
            self.paused("commit", &mut since_us);
        }
        self.bench.is_open = self.may_send(now_us);
        self.bench.wall_ms = self.clock.wall_us() / 1000;
        let (parts, bench) = (&mut self.parts, &mut self.bench);
        let mut seen = false;
        let waits = match &self.snapshots {
            Some(own) if own.is_in_haste() => 1,
            _ if self.warming.is_some() || !self.under_way.is_empty() => 1,
            _ if self.flight.is_some() => 1,
            _ if bench.outbox.tipped.is_empty() => POLL_MAX_MS,
            _ => 0,
        };
        let mut visit = |polled: &[Polled<'_>]| {
            seen |= polled.iter().any(|one| matches!(one, Polled::Record(_)));
            for some in polled.chunk_by(|a, b| a.place() == b.place()) {
                if let Some(part) = some.first().and_then(|one| parts.get_mut(&one.place())) {
                    part.take(some, bench, now_us);
                }
            }
        };
        match self.log.poll(waits.min(self.settings.flush_interval_ms), &mut visit) {
            Ok(()) | Err(Failure::Retriable(_)) => {}
            Err(failure) => return Err(failure),
        }
        if seen {
            self.contact_us = now_us;
        }
        self.drained = !seen;
        Ok(())
    }

    fn rebalance(&mut self, rebalance: Rebalance) -> Result<(), Failure> {
        match rebalance {
            Rebalance::Assigned(places) => {
                self.member = true;
                self.pending = Some(places);
                self.not_before_us = i64::MIN;
            }
            Rebalance::Revoked { lost } => {
                // What is under way ends first, whoever has the partitions.
                let clean = if lost { self.land_at_last()? } else { self.flush()? };
                self.pending = None;
                self.member = false;
                self.drop_snapshot();
                self.stop_warming();
                self.is_renewing = false;
                for (place, part) in std::mem::take(&mut self.parts) {
                    report::forget(&self.metrics, place);
                    if clean && !lost && !part.reign.is_over {
                        self.parked.insert(place, part);
                    }
                }
                // A state that is ahead of the commit goes, and so does what it put out.
                self.bench.clear();
                self.flight = None;
                self.under_way.forget();
                self.failing_since_us = None;
                self.log.unassign()?;
            }
        }
        Ok(())
    }

    /// Where its states come from.
    fn origins(&self) -> Origins {
        let (settings, own) = (&self.settings, self.snapshots.as_ref());
        Origins {
            events_topic: settings.events_topic.clone(),
            partials_topic: settings.partials_topic.clone(),
            start: settings.start,
            reach: match settings.delivery {
                Delivery::ExactlyOnce => 0,
                Delivery::AtLeastOnce => REACH,
            },
            plans: self.plans.clone(),
            shelf: own.map(|own| own.keeper.shelf().clone()),
            accept_gap: own.is_some_and(|own| own.settings.accept_gap),
            metrics: self.metrics.clone(),
            view: self.view.clone(),
        }
    }

    fn restore(&mut self, now_us: i64) -> Result<(), Failure> {
        self.begin_loading(now_us);
        let Some(places) = &self.pending else { return Ok(()) };
        let origins = self.origins();
        let (log, parked) = (&mut self.log, &mut self.parked);
        let found = restore::parts(log, places, parked, &origins, now_us);
        let Restored { mut parts, truncated, changes } = match found {
            Ok(restored) => restored,
            Err(Failure::Retriable(reason)) => {
                tracing::warn!(slot = %self.settings.slot, reason, "cannot restore yet, trying again");
                self.hindrance = Some(reason);
                self.not_before_us = now_us + RETRY_US;
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        for part in &parts {
            let labels = report::labels(part.place);
            let missing = i64::from(part.begun_at > 0);
            self.metrics.history_missing.with_label_values(&labels).set(missing);
            // Until a newer set is ready for it, it is judged by an older one.
            self.metrics.begin_decisions(&part.reign.plan.rules);
        }
        for place in truncated {
            let origin = origins.of(place);
            tracing::warn!(topic = %origin.topic, partition = place.partition,
                "the log no longer holds its beginning: windows that reach further back are short");
        }
        let starts: Vec<(Place, i64)> = parts.iter().map(|part| (part.place, part.next)).collect();
        self.log.assign(&starts)?;
        (self.pending, self.hindrance) = (None, None);
        self.renew_changes(&mut parts, changes);
        // What was parked and did not come back belongs to others now (K4).
        self.parked.clear();
        if let Some(own) = &mut self.snapshots {
            for part in &parts {
                own.has_come(part.place, part.snapshot.unwrap_or(part.begun_at), now_us);
            }
        }
        self.parts = parts.into_iter().map(|part| (part.place, part)).collect();
        self.is_renewing = false;
        self.tell_plans();
        self.contact_us = now_us;
        Ok(())
    }

    fn keep_contact(&mut self, now_us: i64) -> Result<(), Failure> {
        if now_us - self.contact_us < CONTACT_US {
            return Ok(());
        }
        let place = Place { source: Source::Events, partition: 0 };
        match self.log.bounds(place) {
            Ok(_) => self.contact_us = now_us,
            Err(Failure::Retriable(_)) => {}
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}
