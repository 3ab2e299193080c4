//! Rules that count otherwise are made ready from the log, while those that are there go on (R18).

use serde_json::Value;
use tidegate::stream::{Place, Sink, Source};

use super::shell::SLOT;
use super::{World, publication_of};

const EVENTS: Place = Place { source: Source::Events, partition: 0 };

const BEFORE: &str = "
version: 1
lists:
  bad: { file: bad.csv, field: user }
rules:
  - { name: gone, on: issue, where: { points: { gt: 250 } }, then: [review] }
  - { name: big, on: redeem, where: { points: { gt: 150 } }, then: [review] }
  - { name: often, on: issue, where: { user: { in: bad } }, per: user, measure: count, window: day,
      above: 4, then: [{ freeze: { scope: issue } }] }
";

/// `gone` is gone, `often` counts otherwise and by no list, `sum` and `gift` are new.
const AFTER: &str = "
version: 1
lists:
  worse: { file: bad.csv, field: user }
rules:
  - { name: big, on: redeem, where: { points: { gt: 150 } }, then: [review] }
  - { name: gift, on: issue, where: { points: { gt: 290 } }, then: [review] }
  - { name: often, on: issue, per: user, measure: count, window: month, above: 7,
      then: [{ freeze: { scope: redeem } }] }
  - { name: sum, on: issue, per: user, measure: sum(points), window: day, above: 1000,
      then: [{ freeze: { scope: account } }] }
";

impl World {
    fn put_in_force(&mut self, rules: &str) {
        let id = format!("set-{}", self.broker.borrow().control.len());
        let change = publication_of(rules, "u1\n", &id, super::START_MS);
        self.broker.borrow_mut().control.push((change.key(), change.encode()));
    }

    /// Rule, value and actions of each decision that is written, without those about rule sets.
    fn decided(&self) -> Vec<(String, Value)> {
        let broker = self.broker.borrow();
        let written = broker.outputs.get(&Sink::Decisions).into_iter().flatten();
        let values = written.map(|output| -> Value {
            serde_json::from_slice(output.value.as_deref().unwrap()).unwrap()
        });
        let rules =
            values.map(|one| (one["rule"].as_str().unwrap().to_owned(), one["value"].clone()));
        rules.filter(|(rule, _)| rule != "tidegate.rules").collect()
    }

    /// Everything that was produced is committed.
    fn catch_up(&mut self) {
        self.turn_until("all is committed", |world| {
            let broker = world.broker.borrow();
            let end = i64::try_from(broker.inputs[&EVENTS].len()).unwrap();
            broker.committed.get(&EVENTS) == Some(&end)
        });
    }

    fn warming(&self) -> usize {
        self.workers[SLOT].warming()
    }

    /// What the view of the worker says of partition 0 of the events.
    fn told_warming(&self) -> Option<(Vec<String>, u8)> {
        let view = self.views[SLOT].lock().unwrap().clone();
        let own = view.partitions.iter().find(|one| one.topic == "events" && one.partition == 0);
        own.unwrap().warming.clone().map(|warming| (warming.rules, warming.percent))
    }
}

/// A world that has given out 900 points, with the rules of `AFTER` published and nothing of the
/// log at hand to make them ready.
fn held() -> World {
    let mut world = World::calm();
    world.put_in_force(BEFORE);
    world.start(SLOT);
    for _ in 0..3 {
        world.issue("s1", 300);
    }
    world.catch_up();
    assert_eq!(world.decided().len(), 3);
    world.broker.borrow_mut().holds_earlier = true;
    world.put_in_force(AFTER);
    world.turn_until("the set is taken in", |world| world.warming() > 0);
    world
}

#[test]
fn new_rules_are_made_ready_from_the_log_and_the_others_wait_for_nothing() {
    let mut world = held();
    world.redeem(0);
    world.issue("s1", 299);
    world.issue("s1", 1);
    world.catch_up();
    // What was kept, what asks for nothing but its event, and the old form of what has changed.
    let decided = world.decided();
    let rules: Vec<&str> = decided[3..].iter().map(|(rule, _)| rule.as_str()).collect();
    assert_eq!(rules, ["big", "gift", "often"], "1,200 points, and five events of a listed user");
    world.turn_until("it is told", |world| world.told_warming().is_some());
    assert_eq!(world.told_warming(), Some((vec!["often".to_owned(), "sum".to_owned()], 0)));
    let warming =
        |world: &World| world.metrics.rules_warming.with_label_values(&["events", "0"]).get();
    assert_eq!(warming(&world), 2);
    world.broker.borrow_mut().holds_earlier = false;
    world.turn_until("they are ready", |world| world.warming() == 0);
    world.turn_until("it is told", |world| warming(world) == 0);
    assert_eq!(world.decided().len(), 6, "nothing is judged without an event");
    world.issue("s1", 1);
    world.catch_up();
    assert_eq!(world.decided()[6..], [("sum".to_owned(), 1_201.into())]);
    world.issue("s1", 1);
    world.issue("s1", 1);
    world.catch_up();
    assert_eq!(world.decided()[7..], [("often".to_owned(), 8.into())]);
}

#[test]
fn rules_that_are_not_ready_begin_again_after_a_crash_and_with_another_set() {
    let mut world = held();
    world.issue("s1", 299);
    world.catch_up();
    world.workers.clear();
    world.start(SLOT);
    world.turn_until("it goes on", |world| world.workers[SLOT].warming() > 0);
    world.issue("s1", 1);
    world.catch_up();
    let decided = world.decided();
    let rules: Vec<&str> = decided[3..].iter().map(|(rule, _)| rule.as_str()).collect();
    assert_eq!(rules, ["gift", "often"]);
    // The bound is edited before the rule has ever acted.
    world.put_in_force(&AFTER.replace("above: 1000", "above: 1200"));
    for _ in 0..20 {
        world.turn(SLOT);
    }
    world.broker.borrow_mut().holds_earlier = false;
    world.turn_until("they are ready", |world| world.warming() == 0);
    world.issue("s1", 1);
    world.catch_up();
    assert_eq!(world.decided()[5..], [("sum".to_owned(), 1_201.into())]);
    // Begun anew from the log it is the same, and says nothing twice.
    world.workers.clear();
    world.start(SLOT);
    world.issue("s1", 1);
    world.catch_up();
    assert_eq!(world.decided().len(), 6);
}
