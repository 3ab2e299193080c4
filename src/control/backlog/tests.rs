//! What waits, of records as instances write them.

use serde_json::{Value, json};

use super::Backlog;
use crate::event::EventTime;

fn command(decision: &str, more: &Value) -> Vec<u8> {
    let mut command = json!({ "id": "c", "decision": decision, "ts": 5, "command": "review",
        "target": { "user": "u1" }, "rule": "cap", "severity": "critical", "reason": "much" });
    command.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    command.to_string().into_bytes()
}

fn waiting(backlog: &Backlog, now: i64) -> Vec<String> {
    backlog.waiting(EventTime(now)).into_iter().map(|held| held.decision).collect()
}

#[test]
fn what_waits_is_what_a_budget_held_back_and_nobody_has_decided() {
    let mut backlog = Backlog::default();
    let records = [
        command("d1", &json!({ "scope": "issue", "until": 100 })),
        command("d2", &json!({ "scope": "account", "until": null, "ts": 3 })),
        // A review that the rule asks for, and a freeze that had room.
        command("d3", &json!({})),
        command("d4", &json!({ "command": "freeze", "scope": "account", "until": null })),
        b"no json".to_vec(),
    ];
    for record in &records {
        backlog.take_command(Some(record));
    }
    backlog.take_command(None);
    assert_eq!(waiting(&backlog, 50), ["d2", "d1"]);
    assert_eq!(waiting(&backlog, 100), ["d2"]);

    let decided = json!({ "rule": "tidegate.held", "key": { "decision": "d2" }, "id": "x" });
    backlog.take_decision(Some(decided.to_string().as_bytes()));
    let other = json!({ "rule": "tidegate.freeze", "key": { "decision": "d1" } });
    backlog.take_decision(Some(other.to_string().as_bytes()));
    assert_eq!(waiting(&backlog, 50), ["d1"]);
}
