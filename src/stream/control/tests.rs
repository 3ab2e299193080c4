//! The journal, and the changes that wait for a worker.

use serde_json::json;

use super::{Applied, Desk, Placed, histories, journal};
use crate::engine::Change;
use crate::stream::{Failure, SideRecord};

fn change(n: i64, reason: &str) -> Change {
    let text = json!({ "v": 1, "id": format!("c{n}"), "ts": 1, "actor": "ann", "reason": reason,
        "change": "list_remove", "list": "bad", "value": "x" });
    Change::decode(text.to_string().as_bytes()).unwrap()
}

fn written(offset: i64, changes: &[Placed]) -> Vec<Vec<u8>> {
    let applied = Applied { topic: "events", partition: 1, offset, partitions: 4 };
    journal(&applied, changes).into_iter().map(|record| record.value.unwrap()).collect()
}

fn records(values: Vec<Vec<u8>>) -> Vec<SideRecord> {
    (0..).zip(values).map(|(offset, value)| SideRecord { offset, value: Some(value) }).collect()
}

#[test]
fn the_journal_gives_back_what_was_applied_and_where() {
    let changes: Vec<Placed> =
        (0..3).map(|n| Placed { at: n * 2, change: change(n, "why") }).collect();
    let values = [written(7, &changes[..1]), written(9, &changes[1..])].concat();
    let histories = histories(&records(values)).unwrap();
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
    let histories = histories(&records(values)).unwrap();
    let history = &histories[&("events".to_owned(), 1)];
    let all: Vec<Placed> = history.iter().flat_map(|entry| entry.changes.clone()).collect();
    assert_eq!(all, changes);
    assert_eq!(history.last().unwrap().control, 1_000);
}

#[test]
fn a_partition_that_went_back_leaves_behind_what_lay_ahead() {
    let one = |at| Placed { at, change: change(at, "why") };
    let values = [written(5, &[one(0)]), written(90, &[one(1)]), written(20, &[one(1)])].concat();
    let histories = histories(&records(values)).unwrap();
    let history = &histories[&("events".to_owned(), 1)];
    let offsets: Vec<i64> = history.iter().map(|entry| entry.offset).collect();
    assert_eq!(offsets, [5, 20]);
}

#[test]
fn a_journal_that_cannot_be_read_is_no_empty_one() {
    for value in [&b"{"[..], b"", br#"{"v":2}"#] {
        let failure = histories(&records(vec![value.to_vec()])).unwrap_err();
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
    assert_eq!((desk.take(records), desk.next), (2, 9));
    assert_eq!(desk.since(0).len(), 1);
    assert!(desk.has_since(6) && !desk.has_since(7));
    desk.forget_before(7);
    assert_eq!(desk.since(0).len(), 0);
}
