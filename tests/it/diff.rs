//! `rules diff`: what a change of rules would hit, against figures reckoned by hand and against
//! two runs compared with sets.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate::backtest::diff::{Change, compare};
use tidegate::backtest::{Backtest, Names, run, run_all};
use tidegate::engine::{Effect, account_key};
use tidegate::event::Decoder;

use crate::naive::{Pace, Row, history, plan};

const OLD: &str = "
version: 1
timezone: Asia/Shanghai
lists:
  known: { file: known.csv, field: user }
rules:
  - { name: cap, on: issue, per: user, measure: sum(points), window: day, levels: [
      { above: 100, then: [alert] },
      { above: 200, severity: critical, then: [{ freeze: { scope: issue, for: window } }] } ] }
  - { name: big, on: redeem, where: { points: { gte: 400 } }, then: [review] }
  - { name: listed, on: issue, where: { user: { in: known } }, then: [alert] }
  - { name: gone, on: expire, then: [freeze] }
";

fn event(id: &str, user: &str, kind: &str, points: i64) -> String {
    json!({ "id": id, "ts": "2025-11-22T10:00:00+08:00", "user": user, "kind": kind,
        "points": points })
    .to_string()
}

fn events() -> String {
    [
        event("1", "u-anna", "issue", 90),
        event("2", "u-bert", "issue", 160),
        event("3", "u-carl", "issue", 250),
        event("4", "u-dora", "issue", 50),
        event("5", "u-emil", "redeem", 500),
        event("6", "u-emil", "issue", 85),
        event("7", "u-fred", "expire", 7),
    ]
    .join("\n")
}

/// A folder of rules, with its list.
fn rules(folder: &Path, name: &str, text: &str, known: &str) -> String {
    let folder = folder.join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("rules.yaml"), text).unwrap();
    fs::write(folder.join("known.csv"), format!("value\n{known}\n")).unwrap();
    folder.to_str().unwrap().to_owned()
}

fn diff(old: &str, new: &str, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("events.jsonl");
    fs::write(&input, events()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["rules", "diff", old, new, "--input"]).arg(&input).args(more);
    command.output().unwrap()
}

fn as_json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// NEW of the tests: lowered bounds, a rule gone, a rule added, a list with another entry.
fn changed(folder: &Path) -> (String, String) {
    let old = rules(folder, "old", OLD, "u-none");
    let text = OLD.replace("above: 100", "above: 80").replace("above: 200", "above: 150");
    let text = text.replace(
        "{ name: gone, on: expire, then: [freeze] }",
        "{ name: come, on: issue, where: { points: { lt: 60 } }, then: [freeze] }",
    );
    let new = rules(folder, "new", &text, "u-anna");
    (old, new)
}

#[test]
fn a_rule_set_does_not_differ_from_itself() {
    let folder = tempfile::tempdir().unwrap();
    let old = rules(folder.path(), "old", OLD, "u-anna");
    let new = rules(folder.path(), "new", OLD, "u-anna");
    let output = diff(&old, &new, &["--format", "json", "--max-new", "0"]);
    assert_eq!(output.status.code(), Some(0));
    let found = as_json(&output);
    assert_eq!(found["rules"], json!([]));
    assert_eq!(found["unchanged"], 4);
    for figure in ["newly_fired", "no_longer_fired", "newly_frozen", "points_at_stake"] {
        assert_eq!(found[figure], 0, "{figure}");
    }
    assert_eq!(found["gate"], json!({ "max_new": 0, "exceeded_by": [] }));
}

#[test]
fn figures_are_those_reckoned_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = changed(folder.path());
    let output = diff(&old, &new, &["--format", "json", "--reveal"]);
    assert_eq!(output.status.code(), Some(0));
    let found = as_json(&output);
    let names: Vec<&str> = found["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["rule"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["cap", "listed", "come", "gone"]);
    assert_eq!(found["unchanged"], 1);
    let [cap, listed, come, gone] = [0, 1, 2, 3].map(|at: usize| found["rules"][at].clone());

    assert_eq!(cap["change"], "changed");
    assert_eq!(cap["firings"], json!({ "old": 2, "new": 4 }));
    assert_eq!(cap["targets"], json!({ "old": 2, "new": 4 }));
    assert_eq!(
        (&cap["newly"]["count"], &cap["newly"]["points_at_stake"]),
        (&2.into(), &175.into())
    );
    let top: Vec<(&str, i64)> = cap["newly"]["top"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["target"].as_str().unwrap(), one["value"].as_i64().unwrap()))
        .collect();
    assert_eq!(top, [("user:u-anna", 90), ("user:u-emil", 85)]);
    assert_eq!(cap["newly"]["top"][1]["also"], json!(["big"]));
    assert_eq!(
        cap["overlap"],
        json!([{ "rule": "big", "targets": 1 }, { "rule": "listed", "targets": 1 }])
    );
    assert_eq!(cap["alone"], 0);
    // Bert was warned, and is frozen now.
    assert_eq!(cap["freezes"], json!({ "newly": 1, "no_longer": 0 }));

    assert_eq!((&listed["change"], &listed["newly"]["count"]), (&"affected".into(), &1.into()));
    assert_eq!((&come["change"], &come["newly"]["count"]), (&"added".into(), &1.into()));
    assert_eq!(come["freezes"], json!({ "newly": 1, "no_longer": 0 }));
    assert_eq!((&gone["change"], &gone["no_longer"]["count"]), (&"removed".into(), &1.into()));
    assert_eq!(gone["freezes"], json!({ "newly": 0, "no_longer": 1 }));

    // Anna and Dora; Emil had been fired on by `big` before, Fred is let go.
    assert_eq!(found["newly_fired"], 2);
    assert_eq!(found["points_at_stake"], 140);
    assert_eq!(found["no_longer_fired"], 1);
    assert_eq!((&found["newly_frozen"], &found["no_longer_frozen"]), (&2.into(), &1.into()));
}

#[test]
fn who_is_above_a_lowered_cap_already_and_what_happens_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = changed(folder.path());
    let found = as_json(&diff(&old, &new, &["--format", "json", "--reveal", "--top", "1"]));
    let above = &found["rules"][0]["already_above"];
    let window = "day 2025-11-22 Asia/Shanghai";
    // Anna and Emil fire at their next event, Bert a level higher, Carl has fired both.
    assert_eq!(
        above[0],
        json!({ "level": 0, "old_bound": 100, "new_bound": 80, "targets": 4, "fire_next": 2,
            "then": ["alert"], "fired": 1, "higher": 1, "rest": 1,
            "top": [{ "target": "user:u-anna", "value": 90, "window": window }] })
    );
    assert_eq!(
        above[1],
        json!({ "level": 1, "old_bound": 200, "new_bound": 150, "targets": 2, "fire_next": 1,
            "then": ["freeze issue until the window ends"], "fired": 1, "higher": 0, "rest": 0,
            "top": [{ "target": "user:u-bert", "value": 160, "window": window }] })
    );
}

#[test]
fn a_gate_stops_a_change_and_names_the_rule() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = changed(folder.path());
    let passed = diff(&old, &new, &["--max-new", "2"]);
    assert_eq!(passed.status.code(), Some(0));
    let stopped = diff(&old, &new, &["--max-new", "1"]);
    assert_eq!(stopped.status.code(), Some(1));
    let text = String::from_utf8(stopped.stdout).unwrap();
    assert!(text.ends_with("gate: stopped, these newly fire on more than 1 target: cap on 2\n"));
}

#[test]
fn targets_are_masked_unless_revealed() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = changed(folder.path());
    for format in ["text", "json"] {
        let hidden = diff(&old, &new, &["--format", format]).stdout;
        let hidden = String::from_utf8(hidden).unwrap();
        assert!(hidden.contains("user:u-a***") && !hidden.contains("anna"), "{hidden}");
        let whole = diff(&old, &new, &["--format", format, "--reveal"]).stdout;
        assert!(String::from_utf8(whole).unwrap().contains("user:u-anna"));
    }
}

#[test]
fn a_difference_reads_well() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = changed(folder.path());
    let text = String::from_utf8(diff(&old, &new, &["--top", "1", "--reveal"]).stdout).unwrap();
    let text = text.replace(folder.path().to_str().unwrap(), "…");
    insta::assert_snapshot!(text, @r"
    old: …/old (rule set 20ad58ee), 4 firings
    new: …/new (rule set 51031e2d), 7 firings
    events 7: accepted 7, duplicate 0, late 0, quarantined 0

    cap: changed
      firings          2 -> 4
      targets          2 -> 4
      newly fired      2 targets, 175 points at stake
      overlap          big 1, listed 1, on no other rule 0
      freezes          1 newly issued, 0 no longer
      already above    level 0, 100 -> 80: 4 targets at the end of the input
            2  at the next event of each: alert
            1  at the next event of each a higher level fires
            1  nothing: the level has fired, and has to re-arm first
        target       value  bound  window
        user:u-anna     90     80  day 2025-11-22 Asia/Shanghai
        and 1 more
      already above    level 1, 200 -> 150: 2 targets at the end of the input
            1  at the next event of each: freeze issue until the window ends
            1  nothing: the level has fired, and has to re-arm first
        target       value  bound  window
        user:u-bert    160    150  day 2025-11-22 Asia/Shanghai
      newly fired, those furthest beyond the bound first:
        target       level  value  bound  firings  points issued  also fired on by
        user:u-anna      0     90     80        1             90  listed
        and 1 more

    listed: reads the same, did otherwise
      firings          0 -> 1
      targets          0 -> 1
      newly fired      1 target, 90 points at stake
      overlap          cap 1, on no other rule 0
      newly fired, those furthest beyond the bound first:
        target       level  value  bound  firings  points issued  also fired on by
        user:u-anna      0      -      -        1             90  cap

    come: added
      firings          0 -> 1
      targets          0 -> 1
      newly fired      1 target, 50 points at stake
      overlap          on no other rule 1
      freezes          1 newly issued, 0 no longer
      newly fired, those furthest beyond the bound first:
        target       level  value  bound  firings  points issued  also fired on by
        user:u-dora      0      -      -        1             50

    gone: removed
      firings          1 -> 0
      targets          1 -> 0
      no longer fired  1 target, 0 points at stake
      freezes          0 newly issued, 1 no longer
      no longer fired, those furthest beyond the bound first:
        target       level  value  bound  firings  points issued  also fired on by
        user:u-fred      0      -      -        1              0

    unchanged: 1 rule
    in all: 2 targets newly fired on by any rule (140 points at stake), 1 no longer; 2 newly frozen, 1 no longer
    ");
}

#[test]
fn faulty_rules_end_with_1_and_unreadable_ones_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let good = rules(folder.path(), "old", OLD, "u-anna");
    let bad = rules(folder.path(), "new", &OLD.replace("on: redeem", "on: redem"), "u-anna");
    assert_eq!(diff(&good, &bad, &[]).status.code(), Some(1));
    assert_eq!(diff(&good, "nowhere", &[]).status.code(), Some(2));
}

/// A threshold on each kind of key and window, and a match rule.
fn ruled(bound: i64, day: i64, least: i64) -> String {
    format!(
        "version: 1\ntimezone: Europe/Berlin\nrules:
  - {{ name: burst, on: issue, measure: count, window: 15m, above: {bound}, then: [freeze] }}
  - {{ name: day, on: issue, measure: sum(points), window: day, above: {day} }}
  - {{ name: source, on: issue, per: source, measure: count, window: 1h, above: {bound}, then: [freeze] }}
  - {{ name: big, on: [issue, redeem], where: {{ points: {{ gte: {least} }} }}, then: [review] }}
"
    )
}

/// (rule, target) that a run fires on, and (rule, target, scope) that it freezes.
type Hits = BTreeSet<(String, String)>;

fn hits(rules: &str, text: &str) -> (Hits, Hits) {
    let mut fold = Backtest::new(plan(rules), Decoder::default(), 65_536, "events");
    let (mut fired, mut frozen) = (Hits::new(), Hits::new());
    let mut sink = |effect: &Effect| {
        match effect {
            Effect::Decision(one) => {
                fired.insert((one.rule.clone(), account_key(&one.key)));
            }
            Effect::Command(one) if one.command == "freeze" => {
                frozen.insert((one.rule.clone(), account_key(&one.target)));
            }
            Effect::Command(_)
            | Effect::Account(_)
            | Effect::Resolved(_)
            | Effect::Canary(_)
            | Effect::Daily(_) => {}
        }
        Ok(())
    };
    run(&mut fold, text.as_bytes(), &mut sink, &mut |_| {}).unwrap();
    (fired, frozen)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Against two runs of their own, compared as sets.
    #[test]
    fn a_difference_is_that_of_the_sets_of_two_runs(
        rows in history(Pace { back_ms: 60_000, ahead_ms: 300_000, most: 60 }),
        old in (1i64..5, 5i64..60, 1i64..30),
        new in (1i64..5, 5i64..60, 1i64..30),
    ) {
        let line = |(at, row): (usize, &Row)| row.event(at).to_json();
        let text = rows.iter().enumerate().map(line).collect::<Vec<_>>().join("\n");
        let rules = [ruled(old.0, old.1, old.2), ruled(new.0, new.1, new.2)];
        let fold = |rules: &str| {
            let fold = Backtest::new(plan(rules), Decoder::default(), 65_536, "events");
            fold.keeping(Names::Whole)
        };
        let (mut one, mut other) = (fold(&rules[0]), fold(&rules[1]));
        let folds = &mut [&mut one, &mut other];
        run_all(folds, text.as_bytes(), &mut |_, _| Ok(()), &mut |_| {}).unwrap();
        let found = compare((&one, &other), (String::new(), String::new()), 1_000);
        let (before, after) = (hits(&rules[0], &text), hits(&rules[1], &text));
        let of = |hits: &Hits, rule: &str| -> BTreeSet<String> {
            hits.iter().filter(|(name, _)| name == rule).map(|(_, key)| key.clone()).collect()
        };
        for rule in ["burst", "day", "source", "big"] {
            let (was, is) = (of(&before.0, rule), of(&after.0, rule));
            let Some(told) = found.rules.iter().find(|told| told.rule == rule) else {
                prop_assert_eq!(was, is);
                continue;
            };
            prop_assert_eq!(told.change, Change::Changed);
            let listed = |targets: &tidegate::backtest::Targets| -> BTreeSet<String> {
                targets.top.iter().map(|one| one.target.clone()).collect()
            };
            prop_assert_eq!(listed(&told.newly), is.difference(&was).cloned().collect());
            prop_assert_eq!(listed(&told.no_longer), was.difference(&is).cloned().collect());
            let (was, is) = (of(&before.1, rule), of(&after.1, rule));
            prop_assert_eq!(told.freezes.newly, is.difference(&was).count() as u64);
            prop_assert_eq!(told.freezes.no_longer, was.difference(&is).count() as u64);
            let alone = is_alone(&after.0, rule, &listed(&told.newly));
            prop_assert_eq!(told.alone, alone);
        }
    }
}

/// How many of the targets no rule but this one fires on.
fn is_alone(hits: &Hits, rule: &str, targets: &BTreeSet<String>) -> u64 {
    let others: BTreeSet<&String> =
        hits.iter().filter(|(name, _)| name != rule).map(|(_, key)| key).collect();
    targets.iter().filter(|key| !others.contains(key)).count() as u64
}
