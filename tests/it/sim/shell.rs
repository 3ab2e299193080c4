//! Single situations of the worker over the broker in memory: commits that fail, a chosen start,
//! a log that has lost its beginning, an end for good.

use std::sync::Arc;

use prometheus::core::Collector;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tidegate::metrics::Metrics;
use tidegate::snapshot::{Keeper, Shelf};
use tidegate::stream::{Place, Side, Sink, SnapshotSettings, Source, Start, readiness};

use super::broker::{Entry, Faults};
use super::store::{Gate, SimStore, SlowStore};
use super::{PARTITIONS, World, plan_of};

/// No key crosses partitions.
pub(super) const QUIET: &str = "
version: 1
rules:
  - { name: big, on: redeem, where: { points: { gt: 150 } }, then: [review] }
";

pub(super) const SLOT: &str = "w-0";
const EVENTS: Place = Place { source: Source::Events, partition: 0 };

impl World {
    /// No faults and one worker.
    pub(super) fn calm() -> World {
        let faults = Faults { crash: 0, abort: 0, ask: 0, slow: 0 };
        World::of(ChaCha8Rng::seed_from_u64(1), faults, 1)
    }

    /// A redemption that is reviewed.
    pub(super) fn redeem(&mut self, partition: i32) {
        self.made += 1;
        let now_ms = self.clock.0.get() / 1000;
        let value = json!({
            "id": format!("r{}", self.made), "ts": now_ms, "user": "u1", "kind": "redeem",
            "points": 500,
        });
        let value = Some(value.to_string().into_bytes());
        let key = Some(b"u1".to_vec());
        let entry = Entry { timestamp_ms: now_ms, key, value, headers: Vec::new() };
        self.broker.borrow_mut().append(Place { source: Source::Events, partition }, entry);
    }

    /// Points that a source gives out.
    pub(super) fn issue(&mut self, source: &str, points: i64) {
        self.issue_to(0, source, points);
    }

    pub(super) fn issue_to(&mut self, partition: i32, source: &str, points: i64) {
        self.made += 1;
        let now_ms = self.clock.0.get() / 1000;
        let value = json!({
            "id": format!("i{}", self.made), "ts": now_ms, "user": "u1", "kind": "issue",
            "points": points, "source": source,
        });
        let value = Some(value.to_string().into_bytes());
        let key = Some(b"u1".to_vec());
        let entry = Entry { timestamp_ms: now_ms, key, value, headers: Vec::new() };
        let place = Place { source: Source::Events, partition };
        self.broker.borrow_mut().append(place, entry);
    }

    /// A freeze by hand.
    pub(super) fn freeze(&mut self) {
        self.made += 1;
        let text = json!({ "v": 1, "id": format!("c{}", self.made), "ts": 1, "actor": "ann",
            "reason": "a test", "change": "freeze", "target": { "user": "u1" }, "scope": "issue",
            "until": null });
        let value = text.to_string().into_bytes();
        self.broker.borrow_mut().control.push((format!("freeze/c{}", self.made), value));
    }

    /// Turns until `holds`.
    pub(super) fn turn_until(&mut self, what: &str, holds: impl Fn(&World) -> bool) {
        for _ in 0..2_000 {
            if holds(self) {
                return;
            }
            self.turn(SLOT);
        }
        unreachable!("never came: {what}");
    }

    pub(super) fn readiness(&self) -> Result<(), String> {
        readiness(&[self.views[SLOT].lock().unwrap().clone()], self.clock.0.get())
    }

    /// The worker gives its partitions back and gets them again.
    pub(super) fn give_and_take_back(&mut self) {
        self.broker.borrow_mut().rebalance();
        for _ in 0..10 {
            self.turn(SLOT);
        }
    }

    pub(super) fn reviews(&self) -> usize {
        self.broker.borrow().outputs.get(&Sink::Commands).map_or(0, Vec::len)
    }

    fn snapshots(&self, outcome: &str) -> u64 {
        self.metrics.snapshots.with_label_values(&[outcome]).get()
    }

    /// So many turns with an event each: reviews and snapshots that came of them.
    fn work(&mut self, turns: usize) -> (usize, u64) {
        let before = (self.reviews(), self.snapshots("written"));
        for _ in 0..turns {
            self.redeem(0);
            self.turn(SLOT);
        }
        (self.reviews() - before.0, self.snapshots("written") - before.1)
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.clock.0.set(self.clock.0.get() + seconds * 1_000_000);
    }

    /// The gauge that says whether history is missing, of partition 0 of the events.
    fn history_missing(&self) -> i64 {
        self.metrics.history_missing.with_label_values(&["events", "0"]).get()
    }
}

#[test]
fn intake_stops_while_commits_fail_and_readiness_ends_after_30_s() {
    let mut world = World::calm();
    world.start(SLOT);
    world.turn_until("it is ready", |world| world.readiness().is_ok());
    world.broker.borrow_mut().refuses = true;
    world.redeem(0);
    world.turn_until("a commit has failed", |world| world.broker.borrow().aborts > 0);
    for _ in 0..200 {
        world.redeem(0);
        world.turn(SLOT);
    }
    // What came before the worker heard of it.
    let read = world.broker.borrow().read.get();
    assert!(read < 100, "it reads on: {read}");
    world.pass(29);
    world.turn(SLOT);
    assert_eq!(world.readiness(), Ok(()));
    world.pass(2);
    world.turn(SLOT);
    let reason = world.readiness().unwrap_err();
    assert!(reason.contains("no commit succeeds: stale or refused"), "{reason}");
    assert_eq!(world.broker.borrow().read.get(), read, "something was read all the same");
    assert_eq!(world.reviews(), 0);
    world.broker.borrow_mut().refuses = false;
    world.turn_until("everything is committed", |world| world.reviews() == 201);
    world.turn_until("it is ready again", |world| world.readiness().is_ok());
    assert_eq!(world.broker.borrow().committed[&EVENTS], 201);
}

#[test]
fn events_are_counted_while_a_transaction_goes_on_but_not_for_long() {
    let mut world = World::calm();
    world.start(SLOT);
    world.turn_until("it is ready", |world| world.readiness().is_ok());
    let read = |world: &World| world.broker.borrow().read.get();
    let begun = world.broker.borrow().begun;
    world.broker.borrow_mut().holds_transactions = true;
    world.redeem(0);
    world.turn_until("its transaction is under way", |world| {
        read(world) == 1 && world.broker.borrow().begun > begun
    });
    world.redeem(0);
    world.turn_until("another event is counted", |world| read(world) == 2);
    let begun = world.broker.borrow().begun;
    // Half a second later.
    world.pass(1);
    for _ in 0..200 {
        world.redeem(0);
        world.turn(SLOT);
    }
    assert_eq!((read(&world), world.broker.borrow().begun), (2, begun));
    world.broker.borrow_mut().holds_transactions = false;
    world.turn_until("all is committed", |world| world.broker.borrow().committed[&EVENTS] == 202);
    assert_eq!(world.reviews(), 202);
}

#[test]
fn the_chosen_start_is_committed_at_once_and_kept() {
    let mut world = World::calm();
    world.begin = Start::Latest;
    for _ in 0..30 {
        world.redeem(0);
    }
    world.start(SLOT);
    let starts = |world: &World| {
        let committed = &world.broker.borrow().committed;
        let at = |partition| committed.get(&Place { source: Source::Events, partition }).copied();
        (0..PARTITIONS).map(at).collect::<Vec<_>>()
    };
    world.turn_until("the start is committed", |world| starts(world)[0] == Some(30));
    assert_eq!(starts(&world), [Some(30), Some(0), Some(0)]);
    // Gone before any event; what comes meanwhile lies after the start.
    world.workers.clear();
    for _ in 0..5 {
        world.redeem(0);
        world.redeem(1);
    }
    world.start(SLOT);
    world.turn_until("both are read", |world| starts(world)[..2] == [Some(35), Some(5)]);
    assert_eq!(world.reviews(), 10);
}

#[test]
fn a_partition_that_comes_back_still_says_that_history_is_missing() {
    let mut world = World::calm();
    for _ in 0..30 {
        world.redeem(0);
    }
    world.broker.borrow_mut().low.insert(EVENTS, 10);
    world.broker.borrow_mut().committed.insert(EVENTS, 20);
    world.start(SLOT);
    world.turn_until("the rest is reviewed", |world| world.reviews() == 10);
    assert_eq!(world.history_missing(), 1);
    // Given back and got again: the state is kept, and so is what it lacks.
    world.give_and_take_back();
    world.redeem(0);
    world.turn_until("it goes on", |world| world.reviews() == 11);
    assert_eq!(world.history_missing(), 1);
    let read = world.broker.borrow().read.get();
    assert_eq!(read, 21, "the state was not built anew");
    // What is deleted behind it later is nothing that it lacks.
    let other = Place { source: Source::Events, partition: 1 };
    world.redeem(1);
    world.turn_until("the other goes on", |world| world.reviews() == 12);
    world.broker.borrow_mut().low.insert(other, 1);
    world.give_and_take_back();
    world.redeem(1);
    world.turn_until("the other goes on", |world| world.reviews() == 13);
    assert_eq!(world.metrics.history_missing.with_label_values(&["events", "1"]).get(), 0);
}

#[test]
fn a_worker_that_fails_for_good_leaves_no_gauges_behind() {
    let mut world = World::calm();
    world.redeem(0);
    world.start(SLOT);
    world.turn_until("it is reviewed", |world| world.reviews() == 1);
    world.pass(1);
    world.turn(SLOT);
    let series = |world: &World| -> usize {
        let Metrics { consumer_lag, state_keys, state_bytes, history_missing, .. } = &world.metrics;
        let all = [consumer_lag, state_keys, state_bytes, history_missing];
        let own: usize = all.map(|gauges| gauges.collect()[0].get_metric().len()).iter().sum();
        let floats = [&world.metrics.watermark_seconds, &world.metrics.cap_forecast_seconds];
        own + floats.map(|gauges| gauges.collect()[0].get_metric().len()).iter().sum::<usize>()
    };
    assert!(series(&world) > 12, "{}", series(&world));
    world.broker.borrow_mut().is_dead = true;
    world.turn(SLOT);
    assert!(world.workers.is_empty());
    assert_eq!(series(&world), 0);
}

/// The rule `campaign` warns an hour ahead of 2,000 points a day, and source s1 gives out ten a
/// minute.
#[test]
fn the_first_cap_to_be_reached_is_told_for_each_rule() {
    let mut world = World::calm();
    world.start(SLOT);
    let told = |world: &World, rule: &str| -> Vec<f64> {
        let families = world.metrics.cap_forecast_seconds.collect();
        let of_rule = families[0].get_metric().iter().filter(|metric| {
            metric.get_label().iter().any(|label| label.name() == "rule" && label.value() == rule)
        });
        of_rule.map(|metric| metric.get_gauge().get_value()).collect()
    };
    let soonest = |world: &World| told(world, "campaign").into_iter().fold(f64::NAN, f64::min);
    for _ in 0..8 {
        world.issue("s1", 10);
        let read = world.broker.borrow().inputs[&EVENTS].len();
        world.turn_until("it is committed", |world| {
            world.broker.borrow().committed.get(&EVENTS) == i64::try_from(read).ok().as_ref()
        });
        world.pass(60);
    }
    // 1,921 more at ten a minute: all minutes but the one that has begun and the busiest count.
    world.turn_until("it is told", |world| (soonest(world) - 192.1 * 60.0).abs() < 120.0);
    let rules: Vec<usize> =
        ["campaign", "total", "cap"].map(|rule| told(&world, rule).len()).into();
    assert!(rules[0] > 0 && rules[1] > 0 && rules[2] == 0, "{rules:?}");
    // A rule that is off has no forecast, and leaves none.
    let off = super::rules().replace("name: campaign,", "name: campaign, mode: off,");
    world.plans = Arc::new(tidegate::stream::PlanCell::new(plan_of(&off)));
    world.workers.clear();
    world.start(SLOT);
    world.turn_until("the others are told", |world| {
        told(world, "campaign").is_empty() && told(world, "total").len() == rules[1]
    });
    world.issue("s1", 10);
    world.pass(60);
    world.turn_until("it goes on", |world| world.readiness().is_ok());
    for _ in 0..200 {
        world.turn(SLOT);
    }
    assert_eq!(told(&world, "campaign"), Vec::<f64>::new());
}

#[test]
fn a_control_topic_that_is_away_holds_nothing_up_and_is_told() {
    let mut world = World::calm();
    world.start(SLOT);
    world.turn_until("it is ready", |world| world.readiness().is_ok());
    world.broker.borrow_mut().away.insert(Side::Control);
    world.redeem(0);
    world.turn_until("it is reviewed", |world| world.reviews() == 1);
    world.freeze();
    world.pass(29);
    world.turn(SLOT);
    assert_eq!(world.readiness(), Ok(()));
    world.pass(2);
    world.turn(SLOT);
    world.pass(1);
    world.turn(SLOT);
    let reason = world.readiness().unwrap_err();
    assert!(reason.contains("the topic is away"), "{reason}");
    // A restore waits for it, and loses nothing.
    world.workers.clear();
    world.start(SLOT);
    world.redeem(0);
    for _ in 0..2_000 {
        world.turn(SLOT);
    }
    assert_eq!(world.reviews(), 1);
    let reason = world.readiness().unwrap_err();
    assert!(reason.contains("restoring state: the topic is away"), "{reason}");
    world.broker.borrow_mut().away.clear();
    // A review and a freeze more.
    world.turn_until("both are written", |world| world.reviews() == 3);
    world.turn_until("it is ready again", |world| world.readiness().is_ok());
}

#[test]
fn what_is_no_change_is_counted_and_holds_nothing_up() {
    let mut world = World::calm();
    world.start(SLOT);
    world.turn_until("it is ready", |world| world.readiness().is_ok());
    world.broker.borrow_mut().control.push(("x".to_owned(), b"{".to_vec()));
    world.freeze();
    world.turn_until("the freeze is written", |world| world.reviews() == 1);
    assert_eq!(world.metrics.control_unreadable.get(), 1);
}

#[test]
fn a_zombie_that_reads_a_change_writes_nothing() {
    let mut world = World::calm();
    // No heartbeats, whose offsets would give it away.
    world.plans = Arc::new(tidegate::stream::PlanCell::new(plan_of(QUIET)));
    world.start(SLOT);
    world.turn_until("it is ready", |world| world.broker.borrow().committed.len() == 6);
    // Its partitions go to another, and it does not hear of it.
    world.broker.borrow_mut().late_news = 1_000;
    world.broker.borrow_mut().throw_out(SLOT);
    world.start("w-1");
    world.freeze();
    for _ in 0..2_000 {
        world.turn("w-1");
    }
    assert_eq!(world.reviews(), 1);
    for _ in 0..2_000 {
        world.turn(SLOT);
    }
    assert!(world.broker.borrow().aborts > 0, "it has tried");
    assert_eq!(world.reviews(), 1);
    assert_eq!(world.broker.borrow().outputs[&Sink::Journal].len(), 6);
}

#[test]
fn a_clock_that_is_set_neither_holds_anything_up_nor_makes_a_burst() {
    let mut world = World::calm();
    world.store = Some(Arc::new(SimStore::new(1, 0)));
    world.start(SLOT);
    world.turn_until("it is ready", |world| world.readiness().is_ok());
    world.work(1_000);
    let (reviews, snapshots) = world.work(4_000);
    assert!(reviews > 3_900 && snapshots >= 2, "{reviews} {snapshots}");
    for hours in [-6, 6, 48, -48] {
        world.clock.1.set(hours * 3_600_000_000);
        let commits = world.broker.borrow().commits;
        let (some, few) = world.work(4_000);
        let commits = world.broker.borrow().commits - commits;
        assert!(some.abs_diff(reviews) < 100, "{hours} h: {some} reviews, {reviews} before");
        let is_alike = few * 2 >= snapshots && few <= snapshots * 2;
        assert!(is_alike, "{hours} h: {few} snapshots, {snapshots} before");
        assert!(commits > 100, "{hours} h: {commits} commits");
        assert_eq!(world.readiness(), Ok(()), "{hours} h");
    }
}

#[test]
fn a_store_that_does_not_answer_holds_up_no_worker() {
    let mut world = World::calm();
    let gate = Arc::new(Gate::default());
    world.start(SLOT);
    let keeper = Keeper::start(Shelf::new(Arc::new(SlowStore::new(&gate)), "sim", 2)).unwrap();
    let settings = SnapshotSettings { interval_ms: 700, accept_gap: false };
    let worker = world.workers.remove(SLOT).unwrap().with_snapshots(keeper, settings);
    world.workers.insert(SLOT.to_owned(), worker);
    world.turn_until("it is ready", |world| world.readiness().is_ok());
    gate.close();
    let (reviews, snapshots) = world.work(4_000);
    assert!(reviews > 3_900, "{reviews}");
    assert_eq!((snapshots, world.snapshots("failed")), (0, 0));
    // What takes ten minutes is given up, and told.
    world.pass(700);
    world.work(100);
    let given_up = world.snapshots("failed");
    gate.open();
    let began = std::time::Instant::now();
    while world.snapshots("written") == 0 && began.elapsed().as_secs() < 60 {
        world.work(10);
    }
    assert!(world.snapshots("written") > 0, "given up: {given_up}");
    world.workers.clear();
}
