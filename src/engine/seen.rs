//! Which values of a field a user has shown, and when: the memory of `new` (R5).

use std::collections::BTreeMap;

use smallvec::SmallVec;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::engine::index::{Index, half};
use crate::engine::slab::Slab;
use crate::engine::snapshot::Marks;

/// Values remembered for one user and field; the one seen longest ago makes room.
const VALUES_MAX: usize = 1024;

/// Hash of a value, and the latest event time that it came with.
pub(crate) type Value = (u64, i64);

/// The values of one field, per user.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    index: Index,
    users: Slab<Shown>,
    free: Vec<u32>,
    /// Places of users by the hour in which they may be forgotten.
    expiry: BTreeMap<i64, Vec<u32>>,
    capture: Option<Box<Capture>>,
}

/// What one user has shown, in one line of the cache; a free place has no values.
#[derive(Debug, Clone)]
#[repr(align(64))]
struct Shown {
    user: u128,
    values: SmallVec<[Value; 2]>,
}

const _: () = assert!(size_of::<Shown>() == 64);

/// A snapshot under way.
#[derive(Debug, Clone)]
struct Capture {
    marks: Marks,
    /// What was last seen before this matters no more.
    horizon: i64,
    /// Users that have changed, as they were.
    saved: Vec<(u128, SmallVec<[Value; 2]>)>,
}

const HOUR_MS: i64 = 3_600_000;

/// What a user is known by here.
pub(crate) fn user_of(name: &str) -> u128 {
    xxh3_128(name.as_bytes())
}

impl Seen {
    /// R5: not this value within `within_ms` before `ts`, but another one.
    pub(crate) fn is_new(&self, user: u128, value: &str, ts: i64, within_ms: i64) -> bool {
        let Some(at) = self.place(user) else { return false };
        let hash = xxh3_64(value.as_bytes());
        let since = ts.saturating_sub(within_ms);
        let mut other = false;
        for (seen, last) in &self.users[at as usize].values {
            if *last >= since {
                if *seen == hash {
                    return false;
                }
                other = true;
            }
        }
        other
    }

    /// Records an accepted event's value. Returns false when another value had to make room, or
    /// there is no room for another user: nothing is ever new of a user not remembered.
    pub(crate) fn record(
        &mut self,
        (user, value): (u128, &str),
        ts: i64,
        keep_ms: i64,
        max_users: usize,
    ) -> bool {
        let at = match self.place(user) {
            Some(at) => at,
            None if self.len() >= max_users => return false,
            None => {
                let at = self.make(user);
                self.wait(at, ts.saturating_add(keep_ms).div_euclid(HOUR_MS) + 1);
                at
            }
        };
        self.keep(at);
        let values = &mut self.users[at as usize].values;
        let hash = xxh3_64(value.as_bytes());
        if let Some((_, last)) = values.iter_mut().find(|(seen, _)| *seen == hash) {
            *last = (*last).max(ts);
            return true;
        }
        let full = values.len() >= VALUES_MAX;
        if full
            && let Some(oldest) = (0..values.len()).min_by_key(|at| (values[*at].1, values[*at].0))
        {
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
            for at in entry.remove() {
                self.keep(at);
                let shown = &mut self.users[at as usize];
                // A place is given back in the hour of the last value, whenever it was looked at.
                let latest = shown.values.iter().max_by_key(|(hash, last)| (*last, *hash)).copied();
                if let Some(latest) = latest {
                    let hour = latest.1.saturating_add(keep_ms).div_euclid(HOUR_MS) + 1;
                    if hour.saturating_mul(HOUR_MS) > now {
                        shown.values.retain(|value| value.1 >= horizon || *value == latest);
                        self.wait(at, hour);
                        continue;
                    }
                }
                self.index.remove(half(low(shown.user)), at);
                self.free.push(at);
            }
        }
    }

    /// A user as a snapshot tells it.
    pub(crate) fn restore(&mut self, user: u128, values: SmallVec<[Value; 2]>, keep_ms: i64) {
        let last = values.iter().map(|(_, last)| *last).max();
        let (Some(last), None) = (last, self.place(user)) else { return };
        let at = self.make(user);
        self.users[at as usize].values = values;
        self.wait(at, last.saturating_add(keep_ms).div_euclid(HOUR_MS) + 1);
    }

    pub(crate) fn reserve(&mut self, users: usize) {
        self.index.reserve(users);
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes on the heap, without the values of users who showed more than two.
    pub(crate) fn bytes(&self) -> usize {
        let waiting: usize = self.expiry.values().map(|users| users.capacity() * 4).sum();
        let free = self.free.capacity() * 4;
        self.index.bytes() + self.users.bytes() + waiting + free
    }

    /// Brings the line near where a user would be noted.
    pub(crate) fn near_index(&self, user: u128) {
        self.index.near(half(low(user)));
    }

    /// Brings near what a user has shown.
    pub(crate) fn near(&self, user: u128) {
        if let Some(at) = self.index.find(half(low(user)), |_| true) {
            self.users.near(at as usize);
        }
    }

    fn place(&self, user: u128) -> Option<u32> {
        self.index.find(half(low(user)), |at| self.users[at as usize].user == user)
    }

    /// A place for a user who has none.
    fn make(&mut self, user: u128) -> u32 {
        let shown = Shown { user, values: SmallVec::new() };
        if let Some(at) = self.free.last().copied() {
            self.keep(at);
        }
        let at = self.users.put(&mut self.free, shown);
        self.index.insert(half(low(user)), at);
        at
    }

    fn wait(&mut self, at: u32, hour: i64) {
        self.expiry.entry(hour).or_default().push(at);
    }

    /// Fixes what a snapshot will tell.
    pub(crate) fn begin(&mut self, horizon: i64) {
        let marks = Marks::new(self.users.len());
        self.capture = Some(Box::new(Capture { marks, horizon, saved: Vec::new() }));
    }

    pub(crate) fn abandon(&mut self) {
        self.capture = None;
    }

    /// Tells `tell` of the next user as it was, with what still matters of its values, at least the
    /// last; false when that was all.
    pub(crate) fn say(&mut self, tell: &mut dyn FnMut(u128, &[Value])) -> bool {
        let Some(capture) = &mut self.capture else { return false };
        let horizon = capture.horizon;
        let mut matters = |user, all: &[Value]| {
            let mut values: SmallVec<[Value; 2]> =
                all.iter().filter(|(_, last)| *last >= horizon).copied().collect();
            values.sort_unstable();
            if values.is_empty() {
                // Of a user who has a place still, though nothing matters, the last is told for it.
                values.extend(all.iter().max_by_key(|(hash, last)| (*last, *hash)).copied());
            }
            if !values.is_empty() {
                tell(user, &values);
            }
        };
        if let Some((user, values)) = capture.saved.pop() {
            matters(user, &values);
            return true;
        }
        if let Some(at) = capture.marks.advance() {
            let shown = &self.users[at];
            matters(shown.user, &shown.values);
            return true;
        }
        false
    }

    /// A user is about to change.
    fn keep(&mut self, at: u32) {
        if let Some(capture) = &mut self.capture
            && capture.marks.take(at as usize)
        {
            let shown = &self.users[at as usize];
            capture.saved.push((shown.user, shown.values.clone()));
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half of a hash is a hash")]
fn low(user: u128) -> u64 {
    user as u64
}

#[cfg(test)]
mod tests;
