//! A sample says what its rule says.

use std::sync::Arc;

use crate::engine::{Decision, Lists, Plan, Settings};
use crate::event::EventTime;
use crate::rule::{Source, load};

const RULES: &str = "
version: 1
timezone: Asia/Shanghai
rules:
  - name: cap
    description: A user earns at most 5,000 points a day.
    on: issue
    measure: sum(points)
    window: day
    levels:
      - { above: 4000 }
      - { above: 5000, severity: critical, then: [{ freeze: { scope: issue, for: window } }, alert] }
  - { name: list, where: { source: lottery }, mode: shadow }
  - { name: fall, on: issue, per: global, measure: count, window: 10m, below: 40 }
  - name: odd
    on: issue
    per: [device, attrs.shop]
    measure: count
    window: 1m
    zscore: { above: 4 }
";

#[test]
fn every_form_of_rule_has_a_sample() {
    let source = Source { path: "rules.yaml".to_owned(), text: RULES.to_owned() };
    let set = load(&[source]).unwrap();
    let plan = Plan::new(Arc::new(set), Lists::default(), Settings::default());
    let sample = |name: &str| Decision::sample(&plan, name, EventTime(1_763_779_200_123));
    let summary = |name: &str| sample(name).unwrap().summary;
    assert_eq!(summary("cap"), "user u-1001: sum(points) 5125 > 5000 in day 2025-11-22");
    let cap = sample("cap").unwrap();
    assert_eq!(cap.actions, ["freeze issue until 2025-11-22T16:00:00Z"]);
    assert_eq!((cap.level, cap.alert.as_deref()), (1, Some(&[][..])));
    assert_eq!(summary("list"), "user u-1001: event matches list");
    assert_eq!(sample("list").unwrap().mode, "shadow");
    assert_eq!(summary("fall"), "global: count 39 < 40 in 10m");
    assert_eq!(
        summary("odd"),
        "device d-9f3a12, attrs.shop a-attrs.shop: count 1600 in 1m: z-score 5.00 > 4 (mean 1000.00, sd 120.00)"
    );
    assert!(sample("none").is_none());
}
