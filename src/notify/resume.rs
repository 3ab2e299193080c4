//! What a restart needs to know of one partition: who is still to be told of what has been read.
//!
//! It travels as the metadata of the committed offset, so that offset and knowledge change
//! together. Metadata is small, and commits are rare: what they do not hold stands in the log of
//! what was told, and they say from where on. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Brokers keep 4,096 bytes (`offset.metadata.max.bytes`) unless told otherwise.
pub(crate) const METADATA_MAX_BYTES: usize = 4_000;
/// A pair of offsets, each relative to the committed one, with commas.
const RANGE_BYTES: usize = 14;
const VERSION: u32 = 1;

/// Offsets from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// Who of the receivers has yet to be told of which offsets.
///
/// Everything before `committed` is settled, everything from `next` on has not been read. In
/// between, a receiver is still to be told of what lies in one of its ranges and of nothing
/// else. A range may contain offsets that were never meant for the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Resume {
    pub(crate) committed: i64,
    pub(crate) next: i64,
    /// In order, and apart from each other.
    pub(crate) pending: BTreeMap<String, Vec<Range>>,
    pub(crate) log: Logged,
}

/// Where the log of what was told has more to say than this; unknown where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Logged {
    /// If all of this is written.
    pub(crate) whole: Option<i64>,
    /// If it must be written coarsely.
    pub(crate) coarse: Option<i64>,
}

/// Offsets are relative to the committed one; ranges are flat: first, last, first, last, …
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    v: u32,
    next: i64,
    pending: BTreeMap<String, Vec<i64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<i64>,
}

impl Resume {
    /// Nothing is known: everything from `committed` on is to be told.
    pub(crate) fn unread(committed: i64) -> Resume {
        Resume { committed, next: committed, ..Resume::default() }
    }

    /// Whether this offset had been read before.
    pub(crate) fn covers(&self, offset: i64) -> bool {
        (self.committed..self.next).contains(&offset)
    }

    /// Whether the receiver was told of this offset, or given up for it.
    pub(crate) fn told(&self, receiver: &str, offset: i64) -> bool {
        let pending = self.pending.get(receiver).map(Vec::as_slice).unwrap_or_default();
        let next = pending.partition_point(|range| range.last < offset);
        let is_pending = pending.get(next).is_some_and(|range| range.first <= offset);
        self.covers(offset) && !is_pending
    }

    /// As offset metadata. What does not fit is told coarsely: neighbouring ranges become one,
    /// those with the least between them first, so that a restart repeats rather than loses.
    pub(crate) fn encode(&self, bytes_max: usize) -> String {
        if self.next <= self.committed && self.log.whole.is_none() {
            return String::new();
        }
        let count: usize = self.pending.values().map(Vec::len).sum();
        let mut ranges_max = bytes_max / RANGE_BYTES;
        loop {
            let written = Written {
                v: VERSION,
                next: self.next - self.committed,
                pending: self.coarse(ranges_max),
                log: if count <= ranges_max { self.log.whole } else { self.log.coarse },
            };
            // Maps of strings and integers can always be written.
            let text = serde_json::to_string(&written).unwrap_or_default();
            if text.len() <= bytes_max {
                return text;
            }
            if ranges_max == 0 {
                return String::new();
            }
            ranges_max /= 2;
        }
    }

    /// Metadata of another hand, or none, means that nothing is known.
    pub(crate) fn decode(committed: i64, metadata: &str) -> Resume {
        let Some(written) = serde_json::from_str(metadata).ok().filter(Written::is_sound) else {
            return Resume::unread(committed);
        };
        let range = |pair: &[i64]| match pair {
            [first, last] => {
                Some(Range { first: committed + first, last: committed.saturating_add(*last) })
            }
            _ => None,
        };
        let pending = written.pending.into_iter();
        Resume {
            committed,
            next: committed.saturating_add(written.next),
            pending: pending
                .map(|(name, flat)| (name, flat.chunks(2).filter_map(range).collect()))
                .collect(),
            log: Logged { whole: written.log, coarse: written.log },
        }
    }

    /// At most `ranges_max` ranges in all, but never less than one for a receiver.
    fn coarse(&self, ranges_max: usize) -> BTreeMap<String, Vec<i64>> {
        let count: usize = self.pending.values().map(Vec::len).sum();
        let between = |pair: &[Range]| match pair {
            [a, b] => b.first - a.last,
            _ => 0,
        };
        let mut gaps: Vec<i64> =
            self.pending.values().flat_map(|ranges| ranges.windows(2).map(between)).collect();
        gaps.sort_unstable();
        let close = count.saturating_sub(ranges_max).min(gaps.len());
        // Closing all gaps as wide as the last one to close may close a few more than needed.
        let widest = if close == 0 { 0 } else { gaps[close - 1] };
        let mut coarse = BTreeMap::new();
        for (name, ranges) in &self.pending {
            let mut flat: Vec<i64> = Vec::new();
            for range in ranges {
                let (first, last) = (range.first - self.committed, range.last - self.committed);
                match flat.last_mut() {
                    Some(end) if first - *end <= widest => *end = last,
                    _ => flat.extend([first, last]),
                }
            }
            if !flat.is_empty() {
                coarse.insert(name.clone(), flat);
            }
        }
        coarse
    }
}

impl Written {
    fn is_sound(&self) -> bool {
        let rising = |flat: &Vec<i64>| {
            flat.len().is_multiple_of(2) && flat.is_sorted() && flat.first().is_none_or(|n| *n >= 0)
        };
        self.v == VERSION
            && (self.next > 0 || self.next == 0 && self.log.is_some())
            && self.log.is_none_or(|at| at >= 0)
            && self.pending.values().all(rising)
    }
}

#[cfg(test)]
mod tests;
