//! Rules that count otherwise are made ready from the log, while those that are there go on (R18).

use prometheus::core::Collector;
use serde_json::Value;
use tidegate::engine::daily::DailyReport;
use tidegate::stream::{Place, Sink, Source, Worker};

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
    pub(super) fn put_in_force(&mut self, rules: &str) {
        let id = format!("set-{}", self.broker.borrow().control.len());
        let change = publication_of(rules, "u1\n", &id, super::START_MS);
        self.broker.borrow_mut().control.push((change.key(), change.encode()));
    }

    /// Rule, value and actions of each decision that is written, without those about rule sets.
    pub(super) fn decided(&self) -> Vec<(String, Value)> {
        let broker = self.broker.borrow();
        let written = broker.outputs.get(&Sink::Decisions).into_iter().flatten();
        let values = written.map(|output| -> Value {
            serde_json::from_slice(output.value.as_deref().unwrap()).unwrap()
        });
        let rules =
            values.map(|one| (one["rule"].as_str().unwrap().to_owned(), one["value"].clone()));
        rules.filter(|(rule, _)| rule != "tidegate.rules").collect()
    }

    /// Live decisions of the first level of a rule, by the metrics; `None` where these do not
    /// know it.
    fn counted(&self, rule: &str) -> Option<u64> {
        let families = self.metrics.decisions.collect();
        let mut all = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
        let is_of =
            |label: &prometheus::proto::LabelPair| label.name() == "rule" && label.value() == rule;
        let is_there = all.any(|one| one.get_label().iter().any(is_of));
        let labels = [rule, "0", "live"];
        is_there.then(|| self.metrics.decisions.with_label_values(&labels).get())
    }

    /// Everything that was produced is committed.
    pub(super) fn catch_up(&mut self) {
        self.turn_until("all is committed", |world| {
            let broker = world.broker.borrow();
            let end = i64::try_from(broker.inputs[&EVENTS].len()).unwrap();
            broker.committed.get(&EVENTS) == Some(&end)
        });
    }

    pub(super) fn warming(&self) -> usize {
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
    let counted = |rule: &str| world.counted(rule);
    assert_eq!([counted("sum"), counted("gift")], [Some(0), Some(1)], "counted from 0 on");
    assert_eq!(counted("tidegate.budget"), None);
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

/// `campaign` counts otherwise; `ring`, `quiet` and `odd` are new.
const SHARED: &str = "
version: 1
lists:
  bad: { file: bad.csv, field: user }
rules:
  - { name: campaign, on: issue, per: source, measure: sum(points), window: month, above: 1000 }
  - { name: ring, on: issue, per: source, measure: max(points), window: 1h, above: 200 }
  - { name: quiet, on: issue, per: source, measure: count, window: 2m, below: 1 }
  - { name: odd, on: issue, per: global, measure: count, window: 1m, close_after: 5s,
      zscore: { above: 3 }, baseline: { method: mean, history: 20, min_windows: 5 } }
";

const SHARED_BEFORE: &str = "
version: 1
lists:
  bad: { file: bad.csv, field: user }
rules:
  - { name: campaign, on: issue, per: source, measure: sum(points), window: day, above: 950 }
";

/// A world of two workers and three partitions in which an hour's events have given out 900
/// points, with other rules published and the log of partition 1 not at hand.
fn parted() -> World {
    let mut world = World::calm();
    world.slots = 2;
    world.put_in_force(SHARED_BEFORE);
    (0..2).for_each(|n| world.start(&format!("w-{n}")));
    for minute in 0..30_u32 {
        for partition in 0..3 {
            world.issue_to(partition, "s1", 10);
        }
        world.come_to_rest(4);
        let now_us = world.clock.0.get();
        world.clock.0.set(super::START_MS * 1000 + i64::from(minute + 1) * 60_000_000);
        assert!(world.clock.0.get() > now_us);
    }
    assert_eq!(world.decided(), []);
    world.broker.borrow_mut().held_partition = Some(1);
    world.put_in_force(SHARED);
    for _ in 0..200 {
        world.turn_all();
    }
    world
}

impl World {
    fn turn_all(&mut self) {
        for n in 0..self.slots {
            self.turn(&format!("w-{n}"));
        }
    }

    /// Partitions whose rules are not all in force, over all workers.
    fn all_warming(&self) -> usize {
        self.workers.values().map(Worker::warming).sum()
    }

    /// Decisions but for those about rule sets, once all is committed.
    fn after(&mut self, events: &[(i32, i64)]) -> Vec<(String, Value)> {
        let before = self.decided().len();
        for (partition, points) in events {
            self.issue_to(*partition, "s1", *points);
        }
        for _ in 0..60 {
            self.turn_all();
        }
        self.decided().split_off(before)
    }
}

fn found(decided: &[(String, Value)], rule: &str) -> Vec<i64> {
    let own = decided.iter().filter(|(name, _)| name == rule);
    own.map(|(_, value)| value.as_i64().unwrap()).collect()
}

#[test]
fn a_rule_whose_keys_cross_partitions_waits_until_all_have_told_their_past() {
    let mut world = parted();
    // Partitions 0 and 2 have told theirs; owners go on with the old form, to which they still
    // tell what comes in.
    assert_eq!(world.all_warming(), 4, "partition 1 and all owners");
    let decided = world.after(&[(0, 20), (1, 20), (2, 20)]);
    assert_eq!(decided, [("campaign".to_owned(), 960.into())]);
    // A crash begins it again, and what was told is not told twice.
    world.workers.clear();
    (0..2).for_each(|n| world.start(&format!("w-{n}")));
    for _ in 0..200 {
        world.turn_all();
    }
    assert_eq!(world.all_warming(), 4);
    world.broker.borrow_mut().held_partition = None;
    world.come_to_rest(50);
    assert_eq!(world.all_warming(), 0);
    assert_eq!(world.decided().len(), 1, "nothing is judged without an event");
    // Sum and maximum are those of the whole log, and 60 events in a minute are odd after a
    // half hour of three a minute.
    assert_eq!(found(&world.after(&[(0, 41)]), "campaign"), [1_001]);
    assert_eq!(found(&world.after(&[(2, 201)]), "ring"), [201]);
    let decided = world.after(&[(1, 1); 56]);
    let odd = found(&decided, "odd");
    assert!(matches!(odd[..], [8..62]), "{odd:?}");
    assert_eq!(found(&decided, "quiet"), [0_i64; 0]);
}

/// Partitions that have taken over when an instance crashes go on with telling the old form.
#[test]
fn a_crash_on_the_way_takes_nothing_from_the_old_form() {
    let mut world = parted();
    assert_eq!(world.all_warming(), 4, "partition 1 and all owners");
    world.workers.clear();
    (0..2).for_each(|n| world.start(&format!("w-{n}")));
    for _ in 0..200 {
        world.turn_all();
    }
    assert_eq!(world.all_warming(), 4);
    let decided = world.after(&[(0, 20), (1, 20), (2, 20)]);
    assert_eq!(decided, [("campaign".to_owned(), 960.into())]);
}

#[test]
fn a_source_that_is_silent_long_since_is_no_news_and_one_that_falls_silent_is() {
    let mut world = parted();
    for partition in 0..3 {
        world.issue_to(partition, "s2", 1);
    }
    world.pass(200);
    world.issue_to(0, "s3", 1);
    for _ in 0..200 {
        // Until the watermark says so, too.
        world.turn_all();
    }
    world.broker.borrow_mut().held_partition = None;
    world.come_to_rest(50);
    let quiet = |world: &World| found(&world.decided(), "quiet").len();
    assert_eq!(quiet(&world), 0, "s1 and s2 have been silent for three minutes");
    for _ in 0..6 {
        world.pass(30);
        world.come_to_rest(50);
    }
    assert_eq!(quiet(&world), 1, "s3");
}

/// Midnight of 2025-11-23 in Shanghai, and in UTC.
const SHANGHAI_MS: i64 = 1_763_827_200_000;
const UTC_MS: i64 = SHANGHAI_MS + 8 * HOUR_MS;
const HOUR_MS: i64 = 3_600_000;

impl World {
    /// A point in each partition, at that time.
    fn issue_at(&mut self, at_ms: i64) {
        self.clock.0.set(at_ms * 1000);
        for partition in 0..3 {
            self.issue_to(partition, "s1", 1);
        }
        self.come_to_rest(50);
    }

    /// Date, zone, and the points of the day and of the month, of each account that is written.
    fn accounts(&self) -> Vec<(String, String, i64, i64)> {
        let broker = self.broker.borrow();
        let written = broker.outputs.get(&Sink::Daily).into_iter().flatten();
        let reports = written.map(|output| -> DailyReport {
            serde_json::from_slice(output.value.as_deref().unwrap()).unwrap()
        });
        let account = |report: DailyReport| {
            assert!(report.conservation.ok, "{:?}", report.conservation.faults);
            let points = |figures: tidegate::engine::daily::Figures| figures.issued.points;
            (report.date, report.zone, points(report.total.day), points(report.total.month))
        };
        reports.map(account).collect()
    }
}

#[test]
fn a_zone_that_changes_between_two_midnights_leaves_no_day_out_and_reports_none_twice() {
    let rules = |zone: &str| BEFORE.replace("version: 1", &format!("version: 1\ntimezone: {zone}"));
    let told = |from: &str, to: &str| {
        let mut world = World::calm();
        world.put_in_force(&rules(from));
        world.start(SLOT);
        world.issue_at(SHANGHAI_MS - 10 * HOUR_MS);
        world.issue_at(SHANGHAI_MS + HOUR_MS);
        world.put_in_force(&rules(to));
        world.come_to_rest(50);
        for at_ms in [UTC_MS, SHANGHAI_MS + 24 * HOUR_MS, UTC_MS + 24 * HOUR_MS] {
            world.issue_at(at_ms + HOUR_MS);
        }
        world.accounts()
    };
    let account = |date: &str, zone: &str, day: i64, month: i64| {
        (date.to_owned(), zone.to_owned(), day, month)
    };
    // The day was over in Shanghai; in UTC, eight hours later, it is not over again.
    let west = [account("2025-11-22", "Asia/Shanghai", 3, 3), account("2025-11-23", "UTC", 9, 12)];
    assert_eq!(told("Asia/Shanghai", "UTC"), west);
    // It was not over in UTC; in Shanghai it has been for an hour.
    let east = [
        account("2025-11-22", "Asia/Shanghai", 6, 6),
        account("2025-11-23", "Asia/Shanghai", 3, 9),
    ];
    assert_eq!(told("UTC", "Asia/Shanghai"), east);
}
