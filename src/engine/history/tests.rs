//! What is kept of the past, and for how long.

use std::sync::Arc;

use super::*;
use crate::engine::partial::Slot;
use crate::engine::space::Key;
use crate::engine::tally::Added;
use crate::engine::{Lists, Settings};
use crate::rule::{Source, load};

const HOUR: i64 = 3_600_000;

const RULES: &str = "
version: 1
rules:
  - { name: rolling, on: issue, per: source, measure: count, window: 2h, above: 5 }
  - { name: day, on: issue, per: device, measure: count, window: day, above: 5 }
  - { name: silent, on: issue, per: source, measure: count, window: 1h, below: 5 }
  - { name: odd, on: issue, per: source, measure: count, window: 1h, zscore: { above: 3 },
      baseline: { method: mean, history: 5, min_windows: 2 } }
  - { name: user, on: issue, measure: count, window: 1h, above: 5 }
";

fn plan_of(rules: &str) -> Plan {
    let set = load(&[Source { path: "a.yaml".to_owned(), text: rules.to_owned() }]).unwrap();
    let settings = Settings { idle_after_ms: 0, allowed_lateness_ms: 0, ..Settings::default() };
    Plan::new(Arc::new(set), Lists::default(), settings)
}

fn plan() -> Plan {
    let plan = plan_of(RULES);
    let births = plan.births_after(&plan_of("version: 1\nrules: []\n"), 3);
    assert_eq!(births.len(), 4, "what a user counts needs no birth");
    plan.born(&births)
}

/// An outbox with one event of a rule at each of these hours.
fn kept(plan: &Plan, rule: usize, hours: &[i64]) -> PartialsOutbox {
    let mut outbox = PartialsOutbox::default();
    outbox.collect();
    for hour in hours {
        add(&mut outbox, plan, rule, ("k", hour * HOUR));
    }
    outbox
}

fn add(outbox: &mut PartialsOutbox, plan: &Plan, rule: usize, (key, ts): (&str, i64)) {
    let fingerprint = plan.info[rule].fingerprint;
    let (key, id) = (&Key::new(key), "e");
    let slot = Slot {
        at: rule,
        rule: fingerprint,
        key,
        step: ts,
        reversal: false,
        id,
        event_ts: ts,
        offset: ts,
    };
    let one = Added { count: 1, ..Added::default() };
    outbox.pending.add(&slot, ts, (&one, &Added::default()));
}

fn told(mut outbox: PartialsOutbox, plan: &Plan, now: i64) -> Vec<(u32, Vec<u8>)> {
    let from = Origin { topic: Arc::from("points.events"), partition: 1 };
    outbox.tell_history(plan, (&from, Some(EventTime(now * HOUR)), false), 3)
}

#[test]
fn what_no_window_counts_any_more_is_not_told() {
    let plan = plan();
    let hours = |rule: usize, now: i64| -> Vec<i64> {
        let records = told(kept(&plan, rule, &(0..240).collect::<Vec<i64>>()), &plan, now);
        let entries = records.iter().flat_map(|(_, bytes)| Batch::decode(bytes).unwrap().entries);
        entries.map(|entry| entry.ts / HOUR).collect()
    };
    assert_eq!(hours(0, 239), [238, 239]);
    assert_eq!(hours(1, 235), (216..240).collect::<Vec<i64>>(), "the day of the watermark");
    // A key is known for a week, and a baseline is of four times five windows and one more.
    assert_eq!(hours(2, 239), (71..240).collect::<Vec<i64>>());
    assert_eq!(hours(3, 239), (215..240).collect::<Vec<i64>>());
}

#[test]
fn every_owner_hears_that_the_past_is_told() {
    let plan = plan();
    let records = told(kept(&plan, 0, &[9]), &plan, 10);
    let owners: Vec<u32> = records.iter().map(|(to, _)| *to).collect();
    assert_eq!(owners, [0, 1, 2]);
    let mut entries = 0;
    for (_, bytes) in &records {
        let batch = Batch::decode(bytes).unwrap();
        let mut rules = batch.rules.to_vec();
        rules.sort_unstable();
        let mut all = plan.told_rules();
        all.sort_unstable();
        assert_eq!((batch.tells, rules), (true, all));
        entries += batch.entries.len();
    }
    assert_eq!(entries, 1);
    // Rules that were always there have nothing to tell.
    let old = Plan::born(&plan, &BTreeMap::new());
    assert_eq!(told(kept(&old, 0, &[9]), &old, 10), []);
}

#[test]
fn what_waits_for_the_next_flush_is_none_of_the_past() {
    let plan = plan();
    let mut outbox = PartialsOutbox::default();
    add(&mut outbox, &plan, 0, ("k", 9 * HOUR));
    let records = told(outbox.clone(), &plan, 10);
    assert!(records.iter().all(|(_, bytes)| Batch::decode(bytes).unwrap().entries.is_empty()));
    assert!(!outbox.is_empty());
}

#[test]
fn a_rule_that_brings_too_much_is_given_up() {
    let plan = plan();
    let mut outbox = kept(&plan, 0, &[]);
    **outbox.history.as_mut().unwrap() = History { due: 100, room: 20_000, given_up: Vec::new() };
    for n in 0..400 {
        if outbox.takes(2, true) {
            add(&mut outbox, &plan, 2, (&format!("s{n}"), n));
        }
        if n % 10 == 0 {
            add(&mut outbox, &plan, 0, (&format!("s{n}"), n));
        }
        outbox.keep_small(&plan, Some(EventTime(n)));
    }
    assert_eq!(outbox.given_up(), [2]);
    assert!(outbox.takes(0, true) && !outbox.takes(0, false));
    let records = told(outbox, &plan, 0);
    let entries = records.iter().flat_map(|(_, bytes)| Batch::decode(bytes).unwrap().entries);
    assert_eq!(entries.count(), 40);
}
