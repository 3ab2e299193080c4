//! What the input partitions said to the owner of keys that cross them: the watermark over all
//! of them, which idle, silent and lagging ones hold back only so long (R8, R13).
//!
//! Processing time enters as the timestamps of the partials' records, so that the watermark is
//! a function of the log alone.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// Samples of the greatest watermark kept over `idle_after`.
const SAMPLES: i64 = 60;

/// What one record of the partials topic says of its input partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) watermark: Option<i64>,
    /// Read to its end, and no input for a while.
    pub(crate) idle: bool,
}

/// Every input partition, as far as it has spoken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inputs {
    told: BTreeMap<i32, Told>,
    /// How many input partitions there are.
    partitions: usize,
    /// Greatest record timestamp: processing time as the log has it.
    clock: Option<i64>,
    /// (processing time, greatest watermark told by then), the oldest first.
    past: VecDeque<(i64, i64)>,
    /// Processing time since which all partitions are idle.
    idle_since: Option<i64>,
}

impl Inputs {
    /// All times that stand in it.
    pub(crate) fn times(&self) -> impl Iterator<Item = i64> {
        let told = self.told.values().filter_map(|told| told.watermark);
        let past = self.past.iter().flat_map(|(at, watermark)| [*at, *watermark]);
        told.chain(past).chain(self.clock).chain(self.idle_since)
    }

    /// Notes what partition `from` of `partitions` says in a record of time `record_ts`, and
    /// returns the watermark over all of them: the least of those that are not idle. One that
    /// is silent or behind holds it back at most `idle_after_ms`; while all are idle it goes on
    /// with processing time. `None` while nothing is known. May fall; the caller keeps the greatest.
    pub(crate) fn tell(
        &mut self,
        from: i32,
        told: Told,
        partitions: u32,
        record_ts: Option<i64>,
        idle_after_ms: i64,
    ) -> Option<i64> {
        self.told.insert(from, told);
        self.partitions = self.partitions.max(partitions as usize);
        self.clock = self.clock.max(record_ts);
        if let (1, None, false) = (self.told.len().max(self.partitions), self.clock, told.idle) {
            // The only one, and no time passes but its own.
            self.idle_since = None;
            return told.watermark;
        }
        let greatest = self.told.values().filter_map(|told| told.watermark).max();
        let held = self.clock.and_then(|now| self.held_at_most(now, greatest, idle_after_ms));
        let silent = self.told.len() < self.partitions;
        let mut busy = self.told.values().filter(|told| !told.idle).peekable();
        let all_idle = busy.peek().is_none() && !silent;
        let least = match all_idle {
            true => self.idled(greatest),
            false if silent => None,
            false => busy.map(|told| told.watermark).min().flatten(),
        };
        if !all_idle {
            self.idle_since = None;
        }
        least.max(held)
    }

    /// The greatest watermark as it was `idle_after` ago: nothing holds back for longer.
    fn held_at_most(&mut self, now: i64, greatest: Option<i64>, idle_after_ms: i64) -> Option<i64> {
        let apart = (idle_after_ms / SAMPLES).max(1);
        let due = self.past.back().is_none_or(|(at, _)| now - at >= apart);
        if let (true, Some(greatest)) = (due, greatest) {
            self.past.push_back((now, greatest));
        }
        while self.past.get(1).is_some_and(|(at, _)| *at <= now - idle_after_ms) {
            self.past.pop_front();
        }
        let (at, watermark) = self.past.front()?;
        (*at <= now - idle_after_ms).then_some(*watermark)
    }

    /// Time goes on from the greatest watermark by what has passed since all became idle.
    fn idled(&mut self, greatest: Option<i64>) -> Option<i64> {
        let Some(now) = self.clock else { return greatest };
        let since = *self.idle_since.get_or_insert(now);
        greatest.map(|greatest| greatest.saturating_add(now - since))
    }
}

#[cfg(test)]
mod tests;
