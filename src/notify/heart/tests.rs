//! When it beats, and when it does not.

use serde_json::json;

use super::{Heart, HeartbeatSettings};
use crate::notify::{NotifyMetrics, NotifySettings};

fn settings(notify: serde_json::Value) -> NotifySettings {
    serde_json::from_value(notify).unwrap()
}

#[tokio::test]
async fn it_stops_at_once_and_begins_again_at_once() {
    let metrics = NotifyMetrics::new(&prometheus::Registry::new()).unwrap();
    // Nobody listens there.
    let notify =
        settings(json!({ "heartbeat": { "url": "http://127.0.0.1:9/x", "every": "10s" } }));
    let names = ("g".to_owned(), "host-a".to_owned());
    let mut heart = Heart::new(&notify, names, &metrics).unwrap().unwrap();
    let count = |outcome: &str| metrics.heartbeats_value("url", outcome);
    let ill = || Err("no canary comes through".to_owned());
    heart.turn(0, Ok(()));
    let mut due = vec![heart.due_at];
    heart.turn(9_999, Ok(()));
    due.push(heart.due_at);
    heart.turn(10_000, Ok(()));
    due.push(heart.due_at);
    assert_eq!(due, [10_000, 10_000, 20_000]);
    heart.turn(12_000, ill());
    assert_eq!(count("withheld"), 0, "none was due yet");
    heart.turn(20_000, ill());
    heart.turn(25_000, ill());
    heart.turn(30_000, ill());
    assert_eq!(count("withheld"), 2);
    // All is well again, and said before the next one would be due.
    heart.turn(31_000, Ok(()));
    assert_eq!(heart.due_at, 41_000);
    for _ in 0..1_000 {
        if count("failed") == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!((count("sent"), count("failed")), (0, 3));
}

#[test]
fn faults_are_told_with_what_would_be_right() {
    let check = |heartbeat: serde_json::Value, expected: &str| {
        let notify = settings(json!({
            "receivers": {
                "mail": { "email": { "smtp": "smtp://h", "from": "a@b.c", "to": ["a@b.c"] } },
                "hook": { "webhook": { "url": "http://h" } },
                "am": { "alertmanager": { "url": "http://h" } },
            },
            "heartbeat": heartbeat,
        }));
        let faults: Vec<String> = notify.faults().iter().map(ToString::to_string).collect();
        assert_eq!(faults.join("\n"), expected);
    };
    check(json!({ "to": ["hook", "am"], "every": "30s" }), "");
    check(json!({ "url": "https://hc.example/x", "method": "POST" }), "");
    check(json!({}), "notify: heartbeat tells nobody: give `url` or `to`");
    check(
        json!({ "to": ["mail"], "every": "1ms" }),
        "notify: heartbeat `every` must be at least 1s\n\
         notify: heartbeat `to` names `mail`: only a webhook or an Alertmanager takes heartbeats",
    );
    check(json!({ "to": ["ma"] }), "notify: `heartbeat.to` names an unknown receiver `ma`");
    assert!(serde_json::from_value::<HeartbeatSettings>(json!({ "method": "PUT" })).is_err());
}
