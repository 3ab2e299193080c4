//! Reports of backtests: figures that another run confirms, and a page that needs nothing else.

use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate::backtest::report::{Report, report};
use tidegate::backtest::{Backtest, Names, run};
use tidegate::event::Decoder;

use crate::naive::{Pace, Row, history, plan};

fn reported(rules: &str, text: &str) -> Report {
    let fold = Backtest::new(plan(rules), Decoder::default(), 65_536, "events");
    let mut fold = fold.keeping(Names::Whole).keeping_peaks();
    run(&mut fold, text.as_bytes(), &mut |_| Ok(()), &mut |_| {}).unwrap();
    report(&fold, "rules".into(), "events".into(), 5)
}

fn lines(rows: &[Row]) -> String {
    let lines: Vec<String> =
        rows.iter().enumerate().map(|(at, row)| row.event(at).to_json()).collect();
    lines.join("\n")
}

/// One threshold on a key and a window.
fn ruled(per: &str, measure: &str, window: &str, bound: f64) -> String {
    format!(
        "version: 1\ntimezone: Europe/Berlin\nrules:
  - {{ name: one, on: issue, per: {per}, measure: {measure}, window: {window}, above: {bound} }}\n"
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// What another bound would have fired on is what it fires on.
    #[test]
    fn the_reach_of_another_bound_is_what_it_fires_on(
        rows in history(Pace { back_ms: 60_000, ahead_ms: 400_000, most: 60 }),
        per in prop_oneof![Just("user"), Just("source"), Just("[user, source]"), Just("global")],
        measure in prop_oneof![Just("count"), Just("sum(points)"), Just("max(points)"), Just("distinct(device)")],
        window in prop_oneof![Just("day"), Just("15m")],
        bound in 1i32..12,
    ) {
        let text = lines(&rows);
        let found = reported(&ruled(per, measure, window, f64::from(bound)), &text);
        let rule = &found.by_rule[0];
        prop_assert_eq!(rule.timeline.iter().sum::<u64>(), rule.firings);
        let Some(reached) = &rule.reached else {
            prop_assert_eq!(rule.firings, 0);
            return Ok(());
        };
        let keys: u64 = reached.bins.iter().map(|bin| bin.keys).sum();
        prop_assert_eq!(keys + reached.beyond, reached.keys);
        for reach in &reached.reach {
            let other = reported(&ruled(per, measure, window, reach.bound), &text);
            prop_assert_eq!(reach.keys, other.by_rule[0].targets.count, "{:?}", reach);
        }
    }
}

const RULES: &str = "
version: 1
timezone: Asia/Shanghai
rules:
  - { name: cap, description: 'points < a day & night', on: issue, measure: sum(points), window: day, levels: [
      { above: 100 }, { above: 200, then: [freeze] } ] }
  - { name: big, on: issue, where: { points: { gte: 150 } }, then: [review] }
  - { name: never, on: adjust }
";

fn event(at: i64, user: &str, points: i64) -> String {
    json!({ "id": format!("e{at}"), "ts": 1_763_780_400_000 + at * 60_000, "user": user,
        "kind": "issue", "points": points })
    .to_string()
}

fn events() -> String {
    let users = [("u-<anna>", 90), ("u-<bert>", 160), ("u-<carl>", 250), ("u-<dora>", 50)];
    let lines = (0..).zip(users).map(|(at, (user, points))| event(at, user, points));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn figures_are_those_reckoned_by_hand() {
    let found = serde_json::to_value(reported(RULES, &events())).unwrap();
    assert_eq!(
        (&found["first"], &found["last"]),
        (&json!(1_763_780_400_000_i64), &json!(1_763_780_580_000_i64))
    );
    let [cap, big, never] = [0, 1, 2].map(|at: usize| found["by_rule"][at].clone());
    assert_eq!((&cap["firings"], &cap["freezes"]), (&json!(2), &json!(1)));
    assert_eq!(cap["targets"]["points_at_stake"], 410);
    assert_eq!(cap["targets"]["top"][0]["target"], "user:u-<carl>");
    let reach: Vec<(f64, u64)> = cap["reached"]["reach"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["bound"].as_f64().unwrap(), one["keys"].as_u64().unwrap()))
        .collect();
    let expected =
        [(50.0, 3), (75.0, 3), (90.0, 2), (100.0, 2), (110.0, 2), (125.0, 2), (150.0, 2)];
    assert_eq!(reach, expected);
    assert_eq!((&cap["reached"]["keys"], &cap["reached"]["beyond"]), (&json!(4), &json!(0)));
    assert_eq!((&big["firings"], &big["reached"]), (&json!(2), &Value::Null));
    assert_eq!((&never["firings"], &never["targets"]["count"]), (&json!(0), &json!(0)));
    assert_eq!(
        found["overlap"],
        json!([{ "rule": "cap", "targets": [2, 2] }, { "rule": "big", "targets": [2, 2] }])
    );
}

/// The text of a report that the program writes.
fn written(folder: &Path, arguments: &[&str]) -> String {
    let name = if arguments.contains(&"json") { "report.json" } else { "report.html" };
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    fs::write(file("rules.yaml"), RULES).unwrap();
    fs::write(file("new.yaml"), RULES.replace("above: 100 }", "above: 80 }")).unwrap();
    fs::write(file("events.jsonl"), events()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.current_dir(folder).args(arguments.iter().filter(|one| **one != "json"));
    let output = command.args(["--input", "events.jsonl", "--report", name]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(file(name)).unwrap()
}

const BACKTEST: [&str; 3] = ["backtest", "--rules", "rules.yaml"];
const DIFF: [&str; 4] = ["rules", "diff", "rules.yaml", "new.yaml"];

#[test]
fn a_page_needs_nothing_else_and_hides_who_it_is_about() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&BACKTEST[..], &DIFF[..]] {
        let page = written(folder.path(), arguments);
        for foreign in ["http:", "https:", "<script", "src=", "url(", "@import", "<link"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(
            page.contains("<svg") && page.contains("<rect") && page.contains("class=\"bound\"")
        );
        assert!(page.contains("points &lt; a day &amp; night"), "texts are escaped");
        assert!(page.contains("u-&lt;***") && !page.contains("anna") && !page.contains("bert"));
        let whole = written(folder.path(), &[arguments, &["--reveal"]].concat());
        assert!(whole.contains("user:u-&lt;bert&gt;") && !whole.contains("<bert>"));
    }
}

#[test]
fn a_page_of_a_difference_tells_what_changes_first() {
    let folder = tempfile::tempdir().unwrap();
    let page = written(folder.path(), &[&DIFF[..], &["--reveal"]].concat());
    let changes = page.find("id=\"change-1\">cap: changed").unwrap();
    assert!(changes < page.find("id=\"rule-1\"").unwrap());
    assert!(page.contains("Level 0, 100 → 80: 3 targets stand beyond it"));
}

#[test]
fn a_report_in_json_has_the_same_figures() {
    let folder = tempfile::tempdir().unwrap();
    let text = written(folder.path(), &[&DIFF[..], &["json"]].concat());
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["report"]["by_rule"][0]["firings"], 3);
    assert_eq!(found["difference"]["rules"][0]["newly"]["count"], 1);
    let text = written(folder.path(), &[&BACKTEST[..], &["json"]].concat());
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&found["report"]["input"], &found["difference"]),
        (&json!("events.jsonl"), &Value::Null)
    );
}
