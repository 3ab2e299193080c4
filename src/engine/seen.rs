//! Which values of a field users have shown, and when: the memory of `new` (R5), as far as it does not
//! stand [with their keys](crate::engine::shown).

use std::collections::BTreeMap;

use hashbrown::HashMap;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128;

use crate::engine::index::{GreatIndex, half};
use crate::engine::slab::{Pool, Slab};
use crate::engine::snapshot::Marks;

/// Values remembered for one user and field; the one seen longest ago makes room.
pub(crate) const VALUES_MAX: usize = 1024;

/// Hash of a value, and the latest event time that it came with.
pub(crate) type Value = (u64, i64);

/// The values of one field, per user.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    index: GreatIndex,
    users: Slab<Shown>,
    free: Vec<u32>,
    /// What those have shown beside one value who showed several, by place.
    more: HashMap<u32, Vec<Value>>,
    /// Places of users by the hour in which they may be forgotten.
    expiry: BTreeMap<i64, Vec<u32>>,
    capture: Option<Box<Capture>>,
    /// The values of those who have a key and showed several.
    pub(crate) lists: Pool<Vec<Value>>,
    /// How many have what they showed with their keys.
    pub(crate) in_rows: usize,
}

/// What one user has shown: most show one value, and two of them stand in a line of the cache.
#[derive(Debug, Clone, Copy)]
struct Shown {
    /// 126 bits of a hash, and two marks.
    user: u128,
    value: Value,
}

const _: () = assert!(size_of::<Shown>() == 32);

/// The user has shown more values than one.
const MORE: u128 = 1 << 127;
/// Nobody's place.
const FREE: u128 = 1 << 126;

impl Shown {
    fn is(&self, user: u128) -> bool {
        self.user & !MORE == user
    }

    fn user(&self) -> u128 {
        self.user & !(MORE | FREE)
    }
}

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

/// What a user is known by here, without the bits that marks take.
fn bare(user: u128) -> u128 {
    user & !(MORE | FREE)
}

/// R5: among these not this value since then, but another one.
pub(crate) fn is_new(values: impl Iterator<Item = Value>, value: u64, since: i64) -> bool {
    let mut other = false;
    for (seen, last) in values {
        if last >= since {
            if seen == value {
                return false;
            }
            other = true;
        }
    }
    other
}

/// What a user is known by.
pub(crate) fn user_of(name: &str) -> u128 {
    xxh3_128(name.as_bytes())
}

impl Seen {
    /// R5: not this value since then, but another one.
    pub(crate) fn is_new(&self, user: u128, value: u64, since: i64) -> bool {
        self.place(user).is_some_and(|at| is_new(self.values(at), value, since))
    }

    /// Whether something is remembered here of a user, who stands most likely where `guess` says.
    pub(crate) fn knows(&self, user: (u128, Option<u32>)) -> bool {
        self.index.len() > 0 && self.at(user).is_some()
    }

    fn at(&self, (user, guess): (u128, Option<u32>)) -> Option<u32> {
        let is_it =
            |at: &u32| self.users.get(*at as usize).is_some_and(|shown| shown.is(bare(user)));
        guess.filter(is_it).or_else(|| self.place(user))
    }

    /// Records an accepted event's value and time. The user stands most likely where `guess` says. Returns false when another value had to make room, or
    /// there is no room for another user: nothing is ever new of a user not remembered.
    pub(crate) fn record(
        &mut self,
        (user, guess): (u128, Option<u32>),
        (hash, ts): Value,
        keep_ms: i64,
        max_users: usize,
    ) -> bool {
        let Some(at) = self.at((user, guess)) else {
            if self.index.len() >= max_users {
                return false;
            }
            let at = self.make(user, (hash, ts));
            self.wait(at, ts.saturating_add(keep_ms).div_euclid(HOUR_MS) + 1);
            return true;
        };
        self.keep(at);
        let shown = &mut self.users[at as usize];
        let has_more = shown.user & MORE != 0;
        let first = &mut shown.value;
        if first.0 == hash {
            first.1 = first.1.max(ts);
            return true;
        }
        if !has_more {
            shown.user |= MORE;
            self.more.insert(at, vec![(hash, ts)]);
            return true;
        }
        let Some(rest) = self.more.get_mut(&at) else { return true };
        if let Some((_, last)) = rest.iter_mut().find(|(seen, _)| *seen == hash) {
            *last = (*last).max(ts);
            return true;
        }
        if rest.len() + 1 < VALUES_MAX {
            rest.push((hash, ts));
            return true;
        }
        let all = std::iter::once(first).chain(rest.iter_mut());
        if let Some(oldest) = all.min_by_key(|(hash, last)| (*last, *hash)) {
            *oldest = (hash, ts);
        }
        false
    }

    /// The values of the user at a place.
    fn values(&self, at: u32) -> impl Iterator<Item = Value> {
        let shown = self.users[at as usize];
        let more = if shown.user & MORE != 0 { self.more.get(&at) } else { None };
        std::iter::once(shown.value).chain(more.into_iter().flatten().copied())
    }

    /// Whether it is time to forget something (watermark − lateness).
    #[inline]
    pub(crate) fn is_over(&self, now: i64) -> bool {
        let first = self.expiry.first_key_value();
        first.is_some_and(|(hour, _)| hour.saturating_mul(HOUR_MS) <= now)
    }

    /// Forgets values last seen before `horizon` (watermark − lateness − within).
    pub(crate) fn expire(&mut self, horizon: i64, keep_ms: i64) {
        let now = horizon.saturating_add(keep_ms);
        while self.is_over(now)
            && let Some(entry) = self.expiry.first_entry()
        {
            for at in entry.remove() {
                self.keep(at);
                // A place is given back in the hour of the last value, whenever it was looked at.
                let latest = self.values(at).max_by_key(|(hash, last)| (*last, *hash));
                if let Some(latest) = latest {
                    let hour = latest.1.saturating_add(keep_ms).div_euclid(HOUR_MS) + 1;
                    if hour.saturating_mul(HOUR_MS) > now {
                        self.retain(at, latest, horizon);
                        self.wait(at, hour);
                        continue;
                    }
                }
                let shown = &mut self.users[at as usize];
                self.index.remove(half(low(shown.user)), at);
                if shown.user & MORE != 0 {
                    self.more.remove(&at);
                }
                shown.user = FREE;
                self.free.push(at);
            }
        }
    }

    /// Lets go of the values of a user that were last seen before `horizon`, but for the latest.
    fn retain(&mut self, at: u32, latest: Value, horizon: i64) {
        let shown = &mut self.users[at as usize];
        if shown.user & MORE == 0 {
            return;
        }
        let Some(rest) = self.more.get_mut(&at) else { return };
        rest.retain(|value| value.1 >= horizon || *value == latest);
        if shown.value.1 < horizon
            && shown.value != latest
            && let Some(value) = rest.pop()
        {
            shown.value = value;
        }
        if rest.is_empty() {
            shown.user &= !MORE;
            self.more.remove(&at);
        }
    }

    /// A user with all that it has shown, as a snapshot or its key told it; false where there is no
    /// room.
    pub(crate) fn restore(
        &mut self,
        user: u128,
        values: &[Value],
        keep_ms: i64,
        max_users: usize,
    ) -> bool {
        if self.index.len() >= max_users {
            return false;
        }
        let last = values.iter().map(|(_, last)| *last).max();
        let (Some(last), Some((first, rest)), None) =
            (last, values.split_first(), self.place(user))
        else {
            return true;
        };
        let at = self.make(user, *first);
        if !rest.is_empty() {
            self.users[at as usize].user |= MORE;
            self.more.insert(at, rest.to_vec());
        }
        self.wait(at, last.saturating_add(keep_ms).div_euclid(HOUR_MS) + 1);
        true
    }

    pub(crate) fn reserve(&mut self, users: usize) {
        self.index.reserve(users);
    }

    /// Users of whom something is remembered.
    pub(crate) fn len(&self) -> usize {
        self.index.len() + self.in_rows
    }

    /// Those of them who stand here.
    pub(crate) fn apart(&self) -> usize {
        self.index.len()
    }

    /// Bytes on the heap, without the further values of users who showed several.
    pub(crate) fn bytes(&self) -> usize {
        let waiting: usize = self.expiry.values().map(|users| users.capacity() * 4).sum();
        let free = self.free.capacity() * 4 + self.more.allocation_size();
        self.index.bytes() + self.users.bytes() + self.lists.bytes() + waiting + free
    }

    /// Brings the line near where a user would be noted.
    pub(crate) fn near_index(&self, user: u128) {
        self.index.near(half(low(user)));
    }

    /// Brings near what a user has shown; most likely that stands there.
    pub(crate) fn near(&self, user: u128) -> Option<u32> {
        let at = self.index.find(half(low(user)), |_| true)?;
        self.users.near(at as usize);
        Some(at)
    }

    fn place(&self, user: u128) -> Option<u32> {
        let user = bare(user);
        self.index.find(half(low(user)), |at| self.users[at as usize].is(user))
    }

    /// A place for a user who has none, with a first value.
    fn make(&mut self, user: u128, value: Value) -> u32 {
        let shown = Shown { user: bare(user), value };
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
        let Some(at) = capture.marks.advance() else { return false };
        let shown = self.users[at];
        if shown.user & FREE == 0 {
            let values: SmallVec<[Value; 2]> = self.values(number(at)).collect();
            matters(shown.user(), &values);
        }
        true
    }

    /// A user is about to change.
    fn keep(&mut self, at: u32) {
        if let Some(capture) = &mut self.capture
            && capture.marks.take(at as usize)
        {
            let shown = self.users[at as usize];
            if shown.user & FREE == 0 {
                let values = self.values(at).collect();
                if let Some(capture) = &mut self.capture {
                    capture.saved.push((shown.user(), values));
                }
            }
        }
    }
}

/// A place in 32 bits.
fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half of a hash is a hash")]
fn low(user: u128) -> u64 {
    user as u64
}

#[cfg(test)]
mod tests;
