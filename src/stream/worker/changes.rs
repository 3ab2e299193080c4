//! How a worker takes in changes by people: whole at a restore, then as they come.

use crate::stream::part::Part;
use crate::stream::worker::Worker;
use crate::stream::{Clock, Failure, Log, SideRecord};

impl<L: Log, C: Clock> Worker<L, C> {
    /// Reads what is new, and applies it between two transactions. A control topic that does not
    /// answer holds nothing up; it is told, and the changes wait there.
    pub(super) fn take_changes(&mut self) -> Result<(), Failure> {
        if self.parts.is_empty() || self.pending.is_some() {
            // An assignment reads all that its states have not seen.
            return Ok(());
        }
        self.read_changes()?;
        let due = |part: &Part| part.restored && self.desk.has_since(part.controlled);
        let waits = self.clock.now_us() < self.not_before_us;
        if !self.parts.values().any(due) || waits || !self.flush()? {
            return Ok(());
        }
        let now_us = self.clock.now_us();
        for part in self.parts.values_mut().filter(|part| part.restored) {
            part.change(&self.desk.since(part.controlled), &mut self.bench, now_us);
        }
        let seen = self.parts.values().map(|part| part.controlled).min();
        self.desk.forget_before(seen.unwrap_or(0));
        Ok(())
    }

    fn read_changes(&mut self) -> Result<(), Failure> {
        match self.log.changes(self.desk.next) {
            Ok(records) => {
                if self.desk.answers() {
                    tracing::info!(slot = %self.settings.slot, "the control topic answers again");
                }
                self.metrics.control_unreadable.inc_by(self.desk.take(records));
                Ok(())
            }
            Err(Failure::Retriable(reason)) => {
                let now_us = self.clock.now_us();
                if self.desk.fails(reason.clone(), now_us) {
                    tracing::warn!(slot = %self.settings.slot, reason,
                        "changes by people cannot be read, trying on");
                }
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    /// The changes that the states of a new assignment have not seen wait for them from now on.
    pub(super) fn renew_changes(
        &mut self,
        parts: &mut [Part],
        (from, changes): (i64, Vec<SideRecord>),
    ) {
        for part in parts.iter_mut().filter(|part| part.restored) {
            // Nothing is left to replay that the changes would wait for.
            part.catch_up(&self.bench);
        }
        self.desk.reset(from);
        self.metrics.control_unreadable.inc_by(self.desk.take(changes));
    }
}
