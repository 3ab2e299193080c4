//! What is noted is found again, with what has come of it since.

use std::collections::BTreeMap;

use super::{Lines, body, key, notes, orphans, since, since_key};
use crate::notify::progress::Place;

const DECISION: &str = r#"{"id":"d-1","ts":5,"rule":"cap","level":0,"severity":"warning","mode":"live","key":{"user":"u-1"},"summary":"s","ruleset":"x","alert":[]}"#;

fn lines(names: &[&str], is_over: bool) -> Lines {
    Lines { lines: names.iter().map(|name| (*name).to_owned()).collect(), is_over }
}

#[test]
fn a_note_is_found_by_its_partition_without_what_is_done() {
    let (one, other) = (Place { partition: 1, offset: 40 }, Place { partition: 11, offset: 41 });
    let waits = lines(&["^1 boss", "~chat"], false);
    let mut words = BTreeMap::new();
    for place in [one, other] {
        let text = body(DECISION.as_bytes(), 7, waits.clone()).unwrap();
        words.insert(key(place), text.into_bytes());
    }
    let found = notes(&words, 1);
    assert_eq!(found.keys().collect::<Vec<_>>(), [&40]);
    assert_eq!((found[&40].place, found[&40].written_at), (one, 7));
    assert_eq!(found[&40].decision.id, "d-1");
    assert_eq!((&found[&40].lines, &found[&40].come), (&waits.lines, &Lines::default()));
    words.insert(since_key(one), since(lines(&["~chat"], true)).into_bytes());
    let found = notes(&words, 1);
    assert_eq!(found[&40].lines, lines(&["^1 boss"], false).lines);
    assert_eq!(found[&40].come, lines(&["~chat"], true), "what was done stays done");
    assert!(!notes(&words, 11)[&41].come.is_over);
    assert_eq!(orphans(&words, 1), Vec::<String>::new());
    words.remove(&key(one));
    assert_eq!(orphans(&words, 1), [since_key(one)]);
    assert_eq!(orphans(&words, 11), Vec::<String>::new());
}

#[test]
fn what_another_hand_wrote_says_nothing() {
    assert_eq!(body(b"no decision", 7, Lines::default()), None);
    let text = body(DECISION.as_bytes(), 7, Lines::default()).unwrap();
    let later = text.replace("\"v\":1", "\"v\":2");
    for (name, value) in [("note/1/x", &text), ("note/1/1", &later), ("own/1/1", &text)] {
        let words = BTreeMap::from([(name.to_owned(), value.clone().into_bytes())]);
        assert!(notes(&words, 1).is_empty(), "{name}");
    }
}
