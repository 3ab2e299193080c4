//! Against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::engine::rolling::Entry;
use crate::engine::small::{Little, Sizes};

use super::*;

/// A small counter for even numbers, a place for odd ones.
fn held(n: u32) -> Held {
    let entry = Entry { ts: n.into(), value: 1 };
    let small = Sizes::default().pack(Little::Rolling(entry)).map(Held::Small);
    small.filter(|_| n.is_multiple_of(2)).unwrap_or(Held::Whole(n))
}

proptest! {
    #[test]
    fn counters_are_known_until_they_are_taken(
        steps in proptest::collection::vec((0_u32..20, 30_u32..50, 0_u8..9), 0..300),
    ) {
        let mut places = Places::default();
        let mut known = BTreeMap::new();
        for (number, (id, n, what)) in (0..).zip(steps) {
            match what {
                0 => {
                    places.cut(n);
                    known.retain(|(_, other), _| *other < n);
                }
                1..=3 => {
                    prop_assert_eq!(places.take(id, n).is_some(), known.remove(&(id, n)).is_some());
                }
                _ => {
                    places.set(id, n, held(number));
                    known.insert((id, n), number);
                }
            }
            for id in 0..20 {
                for n in 30..50 {
                    let own = known.get(&(id, n)).map(|number| held(*number));
                    prop_assert_eq!(format!("{:?}", places.held(id, n)), format!("{own:?}"));
                    prop_assert_eq!(places.at(id, n) == At::Nowhere, own.is_none());
                }
            }
            for n in 30..50 {
                let mut keys: Vec<u32> = places.keys(n).collect();
                keys.sort_unstable();
                let own = known.keys().filter(|(_, other)| *other == n).map(|(id, _)| *id);
                prop_assert!(keys.into_iter().eq(own));
            }
        }
        prop_assert_eq!(places.index.len(), known.len());
        prop_assert_eq!(
            places.smalls.len(),
            known.values().filter(|number| number.is_multiple_of(2)).count()
        );
    }
}
