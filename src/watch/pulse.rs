//! When a canary came through last, for the threads that want to know.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Shared by whoever sends canaries and those who tell of them.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Milliseconds of the clock for intervals.
    at_ms: AtomicI64,
    /// None has before.
    has_beaten: AtomicBool,
    /// When nothing was missed last but what is being restored.
    excused_ms: AtomicI64,
    /// State is being restored, and that goes on.
    is_restoring: AtomicBool,
}

impl Pulse {
    /// Begins now: what has not come through yet has all of its time before it.
    pub fn new(now_ms: i64) -> Pulse {
        Pulse {
            at_ms: AtomicI64::new(now_ms),
            excused_ms: AtomicI64::new(now_ms),
            ..Pulse::default()
        }
    }

    /// All canaries of a round have come through, or there was nothing to ask.
    pub fn beat(&self, now_ms: i64) {
        self.at_ms.fetch_max(now_ms, Ordering::AcqRel);
        self.has_beaten.store(true, Ordering::Release);
    }

    /// All have come through that could: the state of other partitions is being restored.
    pub fn excuse(&self, now_ms: i64) {
        self.excused_ms.fetch_max(now_ms, Ordering::AcqRel);
    }

    pub fn set_restoring(&self, is_restoring: bool) {
        self.is_restoring.store(is_restoring, Ordering::Release);
    }

    /// Whether state is being restored in good order.
    pub fn is_restoring(&self) -> bool {
        self.is_restoring.load(Ordering::Acquire)
    }

    /// When all came through last.
    pub fn beaten_ms(&self) -> Option<i64> {
        let at_ms = self.at_ms.load(Ordering::Acquire);
        self.has_beaten.load(Ordering::Acquire).then_some(at_ms)
    }

    /// For how long none has that could.
    pub fn silent_ms(&self, now_ms: i64) -> i64 {
        let excused_ms = self.excused_ms.load(Ordering::Acquire);
        now_ms.saturating_sub(self.at_ms.load(Ordering::Acquire).max(excused_ms)).max(0)
    }

    /// Whether all have, and not longer ago than that. A process that only starts is not alive, and
    /// one that restores state for so long is not either: what comes in is not judged.
    pub fn is_alive(&self, now_ms: i64, within_ms: i64) -> bool {
        self.beaten_ms().is_some_and(|at_ms| now_ms.saturating_sub(at_ms) < within_ms)
    }
}

#[cfg(test)]
mod tests;
