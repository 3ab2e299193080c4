//! The entries of a window of few events, within the counter itself.

use crate::engine::rolling::Entry;

/// Entries that it has room for.
const ROOM: usize = 3;

/// Up to three entries in order of event time, each of whose values takes 32 bits, within 24 days
/// of each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tight {
    /// The event time that the others are told from.
    base: i64,
    since: [i32; ROOM],
    values: [i32; ROOM],
    len: Len,
}

/// A number of entries; as an enum it leaves room for the marks of what holds it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Len {
    #[default]
    None,
    One,
    Two,
    Three,
}

impl Len {
    const ALL: [Len; ROOM + 1] = [Len::None, Len::One, Len::Two, Len::Three];
}

impl Tight {
    /// `None` where there is no room for them.
    pub(crate) fn of(entries: &[Entry]) -> Option<Tight> {
        let mut tight = Tight::default();
        entries.iter().all(|entry| tight.insert(*entry)).then_some(tight)
    }

    /// What it holds, and how many of them these are.
    #[inline]
    pub(crate) fn entries(&self) -> ([Entry; ROOM], usize) {
        let entry = |at: usize| Entry {
            ts: self.base.wrapping_add(self.since[at].into()),
            value: self.values[at].into(),
        };
        ([entry(0), entry(1), entry(2)], self.len as usize)
    }

    /// Adds an entry behind all that are not later; false, and nothing is done, where there is no
    /// room for it.
    #[inline]
    pub(crate) fn insert(&mut self, entry: Entry) -> bool {
        let len = self.len as usize;
        let base = if len == 0 { entry.ts } else { self.base };
        let since = entry.ts.checked_sub(base).and_then(|since| i32::try_from(since).ok());
        let (Some(since), Ok(value), Some(more)) =
            (since, i32::try_from(entry.value), Len::ALL.get(len + 1))
        else {
            return false;
        };
        (self.base, self.len) = (base, *more);
        let mut at = len;
        while at > 0 && self.since[at - 1] > since {
            (self.since[at], self.values[at]) = (self.since[at - 1], self.values[at - 1]);
            at -= 1;
        }
        (self.since[at], self.values[at]) = (since, value);
        true
    }

    /// Adds an entry that is not earlier than the others, and lets go of those that are not later
    /// than `since`; false, and nothing is done, where the sum would be more than `most`, or there is
    /// no room.
    #[inline]
    pub(crate) fn slide(&mut self, entry: Entry, since: i64, most: i64) -> bool {
        let len = self.len as usize;
        let time = |at: usize| self.base.wrapping_add(self.since[at].into());
        let gone = (0..len).take_while(|at| time(*at) <= since).count();
        let left = len - gone;
        let sum = self.values[gone..len]
            .iter()
            .try_fold(entry.value, |sum, value| sum.checked_add(i64::from(*value)));
        let is_last = len == 0 || time(len - 1) <= entry.ts;
        if left == ROOM || !is_last || sum.is_none_or(|sum| sum > most) {
            return false;
        }
        let base = if left == 0 { entry.ts } else { self.base };
        let after = entry.ts.checked_sub(base).and_then(|after| i32::try_from(after).ok());
        let (Some(after), Ok(value)) = (after, i32::try_from(entry.value)) else { return false };
        self.since.copy_within(gone..len, 0);
        self.values.copy_within(gone..len, 0);
        (self.since[left], self.values[left]) = (after, value);
        (self.base, self.len) = (base, Len::ALL[left + 1]);
        true
    }

    /// Lets go of the first so many.
    #[inline]
    pub(crate) fn drop_first(&mut self, gone: usize) {
        let left = (self.len as usize).saturating_sub(gone);
        self.since.rotate_left(gone.min(ROOM));
        self.values.rotate_left(gone.min(ROOM));
        self.len = Len::ALL[left];
    }
}

#[cfg(test)]
mod tests;
