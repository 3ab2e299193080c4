//! A state told in pieces while it goes on, and made anew from them: the same in every respect as
//! the state at the instant that was fixed, and from there on.

use proptest::prelude::*;
use tidegate::engine::{Damaged, Effect, Input, Loader, Origin, Output, Plan, State, Swept, step};
use tidegate::event::Event;
use tidegate::generate::{Options, Stream};

use crate::episodes::shipped;
use crate::flood::bounded;
use crate::naive::{Pace, history, plan};

/// Every form of window, key, measure and memory.
pub(crate) const RULES: &str = r"
version: 1
timezone: Europe/Berlin
budget: { freezes: 3, per: 1h }
rules:
  - { name: day, on: issue, measure: sum(points), window: day, levels: [{ above: 5 }, { above: 20, then: [{ freeze: { scope: issue, for: window } }, alert] }] }
  - { name: most, on: [issue, redeem], measure: max(points), window: week, above: 30 }
  - { name: kinds, on: [issue, redeem], measure: distinct(device), window: month, above: 2 }
  - { name: fast, on: issue, measure: count, window: 10m, above: 3, clear: 1, cooldown: 5m, then: [{ freeze: { for: 20m } }] }
  - { name: peak, on: redeem, measure: max(points), window: 1h, above: 40, then: [freeze] }
  - { name: devices, on: [issue, redeem], measure: distinct(device), window: 2h, above: 2, then: [unfreeze] }
  - { name: spending, ratio: { of: { on: redeem, measure: sum(points) }, to: { on: issue, measure: sum(points) }, min_to: 3 }, window: 1h, above: 1.5 }
  - { name: spread, ratio: { of: { on: redeem, measure: count }, to: { on: issue, measure: distinct(source) } }, window: day, above: 2 }
  - { name: usual, on: issue, measure: count, window: 10m, zscore: { above: 1, below: -1 }, baseline: { min_windows: 3, history: 8 } }
  - { name: seldom, on: redeem, where: { points: { gt: 25 } }, cooldown: 30m }
  - { name: stranger, on: redeem, where: { new: { field: device, within: 2h } }, then: [{ freeze: { scope: redeem, for: 1h } }] }
  - { name: pairs, on: issue, per: [user, source], measure: count, window: day, above: 4 }
  - { name: all-day, on: issue, per: global, measure: sum(points), window: day, above: 40, then: [{ freeze: { for: 30m } }] }
  - { name: soon, on: issue, per: source, measure: sum(points), window: day, levels: [{ above: 60, forecast: 6h }, { above: 60, forecast: 1h }, { above: 60 }, { above: 100 }] }
  - { name: shops, on: [issue, redeem], per: source, measure: distinct(user), window: 1h, above: 1, cooldown: 10m }
  - { name: quiet, on: issue, per: source, measure: count, window: day, below: 2 }
  - { name: silent, on: issue, per: source, measure: count, window: 20m, below: 1 }
  - { name: rate, on: issue, per: global, measure: count, window: 5m, zscore: { above: 2 }, baseline: { method: robust, min_windows: 3, history: 8 } }
  - { name: mean, on: issue, per: source, measure: sum(points), window: 5m, zscore: { above: 2 }, baseline: { method: mean, min_windows: 3, history: 8 } }
  - { name: season, on: issue, per: source, measure: sum(points), window: 10m, zscore: { above: 1, below: -1 }, baseline: { method: seasonal, season: 30m, history: 3, min_windows: 3 } }
";

/// A partition of the events topic and the one of the partials topic.
#[derive(Clone)]
pub(crate) struct Two {
    pub(crate) events: (State, Output),
    pub(crate) shared: (State, Output),
    offset: i64,
}

impl Two {
    pub(crate) fn new() -> Two {
        let origin = |topic: &str| Origin { topic: topic.into(), partition: 0 };
        Two {
            events: (State::new(origin("events")), Output::default()),
            shared: (State::new(origin("partials")), Output::default()),
            offset: 0,
        }
    }

    /// One event, and what it tells the owner of shared keys.
    pub(crate) fn feed(&mut self, plan: &Plan, event: &Event<'_>) -> Vec<Effect> {
        let offset = self.offset;
        self.offset += 1;
        let (state, out) = &mut self.events;
        step(state, plan, Input::Event { event, offset, record_ts: None }, out);
        let from = state.origin().clone();
        let records = out.partials.drain(&from, state.watermark(), 1, false, false);
        let (shared, shared_out) = &mut self.shared;
        for (_, payload) in records {
            let input = Input::Partials { payload: &payload, offset, record_ts: Some(event.ts.0) };
            step(shared, plan, input, shared_out);
        }
        let mut effects: Vec<Effect> = out.effects.drain(..).collect();
        effects.append(&mut shared_out.effects);
        effects
    }

    pub(crate) fn begin(&mut self, plan: &Plan) {
        for (state, out) in [&mut self.events, &mut self.shared] {
            state.begin_snapshot(plan, out);
        }
    }

    fn canonical(&self, plan: &Plan) -> [Vec<Vec<u8>>; 2] {
        [&self.events, &self.shared].map(|(state, out)| state.canonical(plan, out))
    }
}

/// A snapshot being told: the pieces of both states so far.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) pieces: [Vec<Vec<u8>>; 2],
    over: [bool; 2],
}

impl Told {
    pub(crate) fn sweep(&mut self, two: &mut Two, plan: &Plan, bytes: usize) {
        for (at, (state, _)) in [&mut two.events, &mut two.shared].into_iter().enumerate() {
            if self.over[at] {
                continue;
            }
            let mut piece = Vec::new();
            let swept = state.sweep(plan, bytes, &mut piece);
            assert_ne!(swept, Swept::Void);
            self.over[at] = swept == Swept::All;
            self.pieces[at].push(piece);
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over == [true, true]
    }

    fn load(&self, plan: &Plan, offset: i64) -> Two {
        let mut two = Two { offset, ..Two::new() };
        let states = [&mut two.events, &mut two.shared];
        for ((state, out), pieces) in states.into_iter().zip(&self.pieces) {
            let mut loader = Loader::new(plan, state.origin().clone());
            for piece in pieces {
                loader.take(piece).unwrap();
            }
            let loaded = loader.finish().unwrap();
            assert_eq!(loaded.anew, Vec::<String>::new());
            (*state, *out) = (loaded.state, loaded.output);
        }
        two
    }
}

/// Fails with the records that only one of them has.
fn same(a: &Two, b: &Two, plan: &Plan, when: &str) {
    for (a, b) in a.canonical(plan).iter().zip(&b.canonical(plan)) {
        let only = |a: &[Vec<u8>], b: &[Vec<u8>]| -> Vec<String> {
            let records = a.iter().filter(|record| !b.contains(record));
            records.map(|record| String::from_utf8_lossy(record).into_owned()).collect()
        };
        assert!(a == b, "{when}: {:#?} against {:#?}", only(a, b), only(b, a));
    }
}

/// Fixes a snapshot after `at` events, tells it in pieces of `bytes` while the events go on, and
/// compares what is made anew from it with a state that was never told.
pub(crate) fn check(plan: &Plan, events: &[Event<'_>], at: usize, bytes: usize) {
    let mut told = Two::new();
    for event in &events[..at] {
        told.feed(plan, event);
    }
    let mut plain = told.clone();
    let mut pieces = Told::default();
    told.begin(plan);
    let mut effects = Vec::new();
    for event in &events[at..] {
        if !pieces.is_over() {
            pieces.sweep(&mut told, plan, bytes);
        }
        effects.push(told.feed(plan, event));
    }
    while !pieces.is_over() {
        pieces.sweep(&mut told, plan, bytes);
    }
    let mut anew = pieces.load(plan, plain.offset);
    same(&anew, &plain, plan, "at the instant");
    for (event, effects) in events[at..].iter().zip(&effects) {
        assert_eq!(&plain.feed(plan, event), effects, "the telling changes what is told");
        assert_eq!(&anew.feed(plan, event), effects, "what is made anew goes on otherwise");
    }
    same(&told, &plain, plan, "at the end");
    same(&anew, &plain, plan, "made anew, at the end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_state_told_while_it_goes_on_is_made_anew_as_it_was(
        rows in history(Pace { back_ms: 700_000, ahead_ms: 1_500_000, most: 120 }),
        at in 0.0..1.0,
        bytes in 1usize..400,
    ) {
        let events: Vec<Event<'_>> =
            rows.iter().enumerate().map(|(line, row)| row.event(line)).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a list")]
        let at = (at * events.len() as f64) as usize;
        check(&plan(RULES), &events, at, bytes);
    }

    #[test]
    fn a_full_state_is_made_anew_as_it_was(
        rows in history(Pace { back_ms: 700_000, ahead_ms: 1_500_000, most: 120 }),
        at in 0.0..1.0,
        bytes in 1usize..400,
        max in 1usize..12,
    ) {
        let events: Vec<Event<'_>> =
            rows.iter().enumerate().map(|(line, row)| row.event(line)).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a list")]
        let at = (at * events.len() as f64) as usize;
        check(&bounded(RULES, max), &events, at, bytes);
    }
}

/// The shipped rules over a stream with abuse, and crowds at single keys: crowded windows,
/// estimates of distinct values, thousands of keys that come and go.
#[test]
fn the_states_of_the_shipped_rules_are_made_anew_as_they_were() {
    let plan = shipped();
    let options =
        Options { users: 400, seconds: 3 * 86_400, events: Some(6_000), ..Options::default() };
    let decoder = tidegate::event::Decoder::default();
    let mut stream = Stream::new(&options);
    let mut lines = Vec::new();
    while let Some(line) = stream.next_line() {
        lines.push(line.bytes.to_vec());
    }
    let crowd = lines.len() / 2;
    for at in 0..1_500 {
        let ts = options.start + 86_400_000 + at * 20;
        let line = format!(
            r#"{{"id":"c{at}","ts":{ts},"user":"c{at}","kind":"issue","points":1,"source":"signin","device":"crowd","ip":"10.0.0.1"}}"#
        );
        lines.insert(crowd, line.into_bytes());
    }
    let events: Vec<Event<'_>> =
        lines.iter().filter_map(|line| decoder.decode(line, 65_536).ok()).collect();
    for (part, bytes) in [(3, 500), (6, 20_000), (9, 2_000)] {
        check(&plan, &events, events.len() * part / 10, bytes);
    }
}

/// Under rules that have changed those that count as before keep their counters; the others are
/// named, and their counters are gone.
#[test]
fn a_changed_rule_set_keeps_what_counts_as_before() {
    let rule = |name: &str, window: &str, above: i64| {
        format!(
            "  - {{ name: {name}, on: issue, window: {window}, measure: count, above: {above} }}\n"
        )
    };
    let set = |rules: &[String]| plan(&format!("version: 1\nrules:\n{}", rules.concat()));
    let before = set(&[rule("a", "1h", 3), rule("b", "1h", 3), rule("gone", "day", 3)]);
    let after = set(&[rule("c", "1h", 2), rule("b", "2h", 2), rule("a", "1h", 2)]);
    let event = |at: i64| {
        let line = format!(
            r#"{{"id":"e{at}","ts":{},"user":"u","kind":"issue","points":1}}"#,
            1_763_779_200_000 + at
        );
        line.into_bytes()
    };
    let decoder = tidegate::event::Decoder::default();
    let lines: Vec<Vec<u8>> = (0..3).map(event).collect();
    let mut two = Two::new();
    for line in &lines[..2] {
        two.feed(&before, &decoder.decode(line, 65_536).unwrap());
    }
    two.begin(&before);
    let mut told = Told::default();
    while !told.is_over() {
        told.sweep(&mut two, &before, 10);
    }
    let (state, _) = &two.events;
    let mut loader = Loader::new(&after, state.origin().clone());
    for piece in &told.pieces[0] {
        loader.take(piece).unwrap();
    }
    let loaded = loader.finish().unwrap();
    assert_eq!(loaded.anew, ["c", "b"]);
    two.events = (loaded.state, loaded.output);
    let effects = two.feed(&after, &decoder.decode(&lines[2], 65_536).unwrap());
    let fired = effects.iter().filter_map(|effect| match effect {
        Effect::Decision(decision) => Some(decision.rule.as_str()),
        _ => None,
    });
    assert_eq!(fired.collect::<Vec<_>>(), ["a"]);
}

/// The records of a snapshot, with another text in their head: a JSON text behind a byte and its
/// length.
fn with_head(records: &[u8], edit: impl Fn(&str) -> String) -> Vec<u8> {
    let varint = records[1..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
    let from = 1 + varint;
    let bits = records[1..from].iter().enumerate();
    let len: usize = bits.map(|(at, byte)| usize::from(byte & 0x7f) << (7 * at)).sum();
    let head = edit(std::str::from_utf8(&records[from..from + len]).unwrap());
    let mut edited = vec![records[0]];
    let mut rest = head.len();
    while rest >= 0x80 {
        edited.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    edited.push(u8::try_from(rest).unwrap());
    [edited, head.into_bytes(), records[from + len..].to_vec()].concat()
}

/// Nothing of these rules is told in another way than in version 2.
#[test]
fn a_snapshot_of_the_version_before_is_read_and_one_of_the_next_is_not() {
    let plan = plan(
        "version: 1\nrules:\n  - { name: cap, on: issue, measure: count, window: day, above: 2 }\n",
    );
    let decoder = tidegate::event::Decoder::default();
    let mut two = Two::new();
    let event = |n: i64| {
        let ts = 1_763_779_200_000 + n;
        format!(r#"{{"id":"e{n}","ts":{ts},"user":"u","kind":"issue","points":1}}"#)
    };
    for n in 0..2 {
        two.feed(&plan, &decoder.decode(event(n).as_bytes(), 65_536).unwrap());
    }
    two.begin(&plan);
    let mut told = Told::default();
    while !told.is_over() {
        told.sweep(&mut two, &plan, 1 << 16);
    }
    let records = told.pieces[0].concat();
    let of_version = |version: u32| {
        with_head(&records, |head| {
            assert!(head.contains("\"version\":5"), "{head}");
            head.replacen("\"version\":5", &format!("\"version\":{version}"), 1)
        })
    };
    let loader = || Loader::new(&plan, two.events.0.origin().clone());
    assert_eq!(loader().take(&of_version(6)), Err(Damaged::Version(6)));
    let mut before = loader();
    before.take(&of_version(3)).unwrap();
    let loaded = before.finish().unwrap();
    assert_eq!(loaded.anew, Vec::<String>::new());
    two.events = (loaded.state, loaded.output);
    let effects = two.feed(&plan, &decoder.decode(event(2).as_bytes(), 65_536).unwrap());
    assert!(matches!(effects.as_slice(), [Effect::Decision(_)]), "{effects:?}");
}

/// Times beyond all events made later steps overflow.
#[test]
fn a_head_with_a_time_that_is_none_is_refused() {
    let plan = plan(RULES);
    let decoder = tidegate::event::Decoder::default();
    let mut two = Two::new();
    for n in 0..5_i64 {
        let ts = 1_763_779_200_000 + n;
        let line = format!(r#"{{"id":"e{n}","ts":{ts},"user":"u","kind":"issue","points":1}}"#);
        two.feed(&plan, &decoder.decode(line.as_bytes(), 65_536).unwrap());
    }
    two.begin(&plan);
    let mut told = Told::default();
    while !told.is_over() {
        told.sweep(&mut two, &plan, 1 << 16);
    }
    let records = told.pieces[1].concat();
    let origin = || two.shared.0.origin().clone();
    assert_eq!(Loader::new(&plan, origin()).take(&with_head(&records, str::to_owned)), Ok(()));
    for least in [i64::MIN, i64::MAX] {
        for (field, before) in [("watermark", "1763779200004"), ("clock", "1763779200004")] {
            let name = format!("\"{field}\":");
            let edited = with_head(&records, |head| {
                assert!(head.contains(&format!("{name}{before}")), "{head}");
                head.replacen(&format!("{name}{before}"), &format!("{name}{least}"), 1)
            });
            let taken = Loader::new(&plan, origin()).take(&edited);
            assert_eq!(taken, Err(Damaged::Unreadable(0)), "{field}");
        }
    }
}
