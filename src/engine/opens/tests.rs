//! What is over is told once, with how long it lasted and how far it went.

use serde_json::json;

use super::words;
use crate::engine::snapshot::Loader;
use crate::engine::{Decision, Effect, Input, Lists, Origin, Output, Plan, Settings, State, step};
use crate::event::Decoder;
use crate::rule::{Source, load};

const HOUR: i64 = 3_600_000;
/// The first instant of a day in 2024, and of the next.
const DAY: i64 = 20_000 * 24 * HOUR;
const NEXT: i64 = DAY + 24 * HOUR;

fn plan(rule: &str) -> Plan {
    let text = format!("version: 1\nrules:\n  - {rule}\n");
    let rules = load(&[Source { path: "r.yaml".into(), text }]).unwrap();
    Plan::new(rules.into(), Lists::default(), Settings::default())
}

struct Fold {
    plan: Plan,
    state: State,
    out: Output,
    offset: i64,
}

impl Fold {
    fn new(rule: &str) -> Fold {
        let origin = Origin { topic: "events".into(), partition: 0 };
        Fold { plan: plan(rule), state: State::new(origin), out: Output::default(), offset: 0 }
    }

    fn event(&mut self, user: &str, ts: i64, points: i64) {
        let text = json!({"id": format!("e-{}", self.offset), "ts": ts, "user": user,
            "kind": if points < 0 { "reverse" } else { "issue" }, "points": points.abs(),
            "reverses": {"id": "x", "ts": ts, "kind": "issue", "partial": true}})
        .to_string();
        let decoder = Decoder::default();
        let event = decoder.decode(text.as_bytes(), 65_536).unwrap();
        let input = Input::Event { event: &event, offset: self.offset, record_ts: None };
        step(&mut self.state, &self.plan, input, &mut self.out);
        self.offset += 1;
    }

    fn resolved(&mut self) -> Vec<Decision> {
        let effects = std::mem::take(&mut self.out.effects).into_iter();
        let only = effects.filter_map(|effect| match effect {
            Effect::Resolved(decision) => Some(*decision),
            _ => None,
        });
        only.collect()
    }

    /// The state as a snapshot brings it back.
    fn reload(&mut self) {
        let mut bytes = Vec::new();
        self.state.begin_snapshot(&self.plan, &self.out);
        while self.state.sweep(&self.plan, 1_000, &mut bytes) == crate::engine::Swept::More {}
        let origin = Origin { topic: "events".into(), partition: 0 };
        let mut loader = Loader::new(&self.plan, origin);
        loader.take(&bytes).unwrap();
        self.state = loader.finish().unwrap().state;
    }
}

const ROLLING: &str = "{ name: cap, on: issue, measure: sum(points), window: 1h, clear: 50, \
    levels: [{ above: 100 }, { above: 200, severity: critical }] }";

#[test]
fn a_rolling_window_that_falls_below_its_clear_is_over() {
    for reloads in [false, true] {
        let mut fold = Fold::new(ROLLING);
        fold.event("u", DAY, 120);
        fold.event("u", DAY + 60_000, 200);
        fold.event("u", DAY + 120_000, 30);
        if reloads {
            fold.reload();
        }
        // 30 + 90 is not below 50.
        fold.event("u", DAY + HOUR + 90_000, 90);
        assert_eq!(fold.resolved(), []);
        fold.event("u", DAY + 2 * HOUR + 60_000, 1);
        assert_eq!(fold.resolved(), [], "91");
        fold.event("u", DAY + 2 * HOUR + 91_000, 1);
        let over = fold.resolved();
        assert_eq!(over.len(), 2, "{over:?}");
        let told = over[1].resolved.as_ref().unwrap();
        assert_eq!((told.rule.as_str(), told.since.0), ("cap", DAY + 60_000));
        assert_eq!((&told.peak, &over[1].value), (&json!(350), &Some(json!(2))));
        assert_eq!(over[1].rule, "tidegate.resolved");
        assert_eq!(over[1].severity, crate::rule::Severity::Critical);
        assert_eq!(over[1].summary, "user u: resolved after 2h: sum(points) is 2, peak 350");
        fold.event("u", DAY + 2 * HOUR + 92_000, 1);
        assert_eq!(fold.resolved(), []);
    }
}

#[test]
fn a_window_that_empties_is_over_when_it_has_with_or_without_an_event() {
    let mut fold = Fold::new(ROLLING);
    fold.event("u", DAY, 120);
    fold.event("u", DAY + 5 * HOUR, 300);
    let over = fold.resolved();
    assert_eq!((over.len(), over[0].ts.0, &over[0].value), (1, DAY + HOUR, &None));
    // Nothing more of this user; others move the watermark on.
    fold.event("v", DAY + 10 * HOUR, 1);
    fold.event("v", DAY + 20 * HOUR, 1);
    let over = fold.resolved();
    assert_eq!((over.len(), over[0].ts.0), (1, DAY + 6 * HOUR));
    assert_eq!(over[0].summary, "user u: resolved after 1h: sum(points) is over, peak 300");
}

#[test]
fn a_day_that_ends_or_is_reversed_is_over() {
    let rule = "{ name: cap, on: issue, measure: sum(points), window: day, above: 100, clear: 90 }";
    let mut fold = Fold::new(rule);
    fold.event("u", DAY + HOUR, 150);
    fold.event("u", DAY + 2 * HOUR, -70);
    let over = fold.resolved();
    assert_eq!((over.len(), over[0].ts.0, &over[0].value), (1, DAY + 2 * HOUR, &Some(json!(80))));
    fold.event("u", DAY + 3 * HOUR, 50);
    fold.event("u", NEXT + HOUR, 1);
    let over = fold.resolved();
    assert_eq!((over.len(), over[0].ts.0, &over[0].value), (1, NEXT, &None));
}

#[test]
fn without_clear_without_alert_or_in_shadow_nothing_is_said() {
    for more in [
        "above: 100",
        "above: 100, clear: 50, then: [review]",
        "above: 100, clear: 50, mode: shadow",
    ] {
        let rule = format!("{{ name: cap, on: issue, measure: sum(points), window: 1h, {more} }}");
        let mut fold = Fold::new(&rule);
        fold.event("u", DAY, 150);
        fold.event("u", DAY + 5 * HOUR, 1);
        assert_eq!(fold.resolved(), [], "{more}");
    }
}

#[test]
fn durations_have_two_units() {
    let rows = [
        (500, "500ms"),
        (61_000, "1m 1s"),
        (3_600_000, "1h"),
        (7_384_000, "2h 3m"),
        (90_061_000, "1d 1h"),
    ];
    for (ms, expected) in rows {
        assert_eq!(words(ms), expected);
    }
}
