//! Golden logs: what two streams of 20,000 events come to, to the letter. A digest for each
//! 1,000 events tells where a change begins, the decisions written out tell what it is.
//! `TIDEGATE_BLESS=1` writes the files anew; read the difference as code.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tidegate::backtest::{Backtest, run};
use tidegate::control::read_rules;
use tidegate::engine::{Effect, Input, Lists, Origin, Output, Plan, Settings, State, step};
use tidegate::event::Decoder;
use tidegate::rule::{Source, load};
use xxhash_rust::xxh3::Xxh3;

const START: i64 = 1_761_260_400_000;

/// An ordinary event, or one of a burst: a user, device or source that does too much.
fn event(at: i64, users: u32, rng: &mut ChaCha8Rng) -> Value {
    let mut user = rng.random_range(0..users);
    let (mut kind, mut source, mut points) = match rng.random_range(0..20_u32) {
        0..=8 => ("issue", "signin", 10),
        9..=12 => ("issue", "share", 20),
        13..=15 => ("issue", "quiz", 30),
        16..=17 => ("issue", "purchase", rng.random_range(10..200)),
        18 => ("redeem", "", rng.random_range(50..300)),
        _ => ("expire", "", 10),
    };
    let mut device = format!("d-{user}");
    match at / 400 % 8 {
        1 if at % 4 == 0 => (user, kind, source, points) = (1, "issue", "lottery", 500),
        3 if at % 5 == 0 => device = "d-ring".into(),
        5 if at % 2 == 0 => (kind, source, points) = ("redeem", "", 2000 + 10 * (at % 900)),
        6 if at % 7 == 0 => (kind, points) = ("expire", 9000),
        _ => {}
    }
    json!({ "id": format!("e-{at}"), "user": format!("u-{user}"), "kind": kind, "points": points,
        "source": source, "device": device, "ip": format!("10.0.{}.{}", user / 60, user % 60) })
}

/// 20,000 events and what goes wrong with them: out of order, late, repeated, reversed,
/// adjusted. `apart_ms` lies between two of them. Made here, and not by the generator, which
/// may change without a change of the engine.
fn stream(users: u32, apart_ms: i64) -> Vec<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut lines = Vec::new();
    for at in 0..20_000 {
        let mut event = event(at, users, &mut rng);
        let ts = START + at * apart_ms;
        let behind = match rng.random_range(0..100_u32) {
            0..=9 => rng.random_range(0..300_000),
            10 => rng.random_range(0..900_000),
            _ => 0,
        };
        event["ts"] = (ts - behind).into();
        if rng.random_range(0..30_u32) == 0 {
            event["device"] = format!("d-{}", rng.random_range(0..40_u32)).into();
        }
        lines.push(event.to_string());
        match rng.random_range(0..60_u32) {
            0 => lines.push(event.to_string()),
            1 => {
                let mut reverse = event.clone();
                let original = json!({ "id": event["id"], "ts": event["ts"], "kind": event["kind"],
                    "partial": at % 2 == 0 });
                reverse["id"] = format!("r-{at}").into();
                reverse["ts"] = (ts + rng.random_range(0..2000)).into();
                reverse["kind"] = "reverse".into();
                reverse["reverses"] = original;
                lines.push(reverse.to_string());
            }
            2 => {
                let mut adjust = event.clone();
                let reason = ["gift", "oops", "pardon"][rng.random_range(0..3_usize)];
                adjust["id"] = format!("a-{at}").into();
                adjust["kind"] = "adjust".into();
                adjust["points"] = rng.random_range(-50..80_i64).into();
                adjust["attrs"] = json!({ "reason": reason, "tier": "silver", "n": 3, "b": true });
                lines.push(adjust.to_string());
            }
            3 => lines.push("{ \"id\": not json }".to_owned()),
            _ => {}
        }
    }
    lines
}

fn shipped() -> Plan {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let (set, entries) = read_rules(&root).unwrap();
    let lists: Lists = entries.into_iter().collect();
    Plan::new(Arc::new(set), lists, settings())
}

fn others() -> Plan {
    let text = include_str!("golden/rules.yaml").to_owned();
    let set = load(&[Source { path: "rules.yaml".into(), text }]).unwrap();
    Plan::new(Arc::new(set), Lists::default(), settings())
}

fn settings() -> Settings {
    Settings { max_ahead_ms: None, ..Settings::default() }
}

/// The effects of one log, digested.
#[derive(Default)]
struct Golden {
    digest: Xxh3,
    effects: u64,
    digests: String,
    decisions: String,
    written: std::collections::BTreeMap<String, u32>,
}

impl Golden {
    fn note(&mut self, line: usize, effect: &Effect) {
        let (kind, value) = match effect {
            Effect::Decision(decision) => ("decision", serde_json::to_value(decision)),
            Effect::Command(command) => ("command", serde_json::to_value(command)),
            Effect::Account(account) => ("account", serde_json::to_value(account)),
            // What is over is told to people, and is no firing.
            Effect::Resolved(_) | Effect::Canary(_) | Effect::Daily(_) => return,
        };
        let value = value.unwrap();
        self.digest.update(format!("{line} {kind} {value}\n").as_bytes());
        self.effects += 1;
        // Two decisions of each rule in full, and what they brought, say enough.
        if kind == "decision" {
            let written = self.written.entry(value["rule"].to_string()).or_default();
            *written += 1;
            if *written <= 2 {
                writeln!(self.decisions, "{line} {value}").unwrap();
            }
        }
    }

    fn cut(&mut self, line: usize) {
        writeln!(self.digests, "{line} {} {:016x}", self.effects, self.digest.digest()).unwrap();
    }

    fn check(self, name: &str, end: &str) {
        let mut fired = String::new();
        for (rule, count) in &self.written {
            writeln!(fired, "{rule} {count}").unwrap();
        }
        let text = format!("{end}\n\n{}\n{fired}\n{}", self.digests, self.decisions);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden").join(name);
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = expected.lines().zip(text.lines()).find(|(a, b)| a != b);
        assert!(expected == text, "{name} differs, first in {differs:?}");
    }
}

/// As the worker runs it: two states, partial aggregates handed over every so many events.
fn folded(name: &str, plan: &Plan, lines: &[String], flush_every: usize) {
    let origin = |topic: &str| Origin { topic: topic.into(), partition: 0 };
    let (mut state, mut shared) = (State::new(origin("events")), State::new(origin("partials")));
    let (mut out, mut shared_out) = (Output::default(), Output::default());
    let decoder = Decoder::default();
    let mut golden = Golden::default();
    let mut records = 0;
    for (line, text) in lines.iter().enumerate() {
        let offset = i64::try_from(line).unwrap();
        match decoder.decode(text.as_bytes(), 65_536) {
            Ok(event) => {
                let input = Input::Event { event: &event, offset, record_ts: None };
                step(&mut state, plan, input, &mut out);
            }
            Err(reason) => step(&mut state, plan, Input::Rejected { reason, offset }, &mut out),
        }
        if (line + 1) % flush_every == 0 {
            let watermark = state.watermark();
            for (_, payload) in out.partials.drain(&origin("events"), watermark, 1, false, false) {
                let input = Input::Partials { payload: &payload, offset: records, record_ts: None };
                step(&mut shared, plan, input, &mut shared_out);
                records += 1;
            }
        }
        for effect in out.effects.drain(..).chain(shared_out.effects.drain(..)) {
            golden.note(line, &effect);
        }
        if line % 1000 == 999 {
            golden.cut(line);
        }
    }
    let held = |state: &State| {
        let counters = (state.keys(), state.counters(), state.accounts(), state.remembered_ids());
        format!("{:?} {counters:?}", state.watermark())
    };
    let counts = format!("{:?}\n{:?}", out.counts, shared_out.counts);
    golden.check(name, &format!("{counts}\n{}\n{}", held(&state), held(&shared)));
}

/// As `backtest` runs it: in one thread, and in several.
fn backtested(name: &str, plan: &Plan, lines: &[String]) {
    let fold = || Backtest::new(plan.clone(), Decoder::default(), 65_536, "events");
    let (mut in_one, mut in_threads) = (Vec::new(), Vec::new());
    let mut several = fold();
    let mut sink = |effect: &Effect| {
        in_threads.push(effect.clone());
        Ok(())
    };
    run(&mut several, lines.join("\n").as_bytes(), &mut sink, &mut |_| {}).unwrap();
    let mut fold = fold();
    let mut golden = Golden::default();
    for (line, text) in lines.iter().enumerate() {
        fold.feed(text.as_bytes());
        fold.take(&mut |effect| {
            golden.note(line, effect);
            in_one.push(effect.clone());
            Ok(())
        })
        .unwrap();
        if line % 1000 == 999 {
            golden.cut(line);
        }
    }
    fold.end();
    fold.take(&mut |effect| {
        golden.note(lines.len(), effect);
        in_one.push(effect.clone());
        Ok(())
    })
    .unwrap();
    assert!(in_one == in_threads && fold.summary() == several.summary(), "{name}: threads differ");
    golden.cut(lines.len());
    let summary = format!("{:?}", fold.summary());
    golden.check(name, &summary);
}

#[test]
fn the_shipped_rules_over_an_hour() {
    let lines = stream(300, 250);
    folded("shipped-hour.txt", &shipped(), &lines, 500);
    backtested("shipped-hour-backtest.txt", &shipped(), &lines);
}

#[test]
fn the_shipped_rules_over_two_weeks() {
    let lines = stream(60, 60_000);
    folded("shipped-weeks.txt", &shipped(), &lines, 37);
    backtested("shipped-weeks-backtest.txt", &shipped(), &lines);
}

#[test]
fn other_rules_over_an_hour() {
    let lines = stream(120, 250);
    folded("others-hour.txt", &others(), &lines, 250);
    backtested("others-hour-backtest.txt", &others(), &lines);
}

#[test]
fn other_rules_over_two_weeks() {
    let lines = stream(40, 60_000);
    folded("others-weeks.txt", &others(), &lines, 41);
    backtested("others-weeks-backtest.txt", &others(), &lines);
}
