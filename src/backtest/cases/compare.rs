//! Expected beside got: which decision answers to which, and what is told of it.

use serde_json::{Map, Value};

use super::flow::flow;
use super::{Case, CaseResult, Got};

/// Lines around a difference that are as expected.
const AROUND: usize = 2;

/// A step through the decisions expected and got, both in their order, by index.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Same(usize, usize),
    Changed(usize, usize, Vec<Difference>),
    /// Expected, and did not come.
    Missing(usize),
    /// Came, and was not expected.
    Extra(usize),
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Such as `value`; within commands a command's number and field.
    pub field: FieldPath,
    pub expected: Value,
    pub got: Value,
}

/// Where a field stands in an expected decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldPath {
    Field(String),
    OfCommand(usize, String),
}

/// One line about a case that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub mark: Mark,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// As expected, or a remark.
    Around,
    Missing,
    Extra,
}

/// Pairs decisions of the same rule so that as little as possible is left to tell.
pub(super) fn align(expect: &[Map<String, Value>], got: &[Got]) -> Vec<Step> {
    // What a decision without its pair counts; more than any pair, so that pairs are preferred.
    const ALONE: usize = 2;
    const PAIR_MAX: usize = 3;
    let width = got.len() + 1;
    let differences: Vec<Option<Vec<Difference>>> =
        expect.iter().flat_map(|expected| got.iter().map(|got| pair(expected, got))).collect();
    let pair_at = |i: usize, j: usize| differences.get(i * got.len() + j).and_then(Option::as_ref);
    // least[i][j]: the least that is left to tell from expected i and got j on.
    let mut least = vec![0; (expect.len() + 1) * width];
    for i in (0..=expect.len()).rev() {
        for j in (0..=got.len()).rev() {
            let at = |i: usize, j: usize| least.get(i * width + j).copied().unwrap_or(usize::MAX);
            let mut best = if i == expect.len() && j == got.len() { 0 } else { usize::MAX };
            if i < expect.len() {
                best = best.min(at(i + 1, j).saturating_add(ALONE));
            }
            if j < got.len() {
                best = best.min(at(i, j + 1).saturating_add(ALONE));
            }
            if let (true, true, Some(found)) = (i < expect.len(), j < got.len(), pair_at(i, j)) {
                best = best.min(at(i + 1, j + 1).saturating_add(found.len().min(PAIR_MAX)));
            }
            if let Some(cell) = least.get_mut(i * width + j) {
                *cell = best;
            }
        }
    }
    let at = |i: usize, j: usize| least.get(i * width + j).copied().unwrap_or(usize::MAX);
    let (mut i, mut j, mut steps) = (0, 0, Vec::new());
    while i < expect.len() || j < got.len() {
        let found = if i < expect.len() && j < got.len() { pair_at(i, j) } else { None };
        if let Some(found) = found
            && at(i, j) == at(i + 1, j + 1).saturating_add(found.len().min(PAIR_MAX))
        {
            steps.push(if found.is_empty() {
                Step::Same(i, j)
            } else {
                Step::Changed(i, j, found.clone())
            });
            (i, j) = (i + 1, j + 1);
        } else if i < expect.len() && at(i, j) == at(i + 1, j).saturating_add(ALONE) {
            steps.push(Step::Missing(i));
            i += 1;
        } else {
            steps.push(Step::Extra(j));
            j += 1;
        }
    }
    steps
}

/// The differences of two decisions; `None` when they are not of the same rule.
fn pair(expected: &Map<String, Value>, got: &Got) -> Option<Vec<Difference>> {
    if expected.get("rule").is_some_and(|rule| *rule != got.field("rule")) {
        return None;
    }
    let mut all = Vec::new();
    for (name, value) in expected {
        if name == "commands" {
            of_commands(value, &got.commands, &mut all);
        } else if !same(value, &got.field(name)) {
            let field = FieldPath::Field(name.clone());
            all.push(Difference { field, expected: value.clone(), got: got.field(name) });
        }
    }
    Some(all)
}

fn of_commands(expected: &Value, got: &[Value], all: &mut Vec<Difference>) {
    let list = expected.as_array().map_or(&[][..], Vec::as_slice);
    if list.len() != got.len() || !expected.is_array() {
        let field = FieldPath::Field("commands".to_owned());
        let got = Value::Array(got.to_vec());
        all.push(Difference { field, expected: expected.clone(), got });
        return;
    }
    for (at, (expected, got)) in list.iter().zip(got).enumerate() {
        for (name, value) in expected.as_object().into_iter().flatten() {
            let got = got.get(name).cloned().unwrap_or_default();
            if !same(value, &got) {
                let field = FieldPath::OfCommand(at, name.clone());
                all.push(Difference { field, expected: value.clone(), got });
            }
        }
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

/// What differs, with a little of what does not around it.
pub(super) fn lines(case: &Case, result: &CaseResult) -> Vec<Line> {
    let line = |mark, text: String| Line { mark, text };
    let mut all: Vec<Line> =
        result.problems.iter().map(|problem| line(Mark::Extra, problem.clone())).collect();
    let is_same = |at: usize| matches!(result.steps.get(at), Some(Step::Same(..)) | None);
    let mut hidden = 0;
    for (at, step) in result.steps.iter().enumerate() {
        let near = (at.saturating_sub(AROUND)..=at + AROUND).any(|near| !is_same(near));
        if !near {
            hidden += 1;
            continue;
        }
        told_hidden(&mut hidden, &mut all);
        let expected = |at: &usize| case.expect.get(*at).map(named).unwrap_or_default();
        match step {
            Step::Same(at, _) => all.push(line(Mark::Around, expected(at))),
            Step::Missing(at) => all.push(line(Mark::Missing, expected(at))),
            Step::Extra(at) => {
                all.extend(result.got.get(*at).map(|got| line(Mark::Extra, got_named(got))));
            }
            Step::Changed(at, _, differences) => {
                all.push(line(Mark::Around, expected(at)));
                for Difference { field, expected, got } in differences {
                    all.push(line(Mark::Missing, format!("  {field}: {}", flow(expected))));
                    all.push(line(Mark::Extra, format!("  {field}: {}", flow(got))));
                }
            }
        }
    }
    told_hidden(&mut hidden, &mut all);
    if result.left_out > 0 {
        let text = format!("events that are late or repeated: {}", result.left_out);
        all.push(line(Mark::Around, text));
    }
    all
}

fn told_hidden(hidden: &mut usize, all: &mut Vec<Line>) {
    if *hidden > 0 {
        all.push(Line { mark: Mark::Around, text: format!("… {hidden} as expected") });
        *hidden = 0;
    }
}

/// An expected decision by what it names: `event 1: user-daily-cap level 1`.
fn named(expected: &Map<String, Value>) -> String {
    let part = |name: &str, before: &str| {
        expected.get(name).map(|value| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{before}{text}")
        })
    };
    let event = part("event", "event ").map(|event| format!("{event}:"));
    let parts = [event, part("rule", ""), part("level", "level ")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { flow(&Value::Object(expected.clone())) } else { parts.join(" ") }
}

fn got_named(got: &Got) -> String {
    let names = ["event", "rule", "level"].map(|name| (name.to_owned(), got.field(name)));
    let fields = names.into_iter().filter(|(_, value)| !value.is_null()).collect();
    format!("{}: {}", named(&fields), got.summary)
}

impl std::fmt::Display for FieldPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FieldPath::Field(name) => f.write_str(name),
            FieldPath::OfCommand(at, name) => write!(f, "commands[{at}].{name}"),
        }
    }
}
