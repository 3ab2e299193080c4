//! The journal, and the changes that wait for a worker.

use serde_json::json;

use super::{Applied, Begun, Desk, Placed, begin, histories, journal};
use crate::engine::{Act, Change, Holds, PublishedRules, Settings};
use crate::stream::{Failure, PlanCell, SideRecord};

fn change(n: i64, reason: &str) -> Change {
    let text = json!({ "v": 1, "id": format!("c{n}"), "ts": 1, "actor": "ann", "reason": reason,
        "change": "list_remove", "list": "bad", "value": "x" });
    Change::decode(text.to_string().as_bytes()).unwrap()
}

/// A change of rules; `text` is its file.
fn rules(set: &str, text: &str) -> Change {
    let text = json!({ "v": 1, "id": "c", "ts": 1, "actor": "ann", "reason": "why",
        "change": "rules", "ruleset": "v", "set": set,
        "files": [{ "name": "r.yaml", "text": text }] });
    Change::decode(text.to_string().as_bytes()).unwrap()
}

const EMPTY: &str = "version: 1\nrules: []\n";

fn plans() -> PlanCell {
    let Act::Rules(rules) = rules("v-1", EMPTY).act else { unreachable!() };
    PlanCell::new(PublishedRules::plan(&rules, Settings::default()).unwrap())
}

fn written(offset: i64, changes: &[Placed]) -> Vec<Vec<u8>> {
    let applied = Applied { topic: "events", partition: 1, offset, partitions: 4 };
    journal(&applied, changes).into_iter().map(|record| record.value.unwrap()).collect()
}

fn records_of(values: Vec<Vec<u8>>) -> Vec<SideRecord> {
    (0..).zip(values).map(|(offset, value)| SideRecord { offset, value: Some(value) }).collect()
}

#[test]
fn the_journal_gives_back_what_was_applied_and_where() {
    let changes: Vec<Placed> =
        (0..3).map(|n| Placed { at: n * 2, change: change(n, "why") }).collect();
    let values = [written(7, &changes[..1]), written(9, &changes[1..])].concat();
    let histories = histories(&records_of(values)).unwrap();
    let history = &histories[&("events".to_owned(), 1)];
    let places: Vec<(i64, i64, usize)> =
        history.iter().map(|entry| (entry.offset, entry.control, entry.changes.len())).collect();
    assert_eq!(places, [(7, 1, 1), (9, 5, 2)]);
    assert_eq!(history[1].changes, changes[1..]);
    assert_eq!(history[1].partitions, 4);
}

#[test]
fn many_changes_are_cut_into_records_that_a_broker_takes() {
    let changes: Vec<Placed> =
        (0..1_000).map(|n| Placed { at: n, change: change(n, &"w".repeat(1_000)) }).collect();
    let values = written(0, &changes);
    assert!(values.len() > 3 && values.iter().all(|value| value.len() < 400_000));
    let histories = histories(&records_of(values)).unwrap();
    let history = &histories[&("events".to_owned(), 1)];
    let all: Vec<Placed> = history.iter().flat_map(|entry| entry.changes.clone()).collect();
    assert_eq!(all, changes);
    assert_eq!(history.last().unwrap().control, 1_000);
}

#[test]
fn a_partition_that_went_back_leaves_behind_what_lay_ahead() {
    let one = |at| Placed { at, change: change(at, "why") };
    let values = [written(5, &[one(0)]), written(90, &[one(1)]), written(20, &[one(1)])].concat();
    let histories = histories(&records_of(values)).unwrap();
    let history = &histories[&("events".to_owned(), 1)];
    let offsets: Vec<i64> = history.iter().map(|entry| entry.offset).collect();
    assert_eq!(offsets, [5, 20]);
}

#[test]
fn a_journal_that_cannot_be_read_is_no_empty_one() {
    for value in [&b"{"[..], b"", br#"{"v":4}"#] {
        let failure = histories(&records_of(vec![value.to_vec()])).unwrap_err();
        assert!(matches!(&failure, Failure::Fatal(why) if why.contains("offset 0")), "{failure}");
    }
}

#[test]
fn what_is_no_change_is_counted_and_stepped_over() {
    let mut desk = Desk::default();
    let good = change(1, "why").encode();
    let records = vec![
        SideRecord { offset: 3, value: Some(b"{".to_vec()) },
        SideRecord { offset: 5, value: None },
        SideRecord { offset: 6, value: Some(good) },
        SideRecord { offset: 8, value: Some(b"[]".to_vec()) },
    ];
    assert_eq!((desk.take(records, &plans()), desk.next), (2, 9));
    assert_eq!(desk.since(0).len(), 1);
    assert!(desk.has_since(6) && !desk.has_since(7));
    desk.forget_before(7);
    assert_eq!(desk.since(0).len(), 0);
}

#[test]
fn a_rule_set_waits_as_a_plan_and_is_named_in_the_journal_without_its_texts() {
    let (mut desk, plans) = (Desk::default(), plans());
    let record = |offset, change: &Change| SideRecord { offset, value: Some(change.encode()) };
    let faulty = rules("v-3", "version: 1\nrules: [{ nam: x }]\n");
    let records = vec![
        record(2, &rules("v-1", EMPTY)),
        record(3, &rules("v-2", EMPTY)),
        record(4, &faulty),
        record(5, &rules("v-1", EMPTY)),
    ];
    assert_eq!(desk.take(records, &plans), 1);
    let waiting = desk.since(0);
    let values = written(7, &waiting);
    assert!(!String::from_utf8_lossy(&values[0]).contains("r.yaml"));
    let histories = histories(&records_of(values)).unwrap();
    assert_eq!(histories[&("events".to_owned(), 1)][0].changes, waiting);
    let sets = |desk: &Desk| desk.sets.keys().cloned().collect::<Vec<_>>();
    assert_eq!(sets(&desk), ["v-1", "v-2"]);
    desk.forget_before(4);
    assert_eq!(sets(&desk), ["v-1"], "it was published again");
    desk.forget_before(6);
    assert_eq!(sets(&desk), [] as [&str; 0]);
}

#[test]
fn the_holds_that_a_state_begins_with_are_cut_into_records() {
    let account = |n: usize| {
        let hold = json!({ "hold": "h", "scope": "issue", "until": null, "rule": "r", "ts": n });
        json!({ "target": { "user": format!("u{n:05}") }, "holds": [hold] })
    };
    let accounts: Vec<_> = (0..1_200).map(account).collect();
    let holds: Holds = serde_json::from_value(json!({ "accounts": accounts })).unwrap();
    let applied = Applied { topic: "events", partition: 1, offset: 7, partitions: 4 };
    let begun = |holds| Begun {
        set: "v-1".to_owned(),
        at: 8,
        first: true,
        holds,
        armed: vec!["new".to_owned()],
        births: [("new".to_owned(), 7)].into(),
        ..Begun::default()
    };
    let values = begin(&applied, 9, begun(Some(holds)));
    let values: Vec<Vec<u8>> = values.into_iter().map(|record| record.value.unwrap()).collect();
    let histories = histories(&records_of(values)).unwrap();
    let history = &histories[&("events".to_owned(), 1)];
    let firsts: Vec<bool> =
        history.iter().map(|entry| entry.begun.as_ref().unwrap().first).collect();
    assert_eq!(firsts, [true, false, false, false]);
    assert!(history.iter().all(|entry| entry.control == 9 && entry.changes.is_empty()));
    let armed: Vec<usize> =
        history.iter().map(|entry| entry.begun.as_ref().unwrap().armed.len()).collect();
    assert_eq!(armed, [1, 0, 0, 0]);
    assert_eq!(history[0].begun.as_ref().unwrap().births["new"], 7);
    assert_eq!(begin(&applied, 9, begun(None)).len(), 1);
}
