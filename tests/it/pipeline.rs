//! A backtest in threads comes to what one thread comes to, line by line, to the letter: whatever
//! the pieces that its input comes in, and however many folds share it.

use std::io::{self, Read};

use proptest::prelude::*;
use tidegate::backtest::{Backtest, Summary, run, run_all};
use tidegate::engine::{Effect, Input, Origin, Output, Plan, State, step};
use tidegate::event::Decoder;

use crate::naive::{Pace, Row, history, plan};

/// Rules of every form, on keys that cross partitions and on keys that do not.
pub(crate) const RULES: &str = "
version: 1
timezone: Europe/Berlin
budget: { freezes: 3, per: 1h }
rules:
  - { name: burst, on: issue, measure: count, window: 15m, above: 2, then: [freeze] }
  - { name: day, on: issue, measure: sum(points), window: day, levels: [{ above: 5 }, { above: 9, then: [{ deduct: { points: excess } }] }] }
  - { name: sources, on: issue, per: source, measure: sum(points), window: 1h, above: 9, cooldown: 10m, then: [freeze] }
  - { name: all, on: [issue, redeem], per: global, measure: max(points), window: day, above: 30 }
  - { name: devices, on: issue, per: source, measure: distinct(device), window: 30m, above: 2 }
  - { name: ring, on: issue, per: device, measure: distinct(user), window: 1d, above: 1, then: [review] }
  - { name: silent, on: issue, per: source, measure: count, window: 20m, below: 2 }
  - { name: calm, on: redeem, per: global, measure: count, window: day, below: 3 }
  - { name: ratio, per: global, ratio: { of: { on: redeem, measure: count }, to: { on: issue, measure: count } }, window: 30m, above: 0.6 }
  - { name: odd, on: issue, measure: count, window: 1m, zscore: { above: 2 }, baseline: { history: 5, min_windows: 2, min_sd: 0.1 } }
  - { name: odder, on: issue, per: global, measure: sum(points), window: 1m, zscore: { above: 2, below: -2 }, baseline: { method: mean, history: 6, min_windows: 2, min_sd: 0.5 } }
  - { name: new, on: [issue, redeem], where: { new: { field: device, within: 2h } }, then: [review] }
  - { name: new-here, on: issue, per: source, where: { new: { field: device, within: 2h } }, measure: count, window: 1h, above: 1 }
  - { name: big, on: [issue, redeem], per: device, where: { points: { gte: 20 } }, then: [freeze, alert] }
  - { name: pair, on: issue, per: [source, device], measure: count, window: 1h, above: 1 }
  - { name: lift, on: redeem, where: { points: { lt: 2 } }, then: [unfreeze] }
";

/// A reader that brings a few bytes at a time.
struct Drip<'a> {
    text: &'a [u8],
    most: usize,
    /// Fails at the end of the text instead of ending.
    breaks: bool,
}

impl Read for Drip<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.text.is_empty() && self.breaks {
            return Err(io::Error::other("the disk is gone"));
        }
        let most = room.len().min(self.most);
        self.text.read(&mut room[..most])
    }
}

fn fold(plan: &Plan) -> Backtest {
    Backtest::new(plan.clone(), Decoder::default(), 65_536, "events")
}

fn written(effect: &Effect) -> String {
    match effect {
        Effect::Decision(one)
        | Effect::Resolved(one)
        | Effect::Canary(one)
        | Effect::Daily(one) => serde_json::to_string(one).unwrap(),
        Effect::Command(one) => serde_json::to_string(one).unwrap(),
        Effect::Account(one) => serde_json::to_string(one).unwrap(),
    }
}

/// One thread, line by line.
fn in_one(plan: &Plan, text: &str) -> (Vec<String>, Summary) {
    let mut fold = fold(plan);
    let mut effects = Vec::new();
    let mut sink = |effect: &Effect| {
        effects.push(written(effect));
        Ok(())
    };
    for line in text.split_terminator('\n') {
        fold.feed(line.trim().as_bytes());
        fold.take(&mut sink).unwrap();
    }
    fold.end();
    fold.take(&mut sink).unwrap();
    (effects, fold.summary())
}

fn in_threads(plan: &Plan, text: &str, most: usize) -> (Vec<String>, Summary) {
    let mut fold = fold(plan);
    let mut effects = Vec::new();
    let mut sink = |effect: &Effect| {
        effects.push(written(effect));
        Ok(())
    };
    let reader = Drip { text: text.as_bytes(), most, breaks: false };
    let summary = run(&mut fold, reader, &mut sink, &mut |_| {}).unwrap();
    (effects, summary)
}

/// What a live worker comes to that flushes after each event: by records of a partials topic.
fn by_records(plan: &Plan, text: &str) -> Vec<String> {
    let from = |topic: &str| Origin { topic: topic.into(), partition: 0 };
    let (mut own, mut shared) = (State::new(from("events")), State::new(from("partials")));
    let (mut out, mut shared_out) = (Output::default(), Output::default());
    let (decoder, mut merged) = (Decoder::default(), 0);
    let mut flush = |own: &State, out: &mut Output, heartbeat| {
        for (_, payload) in out.partials.drain(own.origin(), own.watermark(), 1, false, heartbeat) {
            let input = Input::Partials { payload: &payload, offset: merged, record_ts: None };
            step(&mut shared, plan, input, &mut shared_out);
            merged += 1;
        }
    };
    for (offset, line) in (0..).zip(text.split_terminator('\n')) {
        if let Ok(event) = decoder.decode(line.trim().as_bytes(), 65_536) {
            step(&mut own, plan, Input::Event { event: &event, offset, record_ts: None }, &mut out);
            flush(&own, &mut out, false);
        }
    }
    step(&mut own, plan, Input::End, &mut out);
    flush(&own, &mut out, true);
    step(&mut shared, plan, Input::End, &mut shared_out);
    let mut all: Vec<String> = out.effects.iter().chain(&shared_out.effects).map(written).collect();
    all.sort();
    all
}

/// Lines of a history, some twice, some blank, some broken.
fn lines(rows: &[Row], odd: &[u8]) -> String {
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        let line = row.event(at).to_json();
        match odd.get(at % odd.len().max(1)) {
            Some(0) => text += "\n \n",
            Some(1) => text += "{ \"id\": not json }\n",
            Some(2) => text.extend([&line, "\r\n"]),
            _ => {}
        }
        text += &line;
        text += "\n";
    }
    text
}

fn pace() -> Pace {
    Pace { back_ms: 120_000, ahead_ms: 300_000, most: 80 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn threads_change_nothing(
        rows in history(pace()),
        odd in proptest::collection::vec(0u8..12, 1..20),
        most in prop_oneof![1usize..300, Just(1 << 20)],
        ends in any::<bool>(),
    ) {
        let plan = plan(RULES);
        let text = lines(&rows, &odd);
        let text = if ends { &text } else { text.trim_end() };
        prop_assert_eq!(in_threads(&plan, text, most), in_one(&plan, text));
    }

    #[test]
    fn what_is_handed_over_within_a_fold_says_what_records_would(
        rows in history(pace()),
        odd in proptest::collection::vec(0u8..12, 1..20),
    ) {
        let plan = plan(RULES);
        let text = lines(&rows, &odd);
        let (mut effects, _) = in_one(&plan, &text);
        effects.sort();
        // Nobody tells the account anything there.
        effects.retain(|effect| !effect.contains("\"rule\":\"tidegate.daily\""));
        prop_assert_eq!(effects, by_records(&plan, &text));
    }

    #[test]
    fn folds_that_share_a_reading_do_not_see_each_other(rows in history(pace()), most in 1usize..999) {
        let rules = [RULES.to_owned(), RULES.replace("above: 9, cooldown", "above: 4, cooldown"), RULES.replace("- { name: burst", "- { mode: off, name: burst")];
        let plans: Vec<Plan> = rules.iter().map(|rules| plan(rules)).collect();
        let text = lines(&rows, &[]);
        let mut folds: Vec<Backtest> = plans.iter().map(fold).collect();
        let mut effects = vec![Vec::new(); folds.len()];
        let mut sink = |at: usize, effect: &Effect| {
            effects[at].push(written(effect));
            Ok(())
        };
        let reader = Drip { text: text.as_bytes(), most, breaks: false };
        let mut all: Vec<&mut Backtest> = folds.iter_mut().collect();
        run_all(&mut all, reader, &mut sink, &mut |_| {}).unwrap();
        for ((plan, fold), effects) in plans.iter().zip(&folds).zip(effects) {
            prop_assert_eq!((effects, fold.summary()), in_one(plan, &text));
        }
    }
}

fn some_lines() -> String {
    let event = |at: i64| {
        let ts = 1_763_780_400_000 + at * 1000;
        format!(
            "{{\"id\":\"e{at}\",\"ts\":{ts},\"user\":\"u1\",\"kind\":\"redeem\",\"points\":1}}\n"
        )
    };
    (0..5_000).map(event).collect()
}

const EACH: &str = "version: 1\nrules: [{ name: each, on: redeem }]";

#[test]
fn what_was_read_before_a_fault_is_handed_out_and_nothing_ends() {
    let rules = format!("{EACH}\n").replace(
        "}]",
        "}, { name: low, on: issue, per: global, measure: count, window: day, below: 5 }]",
    );
    let (mut fold, mut fired) = (fold(&plan(&rules)), 0);
    let text = some_lines();
    let reader = Drip { text: text.as_bytes(), most: 4_096, breaks: true };
    let mut sink = |effect: &Effect| {
        fired += u32::from(matches!(effect, Effect::Decision(_)));
        Ok(())
    };
    let error = run(&mut fold, reader, &mut sink, &mut |_| {}).unwrap_err();
    assert_eq!((error.to_string().as_str(), fired), ("the disk is gone", 5_000));
}

/// The same text again and again.
struct Endless<'a>(&'a [u8], usize);

impl Read for Endless<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        for byte in room.iter_mut() {
            *byte = self.0[self.1 % self.0.len()];
            self.1 += 1;
        }
        Ok(room.len())
    }
}

#[test]
fn a_sink_that_fails_ends_the_reading() {
    let (mut fold, mut taken) = (fold(&plan(EACH)), 0);
    // Without an end: only the sink can stop it.
    let line =
        b"{\"id\":\"e\",\"ts\":1763780400000,\"user\":\"u1\",\"kind\":\"redeem\",\"points\":1}\n";
    let mut sink = |_: &Effect| {
        taken += 1;
        Err(io::Error::other("nobody reads on"))
    };
    let error = run(&mut fold, Endless(line, 0), &mut sink, &mut |_| {}).unwrap_err();
    assert_eq!((error.to_string().as_str(), taken), ("nobody reads on", 1));
}

#[test]
fn progress_adds_up_to_the_input() {
    let (text, mut bytes) = (some_lines(), 0);
    let reader = Drip { text: text.as_bytes(), most: 1 << 20, breaks: false };
    run(&mut fold(&plan(EACH)), reader, &mut |_| Ok(()), &mut |more| bytes += more).unwrap();
    assert_eq!(bytes, text.len() as u64);
}
