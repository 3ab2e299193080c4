//! How a worker takes in changes by people: whole at a restore, then as they come.

use crate::stream::part::Part;
use crate::stream::worker::Worker;
use crate::stream::{Clock, Failure, Log, SideRecord};

impl<L: Log, C: Clock> Worker<L, C> {
    /// Reads what is new, and applies it between two records; the next transaction notes where. A
    /// control topic that does not answer holds nothing up; it is told, and the changes wait there.
    pub(super) fn take_changes(&mut self) -> Result<(), Failure> {
        if self.is_renewing {
            return self.renew();
        }
        if self.parts.is_empty() || self.pending.is_some() {
            // An assignment reads all that its states have not seen.
            return Ok(());
        }
        self.read_changes()?;
        let due = |part: &Part| part.may_change() && self.desk.has_since(part.controlled);
        let now_us = self.clock.now_us();
        if now_us < self.not_before_us || !self.parts.values().any(due) {
            return Ok(());
        }
        // What came before is put out under the rules of before.
        self.collect(now_us, false);
        self.bench.wall_ms = self.clock.wall_us() / 1000;
        for part in self.parts.values_mut().filter(|part| part.may_change()) {
            let changes = self.desk.since(part.controlled);
            part.change(&changes, &self.desk.sets, &mut self.bench);
        }
        let seen = self.parts.values().map(|part| part.controlled).min();
        self.desk.forget_before(seen.unwrap_or(0));
        self.tell_plans();
        self.is_renewing = self.parts.values().any(|part| part.reign.is_over);
        if self.is_renewing { self.renew() } else { Ok(()) }
    }

    /// Rebuilds the states that are over from the log, once what they took in is committed.
    fn renew(&mut self) -> Result<(), Failure> {
        let waits = self.clock.now_us() < self.not_before_us;
        if waits || !self.flush()? {
            return Ok(());
        }
        // The journal has it all now: as after a crash.
        self.drop_snapshot();
        self.stop_warming();
        self.pending = Some(self.parts.keys().copied().collect());
        self.parked = std::mem::take(&mut self.parts);
        self.parked.retain(|_, part| !part.reign.is_over);
        self.not_before_us = i64::MIN;
        self.is_renewing = false;
        Ok(())
    }

    /// Says which rule set is in force, where that is news.
    pub(super) fn tell_plans(&self) {
        for part in self.parts.values() {
            let Some(before) = self.plans.take_effect(part.reign.at, &part.reign.newest) else {
                continue;
            };
            let (before, after) = (&before.rules.version, &part.reign.newest.rules.version);
            self.metrics.rules_info.with_label_values(&[before]).set(0);
            self.metrics.rules_info.with_label_values(&[after]).set(1);
            self.metrics.begin_decisions(&part.reign.newest.rules);
            tracing::info!(before, after, "rules or lists have changed and are in force");
        }
    }

    fn read_changes(&mut self) -> Result<(), Failure> {
        match self.log.changes(self.desk.next) {
            Ok(records) => {
                if self.desk.answers() {
                    tracing::info!(slot = %self.settings.slot, "the control topic answers again");
                    self.say_control(0);
                }
                self.metrics.control_unreadable.inc_by(self.desk.take(records, &self.plans));
                Ok(())
            }
            Err(Failure::Retriable(reason)) => {
                let now_us = self.clock.now_us();
                if self.desk.fails(reason.clone(), now_us) {
                    tracing::warn!(slot = %self.settings.slot, reason,
                        "changes by people cannot be read, trying on; detection goes on");
                    self.say_control(1);
                }
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    fn say_control(&self, unavailable: i64) {
        let gauge = &self.metrics.control_unavailable;
        gauge.with_label_values(&[&self.settings.slot]).set(unavailable);
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
            part.resume_old_forms();
        }
        self.desk.reset(from);
        self.desk.answers();
        self.say_control(0);
        self.metrics.control_unreadable.inc_by(self.desk.take(changes, &self.plans));
    }
}
