//! When a canary came through last, for the threads that want to know.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Shared by whoever sends canaries and those who tell of them.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Milliseconds of the clock for intervals.
    at_ms: AtomicI64,
    /// None has before.
    has_beaten: AtomicBool,
}

impl Pulse {
    /// Begins now: what has not come through yet has all of its time before it.
    pub fn new(now_ms: i64) -> Pulse {
        Pulse { at_ms: AtomicI64::new(now_ms), has_beaten: AtomicBool::new(false) }
    }

    /// All canaries of a round have come through, or there was nothing to ask.
    pub fn beat(&self, now_ms: i64) {
        self.at_ms.fetch_max(now_ms, Ordering::AcqRel);
        self.has_beaten.store(true, Ordering::Release);
    }

    /// For how long none has.
    pub fn silent_ms(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(self.at_ms.load(Ordering::Acquire)).max(0)
    }

    /// Whether one has, and not longer ago than that: a process that only starts is not alive.
    pub fn is_alive(&self, now_ms: i64, within_ms: i64) -> bool {
        self.has_beaten.load(Ordering::Acquire) && self.silent_ms(now_ms) < within_ms
    }
}
