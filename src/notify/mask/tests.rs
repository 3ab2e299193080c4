//! What is covered, and what must not be.

use serde_json::json;

use super::{mask, masked};
use crate::engine::Decision;

#[test]
fn shows_three_characters_and_at_most_half() {
    let rows = [
        ("u-1001", "u-1***"),
        ("user-88231", "use***"),
        ("abcd", "ab***"),
        ("abc", "a***"),
        ("a", "***"),
        ("", "***"),
        ("会员一二三四", "会员一***"),
    ];
    for (plain, cover) in rows {
        assert_eq!(mask(plain), cover, "{plain}");
    }
}

fn decision(key: &serde_json::Value, summary: &str, action: &str) -> Decision {
    serde_json::from_value(json!({
        "id": "00", "ts": 0, "rule": "r", "level": 0, "severity": "critical", "mode": "live",
        "key": key, "summary": summary, "ruleset": "x", "actions": [action],
    }))
    .unwrap()
}

#[test]
fn covers_the_key_and_every_text_that_repeats_it() {
    let hidden = masked(&decision(
        &json!({"user": "u-1001", "device": "d-9f3a12", "source": "signin"}),
        "user u-1001, device d-9f3a12, source signin: count 12 > 10",
        "freeze user u-1001",
    ));
    assert_eq!(hidden.key["user"], "u-1***");
    assert_eq!(hidden.key["source"], "signin");
    assert_eq!(hidden.summary, "user u-1***, device d-9***, source signin: count 12 > 10");
    assert_eq!(hidden.actions, ["freeze user u-1***"]);
}

#[test]
fn a_short_id_leaves_the_numbers_alone() {
    let hidden = masked(&decision(&json!({"user": "5"}), "user 5: sum 5120 > 5000", ""));
    assert_eq!(hidden.summary, "user ***: sum 5120 > 5000");
}

#[test]
fn an_attribute_nobody_thought_of_is_covered() {
    let hidden =
        masked(&decision(&json!({"attrs.phone": 15_550_101}), "phone 15550101: 3 > 2", ""));
    assert_eq!(hidden.key["attrs.phone"], "155***");
    assert_eq!(hidden.summary, "phone 155***: 3 > 2");
}
