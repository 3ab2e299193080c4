//! Points that were issued, by member, for what is at stake.

use hashbrown::HashTable;

use crate::engine::Hashes;
use crate::event::{Event, Kind};

/// Sums of issued points under the hash of the member's name: the names of millions of members
/// need not be kept to answer for the few that were fired on. Two names of one hash among ten
/// million are a matter of one chance in 400,000.
#[derive(Debug, Default)]
pub(crate) struct Issued {
    points: HashTable<(u64, i64)>,
}

impl Issued {
    /// What an accepted event issues, and to whom.
    pub(crate) fn of(event: &Event<'_>, hashes: &Hashes) -> Option<(u64, i64)> {
        (event.kind == Kind::Issue).then(|| (hashes.user(), event.points))
    }

    /// Takes in what was issued to the member of this hash.
    pub(crate) fn add(&mut self, user: u64, points: i64) {
        let own = |(known, _): &(u64, i64)| *known == user;
        let mut sum = self.points.entry(user, own, |(known, _)| *known).or_insert((user, 0));
        let (_, sum) = sum.get_mut();
        *sum = sum.saturating_add(points);
    }

    pub(crate) fn sum(&self, user: &str) -> i64 {
        let hash = Hashes::of_user(user);
        self.points.find(hash, |(known, _)| *known == hash).map_or(0, |(_, sum)| *sum)
    }
}
