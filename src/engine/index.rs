//! From hashes to ids, in buckets of one cache line each, so that a look-up waits for one access
//! far away, and a look ahead can bring that line near without a branch on what it holds.

use crate::near::near;

/// Slots of a bucket.
const SLOTS: usize = 9;
const BUCKETS_MIN: usize = 2;
/// As long as there are fewer buckets they are doubled.
const FEW: usize = 64;
/// Ids a bucket holds on average before there are more buckets: at 7 of 9 slots, one
/// id in eleven finds its bucket full, just before it grows.
const LOAD_MAX: usize = 7;
/// No id: the slot is free.
const FREE: u32 = u32::MAX;

/// Ids by half a hash. Several may share a hash, and some that do not look as if they did: the caller
/// knows what an id stands for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    buckets: Vec<Bucket>,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    ids: [u32; SLOTS],
    /// Marks of their hashes, the lower 16 bits and the higher 8.
    low: [u16; SLOTS],
    high: [u8; SLOTS],
    /// Ids that belong here or before and found this bucket full: they stand further on. At the
    /// greatest number nobody counts any more.
    passed: u8,
}

const _: () = assert!(size_of::<Bucket>() == 64);

const EMPTY: Bucket = Bucket { ids: [FREE; SLOTS], low: [0; SLOTS], high: [0; SLOTS], passed: 0 };

/// What is kept of a hash: 24 bits that do not choose the part of a great index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    low: u16,
    high: u8,
}

impl Mark {
    const BITS: u32 = 24;

    #[inline]
    fn of(hash: u32) -> Mark {
        let [.., low, more, high, _] = spread(u64::from(hash)).to_le_bytes();
        Mark { low: u16::from_le_bytes([low, more]), high }
    }

    /// The first bucket of so many that it may stand in, each having its share.
    #[inline]
    fn home(self, buckets: usize) -> usize {
        let mark = usize::from(self.high) << 16 | usize::from(self.low);
        (mark * buckets) >> Mark::BITS
    }
}

impl Bucket {
    /// A bit for each slot whose mark may be this one.
    #[inline]
    fn alike(&self, low: u16) -> u32 {
        let slots = self.low.iter().enumerate();
        slots.fold(0, |alike, (slot, other)| alike | u32::from(*other == low) << slot)
    }

    fn mark(&self, slot: usize) -> Mark {
        Mark { low: self.low[slot], high: self.high[slot] }
    }
}

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Brings the line near where a hash would stand.
    #[inline]
    pub(crate) fn near(&self, hash: u32) {
        if let Some(bucket) = self.buckets.get(Mark::of(hash).home(self.buckets.len())) {
            near(bucket);
        }
    }

    /// The id under this hash that `is` says yes to.
    pub(crate) fn find(&self, hash: u32, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mark = Mark::of(hash);
        let mut at = mark.home(self.buckets.len());
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            let mut alike = bucket.alike(mark.low);
            while alike != 0 {
                let slot = alike.trailing_zeros() as usize;
                let id = bucket.ids[slot];
                if bucket.high[slot] == mark.high && id != FREE && is(id) {
                    return Some(id);
                }
                alike &= alike - 1;
            }
            if bucket.passed == 0 {
                break;
            }
            at = self.next(at);
        }
        None
    }

    /// Adds an id, below `u32::MAX`, that is not there.
    pub(crate) fn insert(&mut self, hash: u32, id: u32) {
        if self.len >= self.buckets.len() * LOAD_MAX {
            self.grow(widened(self.buckets.len()).max(BUCKETS_MIN));
        }
        self.len += 1;
        self.put(Mark::of(hash), id);
    }

    /// Takes an id out, if it is there.
    pub(crate) fn remove(&mut self, hash: u32, id: u32) {
        let mark = Mark::of(hash);
        let home = mark.home(self.buckets.len());
        let mut at = home;
        for _ in 0..self.buckets.len() {
            let bucket = &mut self.buckets[at];
            let slot = bucket.ids.iter().position(|other| *other == id);
            if let Some(slot) = slot.filter(|slot| bucket.mark(*slot) == mark) {
                bucket.ids[slot] = FREE;
                self.len -= 1;
                let found = at;
                at = home;
                while at != found {
                    let passed = &mut self.buckets[at].passed;
                    *passed -= u8::from(*passed < u8::MAX);
                    at = self.next(at);
                }
                return;
            }
            if bucket.passed == 0 {
                return;
            }
            at = self.next(at);
        }
    }

    /// Makes room for so many ids more.
    pub(crate) fn reserve(&mut self, more: usize) {
        let buckets = buckets_for(self.len + more);
        if buckets > self.buckets.len() {
            self.grow(buckets);
        }
    }

    /// Takes all ids out; what only a flood needed is given back.
    pub(crate) fn clear(&mut self) {
        let needed = buckets_for(self.len);
        if self.buckets.len() > 4 * needed {
            self.buckets = vec![EMPTY; needed];
        } else {
            self.buckets.fill(EMPTY);
        }
        self.len = 0;
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    fn grow(&mut self, count: usize) {
        let old = std::mem::replace(&mut self.buckets, vec![EMPTY; count]);
        for bucket in &old {
            for (slot, id) in bucket.ids.iter().enumerate().filter(|(_, id)| **id != FREE) {
                self.put(bucket.mark(slot), *id);
            }
        }
    }

    fn put(&mut self, mark: Mark, id: u32) {
        let mut at = mark.home(self.buckets.len());
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(slot) = bucket.ids.iter().position(|other| *other == FREE) {
                (bucket.low[slot], bucket.high[slot], bucket.ids[slot]) = (mark.low, mark.high, id);
                return;
            }
            bucket.passed = bucket.passed.saturating_add(1);
            at = self.next(at);
        }
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 < self.buckets.len() { at + 1 } else { 0 }
    }
}

/// Parts of a great index.
pub(crate) const PARTS: usize = 256;

/// An index of many ids. Its parts grow one by one, so that no event waits until all ids have found
/// their new places: of ten million forty thousand move at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct GreatIndex {
    /// None before the first id.
    parts: Vec<Index>,
    len: usize,
}

impl GreatIndex {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Brings the line near where a hash would stand.
    #[inline]
    pub(crate) fn near(&self, hash: u32) {
        if let Some(part) = self.parts.get(part_of(hash)) {
            part.near(hash);
        }
    }

    /// The id under this hash that `is` says yes to.
    pub(crate) fn find(&self, hash: u32, is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.parts.get(part_of(hash))?.find(hash, is)
    }

    /// Adds an id, below `u32::MAX`, that is not there.
    pub(crate) fn insert(&mut self, hash: u32, id: u32) {
        if self.parts.is_empty() {
            self.parts.resize_with(PARTS, Index::default);
        }
        self.parts[part_of(hash)].insert(hash, id);
        self.len += 1;
    }

    /// Takes an id out, if it is there.
    pub(crate) fn remove(&mut self, hash: u32, id: u32) {
        if let Some(part) = self.parts.get_mut(part_of(hash)) {
            self.len -= part.len();
            part.remove(hash, id);
            self.len += part.len();
        }
    }

    /// Makes room for so many ids more.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.parts.resize_with(PARTS, Index::default);
        self.parts.iter_mut().for_each(|part| part.reserve(more / PARTS));
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        let parts: usize = self.parts.iter().map(Index::bytes).sum();
        parts + self.parts.capacity() * size_of::<Index>()
    }
}

/// The highest bits: others choose the bucket.
fn part_of(hash: u32) -> usize {
    usize::try_from(spread(u64::from(hash)) >> 56).unwrap_or(0) % PARTS
}

/// Hashes may have low bits in common, which choose the owner of a key: a multiplication by the
/// golden ratio leaves none so.
pub(crate) fn spread(hash: u64) -> u64 {
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Buckets for so many ids.
fn buckets_for(ids: usize) -> usize {
    (ids / LOAD_MAX + 1).max(BUCKETS_MIN)
}

/// How many there are where so many were too few: twice as many where there are few, later a quarter
/// more, so that no more than a fifth of the room is in reserve.
pub(crate) fn widened(count: usize) -> usize {
    if count < FEW { count * 2 } else { count + count / 4 }
}

/// One of so many places, by the higher half of a hash, each for its share: the higher part of the
/// product, where the remainder of a division would take longer (D. Lemire, Fast Random Integer
/// Generation in an Interval, ACM TOMACS 29, 2019).
#[inline]
pub(crate) fn place_among(count: usize, hash: u64) -> usize {
    (((hash >> 32) * count as u64) >> 32) as usize
}

/// The part of a hash that an index goes by.
#[expect(clippy::cast_possible_truncation, reason = "half a hash is a hash")]
pub(crate) fn half(hash: u64) -> u32 {
    hash as u32
}

#[cfg(test)]
mod tests;
