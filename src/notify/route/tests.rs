//! Routes, groups and intervals, by a clock of our own.

use serde_json::json;

use super::{Notice, Router, Shares};
use crate::engine::Decision;

fn decision(id: u32, rule: &str, severity: &str) -> Decision {
    serde_json::from_value(json!({
        "id": id.to_string(), "ts": 0, "rule": rule, "level": 0, "severity": severity,
        "mode": "live", "key": {"user": "u-1001"}, "summary": "s", "ruleset": "x", "alert": [],
    }))
    .unwrap()
}

fn router() -> Router {
    Router::new(
        serde_saphyr::from_str(
            r#"
receivers:
  mail: { slack: { url: "http://x" } }
  chat: { slack: { url: "http://x" } }
  hook: { webhook: { url: "http://x" } }
routes:
  - { match: { severity: [critical] }, to: [mail, hook], group_wait: 10s, group_interval: 1m, repeat_interval: 4h }
  - { match: { rule: [odd], key: { user: [u-1001] } }, to: [chat] }
default: [mail]
"#,
        )
        .unwrap(),
    )
}

fn told(notices: &[Notice]) -> Vec<(&str, Vec<u64>, usize)> {
    notices.iter().map(|n| (n.receiver.as_str(), n.tickets.clone(), n.rest)).collect()
}

#[test]
fn machines_hear_at_once_and_people_in_groups() {
    let mut router = router();
    assert_eq!(router.offer(&decision(1, "cap", "critical"), 1, 0).waiting, ["hook", "mail"]);
    assert_eq!(router.offer(&decision(2, "cap", "critical"), 2, 3_000).waiting.len(), 2);
    assert_eq!(told(&router.due(3_000)), [("hook", vec![1], 0), ("hook", vec![2], 0)]);
    assert_eq!(router.next_due_at(), Some(10_000));
    assert_eq!(told(&router.due(9_999)), []);
    assert_eq!(told(&router.due(10_000)), [("mail", vec![1, 2], 0)]);
    // The next of the group waits for the interval, and tells only what is new.
    router.offer(&decision(3, "cap", "critical"), 3, 11_000);
    router.due(11_000);
    assert_eq!(router.next_due_at(), Some(70_000));
    assert_eq!(told(&router.due(70_000)), [("mail", vec![3], 0)]);
    // After a quiet time a group starts anew.
    router.offer(&decision(4, "cap", "critical"), 4, 500_000);
    router.due(500_000);
    assert_eq!(router.next_due_at(), Some(510_000));
}

#[test]
fn routes_by_rule_key_and_name() {
    let mut router = router();
    router.offer(&decision(1, "odd", "warning"), 1, 0);
    router.offer(&decision(2, "other", "warning"), 2, 0);
    let mut named = decision(3, "odd", "warning");
    named.alert = Some(vec!["hook".to_owned()]);
    router.offer(&named, 3, 0);
    let mut lost = decision(4, "lost", "info");
    lost.alert = Some(vec!["no-such".to_owned()]);
    router.offer(&lost, 4, 0);
    let mut all = told(&router.due(100_000))
        .iter()
        .map(|t| (t.0.to_owned(), t.1.clone()))
        .collect::<Vec<_>>();
    all.sort();
    let want = [("chat", 1), ("hook", 3), ("mail", 2), ("mail", 4)];
    assert_eq!(all, want.map(|(name, ticket)| (name.to_owned(), vec![ticket])));
}

#[test]
fn shadow_and_silent_decisions_tell_nobody() {
    let mut router = router();
    let mut shadow = decision(1, "cap", "critical");
    shadow.mode = "shadow".to_owned();
    let mut silent = decision(2, "cap", "critical");
    silent.alert = None;
    for decision in [shadow, silent] {
        assert_eq!(router.offer(&decision, 1, 0), Shares::default());
    }
    assert_eq!(router.next_due_at(), None);
}

#[test]
fn a_decision_read_again_is_told_again_only_after_the_repeat_interval() {
    let mut router = router();
    let mut waiting = |ticket, now_ms| {
        let shares = router.offer(&decision(1, "cap", "critical"), ticket, now_ms);
        assert_eq!(shares.waiting.len() + shares.told.len(), 2);
        shares.waiting.len()
    };
    assert_eq!(waiting(1, 0), 2);
    assert_eq!(waiting(2, 14_399_999), 0);
    assert_eq!(waiting(3, 14_400_000), 2);
}

#[test]
fn a_storm_is_one_notice_that_counts_the_rest() {
    let mut router = router();
    for n in 0..1_434 {
        router.offer(&decision(n, "storm", "info"), u64::from(n), 0);
    }
    let notices = router.due(10_000);
    assert_eq!(notices.len(), 1);
    assert_eq!((notices[0].decisions.len(), notices[0].rest), (50, 1_384));
    assert_eq!(notices[0].tickets.len(), 1_434);
}

#[test]
fn after_a_restart_only_those_not_yet_told_are_told_and_soon() {
    let mut router = router();
    for (ticket, waiting, was_told) in
        [(1, vec!["mail"], vec!["hook"]), (2, vec![], vec!["hook", "mail"])]
    {
        let decision = decision(1, "cap", "critical");
        let shares = router.offer_again(&decision, ticket, 0, |receiver| receiver == "hook");
        assert_eq!(shares.waiting, waiting);
        assert_eq!(shares.told, was_told);
    }
    assert_eq!(told(&router.due(999)), []);
    assert_eq!(told(&router.due(1_000)), [("mail", vec![1], 0)]);
}
