//! Decisions that came before, under the same id: with `engine.delivery: at_least_once` some are
//! written once more after a crash (N4). Pure.

use std::collections::VecDeque;

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_128;

use super::progress::Place;

/// Decisions kept in mind: some 20 MB. The oldest are forgotten first.
const KEPT_MAX: usize = 200_000;
/// Records of a partition that are read at a start for what came before the committed offset. What a
/// worker writes again is what it wrote within one flush.
pub(super) const BACK: i64 = 20_000;

/// Where decisions stood first.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    places: HashMap<u128, Place>,
    order: VecDeque<u128>,
}

impl Repeats {
    /// Keeps in mind where a decision stands; true when it stood before, in the same partition. The
    /// same record read again is no repeat.
    pub(super) fn has(&mut self, place: Place, decision: &str) -> bool {
        let id = xxh3_128(decision.as_bytes());
        if let Some(first) = self.places.get_mut(&id) {
            if first.partition == place.partition && first.offset < place.offset {
                return true;
            }
            *first = place;
            return false;
        }
        self.places.insert(id, place);
        self.order.push_back(id);
        if self.order.len() > KEPT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.places.remove(&oldest);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_MAX, Place, Repeats};

    fn at(partition: i32, offset: i64) -> Place {
        Place { partition, offset }
    }

    #[test]
    fn a_decision_that_stood_before_is_a_repeat_and_the_same_record_is_none() {
        let mut repeats = Repeats::default();
        assert!(!repeats.has(at(0, 5), "a"));
        assert!(!repeats.has(at(0, 5), "a"), "read again");
        assert!(repeats.has(at(0, 9), "a"));
        assert!(repeats.has(at(0, 12), "a"), "and once more");
        assert!(!repeats.has(at(0, 6), "b"));
        // Read from further back: the first is the one that counts.
        assert!(!repeats.has(at(0, 3), "a"));
        assert!(repeats.has(at(0, 5), "a"));
    }

    #[test]
    fn another_partition_knows_nothing_of_it() {
        let mut repeats = Repeats::default();
        assert!(!repeats.has(at(0, 5), "a"));
        assert!(!repeats.has(at(1, 7), "a"));
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut repeats = Repeats::default();
        for n in 0..=KEPT_MAX {
            let offset = i64::try_from(n).unwrap();
            assert!(!repeats.has(at(0, offset), &n.to_string()));
        }
        let end = i64::try_from(KEPT_MAX).unwrap() + 1;
        assert!(repeats.has(at(0, end), "1"));
        assert!(!repeats.has(at(0, end + 1), "0"));
        assert_eq!(repeats.places.len(), KEPT_MAX);
    }
}
