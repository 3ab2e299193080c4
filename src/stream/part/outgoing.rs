//! What leaves a partition with the next transaction.

use crate::engine::daily::Sender;
use crate::stream::Source;
use crate::stream::emit::{partial, record, report};
use crate::stream::part::{Part, Workbench};

/// Idle partitions tell the owners of shared keys so this often, so that time goes on (R13).
const HEARTBEAT_US: i64 = 1_000_000;
/// R8: no input for so many flushes.
const IDLE_FLUSHES: i64 = 3;

impl Part {
    /// Moves what waits into the outbox of the next transaction.
    pub(crate) fn collect(
        &mut self,
        bench: &mut Workbench,
        partitions: u32,
        flush_us: i64,
        now_us: i64,
    ) {
        self.begin(bench);
        for effect in self.output.effects.drain(..) {
            self.output.daily.note(&self.reign.plan, &effect);
            let (produce, note) = record(&effect);
            bench.outbox.push(produce);
            bench.outbox.extend(report(&effect));
            bench.notes.extend(note);
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
