//! What goes into the metadata comes out of it, and coarsely only where it must.

use std::collections::BTreeMap;

use super::{METADATA_MAX_BYTES, Range, Resume};

fn resume(committed: i64, next: i64, pending: &[(&str, &[(i64, i64)])]) -> Resume {
    let ranges = |pairs: &[(i64, i64)]| {
        pairs.iter().map(|&(first, last)| Range { first, last }).collect::<Vec<_>>()
    };
    let pending: BTreeMap<String, Vec<Range>> =
        pending.iter().map(|(name, pairs)| ((*name).to_owned(), ranges(pairs))).collect();
    Resume { committed, next, pending, ..Resume::default() }
}

#[test]
fn what_is_encoded_is_decoded() {
    let before = resume(1_000, 1_010, &[("mail", &[(1_000, 1_005), (1_007, 1_007)])]);
    let text = before.encode(METADATA_MAX_BYTES);
    assert_eq!(text, r#"{"v":1,"next":10,"pending":{"mail":[0,5,7,7]}}"#);
    assert_eq!(Resume::decode(1_000, &text), before);
    assert_eq!(Resume::unread(7).encode(METADATA_MAX_BYTES), "");
}

#[test]
fn a_receiver_is_told_but_for_its_ranges_and_what_is_new() {
    let before = resume(10, 20, &[("mail", &[(10, 12), (15, 15)])]);
    let told = |receiver, offsets: std::ops::Range<i64>| {
        offsets.filter(|offset| before.told(receiver, *offset)).collect::<Vec<_>>()
    };
    assert_eq!(told("mail", 5..25), [13, 14, 16, 17, 18, 19]);
    assert_eq!(told("hook", 5..25), (10..20).collect::<Vec<_>>());
}

#[test]
fn metadata_of_another_hand_means_that_nothing_is_known() {
    for text in [
        "",
        "consumer-7",
        "{}",
        r#"{"v":2,"next":5,"pending":{}}"#,
        r#"{"v":1,"next":0,"pending":{}}"#,
        r#"{"v":1,"next":5,"pending":{"a":[1]}}"#,
        r#"{"v":1,"next":5,"pending":{"a":[3,1]}}"#,
        r#"{"v":1,"next":5,"pending":{"a":[-1,1]}}"#,
    ] {
        assert_eq!(Resume::decode(3, text), Resume::unread(3), "{text}");
    }
}

#[test]
fn what_does_not_fit_repeats_rather_than_loses() {
    let ranges: Vec<(i64, i64)> = (0..5_000).map(|n| (n * 10, n * 10 + n % 7)).collect();
    let before = resume(0, 60_000, &[("mail", &ranges), ("hook", &[(55_000, 55_000)])]);
    for bytes_max in [METADATA_MAX_BYTES, 400, 70] {
        let text = before.encode(bytes_max);
        assert!(!text.is_empty() && text.len() <= bytes_max, "{}: {text}", text.len());
        let after = Resume::decode(0, &text);
        for offset in 0..60_100 {
            for receiver in ["mail", "hook"] {
                assert!(before.told(receiver, offset) || !after.told(receiver, offset));
            }
        }
        // One receiver in a thousand pieces takes nothing from the others.
        assert!(after.told("hook", 0));
    }
    assert_eq!(before.encode(10), "");
}
