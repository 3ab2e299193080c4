//! The set of remembered event ids (E5).
//!
//! An id expires when the watermark has passed the watermark after its arrival by more than
//! `dedup`; those expiries never fall, so a queue in order of arrival is the whole timer.

use std::collections::VecDeque;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_128;

#[derive(Debug, Clone, Default)]
pub(crate) struct Dedup {
    /// Places in the queue, counted from the first id ever, modulo 2^32: a fourth of an id.
    index: HashTable<u32>,
    /// 128 bits: at 10^8 remembered ids a false duplicate has odds below 10^-22 an event.
    queue: VecDeque<u128>,
    /// Ids that have left the queue, modulo 2^32.
    gone: u32,
    /// (expiry, how many of the queue's next ids share it)
    expiries: VecDeque<(i64, u32)>,
}

impl Dedup {
    /// True when the id is new; then it is remembered until the watermark is beyond `expiry`.
    pub(crate) fn insert(&mut self, id: u128, expiry: i64) -> bool {
        let (queue, gone) = (&self.queue, self.gone);
        let at = |place: &u32| queue.get(place.wrapping_sub(gone) as usize).copied();
        let entry = self.index.entry(
            low(id),
            |place| at(place) == Some(id),
            |place| at(place).map_or(0, low),
        );
        let Entry::Vacant(vacant) = entry else { return false };
        let Ok(len) = u32::try_from(queue.len()) else { return true };
        vacant.insert(gone.wrapping_add(len));
        self.queue.push_back(id);
        match self.expiries.back_mut() {
            Some((last, count)) if *last == expiry && *count < u32::MAX => *count += 1,
            _ => self.expiries.push_back((expiry, 1)),
        }
        true
    }

    /// Forgets what expired before `watermark`.
    pub(crate) fn expire(&mut self, watermark: i64) {
        while let Some((expiry, count)) = self.expiries.front().copied() {
            if expiry >= watermark {
                break;
            }
            self.expiries.pop_front();
            for _ in 0..count {
                let Some(id) = self.queue.pop_front() else { break };
                let first = self.gone;
                if let Ok(entry) = self.index.find_entry(low(id), |place| *place == first) {
                    entry.remove();
                }
                self.gone = first.wrapping_add(1);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.index.allocation_size()
            + self.queue.capacity() * size_of::<u128>()
            + self.expiries.capacity() * size_of::<(i64, u32)>()
    }
}

/// The identity of `user` and `id` together; the length keeps ("a","bc") from ("ab","c").
pub(crate) fn identity(user: &str, id: &str) -> u128 {
    let mut bytes: smallvec::SmallVec<[u8; 128]> = smallvec::SmallVec::new();
    bytes.push(u8::try_from(user.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(user.as_bytes());
    bytes.extend_from_slice(id.as_bytes());
    xxh3_128(&bytes)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half of a hash is a hash")]
fn low(id: u128) -> u64 {
    id as u64
}

#[cfg(test)]
mod tests;
