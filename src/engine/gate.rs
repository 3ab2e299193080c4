//! Duplicates found before events come to a state, by whoever has a thread to spare for it (E5).
//!
//! What has come is a function of the events alone: a state that steps over what a gate lets
//! through, and is told of the rest as [`Input::Duplicate`](crate::engine::Input), comes to the
//! same as one that looks for duplicates itself.

use crate::engine::Settings;
use crate::engine::ahead::Hashes;
use crate::engine::dedup::Dedup;
use crate::engine::plan::Plan;
use crate::event::{Event, EventTime};

/// Remembers the events of one log for as long as its state would.
#[derive(Debug, Clone)]
pub struct Gate {
    settings: Settings,
    /// Greatest accepted event time.
    watermark: Option<i64>,
    dedup: Dedup,
}

impl Gate {
    /// One that nothing has come to.
    pub fn new(settings: Settings) -> Gate {
        Gate { settings, watermark: None, dedup: Dedup::default() }
    }

    /// Asks for what [`Gate::has_come`] will read. Optional.
    #[inline]
    pub fn foresee(&self, hashes: &Hashes) {
        self.dedup.near(hashes.identity);
    }

    /// Whether the next event of the log has come before; if not, it has now.
    pub fn has_come(
        &mut self,
        event: &Event<'_>,
        hashes: &Hashes,
        record_ts: Option<EventTime>,
    ) -> bool {
        let Some(dedup_ms) = self.settings.dedup_ms else { return false };
        if self.settings.is_too_far_ahead(event.ts, record_ts) {
            return false;
        }
        let watermark = self.watermark.max(Some(event.ts.0)).unwrap_or(event.ts.0);
        if !self.dedup.insert(hashes.identity, watermark.saturating_add(dedup_ms)) {
            return true;
        }
        if self.watermark != Some(watermark) {
            self.watermark = Some(watermark);
            self.dedup.expire(watermark);
        }
        false
    }
}

impl Plan {
    /// The same for a state behind a [`Gate`], which looks for no duplicates itself.
    #[must_use]
    pub fn behind_gate(mut self) -> Plan {
        self.settings.dedup_ms = None;
        self
    }
}

#[cfg(test)]
mod tests;
