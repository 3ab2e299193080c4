//! The worker's clock, so that a simulation can have its own.

use std::time::{SystemTime, UNIX_EPOCH};

/// Processing time.
pub trait Clock {
    /// Microseconds since the epoch.
    fn now_us(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}
