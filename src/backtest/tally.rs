//! Points that were issued, by member, for what is at stake.

use crate::engine::Hashes;
use crate::event::{Event, Kind};
use crate::near::near;

/// Sums of issued points under the hash of the member's name: the names of millions of members
/// need not be kept to answer for the few that were fired on. Two names of one hash among ten
/// million are a matter of one chance in 400,000.
///
/// A sum stands at the place that its hash names or at the first free one behind, so that the one
/// line that an addition reads can be asked for ahead. (Linear probing: Knuth, The Art of Computer
/// Programming 3, 6.4.)
#[derive(Debug, Default)]
pub(crate) struct Issued {
    /// As many as a power of two; [`NOBODY`] where one is free.
    sums: Vec<(u64, i64)>,
    members: usize,
}

const NOBODY: u64 = 0;
const FEWEST: usize = 1024;
/// Additions that are asked for ahead.
const AHEAD: usize = 16;

impl Issued {
    /// What an accepted event issues, and to whom.
    pub(crate) fn of(event: &Event<'_>, hashes: &Hashes) -> Option<(u64, i64)> {
        (event.kind == Kind::Issue).then(|| (hashes.user(), event.points))
    }

    /// Takes in what was issued to members, each by hash.
    pub(crate) fn add_all(&mut self, issued: &[(u64, i64)]) {
        for (at, (user, points)) in issued.iter().enumerate() {
            if let Some((later, _)) = issued.get(at + AHEAD) {
                self.sums.get(self.home(known_as(*later))).into_iter().for_each(near);
            }
            self.add(*user, *points);
        }
    }

    fn add(&mut self, user: u64, points: i64) {
        if self.members >= self.sums.len() / 4 * 3 {
            self.grow();
        }
        let user = known_as(user);
        let at = self.place(user);
        let Some((known, sum)) = self.sums.get_mut(at) else { return };
        self.members += usize::from(*known == NOBODY);
        (*known, *sum) = (user, sum.saturating_add(points));
    }

    pub(crate) fn sum(&self, user: &str) -> i64 {
        let user = known_as(Hashes::of_user(user));
        // Nothing stands where a member is not.
        self.sums.get(self.place(user)).map_or(0, |(_, sum)| *sum)
    }

    fn grow(&mut self) {
        let count = (self.sums.len() * 2).max(FEWEST);
        let old = std::mem::replace(&mut self.sums, vec![(NOBODY, 0); count]);
        for (user, sum) in old.into_iter().filter(|(user, _)| *user != NOBODY) {
            let at = self.place(user);
            self.sums[at] = (user, sum);
        }
    }

    /// Where a member stands, or would.
    fn place(&self, user: u64) -> usize {
        let mut at = self.home(user);
        while self.sums.get(at).is_some_and(|(known, _)| *known != user && *known != NOBODY) {
            at = (at + 1) & (self.sums.len() - 1);
        }
        at
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits of a hash are a hash")]
    fn home(&self, user: u64) -> usize {
        user as usize & self.sums.len().saturating_sub(1)
    }
}

/// A hash that is not nobody's.
fn known_as(user: u64) -> u64 {
    user.max(NOBODY + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn sums_are_those_of_a_plain_map() {
        let (mut issued, mut plain) = (Issued::default(), HashMap::<String, i64>::new());
        assert_eq!(issued.sum("u0"), 0);
        for piece in 0..40_i64 {
            let names = (0..500).map(|n| format!("u{}", (n * n + 77 * piece) % 6_007));
            let some: Vec<(String, i64)> = names.zip(piece * 3..).collect();
            for (name, points) in &some {
                *plain.entry(name.clone()).or_default() += points;
            }
            let hashed = some.iter().map(|(name, points)| (Hashes::of_user(name), *points));
            issued.add_all(&hashed.collect::<Vec<_>>());
        }
        for n in 0..7_000 {
            let name = format!("u{n}");
            assert_eq!(issued.sum(&name), plain.get(&name).copied().unwrap_or(0), "{name}");
        }
        assert_eq!(issued.members, plain.len());
    }

    #[test]
    fn hashes_that_meet_and_sums_that_overflow_are_kept_apart() {
        let mut issued = Issued::default();
        // The first three stand at the last place or behind it, and nobody's hash is a member's.
        issued.add_all(&[(1023, 1), (2047, 2), (3071, 4), (0, 8), (1023, 16), (5, i64::MAX)]);
        issued.add_all(&[(5, 1)]);
        let sum = |user: u64| issued.sums[issued.place(known_as(user))].1;
        assert_eq!([1023, 2047, 3071, 0, 5].map(sum), [17, 2, 4, 8, i64::MAX]);
    }
}
