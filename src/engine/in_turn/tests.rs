//! Windows that close in turn, against those that all close on time.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::engine::explain::{Answer, Question};
use crate::engine::snapshot::{Loader, Swept};
use crate::engine::{Effect, Input, Lists, Origin, Output, Seat, Settings, State, step};
use crate::event::Decoder;
use crate::rule::{Source, load};

const RULES: &str = "
version: 1
timezone: Asia/Shanghai
rules:
  - { name: day, on: [issue, adjust], measure: sum(points), window: day, zscore: { above: 2 },
      baseline: { history: 5, min_windows: 2, min_sd: 4 } }
  - { name: soon, on: issue, measure: count, window: 1h, zscore: { above: 1 }, close_after: 1s,
      baseline: { history: 9, min_windows: 1, min_sd: 1 }, cooldown: 3h }
  - { name: place, on: [issue, adjust], per: [user, source], measure: sum(points), window: 10m, zscore: { above: 0.1 },
      baseline: { history: 4, min_windows: 3, min_sd: 3 } }
  - { name: devices, on: issue, measure: distinct(device), window: day, zscore: { above: 1.5 },
      baseline: { history: 4, min_windows: 1, min_sd: 1 } }
";

/// 2025-11-22, midnight in Shanghai.
const DAY: i64 = 1_763_740_800_000;
const HOUR: i64 = 3_600_000;

fn plan(rules: &str, closing: Option<Closing>) -> Plan {
    let set = load(&[Source { path: "a.yaml".to_owned(), text: rules.to_owned() }]).unwrap();
    let settings = Settings { max_ahead_ms: None, ..Settings::default() };
    let mut plan = Plan::new(Arc::new(set), Lists::default(), settings);
    assert!(plan.info.iter().all(|info| info.closing == Closing::InTurn));
    for info in &mut plan.info {
        info.closing = closing.unwrap_or(info.closing);
    }
    plan
}

struct Fold {
    plan: Plan,
    state: State,
    out: Output,
    offset: i64,
}

fn origin() -> Origin {
    Origin { topic: "events".into(), partition: 0 }
}

impl Fold {
    fn new(plan: Plan) -> Fold {
        Fold { plan, state: State::new(origin()), out: Output::default(), offset: 0 }
    }

    fn feed(&mut self, text: &str) {
        let decoder = Decoder::default();
        let event = decoder.decode(text.as_bytes(), 65_536).unwrap();
        let input = Input::Event { event: &event, offset: self.offset, record_ts: None };
        step(&mut self.state, &self.plan, input, &mut self.out);
        self.offset += 1;
    }

    fn issue(&mut self, user: &str, ts: i64, points: i64) {
        let id = self.offset;
        self.feed(&format!(
            r#"{{"id":"e{id}","ts":{ts},"user":"{user}","kind":"issue","points":{points},"source":"s"}}"#
        ));
    }

    fn end(&mut self) {
        step(&mut self.state, &self.plan, Input::End, &mut self.out);
    }

    /// The state as a snapshot brings it back.
    fn reload(&mut self) {
        let mut bytes = Vec::new();
        self.state.begin_snapshot(&self.plan, &self.out);
        while self.state.sweep(&self.plan, 1_000, &mut bytes) == Swept::More {}
        let mut loader = Loader::new(&self.plan, origin());
        loader.take(&bytes).unwrap();
        self.state = loader.finish().unwrap().state;
    }

    fn why(&self, user: &str) -> Answer {
        let fields = [("user".to_owned(), user.to_owned())].into();
        self.state.explain(&self.plan, &Question { fields, rule: None }, None, (Seat::Events(0), 1))
    }

    fn told(&self) -> String {
        format!("{:?} {:?}", self.out.effects, self.out.counts)
    }

    /// All that can be told of it.
    fn said(&self) -> [String; 3] {
        let answers: Vec<Answer> = (0..4).map(|user| self.why(&format!("u{user}"))).collect();
        let state = self.state.canonical(&self.plan, &self.out);
        [self.told(), format!("{answers:#?}"), format!("{state:?}")]
    }

    fn fired(&mut self) -> Vec<(String, i64)> {
        let effects = std::mem::take(&mut self.out.effects).into_iter();
        let of = |effect| match effect {
            Effect::Decision(decision) => {
                Some((decision.key["user"].as_str()?.to_owned(), decision.ts.0))
            }
            _ => None,
        };
        effects.filter_map(of).collect()
    }

    /// How many keys of the first rule have a window that ended by then.
    fn waiting(&self, end: i64) -> usize {
        let cells = &self.state.keyed.cells;
        let ends = cells.keys_of(0, &self.plan).into_iter();
        ends.filter_map(|id| cells.ends_at(0, id, &self.plan)).filter(|at| *at <= end).count()
    }
}

type Row = ((u8, u8, i64), (i64, u8, Option<u16>));

fn row() -> impl Strategy<Value = Row> {
    let gap = prop_oneof![
        8 => 0..20_000_i64,
        4 => -400_000..400_000_i64,
        6 => 0..5_000_000_i64,
        4 => 0..100_000_000_i64,
        1 => 0..1_000_000_000_i64,
    ];
    let points = prop_oneof![
        12 => 0..30_i64,
        4 => -40..0_i64,
        1 => Just(4_000_000_000),
        1 => Just(-5_000_000_000),
    ];
    let reversed = prop_oneof![6 => Just(None), 1 => any::<u16>().prop_map(Some)];
    ((0..4_u8, 0..4_u8, gap), (points, 0..3_u8, reversed))
}

fn text(at: usize, ((user, kind, _), (points, device, reversed)): Row, ts: i64) -> String {
    let (kind, more) = match reversed {
        Some(original) => (
            "reverse",
            format!(r#","reverses":{{"id":"e{original}","kind":"issue","ts":{}}}"#, ts - 60_000),
        ),
        None if kind == 3 || points < 0 => ("adjust", String::new()),
        None => ("issue", String::new()),
    };
    let points = if reversed.is_some() { points.abs() } else { points };
    format!(
        r#"{{"id":"e{at}","ts":{ts},"user":"u{user}","kind":"{kind}","points":{points},
            "source":"s{}","device":"d{device}"{more}}}"#,
        user % 2
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nobody_can_tell_when_windows_were_closed(
        rows in proptest::collection::vec(row(), 1..100),
        reloads in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
    ) {
        let mut in_turn = Fold::new(plan(RULES, None));
        let mut on_time = Fold::new(plan(RULES, Some(Closing::OnTime)));
        let reloads: Vec<usize> = reloads.iter().map(|at| at.index(rows.len())).collect();
        let mut ts = DAY;
        for (at, row) in rows.iter().enumerate() {
            ts += row.0.2;
            let text = text(at, *row, ts);
            in_turn.feed(&text);
            on_time.feed(&text);
            if reloads.contains(&at) {
                in_turn.reload();
            }
            prop_assert_eq!(in_turn.told(), on_time.told());
            if at % 4 == 0 {
                prop_assert_eq!(in_turn.said(), on_time.said());
            }
        }
        in_turn.end();
        on_time.end();
        prop_assert_eq!(in_turn.said(), on_time.said());
    }
}

const DAYS: &str = "
version: 1
timezone: Asia/Shanghai
rules:
  - { name: day, on: issue, measure: sum(points), window: day, zscore: { above: BOUND },
      baseline: { history: 5, min_windows: 2, min_sd: 1 } }
";

fn days(bound: &str) -> Plan {
    plan(&DAYS.replace("BOUND", bound), None)
}

#[test]
fn the_days_of_many_members_close_within_an_hour_few_at_a_time() {
    let mut fold = Fold::new(days("6"));
    for user in 0..2_000 {
        fold.issue(&format!("u{user}"), DAY + user, 5);
    }
    let over = DAY + 24 * HOUR;
    let closes = over + fold.plan.info[0].close_after_ms;
    fold.issue("other", closes, 1);
    assert_eq!(fold.waiting(over), 2_000);
    let mut left = 2_000;
    for second in (0..3_600).step_by(7) {
        fold.issue("other", closes + second * 1_000, 1);
        let now = fold.waiting(over);
        assert!(left - now <= 30, "{} at once", left - now);
        left = now;
    }
    assert_eq!(left, 0);
}

#[test]
fn a_member_who_waits_is_caught_up_with_by_the_next_event_and_by_a_question() {
    let mut fold = Fold::new(days("6"));
    for (day, points) in [10, 12, 11].into_iter().enumerate() {
        fold.issue("u0", DAY + i64::try_from(day).unwrap() * 24 * HOUR + HOUR, points);
    }
    let over = DAY + 3 * 24 * HOUR;
    let closes = over + fold.plan.info[0].close_after_ms;
    fold.issue("other", closes, 1);
    assert_eq!(fold.waiting(over), 1, "it is not its turn yet");
    let told = fold.why("u0").rules[0].baseline.clone().unwrap();
    assert_eq!((told.windows, told.mean.is_some()), (3, true));
    fold.issue("u0", closes + 1, 40);
    assert_eq!(fold.fired(), [("u0".to_owned(), closes + 1)]);
    assert_eq!(fold.waiting(over), 0);
}

#[test]
fn other_bounds_say_anew_who_closes_on_time() {
    let mut fold = Fold::new(days("1000"));
    let day = 24 * HOUR;
    for at in 0..3 {
        fold.issue("u0", DAY + at * day, 10);
    }
    fold.issue("u0", DAY + 3 * day, 100);
    assert_eq!(fold.fired(), []);
    fold.plan = days("6");
    let closes = DAY + 4 * day + fold.plan.info[0].close_after_ms;
    fold.issue("other", closes - 1, 1);
    assert_eq!(fold.fired(), []);
    // The day is judged by the bound that holds at its end, and then.
    fold.issue("other", closes, 1);
    assert_eq!(fold.fired(), [("u0".to_owned(), DAY + 4 * day)]);
}

#[test]
fn a_member_who_stays_away_is_forgotten() {
    let mut fold = Fold::new(days("6"));
    fold.issue("u0", DAY, 10);
    fold.issue("u1", DAY, 10);
    // Five days without an event.
    let over = DAY + 6 * 24 * HOUR + fold.plan.info[0].close_after_ms;
    for hour in 1..6 * 24 {
        fold.issue("other", DAY + hour * HOUR, 1);
    }
    assert!(fold.why("u0").rules[0].counted);
    fold.issue("other", over, 1);
    // Those whose turn has not come are as good as forgotten.
    assert_eq!(fold.state.keys(), 3);
    assert!(!fold.why("u0").rules[0].counted);
    fold.issue("u1", over + 1, 1);
    assert_eq!(fold.why("u1").rules[0].baseline.clone().unwrap().windows, 0);
    fold.issue("other", over + HOUR, 1);
    assert_eq!(fold.state.keys(), 2);
}

#[test]
fn of_many_members_some_are_looked_at_anew_at_a_time_and_all_before_a_window_closes() {
    let day = 24 * HOUR;
    for events in [0, 1, 10] {
        let mut fold = Fold::new(days("1000"));
        for user in 0..5_000 {
            fold.issue(&format!("u{user}"), DAY + user, 10);
        }
        // The last of them come on until the bound is another one.
        let mut fed = Vec::new();
        for user in [4_997, 4_998, 4_999] {
            for at in 1..3 {
                fed.push((DAY + at * day + user, user, 10));
            }
            fed.push((DAY + 3 * day + user, user, 100));
        }
        fed.sort_unstable();
        for (ts, user, points) in fed {
            fold.issue(&format!("u{user}"), ts, points);
        }
        let closes = DAY + 4 * day + fold.plan.info[0].close_after_ms;
        fold.issue("other", closes - 100, 1);
        fold.plan = days("6");
        for before in (0..events).rev() {
            fold.issue("other", closes - 1 - before, 1);
        }
        assert_eq!((fold.fired(), fold.state.keyed.looks_anew()), (vec![], events == 1));
        fold.issue("other", closes, 1);
        let fired: Vec<String> = fold.fired().into_iter().map(|(user, _)| user).collect();
        assert_eq!(fired, ["u4997", "u4998", "u4999"]);
        assert!(!fold.state.keyed.looks_anew());
    }
}

#[test]
fn a_rule_that_learns_another_way_closes_on_time_and_goes_back() {
    let day = 24 * HOUR;
    let mut fold = Fold::new(days("6"));
    for at in 0..3 {
        fold.issue("u0", DAY + at * day, 10);
        fold.issue("u1", DAY + at * day, 10);
    }
    let below = DAYS.replace("above: BOUND", "above: 6, below: -6");
    let set = load(&[Source { path: "a.yaml".to_owned(), text: below }]).unwrap();
    fold.plan = Plan::new(Arc::new(set), Lists::default(), fold.plan.settings.clone());
    assert_eq!(fold.plan.info[0].closing, Closing::OnTime);
    let closes = |at: i64| DAY + at * day + 600_000;
    fold.issue("other", closes(3), 10);
    assert_eq!(fold.fired(), []);
    fold.issue("u0", closes(3) + 1, 10);
    fold.issue("other", closes(4), 10);
    assert_eq!(fold.fired(), [("u1".to_owned(), DAY + 4 * day)], "a day without anything");
    fold.plan = days("6");
    fold.issue("other", closes(4) + 1, 10);
    fold.issue("other", closes(5), 10);
    assert_eq!((fold.fired(), fold.waiting(DAY + 5 * day)), (vec![], 2));
    fold.issue("other", closes(5) + HOUR, 10);
    assert_eq!((fold.fired(), fold.waiting(DAY + 5 * day)), (vec![], 0));
}
