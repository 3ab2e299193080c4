//! A new case at the end of a test file.

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::flow::flow;
use super::record::in_zone;
use super::update::fresh;
use super::{Case, Got, NotUpdated, parse, tree};
use crate::rule::node::Node;

/// A case to be written.
#[derive(Debug, Clone)]
pub struct NewCase<'a> {
    pub name: &'a str,
    pub events: &'a [Map<String, Value>],
    pub expect: Vec<&'a Got>,
    /// Of the rules; instants are written in it.
    pub zone: &'a TimeZone,
}

/// The text of a test file with a case more, and the case. `text` is empty for a new file, which
/// names `rules` if they are not the folder's.
///
/// # Errors
/// When the tests of the file do not stand in lines of their own.
pub fn append(
    text: &str,
    rules: Option<&str>,
    case: &NewCase<'_>,
) -> Result<(String, Case), NotUpdated> {
    let mut out = text.to_owned();
    if text.trim().is_empty() {
        let rules = rules.map(|rules| format!("rules: {}\n", quoted(rules)));
        out = format!("{}tests:\n{}", rules.unwrap_or_default(), lines(case, "  "));
    } else {
        let root = tree(text).ok_or(NotUpdated::Layout)?;
        let (at, new) = root
            .get("tests")
            .and_then(|tests| place(text, tests, case))
            .ok_or(NotUpdated::Layout)?;
        out.replace_range(at, &new);
    }
    let before = if text.trim().is_empty() { 0 } else { parse(text).map_or(0, |f| f.tests.len()) };
    let mut after = parse(&out).map_err(|_| NotUpdated::Layout)?;
    let added = after.tests.pop().ok_or(NotUpdated::Layout)?;
    if after.tests.len() != before
        || added.name != case.name
        || added.events.len() != case.events.len()
    {
        return Err(NotUpdated::Layout);
    }
    Ok((out, added))
}

/// Where the case goes, and its text.
fn place(text: &str, tests: &Node, case: &NewCase<'_>) -> Option<(std::ops::Range<usize>, String)> {
    let brackets = text.get(tests.span.start..)?.starts_with('[');
    let Some(first) = tests.items().first() else {
        return brackets
            .then(|| (tests.span.clone(), format!("\n{}", lines(case, "  ").trim_end())));
    };
    if brackets {
        return None;
    }
    let dash = text.get(..first.span.start)?.rfind('-')?;
    let line = text.get(..dash)?.rfind('\n').map_or(0, |at| at + 1);
    let new = lines(case, text.get(line..dash)?);
    let rest = text.get(tests.span.end..)?;
    Some(match rest.find('\n') {
        Some(end) => (tests.span.end + end + 1..tests.span.end + end + 1, new),
        None => (text.len()..text.len(), format!("\n{new}")),
    })
}

fn lines(case: &NewCase<'_>, indent: &str) -> String {
    let mut events = case.events.to_vec();
    in_zone(&mut events, case.zone);
    let events: Vec<String> = events.into_iter().map(|event| flow(&Value::Object(event))).collect();
    let expect: Vec<String> = case.expect.iter().map(|got| fresh(got)).collect();
    let list = |items: &[String]| {
        if items.is_empty() {
            return " []\n".to_owned();
        }
        let lines: Vec<String> =
            items.iter().map(|item| format!("\n{indent}    - {item}")).collect();
        format!("{}\n", lines.concat())
    };
    format!(
        "{indent}- name: {}\n{indent}  events:{}{indent}  expect:{}",
        quoted(case.name),
        list(&events),
        list(&expect)
    )
}

/// Text of a line of its own, without quotes where it reads the same.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | ',' | '/');
    let begins = text.starts_with(|c: char| c.is_alphabetic());
    if begins && text.contains(' ') && !text.ends_with(' ') && text.chars().all(plain) {
        return text.to_owned();
    }
    flow(&Value::String(text.to_owned()))
}
