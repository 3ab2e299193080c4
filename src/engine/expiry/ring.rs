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
    /// Emptied lists, for slots that begin.
    spare: Vec<Vec<u32>>,
}

/// Keys that a spare list has room for at most, and lists that are kept.
const SPARE_KEYS_MAX: usize = 256;
const SPARE_MAX: usize = 4;

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
        if self.slots[at].capacity() == 0 {
            // It will have about as many as the one before.
            let before = at.checked_sub(1).map_or(0, |before| self.slots[before].len());
            let fresh = || Vec::with_capacity(before.clamp(4, SPARE_KEYS_MAX));
            self.slots[at] = self.spare.pop().unwrap_or_else(fresh);
        }
        self.slots[at].push(key);
        true
    }

    /// Lets go of all keys.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
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
        let keys = self.slots.pop_front();
        self.first += 1;
        while self.slots.front().is_some_and(Vec::is_empty) {
            self.slots.pop_front();
            self.first += 1;
        }
        keys
    }

    /// Takes a list back, to be used again.
    pub(super) fn give_back(&mut self, mut keys: Vec<u32>) {
        if self.spare.len() < SPARE_MAX && keys.capacity() <= SPARE_KEYS_MAX {
            keys.clear();
            self.spare.push(keys);
        }
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        let all = self.slots.iter().chain(&self.spare);
        let keys: usize = all.map(|keys| keys.capacity() * size_of::<u32>()).sum();
        (self.slots.capacity() + self.spare.capacity()) * size_of::<Vec<u32>>() + keys
    }
}
