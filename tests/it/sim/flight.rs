//! Transactions of the broker in memory: each arrives some time after it was begun, and is heard of
//! some time after that.

use std::collections::BTreeSet;

use rand::RngExt;
use tidegate::stream::{Batch, Clock, Failure, Place, Produce, Progress, Sink, Source};

use super::broker::{Entry, SIZE_MAX, SimLog};

/// A transaction under way.
#[derive(Debug)]
pub(super) struct Flight {
    batch: Batch,
    /// Of the member that began it.
    generation: u64,
    arrives_at_us: i64,
    result: Option<Result<(), Failure>>,
    ends_at_us: i64,
}

impl SimLog {
    pub(super) fn begin_flight(&mut self, batch: Batch) {
        assert!(self.flight.is_none(), "one transaction at a time");
        self.broker.borrow_mut().begun += 1;
        let now_us = self.clock.now_us();
        let mut took_us = 3_000;
        if self.chance(self.faults.slow) {
            took_us += self.rng.borrow_mut().random_range(0..3_000_000);
        }
        // At once at times: whoever stands still after that has done it.
        let most_us = if self.chance(250) { 0 } else { took_us };
        let arrives_at_us = now_us + self.rng.borrow_mut().random_range(0..=most_us);
        let (generation, ends_at_us) = (self.generation, now_us + took_us);
        self.flight = Some(Flight { batch, generation, arrives_at_us, result: None, ends_at_us });
        self.fly();
    }

    /// Lets what is under way arrive, when it is time.
    pub(super) fn fly(&mut self) {
        let now_us = self.clock.now_us();
        let Some(mut flight) = self.flight.take() else { return };
        if flight.result.is_none() && flight.arrives_at_us <= now_us {
            flight.result = Some(self.arrives(&flight));
        }
        self.flight = Some(flight);
    }

    pub(super) fn flight_ended(&mut self, wait_ms: u64) -> Option<(Batch, Result<(), Failure>)> {
        let ends_at_us = self.flight.as_ref()?.ends_at_us;
        // The process dies, and what was begun may have arrived or not.
        if let Err(failure) = self.crash() {
            return Some((Batch::default(), Err(failure)));
        }
        let now_us = self.clock.now_us();
        if now_us < ends_at_us {
            let wait_us = i64::try_from(wait_ms).unwrap().saturating_mul(1000);
            self.advance(wait_us.min(ends_at_us - now_us));
        }
        self.fly();
        if wait_ms == 0 && self.broker.borrow().holds_transactions {
            return None;
        }
        let flight = self.flight.take_if(|flight| flight.ends_at_us <= self.clock.now_us())?;
        // The process dies after everything arrived, and before it knows.
        let result = self.crash().and_then(|()| flight.result.unwrap());
        Some((flight.batch, result))
    }

    fn arrives(&self, flight: &Flight) -> Result<(), Failure> {
        let batch = &flight.batch;
        if !self.is_current() {
            return Err(Failure::Fatal("fenced".to_owned()));
        }
        // As with Kafka, only offsets prove to the group whose partitions they are.
        let stale = !batch.progress.is_empty()
            && !self.broker.borrow().is_of(&self.slot, flight.generation);
        let refused = self.broker.borrow().refuses;
        if stale || refused || self.chance(self.faults.abort) {
            self.broker.borrow_mut().aborts += 1;
            return Err(Failure::Aborted("stale or refused".to_owned()));
        }
        // The worker cuts records of the journal and partial aggregates for a limit that real topics
        // have.
        let size = |output: &Produce| match output.sink {
            Sink::Journal | Sink::Partials | Sink::Daily => 0,
            _ if output.key.as_deref().is_some_and(|key| key.starts_with(b"date:")) => 0,
            _ => output.value.as_ref().map_or(0, Vec::len),
        };
        let large = batch.outputs.iter().enumerate().filter(|(_, output)| size(output) > SIZE_MAX);
        let large: Vec<usize> = large.map(|(index, _)| index).collect();
        if !large.is_empty() {
            return Err(Failure::TooLarge(large));
        }
        self.apply(batch);
        Ok(())
    }

    fn apply(&self, batch: &Batch) {
        let mut broker = self.broker.borrow_mut();
        if broker.is_frozen {
            return;
        }
        broker.commits += 1;
        let timestamp_ms = self.clock.now_us() / 1000;
        let mut touched = BTreeSet::new();
        for output in &batch.outputs {
            if output.sink == Sink::Partials {
                let partition = output.partition.unwrap();
                let place = Place { source: Source::Partials, partition };
                let entry = Entry {
                    timestamp_ms,
                    key: output.key.clone(),
                    value: output.value.clone(),
                    headers: output.headers.clone(),
                };
                broker.append(place, entry);
                touched.insert(place);
            }
            broker.outputs.entry(output.sink).or_default().push(output.clone());
        }
        for place in touched {
            broker.inputs.get_mut(&place).unwrap().push(None);
        }
        for (place, Progress { next, told }) in &batch.progress {
            let before = broker.committed.insert(*place, *next);
            assert!(before.is_none_or(|before| before <= *next), "offsets of {place:?} fell back");
            let before = broker.told.insert(*place, *told);
            assert!(before.is_none_or(|before| before <= *told), "{place:?} is told twice");
            assert!(told <= next, "{place:?}: {told} is told, {next} comes next");
        }
    }
}
