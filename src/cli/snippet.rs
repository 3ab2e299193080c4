//! A message about a place in a file, with the line itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};

use super::paint::Paint;
use crate::rule::{Fault, Place};

/// Characters of a line that are shown.
const SHOWN_MAX: usize = 100;
/// Characters before the place, of a line that is longer.
const BEFORE_MAX: usize = 40;

/// Writes messages; keeps the files that they point into.
#[derive(Debug, Default)]
pub(super) struct Snippets {
    paint: Paint,
    files: BTreeMap<String, String>,
}

impl Snippets {
    pub(super) fn new(paint: Paint) -> Snippets {
        Snippets { paint, files: BTreeMap::new() }
    }

    /// `head`, the line with a mark under the text, and the hint.
    pub(super) fn write(
        &mut self,
        head: &str,
        fault: &Fault,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        writeln!(out, "{head}")?;
        let Place { file, line, column } = &fault.place;
        // What cannot be read any more is told without its line.
        let text = self
            .files
            .entry(file.clone())
            .or_insert_with(|| fs::read_to_string(file).unwrap_or_default());
        if let Some(text) = text.lines().nth(line.saturating_sub(1)) {
            let (shown, before, marked) = cut(text, column.saturating_sub(1), &fault.text);
            let number = line.to_string();
            let margin = " ".repeat(number.len());
            let mark = format!("{}{}", " ".repeat(before), self.paint.yellow(&"^".repeat(marked)));
            writeln!(out, "  {} {shown}", self.paint.dim(&format!("{number} |")))?;
            writeln!(out, "  {} {mark}", self.paint.dim(&format!("{margin} |")))?;
        }
        match &fault.hint {
            Some(hint) => writeln!(out, "  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// The line as it is shown, and how wide what stands before the place and what is marked are.
fn cut(line: &str, at: usize, text: &str) -> (String, usize, usize) {
    let line: Vec<char> = line.trim_end().trim_start_matches('\u{feff}').chars().collect();
    let from = if line.len() > SHOWN_MAX { at.saturating_sub(BEFORE_MAX) } else { 0 };
    let mut shown: String = line.iter().skip(from).take(SHOWN_MAX).collect();
    let mut before: String = line.iter().skip(from).take(at.saturating_sub(from)).collect();
    if from > 0 {
        shown.insert(0, '…');
        before.insert(0, '…');
    }
    if line.len() > from + SHOWN_MAX {
        shown.push('…');
    }
    let rest: String = line.iter().skip(at).take((from + SHOWN_MAX).saturating_sub(at)).collect();
    let marked = console::measure_text_width(marked(&rest, text)).max(1);
    (shown, console::measure_text_width(&before), marked)
}

/// As much of `rest` as the text covers: all of it where it is written so, else a word.
fn marked<'a>(rest: &'a str, text: &str) -> &'a str {
    if !text.is_empty()
        && rest.starts_with(text)
        && let Some((marked, _)) = rest.split_at_checked(text.len())
    {
        return marked;
    }
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    let end = match quote {
        Some(quote) => rest.match_indices(quote).nth(1).map(|(at, _)| at + 1),
        None => rest.find(|c: char| c.is_whitespace() || matches!(c, ',' | ':' | ']' | '}')),
    };
    let end = end.unwrap_or(rest.len());
    rest.split_at_checked(end).map_or(rest, |(marked, _)| marked)
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[track_caller]
    fn check(line: &str, at: usize, text: &str, expected: &str) {
        let (shown, before, marked) = cut(line, at, text);
        assert_eq!(format!("{shown}\n{}{}", " ".repeat(before), "^".repeat(marked)), expected);
    }

    #[test]
    fn the_mark_stands_under_the_text() {
        check("on: isue", 4, "isue", "on: isue\n    ^^^^");
        check("on: [\"isue\"]", 5, "isue", "on: [\"isue\"]\n     ^^^^^^");
        check("then: [{freeze: {}}]", 7, "{freeze:{}}", "then: [{freeze: {}}]\n       ^^^^^^^");
        check("mode: ", 5, "", "mode:\n     ^");
        check(
            "name: 每日上限, on: isue",
            16,
            "isue",
            "name: 每日上限, on: isue\n                    ^^^^",
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = format!("{}isue{}", "x".repeat(200), "y".repeat(200));
        let expected =
            format!("…{}isue{}…\n {}^^^^", "x".repeat(40), "y".repeat(56), " ".repeat(40));
        check(&line, 200, "isue", &expected);
    }
}
