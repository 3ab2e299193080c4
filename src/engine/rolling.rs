//! Rolling windows of counts, sums and maxima (R7).

use smallvec::SmallVec;

/// Beyond so many entries those of one step are merged.
const EXACT_MAX: usize = 128;

/// One event, or several of one step, which count until the latest of them has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) ts: i64,
    pub(crate) count: i64,
    pub(crate) sum: i64,
    /// `i64::MIN` = none (reversals).
    pub(crate) max: i64,
}

/// Entries in order of event time. Those ahead of T (reversals, R10) wait until T reaches them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rolling {
    entries: SmallVec<[Entry; 1]>,
}

impl Rolling {
    /// Adds an entry; true when a merged sum saturated (R19). `t` is the key's T.
    pub(crate) fn insert(&mut self, entry: Entry, step_ms: i64, t: i64) -> bool {
        let at = self.entries.partition_point(|other| other.ts <= entry.ts);
        self.entries.insert(at, entry);
        self.entries.len() > EXACT_MAX && self.merge(step_ms, t)
    }

    /// Merges the entries of each aligned step, so that at most one a step is left up to T.
    /// What lies ahead of T stays apart: joined, it would take the rest of its step with it.
    fn merge(&mut self, step_ms: i64, t: i64) -> bool {
        let mut saturated = false;
        self.entries.dedup_by(|next, kept| {
            let step = |ts: i64| ts.div_euclid(step_ms);
            let same = step(next.ts) == step(kept.ts) && (next.ts <= t) == (kept.ts <= t);
            if same {
                kept.ts = next.ts;
                kept.count += next.count;
                saturated |= kept.sum.checked_add(next.sum).is_none();
                kept.sum = kept.sum.saturating_add(next.sum);
                kept.max = kept.max.max(next.max);
            }
            same
        });
        saturated
    }

    /// Drops what has left the window (t − window, t].
    pub(crate) fn advance(&mut self, t: i64, window_ms: i64) {
        let since = t.saturating_sub(window_ms);
        let gone = self.entries.partition_point(|entry| entry.ts <= since);
        if gone > 0 {
            self.entries.drain(..gone);
        }
    }

    pub(crate) fn count(&self, t: i64, window_ms: i64) -> i64 {
        self.within(t, window_ms).iter().map(|entry| entry.count).sum()
    }

    /// Saturates at the ends of 64 bits.
    pub(crate) fn sum(&self, t: i64, window_ms: i64) -> i64 {
        let sum: i128 = self.within(t, window_ms).iter().map(|entry| i128::from(entry.sum)).sum();
        i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
    }

    pub(crate) fn max(&self, t: i64, window_ms: i64) -> Option<i64> {
        let max = self.within(t, window_ms).iter().map(|entry| entry.max).max();
        max.filter(|max| *max != i64::MIN)
    }

    fn within(&self, t: i64, window_ms: i64) -> &[Entry] {
        let since = t.saturating_sub(window_ms);
        let from = self.entries.partition_point(|entry| entry.ts <= since);
        let to = self.entries.partition_point(|entry| entry.ts <= t);
        self.entries.get(from..to).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests;
