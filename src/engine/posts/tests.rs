//! What is posted against the records of a flush after each event: the same decisions and states.

use std::fmt::Write as _;
use std::sync::Arc;

use proptest::prelude::*;

use crate::engine::{
    Events, Hashes, Input, Lists, Origin, Output, PartialsOutbox, Plan, PostedEvent, Settings,
    State, step,
};
use crate::event::{Decoder, Event};
use crate::rule::{Source, load};

const RULES: &str = "
version: 1
timezone: Asia/Shanghai
rules:
  - { name: own, on: issue, measure: sum(points), window: day, above: 60 }
  - { name: all, on: issue, per: global, measure: sum(points), window: day, levels: [{ above: 200 }, { above: 2000 }] }
  - { name: games, on: issue, where: { source: [s0, s1] }, per: source, measure: sum(points), window: day,
      levels: [{ above: 200, forecast: 2h }, { above: 300 }] }
  - { name: large, on: issue, where: { points: { gte: 9 } }, per: source, measure: count, window: 1h, above: 3 }
  - { name: most, on: redeem, per: global, measure: max(points), window: day, above: 28 }
  - { name: seen, per: device, where: { points: 7 }, cooldown: 10m }
  - { name: users, on: [issue, redeem], per: device, measure: distinct(user), window: 1h, above: 2 }
  - { name: devices, on: issue, per: source, measure: distinct(device), window: 1h, above: 3 }
  - { name: pairs, on: issue, per: [source, device], measure: count, window: 10m, above: 2 }
  - { name: run, per: global, window: day, above: 1.5,
      ratio: { of: { on: redeem, measure: sum(points) }, to: { on: issue, measure: count }, min_to: 3 } }
  - { name: still, on: issue, per: source, measure: count, window: day, below: 5 }
  - { name: quiet, on: issue, per: global, measure: count, window: 30m, below: 2 }
  - { name: minute, on: issue, per: global, measure: sum(points), window: 10m, zscore: { above: 3 },
      baseline: { method: mean, history: 6, min_windows: 3, min_sd: 5 } }
";

/// Rules of which one or the other comes to its bound at almost any event.
fn close_bounds() -> String {
    let mut rules = RULES.to_owned();
    for n in 1..8 {
        let sum = 40 * n * n;
        write!(
            rules,
            "  - {{ name: hour-{n}, on: issue, per: global, measure: sum(points), window: day, above: {sum} }}
  - {{ name: soon-{n}, on: issue, per: source, measure: sum(points), window: day,
      levels: [{{ above: {sum}, forecast: {n}m }}, {{ above: 9000 }}] }}
  - {{ name: ratio-{n}, per: global, window: day, above: 8.{n},
      ratio: {{ of: {{ on: redeem, measure: sum(points) }}, to: {{ on: issue, measure: count }} }} }}
  - {{ name: score-{n}, on: issue, per: global, measure: sum(points), window: 3m, zscore: {{ above: 1.{n} }},
      baseline: {{ method: mean, history: 4, min_windows: 2, min_sd: 1 }} }}
"
        )
        .unwrap();
    }
    rules
}

/// Rules of which those with many keys fire now and then, and those with few never.
const CALM: &str = "
version: 1
rules:
  - { name: all, on: issue, per: global, measure: sum(points), window: day, above: 2000000 }
  - { name: users, on: [issue, redeem], per: device, measure: distinct(user), window: 3s, above: 2 }
  - { name: games, on: issue, per: source, measure: sum(points), window: day, above: 2000000 }
  - { name: often, on: issue, per: device, measure: count, window: 2s, above: 2 }
  - { name: run, per: global, window: day, above: 90,
      ratio: { of: { on: redeem, measure: sum(points) }, to: { on: issue, measure: sum(points) }, min_to: 9 } }
  - { name: most, on: [issue, redeem], per: source, measure: max(points), window: day, above: 27 }
";

fn plan(rules: &str, max_keys: Option<usize>) -> Plan {
    let set = load(&[Source { path: "a.yaml".to_owned(), text: rules.to_owned() }]).unwrap();
    let settings = Settings { max_keys, max_ahead_ms: None, ..Settings::default() };
    Plan::new(Arc::new(set), Lists::default(), settings)
}

/// A partition of events and the owner of all shared keys.
struct Pair {
    plan: Plan,
    states: [State; 2],
    outs: [Output; 2],
    records: i64,
    /// Events since the last merge, and their offsets.
    stepped: Vec<(String, i64)>,
}

/// By tag.
struct Stepped<'e>(Vec<(Event<'e>, Hashes, i64)>);

impl<'e> Events<'e> for Stepped<'e> {
    fn event(&self, tag: u32) -> Option<PostedEvent<'_, 'e>> {
        let (event, hashes, offset) = self.0.get(tag as usize)?;
        Some(PostedEvent { event, hashes, offset: *offset })
    }
}

impl Pair {
    fn new(plan: Plan, posts: bool) -> Pair {
        let states = ["points.events", "tidegate.partials"]
            .map(|topic| State::new(Origin { topic: topic.into(), partition: 0 }));
        let mut outs = [Output::default(), Output::default()];
        let mut plan = plan;
        if posts {
            outs[0].partials = PartialsOutbox::apart();
            plan = plan.posting();
            assert!(plan.postings.iter().any(|posting| posting.told.len() > 4));
        }
        Pair { plan, states, outs, records: 0, stepped: Vec::new() }
    }

    fn feed(&mut self, text: &str, offset: i64) {
        let event = Decoder::default().decode(text.as_bytes(), 65_536).unwrap();
        let Pair { plan, states: [own, _], outs: [out, _], .. } = self;
        own.foresee(plan, (offset, &event), &out.partials);
        own.look_ahead(plan, &out.partials);
        step(own, plan, Input::Event { event: &event, offset, record_ts: None }, out);
        if out.partials.posts() {
            out.partials.seal(own.watermark(), false, u32::try_from(self.stepped.len()).unwrap());
            self.stepped.push((text.to_owned(), offset));
        } else {
            self.merge();
        }
    }

    fn merge(&mut self) {
        let Pair { plan, states: [own, shared], outs: [out, to], records, stepped } = self;
        let from = own.origin().clone();
        if out.partials.posts() {
            let posts = out.partials.take_posts(&from);
            let stepped = std::mem::take(stepped);
            let events = stepped.iter().map(|(text, offset)| {
                let event = Decoder::default().decode(text.as_bytes(), 65_536).unwrap();
                let hashes = Hashes::of(&event);
                (event, hashes, *offset)
            });
            let events = Stepped(events.collect());
            shared.merge_posts(plan, (&posts, &events), *records, to, &mut |_, _| {});
            *records += i64::try_from(posts.len()).unwrap();
            return;
        }
        for (_, payload) in out.partials.drain(&from, own.watermark(), 1, false, false) {
            let input = Input::Partials { payload: &payload, offset: *records, record_ts: None };
            step(shared, plan, input, to);
            *records += 1;
        }
    }

    /// All that can be told of the owner.
    fn said(&self) -> String {
        let (state, out) = (&self.states[1], &self.outs[1]);
        format!("{:?}", (&out.effects, &out.counts, state.canonical(&self.plan, out)))
    }
}

type Row = ((u8, u8, i64), (u8, u8, u8));

fn row() -> impl Strategy<Value = Row> {
    let gap = prop_oneof![
        10 => 0..20_000_i64,
        3 => Just(0_i64),
        2 => -400_000..400_000_i64,
        1 => 0..9_000_000_i64,
        1 => 0..100_000_000_i64,
    ];
    ((0..5_u8, 0..9_u8, gap), (0..30_u8, 0..4_u8, 0..4_u8))
}

fn text(at: usize, ((user, kind, _), (points, source, device)): Row, ts: i64) -> String {
    let (kind, mut more) = match kind {
        0 => (
            "reverse",
            format!(
                r#","reverses":{{"id":"e{points}","kind":"issue","ts":{}}}"#,
                ts - 60_000 * i64::from(source)
            ),
        ),
        1..4 => ("redeem", String::new()),
        _ => ("issue", String::new()),
    };
    for (name, letter, value) in [("source", 's', source), ("device", 'd', device)] {
        if value > 0 {
            write!(more, r#","{name}":"{letter}{value}""#).unwrap();
        }
    }
    // Some come twice.
    let id = if points == 3 { at / 2 } else { at };
    format!(
        r#"{{"id":"e{id}","ts":{ts},"user":"u{user}","kind":"{kind}","points":{points}{more}}}"#
    )
}

fn both(rules: &str, rows: &[Row], piece: usize, max_keys: Option<usize>) -> [String; 2] {
    let mut pairs = [true, false].map(|posts| Pair::new(plan(rules, max_keys), posts));
    let mut ts = 1_763_740_800_000;
    for (at, row) in rows.iter().enumerate() {
        ts += row.0.2;
        let text = text(at, *row, ts);
        for pair in &mut pairs {
            pair.feed(&text, i64::try_from(at).unwrap());
        }
        if at % piece == 0 {
            pairs[0].merge();
        }
    }
    pairs[0].merge();
    pairs.map(|pair| pair.said())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn posts_come_to_what_records_come_to(
        rows in proptest::collection::vec(row(), 1..160),
        piece in 1..90_usize,
        max_keys in proptest::option::of(4..12_usize),
    ) {
        let [posts, records] = both(&close_bounds(), &rows, piece, max_keys);
        prop_assert_eq!(posts, records);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Events of few minutes, which come to bounds now and then.
    #[test]
    fn what_comes_together_comes_to_what_each_comes_to(
        mut rows in proptest::collection::vec(row(), 100..400),
        gap in 0..12_000_i64,
        late in 0..300_usize,
    ) {
        for (at, ((_, kind, between), _)) in rows.iter_mut().enumerate() {
            *between = if at % 150 == late { -gap } else { gap };
            // Few reversals.
            *kind = if at % 150 == late / 2 { 0 } else { (*kind).max(1) };
        }
        let [posts, records] = both(&close_bounds(), &rows, 70, None);
        prop_assert_eq!(posts, records);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// What comes to keys that are many is told in its place, whatever else the event brings.
    #[test]
    fn what_comes_to_many_keys_keeps_its_place(
        mut rows in proptest::collection::vec(row(), 50..300),
        gap in 0..900_i64,
        lacking in 0..300_usize,
    ) {
        for (at, ((_, kind, between), (_, source, device))) in rows.iter_mut().enumerate() {
            (*between, *kind) = (gap, (*kind).max(1));
            let least = u8::from(at % 50 != lacking % 50);
            (*source, *device) = ((*source).max(least), (*device).max(least));
        }
        let [posts, records] = both(CALM, &rows, 70, None);
        prop_assert_eq!(posts, records);
    }
}

/// Redemptions that come before issues in one piece are judged before these count.
#[test]
fn a_ratio_is_judged_on_the_way() {
    let issue = ((0, 5, 1000), (1, 1, 1));
    let redeem = ((0, 1, 1000), (20, 1, 1));
    let mut rows = vec![issue; 11];
    rows.extend([redeem; 4]);
    rows.push(redeem);
    rows.extend([issue; 13]);
    let [posts, records] = both(&close_bounds(), &rows, 14, None);
    assert!(posts.contains("ratio-7"));
    assert_eq!(posts, records);
}
