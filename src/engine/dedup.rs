//! The set of remembered event ids (E5).
//!
//! An id expires when the watermark has passed the watermark after its arrival by more than
//! `dedup`; those expiries never fall, so a queue in order of arrival is the whole timer.

use std::collections::VecDeque;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_128;

#[derive(Debug, Clone, Default)]
pub(crate) struct Dedup {
    /// 128 bits: at 10^8 remembered ids a false duplicate has odds below 10^-22 an event.
    ids: HashTable<u128>,
    queue: VecDeque<u128>,
    /// (expiry, how many of the queue's next ids share it)
    expiries: VecDeque<(i64, u32)>,
}

impl Dedup {
    /// True when the id is new; remembers it until the watermark is beyond `expiry`.
    pub(crate) fn insert(&mut self, id: u128, expiry: i64) {
        self.ids.insert_unique(low(id), id, |id| low(*id));
        self.queue.push_back(id);
        match self.expiries.back_mut() {
            Some((last, count)) if *last == expiry && *count < u32::MAX => *count += 1,
            _ => self.expiries.push_back((expiry, 1)),
        }
    }

    pub(crate) fn contains(&self, id: u128) -> bool {
        self.ids.find(low(id), |other| *other == id).is_some()
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
                if let Ok(entry) = self.ids.find_entry(low(id), |other| *other == id) {
                    entry.remove();
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
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
