//! No minute sees more than the bound.

use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::{Quota, RateLimiter};
use serde_json::{Value, json};

use super::quota;

fn of(settings: &Value) -> Option<Quota> {
    quota(&serde_json::from_value(settings.clone()).unwrap())
}

/// The most that pass in any one minute of five, tried every tenth of a second.
fn most_in_a_minute(quota: Quota) -> usize {
    let clock = FakeRelativeClock::default();
    let limit = RateLimiter::direct_with_clock(quota, clock.clone());
    let mut passed = Vec::new();
    for tick in 0..3_000_u32 {
        if limit.check().is_ok() {
            passed.push(tick);
        }
        clock.advance(Duration::from_millis(100));
    }
    let within = |from: &u32| passed.iter().filter(|at| (*from..from + 600).contains(at)).count();
    passed.iter().map(within).max().unwrap_or(0)
}

#[test]
fn a_robot_never_exceeds_its_bound_in_any_minute() {
    let robot = json!({ "url": "http://x" });
    let rows = [
        (json!({ "dingtalk": robot }), 20),
        (json!({ "wecom": robot }), 20),
        (json!({ "feishu": robot }), 60),
        (json!({ "slack": robot }), 30),
        (json!({ "wecom": robot, "rate": 8 }), 8),
        (json!({ "wecom": robot, "rate": 2 }), 2),
    ];
    for (settings, bound) in rows {
        let most = most_in_a_minute(of(&settings).unwrap());
        assert!(most <= bound && most + 2 >= bound, "{settings}: {most}");
    }
}

#[test]
fn people_have_a_bound_and_programs_have_none() {
    let mail = json!({ "smtp": "smtp://h", "from": "a@b.c", "to": ["a@b.c"] });
    assert_eq!(of(&json!({ "email": mail })).unwrap().burst_size().get(), 30);
    assert_eq!(of(&json!({ "email": mail, "rate": 7 })).unwrap().burst_size().get(), 7);
    assert_eq!(of(&json!({ "sms": { "to": ["1"] } })).unwrap().burst_size().get(), 10);
    assert!(of(&json!({ "webhook": { "url": "http://x" } })).is_none());
    assert!(of(&json!({ "alertmanager": { "url": "http://x" } })).is_none());
    assert_eq!(
        of(&json!({ "webhook": { "url": "http://x" }, "rate": 3 })).unwrap().burst_size().get(),
        3
    );
}
