//! What matches what, and which matcher leaves nothing for another.

use serde_json::json;

use super::{Matcher, Subject};
use crate::engine::Decision;

fn matcher(value: serde_json::Value) -> Matcher {
    serde_json::from_value(value).unwrap()
}

fn decision() -> Decision {
    serde_json::from_value(json!({
        "id": "1", "ts": 0, "rule": "campaign-cap", "level": 0, "severity": "critical",
        "mode": "live", "key": {"source": "lottery", "user": "u-1"}, "summary": "s",
        "ruleset": "x", "alert": [], "labels": {"team": "fraud"},
    }))
    .unwrap()
}

#[test]
fn all_that_is_present_must_hold() {
    let decision = decision();
    let subject = Subject::of(&decision);
    let rows = [
        (json!({}), true),
        (json!({"severity": ["critical", "info"]}), true),
        (json!({"severity": ["info"]}), false),
        (json!({"rule": ["campaign-cap"]}), true),
        (json!({"rule": ["campaign-*"]}), true),
        (json!({"rule": ["campaign"]}), false),
        (json!({"key": {"source": ["quiz", "lottery"]}}), true),
        (json!({"key": {"source": ["quiz"]}}), false),
        (json!({"key": {"device": []}}), false),
        (json!({"labels": {"team": ["fraud"]}}), true),
        (json!({"labels": {"team": ["growth"]}}), false),
        (json!({"labels": {"owner": ["fraud"]}}), false),
        (json!({"scope": ["device", "user"]}), true),
        (json!({"scope": ["device"]}), false),
        (json!({"rule": ["campaign-cap"], "scope": ["device"]}), false),
    ];
    for (value, expected) in rows {
        assert_eq!(matcher(value.clone()).matches(&subject), expected, "{value}");
    }
    assert_eq!(subject.value("source"), "lottery");
    assert_eq!(subject.value("team"), "fraud");
    assert_eq!(
        (subject.value("rule"), subject.value("ip")),
        ("campaign-cap".into(), String::new())
    );
}

#[test]
fn a_wider_one_covers_a_narrower_one() {
    let rows = [
        (json!({}), json!({"rule": ["a"]}), true),
        (json!({"rule": ["a", "b"]}), json!({"rule": ["a"]}), true),
        (json!({"rule": ["a*"]}), json!({"rule": ["ab"]}), true),
        (json!({"rule": ["a"]}), json!({"rule": ["a", "b"]}), false),
        (json!({"rule": ["a"]}), json!({}), false),
        (json!({"severity": ["critical"]}), json!({"severity": ["critical"], "rule": ["a"]}), true),
        (json!({"key": {"user": ["x"]}}), json!({"key": {"user": ["x"]}}), true),
        (json!({"key": {"user": ["x"]}}), json!({"rule": ["a"]}), false),
    ];
    for (wide, narrow, expected) in rows {
        assert_eq!(
            matcher(wide.clone()).covers(&matcher(narrow.clone())),
            expected,
            "{wide} {narrow}"
        );
    }
}
