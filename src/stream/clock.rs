//! The worker's clocks, so that a simulation can have its own.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Processing time. Nothing that a state holds depends on it.
pub trait Clock {
    /// Microseconds since some instant: for intervals alone. Goes on evenly, whatever is done to
    /// the machine's clock.
    fn now_us(&self) -> i64;

    /// Microseconds since the epoch, as the machine's clock has it: for what others read. May go
    /// back, or leap.
    fn wall_us(&self) -> i64;
}

/// Milliseconds of a setting in microseconds.
pub(crate) fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX / 1000).saturating_mul(1000)
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        static START: OnceLock<Instant> = OnceLock::new();
        // Never 0, which is no instant.
        1 + i64::try_from(START.get_or_init(Instant::now).elapsed().as_micros())
            .unwrap_or(i64::MAX - 1)
    }

    fn wall_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}
