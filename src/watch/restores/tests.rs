//! Restores that go on, stall, and begin again.

use super::Restores;

fn at(place: &str, at: i64) -> [(String, i64); 1] {
    [(place.to_owned(), at)]
}

#[test]
fn it_is_told_for_how_long_a_restore_has_come_no_further() {
    let mut restores = Restores::default();
    assert_eq!(restores.look([], 0), None, "there is none");
    for minute in 0..120 {
        assert_eq!(restores.look(at("events[0]", minute * 1_000), minute * 60_000), Some(0));
    }
    let last_ms = 119 * 60_000;
    assert_eq!(restores.look(at("events[0]", 119_000), last_ms + 299_999), Some(299_999));
    assert_eq!(restores.look(at("events[0]", 119_000), last_ms + 600_000), Some(600_000));
    assert_eq!(restores.look(at("events[0]", 119_001), last_ms + 600_001), Some(0));
    assert_eq!(restores.look([], last_ms + 600_002), None, "it is done");
}

#[test]
fn one_that_begins_again_and_again_does_not_come_on() {
    let mut restores = Restores::default();
    let mut came_on = 0;
    for round in 0..20 {
        for step in 0..6 {
            let now_ms = (round * 6 + step) * 10_000;
            let stood_ms = restores.look(at("events[0]", step * 1_000), now_ms);
            came_on += i64::from(stood_ms == Some(0));
        }
    }
    assert_eq!(came_on, 6, "in the first round only");
    assert_eq!(restores.look(at("events[0]", 0), 1_200_000), Some(1_150_000));
    restores.over();
    assert_eq!(restores.look(at("events[0]", 0), 2_000_000), Some(0), "it worked meanwhile");
}

#[test]
fn one_of_several_that_comes_on_is_enough() {
    let mut restores = Restores::default();
    let both = |a, b| [("events[0]".to_owned(), a), ("events[1]".to_owned(), b)];
    assert_eq!(restores.look(both(5, 5), 0), Some(0));
    assert_eq!(restores.look(both(5, 6), 299_000), Some(0));
    assert_eq!(restores.look(both(5, 6), 598_000), Some(299_000));
}
