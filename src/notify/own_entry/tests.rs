//! What is kept of an instance is its own; what one left behind that did not come back ends.

use std::collections::BTreeMap;

use super::{Entry, entries, key, left_behind};
use crate::engine::Decision;
use crate::event::EventTime;
use crate::notify::notice::{DIRECT, HELD};

fn entry(instance: &str, id: &str, at: i64) -> Entry {
    let rule = "tidegate.canary_lost";
    let began = Decision::of_instance(rule, instance, "x", EventTime(5));
    let began = Decision { id: id.to_owned(), value: Some(120.into()), ..began };
    Entry { at, ..Entry::new(began) }
}

fn words(all: &[(&str, &Entry)]) -> BTreeMap<String, Vec<u8>> {
    let word = |(instance, entry): &(&str, &Entry)| {
        (key(instance, &entry.began.id), entry.text().into_bytes())
    };
    all.iter().map(word).collect()
}

#[test]
fn who_was_told_is_found_again() {
    let mut first = entry("host-a", "d-1", 9);
    first.tell(DIRECT, "chat", false, 7);
    first.tell(HELD + 1, "boss", false, 8);
    first.tell(HELD, "chat", true, 9);
    let other = entry("host-ab", "d-2", 9);
    let words = words(&[("host-a", &first), ("host-ab", &other)]);
    let found = entries(&words, "host-a");
    assert_eq!(found, BTreeMap::from([("d-1".to_owned(), first)]));
    let knows = |line, is_end| found["d-1"].knows(line, is_end);
    // Who was told waits for it on no line; a step is one of its own.
    assert!(knows("chat", false) && knows("~chat", false) && knows("^1 boss", false));
    assert!(!knows("boss", false) && !knows("^2 boss", false));
    assert!(knows("chat", true) && knows("~chat", true) && !knows("^1 boss", true));
    let told: Vec<(&str, i64)> =
        found["d-1"].told().map(|(line, at)| (line.as_str(), at)).collect();
    assert_eq!(told, [("^1 boss", 8), ("chat", 7), ("~chat", 7)]);
}

#[test]
fn what_another_hand_wrote_says_nothing() {
    let text = entry("host-a", "d-1", 9).text();
    for text in ["", "{}", &text.replace("\"v\":1", "\"v\":2")] {
        let words = BTreeMap::from([(key("host-a", "d-1"), text.as_bytes().to_vec())]);
        assert_eq!(entries(&words, "host-a"), BTreeMap::new(), "{text}");
        assert_eq!(left_behind(&words, "host-b", 10), BTreeMap::new(), "{text}");
    }
}

#[test]
fn what_an_instance_has_left_behind_is_given_up() {
    let (own, old) = (entry("host-a", "d-1", 1), entry("host-b", "d-2", 9));
    let (new, mut ended) = (entry("host-b", "d-3", 10), entry("host-c", "d-4", 2));
    let said = Decision { summary: "over".to_owned(), ..ended.began.clone() };
    ended.over = Some(said.clone());
    let all = [("host-a", &own), ("host-b", &old), ("host-b", &new), ("host-c", &ended)];
    let mut left = left_behind(&words(&all), "host-a", 10);
    assert_eq!(left.keys().collect::<Vec<_>>(), ["own/host-b/d-2", "own/host-c/d-4"]);
    for entry in left.values_mut() {
        entry.give_up("has not come back for a day", 77);
    }
    let over = left["own/host-b/d-2"].over.clone().unwrap();
    assert_eq!(
        over.summary,
        "instance host-b has not come back for a day; what it said before is taken to be over: \
         tidegate.canary_lost"
    );
    assert_eq!(
        (over.rule.as_str(), over.ts, &over.key["instance"]),
        ("tidegate.resolved", EventTime(77), &"host-b".into())
    );
    let resolved = over.resolved.unwrap();
    assert_eq!((resolved.decision.as_str(), &resolved.peak), ("d-2", &120.into()));
    assert_eq!(left["own/host-c/d-4"].over, Some(said), "it has said so itself");
}
