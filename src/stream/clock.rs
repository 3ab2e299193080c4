//! The worker's clock, so that a simulation can have its own.

use std::time::{SystemTime, UNIX_EPOCH};

/// Processing time.
pub trait Clock {
    /// Microseconds since the epoch.
    fn now_us(&self) -> i64;
}

/// Milliseconds of a setting in microseconds.
pub(crate) fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX / 1000).saturating_mul(1000)
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
