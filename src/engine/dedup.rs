//! The set of remembered event ids (E5).
//!
//! An id expires when the watermark has passed the watermark after its arrival by more than
//! `dedup`; those expiries never fall, so a queue in order of arrival is the whole timer.

use std::collections::VecDeque;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_128;

use crate::engine::LOOK_AHEAD;
use crate::engine::queue::Queue;
use crate::near::near;

/// Slots of a bucket: one line of the cache, so that an event costs one access far away.
const SLOTS: usize = 10;
const BUCKETS_MIN: usize = 64;
/// Ids a bucket holds on average before there are twice as many buckets: at 6 of 10 slots, one
/// id in 50 finds its bucket full.
const LOAD_MAX: usize = 6;

#[derive(Debug, Clone, Default)]
pub(crate) struct Dedup {
    /// Slots whose id has left the queue are free; nothing clears them.
    buckets: Vec<Bucket>,
    /// Ids that found their bucket full, by place, and their places in order of coming.
    overflow: HashTable<u32>,
    overflowed: VecDeque<u32>,
    /// 128 bits: at 10^8 remembered ids a false duplicate has odds below 10^-22 an event.
    queue: Queue<u128>,
    /// Ids that have left the queue, modulo 2^32.
    gone: u32,
    /// (expiry, how many of the queue's next ids share it)
    expiries: VecDeque<(i64, u32)>,
    capture: Option<Box<Capture>>,
}

/// A snapshot under way: how far it has come. Ids leave at the front and are said from the front,
/// so that those which are about to leave need only be said before.
#[derive(Debug, Clone, Default)]
struct Capture {
    /// Ids still to say.
    left: usize,
    /// The next one's place in the queue, its run in the expiries, and its place in there.
    at: usize,
    run: usize,
    within: u32,
    saved: VecDeque<(i64, Vec<u128>)>,
}

/// Ids said at a time.
const SAY_MAX: usize = 4096;

/// Per slot the place of an id, counted from the first id ever, modulo 2^32, and a part of its
/// hash that did not choose the bucket. A place that the queue does not hold means free.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Bucket {
    places: [u32; SLOTS],
    /// Place of the latest id that found no slot here: while the queue holds it, the overflow
    /// must be asked.
    missed: u32,
    tags: [u16; SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Dedup {
    /// True when the id is new; then it is remembered until the watermark is beyond `expiry`.
    pub(crate) fn insert(&mut self, id: u128, expiry: i64) -> bool {
        if self.queue.len() >= self.buckets.len() * LOAD_MAX {
            self.grow();
        }
        let (queue, gone, len) = (&self.queue, self.gone, number(self.queue.len()));
        let held = |place: u32| queue.get(place.wrapping_sub(gone) as usize);
        let is_free = |place: u32| place.wrapping_sub(gone) >= len;
        let at = bucket_of(id, self.buckets.len());
        let bucket = &mut self.buckets[at];
        let wanted = tag_of(id);
        for (tag, place) in bucket.tags.iter().zip(bucket.places) {
            if *tag == wanted && held(place) == Some(id) {
                return false;
            }
        }
        let known = |place: &u32| held(*place) == Some(id);
        if !is_free(bucket.missed) && self.overflow.find(low(id), known).is_some() {
            return false;
        }
        let next = gone.wrapping_add(len);
        if let Some(slot) = bucket.places.iter().position(|place| is_free(*place)) {
            (bucket.places[slot], bucket.tags[slot]) = (next, wanted);
        } else {
            bucket.missed = next;
            self.overflowed.push_back(next);
            self.overflow.insert_unique(low(id), next, |place| held(*place).map_or(0, low));
        }
        self.queue.push_back(id);
        match self.expiries.back_mut() {
            Some((last, count)) if *last == expiry && *count < u32::MAX => *count += 1,
            _ => self.expiries.push_back((expiry, 1)),
        }
        true
    }

    /// Brings the line near where an id would stand.
    pub(crate) fn near(&self, id: u128) {
        if !self.buckets.is_empty() {
            near(&self.buckets[bucket_of(id, self.buckets.len())]);
        }
    }

    /// Forgets what expired before `watermark`.
    pub(crate) fn expire(&mut self, watermark: i64) {
        while let Some((expiry, count)) = self.expiries.front().copied() {
            if expiry >= watermark {
                break;
            }
            self.keep_first(count);
            self.expiries.pop_front();
            for _ in 0..count {
                let Some(id) = self.queue.pop_front() else { break };
                let first = self.gone;
                self.gone = first.wrapping_add(1);
                if self.overflowed.front() != Some(&first) {
                    continue;
                }
                self.overflowed.pop_front();
                if let Ok(entry) = self.overflow.find_entry(low(id), |place| *place == first) {
                    entry.remove();
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Fixes what a snapshot will tell.
    pub(crate) fn begin(&mut self) {
        self.capture = Some(Box::new(Capture { left: self.queue.len(), ..Capture::default() }));
    }

    pub(crate) fn abandon(&mut self) {
        self.capture = None;
    }

    /// Tells `tell` of the next ids in order of arrival, some that expire together; false when
    /// that was all.
    pub(crate) fn say(&mut self, tell: &mut dyn FnMut(i64, &[u128])) -> bool {
        let Some(capture) = &mut self.capture else { return false };
        let some = match capture.saved.pop_front() {
            Some(some) => Some(some),
            None => capture.some(&self.queue, &self.expiries, SAY_MAX),
        };
        some.is_some_and(|(expiry, ids)| {
            tell(expiry, &ids);
            true
        })
    }

    /// The first run is about to leave.
    fn keep_first(&mut self, count: u32) {
        let Some(capture) = &mut self.capture else { return };
        while capture.run == 0
            && let Some(some) = capture.some(&self.queue, &self.expiries, usize::MAX)
        {
            capture.saved.push_back(some);
        }
        // Its end was reached, or what was to be said lay before it.
        capture.run = capture.run.saturating_sub(1);
        capture.at = capture.at.saturating_sub(count as usize);
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
            + self.overflow.allocation_size()
            + self.overflowed.capacity() * size_of::<u32>()
            + self.queue.bytes()
            + self.expiries.capacity() * size_of::<(i64, u32)>()
    }

    /// Twice the buckets, filled anew in order of coming.
    fn grow(&mut self) {
        let count = (self.buckets.len() * 2).max(BUCKETS_MIN);
        // The place before the first one is held by no id.
        let none = self.gone.wrapping_sub(1);
        let free = Bucket { places: [none; SLOTS], missed: none, tags: [0; SLOTS] };
        self.buckets = vec![free; count];
        self.overflow.clear();
        self.overflowed.clear();
        for (at, id) in self.queue.iter().enumerate() {
            if let Some(later) = self.queue.get(at + LOOK_AHEAD) {
                near(&self.buckets[bucket_of(later, count)]);
            }
            let place = self.gone.wrapping_add(number(at));
            let bucket = &mut self.buckets[bucket_of(id, count)];
            let held = |place: u32| (place.wrapping_sub(self.gone) as usize) < at;
            if let Some(slot) = bucket.places.iter().position(|place| !held(*place)) {
                (bucket.places[slot], bucket.tags[slot]) = (place, tag_of(id));
                continue;
            }
            bucket.missed = place;
            self.overflowed.push_back(place);
            let hash = |place: &u32| {
                let at = place.wrapping_sub(self.gone) as usize;
                self.queue.get(at).map_or(0, low)
            };
            self.overflow.insert_unique(low(id), place, hash);
        }
    }
}

impl Capture {
    /// The next ids of one run, at most so many.
    fn some(
        &mut self,
        queue: &Queue<u128>,
        expiries: &VecDeque<(i64, u32)>,
        most: usize,
    ) -> Option<(i64, Vec<u128>)> {
        if self.left == 0 {
            return None;
        }
        let (expiry, count) = *expiries.get(self.run)?;
        let some = ((count - self.within) as usize).min(self.left).min(most);
        if some == 0 {
            return None;
        }
        let ids = (self.at..self.at + some).filter_map(|at| queue.get(at)).collect();
        self.at += some;
        self.left -= some;
        self.within += number(some);
        if self.within == count && self.left > 0 {
            (self.run, self.within) = (self.run + 1, 0);
        }
        Some((expiry, ids))
    }
}

/// `count` is a power of two.
#[expect(clippy::cast_possible_truncation, reason = "a part of a hash is a hash")]
fn bucket_of(id: u128, count: usize) -> usize {
    (id >> 64) as usize & (count - 1)
}

#[expect(clippy::cast_possible_truncation, reason = "a part of a hash is a hash")]
fn tag_of(id: u128) -> u16 {
    (id >> 48) as u16
}

fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// The identity of a user, by the hash of the name, and `id` together: two hashes of 128 bits, of
/// which one is multiplied by an odd number, so that neither the order nor the place of the border
/// between them is lost.
pub(crate) fn identity(user: u128, id: &str) -> u128 {
    const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    user.wrapping_mul(ODD).wrapping_add(xxh3_128(id.as_bytes()))
}

#[expect(clippy::cast_possible_truncation, reason = "the low half of a hash is a hash")]
fn low(id: u128) -> u64 {
    id as u64
}

#[cfg(test)]
mod tests;
