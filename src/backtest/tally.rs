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
            let points = self.points.entry(xxh3_64(event.user.as_bytes())).or_default();
            *points = points.saturating_add(event.points);
        }
    }

    pub(crate) fn of(&self, user: &str) -> i64 {
        self.points.get(&xxh3_64(user.as_bytes())).copied().unwrap_or(0)
    }
}
