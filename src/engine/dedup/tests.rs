//! Ids are remembered until the watermark is beyond their expiry, and not longer.

use proptest::prelude::*;

use super::*;
use crate::engine::seen::user_of;

#[test]
fn ids_leave_once_the_watermark_is_beyond_their_expiry() {
    let mut dedup = Dedup::default();
    let (a, b) = (identity(user_of("u"), "a"), identity(user_of("u"), "b"));
    assert!(dedup.insert(a, 10));
    assert!(dedup.insert(b, 12));
    dedup.expire(10);
    assert!(!dedup.insert(a, 20) && !dedup.insert(b, 20));
    dedup.expire(11);
    assert!(dedup.insert(a, 20) && !dedup.insert(b, 20));
    dedup.expire(21);
    assert_eq!(dedup.len(), 0);
    assert!(dedup.insert(b, 30));
}

#[test]
fn user_and_id_do_not_run_together() {
    assert_ne!(identity(user_of("a"), "bc"), identity(user_of("ab"), "c"));
}

#[test]
fn full_buckets_forget_and_repeat_nothing() {
    let mut dedup = Dedup::default();
    let id = |n: u32| identity(user_of("u"), &n.to_string());
    // Half of the ids share one bucket of a part; places come round past 2^32.
    dedup.gone = u64::from(u32::MAX - 5000);
    let crowded = |n: u32| if n.is_multiple_of(2) { id(n) << 64 >> 64 } else { id(n) };
    for n in 0..20_000 {
        let now = i64::from(n);
        dedup.expire(now);
        assert!(dedup.insert(crowded(n), now + 3000), "{n} is new");
        for back in [1, 2, 1500, 2999, 3000] {
            if let Some(known) = n.checked_sub(back) {
                assert!(!dedup.insert(crowded(known), now + 3000), "{known} is known");
            }
        }
    }
    assert_eq!(dedup.len(), 3001);
    dedup.expire(100_000);
    assert_eq!(dedup.len(), 0);
    assert!(dedup.overflow.tables.iter().all(HashTable::is_empty));
    assert!(dedup.overflow.leaving.is_empty());
    let room = dedup.parts[0].buckets.len() * LOAD_MAX;
    assert!((1_500..2_200).contains(&room), "room for {room} ids where 1,506 are at a time");
}

/// What the ids of a snapshot say, in order.
fn said(dedup: &mut Dedup) -> Vec<(i64, u128)> {
    let mut said = Vec::new();
    while dedup.say(&mut |expiry, ids| said.extend(ids.iter().map(|id| (expiry, *id)))) {}
    said
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against a plain list, with so few different ids that many repeat, and runs of many and of one;
    /// a snapshot says what was there when it began.
    #[test]
    fn ids_are_known_as_long_as_a_plain_list_knows_them(
        start in any::<u32>(),
        steps in prop::collection::vec((0..5_000_u64, 0..2_000_i64, 0..200_usize), 1..60),
    ) {
        let mut dedup = Dedup { gone: start.into(), ..Dedup::default() };
        let mut known: Vec<(i64, u128)> = Vec::new();
        let (mut now, mut captured) = (0_i64, None);
        for (n, (first, later, count)) in steps.into_iter().enumerate() {
            now += later;
            dedup.expire(now);
            known.retain(|(expiry, _)| *expiry >= now);
            if n % 7 == 3 {
                dedup.begin();
                captured = Some(known.clone());
            }
            for n in first..first + count as u64 {
                // A few parts and buckets, so that they grow and run over.
                let hash = u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 66 | u128::from(n);
                let id = if n.is_multiple_of(3) { u128::from(n) } else { hash };
                let is_new = known.iter().all(|(_, other)| *other != id);
                prop_assert_eq!(dedup.insert(id, now + 3_000), is_new);
                if is_new {
                    known.push((now + 3_000, id));
                }
            }
            prop_assert_eq!(dedup.len(), known.len());
            if n % 7 == 5 && let Some(captured) = captured.take() {
                prop_assert_eq!(said(&mut dedup), captured);
            }
        }
    }
}

#[test]
fn a_run_of_any_length_and_any_distance_is_one_in_order() {
    let mut dedup = Dedup::default();
    let years = 50 * 365 * 86_400_000_i64;
    for n in 0..200_000_u32 {
        // 70,000 expire together, then years go by; then one each second.
        let expiry = if n < 70_000 { 5 } else { years + i64::from(n) * 1_000 };
        assert!(dedup.insert(identity(user_of("u"), &n.to_string()), expiry));
    }
    dedup.expire(5);
    assert_eq!(dedup.len(), 200_000);
    dedup.expire(6);
    assert_eq!(dedup.len(), 130_000);
    dedup.expire(years + 100_000_000);
    assert_eq!(dedup.len(), 100_000);
}
