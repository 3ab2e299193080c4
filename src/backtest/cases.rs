//! Rule tests: events and the decisions they must come to, in YAML beside the rules (C3).

mod append;
mod compare;
mod files;
mod flow;
mod pseudonyms;
mod record;
mod run;
#[cfg(test)]
mod tests;
mod update;

pub use append::{NewCase, append};
pub use compare::{Difference, FieldPath, Line, Mark, Step};
pub use files::{Beside, beside, test_files};
pub use pseudonyms::pseudonyms;
pub use record::{Recorded, Selection, record};
pub use run::{CaseResult, Got, run_case};
pub use update::{NotUpdated, update};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::rule::node::{self, Node};

/// One `*.test.yaml` file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestFile {
    /// Rule file or folder, relative to the test file; the test file's folder when absent.
    pub rules: Option<String>,
    pub tests: Vec<Case>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// Events in the form of E1; `id` may be left out.
    pub events: Vec<Map<String, Value>>,
    /// Exactly these decisions, in this order; fields left out are not compared.
    pub expect: Vec<Map<String, Value>>,
    /// Line of the file that the case begins in.
    #[serde(skip)]
    pub line: usize,
}

/// Reads a test file.
///
/// # Errors
/// The parser's message, with its place.
pub fn parse(text: &str) -> Result<TestFile, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    let mut file: TestFile =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())?;
    if let Some(root) = tree(text) {
        let nodes = root.get("tests").map_or(&[][..], Node::items);
        file.tests.iter_mut().zip(nodes).for_each(|(case, node)| case.line = node.line);
    }
    Ok(file)
}

/// The text with the place of each value.
fn tree(text: &str) -> Option<Node> {
    node::parse("", text, &mut Vec::new())
}
