//! `rules diff --shadow`: a rule in shadow mode beside its live twin, by the decisions of both.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tidegate::backtest::shadow::{Decisions, Pair};
use tidegate::backtest::{Backtest, Names, run};
use tidegate::engine::Effect;
use tidegate::event::Decoder;

use crate::broker::{self, unique};
use crate::naive::plan;

const RULES: &str = "
version: 1
timezone: Asia/Shanghai
rules:
  - { name: cap, on: issue, measure: sum(points), window: day, above: 100, then: [freeze] }
  - { name: cap-candidate, mode: shadow, on: issue, measure: count, window: day, above: 1, then: [freeze] }
  - { name: big, on: issue, where: { points: { gte: 150 } }, then: [review] }
  - { name: trial, mode: shadow, on: issue, where: { points: { gte: 200 } } }
";

fn event(at: i64, user: &str, points: i64) -> String {
    json!({ "id": format!("e{at}"), "ts": 1_763_780_400_000 + at, "user": user, "kind": "issue",
        "points": points })
    .to_string()
}

/// Decisions of the rules, as the topic has them, with an audit record and a broken one.
fn decisions() -> Vec<String> {
    let events = [("anna", 60), ("anna", 60), ("bert", 250), ("carl", 5), ("carl", 5), ("dora", 7)];
    let lines: Vec<String> =
        (0..).zip(events).map(|(at, (user, points))| event(at, user, points)).collect();
    let mut fold = Backtest::new(plan(RULES), Decoder::default(), 65_536, "events");
    let mut decisions = Vec::new();
    let mut sink = |effect: &Effect| {
        if let Effect::Decision(decision) = effect {
            decisions.push(serde_json::to_string(decision).unwrap());
        }
        Ok(())
    };
    run(&mut fold, lines.join("\n").as_bytes(), &mut sink, &mut |_| {}).unwrap();
    let mut audit: Value = serde_json::from_str(&decisions[0]).unwrap();
    audit["rule"] = "tidegate.freeze".into();
    decisions.push(audit.to_string());
    decisions.push("{ no decision".to_owned());
    decisions
}

fn compared(pairs: &[Pair]) -> Value {
    let mut all = Decisions::new(Names::Whole);
    for decision in decisions() {
        all.note(decision.as_bytes());
    }
    serde_json::to_value(all.compare(pairs, 20)).unwrap()
}

fn targets(of: &Value) -> Vec<&str> {
    of["top"].as_array().unwrap().iter().map(|one| one["target"].as_str().unwrap()).collect()
}

#[test]
fn a_candidate_is_held_against_the_rule_whose_name_it_carries_on() {
    // Live: cap on anna and bert, big on bert. Shadow: the candidate on anna and carl, trial on bert.
    let found = compared(&[]);
    assert_eq!((&found["decisions"], &found["unreadable"]), (&json!(7), &json!(1)));
    let [candidate, trial] = [0, 1].map(|at: usize| found["pairs"][at].clone());
    assert_eq!(
        (&candidate["shadow"], &candidate["live"]),
        (&json!("cap-candidate"), &json!("cap"))
    );
    assert_eq!(candidate["firings"], json!({ "live": 2, "shadow": 2 }));
    assert_eq!((&candidate["both"], &candidate["alone"]), (&json!(1), &json!(1)));
    assert_eq!(targets(&candidate["only_shadow"]), ["user:carl"]);
    assert_eq!(targets(&candidate["only_live"]), ["user:bert"]);
    assert_eq!(candidate["only_live"]["top"][0]["also"], json!(["big"]));

    assert_eq!((&trial["shadow"], &trial["live"]), (&json!("trial"), &Value::Null));
    assert_eq!(targets(&trial["only_shadow"]), ["user:bert"]);
    assert_eq!(
        trial["overlap"],
        json!([{ "rule": "big", "targets": 1 }, { "rule": "cap", "targets": 1 }])
    );
    assert_eq!(trial["alone"], 0);
}

#[test]
fn what_is_written_again_counts_once() {
    let mut all = Decisions::new(Names::Whole);
    let decisions = decisions();
    let readable = |decision: &&String| decision.contains("\"id\"");
    for decision in decisions.iter().chain(decisions.iter().filter(readable)) {
        all.note(decision.as_bytes());
    }
    assert_eq!(serde_json::to_value(all.compare(&[], 20)).unwrap(), compared(&[]));
}

#[test]
fn pairs_may_be_named_and_the_silent_are_told() {
    let pair = |live: &str, shadow: &str| Pair { live: live.into(), shadow: shadow.into() };
    let found = compared(&[pair("big", "trial"), pair("cap", "cap-next")]);
    let of = |shadow: &str| {
        let pairs = found["pairs"].as_array().unwrap();
        pairs.iter().find(|pair| pair["shadow"] == shadow).unwrap().clone()
    };
    assert_eq!((&of("trial")["live"], &of("trial")["both"]), (&json!("big"), &json!(1)));
    assert_eq!(of("cap-next")["targets"], json!({ "live": 2, "shadow": 0 }));
    assert_eq!(found["silent"], json!(["cap-next"]));
}

fn tidegate(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["rules", "diff", "--shadow"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_comparison_reads_well() {
    let output = tidegate(&["--decisions", "-", "--max-new", "0"], &decisions().join("\n"));
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    insta::assert_snapshot!(text, @r"
    decisions 7, and 1 record that are none

    cap-candidate (shadow) beside cap (live)
      firings       live 2, shadow 2
      targets       live 2, shadow 2, both 1
      only shadow   1, fired on by: no other live rule 1
        target      level  value  bound  firings  live rules that fired, too
        user:ca***      0      2      1        1
      only live     1
        target      level  value  bound  firings  live rules that fired, too
        user:be***      0    250    100        1  big

    trial (shadow), which has no live twin
      firings       live 0, shadow 1
      targets       live 0, shadow 1, both 0
      only shadow   1, fired on by: big 1, cap 1, no other live rule 0
        target      level  value  bound  firings  live rules that fired, too
        user:be***      0      -      -        1  big, cap
      only live     0
    gate: stopped, these fire on more than 0 of their own: cap-candidate on 1, trial on 1
    ");
}

#[test]
fn wrong_usage_is_told() {
    let nothing = tidegate(&[], "");
    let message = String::from_utf8(nothing.stderr).unwrap();
    assert_eq!((nothing.status.code(), message.contains("--decisions FILE")), (Some(2), true));
    let none = tidegate(&["--decisions", "-"], "not json\n");
    assert_eq!(none.status.code(), Some(2));
    let pair = tidegate(&["--decisions", "-", "--pair", "cap"], "");
    assert_eq!(pair.status.code(), Some(2));
}

#[test]
fn decisions_may_come_from_the_topic() {
    let Some(broker) = broker::shared() else { return };
    let topic = unique("decisions");
    broker.create(&topic, 3, &[]);
    let records: Vec<(String, String)> =
        decisions().into_iter().enumerate().map(|(at, one)| (format!("k{at}"), one)).collect();
    broker.produce(&topic, &records);
    let arguments =
        ["--brokers", broker.address(), "--topic", &topic, "--last", "1d", "--format", "json"];
    let output = tidegate(&arguments, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let of_file = tidegate(&["--decisions", "-", "--format", "json"], &decisions().join("\n"));
    assert_eq!(output.stdout, of_file.stdout);
}
