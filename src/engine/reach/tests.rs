//! How far back rules look.

use std::sync::Arc;

use crate::engine::{Lists, Plan, Settings};
use crate::rule::{Source, load};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn plan(rules: &str, settings: Settings) -> Plan {
    let text = format!("version: 1\nrules:\n{rules}");
    let set = load(&[Source { path: "a.yaml".to_owned(), text }]).unwrap();
    Plan::new(Arc::new(set), Lists::default(), settings)
}

fn settings() -> Settings {
    Settings {
        allowed_lateness_ms: 0,
        dedup_ms: None,
        max_ahead_ms: Some(0),
        idle_after_ms: 0,
        ..Settings::default()
    }
}

const KEPT: &str = "  - { name: kept, on: issue, measure: count, window: day, above: 5 }
  - { name: other, on: issue, per: source, measure: count, window: month, above: 5 }\n";

#[test]
fn each_kind_of_rule_looks_back_as_far_as_it_counts() {
    let rows = [
        ("on: issue, then: [review]", 0),
        ("on: issue, then: [review], cooldown: 5h", 5 * HOUR),
        ("on: issue, measure: count, window: 2h, above: 5", 2 * HOUR),
        ("on: issue, measure: count, window: 2h, above: 5, cooldown: 1h", 3 * HOUR),
        ("on: issue, where: { new: { field: device, within: 1d } }, then: [review]", DAY),
        // An hour of summer time.
        ("on: issue, measure: count, window: week, above: 5", 7 * DAY + HOUR),
        // Four baselines of five windows and one more.
        (
            "on: issue, measure: count, window: 1h, zscore: { above: 3 }, \
             baseline: { method: mean, history: 5, min_windows: 2 }",
            24 * HOUR,
        ),
        ("on: issue, per: source, measure: count, window: 1h, below: 5", HOUR + 7 * DAY),
    ];
    for (rule, reach) in rows {
        let plan = plan(&format!("{KEPT}  - {{ name: fresh, {rule} }}\n"), settings());
        let news = ["fresh".to_owned()];
        assert_eq!(plan.reach_ms(&news), Some(reach), "{rule}");
        // A window of a day counts in full, and what had fired before it; of shared keys nothing.
        let kept = 2 * (DAY + HOUR);
        assert_eq!(plan.whole_reach_ms(&news), Some(reach.max(kept)), "{rule}");
    }
}

#[test]
fn what_comes_late_ahead_or_twice_is_reckoned_with() {
    let news = ["kept".to_owned()];
    let late = Settings { allowed_lateness_ms: 3, max_ahead_ms: Some(4), ..settings() };
    assert_eq!(plan(KEPT, late).reach_ms(&news), Some(DAY + HOUR + 7));
    let twice = Settings { dedup_ms: Some(90 * DAY), ..settings() };
    assert_eq!(plan(KEPT, twice).whole_reach_ms(&news), Some(90 * DAY));
    // Where an event may be of any time, its record says nothing.
    let any = Settings { max_ahead_ms: None, ..settings() };
    assert_eq!(plan(KEPT, any).reach_ms(&news), None);
}
