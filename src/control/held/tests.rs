//! What a dry run says of holds.

use serde_json::{Value, json};

use super::{Accounts, Held, Origins};
use crate::engine::{Act, Change};

fn unfreeze(fields: &Value) -> Act {
    let mut change = json!({ "v": 1, "id": "c", "ts": 1, "actor": "a", "reason": "r",
        "change": "unfreeze" });
    change.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    Change::decode(change.to_string().as_bytes()).unwrap().act
}

fn take(accounts: &mut Accounts, user: &str, holds: &[(&str, &str, i64)]) {
    let hold = |(id, rule, ts): &(&str, &str, i64)| json!({ "hold": id, "scope": "issue", "until": null, "rule": rule, "ts": ts });
    let holds: Vec<Value> = holds.iter().map(hold).collect();
    let account = json!({ "target": { "user": user }, "holds": holds });
    accounts.take(format!("user:{user}").as_bytes(), Some(account.to_string().as_bytes()));
}

fn ids(holds: &[Held]) -> Vec<&str> {
    holds.iter().map(|held| held.hold.hold.as_str()).collect()
}

#[test]
fn the_last_record_of_a_target_counts_and_only_what_is_named_is_listed() {
    let mut accounts = Accounts::default();
    take(&mut accounts, "u1", &[("h0", "cap", 1)]);
    take(
        &mut accounts,
        "u1",
        &[("h1", "cap", 5), ("h2", "burst", 6), ("h3", "tidegate.freeze", 7)],
    );
    take(&mut accounts, "u2", &[("h4", "cap", 9)]);
    take(&mut accounts, "u3", &[("h5", "cap", 9)]);
    take(&mut accounts, "u3", &[]);
    take(&mut accounts, "u4", &[("h6", "cap", 9)]);
    accounts.take(b"user:u4", None);
    let rows = [
        (json!({ "rule": "cap" }), vec!["h1", "h4"]),
        (json!({ "rule": "cap", "since": 6 }), vec!["h4"]),
        (json!({ "target": { "user": "u1" } }), vec!["h1", "h2", "h3"]),
        (json!({ "hold": "h3" }), vec!["h3"]),
        // Which set placed them is another question; none placed the one by hand.
        (json!({ "ruleset": "9c1f7a2e" }), vec!["h1", "h2", "h4"]),
    ];
    for (fields, expected) in rows {
        assert_eq!(ids(&accounts.lifted_by(&unfreeze(&fields))), expected, "{fields}");
    }
}

#[test]
fn decisions_tell_which_set_placed_a_hold() {
    let mut accounts = Accounts::default();
    take(&mut accounts, "u1", &[("h1", "cap", 5)]);
    take(&mut accounts, "u2", &[("h2", "cap", 6)]);
    let mut holds = accounts.lifted_by(&unfreeze(&json!({ "rule": "cap" })));
    let mut origins = Origins::of(&holds);
    for (id, ruleset) in [("h1", "aaaaaaaa"), ("h9", "bbbbbbbb")] {
        let decision = json!({ "id": id, "ruleset": ruleset, "rule": "cap" }).to_string();
        origins.take(Some(decision.as_bytes()));
    }
    origins.take(Some(b"{"));
    origins.take(None);
    origins.note(&mut holds);
    let sets: Vec<Option<&str>> = holds.iter().map(|held| held.hold.ruleset.as_deref()).collect();
    assert_eq!(sets, [Some("aaaaaaaa"), None]);
}
