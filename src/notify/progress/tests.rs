//! Progress against a list of all that was offered and settled.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Place, Progress};
use crate::notify::notice::Shares;
use crate::notify::resume::{METADATA_MAX_BYTES, Resume};

const RECEIVERS: [&str; 3] = ["chat", "hook", "mail"];

fn shares(waiting: &[&str], told: &[&str]) -> Shares {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Shares { waiting: owned(waiting), told: owned(told) }
}

fn resume(progress: &Progress, partition: i32) -> Resume {
    progress.resumes().find(|(number, _)| *number == partition).unwrap().1
}

fn offer(progress: &mut Progress, offset: i64, shares: Shares) -> u64 {
    let ticket = progress.ticket();
    progress.offer(Place { partition: 0, offset }, ticket, shares);
    ticket
}

#[test]
fn only_what_all_are_done_with_is_committed() {
    let mut progress = Progress::default();
    progress.begin([(0, Resume::unread(100))]);
    assert_eq!(resume(&progress, 0), Resume::unread(100));
    let first = offer(&mut progress, 100, shares(&["hook", "mail"], &[]));
    let second = offer(&mut progress, 103, shares(&["hook"], &[]));
    offer(&mut progress, 104, Shares::default());
    progress.settle(second, "hook");
    progress.settle(second, "hook");
    progress.settle(first, "chat");
    progress.settle(first, "hook");
    assert_eq!(progress.open(), 1);
    let before = resume(&progress, 0);
    assert_eq!((before.committed, before.next), (100, 105));
    assert_eq!(before.encode(METADATA_MAX_BYTES), r#"{"v":1,"next":5,"pending":{"mail":[0,0]}}"#);
    progress.settle(first, "mail");
    assert_eq!(resume(&progress, 0), Resume::unread(105));
    assert_eq!(progress.open(), 0);
}

#[test]
fn what_is_only_told_again_does_not_hold_the_commit_back_for_ever() {
    let mut progress = Progress::default();
    progress.begin([(0, Resume::unread(0))]);
    let mut tickets = Vec::new();
    for offset in 0..10 {
        tickets.push(offer(&mut progress, offset, shares(&["^61 mail"], &["mail"])));
    }
    let held = offer(&mut progress, 10, shares(&["~chat", "^61 mail"], &["chat", "mail"]));
    offer(&mut progress, 11, shares(&["^61 mail"], &["mail"]));
    offer(&mut progress, 100_000, Shares::default());
    progress.let_go();
    assert_eq!((resume(&progress, 0).committed, progress.held()), (1, 11));
    offer(&mut progress, 150_000, Shares::default());
    progress.let_go();
    let now = resume(&progress, 0);
    assert_eq!((now.committed, now.next, progress.held()), (10, 150_001, 2));
    // Whoever remembers it may still tell it, and be done with it.
    assert_eq!(progress.place(tickets[3]), None);
    progress.settle(tickets[3] + 62, "mail");
    assert_eq!(resume(&progress, 0), now);
    // What is held by a mute would be lost.
    progress.settle(held + 1, "chat");
    progress.let_go();
    assert_eq!(resume(&progress, 0), Resume::unread(150_001));
    assert_eq!((progress.open(), progress.held()), (0, 0));
}

#[test]
fn one_receiver_that_is_down_is_one_range() {
    let mut progress = Progress::default();
    progress.begin([(0, Resume::unread(0))]);
    for offset in 0..1_000 {
        let ticket = offer(&mut progress, offset, shares(&["hook", "mail"], &[]));
        progress.settle(ticket, "hook");
    }
    let text = resume(&progress, 0).encode(METADATA_MAX_BYTES);
    assert_eq!(text, r#"{"v":1,"next":1000,"pending":{"mail":[0,999]}}"#);
}

#[test]
fn a_log_that_begins_anew_is_read_anew() {
    let mut progress = Progress::default();
    progress.begin([(0, Resume::unread(500))]);
    let old = offer(&mut progress, 500, shares(&["mail"], &[]));
    let new = offer(&mut progress, 0, shares(&["mail"], &[]));
    progress.settle(old, "mail");
    assert_eq!(resume(&progress, 0).committed, 0);
    progress.settle(new, "mail");
    assert_eq!(resume(&progress, 0), Resume::unread(1));
}

#[test]
fn what_is_held_after_all_waits_on_another_line_and_stays_in_its_place() {
    let mut progress = Progress::default();
    progress.begin([(0, Resume::unread(0))]);
    let tickets: Vec<u64> =
        (0..5).map(|at| offer(&mut progress, at, shares(&["mail"], &["~mail"]))).collect();
    progress.defer(tickets[2], "mail");
    progress.defer(tickets[2], "mail");
    assert_eq!((progress.open(), progress.held()), (4, 1));
    for at in [0, 1, 3, 4] {
        progress.settle(tickets[at], "mail");
    }
    let text = resume(&progress, 0).encode(METADATA_MAX_BYTES);
    assert_eq!(text, r#"{"v":1,"next":3,"pending":{"~mail":[0,0]}}"#);
    progress.settle(tickets[2] + 1, "mail");
    assert_eq!(resume(&progress, 0), Resume::unread(5));
}

#[test]
fn a_ticket_of_before_settles_nothing() {
    let mut progress = Progress::default();
    progress.begin([(0, Resume::unread(0))]);
    let old = offer(&mut progress, 0, shares(&["mail"], &[]));
    progress.begin([(0, Resume::unread(0))]);
    let new = offer(&mut progress, 0, shares(&["mail"], &[]));
    assert_ne!(old, new);
    progress.settle(old, "mail");
    assert_eq!(progress.open(), 1);
}

/// Offset → receiver → whether it is settled.
type Model = BTreeMap<i64, BTreeMap<&'static str, bool>>;

#[derive(Debug, Clone)]
enum Step {
    /// A gap of offsets before it, and for whom it is: bits.
    Offer(i64, u8),
    /// The n-th of what is open, by whom.
    Settle(usize, usize),
    /// And another one after that many records.
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_i64, 0..8_u8).prop_map(|(gap, whom)| Step::Offer(gap, whom)),
        6 => (0..40_usize, 0..3_usize).prop_map(|(nth, whom)| Step::Settle(nth, whom)),
        1 => (0..60_usize).prop_map(Step::Restart),
    ]
}

fn safe(model: &Model, next: i64) -> i64 {
    let open = model.iter().find(|(_, whom)| whom.values().any(|settled| !settled));
    open.map_or(next, |(offset, _)| *offset)
}

proptest! {
    /// Through restarts: what is settled stays settled, what is pending stays pending.
    #[test]
    fn agrees_with_a_list(steps in proptest::collection::vec(step(), 1..200)) {
        let mut model = Model::new();
        let mut next = 0;
        let mut tickets: BTreeMap<i64, u64> = BTreeMap::new();
        let mut progress = Progress::default();
        progress.begin([(0, Resume::unread(0))]);
        for step in steps {
            match step {
                Step::Offer(gap, bits) => {
                    let offset = next + gap;
                    next = offset + 1;
                    let names = RECEIVERS.iter().enumerate();
                    let whom: Vec<&str> =
                        names.filter(|(n, _)| bits & (1 << n) != 0).map(|(_, name)| *name).collect();
                    tickets.insert(offset, offer(&mut progress, offset, shares(&whom, &[])));
                    model.insert(offset, whom.into_iter().map(|name| (name, false)).collect());
                }
                Step::Settle(nth, whom) => {
                    let open: Vec<i64> = model
                        .iter()
                        .filter(|(_, whom)| whom.values().any(|settled| !settled))
                        .map(|(offset, _)| *offset)
                        .collect();
                    let Some(offset) = open.get(nth % open.len().max(1)) else { continue };
                    progress.settle(tickets[offset], RECEIVERS[whom]);
                    if let Some(settled) = model.get_mut(offset).unwrap().get_mut(RECEIVERS[whom]) {
                        *settled = true;
                    }
                }
                Step::Restart(records) => {
                    for records in [records, usize::MAX] {
                        let known = resume(&progress, 0);
                        let known = Resume::decode(known.committed, &known.encode(usize::MAX));
                        progress.begin([(0, known.clone())]);
                        for (&offset, whom) in model.range(known.committed..).take(records) {
                            let before = progress.before(Place { partition: 0, offset }, "d");
                            let before = before.map(|told| RECEIVERS.map(told));
                            let told = RECEIVERS.map(|name| known.told(name, offset));
                            prop_assert_eq!(before, known.covers(offset).then_some(told));
                            let (told, waiting): (Vec<&str>, Vec<&str>) =
                                whom.keys().partition(|name| known.told(name, offset));
                            let settled = whom.iter().filter(|(_, settled)| **settled);
                            prop_assert_eq!(&told, &settled.map(|(name, _)| *name).collect::<Vec<_>>());
                            let ticket = offer(&mut progress, offset, shares(&waiting, &told));
                            tickets.insert(offset, ticket);
                        }
                    }
                }
            }
            prop_assert_eq!(resume(&progress, 0).committed, safe(&model, next));
            let open =
                model.values().filter(|whom| whom.values().any(|settled| !settled)).count();
            prop_assert_eq!(progress.open(), open);
        }
    }
}
