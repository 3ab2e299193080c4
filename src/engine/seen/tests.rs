//! `new`: another value was seen within the duration, this one was not.

use super::*;
use crate::engine::space::hash_of;

#[test]
fn exactly_the_duration_ago_counts_as_seen() {
    let mut seen = Seen::default();
    assert!(!seen.is_new(user_of("u"), hash_of("d1"), -100));
    assert!(seen.record((user_of("u"), None), (hash_of("d1"), 0), 100, 9));
    assert!(seen.is_new(user_of("u"), hash_of("d2"), 0));
    assert!(!seen.is_new(user_of("u"), hash_of("d2"), 1), "nothing else within the duration");
    assert!(seen.record((user_of("u"), None), (hash_of("d2"), 50), 100, 9));
    assert!(!seen.is_new(user_of("u"), hash_of("d1"), 0));
    assert!(seen.is_new(user_of("u"), hash_of("d1"), 1));
    assert!(!seen.is_new(user_of("other"), hash_of("d1"), 1));
}

#[test]
fn memory_is_bounded_in_values_and_in_time() {
    let mut seen = Seen::default();
    for at in 0..1024 {
        assert!(seen.record((user_of("u"), None), (hash_of(&format!("d{at}")), at), 1_000_000, 9));
    }
    assert!(!seen.record((user_of("u"), None), (hash_of("one more"), 2000), 1_000_000, 9));
    assert!(seen.is_new(user_of("u"), hash_of("d0"), -998_000), "the oldest made room");
    assert!(!seen.is_new(user_of("u"), hash_of("d1"), -998_000));
    seen.expire(2001, 1_000_000);
    seen.expire(100_000_000, 1_000_000);
    assert_eq!(seen.len(), 0);
}

/// The limit counts users by their places: a state made anew must have as many.
#[test]
fn a_user_who_has_a_place_still_is_told_of_with_its_last_value() {
    let mut seen = Seen::default();
    assert!(seen.record((user_of("u"), None), (hash_of("d1"), 7), 100, 1));
    assert!(seen.record((user_of("u"), None), (hash_of("d2"), 9), 100, 1));
    assert!(
        !seen.record((user_of("v"), None), (hash_of("d1"), 9), 100, 1),
        "there is room for one"
    );
    seen.begin(50);
    let mut told = Vec::new();
    while seen.say(&mut |user, values| told.push((user, values.to_vec()))) {}
    let [(user, values)] = told.as_slice() else { panic!("{told:?}") };
    let mut anew = Seen::default();
    anew.restore(*user, values, 100, 1);
    assert_eq!((anew.len(), values.len(), values[0].1), (1, 1, 9));
}

#[test]
fn a_wrong_guess_changes_nothing() {
    let mut seen = Seen::default();
    let (u, v) = (user_of("u"), user_of("v"));
    assert!(seen.record((u, None), (hash_of("d1"), 7), 100, 9));
    assert!(seen.record((v, None), (hash_of("d1"), 7), 100, 9));
    let guesses = [u, v].map(|user| seen.near(user));
    assert!(guesses[0].is_some() && guesses[0] != guesses[1]);
    for guess in [guesses[0], Some(99), None, guesses[1]] {
        assert!(seen.record((v, guess), (hash_of("d2"), 9), 100, 9));
    }
    assert_eq!(seen.len(), 2);
    assert!(seen.is_new(u, hash_of("d2"), -91));
    assert!(!seen.is_new(v, hash_of("d2"), -91));
}
