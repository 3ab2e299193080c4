//! Outputs that leave before the transaction, in the broker in memory: they arrive in order, late,
//! or never when their client dies, some of them long after another took its place; what is known of
//! their arrival lags behind.

use std::collections::VecDeque;

use rand::RngExt;
use tidegate::stream::{Failure, Produce};

use super::broker::{Broker, SIZE_MAX, SimLog};

/// What one client has sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// On their way, in order.
    flying: VecDeque<Produce>,
    /// Arrived, and not known to be.
    unknown: usize,
}

impl Broker {
    /// One output arrives.
    pub(super) fn land(&mut self, output: Produce) {
        if !self.is_frozen {
            self.sent_at_once += 1;
            self.outputs.entry(output.sink).or_default().push(output);
        }
    }

    /// Something of what a client that is gone has sent arrives after all.
    pub(super) fn land_a_stray(&mut self) {
        let Some(stray) = self.strays.front_mut() else { return };
        match stray.pop_front() {
            Some(output) => self.land(output),
            None => drop(self.strays.pop_front()),
        }
    }
}

impl SimLog {
    fn land_some(&mut self) {
        let most = if self.broker.borrow().holds_acks { 0 } else { self.sent.flying.len() };
        let some = self.rng.borrow_mut().random_range(0..=most);
        self.land_so_many(some);
    }

    fn land_so_many(&mut self, some: usize) {
        for output in self.sent.flying.drain(..some) {
            self.broker.borrow_mut().land(output);
            self.sent.unknown += 1;
        }
    }

    pub(super) fn take_over_outputs(&mut self, outputs: &[Produce]) -> Result<(), Failure> {
        self.ask()?;
        assert!(self.broker.borrow().may_send, "something left before the transaction");
        let size = |output: &Produce| output.value.as_ref().map_or(0, Vec::len);
        assert!(outputs.iter().all(|output| size(output) <= SIZE_MAX));
        self.sent.flying.extend(outputs.iter().cloned());
        // The process dies when some of it is written.
        self.land_some();
        self.crash()
    }

    pub(super) fn not_known_to_be_written(&mut self, wait_ms: u64) -> Result<usize, Failure> {
        self.crash()?;
        let is_slow = self.chance(self.faults.slow) || self.broker.borrow().holds_acks;
        if is_slow || wait_ms == 0 {
            self.advance(i64::try_from(wait_ms).unwrap() * 1_000);
            self.land_some();
            if !self.broker.borrow().holds_acks {
                self.sent.unknown = self.rng.borrow_mut().random_range(0..=self.sent.unknown);
            }
        } else {
            self.advance(1_000);
            self.land_so_many(self.sent.flying.len());
            self.sent.unknown = 0;
        }
        self.crash()?;
        Ok(self.sent.flying.len() + self.sent.unknown)
    }

    /// Gives up what is on its way: it may arrive all the same, or some of it.
    pub(super) fn give_up(&mut self) {
        let stray = std::mem::take(&mut self.sent).flying;
        if !stray.is_empty() && self.chance(500) {
            self.broker.borrow_mut().strays.push_back(stray);
        }
    }
}

/// The process is gone.
impl Drop for SimLog {
    fn drop(&mut self) {
        self.give_up();
    }
}
