//! Single situations of a worker whose decisions and commands leave before the transaction.

use std::sync::Arc;

use serde_json::Value;
use tidegate::stream::{Place, PlanCell, Produce, Sink, Source};

use super::shell::{QUIET, SLOT};
use super::{World, check, plan_of};

const EVENTS: Place = Place { source: Source::Events, partition: 0 };

impl World {
    /// A worker that has just proven that its partitions are its own.
    fn quick() -> World {
        let mut world = World::calm().at_least_once();
        world.plans = Arc::new(PlanCell::new(plan_of(QUIET)));
        world.start(SLOT);
        world.prove();
        world
    }

    fn prove(&mut self) {
        self.pass(2);
        let commits = self.broker.borrow().commits;
        self.turn_until("a commit", |world| world.broker.borrow().commits > commits);
    }

    fn committed(&self) -> i64 {
        self.broker.borrow().committed[&EVENTS]
    }

    fn reviews_counted(&self) -> u64 {
        self.metrics.commands.with_label_values(&["review"]).get()
    }

    fn sent(&self) -> u64 {
        self.broker.borrow().sent_at_once
    }
}

#[test]
fn a_review_is_written_and_counted_before_the_commit_and_once() {
    let mut world = World::quick();
    world.broker.borrow_mut().refuses = true;
    world.redeem(0);
    world.turn_until("it is counted", |world| world.reviews_counted() == 1);
    assert_eq!((world.reviews(), world.committed()), (1, 0));
    for _ in 0..500 {
        world.turn(SLOT);
    }
    assert!(world.broker.borrow().aborts > 2, "commits are tried");
    world.broker.borrow_mut().refuses = false;
    world.turn_until("it is committed", |world| world.committed() == 1);
    assert_eq!((world.reviews(), world.reviews_counted()), (1, 1));
    // A decision and a command.
    assert_eq!(world.sent(), 2);
}

#[test]
fn nothing_is_committed_before_what_came_of_it_is_written() {
    let mut world = World::quick();
    world.broker.borrow_mut().holds_acks = true;
    world.redeem(0);
    world.turn_until("it is read", |world| world.broker.borrow().read.get() == 1);
    // A transaction is due, and waits for long.
    for _ in 0..2 {
        world.pass(2);
        world.turn(SLOT);
    }
    for _ in 0..300 {
        world.redeem(0);
        world.turn(SLOT);
    }
    let read = world.broker.borrow().read.get();
    assert!(read < 100, "it reads on: {read}");
    world.pass(31);
    world.turn(SLOT);
    let reason = world.readiness().unwrap_err();
    assert!(reason.contains("decisions or commands are on their way for long"), "{reason}");
    assert_eq!(world.broker.borrow().read.get(), read);
    assert_eq!((world.committed(), world.reviews_counted(), world.reviews()), (0, 0, 0));
    world.broker.borrow_mut().holds_acks = false;
    world.turn_until("all is committed", |world| world.committed() == 301);
    world.turn_until("it is ready again", |world| world.readiness().is_ok());
    assert_eq!((world.reviews(), world.reviews_counted()), (301, 301));
}

#[test]
fn what_people_change_goes_with_the_transaction_that_notes_it() {
    let mut world = World::quick();
    world.freeze();
    world.turn_until("it is written", |world| world.reviews() == 1);
    assert_eq!(world.sent(), 0);
    let journal = world.broker.borrow().outputs[&Sink::Journal].len();
    assert!(journal >= 6, "each partition has noted it: {journal}");
    world.prove();
    world.redeem(0);
    world.turn_until("it is reviewed", |world| world.reviews() == 2);
    assert_eq!(world.sent(), 2);
}

#[test]
fn none_leaves_before_one_that_waits_for_a_transaction() {
    let mut world = World::quick();
    let begun = world.broker.borrow().begun;
    world.broker.borrow_mut().holds_transactions = true;
    world.freeze();
    world.turn_until("its transaction is under way", |world| world.broker.borrow().begun > begun);
    world.redeem(0);
    world.turn_until("an event is read", |world| world.broker.borrow().read.get() == 1);
    for _ in 0..100 {
        world.turn(SLOT);
    }
    assert_eq!(world.sent(), 0);
    world.broker.borrow_mut().holds_transactions = false;
    world.turn_until("it is reviewed", |world| world.reviews() == 2);
    assert_eq!(world.sent(), 0);
    let names = |command: &Produce| {
        let value: Value = serde_json::from_slice(command.value.as_ref().unwrap()).unwrap();
        value["command"].as_str().unwrap().to_owned()
    };
    let broker = world.broker.borrow();
    let told: Vec<String> = broker.outputs[&Sink::Commands].iter().map(names).collect();
    assert_eq!(told, ["freeze", "review"]);
}

#[test]
fn a_worker_that_has_not_committed_for_long_commits_first() {
    let mut world = World::quick();
    world.pass(4);
    world.broker.borrow_mut().refuses = true;
    world.redeem(0);
    for _ in 0..300 {
        world.turn(SLOT);
    }
    assert_eq!(world.broker.borrow().read.get(), 1);
    assert_eq!((world.reviews(), world.sent()), (0, 0));
    world.broker.borrow_mut().refuses = false;
    world.turn_until("it is reviewed", |world| world.reviews() == 1);
    assert_eq!((world.sent(), world.committed()), (0, 1));
}

#[test]
fn a_worker_that_reads_nothing_goes_on_proving_whose_its_partitions_are() {
    let mut world = World::quick();
    let commits = world.broker.borrow().commits;
    let before_us = world.clock.0.get();
    for _ in 0..20_000 {
        world.turn(SLOT);
    }
    let seconds = u64::try_from((world.clock.0.get() - before_us) / 1_000_000).unwrap();
    let commits = world.broker.borrow().commits - commits;
    // Others come of the accounts of days, which are told each second.
    assert!(commits >= seconds - 1 && commits <= seconds * 3, "{commits} in {seconds} s");
    world.redeem(0);
    world.turn_until("it is reviewed", |world| world.reviews() == 1);
    assert_eq!(world.sent(), 2);
}

/// What was told before a crash is told again, whatever people changed since: they are heard behind
/// it.
#[test]
fn a_change_after_a_crash_waits_for_what_may_have_been_told() {
    let mut world = World::quick();
    world.broker.borrow_mut().refuses = true;
    world.redeem(0);
    world.turn_until("it is reviewed", |world| world.reviews() == 1);
    world.workers.clear();
    world.broker.borrow_mut().refuses = false;
    // Lifts nothing, but is noted at its place.
    world.freeze();
    world.redeem(0);
    world.start(SLOT);
    world.turn_until("all is committed", |world| world.committed() == 2);
    world.turn_until("the change is in force", |world| {
        check::are_changes_applied(&world.broker.borrow())
    });
    let broker = world.broker.borrow();
    let noted = |output: &Produce| -> Option<i64> {
        let entry: Value = serde_json::from_slice(output.value.as_deref().unwrap()).unwrap();
        let own = entry["topic"] == "events" && entry["partition"] == 0;
        (own && entry["changes"] != serde_json::json!([])).then(|| entry["offset"].as_i64())?
    };
    let places: Vec<i64> = broker.outputs[&Sink::Journal].iter().filter_map(noted).collect();
    assert_eq!(places, [2], "behind both records that were there");
    drop(broker);
    let repeats = check::drop_repeats(0, &mut world.broker.borrow_mut());
    // The first decision and its command; the second event and the freeze came once.
    assert_eq!((repeats, world.reviews()), (2, 3));
}
