//! Restores that go on, stall, and begin again.

use super::Restores;

fn at(place: &str, at: i64) -> [(String, i64); 1] {
    [(place.to_owned(), at)]
}

#[test]
fn a_restore_is_in_order_as_long_as_it_comes_on() {
    let mut restores = Restores::default();
    assert!(!restores.look([], 0, 300_000), "there is none");
    for minute in 0..120 {
        assert!(restores.look(at("events[0]", minute * 1_000), minute * 60_000, 300_000));
    }
    let last_ms = 119 * 60_000;
    assert!(restores.look(at("events[0]", 119_000), last_ms + 299_999, 300_000));
    assert!(
        !restores.look(at("events[0]", 119_000), last_ms + 300_000, 300_000),
        "it stands still"
    );
    assert!(restores.look(at("events[0]", 119_001), last_ms + 300_001, 300_000));
    assert!(!restores.look([], last_ms + 300_002, 300_000), "it is done");
}

#[test]
fn one_that_begins_again_and_again_does_not_come_on() {
    let mut restores = Restores::default();
    let mut in_order = 0;
    for round in 0..20 {
        for step in 0..6 {
            let now_ms = (round * 6 + step) * 10_000;
            in_order += i64::from(restores.look(at("events[0]", step * 1_000), now_ms, 300_000));
        }
    }
    // To the end of the first round, and the patience behind it.
    assert_eq!(in_order, 6 + 29);
    restores.over();
    assert!(restores.look(at("events[0]", 0), 2_000_000, 300_000), "detection worked meanwhile");
}

#[test]
fn one_of_several_that_comes_on_is_enough() {
    let mut restores = Restores::default();
    let both = |a, b| [("events[0]".to_owned(), a), ("events[1]".to_owned(), b)];
    assert!(restores.look(both(5, 5), 0, 300_000));
    assert!(restores.look(both(5, 6), 299_000, 300_000));
    assert!(restores.look(both(5, 6), 598_000, 300_000));
    assert!(!restores.look(both(5, 6), 599_000, 300_000));
}
