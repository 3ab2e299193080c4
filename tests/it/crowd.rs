//! Rules by the dozen: each fires as it does alone, and a state is made anew as it was, though no
//! key has a place for all of them.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tidegate::backtest::{Backtest, run};
use tidegate::engine::Effect;
use tidegate::event::{Decoder, Event};

use crate::naive::plan;
use crate::snapshot::check;

const RULES: usize = 70;

/// The n-th rule: most are on one campaign, some on all.
fn rule(n: usize) -> String {
    let per = ["user", "user", "user", "device", "user", "[user, source]"][n % 6];
    let (measure, above) = [("count", 2), ("sum(points)", 40), ("max(points)", 17)][n % 3];
    let window = ["10m", "day", "1h", "2h"][n % 4];
    let of = if n.is_multiple_of(5) {
        String::new()
    } else {
        format!("where: {{ source: c{} }}, ", n % 9)
    };
    format!(
        "  - {{ name: r{n:02}, on: issue, {of}per: {per}, measure: {measure}, window: {window}, above: {above} }}\n"
    )
}

fn set(rules: impl Iterator<Item = usize>) -> String {
    format!("version: 1\ntimezone: Asia/Shanghai\nrules:\n{}", rules.map(rule).collect::<String>())
}

/// Members who come, go for hours, and come back.
fn lines(count: usize) -> Vec<Vec<u8>> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut ts: i64 = 1_763_740_800_000;
    let line = |n: usize| {
        ts += if n.is_multiple_of(97) { 7_500_000 } else { rng.random_range(0..40_000) };
        let user = rng.random_range(0..12_u32) + u32::try_from(n / 400).unwrap() * 6;
        let line = json!({
            "id": format!("e{n}"), "ts": ts, "user": format!("u{user}"), "kind": "issue",
            "points": rng.random_range(1..20), "device": format!("d{}", user / 2),
            "source": format!("c{}", rng.random_range(0..9)),
        });
        line.to_string().into_bytes()
    };
    (0..count).map(line).collect()
}

/// What each decision says but its id and the version of the rule set.
fn decisions(rules: &str, lines: &[Vec<u8>]) -> Vec<Value> {
    let mut fold = Backtest::new(plan(rules), Decoder::default(), 65_536, "events");
    let mut decisions = Vec::new();
    let mut sink = |effect: &Effect| {
        if let Effect::Decision(decision) = effect {
            let mut decision = serde_json::to_value(decision).unwrap();
            // The id of a shared key's decision has to do with what else the record brought.
            decision.as_object_mut().unwrap().retain(|name, _| name != "ruleset" && name != "id");
            decisions.push(decision);
        }
        Ok(())
    };
    run(&mut fold, lines.join(&b'\n').as_slice(), &mut sink, &mut |_| {}).unwrap();
    decisions
}

#[test]
fn each_rule_fires_as_it_does_alone() {
    let lines = lines(1_500);
    let all = decisions(&set(0..RULES), &lines);
    let mut quiet = 0;
    for n in 0..RULES {
        let name = Value::from(format!("r{n:02}"));
        let own: Vec<&Value> = all.iter().filter(|one| one["rule"] == name).collect();
        let alone = decisions(&set(n..=n), &lines);
        let differs = own.iter().zip(&alone).find(|(own, alone)| **own != *alone);
        assert_eq!(differs, None, "{}", rule(n));
        assert_eq!(own.len(), alone.len(), "{}", rule(n));
        quiet += usize::from(own.is_empty());
    }
    assert!(quiet < RULES / 5, "{quiet} rules never fired");
}

#[test]
fn the_state_of_many_rules_is_made_anew_as_it_was() {
    let lines = lines(900);
    let decoder = Decoder::default();
    let events: Vec<Event<'_>> =
        lines.iter().map(|line| decoder.decode(line, 65_536).unwrap()).collect();
    let plan = plan(&set(0..RULES));
    for (at, bytes) in [(200, 300), (700, 20_000)] {
        check(&plan, &events, at, bytes);
    }
}
