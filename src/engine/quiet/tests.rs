//! The shortest way through against the whole one: the same effects, counts and state.

use std::sync::Arc;

use proptest::prelude::*;

use crate::engine::{Input, Lists, Origin, Output, Plan, Settings, State, step};
use crate::event::{Decoder, EventTime};
use crate::rule::{Source, load};

const RULES: &str = "
version: 1
timezone: Asia/Shanghai
rules:
  - { name: day, on: issue, measure: sum(points), window: day, above: 60, clear: 20,
      then: [{ freeze: { for: window } }, alert] }
  - { name: often, on: [issue, redeem], measure: count, window: 10m, above: 6, clear: 3, then: [alert] }
  - { name: much, on: [redeem, adjust], measure: sum(points), window: 1h,
      levels: [{ above: 30 }, { above: 90, severity: critical }], cooldown: 30m }
  - { name: crowd, on: issue, measure: count, window: 1h, above: 128, clear: 120 }
  - { name: heap, on: issue, measure: sum(points), window: 1h, levels: [{ above: 1900 }, { above: 2100 }] }
  - { name: fortune, on: adjust, measure: sum(points), window: day, above: 9000000000 }
  - { name: windfall, on: adjust, measure: sum(points), window: 10m, above: 9000000000 }
  - { name: devices, on: issue, measure: distinct(device), window: 1h, above: 2, clear: 1 }
  - { name: users, on: issue, per: device, measure: distinct(user), window: 1h, above: 2 }
  - { name: habit, on: issue, measure: sum(points), window: 10m, zscore: { above: 2, below: -2 },
      baseline: { history: 6, min_windows: 2, min_sd: 3 }, cooldown: 1h }
  - { name: days, on: [issue, redeem], measure: count, window: day, zscore: { above: 1 },
      baseline: { history: 4, min_windows: 1, min_sd: 1 } }
  - { name: most, on: [issue, redeem], measure: sum(points), window: 1h, zscore: { above: 2 },
      baseline: { method: mean, history: 4, min_windows: 2, min_sd: 1 } }
  - { name: source, on: issue, per: source, measure: sum(points), window: day, above: 300 }
  - { name: all, on: issue, per: global, measure: sum(points), window: day, levels: [{ above: 200 }, { above: 400 }] }
  - { name: soon, on: issue, per: source, measure: sum(points), window: day,
      levels: [{ above: 250, forecast: 20m }, { above: 350 }, { above: 500, forecast: 2h }] }
  - { name: run, per: global, window: day, above: 1.5, clear: 1,
      ratio: { of: { on: redeem, measure: sum(points) }, to: { on: issue, measure: count }, min_to: 3 } }
  - { name: return, window: 1h, above: 0.5,
      ratio: { of: { on: redeem, measure: count }, to: { on: issue, measure: sum(points) } } }
  - { name: still, on: issue, per: source, measure: count, window: day, below: 5, clear: 8, then: [alert] }
  - { name: least, on: [issue, adjust], per: global, measure: sum(points), window: day, below: 40 }
  - { name: minute, on: issue, per: global, measure: sum(points), window: 10m, zscore: { above: 3 },
      baseline: { method: mean, history: 6, min_windows: 3, min_sd: 5 }, cooldown: 30m }
  - { name: season, on: [issue, redeem], per: global, measure: count, window: 1h, zscore: { above: 2, below: -2 },
      baseline: { method: seasonal, history: 3, season: 2d, min_windows: 2, min_sd: 1 } }
";

fn plan(max_keys: Option<usize>, quiet: bool) -> Plan {
    let set = load(&[Source { path: "a.yaml".to_owned(), text: RULES.to_owned() }]).unwrap();
    let settings = Settings { max_keys, max_ahead_ms: None, ..Settings::default() };
    let mut plan = Plan::new(Arc::new(set), Lists::default(), settings);
    assert!(plan.info.iter().filter(|info| info.quiet.is_some()).count() >= 17);
    if !quiet {
        plan.info.iter_mut().for_each(|info| info.quiet = None);
    }
    plan
}

/// A partition of events and the owner of all shared keys.
pub(crate) struct Pair {
    plan: Plan,
    states: [State; 2],
    pub(crate) outs: [Output; 2],
    records: i64,
}

impl Pair {
    pub(crate) fn new(plan: Plan) -> Pair {
        let origin = |topic: &str| Origin { topic: topic.into(), partition: 0 };
        let states = ["points.events", "tidegate.partials"].map(|topic| State::new(origin(topic)));
        Pair { plan, states, outs: Default::default(), records: 0 }
    }

    pub(crate) fn feed(&mut self, text: &str, offset: i64) {
        let event = Decoder::default().decode(text.as_bytes(), 65_536).unwrap();
        let input = Input::Event { event: &event, offset, record_ts: None };
        step(&mut self.states[0], &self.plan, input, &mut self.outs[0]);
        if offset % 5 == 0 {
            self.flush();
        }
    }

    pub(crate) fn flush(&mut self) {
        let (from, watermark) = (self.states[0].origin().clone(), self.states[0].watermark());
        for (_, payload) in self.outs[0].partials.drain(&from, watermark, 1, false, false) {
            let input =
                Input::Partials { payload: &payload, offset: self.records, record_ts: None };
            step(&mut self.states[1], &self.plan, input, &mut self.outs[1]);
            self.records += 1;
        }
    }

    /// All that can be told of it.
    fn said(&mut self) -> String {
        self.flush();
        let of = |at: usize| {
            let (state, out) = (&self.states[at], &self.outs[at]);
            let all = (&out.effects, &out.counts, state.canonical(&self.plan, out));
            format!("{all:?}")
        };
        format!("{}\n{}", of(0), of(1))
    }
}

type Row = ((u8, u8, i64), (u8, u8, Option<u16>));

fn row() -> impl Strategy<Value = Row> {
    let gap = prop_oneof![
        8 => 0..20_000_i64,
        4 => -400_000..400_000_i64,
        2 => 0..9_000_000_i64,
        1 => 0..100_000_000_i64,
    ];
    let reversed = prop_oneof![6 => Just(None), 1 => any::<u16>().prop_map(Some)];
    ((0..5_u8, 0..4_u8, gap), (0..30_u8, 0..3_u8, reversed))
}

fn text(at: usize, ((user, kind, _), (points, device, reversed)): Row, ts: i64) -> String {
    let (kind, more) = match (kind, reversed) {
        (_, Some(original)) => (
            "reverse",
            format!(r#","reverses":{{"id":"e{original}","kind":"issue","ts":{}}}"#, ts - 60_000),
        ),
        (0 | 1, None) => ("issue", String::new()),
        (2, None) => ("redeem", String::new()),
        (_, None) => ("adjust", String::new()),
    };
    // More than 32 bits hold, at times.
    let points = if points == 29 { 4_000_000_000 } else { i64::from(points) };
    format!(
        r#"{{"id":"e{at}","ts":{ts},"user":"u{user}","kind":"{kind}","points":{points},
            "source":"s{}","device":"d{device}"{more}}}"#,
        user % 2
    )
}

fn both(rows: &[Row], max_keys: Option<usize>) -> [String; 2] {
    let mut pairs = [true, false].map(|quiet| Pair::new(plan(max_keys, quiet)));
    let mut ts = 1_763_740_800_000;
    for (at, row) in rows.iter().enumerate() {
        ts = (ts + row.0.2).clamp(EventTime::MIN.0, EventTime::MAX.0);
        let text = text(at, *row, ts);
        let offset = i64::try_from(at).unwrap();
        for pair in &mut pairs {
            pair.feed(&text, offset);
        }
    }
    pairs.map(|mut pair| pair.said())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_short_way_comes_to_what_the_whole_one_comes_to(
        rows in proptest::collection::vec(row(), 1..120),
        max_keys in proptest::option::of(3..9_usize),
    ) {
        let [short, whole] = both(&rows, max_keys);
        prop_assert_eq!(short, whole);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// One user's windows fill up beyond what is kept exactly, and move on.
    #[test]
    fn crowded_windows_come_to_the_same(
        gaps in proptest::collection::vec(
            prop_oneof![12 => 0..40_000_i64, 1 => -90_000..0_i64, 1 => 60_000..600_000_i64],
            150..320,
        ),
    ) {
        let rows: Vec<Row> = gaps.iter().map(|gap| ((0, 0, *gap), (15, 0, None))).collect();
        let [short, whole] = both(&rows, None);
        prop_assert_eq!(short, whole);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A source that goes on, fast or slowly, comes near its bounds, and is told ahead of them.
    #[test]
    fn what_rises_steadily_comes_to_the_same(
        points in proptest::collection::vec(0..6_u8, 100..200),
        gap in 10_000..60_000_i64,
    ) {
        let rows: Vec<Row> =
            points.iter().map(|points| ((0, 0, gap), (*points, 0, None))).collect();
        let [short, whole] = both(&rows, None);
        prop_assert_eq!(short, whole);
    }
}
