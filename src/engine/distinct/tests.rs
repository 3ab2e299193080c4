//! Distinct counts: exact to 1,024 values, then within four standard errors.

use xxhash_rust::xxh3::xxh3_64;

use super::*;

#[test]
fn exact_then_close() {
    let mut distinct = Distinct::default();
    for value in 0i64..50_000 {
        distinct.insert(xxh3_64(&value.to_le_bytes()), value);
        if value == 1023 {
            assert_eq!(distinct.count(-1, value), 1024);
            assert_eq!(distinct.count(99, value), 924);
        }
    }
    for after in [-1, 9_999, 39_999] {
        let exact = u64::try_from(49_999 - after).unwrap();
        assert!(distinct.count(after, 49_999).abs_diff(exact) * 100 < exact * 7);
    }
}
