//! Progress against a list of all that was offered and settled.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{NOTE_AFTER_MS, Place, Progress};
use crate::notify::note::Lines;
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
    progress.offer(Place { partition: 0, offset }, ticket, (shares, 0));
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

fn place(offset: i64) -> Place {
    Place { partition: 0, offset }
}

fn lines(names: &[&str], is_over: bool) -> Lines {
    Lines { lines: names.iter().map(|name| (*name).to_owned()).collect(), is_over }
}

#[test]
fn what_is_noted_holds_no_offset_back() {
    let mut progress = Progress::default();
    progress.begin([(0, Resume::unread(0))]);
    let held = offer(&mut progress, 0, shares(&["~chat", "^61 mail"], &["chat", "mail"]));
    offer(&mut progress, 1, shares(&["^61 mail"], &["mail"]));
    let now = offer(&mut progress, 2, shares(&["mail"], &[]));
    let behind = offer(&mut progress, 3, shares(&["~chat"], &["chat"]));
    assert_eq!(progress.ripe(NOTE_AFTER_MS - 1, 9), [], "not yet");
    assert_eq!(progress.ripe(NOTE_AFTER_MS, 1), [place(0)]);
    assert_eq!(progress.ripe(NOTE_AFTER_MS, 9), [place(1)], "not behind what waits now");
    assert_eq!(progress.note(place(0)), Some(lines(&["^61 mail", "~chat"], false)));
    progress.noted(place(1));
    assert_eq!(resume(&progress, 0).committed, 0, "one by one");
    progress.noted(place(0));
    assert_eq!((resume(&progress, 0).committed, progress.held()), (2, 3));
    progress.settle(now, "mail");
    assert_eq!(resume(&progress, 0).committed, 3);
    assert_eq!(progress.ripe(NOTE_AFTER_MS, 9), [place(3)]);
    // What comes of it while it is being written is not lost.
    progress.over(behind + 1);
    progress.noted(place(3));
    assert_eq!(resume(&progress, 0).committed, 3);
    assert_eq!(progress.ripe(NOTE_AFTER_MS, 9), [place(3)]);
    assert_eq!(progress.note(place(3)), Some(lines(&["~chat"], true)));
    progress.noted(place(3));
    assert_eq!(resume(&progress, 0), Resume::unread(4));
    assert_eq!(progress.changes(), BTreeMap::new());
    progress.settle(held + 1, "chat");
    progress.settle(held + 1, "chat");
    assert_eq!(
        progress.changes(),
        BTreeMap::from([(place(0), Some(lines(&["~chat"], false)))]),
        "it is written beside the note"
    );
    progress.settle(held + 62, "mail");
    progress.settle(behind + 1, "chat");
    assert_eq!(progress.changes(), BTreeMap::from([(place(0), None), (place(3), None)]));
    assert_eq!((progress.open(), progress.held()), (0, 1));
}

#[test]
fn a_note_that_is_not_needed_in_the_end_goes() {
    let mut progress = Progress::default();
    progress.begin([(0, Resume::unread(0))]);
    let first = offer(&mut progress, 0, shares(&["~chat"], &[]));
    assert_eq!(progress.ripe(NOTE_AFTER_MS, 9), [place(0)]);
    progress.not_noted(place(0));
    assert_eq!(progress.note(place(0)), None);
    progress.settle(first + 1, "chat");
    assert_eq!(progress.changes(), BTreeMap::from([(place(0), None)]));
    // And with a topic that begins anew all of them.
    offer(&mut progress, 1, shares(&["~chat"], &[]));
    progress.ripe(NOTE_AFTER_MS, 9);
    progress.noted(place(1));
    offer(&mut progress, 0, Shares::default());
    assert_eq!(progress.changes(), BTreeMap::from([(place(1), None)]));
    assert_eq!(progress.held(), 0);
}

#[test]
fn the_log_is_not_left_behind_before_the_notes_know() {
    let mut progress = Progress::default();
    progress.begin([(0, Resume::unread(0))]);
    let held = offer(&mut progress, 0, shares(&["~chat"], &[]));
    progress.ripe(NOTE_AFTER_MS, 9);
    progress.noted(place(0));
    progress.settle(held + 1, "chat");
    progress.logged(7);
    progress.is_kept();
    assert_eq!(resume(&progress, 0).log.whole, None, "it is not even handed out");
    progress.changes();
    progress.is_kept();
    assert_eq!(resume(&progress, 0).log.whole, Some(8));
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
