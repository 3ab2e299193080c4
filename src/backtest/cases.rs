//! Rule tests: events and the decisions they must come to, in YAML beside the rules (C3).

mod files;

pub use files::{Beside, beside, test_files};

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::backtest::{Backtest, run};
use crate::engine::{Decision, Effect, Lists, Plan, Settings};
use crate::event::Decoder;
use crate::rule::RuleSet;

/// One `*.test.yaml` file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestFile {
    /// Rule file or folder, relative to the test file; the test file's folder when absent.
    pub rules: Option<String>,
    pub tests: Vec<Case>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// Events in the form of E1; `id` may be left out.
    pub events: Vec<Map<String, Value>>,
    /// Exactly these decisions, in this order; fields left out are not compared.
    pub expect: Vec<Map<String, Value>>,
}

/// What one case came to: no faults means it passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    pub name: String,
    pub faults: Vec<String>,
    /// (rule, level) that fired.
    pub fired: BTreeSet<(String, u32)>,
}

/// Reads a test file.
///
/// # Errors
/// The parser's message, with its place.
pub fn parse(text: &str) -> Result<TestFile, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

/// Runs one case on a state of its own.
pub fn run_case(case: &Case, rules: &Arc<RuleSet>, lists: &Lists) -> CaseResult {
    let settings = Settings { max_ahead_ms: None, ..Settings::default() };
    let plan = Plan::new(rules.clone(), lists.clone(), settings);
    let mut fold = Backtest::new(plan, Decoder::default(), 65_536, "events");
    let mut input = String::new();
    for (at, event) in case.events.iter().enumerate() {
        let mut event = event.clone();
        event.entry("id").or_insert_with(|| format!("e{at}").into());
        input.push_str(&Value::Object(event).to_string());
        input.push('\n');
    }
    let mut got: Vec<(Decision, Vec<Value>)> = Vec::new();
    let mut sink = |effect: &Effect| {
        match effect {
            Effect::Decision(decision) => got.push((Decision::clone(decision), Vec::new())),
            Effect::Command(command) => {
                if let Some((_, commands)) = got.last_mut() {
                    commands.push(serde_json::to_value(command)?);
                }
            }
            Effect::Account(_) => {}
        }
        Ok(())
    };
    let mut faults = Vec::new();
    match run(&mut fold, input.as_bytes(), &mut sink, &mut |_| {}) {
        Err(error) => faults.push(format!("cannot run: {error}")),
        Ok(summary) if summary.quarantined > 0 => {
            faults.push(format!("{} events are not of the form of E1", summary.quarantined));
        }
        Ok(_) => {}
    }
    compare(case, &got, &mut faults);
    let fired = got.iter().map(|(decision, _)| (decision.rule.clone(), decision.level));
    CaseResult { name: case.name.clone(), faults, fired: fired.collect() }
}

fn compare(case: &Case, got: &[(Decision, Vec<Value>)], faults: &mut Vec<String>) {
    for at in 0..case.expect.len().max(got.len()) {
        match (case.expect.get(at), got.get(at)) {
            (Some(expected), Some((decision, commands))) => {
                let decision = serde_json::to_value(decision).unwrap_or_default();
                for (field, value) in expected {
                    field_of(at, field, value, (&decision, commands), faults);
                }
            }
            (Some(expected), None) => {
                let expected = Value::Object(expected.clone());
                faults.push(format!("decision {at}: expected {expected}, got none"));
            }
            (None, Some((decision, _))) => {
                let offset = decision.trigger.as_ref().map_or(-1, |trigger| trigger.offset);
                let summary = &decision.summary;
                let (rule, level) = (&decision.rule, decision.level);
                faults.push(format!(
                    "decision {at}: not expected: event {offset}, {rule} level {level}, {summary}"
                ));
            }
            (None, None) => {}
        }
    }
}

fn field_of(
    at: usize,
    field: &str,
    expected: &Value,
    (decision, commands): (&Value, &[Value]),
    faults: &mut Vec<String>,
) {
    if field == "commands" {
        let list = expected.as_array().map_or(&[][..], Vec::as_slice);
        if list.len() != commands.len() {
            let (wanted, found) = (list.len(), commands.len());
            faults.push(format!("decision {at}: expected {wanted} commands, got {found}"));
        }
        for (expected, got) in list.iter().zip(commands) {
            for (name, value) in expected.as_object().into_iter().flatten() {
                if !same(value, &got[name.as_str()]) {
                    let got = &got[name.as_str()];
                    faults.push(format!(
                        "decision {at}: command: {name}: expected {value}, got {got}"
                    ));
                }
            }
        }
        return;
    }
    let got = if field == "event" { &decision["trigger"]["offset"] } else { &decision[field] };
    if !same(expected, got) {
        faults.push(format!("decision {at}: {field}: expected {expected}, got {got}"));
    }
}

/// Equal; floats to 1e-9 relative, instants as text or as milliseconds.
fn same(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
        }
        (Value::String(text), Value::Number(ms)) => text
            .parse::<jiff::Timestamp>()
            .is_ok_and(|instant| ms.as_i64() == Some(instant.as_millisecond())),
        _ => expected == got,
    }
}
