//! Which values of a field a user has shown, and when: the memory of `new` (R5).

use std::collections::BTreeMap;

use hashbrown::HashMap as Map;
use smallvec::SmallVec;
use xxhash_rust::xxh3::{Xxh3DefaultBuilder, xxh3_64, xxh3_128};

/// Values remembered for one user and field; the one seen longest ago makes room.
const VALUES_MAX: usize = 1024;

/// The values of one field, per user.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    users: Map<u128, SmallVec<[(u64, i64); 2]>, Xxh3DefaultBuilder>,
    /// Users by the hour in which they may be forgotten.
    expiry: BTreeMap<i64, Vec<u128>>,
}

const HOUR_MS: i64 = 3_600_000;

impl Seen {
    /// R5: not this value within `within_ms` before `ts`, but another one.
    pub(crate) fn is_new(&self, user: &str, value: &str, ts: i64, within_ms: i64) -> bool {
        let Some(values) = self.users.get(&xxh3_128(user.as_bytes())) else { return false };
        let hash = xxh3_64(value.as_bytes());
        let since = ts.saturating_sub(within_ms);
        let mut other = false;
        for (seen, last) in values {
            if *last >= since {
                if *seen == hash {
                    return false;
                }
                other = true;
            }
        }
        other
    }

    /// Records an accepted event's value. Returns false when another value had to make room.
    pub(crate) fn record(&mut self, user: &str, value: &str, ts: i64, keep_ms: i64) -> bool {
        let user = xxh3_128(user.as_bytes());
        let hash = xxh3_64(value.as_bytes());
        let expiry = &mut self.expiry;
        let values = self.users.entry(user).or_insert_with(|| {
            let hour = ts.saturating_add(keep_ms).div_euclid(HOUR_MS) + 1;
            expiry.entry(hour).or_default().push(user);
            SmallVec::new()
        });
        if let Some((_, last)) = values.iter_mut().find(|(seen, _)| *seen == hash) {
            *last = (*last).max(ts);
            return true;
        }
        let full = values.len() >= VALUES_MAX;
        if full && let Some(oldest) = (0..values.len()).min_by_key(|at| values[*at].1) {
            values.swap_remove(oldest);
        }
        values.push((hash, ts));
        !full
    }

    /// Forgets values last seen before `horizon` (watermark − lateness − within).
    pub(crate) fn expire(&mut self, horizon: i64, keep_ms: i64) {
        let now = horizon.saturating_add(keep_ms);
        while let Some(entry) = self.expiry.first_entry() {
            if entry.key().saturating_mul(HOUR_MS) > now {
                break;
            }
            for user in entry.remove() {
                let Some(values) = self.users.get_mut(&user) else { continue };
                values.retain(|(_, last)| *last >= horizon);
                match values.iter().map(|(_, last)| *last).max() {
                    None => {
                        self.users.remove(&user);
                    }
                    Some(last) => {
                        let hour = last.saturating_add(keep_ms).div_euclid(HOUR_MS) + 1;
                        let hour = hour.max(now.div_euclid(HOUR_MS) + 1);
                        self.expiry.entry(hour).or_default().push(user);
                    }
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.users.len()
    }

    /// Bytes on the heap, without the values of users who showed more than two.
    pub(crate) fn bytes(&self) -> usize {
        let waiting: usize = self.expiry.values().map(|users| users.capacity() * 16).sum();
        self.users.allocation_size() + waiting
    }
}

#[cfg(test)]
mod tests;
