//! What leaves a partition with the next transaction.

use crate::engine::Effect;
use crate::engine::daily::Sender;
use crate::stream::bench::Workbench;
use crate::stream::emit::{partial, record, report};
use crate::stream::part::Part;
use crate::stream::{Sink, Source};

/// Idle partitions tell the owners of shared keys so this often, so that time goes on (R13).
const HEARTBEAT_US: i64 = 1_000_000;
/// R8: no input for so many flushes.
const IDLE_FLUSHES: i64 = 3;

/// Of so many offsets behind the committed one outputs may leave before the transaction.
pub(crate) const REACH: i64 = 65_536;

/// What effects come of, where it is told how long they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A record of the log, with its timestamp in ms.
    Record(i64),
    /// Changes by people.
    Change,
}

impl Part {
    /// Moves effects into the outbox that they leave with: at once where they may and it matters, and
    /// else in the next transaction.
    pub(super) fn put_out(&mut self, bench: &mut Workbench, cause: Option<Cause>) {
        if self.output.effects.is_empty() {
            return;
        }
        let leaves_at_once = bench.is_open && self.is_settled();
        let Workbench { outbox, leaving, is_open, wall_ms, .. } = bench;
        let is_command = |effect: &Effect| matches!(effect, Effect::Command(_));
        let has_command = self.output.effects.iter().any(is_command);
        for effect in self.output.effects.drain(..) {
            self.output.daily.note(&self.reign.plan, &effect);
            let (produce, note) = record(&effect);
            outbox.extend(report(&effect));
            let is_message = matches!(produce.sink, Sink::Decisions | Sink::Commands);
            let out = if leaves_at_once && is_message { &mut *leaving } else { &mut *outbox };
            if let (Some(Cause::Record(_)), Effect::Decision(decision)) = (cause, &effect) {
                out.decided.push(decision.ts.0);
            }
            out.push(produce);
            out.notes.extend(note);
            if is_message && !leaves_at_once {
                // None may leave before it.
                (outbox.has_messages, *is_open) = (true, false);
            }
        }
        if let Some(cause) = cause.filter(|_| has_command) {
            let out = if leaves_at_once { leaving } else { outbox };
            out.tipped.push(match cause {
                Cause::Record(ms) => ms,
                Cause::Change => *wall_ms,
            });
        }
    }

    /// Whether what it puts out now would be the same after a crash, so that it may leave before the
    /// transaction: nothing that it rests on but records waits for one, and whoever is next takes in
    /// nothing else before these records ([`Part::may_change`]).
    fn is_settled(&self) -> bool {
        self.restored
            && self.reign.is_written
            && self.changes_open == 0
            && self.committed >= self.emit_from
            && self.next <= self.committed.saturating_add(REACH)
    }

    /// Whether changes by people, or another state, may come in between this record and the next. Not
    /// before all records are taken in again of which a former owner may have told.
    pub(crate) fn may_change(&self) -> bool {
        self.restored && self.next >= self.settles_at
    }

    /// Whether what owners of keys are told may leave later than the offset that it comes of: after a
    /// crash the records since alone bring it back.
    fn may_tell_later(&self) -> bool {
        self.restored
            && self.reign.is_written
            && self.changes_open == 0
            && self.old_forms_us.is_none()
    }

    /// The next record lies at this offset or behind it: what it brings is told, if nothing that
    /// comes of it is.
    pub(super) fn goes_beyond(&mut self, offset: i64) {
        if !self.restored && self.next <= self.told && self.told <= offset {
            self.output.daily.forget(&self.state);
        }
    }

    /// Moves what waits into the outbox of the next transaction; with `is_early` what owners of keys
    /// are told waits on, where it may.
    pub(crate) fn collect(
        &mut self,
        bench: &mut Workbench,
        partitions: u32,
        (flush_us, is_early): (i64, bool),
        now_us: i64,
    ) {
        self.begin(bench);
        self.put_out(bench, None);
        if is_early && self.may_tell_later() {
            return;
        }
        let heartbeat = self.heartbeat(flush_us, now_us);
        let (origin, watermark) = (self.state.origin().clone(), self.state.watermark());
        if self.restored {
            let (idle, beat) = heartbeat.unwrap_or_default();
            let by = Sender {
                origin: &origin,
                is_owner: self.place.source == Source::Partials,
                partitions,
                watermark,
                idle,
                beat,
            };
            // The owner of the account is the first partition, however many there are.
            let sheets = self.output.daily.seal(&self.state, &self.reign.plan, by);
            bench.outbox.extend(sheets.into_iter().map(|payload| partial(0, payload)));
            self.told = self.next;
        }
        let Some((idle, beat)) = heartbeat else { return };
        let records = self.output.partials.drain(&origin, watermark, partitions, idle, beat);
        if !records.is_empty() {
            (self.told_idle, self.told_us) = (idle, now_us);
        }
        bench.outbox.extend(records.into_iter().map(|(to, payload)| partial(to, payload)));
    }

    /// Whether the partition is idle, and whether the owners of shared keys must hear from it
    /// even without events. `None` for those who listen.
    pub(crate) fn heartbeat(&self, flush_us: i64, now_us: i64) -> Option<(bool, bool)> {
        if self.place.source == Source::Partials || !self.restored {
            return None;
        }
        let idle = self.is_idle(flush_us, now_us);
        let beat = self.told_us == i64::MIN
            || idle != self.told_idle
            || (idle && now_us - self.told_us >= HEARTBEAT_US);
        Some((idle, beat))
    }

    fn is_idle(&self, flush_us: i64, now_us: i64) -> bool {
        self.at_end && now_us - self.last_input_us >= IDLE_FLUSHES * flush_us
    }
}
