//! Ids are remembered until the watermark is beyond their expiry, and not longer.

use super::*;

#[test]
fn ids_leave_once_the_watermark_is_beyond_their_expiry() {
    let mut dedup = Dedup::default();
    let (a, b) = (identity("u", "a"), identity("u", "b"));
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
    assert_ne!(identity("a", "bc"), identity("ab", "c"));
}
