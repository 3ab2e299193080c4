//! Against a plain map, with hashes so few that buckets run over.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn ids_are_found_until_they_are_removed(
        steps in proptest::collection::vec((0_u32..60, 0_u32..12, any::<bool>()), 0..400),
    ) {
        let mut index = Index::default();
        let mut known: BTreeMap<u32, u32> = BTreeMap::new();
        for (id, hash, adds) in steps {
            match known.get(&id).copied() {
                None if adds => {
                    index.insert(hash, id);
                    known.insert(id, hash);
                }
                Some(hash) if !adds => {
                    index.remove(hash, id);
                    known.remove(&id);
                }
                _ => index.remove(hash + 100, id),
            }
            prop_assert_eq!(index.len(), known.len());
            for id in 0..60 {
                for hash in 0..12 {
                    let found = index.find(hash, |other| other == id);
                    prop_assert_eq!(found, (known.get(&id) == Some(&hash)).then_some(id));
                }
            }
        }
        for (id, hash) in known {
            index.remove(hash, id);
        }
        prop_assert!(index.buckets.iter().all(|bucket| bucket.passed == 0));
    }

    #[test]
    fn room_made_ahead_changes_nothing(ids in 1_u32..500, more in 0_usize..2000) {
        let mut index = Index::default();
        for id in 0..ids {
            index.insert(id.wrapping_mul(0x9e37_79b9), id);
        }
        index.reserve(more);
        let room = index.bytes();
        for id in 0..ids {
            let found = index.find(id.wrapping_mul(0x9e37_79b9), |other| other == id);
            prop_assert_eq!(found, Some(id));
        }
        for id in ids..ids + u32::try_from(more).unwrap() {
            index.insert(id.wrapping_mul(0x9e37_79b9), id);
        }
        prop_assert_eq!(index.bytes(), room);
    }

    #[test]
    fn nothing_is_left_of_a_round_and_a_flood_gives_its_room_back(rounds in proptest::collection::vec(0_u32..3000, 1..6)) {
        let mut index = Index::default();
        for ids in rounds {
            for id in 0..ids {
                prop_assert_eq!(index.find(id.wrapping_mul(0x9e37_79b9), |_| true), None);
                index.insert(id.wrapping_mul(0x9e37_79b9), id);
            }
            index.clear();
            prop_assert_eq!(index.len(), 0);
        }
        index.clear();
        prop_assert!(index.bytes() <= 4 * BUCKETS_MIN * size_of::<Bucket>());
    }

    #[test]
    fn a_great_one_finds_what_a_small_one_finds(
        steps in proptest::collection::vec((0_u32..2000, any::<bool>()), 0..3000),
    ) {
        let (mut great, mut small) = (GreatIndex::default(), Index::default());
        let hash = |id: u32| (id / 2).wrapping_mul(0x85eb_ca6b);
        for (id, adds) in steps {
            if !adds {
                great.remove(hash(id), id);
                small.remove(hash(id), id);
            } else if small.find(hash(id), |other| other == id).is_none() {
                great.insert(hash(id), id);
                small.insert(hash(id), id);
            }
            prop_assert_eq!(great.len(), small.len());
        }
        great.reserve(10_000);
        for id in 0..2000 {
            let is = |other| other == id;
            prop_assert_eq!(great.find(hash(id), is), small.find(hash(id), is));
        }
    }
}

#[test]
fn no_part_of_a_great_one_has_many_more_than_its_share() {
    let mut great = GreatIndex::default();
    for id in 0..256_000 {
        // As a partition has them: the lowest bits in common.
        great.insert(id * 64 + 5, id);
    }
    let most = great.parts.iter().map(Index::len).max();
    assert!(most < Some(1_300), "{most:?}");
}
