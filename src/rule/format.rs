//! One layout for rule and test files. Comments stay, and what the file means stays.

use pretty_yaml::config::{FormatOptions, LanguageOptions, LayoutOptions};
use yaml_parser::SyntaxKind;

use super::fault::{Fault, shorten};
use super::node::{self, Data, Node};
use super::types::Place;

/// Wider than any line: where a map or list in braces breaks is the author's choice, since what
/// belongs together, such as an event of a test, reads best in one line.
const WIDTH: usize = 1_000_000;

/// Why a file is not formatted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The text is no YAML, or has keys twice.
    #[error("{}", .0.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))]
    Faults(Vec<Fault>),
    /// The formatter would lose something.
    #[error("{0}: formatting would change what the file says; it is left as it is")]
    Changes(String),
}

/// The text of a rule or test file in the one layout: two spaces a step, one space before a
/// comment, double quotes, one blank line at most. Formatting again changes nothing.
///
/// # Errors
/// When the text is no YAML, or the result would not say the same.
pub fn format(file: &str, text: &str) -> Result<String, FormatError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut faults = Vec::new();
    let before = node::parse(file, text, &mut faults);
    if !faults.is_empty() {
        return Err(FormatError::Faults(faults));
    }
    let pretty = |text: &str| {
        pretty_yaml::format_text(text, &options()).map_err(|error| {
            let line = text
                .split_at_checked(error.offset())
                .map_or(1, |(before, _)| before.matches('\n').count() + 1);
            let shown = text.lines().nth(line - 1).unwrap_or_default().trim();
            let place = Place { file: file.to_owned(), line, column: 1 };
            let message = "cannot be formatted".to_owned();
            FormatError::Faults(vec![Fault { place, text: shorten(shown), message, hint: None }])
        })
    };
    let formatted = pretty(text)?;
    let after = node::parse(file, &formatted, &mut faults);
    let same = faults.is_empty()
        && match (&before, &after) {
            (Some(before), Some(after)) => alike(before, after),
            (None, None) => true,
            _ => false,
        };
    if same && comments(text) == comments(&formatted) && pretty(&formatted)? == formatted {
        Ok(formatted)
    } else {
        Err(FormatError::Changes(file.to_owned()))
    }
}

fn options() -> FormatOptions {
    FormatOptions {
        layout: LayoutOptions { print_width: WIDTH, indent_width: 2, ..LayoutOptions::default() },
        language: LanguageOptions { trailing_comma: false, ..LanguageOptions::default() },
    }
}

/// The same values in the same order, wherever they stand.
fn alike(one: &Node, other: &Node) -> bool {
    match (&one.data, &other.data) {
        (Data::Scalar { raw, value }, Data::Scalar { raw: text, value: same }) => {
            // A number that is none equals nothing, itself included.
            raw == text && (value == same || raw == ".nan")
        }
        (Data::List(one), Data::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Data::Map(one), Data::Map(other)) => {
            let same = |((key, value), (name, other)): (&(Node, Node), &(Node, Node))| {
                alike(key, name) && alike(value, other)
            };
            one.len() == other.len() && one.iter().zip(other).all(same)
        }
        _ => false,
    }
}

/// The comments of a text, in their order.
fn comments(text: &str) -> Option<Vec<String>> {
    let tree = yaml_parser::parse(text).ok()?;
    let mut comments = Vec::new();
    for element in tree.descendants_with_tokens() {
        if let Some(token) = element.into_token()
            && token.kind() == SyntaxKind::COMMENT
        {
            comments.push(token.text().trim().to_owned());
        }
    }
    Some(comments)
}
