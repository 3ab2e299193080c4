//! Notices that nothing has brought about: to test a receiver, and to try templates with.

use serde_json::{Map, Value, json};

use super::notice::Notice;
use super::receivers::Language;
use crate::engine::{DAILY, DailyReport, Decision, Trigger, WindowSpan};
use crate::event::EventTime;
use crate::rule::Severity;

/// A notice of these decisions, as one of them, or a group, is told.
pub fn notice(receiver: &str, decisions: Vec<Decision>) -> Notice {
    let rule = decisions.first().map(|decision| decision.rule.clone()).unwrap_or_default();
    let same = decisions.iter().all(|decision| decision.rule == rule);
    Notice {
        receiver: receiver.to_owned(),
        rule: if same { rule } else { String::new() },
        tickets: (1..).take(decisions.len()).collect(),
        ids: decisions.iter().map(|decision| decision.id.clone()).collect(),
        decisions,
        ..Notice::default()
    }
}

/// Says to a receiver that it is being tested. `id` makes it one of its own.
pub fn test(receiver: &str, language: Language, id: &str, now_ms: i64) -> Notice {
    let (summary, description) = match language {
        Language::En => (
            "a test of this receiver, nothing has happened",
            "If you can read this, notices of tidegate arrive here.",
        ),
        Language::Zh => {
            ("接收测试，没有发生任何事件", "能看到这条消息，说明 tidegate 的通知可以送达。")
        }
    };
    let decision = Decision {
        id: id.to_owned(),
        severity: Severity::Info,
        summary: summary.to_owned(),
        description: Some(description.to_owned()),
        ..Decision::about("tidegate.test", receiver, "", EventTime(now_ms))
    };
    notice(receiver, vec![decision])
}

/// A breach of a daily cap, with what was done about it.
pub fn cap() -> Decision {
    Decision {
        key: key("user", "u-1001"),
        level: 1,
        measure: Some("sum(points)".to_owned()),
        value: Some(json!(5_120)),
        bound: Some(json!(5_000)),
        window: Some(WindowSpan {
            start: EventTime(1_763_740_800_000),
            end: EventTime(1_763_827_200_000),
            label: "day 2025-11-22 Asia/Shanghai".to_owned(),
        }),
        summary: "user u-1001: sum(points) 5120 > 5000 in day 2025-11-22".to_owned(),
        description: Some("A user earns at most 5,000 points a day.".to_owned()),
        actions: vec!["freeze issue until 2025-11-22T16:00:00Z".to_owned()],
        ..bare("user-daily-cap", Severity::Critical)
    }
}

/// The account of a day.
pub fn account() -> Option<Decision> {
    let report: DailyReport = serde_json::from_str(include_str!("sample/daily.json")).ok()?;
    Some(Decision {
        key: key("date", &report.date),
        severity: Severity::Info,
        daily: Some(Box::new(report.clone())),
        ..Decision::about(DAILY, DAILY, "9c1f7a2e", report.end)
    })
}

/// One notice of each kind that there is, so that each variable is used and is missing once.
pub(super) fn of_all_kinds() -> Vec<Notice> {
    let at = EventTime(1_763_779_200_123);
    let matched = Decision { trigger: None, ..bare("blacklist", Severity::Warning) };
    let rolling = WindowSpan { start: EventTime(at.0 - 600_000), end: at, label: "10m".to_owned() };
    let score = Decision {
        key: key("global", ""),
        measure: Some("count".to_owned()),
        value: Some(json!(900)),
        bound: Some(json!(4.0)),
        zscore: Some(6.1),
        mean: Some(100.5),
        sd: Some(12.25),
        window: Some(rolling.clone()),
        ..bare("issuance", Severity::Info)
    };
    let forecast = Decision {
        measure: Some("sum(points)".to_owned()),
        value: Some(json!(4_000)),
        bound: Some(json!(5_000)),
        forecast: Some(EventTime(at.0 + 3_600_000)),
        window: Some(rolling),
        mode: "shadow".to_owned(),
        ..bare("soon", Severity::Warning)
    };
    let audit = Decision {
        summary: "list blacklist: u-1001 added".to_owned(),
        actor: Some("ann".to_owned()),
        reason: Some("chargeback".to_owned()),
        ..Decision::about("tidegate.list", "blacklist", "", at)
    };
    let mut kinds: Vec<Notice> = [cap(), matched, score, forecast, audit]
        .into_iter()
        .map(|decision| notice("sample", vec![decision]))
        .collect();
    let all = kinds.iter().flat_map(|notice| notice.decisions.clone()).collect();
    kinds.extend(account().map(|decision| notice("sample", vec![decision])));
    kinds.push(Notice { rest: 212, ..notice("sample", all) });
    kinds
}

fn bare(rule: &str, severity: Severity) -> Decision {
    Decision {
        id: "5b0c2f8e1d7a4c3b9e6f0a1d2c3b4a59".to_owned(),
        severity,
        key: key("user", "u-1001"),
        summary: format!("user u-1001: event matches {rule}"),
        trigger: Some(Trigger {
            id: "01JD8Z6W3X5T0000000000000A".to_owned(),
            topic: "points.events".to_owned(),
            partition: 3,
            offset: 8_812,
        }),
        ..Decision::about(rule, rule, "9c1f7a2e", EventTime(1_763_779_200_123))
    }
}

fn key(field: &str, value: &str) -> Map<String, Value> {
    let value = if field == "global" { Value::Bool(true) } else { Value::from(value) };
    Map::from_iter([(field.to_owned(), value)])
}
