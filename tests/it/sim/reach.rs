//! How far back the log is read for new rules (R18): as far as they look, or as it reaches.

use std::sync::Arc;

use serde_json::Value;
use tidegate::stream::{Place, Source};

use super::World;
use super::shell::SLOT;
use super::store::SimStore;

const EVENTS: Place = Place { source: Source::Events, partition: 0 };

fn rules(more: &str) -> String {
    format!(
        "version: 1\nlists: {{ bad: {{ file: bad.csv, field: user }} }}\nrules:\n  \
         - {{ name: listed, on: expire, where: {{ user: {{ in: bad }} }}, then: [review] }}\n{more}"
    )
}

fn rule(name: &str, of: &str) -> String {
    format!("  - {{ name: {name}, on: issue, {of} }}\n")
}

fn values(world: &World, rule: &str) -> Vec<i64> {
    let own = world.decided().into_iter().filter(|(name, _)| name == rule);
    own.map(|(_, value): (String, Value)| value.as_i64().unwrap()).collect()
}

impl World {
    /// An event of ten points each ten seconds.
    fn go_on_for(&mut self, events: usize) {
        for _ in 0..events {
            self.issue("s1", 10);
            self.catch_up();
            self.pass(10);
        }
    }

    fn make_ready(&mut self, rules: &str) {
        self.put_in_force(rules);
        self.turn_until("the set is taken in", |world| world.warming() > 0);
        self.turn_until("it is in force", |world| world.warming() == 0);
    }

    fn begin_again(&mut self) {
        self.workers.clear();
        self.start(SLOT);
        self.catch_up();
    }
}

#[test]
fn a_new_rule_reads_the_log_as_far_back_as_the_rules_look() {
    let mut world = World::calm();
    let kept = rule("often", "measure: count, window: 1m, above: 1000");
    world.put_in_force(&rules(&kept));
    world.start(SLOT);
    world.go_on_for(200);
    let sum = rule("sum", "measure: sum(points), window: 5m, above: 250");
    world.make_ready(&rules(&[kept, sum].concat()));
    // Five minutes, and 27 seconds for what comes late, ahead, or not at all.
    let read = world.broker.borrow().read_again.get();
    assert!((30..40).contains(&read), "{read} of 200 records were read again");
    world.go_on_for(1);
    assert_eq!(values(&world, "sum"), [300], "29 events of five minutes, and this one");
    world.begin_again();
    world.go_on_for(1);
    assert_eq!(values(&world, "sum"), [300], "it has fired");
    world.compare();
}

#[test]
fn a_rule_that_is_kept_is_read_for_as_far_as_it_looks() {
    let mut world = World::calm();
    let kept = rule("often", "measure: count, window: 10m, above: 59, cooldown: 1m");
    world.put_in_force(&rules(&kept));
    world.start(SLOT);
    world.go_on_for(300);
    assert_eq!(values(&world, "often"), [60]);
    let sum = rule("sum", "measure: sum(points), window: 1m, above: 30");
    world.make_ready(&rules(&[kept, sum].concat()));
    let read = world.broker.borrow().read_again.get();
    assert!((120..140).contains(&read), "{read} of 300 records were read again");
    world.go_on_for(5);
    assert_eq!(values(&world, "often"), [60], "it has fired, and goes on to be beyond");
    assert_eq!(values(&world, "sum"), [60]);
    world.compare();
}

/// The bound of a rule is lowered in the same edit as a rule comes that has to be made ready.
#[test]
fn who_is_above_a_bound_that_was_lowered_fires_with_the_next_event() {
    let mut world = World::calm();
    let cap =
        |above: u32| rule("cap", &format!("measure: sum(points), window: day, above: {above}"));
    world.put_in_force(&rules(&cap(1_000)));
    world.start(SLOT);
    world.go_on_for(50);
    let sum = rule("sum", "measure: sum(points), window: 5m, above: 25000");
    world.make_ready(&rules(&[cap(400), sum].concat()));
    assert_eq!(values(&world, "cap"), [0_i64; 0]);
    world.go_on_for(2);
    assert_eq!(values(&world, "cap"), [510]);
    world.begin_again();
    world.go_on_for(2);
    assert_eq!(values(&world, "cap"), [510]);
    world.compare();
}

/// A world whose log has lost the first 20 of 60 records, with a snapshot of all of them.
fn cut() -> (World, Arc<SimStore>) {
    let mut world = World::calm();
    let store = Arc::new(SimStore::new(1, 0));
    world.store = Some(store.clone());
    world.put_in_force(&rules(&cap()));
    world.start(SLOT);
    world.go_on_for(60);
    world.begin_again();
    world.pass(1);
    let written = world.metrics.snapshots.with_label_values(&["written"]).get();
    world.go_on_for(1);
    world.turn_until("a snapshot is written", |world| {
        world.metrics.snapshots.with_label_values(&["written"]).get() > written
    });
    world.broker.borrow_mut().low.insert(EVENTS, 20);
    (world, store)
}

fn cap() -> String {
    rule("cap", "measure: count, window: day, above: 62")
}

fn missing(world: &World) -> f64 {
    world.metrics.history_missing_seconds.with_label_values(&["events", "0"]).get()
}

#[test]
fn a_new_rule_begins_with_what_a_cut_log_holds_and_the_others_keep_their_counters() {
    let (mut world, store) = cut();
    let sum = rule("sum", "measure: sum(points), window: month, above: 421");
    store.fill(true);
    world.make_ready(&rules(&[cap(), sum].concat()));
    let day = 86_400.0;
    let short = 31.0 * day + 3_600.0 - missing(&world);
    assert!((400.0..420.0).contains(&short), "it has read {short} s of a month");
    world.go_on_for(1);
    assert_eq!(values(&world, "sum"), [0_i64; 0], "42 records of 10 points");
    // No snapshot has it yet: it is begun again from the one there is.
    world.begin_again();
    world.go_on_for(1);
    assert_eq!((values(&world, "sum"), values(&world, "cap")), (vec![430], vec![63]));
    store.fill(false);
    world.begin_again();
    world.go_on_for(3);
    world.begin_again();
    world.go_on_for(3);
    assert_eq!((values(&world, "sum"), values(&world, "cap")), (vec![430], vec![63]));
}

#[test]
fn of_a_cut_log_no_more_is_read_than_a_new_rule_looks_back() {
    let (mut world, _) = cut();
    let sum = rule("sum", "measure: sum(points), window: 5m, above: 250");
    world.make_ready(&rules(&[cap(), sum].concat()));
    let read = world.broker.borrow().read_again.get();
    assert!((30..40).contains(&read), "{read} of 41 records were read again");
    assert!(missing(&world) <= 0.0);
    world.go_on_for(2);
    assert_eq!((values(&world, "sum"), values(&world, "cap")), (vec![300], vec![63]));
}
