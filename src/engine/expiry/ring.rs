//! Slots of one rule by number, as far as they lie near each other: a slot is found without a search.

use std::collections::VecDeque;

use crate::near::near;

/// Slots that a ring spans at most: of rolling windows of up to two hours, all that anything waits in.
const SPAN_MAX: usize = 1 << 12;

/// Keys that wait, by slot. All slots end at multiples of the same width.
#[derive(Debug, Clone, Default)]
pub(super) struct Ring {
    width_ms: i64,
    /// Number of the first of the slots, which is not empty.
    first: i64,
    slots: VecDeque<Vec<u32>>,
    /// How many keys the slot had that was taken last: the next will have about as many.
    usual: usize,
}

impl Ring {
    pub(super) fn of(width_ms: i64) -> Ring {
        Ring { width_ms, ..Ring::default() }
    }

    /// The number of the slot that ends then, if that is one of these.
    #[inline]
    fn number(&self, end: i64) -> Option<i64> {
        let number = end.checked_div_euclid(self.width_ms)?;
        (number.checked_mul(self.width_ms) == Some(end)).then_some(number)
    }

    /// Its place.
    #[inline]
    fn place(&self, end: i64) -> Option<usize> {
        usize::try_from(self.number(end)?.checked_sub(self.first)?).ok()
    }

    /// Brings near where the next key of a slot will stand.
    #[inline]
    pub(super) fn near(&self, end: i64) {
        let keys = self.place(end).and_then(|at| self.slots.get(at));
        keys.and_then(|keys| keys.last()).into_iter().for_each(near);
    }

    /// Adds a key to the slot that ends then; false, and nothing is done, where that lies too far
    /// from the others, or is none of these.
    pub(super) fn push(&mut self, end: i64, key: u32) -> bool {
        if self.slots.is_empty() {
            self.first = self.number(end).unwrap_or_default();
        }
        let Some(at) = self.place(end).filter(|at| *at < SPAN_MAX) else { return false };
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, Vec::new);
        }
        let keys = &mut self.slots[at];
        if keys.capacity() == 0 {
            keys.reserve_exact((self.usual / 2).clamp(4, 256));
        }
        keys.push(key);
        true
    }

    /// The end of the first slot.
    pub(super) fn first(&self) -> Option<i64> {
        (!self.slots.is_empty()).then(|| self.first.saturating_mul(self.width_ms))
    }

    /// The keys of the first slot, if it ends then.
    pub(super) fn take(&mut self, end: i64) -> Option<Vec<u32>> {
        if self.first() != Some(end) {
            return None;
        }
        let keys = self.slots.pop_front()?;
        self.first += 1;
        while self.slots.front().is_some_and(Vec::is_empty) {
            self.slots.pop_front();
            self.first += 1;
        }
        self.usual = keys.len();
        Some(keys)
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        let keys: usize = self.slots.iter().map(|keys| keys.capacity() * size_of::<u32>()).sum();
        self.slots.capacity() * size_of::<Vec<u32>>() + keys
    }
}
