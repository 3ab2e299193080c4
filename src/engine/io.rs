//! What goes into a step and what comes out of it.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::{Account, Change, ChangePlace, Command, Decision};
use crate::event::{Canary, Event, EventTime, Reason};

/// The shell's fixed settings of the fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// E6, milliseconds.
    pub allowed_lateness_ms: i64,
    /// E5, milliseconds; `None` = duplicates are not looked for.
    pub dedup_ms: Option<i64>,
    /// E4, milliseconds; `None` in backtests.
    pub max_ahead_ms: Option<i64>,
    /// R8: how long a silent or lagging partition may hold the watermark of keys that cross
    /// partitions back, milliseconds of processing time.
    pub idle_after_ms: i64,
    /// Keys that a state holds at most, all key forms together; `None` in backtests.
    pub max_keys: Option<usize>,
}

impl Settings {
    /// E4: whether an event lies too far in the future of its record.
    pub(crate) fn is_too_far_ahead(&self, ts: EventTime, record_ts: Option<EventTime>) -> bool {
        let ahead = record_ts.map(|record_ts| ts.0.saturating_sub(record_ts.0));
        ahead.zip(self.max_ahead_ms).is_some_and(|(ahead, most)| ahead > most)
    }

    /// Equal for settings under which a record becomes the same: accepted, duplicate, late or
    /// quarantined.
    pub(crate) fn identity(&self) -> u64 {
        let Settings { allowed_lateness_ms, dedup_ms, max_ahead_ms, .. } = self;
        xxh3_64(format!("{allowed_lateness_ms} {dedup_ms:?} {max_ahead_ms:?}").as_bytes())
    }
}

impl Default for Settings {
    fn default() -> Self {
        let ten_minutes = 600_000;
        Settings {
            allowed_lateness_ms: ten_minutes,
            dedup_ms: Some(ten_minutes),
            max_ahead_ms: Some(300_000),
            idle_after_ms: 60_000,
            max_keys: None,
        }
    }
}

/// One input of the fold, in log order.
#[derive(Debug)]
pub enum Input<'a, 'e> {
    /// A decoded record of the input topic.
    Event {
        event: &'a Event<'e>,
        offset: i64,
        /// Kafka record timestamp; `None` where there is none (files).
        record_ts: Option<EventTime>,
    },
    /// A record that could not be decoded: counted, changes no state.
    Rejected { reason: Reason, offset: i64 },
    /// A record that a [`Gate`](crate::engine::Gate) has found to be a duplicate.
    Duplicate { offset: i64 },
    /// An instance's question whether records come through: answered, changes no state.
    Canary { canary: &'a Canary, offset: i64 },
    /// One record of the partials topic, in the codec of `engine::partial`, at its offset there.
    /// `record_ts` is its timestamp, milliseconds; `None` where there is none (backtests).
    Partials { payload: &'a [u8], offset: i64, record_ts: Option<i64> },
    /// A change by people (D3); the same change reaches every state.
    Change { change: &'a Change, place: ChangePlace<'a> },
    /// End of input of a finite log (C2): windows with end ≤ watermark close without lateness.
    End,
}

/// What became of the last event (E4–E7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    Duplicate,
    /// Also to be copied to quarantine with reason `late`.
    Late,
    Quarantined(Reason),
    /// No event at all.
    Canary,
}

/// An output of the fold, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Decision(Box<Decision>),
    /// What a decision told is over: a decision of the rule `tidegate.resolved`, for notices.
    Resolved(Box<Decision>),
    /// The answer to a canary: a decision of the rule `tidegate.canary`, which counts nowhere.
    Canary(Box<Decision>),
    Command(Box<Command>),
    /// The new value of an account record; key by [`crate::engine::account_key`].
    Account(Box<Account>),
    /// The account of a day, as a decision of the rule `tidegate.daily`.
    Daily(Box<Decision>),
}

/// Running counts of one partition since its state was made; monotone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub consumed: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub late: u64,
    /// Including those too far ahead.
    pub quarantined: u64,
    /// Records that ask whether they come through.
    pub canaries: u64,
    /// Firings held back by a cooldown (R9).
    pub suppressed: u64,
    /// Freezes whose `until` did not lie after the watermark (R16).
    pub freezes_ended: u64,
    /// Sums that saturated (R19).
    pub saturated: u64,
    /// Not-late events left out of a window that its rule had closed (R11).
    pub closed_window: u64,
    /// Partial aggregates for a window already closed (R8).
    pub partials_late: u64,
    /// Records of the partials topic that could not be read.
    pub partials_unreadable: u64,
    /// Watermark jumps by more than `max_ahead` (E4).
    pub watermark_jumps: u64,
    /// Values a bounded memory had to leave out (R5).
    pub values_dropped: u64,
    /// Keys counted once that made room for others.
    pub keys_evicted: u64,
    /// Keys not counted since nothing could make room.
    pub keys_refused: u64,
}

/// Where a partition's records stand, for triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub topic: Arc<str>,
    pub partition: i32,
}
