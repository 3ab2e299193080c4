//! Changes as records: their codec, their keys, and which state acts on them.

use serde_json::{Map, Value, json};

use super::{Act, Change, Seat, murmur2};

fn change(value: &Value) -> Result<Change, String> {
    let mut whole = json!({ "v": 1, "id": "c1", "ts": 1_763_779_200_123_i64, "actor": "ann",
        "reason": "ticket 42" });
    let fields = value.as_object().unwrap().clone();
    whole.as_object_mut().unwrap().extend(fields);
    Change::decode(whole.to_string().as_bytes())
}

fn freeze(target: &Value) -> Result<Change, String> {
    change(&json!({ "change": "freeze", "target": target, "scope": "issue", "until": null }))
}

#[test]
fn the_hash_is_that_of_kafka() {
    // From the tests of Kafka's own `Utils.murmur2`.
    let rows = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];
    for (text, expected) in rows {
        assert_eq!(murmur2(text.as_bytes()).cast_signed(), expected, "{text}");
    }
}

#[test]
fn a_change_is_read_as_it_was_written() {
    let rows = [
        json!({ "change": "freeze", "target": { "user": "u1" }, "scope": "account", "until": 5 }),
        json!({ "change": "freeze", "target": { "global": true }, "scope": "issue", "until": null }),
        json!({ "change": "unfreeze", "target": { "user": "u1" } }),
        json!({ "change": "unfreeze", "hold": "h1" }),
        json!({ "change": "unfreeze", "rule": "cap" }),
        json!({ "change": "unfreeze", "ruleset": "9c1f7a2e" }),
        json!({ "change": "unfreeze", "rule": "cap", "ruleset": "9c1f7a2e", "since": 5 }),
        json!({ "change": "release", "decision": "d1", "rule": "cap", "target": { "user": "u1" },
            "scope": "issue", "until": 5 }),
        json!({ "change": "discard", "decision": "d1", "rule": "cap", "target": { "user": "u1" } }),
        json!({ "change": "list_add", "list": "bad", "value": "u1", "until": 7 }),
        json!({ "change": "list_remove", "list": "bad", "value": "u1" }),
        json!({ "change": "rules", "ruleset": "9c1f7a2e", "set": "9c1f7a2e-1",
            "files": [{ "name": "a.yaml", "text": "version: 1" }],
            "lists": [{ "name": "bad", "text": "value" }] }),
    ];
    for row in rows {
        let read = change(&row).unwrap();
        let written: Value = serde_json::from_slice(&read.encode()).unwrap();
        for (field, value) in row.as_object().unwrap() {
            assert_eq!(&written[field], value, "{row}");
        }
        assert_eq!(Change::decode(&read.encode()), Ok(read));
    }
}

#[test]
fn what_cannot_be_a_change_is_refused_with_its_reason() {
    let rows = [
        (json!({ "v": 2 }), "version 2 is not known, only 1"),
        (json!({ "change": "melt" }), "unknown variant"),
        (json!({ "change": "unfreeze" }), "an unfreeze names a target, a hold, a rule or"),
        (json!({ "change": "unfreeze", "since": 5 }), "an unfreeze names a target, a hold, a rule"),
        (json!({ "change": "list_remove", "list": "", "value": "x" }), "`list` is empty"),
        (json!({ "change": "rules", "ruleset": "v", "set": "s" }), "the rule set has no files"),
        (json!({ "change": "rules", "ruleset": "v", "set": "" }), "`set` is empty"),
        (
            json!({ "change": "list_remove", "list": "l", "value": "x", "reason": "" }),
            "`reason` is empty",
        ),
        (
            json!({ "change": "list_remove", "list": "l", "value": "x".repeat(257) }),
            "`value` is longer than 256 bytes",
        ),
    ];
    for (row, expected) in rows {
        let said = change(&row).unwrap_err();
        assert!(said.contains(expected), "{row}: {said}");
    }
    let rows = [
        (json!({}), "the target is empty"),
        (json!({ "name": "x" }), "no target has the field `name`"),
        (json!({ "user": 5 }), "the target's `user` is no text"),
        (json!({ "global": true, "user": "x" }), "no target has the field `global`"),
    ];
    for (target, expected) in rows {
        let said = freeze(&target).unwrap_err();
        assert!(said.contains(expected), "{target}: {said}");
    }
    assert!(Change::decode(b"{").unwrap_err().contains("not JSON"));
    assert!(Change::decode(b"").unwrap_err().contains("not JSON"));
}

#[test]
fn compaction_keeps_interventions_and_the_last_edit_of_a_value() {
    let keys: Vec<String> = [
        json!({ "change": "unfreeze", "rule": "cap" }),
        json!({ "change": "list_add", "list": "bad", "value": "u1", "until": null }),
        json!({ "change": "list_remove", "list": "bad", "value": "u1" }),
        json!({ "change": "rules", "ruleset": "v", "set": "v-1",
            "files": [{ "name": "a.yaml", "text": "version: 1" }] }),
    ]
    .iter()
    .map(|row| change(row).unwrap().key())
    .collect();
    assert_eq!(keys, ["unfreeze/c1", "list/bad/u1", "list/bad/u1", "rules/v-1"]);
}

#[test]
fn one_state_alone_has_the_seat() {
    let seat = |target| freeze(&target).unwrap().seat(4);
    // 479470107 mod 4
    assert_eq!(seat(json!({ "user": "abc" })), Seat::Events(3));
    // The sign bit is cut off before the remainder.
    let foobar = (-790_332_482_i32).cast_unsigned() & 0x7fff_ffff;
    assert_eq!(seat(json!({ "user": "foobar" })), Seat::Events(foobar % 4));
    assert_eq!(seat(json!({ "source": "s1", "user": "abc" })), Seat::Events(3));
    assert!(matches!(seat(json!({ "device": "abc" })), Seat::Partials(0..4)));
    assert!(matches!(seat(json!({ "global": true })), Seat::Partials(0..4)));
    let all = change(&json!({ "change": "unfreeze", "rule": "cap" })).unwrap();
    assert_eq!(all.seat(4), Seat::Events(0));
    let target = Map::from_iter([("user".to_owned(), json!("abc"))]);
    let act =
        Act::Unfreeze { target: Some(target), hold: None, rule: None, ruleset: None, since: None };
    assert_eq!(Change { act, ..all }.seat(4), Seat::Events(3));
}
