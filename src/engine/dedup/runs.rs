//! When the ids of a queue expire: how many of them together, one run after the other.

use crate::engine::queue::Queue;

/// Bits of a run that count its ids; the others tell how much later than the run before it expires.
const COUNT_BITS: u32 = 16;
/// Ids of a run at most; of those that follow a run expires as late.
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
/// 8,900 years in milliseconds.
const LATER_MAX: u64 = (1 << (64 - COUNT_BITS)) - 1;

/// Runs in order of their expiry, in 8 bytes each: where events come one a millisecond, each id is a
/// run.
#[derive(Debug, Clone, Default)]
pub(super) struct Runs {
    queue: Queue<u64>,
    /// Expiry of the first run and of the last, while there is one.
    first: i64,
    last: i64,
}

impl Runs {
    /// One id more; an expiry before the last one's is taken for that.
    pub(super) fn push(&mut self, expiry: i64) {
        if self.queue.is_empty() {
            (self.first, self.last) = (expiry, expiry);
        }
        let later = u64::try_from(expiry.saturating_sub(self.last)).unwrap_or(0).min(LATER_MAX);
        match self.queue.back_mut() {
            Some(run) if later == 0 && *run & COUNT_MAX < COUNT_MAX => *run += 1,
            _ => self.queue.push_back(later << COUNT_BITS | 1),
        }
        self.last = self.last.saturating_add_unsigned(later);
    }

    /// Whether the first run has expired before this.
    #[inline]
    pub(super) fn is_over(&self, watermark: i64) -> bool {
        self.first < watermark && !self.queue.is_empty()
    }

    /// The first run: when it expires, and how many ids it has.
    pub(super) fn first(&self) -> Option<(i64, usize)> {
        Some((self.first, count_of(self.queue.front()?)))
    }

    /// Takes out the first run; how many ids it had.
    pub(super) fn pop_first(&mut self) -> Option<usize> {
        let count = count_of(self.queue.pop_front()?);
        self.first = self.first.saturating_add_unsigned(self.queue.front().map_or(0, later_of));
        Some(count)
    }

    /// How many ids the run so many behind the first one has.
    pub(super) fn count(&self, at: usize) -> Option<usize> {
        self.queue.get(at).map(count_of)
    }

    /// How much later than the one before a run expires.
    pub(super) fn later(&self, at: usize) -> u64 {
        self.queue.get(at).map_or(0, later_of)
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.queue.bytes()
    }
}

fn later_of(run: u64) -> u64 {
    run >> COUNT_BITS
}

fn count_of(run: u64) -> usize {
    usize::try_from(run & COUNT_MAX).unwrap_or(0)
}
