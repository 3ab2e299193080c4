//! One case, run on a state of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Case;
use super::compare::{Line, Step, align, lines};
use crate::backtest::{Backtest, run};
use crate::engine::{Decision, Effect, Lists, Plan, Settings};
use crate::event::Decoder;
use crate::rule::RuleSet;

/// Bytes of one event (E4).
const EVENT_BYTES_MAX: usize = 65_536;

/// A decision that a case came to, with the commands that follow from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Got {
    pub decision: Map<String, Value>,
    pub commands: Vec<Value>,
    pub summary: String,
}

/// What one case came to.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseResult {
    pub name: String,
    /// Line of the file that the case begins in.
    pub line: usize,
    /// Why the case says nothing about the rules: events that are none.
    pub problems: Vec<String>,
    pub got: Vec<Got>,
    /// Expected beside got, in order.
    pub steps: Vec<Step>,
    /// Events that changed no counter: late ones and duplicates.
    pub left_out: u64,
    /// (rule, level) that fired.
    pub fired: BTreeSet<(String, u32)>,
}

impl CaseResult {
    pub fn passed(&self) -> bool {
        self.problems.is_empty() && self.steps.iter().all(|step| matches!(step, Step::Same(..)))
    }

    /// What is to be told of a case; nothing of one that passed.
    pub fn lines(&self, case: &Case) -> Vec<Line> {
        if self.passed() { Vec::new() } else { lines(case, self) }
    }
}

impl Got {
    fn of(decision: &Decision) -> Got {
        let summary = decision.summary.clone();
        let decision = match serde_json::to_value(decision) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        Got { decision, commands: Vec::new(), summary }
    }

    /// A field as tests name it: `event` is the number of the event that tipped the rule.
    pub fn field(&self, name: &str) -> Value {
        let event = || self.decision.get("trigger")?.get("offset").cloned();
        match name {
            "event" => event().unwrap_or_default(),
            "commands" => Value::Array(self.commands.clone()),
            _ => self.decision.get(name).cloned().unwrap_or_default(),
        }
    }
}

/// Runs one case on a state of its own.
pub fn run_case(case: &Case, rules: &Arc<RuleSet>, lists: &Lists) -> CaseResult {
    let settings = Settings { max_ahead_ms: None, ..Settings::default() };
    let plan = Plan::new(rules.clone(), lists.clone(), settings);
    let decoder = Decoder::default();
    let mut fold = Backtest::new(plan, decoder.clone(), EVENT_BYTES_MAX, "events");
    let mut problems = Vec::new();
    let mut input = String::new();
    for (at, event) in case.events.iter().enumerate() {
        let mut event = event.clone();
        event.entry("id").or_insert_with(|| format!("e{at}").into());
        let line = Value::Object(event).to_string();
        if let Err(reason) = decoder.decode(line.as_bytes(), EVENT_BYTES_MAX) {
            problems.push(format!("event {at} is not of the form of E1: {reason}"));
        }
        input.push_str(&line);
        input.push('\n');
    }
    let mut got: Vec<Got> = Vec::new();
    let mut sink = |effect: &Effect| {
        match effect {
            Effect::Decision(decision) => got.push(Got::of(decision)),
            Effect::Command(command) => {
                if let Some(got) = got.last_mut() {
                    got.commands.push(serde_json::to_value(command)?);
                }
            }
            Effect::Account(_) | Effect::Resolved(_) | Effect::Canary(_) | Effect::Daily(_) => {}
        }
        Ok(())
    };
    let mut left_out = 0;
    match run(&mut fold, input.as_bytes(), &mut sink, &mut |_| {}) {
        Err(error) => problems.push(format!("cannot run: {error}")),
        Ok(summary) => left_out = summary.late + summary.duplicate,
    }
    let steps = align(&case.expect, &got);
    let level = |got: &Got| got.decision.get("level").and_then(Value::as_u64).unwrap_or(0);
    let rule = |got: &Got| got.decision.get("rule").and_then(Value::as_str).map(str::to_owned);
    let fired = got.iter().filter_map(|got| Some((rule(got)?, u32::try_from(level(got)).ok()?)));
    CaseResult {
        name: case.name.clone(),
        line: case.line,
        problems,
        fired: fired.collect(),
        got,
        steps,
        left_out,
    }
}
