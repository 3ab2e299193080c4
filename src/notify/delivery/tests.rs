//! What is asked back comes back, but to programs and in part.

use std::time::Duration;

use prometheus::Registry;
use serde_json::json;

use super::{Delivery, Outcome, Report, Retry};
use crate::notify::notice::Notice;
use crate::notify::{NotifyMetrics, NotifySettings};

fn notice(receiver: &str, ticket: u64) -> Notice {
    let decision = json!({
        "id": ticket.to_string(), "ts": 0, "rule": "cap", "level": 0, "severity": "warning",
        "mode": "live", "key": {"user": "u-1"}, "summary": "s", "ruleset": "x", "alert": [],
    });
    Notice {
        receiver: receiver.to_owned(),
        decisions: vec![serde_json::from_value(decision).unwrap()],
        tickets: vec![ticket],
        ids: vec![ticket.to_string()],
        offered_at: super::Clock::default().now_ms(),
        ..Notice::default()
    }
}

#[tokio::test]
async fn what_waits_for_people_is_asked_back_and_what_waits_for_programs_is_not() {
    // Nobody listens there, and it is not asked again for long.
    let settings: NotifySettings = serde_saphyr::from_str(
        "receivers:
  chat: { slack: { url: 'http://127.0.0.1:1/x' } }
  hook: { webhook: { url: 'http://127.0.0.1:1/x' } }",
    )
    .unwrap();
    let wait = Duration::from_mins(10);
    let retry = Retry { wait_min: wait, wait_max: wait, ..Retry::default() };
    let metrics = NotifyMetrics::new(&Registry::new()).unwrap();
    let (delivery, mut reports) = Delivery::start(&settings, false, retry, &metrics).unwrap();
    for ticket in [64, 128, 192] {
        delivery.hand(notice("chat", ticket));
        delivery.hand(notice("hook", ticket));
    }
    while metrics.value("chat", "failed") < 2 || metrics.value("hook", "failed") < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    delivery.recall();
    let (mut tickets, mut tried) = (Vec::new(), 0);
    for _ in 0..3 {
        let Report { notice, outcome, attempts, .. } = reports.recv().await.unwrap();
        assert_eq!(notice.receiver, "chat");
        let Outcome::Recalled(again_at) = outcome else { unreachable!("{outcome:?}") };
        // What was tried has to wait as long as before.
        assert_eq!(attempts > 0, again_at > notice.offered_at + 200_000);
        tried += attempts;
        delivery.hand_back(notice.clone(), (attempts, again_at));
        tickets.extend(notice.tickets);
    }
    tickets.sort_unstable();
    assert_eq!(tickets, [64, 128, 192]);
    assert_eq!(tried, 2);
    // Again, with what has come meanwhile; nothing was tried sooner for it.
    delivery.hand(notice("chat", 256));
    delivery.recall();
    let mut attempts = Vec::new();
    for _ in 0..4 {
        attempts.push(reports.recv().await.unwrap().attempts);
    }
    attempts.sort_unstable();
    assert_eq!(attempts, [0, 0, 1, 1]);
    delivery.halt(Duration::from_secs(5)).await;
    assert!(reports.recv().await.is_none(), "nothing of the hook");
}
