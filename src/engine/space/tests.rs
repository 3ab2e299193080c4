//! Keys.

use super::*;

#[test]
fn the_key_of_the_system_is_that_of_its_text() {
    let (all, same) = (Key::of_all(), Key::new(""));
    assert_eq!((all.text, all.hash), (same.text, same.hash));
}

#[test]
fn keys_are_the_same_where_their_texts_are() {
    for (one, other) in [("", ""), ("a", "a"), ("a", "b"), ("", "a"), ("ab", "a")] {
        assert_eq!(is_same(one, other), one == other, "{one:?} and {other:?}");
    }
}
