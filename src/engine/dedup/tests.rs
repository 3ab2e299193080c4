//! Ids are remembered until the watermark is beyond their expiry, and not longer.

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
    // Half of the ids share one bucket; places come round past 2^32.
    dedup.gone = u32::MAX - 5000;
    let crowded =
        |n: u32| if n.is_multiple_of(2) { id(n) & !(u128::from(u32::MAX) << 64) } else { id(n) };
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
    assert!(dedup.len() == 0 && dedup.overflow.is_empty());
}
