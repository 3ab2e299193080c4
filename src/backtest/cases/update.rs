//! Puts what was got in the place of what was expected, and leaves the rest of the file as it is.
//!
//! Edits the text at the places of its values: comments, layout and what stays as expected are
//! not touched.

use std::ops::Range;

use serde_json::{Map, Value};

use super::flow::flow;
use super::{Case, CaseResult, Difference, FieldPath, Got, Step, parse, tree};
use crate::rule::node::Node;

/// A case that cannot be brought to what was got.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUpdated {
    #[error("its events are not of the form of E1")]
    BadEvents,
    #[error("the text is laid out in a way that cannot be edited in place; change it by hand")]
    Layout,
}

/// The text of a test file in which the case of this index, whose result this is, expects what
/// was got. Fields that were not written are not added; a decision that was not expected is
/// written with `event`, `rule` and `level`.
///
/// # Errors
/// When the case says nothing about the rules, or cannot be edited in place.
pub fn update(
    text: &str,
    index: usize,
    case: &Case,
    result: &CaseResult,
) -> Result<String, NotUpdated> {
    if !result.problems.is_empty() {
        return Err(NotUpdated::BadEvents);
    }
    let edited = edited(text, index, case, result).ok_or(NotUpdated::Layout)?;
    // Anchors and the like may stand where no edit reaches them: what was made is looked at.
    let (before, after) = (parse(text), parse(&edited));
    let (Ok(before), Ok(after)) = (before, after) else { return Err(NotUpdated::Layout) };
    let others = before.tests.len() == after.tests.len()
        && before.rules == after.rules
        && before.tests.iter().zip(&after.tests).enumerate().all(|(at, (one, other))| {
            at == index
                || (&one.name, &one.events, &one.expect)
                    == (&other.name, &other.events, &other.expect)
        });
    let own = after.tests.get(index).is_some_and(|after| {
        let steps = super::compare::align(&after.expect, &result.got);
        let same = steps.iter().all(|step| matches!(step, Step::Same(..)));
        same && after.name == case.name && after.events == case.events
    });
    if others && own { Ok(edited) } else { Err(NotUpdated::Layout) }
}

/// Bytes of the text, and what stands in their place.
type Edit = (Range<usize>, String);

fn edited(text: &str, index: usize, case: &Case, result: &CaseResult) -> Option<String> {
    let root = tree(text)?;
    let node = root.get("tests")?.items().get(index)?;
    let (key, expect) = node.entries().iter().find(|(key, _)| key.raw() == Some("expect"))?;
    let begins =
        |node: &Node, c: char| text.get(node.span.start..).is_some_and(|t| t.starts_with(c));
    let mut edits = if begins(expect, '[') {
        vec![whole(text, (key, expect), begins(node, '{'), case, result)]
    } else {
        each(text, (key, expect), result)?
    };
    // What is put in before a place comes before what changes from it on.
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let (mut out, mut at) = (String::new(), 0);
    for (range, new) in edits {
        out.push_str(text.get(at..range.start)?);
        out.push_str(&new);
        at = range.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

/// A list in brackets is written anew: in lines of its own, unless the case is in braces.
fn whole(
    text: &str,
    (key, expect): (&Node, &Node),
    inline: bool,
    case: &Case,
    result: &CaseResult,
) -> Edit {
    let items: Vec<String> =
        result.steps.iter().filter_map(|step| item(text, expect, case, result, step)).collect();
    if inline || items.is_empty() {
        return (expect.span.clone(), format!("[{}]", items.join(", ")));
    }
    let indent = " ".repeat(key.column + 1);
    let lines: Vec<String> = items.iter().map(|item| format!("\n{indent}- {item}")).collect();
    let gap = text.get(key.span.end..expect.span.start).unwrap_or_default();
    let from = expect.span.start - (gap.len() - gap.trim_end_matches(' ').len());
    (from..expect.span.end, lines.concat())
}

/// What a step leaves in the list, in one line.
fn item(
    text: &str,
    expect: &Node,
    case: &Case,
    result: &CaseResult,
    step: &Step,
) -> Option<String> {
    match step {
        Step::Missing(_) => None,
        Step::Extra(at) => Some(fresh(result.got.get(*at)?)),
        Step::Same(at, _) => {
            let written = text.get(expect.items().get(*at)?.span.clone());
            Some(written.unwrap_or_default().to_owned())
        }
        Step::Changed(at, got, differences) => {
            let mut fields = case.expect.get(*at)?.clone();
            for Difference { field, expected, got: new } in differences {
                match field {
                    FieldPath::Field(name) if name == "commands" => {
                        let commands = commands(expected, &result.got.get(*got)?.commands);
                        fields.insert(name.clone(), commands);
                    }
                    FieldPath::Field(name) => {
                        fields.insert(name.clone(), in_form_of(expected, new));
                    }
                    FieldPath::OfCommand(at, name) => {
                        *fields.get_mut("commands")?.get_mut(at)?.get_mut(name)? =
                            in_form_of(expected, new);
                    }
                }
            }
            Some(flow(&Value::Object(fields)))
        }
    }
}

/// Items that stand in lines of their own are changed one by one.
fn each(text: &str, (key, expect): (&Node, &Node), result: &CaseResult) -> Option<Vec<Edit>> {
    let first = line_start(text, expect.items().first()?.span.start);
    let kept = result.steps.iter().any(|step| !matches!(step, Step::Missing(_)));
    let mut edits = Vec::new();
    if !kept {
        let colon = key.span.end + text.get(key.span.end..)?.find(':')? + 1;
        edits.push((colon..colon, " []".to_owned()));
    }
    let indent = " ".repeat(dash(text, expect.items().first()?)? - first);
    // Where the next decision that was not expected goes.
    let mut next = first;
    for step in &result.steps {
        match step {
            Step::Same(at, _) => next = line_end(text, expect.items().get(*at)?.span.end),
            Step::Missing(at) => {
                let node = expect.items().get(*at)?;
                next = line_end(text, node.span.end);
                edits.push((line_start(text, dash(text, node)?)..next, String::new()));
            }
            Step::Extra(at) => {
                let new = fresh(result.got.get(*at)?);
                let broken = next == text.len() && !text.ends_with('\n');
                let new = if broken {
                    format!("\n{indent}- {new}")
                } else {
                    format!("{indent}- {new}\n")
                };
                edits.push((next..next, new));
            }
            Step::Changed(at, got, differences) => {
                let node = expect.items().get(*at)?;
                next = line_end(text, node.span.end);
                for difference in differences {
                    edits.push(changed(node, difference, result.got.get(*got)?)?);
                }
            }
        }
    }
    Some(edits)
}

fn changed(item: &Node, difference: &Difference, got: &Got) -> Option<Edit> {
    let Difference { field, expected, got: new } = difference;
    let (node, value) = match field {
        FieldPath::Field(name) if name == "commands" => {
            (item.get(name)?, commands(expected, &got.commands))
        }
        FieldPath::Field(name) => (item.get(name)?, in_form_of(expected, new)),
        FieldPath::OfCommand(at, name) => {
            (item.get("commands")?.items().get(*at)?.get(name)?, in_form_of(expected, new))
        }
    };
    Some((node.span.clone(), flow(&value)))
}

/// A decision that was not expected.
pub(super) fn fresh(got: &Got) -> String {
    let fields = ["event", "rule", "level"].map(|name| (name.to_owned(), got.field(name)));
    let fields = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
    flow(&Value::Object(fields))
}

/// As many commands as there are, with the fields that were written.
fn commands(expected: &Value, got: &[Value]) -> Value {
    let list = expected.as_array().map_or(&[][..], Vec::as_slice);
    let command = |(at, got): (usize, &Value)| {
        let written = list.get(at).or(list.last()).and_then(Value::as_object);
        let names: Vec<&str> = match written {
            Some(written) => written.keys().map(String::as_str).collect(),
            None => vec!["command", "scope"],
        };
        let field = |name: &str| Some((name.to_owned(), got.get(name)?.clone()));
        let fields: Map<String, Value> = names.into_iter().filter_map(field).collect();
        let form = |(name, value): (String, Value)| {
            let form = written.and_then(|written| written.get(&name)).cloned();
            let value = in_form_of(&form.unwrap_or_default(), &value);
            (name, value)
        };
        Value::Object(fields.into_iter().map(form).collect())
    };
    got.iter().enumerate().map(command).collect()
}

/// An instant that was written as text stays text.
fn in_form_of(expected: &Value, got: &Value) -> Value {
    let instant = expected.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok());
    let ms = got.as_i64().filter(|_| instant);
    match ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
        Some(instant) => Value::String(instant.to_string()),
        None => got.clone(),
    }
}

/// The dash before an item of a list.
fn dash(text: &str, item: &Node) -> Option<usize> {
    text.get(..item.span.start)?.rfind('-')
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
}

/// Behind the line break.
fn line_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.find('\n').map_or(text.len(), |end| at + end + 1)
}
