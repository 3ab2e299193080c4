//! Rounds that come back whole, in part, late, or not at all.

use super::{Back, Canaries};

fn canaries() -> Canaries {
    Canaries::new("host-a-1".to_owned(), 30_000, 120_000)
}

#[test]
fn a_round_is_through_when_all_of_it_is() {
    let mut canaries = canaries();
    assert!(canaries.is_due(0) && !canaries.waits());
    let sent = canaries.begin(&[0, 3], true, 1_000);
    assert_eq!(sent, [(0, "host-a-1-1-0".to_owned()), (3, "host-a-1-1-3".to_owned())]);
    assert!(canaries.waits() && !canaries.is_due(30_999) && canaries.is_due(31_000));
    assert_eq!(canaries.hear("host-b-1-1-0", 1_100), None);
    assert_eq!(
        canaries.hear(&sent[1].1, 1_100),
        Some(Back { took_ms: 100, is_whole: false, is_of_all: true })
    );
    assert_eq!(canaries.hear(&sent[1].1, 1_200), None, "it comes through once");
    assert_eq!(
        canaries.hear(&sent[0].1, 1_300),
        Some(Back { took_ms: 300, is_whole: true, is_of_all: true })
    );
    assert!(!canaries.waits());
}

#[test]
fn one_partition_that_is_stuck_keeps_every_round_from_being_through() {
    let mut canaries = canaries();
    for round in 0..6 {
        let now_ms = round * 30_000;
        let sent = canaries.begin(&[0, 1], true, now_ms);
        assert_eq!(canaries.hear(&sent[0].1, now_ms + 50).map(|back| back.is_whole), Some(false));
        let lost = canaries.give_up(now_ms + 60);
        assert_eq!(lost, if round < 4 { vec![] } else { vec![1] }, "round {round}");
    }
    // What was given up is none any more; the youngest one is enough.
    assert_eq!(canaries.hear("host-a-1-1-1", 151_000), None);
    let back = canaries.hear("host-a-1-6-1", 151_000);
    assert_eq!(back, Some(Back { took_ms: 1_000, is_whole: true, is_of_all: true }));
    assert!(canaries.waits(), "those before it are still out");
}

#[test]
fn where_there_is_nothing_to_ask_the_next_round_is_an_interval_later() {
    let mut canaries = canaries();
    canaries.skip(5_000);
    assert!(!canaries.waits() && !canaries.is_due(34_999) && canaries.is_due(35_000));
}

#[test]
fn what_went_to_a_partition_that_is_restored_now_is_not_lost() {
    let mut canaries = canaries();
    let sent = canaries.begin(&[0, 1], true, 0);
    canaries.keep(&[0]);
    let back = canaries.hear(&sent[0].1, 100);
    let whole = Back { took_ms: 100, is_whole: true, is_of_all: false };
    assert_eq!(back, Some(whole), "nobody waits for the other any more");
    let sent = canaries.begin(&[0], false, 30_000);
    assert_eq!(canaries.hear(&sent[0].1, 30_100).map(|back| back.is_of_all), Some(false));
    canaries.begin(&[0, 1], true, 60_000);
    canaries.keep(&[]);
    assert!(!canaries.waits());
    assert!(canaries.give_up(1_000_000).is_empty());
}
