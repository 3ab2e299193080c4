//! The contract's cases in `tests/it/examples`, run through the library's backtest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tidegate::backtest::{Backtest, Summary, run};
use tidegate::config::{FoldConfig, read_fold};
use tidegate::control::read_rules;
use tidegate::engine::{Effect, Lists, Plan, Settings};

const BASE: &str = "2025-11-22T00:00:00Z";

fn millis(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// `1h59m59s999ms`, maybe negative.
fn offset(text: &str) -> i64 {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut total = 0;
    while !rest.is_empty() {
        let (digits, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap());
        let unit = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let size = match unit.0 {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            other => unreachable!("unit {other} in {text}"),
        };
        total += digits.parse::<i64>().unwrap() * size;
        rest = unit.1;
    }
    sign * total
}

/// The input lines of a case.
fn lines(case: &Value) -> Vec<String> {
    let base = millis(case["base"].as_str().unwrap_or(BASE));
    let mut events: Vec<Map<String, Value>> = Vec::new();
    let mut lines = Vec::new();
    for given in case["events"].as_array().unwrap() {
        let given = given.as_object().unwrap();
        let repeat = given.get("repeat").and_then(Value::as_u64).unwrap_or(1);
        let every = given.get("every").map_or(0, |every| offset(every.as_str().unwrap()));
        for number in 0..repeat {
            if let Some(raw) = given.get("raw") {
                events.push(Map::new());
                lines.push(raw.as_str().unwrap().to_owned());
                continue;
            }
            let by = offset(given.get("t").and_then(Value::as_str).unwrap_or("0s"));
            let by = by + i64::try_from(number).unwrap() * every;
            let event = event(given, number, base + by, lines.len(), &events, base);
            lines.push(serde_json::to_string(&event).unwrap());
            events.push(event);
        }
    }
    lines
}

fn event(
    given: &Map<String, Value>,
    number: u64,
    ts: i64,
    line: usize,
    before: &[Map<String, Value>],
    base: i64,
) -> Map<String, Value> {
    let mut event = Map::new();
    if let Some(original) = given.get("reverses").and_then(Value::as_u64) {
        event.clone_from(&before[usize::try_from(original).unwrap()]);
        let partial = given.get("partial").cloned();
        let mut reverses = json!({"id": event["id"], "ts": event["ts"], "kind": event["kind"]});
        if let Some(partial) = partial {
            reverses["partial"] = partial;
        }
        event.insert("kind".into(), "reverse".into());
        event.insert("reverses".into(), reverses);
    } else {
        event.insert("user".into(), "u-1".into());
        event.insert("kind".into(), "issue".into());
        event.insert("points".into(), 1.into());
    }
    event.insert("id".into(), format!("e{line}").into());
    event.insert("ts".into(), ts.into());
    for (name, value) in given {
        if ["t", "repeat", "every", "partial"].contains(&name.as_str()) {
            continue;
        }
        if value.is_null() {
            event.remove(name);
            continue;
        }
        let mut value = value.clone();
        if name == "reverses" {
            match &mut value {
                Value::Number(_) => continue,
                Value::Object(parts) => {
                    if let Some(t) = parts.remove("t") {
                        parts.insert("ts".into(), (base + offset(t.as_str().unwrap())).into());
                    }
                }
                _ => {}
            }
        }
        if value == "NULL" {
            value = Value::Null;
        }
        if let (Some(text), "id" | "user" | "device") = (value.as_str(), name.as_str()) {
            value = text.replace("{i}", &number.to_string()).into();
        }
        event.insert(name.clone(), value);
    }
    event
}

/// What a case came to: decisions and commands as JSON, and the summary.
fn outcome(case: &Value, folder: &Path) -> (Vec<Value>, Vec<Value>, Summary) {
    let mut rules = json!({"version": 1});
    for section in ["timezone", "lists", "budget", "rules"] {
        if let Some(value) = case.get(section) {
            rules[section] = value.clone();
        }
    }
    // Every JSON text is YAML.
    let path = folder.join("rules.yaml");
    std::fs::write(&path, rules.to_string()).unwrap();
    for (name, text) in case["files"].as_object().into_iter().flatten() {
        let file = folder.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text.as_str().unwrap()).unwrap();
    }
    let config = match case.get("config") {
        Some(config) => {
            let path = folder.join("tidegate.yaml");
            std::fs::write(&path, config.to_string()).unwrap();
            read_fold(&path).unwrap()
        }
        None => FoldConfig::default(),
    };
    let (set, entries) = read_rules(&path).unwrap();
    let lists: Lists = entries.into_iter().collect();
    let settings = Settings { max_ahead_ms: None, ..config.settings };
    let plan = Plan::new(Arc::new(set), lists, settings);
    let mut fold = Backtest::new(plan, config.decoder, config.max_bytes, "events.jsonl");
    let input = lines(case).join("\n");
    let (mut decisions, mut commands) = (Vec::new(), Vec::new());
    let mut sink = |effect: &Effect| {
        match effect {
            Effect::Decision(decision) => decisions.push(serde_json::to_value(decision)?),
            Effect::Command(command) => commands.push(serde_json::to_value(command)?),
            Effect::Account(_) | Effect::Resolved(_) | Effect::Canary(_) | Effect::Daily(_) => {}
        }
        Ok(())
    };
    let summary = run(&mut fold, input.as_bytes(), &mut sink, &mut |_| {}).unwrap();
    (decisions, commands, summary)
}

fn same(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Number(expected), Value::Number(got)) => {
            let (expected, got) = (expected.as_f64().unwrap(), got.as_f64().unwrap());
            (expected - got).abs() <= 1e-9 * expected.abs().max(got.abs())
        }
        (Value::Object(expected), Value::Object(got)) => {
            expected.len() == got.len()
                && expected
                    .iter()
                    .all(|(name, value)| got.get(name).is_some_and(|got| same(value, got)))
        }
        // An instant may be written as text.
        (Value::String(expected), Value::Number(got)) => expected
            .parse::<jiff::Timestamp>()
            .is_ok_and(|expected| got.as_i64() == Some(expected.as_millisecond())),
        _ => expected == got,
    }
}

/// Complains about every field of `expected` that `got` does not have so.
fn compare(what: &str, expected: &Value, got: &Value, faults: &mut Vec<String>) {
    for (name, value) in expected.as_object().unwrap() {
        let found = match name.as_str() {
            "at" if value.is_null() => continue,
            "at" if value == "end" => {
                let moved_by = got["trigger"]["topic"] == "events.jsonl";
                if got["ts"] != got["window"]["end"] || !moved_by {
                    faults.push(format!("{what}: not closed at the end: {got}"));
                }
                continue;
            }
            "at" => &got["trigger"]["offset"],
            "start" | "end" | "label" => &got["window"][name.as_str()],
            "absent" => {
                for name in value.as_array().unwrap() {
                    if got.get(name.as_str().unwrap()).is_some() {
                        faults.push(format!("{what}: {name} is there: {got}"));
                    }
                }
                continue;
            }
            name => &got[name],
        };
        if !same(value, found) {
            faults.push(format!("{what}: {name}: expected {value}, got {found} in {got}"));
        }
    }
}

fn check(case: &Value) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let (decisions, commands, summary) = outcome(case, folder.path());
    let name = case["name"].as_str().unwrap();
    let mut faults = Vec::new();
    let mut lists = vec![("decision", case["expect"].as_array().unwrap(), &decisions)];
    if let Some(expected) = case.get("commands") {
        lists.push(("command", expected.as_array().unwrap(), &commands));
    }
    for (what, expected, got) in lists {
        if expected.len() != got.len() {
            let (wanted, found) = (expected.len(), got.len());
            faults.push(format!("{name}: expected {wanted} {what}s, got {found}: {got:#?}"));
        }
        for (at, (expected, got)) in expected.iter().zip(got).enumerate() {
            compare(&format!("{name}: {what} {at}"), expected, got, &mut faults);
        }
    }
    let summary = serde_json::to_value(&summary).unwrap();
    for (count, expected) in case["counts"].as_object().into_iter().flatten() {
        if summary[count] != *expected {
            faults.push(format!("{name}: {count}: expected {expected}, got {}", summary[count]));
        }
    }
    faults
}

/// YAML 1.2: `n` is text.
fn yaml(text: &str) -> Vec<Value> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).unwrap()
}

#[test]
fn every_case_of_the_contract_comes_out_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/examples");
    let mut files: BTreeMap<_, _> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        files.insert(path.clone(), std::fs::read_to_string(path).unwrap());
    }
    let mut faults = Vec::new();
    let mut cases = 0;
    for text in files.values() {
        let file: Vec<Value> = yaml(text);
        cases += file.len();
        faults.extend(file.iter().flat_map(check));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(cases >= 30, "only {cases} cases found");
}
