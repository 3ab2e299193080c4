//! Points that were issued, by member, for what is at stake.

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use crate::event::{Event, Kind};

/// Sums of issued points under the hash of the member's name: the names of millions of members
/// need not be kept to answer for the few that were fired on. Two names of one hash among ten
/// million are a matter of one chance in 400,000.
#[derive(Debug, Default)]
pub(crate) struct Issued {
    points: HashMap<u64, i64>,
}

impl Issued {
    /// Takes in an accepted event.
    pub(crate) fn note(&mut self, event: &Event<'_>) {
        if event.kind == Kind::Issue {
            self.add(hash_of_user(&event.user), event.points);
        }
    }

    /// The same, for the member of this hash.
    pub(crate) fn add(&mut self, user: u64, points: i64) {
        let sum = self.points.entry(user).or_default();
        *sum = sum.saturating_add(points);
    }

    pub(crate) fn of(&self, user: &str) -> i64 {
        self.points.get(&hash_of_user(user)).copied().unwrap_or(0)
    }
}

pub(crate) fn hash_of_user(user: &str) -> u64 {
    xxh3_64(user.as_bytes())
}
