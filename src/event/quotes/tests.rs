//! Quotes against looking at each byte.

use proptest::prelude::*;

use super::{Quotes, WORDS};

fn is_plain(bytes: &[u8]) -> bool {
    let sizes = 16..=64 * WORDS;
    let plain = |byte: &u8| *byte >= b' ' && *byte != b'\\';
    (bytes.is_empty() || sizes.contains(&bytes.len())) && bytes.iter().all(plain)
}

fn found(bytes: &[u8]) -> Option<Vec<u32>> {
    let quotes = Quotes::of(bytes)?;
    let mut places = Vec::new();
    while let Some(at) = quotes.next(places.last().map_or(0, |last| last + 1)) {
        places.push(at);
    }
    Some(places)
}

fn naive(bytes: &[u8]) -> Option<Vec<u32>> {
    let places = (0..).zip(bytes).filter(|(_, byte)| **byte == b'"').map(|(at, _)| at);
    is_plain(bytes).then(|| places.collect())
}

proptest! {
    #[test]
    fn quotes_are_found_where_they_are(
        plain in proptest::collection::vec(prop_oneof![Just(b'"'), b' '..=0x7f], 0..530),
        odd in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut bytes: Vec<u8> = plain.into_iter().map(|b| if b == b'\\' { b'/' } else { b }).collect();
        if let (Some((at, byte)), false) = (odd, bytes.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert_eq!(found(&bytes), naive(&bytes));
    }
}

/// Every byte, in every place of a word.
#[test]
fn each_byte_is_plain_or_not() {
    for byte in 0..=u8::MAX {
        for at in 0..64 {
            let mut chunk = [b'a'; 64];
            chunk[at] = byte;
            assert_eq!(found(&chunk), naive(&chunk), "{byte} at {at}");
        }
    }
}
