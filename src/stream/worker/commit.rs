//! Transactions: each takes what has been applied, and goes on beside the loop. One at a time; one
//! that fails is tried again as it was.

use crate::engine::Counts;
use crate::stream::bench::Outbox;
use crate::stream::clock::micros;
use crate::stream::part::Part;
use crate::stream::worker::sending::WRITTEN_MS;
use crate::stream::worker::{RETRY_US, Worker};
use crate::stream::{Batch, Clock, Failure, Log, Place, Produce, Progress, Sink};

/// Least time between two commits: closer ones run into the markers of the one before.
const COMMIT_GAP_US: i64 = 5_000;
/// While a transaction takes longer no more comes in: memory is bounded.
const LONG_US: i64 = 500_000;
/// An end is asked for so long at a time, where it is waited for.
const LAND_MS: u64 = 1_000;

/// What goes with one transaction.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) number: u64,
    /// The log has it while it is under way.
    batch: Option<Batch>,
    /// What is counted with its outputs.
    pub(super) outbox: Outbox,
    is_early: bool,
    pub(super) finals: Vec<Final>,
    pub(super) key_mismatches: u64,
    /// Since when it is prepared, or under way.
    pub(super) since_us: i64,
    /// So many groups of outputs that left at once are written before it begins.
    awaits: u64,
}

/// How much the next transaction takes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Extent {
    /// Where a command hastens it, all but what owners of keys are told.
    #[default]
    Due,
    /// All: somebody needs the state of an offset.
    Whole,
}

/// What becomes final of a partition.
#[derive(Debug)]
pub(super) struct Final {
    pub(super) place: Place,
    /// Changes by people that were taken in.
    pub(super) changes: usize,
    /// Before and after; none while it is restored.
    pub(super) counts: Option<(Counts, Counts)>,
}

impl Flight {
    fn is_under_way(&self) -> bool {
        self.batch.is_none()
    }
}

impl<L: Log, C: Clock> Worker<L, C> {
    /// Hears of the transaction that is under way, and begins the next when it is time.
    pub(super) fn commit(&mut self, now_us: i64) -> Result<(), Failure> {
        self.land(0)?;
        if !self.is_due(now_us) {
            return Ok(());
        }
        if self.flight.is_none() {
            let extent = std::mem::take(&mut self.next_extent);
            // One that would end when the next round is due takes it along: else that one would
            // follow at once, and hold up the commands that come meanwhile.
            let is_early = now_us - self.last_round_us + self.took_us < self.flush_us();
            self.prepare(now_us, is_early && extent == Extent::Due)?;
        }
        self.set_off(now_us);
        Ok(())
    }

    /// Commits all that is applied, and waits for it; true when it is done.
    pub(super) fn flush(&mut self) -> Result<bool, Failure> {
        // The one that is under way has less than all.
        if !self.finish()? {
            return Ok(false);
        }
        self.prepare(self.clock.now_us(), false)?;
        self.finish()
    }

    /// Waits until nothing is under way; true when there is nothing to be tried again, either.
    pub(super) fn land_at_last(&mut self) -> Result<bool, Failure> {
        while self.flight.as_ref().is_some_and(Flight::is_under_way) {
            self.land(LAND_MS)?;
        }
        Ok(self.flight.is_none())
    }

    /// Whether the transaction takes so long that no more may come in.
    pub(super) fn takes_long(&self, now_us: i64) -> bool {
        self.flight.as_ref().is_some_and(|flight| now_us - flight.since_us >= LONG_US)
    }

    /// Whether decisions or commands wait for a transaction, so that none may leave before them.
    pub(super) fn holds_messages(&self) -> bool {
        let waiting = self.flight.iter().map(|flight| &flight.outbox);
        waiting.chain([&self.bench.outbox]).any(|outbox| outbox.has_messages)
    }

    /// Whether all that a partition has taken in and put out is committed, or goes with the
    /// transaction under way: so its state is that of an offset.
    pub(super) fn is_whole(&self, place: Place) -> bool {
        self.bench.outbox.is_empty() && self.parts.get(&place).is_some_and(Part::is_whole)
    }

    fn is_due(&self, now_us: i64) -> bool {
        if now_us < self.not_before_us {
            return false;
        }
        if let Some(flight) = &self.flight {
            return !flight.is_under_way();
        }
        let flush_us = self.flush_us();
        if now_us - self.last_round_us >= flush_us {
            return true;
        }
        let since = now_us - self.last_commit_us;
        if !self.parts.is_empty() && self.has_to_prove(now_us) {
            return since >= flush_us.min(COMMIT_GAP_US);
        }
        !self.bench.outbox.tipped.is_empty() && self.drained && since >= COMMIT_GAP_US
    }

    fn flush_us(&self) -> i64 {
        micros(self.settings.flush_interval_ms)
    }

    /// Takes what has been applied for a transaction, if that is anything. One that is early, for the
    /// sake of a command, leaves out what owners of keys are told: one record and one request to the
    /// broker for each of them.
    fn prepare(&mut self, now_us: i64, is_early: bool) -> Result<(), Failure> {
        self.last_commit_us = now_us;
        self.collect(now_us, is_early);
        if !is_early {
            self.last_round_us = now_us;
            self.parts.values_mut().for_each(Part::hand_over);
        }
        self.send()?;
        let proves = self.has_to_prove(now_us);
        let due = |part: &Part| Some((part.place, part.due_progress(proves)?));
        let progress: Vec<(Place, Progress)> = self.parts.values().filter_map(due).collect();
        if progress.is_empty() && self.bench.outbox.is_empty() {
            return Ok(());
        }
        let finals = self.parts.values_mut().map(|part| Final {
            place: part.place,
            changes: part.changes_open,
            counts: part.restored.then(|| part.new_counts()),
        });
        let finals = finals.collect();
        let mut outbox = std::mem::take(&mut self.bench.outbox);
        self.flights += 1;
        self.flight = Some(Flight {
            number: self.flights,
            batch: Some(Batch { outputs: std::mem::take(&mut outbox.outputs), progress }),
            outbox,
            is_early,
            finals,
            key_mismatches: std::mem::take(&mut self.bench.key_mismatches),
            since_us: now_us,
            awaits: self.under_way.left() + u64::from(!self.bench.leaving.is_empty()),
        });
        Ok(())
    }

    /// Moves what waits in the parts into the outbox of the next transaction.
    pub(super) fn collect(&mut self, now_us: i64, is_early: bool) {
        let manner = (self.flush_us(), is_early);
        for part in self.parts.values_mut() {
            part.collect(&mut self.bench, self.settings.partitions, manner, now_us);
        }
    }

    /// Begins the transaction that is prepared, once what left before is written.
    fn set_off(&mut self, now_us: i64) {
        let Some(flight) = &mut self.flight else { return };
        if self.under_way.written() < flight.awaits {
            if now_us - flight.since_us >= micros(WRITTEN_MS) {
                self.fails_to_write(now_us);
            }
        } else if let Some(batch) = flight.batch.take() {
            flight.since_us = now_us;
            self.log.begin(batch);
        }
    }

    /// Sees the transaction at hand to its end, if there is one; false when it has to be tried again.
    fn finish(&mut self) -> Result<bool, Failure> {
        let now_us = self.clock.now_us();
        if self.flight.as_ref().is_some_and(|flight| !flight.is_under_way()) {
            if !self.is_all_written()? {
                self.fails_to_write(now_us);
                return Ok(false);
            }
            self.set_off(now_us);
        }
        self.land_at_last()
    }

    /// Acts on the end of the transaction under way.
    fn land(&mut self, wait_ms: u64) -> Result<(), Failure> {
        let Some((mut batch, result)) = self.log.ended(wait_ms) else { return Ok(()) };
        let Some(mut flight) = self.flight.take() else { return Ok(()) };
        let now_us = self.clock.now_us();
        let failure = match result {
            Ok(()) => {
                (self.last_commit_us, self.contact_us) = (now_us, now_us);
                self.took_us = now_us - flight.since_us;
                if !flight.is_early {
                    self.last_round_us = now_us;
                }
                self.failing_since_us = None;
                if !batch.progress.is_empty() {
                    self.under_way.prove(flight.since_us);
                }
                flight.outbox.outputs = batch.outputs;
                self.committed(&batch.progress, &flight, now_us);
                return Ok(());
            }
            Err(failure) => failure,
        };
        match failure {
            Failure::Retriable(reason) | Failure::Aborted(reason) => self.fails(reason, now_us),
            Failure::TooLarge(outputs) => shrink(&mut batch.outputs, &outputs)?,
            Failure::Fatal(_) | Failure::Replaced(_) => return Err(failure),
        }
        self.metrics.transactions.with_label_values(&["aborted"]).inc();
        flight.batch = Some(batch);
        self.flight = Some(flight);
        Ok(())
    }

    fn fails_to_write(&mut self, now_us: i64) {
        self.fails("decisions or commands are on their way for long".to_owned(), now_us);
    }

    /// Nothing is committed, and no more comes in until it is.
    fn fails(&mut self, reason: String, now_us: i64) {
        if self.failing_since_us.is_none() {
            tracing::warn!(slot = %self.settings.slot, reason, "a commit will be tried again");
        }
        self.not_before_us = now_us + RETRY_US;
        self.failing_since_us.get_or_insert(now_us);
        self.failure = reason;
    }
}

/// The broker refused outputs for their size: the largest quarantine copies among them go
/// without their values (E4). A refused batch names small ones, too: they get another try.
fn shrink(outputs: &mut [Produce], refused: &[usize]) -> Result<(), Failure> {
    let size = |at: &usize| {
        let output = outputs.get(*at)?;
        let copy = output.sink == Sink::Quarantine;
        output.value.as_ref().filter(|_| copy).map(Vec::len)
    };
    let sizes: Vec<(usize, usize)> =
        refused.iter().filter_map(|at| Some((*at, size(at)?))).collect();
    let Some(largest) = sizes.iter().map(|(_, size)| *size).max() else {
        return Err(Failure::Fatal(
            "an output is larger than its topic takes: raise the topic's max.message.bytes"
                .to_owned(),
        ));
    };
    for (at, size) in sizes {
        if size * 2 >= largest {
            outputs[at].value = None;
        }
    }
    Ok(())
}
