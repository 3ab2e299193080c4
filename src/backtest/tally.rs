//! Points that were issued, by member, for what is at stake.

use hashbrown::HashMap;

use crate::engine::Hashes;
use crate::event::{Event, Kind};

/// Sums of issued points under the hash of the member's name: the names of millions of members
/// need not be kept to answer for the few that were fired on. Two names of one hash among ten
/// million are a matter of one chance in 400,000.
#[derive(Debug, Default)]
pub(crate) struct Issued {
    points: HashMap<u64, i64>,
}

impl Issued {
    /// What an accepted event issues, and to whom.
    pub(crate) fn of(event: &Event<'_>, hashes: &Hashes) -> Option<(u64, i64)> {
        (event.kind == Kind::Issue).then(|| (hashes.user(), event.points))
    }

    /// Takes in what was issued to the member of this hash.
    pub(crate) fn add(&mut self, user: u64, points: i64) {
        let sum = self.points.entry(user).or_default();
        *sum = sum.saturating_add(points);
    }

    pub(crate) fn sum(&self, user: &str) -> i64 {
        self.points.get(&Hashes::of_user(user)).copied().unwrap_or(0)
    }
}
