//! The words of notices.

use serde_json::json;

use super::{Message, Texts};
use crate::notify::Notice;

fn write(key: &serde_json::Value, rest: usize) -> Message {
    let decision = serde_json::from_value(json!({
        "id": "5b0c", "ts": 1_763_779_200_123_i64, "rule": "user-daily-cap", "level": 1,
        "severity": "critical", "mode": "live", "key": key, "measure": "sum(points)",
        "value": 5120, "bound": 5000,
        "window": {"start": 1_763_740_800_000_i64, "end": 1_763_827_200_000_i64,
                   "label": "day 2025-11-22 Asia/Shanghai"},
        "summary": "sum(points) 5120 > 5000", "ruleset": "x", "alert": [],
        "description": "no more than 5000 a day", "actions": ["freeze issue"],
    }))
    .unwrap();
    let notice = Notice {
        receiver: "mail".to_owned(),
        rule: "user-daily-cap".to_owned(),
        decisions: vec![decision],
        rest,
        tickets: vec![1],
        offered_at: 0,
    };
    Texts::new().unwrap().write(&notice).unwrap()
}

#[test]
fn says_who_what_when_and_what_was_done() {
    let message = write(&json!({"user": "u-1***"}), 7);
    assert_eq!(message.subject, "[critical] user-daily-cap: user u-1*** and 7 more");
    assert_eq!(
        message.short,
        "[critical] user-daily-cap: user u-1*** sum(points) 5120 against 5000, \
         until 2025-11-23 00:00:00 CST; freeze issue; and 7 more"
    );
    insta::assert_snapshot!(message.text, @r"
    sum(points) 5120 > 5000
      who:    user u-1***
      rule:   user-daily-cap (critical): no more than 5000 a day
      value:  sum(points) 5120 against 5000
      window: day 2025-11-22 Asia/Shanghai, ends 2025-11-23 00:00:00 CST
      done:   freeze issue
      at:     2025-11-22 10:40:00 CST, decision 5b0c

    and 7 more, all in the decisions topic
    ");
}

#[test]
fn a_key_cannot_write_html_or_break_a_line() {
    let message = write(&json!({"source": "<script>\r\nBcc: x"}), 0);
    assert!(message.html.contains("&lt;script&gt;"), "{}", message.html);
    assert!(!message.html.contains("<script>"));
    assert_eq!(message.subject, "[critical] user-daily-cap: source <script> Bcc: x");
}
