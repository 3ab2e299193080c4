//! Owners of keys that hear the past of each partition come to what they would have come to, had
//! the rules been there from the beginning.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::engine::{Effect, Input, Lists, Origin, Settings, step};
use crate::event::Decoder;
use crate::rule::{Source, load};

const OLD: &str = "
version: 1
rules:
  - { name: all, on: issue, per: global, measure: count, window: year, above: 100000 }
";

/// Judged by what comes: their levels are armed when they are taken up.
const ABOVE: &str = "
  - { name: day, on: issue, per: source, measure: sum(points), window: day, above: 60 }
  - { name: rolling, on: issue, per: source, measure: sum(points), window: 1h, above: 40 }
  - { name: most, on: issue, per: global, measure: max(points), window: 2h, above: 8 }
  - { name: ring, on: issue, per: device, measure: distinct(user), window: 2h, above: 5 }
  - { name: share, per: global, window: 1h, above: 0.4, ratio: {
      of: { on: redeem, measure: count }, to: { on: issue, measure: count }, min_to: 3 } }
";

/// Judged as time goes on: what was odd when they are taken up is no news.
const TIMED: &str = "
  - { name: silent, on: issue, per: source, measure: count, window: 1h, below: 4 }
  - { name: calm, on: issue, per: source, measure: count, window: day, below: 330 }
  - { name: odd, on: issue, per: global, measure: count, window: 10m, close_after: 5m,
      zscore: { above: 4, below: -4 }, baseline: { method: mean, history: 12, min_windows: 4 } }
  - { name: ewma, on: redeem, per: source, measure: sum(points), window: 1h,
      zscore: { above: 3 }, baseline: { method: ewma, history: 3, min_windows: 3, min_sd: 10 } }
  - { name: slot, on: issue, per: global, measure: count, window: 1h, zscore: { above: 4 },
      baseline: { method: seasonal, season: 4h, history: 3, min_windows: 2 } }
";

const PARTITIONS: u32 = 3;
const MINUTE: i64 = 60_000;

fn plan(rules: &str) -> Plan {
    let source = Source { path: "a.yaml".to_owned(), text: rules.to_owned() };
    Plan::new(Arc::new(load(&[source]).unwrap()), Lists::default(), Settings::default())
}

fn names(rules: &str) -> Vec<String> {
    plan(&format!("version: 1\nrules:{rules}")).rules.rules.iter().map(|r| r.name.clone()).collect()
}

/// A partition of events, or the owner of some keys, and what it goes by.
struct Fold {
    state: State,
    out: Output,
    plan: Plan,
    next: i64,
}

impl Fold {
    fn new(topic: &str, partition: u32, plan: &Plan) -> Fold {
        let partition = i32::try_from(partition).unwrap();
        let origin = Origin { topic: Arc::from(topic), partition };
        let (state, out) = (State::new(origin), Output::default());
        Fold { state, out, plan: plan.clone(), next: 0 }
    }

    /// Folds in an event; what it puts out for owners.
    fn event(&mut self, text: &str) -> Vec<(u32, Vec<u8>)> {
        let event = Decoder::default().decode(text.as_bytes(), 10_000).unwrap();
        let input = Input::Event { event: &event, offset: self.next, record_ts: None };
        step(&mut self.state, &self.plan, input, &mut self.out);
        self.next += 1;
        if self.out.partials.collects() {
            self.out.partials.keep_small(&self.plan, self.state.watermark());
            return Vec::new();
        }
        let (origin, watermark) = (self.state.origin().clone(), self.state.watermark());
        self.out.partials.drain(&origin, watermark, PARTITIONS, false, false)
    }

    fn hear(&mut self, payload: &[u8], now: i64) {
        let input = Input::Partials { payload, offset: self.next, record_ts: Some(now) };
        step(&mut self.state, &self.plan, input, &mut self.out);
        self.next += 1;
    }

    fn take_up(&mut self, plan: &Plan, rules: &[String]) {
        self.plan = plan.clone();
        self.state.take_up(plan, rules, &mut self.out);
        self.out.effects.clear();
    }
}

/// Owners of all keys.
struct Owners(Vec<Fold>);

impl Owners {
    fn new(plan: &Plan) -> Owners {
        Owners((0..PARTITIONS).map(|n| Fold::new("partials", n, plan)).collect())
    }

    fn hear(&mut self, records: &[(u32, Vec<u8>)], now: i64) {
        for (to, payload) in records {
            self.0[*to as usize].hear(payload, now);
        }
    }

    fn have_heard(&self, rules: &[u64]) -> bool {
        self.0.iter().all(|owner| owner.state.heard(rules, PARTITIONS).0 == PARTITIONS as usize)
    }

    /// What these rules have decided since they were taken up.
    fn decided(&self, rules: &[String]) -> BTreeSet<String> {
        let effects = self.0.iter().flat_map(|owner| &owner.out.effects);
        let own = effects.filter_map(|effect| match effect {
            Effect::Decision(one) if rules.contains(&one.rule) => Some(format!(
                "{} {:?} {:?} {:?} {:?}",
                one.rule, one.key, one.level, one.ts, one.value
            )),
            _ => None,
        });
        own.collect()
    }
}

/// Events over some days, a minute or more apart, with hours in which a source is silent; the last
/// day is a busy one. By event: its time, its partition and its text.
fn events(rng: &mut ChaCha8Rng) -> Vec<(i64, usize, String)> {
    let mut events = Vec::new();
    let mut now = 1_763_780_040_000 / MINUTE * MINUTE;
    for n in 0..4_000 {
        now += MINUTE * rng.random_range(0..3);
        let hour = now / (60 * MINUTE);
        let source = rng.random_range(0..3_i64);
        if (hour / 3 + source) % 7 == 0 {
            continue;
        }
        let is_busy = n > 3_300 && hour % 5 == 0;
        for more in 0..if is_busy { 6 } else { 1 } {
            let user = rng.random_range(0..30);
            let late = if rng.random_range(0..8) == 0 { 4 * MINUTE } else { 0 };
            let ts = now - late;
            let kind = if rng.random_range(0..4) == 0 { "redeem" } else { "issue" };
            let points = rng.random_range(0..10);
            let device = rng.random_range(0..6);
            events.push((
                now,
                user % PARTITIONS as usize,
                format!(
                    r#"{{"id":"e{n}-{more}","ts":{ts},"user":"u{user}","kind":"{kind}",
                    "points":{points},"source":"s{source}","device":"d{device}"}}"#
                ),
            ));
        }
    }
    events
}

/// Decisions of both kinds of rules that were told of, after the rules were taken up.
fn check(seed: u64) -> (usize, usize) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let events = events(&mut rng);
    let (above, timed) = (names(ABOVE), names(TIMED));
    let new = [above.clone(), timed.clone()].concat();
    let old = plan(OLD);
    let whole = plan(&[OLD, ABOVE, TIMED].concat());
    let born = whole.born(&whole.births_after(&old, 5));
    let (between, muted) = (old.towards(&born), born.muted(&new));
    let sources = |plan: &Plan| -> Vec<Fold> {
        (0..PARTITIONS).map(|n| Fold::new("events", n, plan)).collect()
    };
    // With the rules from the beginning, judged from there on or from the cut on; and without.
    let (mut ever, mut judged, mut held) =
        (sources(&whole), Owners::new(&whole), Owners::new(&whole.muted(&new)));
    let (mut before, mut later) = (sources(&between), sources(&muted));
    let (mut live, mut successor) = (Owners::new(&between), Owners::new(&muted));
    for source in &mut later {
        source.out.partials.collect();
    }
    let end = events.len() / 2;
    let cuts: Vec<usize> = (0..3).map(|_| rng.random_range(end / 2..end)).collect();
    let awaited = born.awaited(&new);
    for (at, (now, from, text)) in events.iter().enumerate() {
        let records = ever[*from].event(text);
        judged.hear(&records, *now);
        held.hear(&records, *now);
        let old = before[*from].event(text);
        let mut records = later[*from].event(text);
        if at < cuts[*from] {
            records = old;
        }
        live.hear(&records, *now);
        successor.hear(&records, *now);
        for (source, _) in later.iter_mut().zip(&cuts).filter(|(_, cut)| **cut == at + 1) {
            assert!(!live.have_heard(&awaited));
            let number = usize::try_from(source.state.origin().partition).unwrap();
            source.out.partials.has_told_as(&before[number].out.partials);
            let origin = source.state.origin().clone();
            let from = (&origin, source.state.watermark(), false);
            let records = source.out.partials.tell_history(&born, from, PARTITIONS);
            source.plan = born.clone();
            live.hear(&records, *now);
            successor.hear(&records, *now);
        }
        if at + 1 == *cuts.iter().max().unwrap() {
            assert!(live.have_heard(&awaited) && successor.have_heard(&awaited));
            successor.0.iter_mut().for_each(|owner| owner.take_up(&born, &new));
            held.0.iter_mut().for_each(|owner| owner.take_up(&whole, &new));
            judged.0.iter_mut().for_each(|owner| owner.out.effects.clear());
        }
    }
    assert!(live.decided(&new).is_empty(), "what is to come does not act");
    let (told, expected) = (successor.decided(&above), held.decided(&above));
    assert_eq!(told, expected, "seed {seed}: levels above");
    let (timely, expected) = (successor.decided(&timed), judged.decided(&timed));
    assert_eq!(timely, expected, "seed {seed}: silence and z-scores");
    assert_eq!(held.decided(&timed), expected, "seed {seed}: taken up");
    for rule in &new {
        let tells = |one: &&String| one.starts_with(&format!("{rule} "));
        assert!(told.iter().chain(&timely).any(|one| tells(&one)), "seed {seed}: {rule} is quiet");
    }
    (told.len(), timely.len())
}

#[test]
fn what_partitions_tell_one_after_the_other_comes_to_the_whole() {
    for seed in 0..4 {
        let (above, timed) = check(seed);
        assert!(above > 50 && timed > 10, "{above} and {timed} decisions");
    }
}

#[test]
fn of_rules_that_are_many_the_oldest_are_forgotten() {
    let mut heard = Heard::default();
    for rule in 0..1_010 {
        heard.note(&[rule, rule], 0);
        heard.note(&[rule], 2);
    }
    assert_eq!((heard.of(9), heard.of(10), heard.of(1_009)), (0, 2, 2));
}
