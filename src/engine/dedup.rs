//! The set of remembered event ids (E5).
//!
//! An id expires when the watermark has passed the watermark after its arrival by more than
//! `dedup`; those expiries never fall, so a queue in order of arrival is the whole timer.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_128;

use crate::engine::LOOK_AHEAD;
use crate::engine::index::{PARTS, place_among, widened};
use crate::engine::outbox::number;
use crate::engine::queue::Queue;
use crate::near::near;

use runs::Runs;

mod runs;

/// Slots of a bucket: one line of the cache, so that an event costs one access far away.
const SLOTS: usize = 10;
const BUCKETS_MIN: usize = 8;
/// Ids a bucket holds on average before there are more buckets: at 6 of 10 slots, one id in 50
/// finds its bucket full.
const LOAD_MAX: usize = 6;
/// A part of so many parts of its room that is free is worth to wait with more buckets.
const RESERVE: usize = 32;

#[derive(Debug, Clone, Default)]
pub(crate) struct Dedup {
    /// As those of a [`GreatIndex`](crate::engine::index::GreatIndex) they grow one by one; none
    /// before the first id.
    parts: Vec<Part>,
    overflow: Overflow,
    /// 128 bits: at 10^8 remembered ids a false duplicate has odds below 10^-22 an event.
    queue: Queue<u128>,
    /// Ids that have left the queue.
    gone: u64,
    /// When the queue's ids expire.
    runs: Runs,
    capture: Option<Box<Capture>>,
}

/// The places of some of the ids.
#[derive(Debug, Clone, Default)]
struct Part {
    /// Slots whose id has left the queue are free; nothing clears them.
    buckets: Vec<Bucket>,
    /// How many ids the queue held of it when they were counted last, and those that came since.
    filled: usize,
}

/// Ids that found their bucket full.
#[derive(Debug, Clone, Default)]
struct Overflow {
    /// By part, their places.
    tables: Vec<HashTable<u32>>,
    /// Which of all ids ever they are, and some that have found room since: the next to leave first.
    leaving: BinaryHeap<Reverse<u64>>,
}

/// Those of one part.
struct Over<'a> {
    table: &'a mut HashTable<u32>,
    leaving: &'a mut BinaryHeap<Reverse<u64>>,
}

/// What a part's places stand for.
#[derive(Clone, Copy)]
struct Held<'a> {
    queue: &'a Queue<u128>,
    gone: u64,
    /// Place of the first id in the queue.
    first: u32,
    len: u32,
}

/// A snapshot under way: how far it has come. Ids leave at the front and are said from the front,
/// so that those which are about to leave need only be said before.
#[derive(Debug, Clone, Default)]
struct Capture {
    /// Ids still to say.
    left: usize,
    /// The next one's place in the queue, its run and when that expires, and its place in there.
    at: usize,
    run: usize,
    expiry: i64,
    within: usize,
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
        if self.parts.is_empty() {
            self.parts.resize_with(PARTS, Part::default);
            self.overflow.tables.resize_with(PARTS, HashTable::new);
        }
        let Dedup { parts, overflow, queue, gone, .. } = self;
        let held = Held { queue, gone: *gone, first: low_of(*gone), len: number(queue.len()) };
        let Overflow { tables, leaving } = overflow;
        let own = part_of(id);
        if !parts[own].insert(id, held, &mut Over { table: &mut tables[own], leaving }) {
            return false;
        }
        self.queue.push_back(id);
        self.runs.push(expiry);
        true
    }

    /// Brings the line near where an id would stand.
    pub(crate) fn near(&self, id: u128) {
        if let Some(part) = self.parts.get(part_of(id)) {
            part.near(id);
        }
    }

    /// Forgets what expired before `watermark`.
    #[inline]
    pub(crate) fn expire(&mut self, watermark: i64) {
        if self.runs.is_over(watermark) {
            self.forget(watermark);
        }
    }

    #[inline(never)]
    fn forget(&mut self, watermark: i64) {
        while self.runs.is_over(watermark) {
            self.keep_first();
            for _ in 0..self.runs.pop_first().unwrap_or(0) {
                let Some(id) = self.queue.pop_front() else { break };
                if self.overflow.leaving.peek() == Some(&Reverse(self.gone)) {
                    self.overflow.lose(id, self.gone);
                }
                self.gone += 1;
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Fixes what a snapshot will tell.
    pub(crate) fn begin(&mut self) {
        let expiry = self.runs.first().map_or(0, |(expiry, _)| expiry);
        let left = self.queue.len();
        self.capture = Some(Box::new(Capture { left, expiry, ..Capture::default() }));
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
            None => capture.some(&self.queue, &self.runs, SAY_MAX),
        };
        some.is_some_and(|(expiry, ids)| {
            tell(expiry, &ids);
            true
        })
    }

    /// The first run is about to leave.
    fn keep_first(&mut self) {
        let Some(capture) = &mut self.capture else { return };
        let count = self.runs.count(0).unwrap_or(0);
        while capture.run == 0
            && let Some(some) = capture.some(&self.queue, &self.runs, usize::MAX)
        {
            capture.saved.push_back(some);
        }
        // Its end was reached, or what was to be said lay before it.
        capture.run = capture.run.saturating_sub(1);
        capture.at = capture.at.saturating_sub(count);
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        let buckets: usize = self.parts.iter().map(|part| part.buckets.capacity()).sum();
        let parts = buckets * size_of::<Bucket>() + self.parts.capacity() * size_of::<Part>();
        parts + self.overflow.bytes() + self.queue.bytes() + self.runs.bytes()
    }
}

impl Held<'_> {
    /// How many ids a place is behind the first one.
    fn behind(&self, place: u32) -> usize {
        place.wrapping_sub(self.first) as usize
    }

    fn id(&self, place: u32) -> Option<u128> {
        self.queue.get(self.behind(place))
    }

    fn has(&self, place: u32) -> bool {
        place.wrapping_sub(self.first) < self.len
    }

    /// The place of the next id.
    fn next(&self) -> u32 {
        self.first.wrapping_add(self.len)
    }
}

impl Part {
    /// True when the id is new; then the next place is its own.
    fn insert(&mut self, id: u128, held: Held<'_>, over: &mut Over<'_>) -> bool {
        if self.filled >= self.buckets.len() * LOAD_MAX {
            self.make_room(part_of(id), held, over);
        }
        let bucket = &self.buckets[bucket_of(id, self.buckets.len())];
        let wanted = tag_of(id);
        for (tag, place) in bucket.tags.iter().zip(bucket.places) {
            if *tag == wanted && held.id(place) == Some(id) {
                return false;
            }
        }
        let known = |place: &u32| held.id(*place) == Some(id);
        if held.has(bucket.missed) && over.table.find(low(id), known).is_some() {
            return false;
        }
        self.filled += 1;
        self.put(id, held.next(), held, over);
        true
    }

    /// Notes the place of an id.
    fn put(&mut self, id: u128, place: u32, held: Held<'_>, over: &mut Over<'_>) {
        let at = bucket_of(id, self.buckets.len());
        let bucket = &mut self.buckets[at];
        if let Some(slot) = bucket.places.iter().position(|other| !held.has(*other)) {
            (bucket.places[slot], bucket.tags[slot]) = (place, tag_of(id));
            return;
        }
        if !held.has(bucket.missed) || held.behind(place) > held.behind(bucket.missed) {
            bucket.missed = place;
        }
        over.leaving.push(Reverse(held.gone + held.behind(place) as u64));
        let hash = |other: &u32| held.id(*other).map_or(0, low);
        over.table.insert_unique(low(id), place, hash);
    }

    /// Counts the ids that are still held, of which a part is not told when they leave. Where there are
    /// nearly as many as it has room for, it grows.
    #[cold]
    fn make_room(&mut self, part: usize, held: Held<'_>, over: &mut Over<'_>) {
        let places = self.buckets.iter().flat_map(|bucket| bucket.places);
        self.filled = places.filter(|place| held.has(*place)).count() + over.table.len();
        let room = self.buckets.len() * LOAD_MAX;
        if self.filled >= room - room / RESERVE {
            self.grow(part, held, over);
        }
    }

    /// More buckets, filled anew.
    fn grow(&mut self, part: usize, held: Held<'_>, over: &mut Over<'_>) {
        let count = widened(self.buckets.len()).max(BUCKETS_MIN);
        // The place before the first one is held by no id.
        let none = held.first.wrapping_sub(1);
        let free = Bucket { places: [none; SLOTS], missed: none, tags: [0; SLOTS] };
        let old = std::mem::replace(&mut self.buckets, vec![free; count]);
        let places = old.iter().flat_map(|bucket| bucket.places).filter(|place| held.has(*place));
        let places: Vec<u32> = places.chain(over.table.drain()).collect();
        for (at, place) in places.iter().enumerate() {
            if let Some(later) = places.get(at + LOOK_AHEAD) {
                held.queue.near(held.behind(*later));
            }
            // Places come round: what an id that left long ago had may be another's now.
            let id = held.id(*place).filter(|id| part_of(*id) == part);
            let is_there = |id| self.buckets[bucket_of(id, count)].places.contains(place);
            if let Some(id) = id.filter(|id| !is_there(*id)) {
                self.put(id, *place, held, over);
            }
        }
    }

    /// Brings the line near where an id would stand.
    fn near(&self, id: u128) {
        if let Some(bucket) = self.buckets.get(bucket_of(id, self.buckets.len())) {
            near(bucket);
        }
    }
}

impl Overflow {
    /// An id leaves from the first place.
    #[cold]
    fn lose(&mut self, id: u128, gone: u64) {
        while self.leaving.peek() == Some(&Reverse(gone)) {
            self.leaving.pop();
        }
        let is_it = |place: &u32| *place == low_of(gone);
        if let Ok(entry) = self.tables[part_of(id)].find_entry(low(id), is_it) {
            entry.remove();
        }
    }

    /// Bytes on the heap.
    fn bytes(&self) -> usize {
        let tables: usize = self.tables.iter().map(HashTable::allocation_size).sum();
        let leaving = self.leaving.capacity() * size_of::<u64>();
        tables + leaving + self.tables.capacity() * size_of::<HashTable<u32>>()
    }
}

impl Capture {
    /// The next ids of one run, at most so many.
    fn some(&mut self, queue: &Queue<u128>, runs: &Runs, most: usize) -> Option<(i64, Vec<u128>)> {
        if self.left == 0 {
            return None;
        }
        let (expiry, count) = (self.expiry, runs.count(self.run)?);
        let some = (count - self.within).min(self.left).min(most);
        if some == 0 {
            return None;
        }
        let ids = (self.at..self.at + some).filter_map(|at| queue.get(at)).collect();
        self.at += some;
        self.left -= some;
        self.within += some;
        if self.within == count && self.left > 0 {
            (self.run, self.within) = (self.run + 1, 0);
            self.expiry = expiry.saturating_add_unsigned(runs.later(self.run));
        }
        Some((expiry, ids))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "places are counted modulo 2^32")]
fn low_of(gone: u64) -> u32 {
    gone as u32
}

fn part_of(id: u128) -> usize {
    (id >> 96) as usize % PARTS
}

#[expect(clippy::cast_possible_truncation, reason = "a part of a hash is a hash")]
fn bucket_of(id: u128, count: usize) -> usize {
    place_among(count, (id >> 32) as u64)
}

#[expect(clippy::cast_possible_truncation, reason = "a part of a hash is a hash")]
fn tag_of(id: u128) -> u16 {
    (id >> 48) as u16
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
