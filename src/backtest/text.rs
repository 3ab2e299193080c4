//! Tables and numbers in words.

use std::fmt;

use serde_json::Value;

/// Indent of what is listed.
pub(crate) const LISTED: &str = "    ";

/// Columns as wide as what stands in them: texts to the left, numbers to the right.
pub(crate) fn table(
    f: &mut fmt::Formatter<'_>,
    head: &[&str],
    lines: &[Vec<String>],
) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let width = |column: usize| {
        let cells = lines.iter().chain([&head]).filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let is_number = |column: usize| {
        let mut cells = lines.iter().filter_map(|line| line.get(column));
        cells.all(|cell| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-'))
    };
    for line in [&head].into_iter().chain(lines) {
        let mut text = String::new();
        for (column, cell) in line.iter().enumerate() {
            let (width, gap) = (width(column), if column == 0 { "" } else { "  " });
            let cell = if is_number(column) {
                format!("{gap}{cell:>width$}")
            } else {
                format!("{gap}{cell:<width$}")
            };
            text.push_str(&cell);
        }
        writeln!(f, "{LISTED}{}", text.trim_end())?;
    }
    Ok(())
}

/// A JSON number as people read it.
pub(crate) fn number(value: &Value) -> String {
    match (value.as_i64(), value.as_f64()) {
        (Some(value), _) => grouped(value),
        (None, Some(value)) => format!("{value:.3}"),
        (None, None) => value.to_string(),
    }
}

/// Digits in groups of three.
pub(crate) fn grouped(value: impl Into<i128>) -> String {
    let value: i128 = value.into();
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}
