//! Against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn places_are_known_until_they_are_taken(
        steps in proptest::collection::vec((0_u32..20, 30_u32..50, 0_u8..8), 0..300),
    ) {
        let mut places = Places::default();
        let mut known = BTreeMap::new();
        for (place, (id, n, what)) in (0..).zip(steps) {
            match what {
                0 => {
                    places.cut(n);
                    known.retain(|(_, other), _| *other < n);
                }
                1..=3 => prop_assert_eq!(places.take(id, n), known.remove(&(id, n))),
                _ if known.contains_key(&(id, n)) => {}
                _ => {
                    places.put(id, n, place);
                    known.insert((id, n), place);
                }
            }
            for id in 0..20 {
                for n in 30..50 {
                    prop_assert_eq!(places.get(id, n), known.get(&(id, n)).copied());
                }
            }
        }
        prop_assert_eq!(places.index.len(), known.len());
    }
}
