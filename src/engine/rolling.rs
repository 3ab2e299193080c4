//! Rolling windows of counts, sums and maxima (R7).

use crate::engine::tight::Tight;
use crate::near::{near, near_all};

/// Beyond so many entries those of one step are merged.
const EXACT_MAX: usize = 128;

/// Beyond so many entries their sum is kept, and not added up at each evaluation.
const SCAN_MAX: usize = 16;

/// No maximum: the entry is a reversal.
pub(crate) const NO_MAX: i64 = i64::MIN;

/// How values of one window join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    /// Counts and sums.
    Add,
    Max,
}

/// One event, or several of one step, which count until the latest of them has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) ts: i64,
    pub(crate) value: i64,
}

/// Entries in order of event time. Those ahead of T (reversals, R10) wait until T reaches them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rolling {
    /// Most windows: nothing of them stands on the heap.
    Tight(Tight),
    Few(Vec<Entry>),
    Many(Box<Many>),
}

/// A crowded window with the sum of its entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Many {
    pub(super) entries: Vec<Entry>,
    total: i128,
    /// No two entries side by side could be merged, as far as T had come.
    pub(super) merged: bool,
}

impl Default for Rolling {
    fn default() -> Self {
        Rolling::Tight(Tight::default())
    }
}

impl Rolling {
    /// A window of these entries, in order of event time, that has not been crowded.
    pub(crate) fn few(entries: &[Entry]) -> Rolling {
        match Tight::of(entries) {
            Some(tight) => Rolling::Tight(tight),
            None => Rolling::Few(entries.to_vec()),
        }
    }

    /// Hands its entries out, in order of event time.
    #[inline]
    pub(crate) fn with<R>(&self, taker: impl FnOnce(&[Entry]) -> R) -> R {
        match self {
            Rolling::Tight(tight) => {
                let (entries, len) = tight.entries();
                taker(entries.get(..len).unwrap_or_default())
            }
            Rolling::Few(entries) => taker(entries),
            Rolling::Many(many) => taker(&many.entries),
        }
    }

    /// Adds an entry; true when a merged sum saturated (R19). `t` is the key's T.
    pub(crate) fn insert(&mut self, entry: Entry, join: Join, step_ms: i64, t: i64) -> bool {
        match self {
            Rolling::Tight(tight) => {
                if !tight.insert(entry) {
                    let (entries, len) = tight.entries();
                    let mut entries = entries.get(..len).unwrap_or_default().to_vec();
                    entries.insert(place(&entries, entry.ts), entry);
                    *self = Rolling::Few(entries);
                }
                false
            }
            Rolling::Few(entries) => {
                let at = place(entries, entry.ts);
                entries.insert(at, entry);
                if entries.len() > SCAN_MAX {
                    let entries = std::mem::take(entries);
                    let total = total(&entries);
                    *self = Rolling::Many(Box::new(Many { entries, total, merged: false }));
                }
                false
            }
            Rolling::Many(many) => many.insert(entry, join, step_ms, t),
        }
    }

    /// Drops what has left the window (t − window, t].
    pub(crate) fn advance(&mut self, t: i64, window_ms: i64) {
        let since = t.saturating_sub(window_ms);
        let gone = self.with(|entries| match entries.first() {
            Some(first) if first.ts <= since => entries.partition_point(|entry| entry.ts <= since),
            _ => 0,
        });
        match self {
            _ if gone == 0 => {}
            Rolling::Tight(tight) => tight.drop_first(gone),
            Rolling::Few(entries) if gone == entries.len() => *self = Rolling::default(),
            Rolling::Many(many) if gone == many.entries.len() => *self = Rolling::default(),
            Rolling::Few(entries) => {
                entries.drain(..gone);
            }
            Rolling::Many(many) => {
                let left: i128 = many.entries.drain(..gone).map(|one| i128::from(one.value)).sum();
                many.total -= left;
            }
        }
    }

    /// The sum of all values; saturates at the ends of 64 bits.
    pub(crate) fn sum(&self, t: i64, window_ms: i64) -> i64 {
        let since = t.saturating_sub(window_ms);
        let sum = self.with(|entries| {
            let whole = entries.first().is_none_or(|entry| entry.ts > since)
                && entries.last().is_none_or(|entry| entry.ts <= t);
            match self {
                Rolling::Many(many) if whole => many.total,
                _ if whole => total(entries),
                _ => total(within(entries, t, window_ms)),
            }
        });
        i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
    }

    /// The sum of what is later than `since` with an entry at `ts` about to come, if nothing is
    /// later than `t` and no entry that leaves would be merged with one that stays.
    pub(crate) fn would_sum(&self, since: i64, (ts, t): (i64, i64)) -> Option<i64> {
        self.with(|entries| {
            let last = entries.last().map_or(i64::MIN, |entry| entry.ts);
            let merges = match self {
                Rolling::Many(many) if entries.len() >= EXACT_MAX => {
                    !many.merged || ts < last || last <= since
                }
                _ => false,
            };
            if last > t || merges {
                return None;
            }
            match self {
                Rolling::Tight(_) | Rolling::Few(_) => {
                    let left = entries.iter().filter(|entry| entry.ts > since);
                    left.map(|entry| entry.value).try_fold(0, i64::checked_add)
                }
                Rolling::Many(many) => {
                    let gone = entries.iter().take_while(|entry| entry.ts <= since);
                    let gone: i128 = gone.map(|entry| i128::from(entry.value)).sum();
                    i64::try_from(many.total - gone).ok()
                }
            }
        })
    }

    pub(crate) fn max(&self, t: i64, window_ms: i64) -> Option<i64> {
        let max = self
            .with(|entries| within(entries, t, window_ms).iter().map(|entry| entry.value).max());
        max.filter(|max| *max != NO_MAX)
    }

    /// Brings near the entries that are likely to leave, to be added up or to be joined.
    pub(crate) fn near(&self) {
        match self {
            Rolling::Tight(_) => {}
            Rolling::Few(entries) => near_all(entries),
            Rolling::Many(many) => {
                near(&**many);
                many.entries.first().into_iter().chain(many.entries.last()).for_each(near);
            }
        }
    }
}

/// Those of the window (t − window, t].
fn within(entries: &[Entry], t: i64, window_ms: i64) -> &[Entry] {
    let since = t.saturating_sub(window_ms);
    let from = entries.partition_point(|entry| entry.ts <= since);
    let to = entries.partition_point(|entry| entry.ts <= t);
    entries.get(from..to).unwrap_or(&[])
}

impl Many {
    /// A window with these entries, in order of event time.
    pub(super) fn of(entries: Vec<Entry>, merged: bool) -> Many {
        Many { total: total(&entries), entries, merged }
    }

    fn insert(&mut self, entry: Entry, join: Join, step_ms: i64, t: i64) -> bool {
        let at = place(&self.entries, entry.ts);
        self.entries.insert(at, entry);
        self.total += i128::from(entry.value);
        if self.entries.len() <= EXACT_MAX {
            self.merged = false;
            return false;
        }
        let step = |ts: i64| ts.div_euclid(step_ms);
        let same = |next: &Entry, kept: &Entry| {
            step(next.ts) == step(kept.ts) && (next.ts <= t) == (kept.ts <= t)
        };
        // With nothing ahead of T a merged list stays so but for the new entry and its
        // neighbours: the whole need not be walked at each event.
        let nothing_ahead = self.entries.last().is_none_or(|last| last.ts <= t);
        let mut saturated = false;
        if self.merged && nothing_ahead {
            for at in [at + 1, at] {
                if let Some(next) = self.entries.get(at).copied()
                    && let Some(kept) = at.checked_sub(1).and_then(|at| self.entries.get_mut(at))
                    && same(&next, kept)
                {
                    saturated |= kept.join(&next, join);
                    self.entries.remove(at);
                }
            }
        } else {
            // What lies ahead of T stays apart: joined, it would take the rest of its step
            // with it.
            self.entries.dedup_by(|next, kept| {
                let same = same(next, kept);
                saturated |= same && kept.join(next, join);
                same
            });
        }
        self.merged = nothing_ahead;
        if saturated {
            self.total = total(&self.entries);
        }
        saturated
    }
}

impl Entry {
    /// Takes in the next entry of its step; true when the sum saturated.
    fn join(&mut self, next: &Entry, join: Join) -> bool {
        self.ts = next.ts;
        let (joined, saturated) = match join {
            Join::Max => (self.value.max(next.value), false),
            Join::Add => {
                let over = self.value.checked_add(next.value).is_none();
                (self.value.saturating_add(next.value), over)
            }
        };
        self.value = joined;
        saturated
    }
}

/// Where an entry at `ts` goes: behind all that are not later.
fn place(entries: &[Entry], ts: i64) -> usize {
    match entries.last() {
        Some(last) if last.ts > ts => entries.partition_point(|other| other.ts <= ts),
        _ => entries.len(),
    }
}

fn total(entries: &[Entry]) -> i128 {
    entries.iter().map(|entry| i128::from(entry.value)).sum()
}

#[cfg(test)]
mod tests;
