//! Where templates come from: a receiver's folder, that of all receivers, the built-in ones; and
//! what is wrong with them, told with file, line and a hint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};

use super::TextError;
use super::markup::{self, Dialect};
use crate::notify::receivers::Language;

/// The built-in templates by name.
pub(super) const BUILT_IN: [(&str, &str); 7] = [
    ("subject.txt", include_str!("templates/subject.txt")),
    ("mail.txt", include_str!("templates/mail.txt")),
    ("mail.html", include_str!("templates/mail.html")),
    ("sms.txt", include_str!("templates/sms.txt")),
    ("chat.md", include_str!("templates/chat.md")),
    ("daily.txt", include_str!("templates/daily.txt")),
    ("daily.html", include_str!("templates/daily.html")),
];

/// A template's text is written by people; larger ones were not meant.
const BYTES_MAX: u64 = 256 * 1024;

/// Variables and words that a hint may name.
const NAMES: [&str; 56] = [
    "ack_url",
    "actor",
    "at",
    "base_url",
    "baseline",
    "bold",
    "bound",
    "brief",
    "colour",
    "count",
    "daily",
    "description",
    "done",
    "done_label",
    "done_text",
    "first",
    "forecast_at",
    "headline",
    "id",
    "key",
    "labels",
    "language",
    "level",
    "link",
    "list_url",
    "measure",
    "mode",
    "more",
    "more_text",
    "notice_id",
    "over",
    "percent",
    "reason",
    "receiver",
    "remarks",
    "reset_at",
    "reset_short",
    "rest",
    "rest_text",
    "row",
    "rows",
    "rule",
    "rule_text",
    "several",
    "severity",
    "severity_word",
    "summary",
    "t",
    "time",
    "to",
    "value",
    "who",
    "why_url",
    "window",
    "json",
    "status",
];

/// The templates of one receiver.
#[derive(Debug)]
pub(super) struct Templates {
    pub(super) environment: Environment<'static>,
    /// Of those that are not built in.
    paths: BTreeMap<String, PathBuf>,
}

impl Templates {
    /// Reads the folders, the first of them going before the others.
    pub(super) fn read(
        folders: &[&Path],
        language: Language,
        dialect: Dialect,
    ) -> Result<Templates, TextError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| TextError(error.to_string()))?);
        environment.set_debug(true);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        markup::install(&mut environment, dialect);
        let mut templates = Templates { environment, paths: BTreeMap::new() };
        for (name, text) in BUILT_IN {
            templates.add(name, text)?;
        }
        let mut faults = Vec::new();
        for folder in folders.iter().rev() {
            for path in files(folder, language)? {
                if let Err(TextError(fault)) = templates.add_file(&path) {
                    faults.push(fault);
                }
            }
        }
        if faults.is_empty() { Ok(templates) } else { Err(TextError(faults.join("\n"))) }
    }

    fn add_file(&mut self, path: &Path) -> Result<(), TextError> {
        let place = path.display();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let names = BUILT_IN.map(|(name, _)| name);
        if !names.contains(&name.as_str()) {
            let near = nearest(&name, &names);
            let hint = near.map_or_else(
                || format!("one of `{}`", names.join("`, `")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(TextError(format!("{place}: no template has this name\n  hint: {hint}")));
        }
        let unreadable = |error: std::io::Error| TextError(format!("cannot read {place}: {error}"));
        if std::fs::metadata(path).map_err(unreadable)?.len() > BYTES_MAX {
            return Err(TextError(format!("{place}: a template has at most {BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        self.paths.insert(name.clone(), path.to_owned());
        self.add(&name, &text)
    }

    fn add(&mut self, name: &str, text: &str) -> Result<(), TextError> {
        let added = self.environment.add_template_owned(name.to_owned(), text.to_owned());
        added.map_err(|error| self.placed(&error, text))
    }

    /// An error in words: where, what, the line in question, and what was probably meant.
    pub(super) fn placed(&self, error: &minijinja::Error, source: &str) -> TextError {
        let name = error.name().unwrap_or("template");
        let place = match self.paths.get(name) {
            Some(path) => path.display().to_string(),
            None => name.to_owned(),
        };
        let source = error.template_source().unwrap_or(source);
        let line = error.line().unwrap_or(1);
        let text = source.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim();
        let what = match error.detail() {
            Some(detail) => detail.to_owned(),
            None => error.kind().to_string(),
        };
        // The part that the error is about; where it is not told, the whole line.
        let part = error.range().and_then(|range| source.get(range)).unwrap_or(text).trim();
        let part: String = part.lines().next().unwrap_or_default().chars().take(80).collect();
        // Most often it is told already.
        let shown = if what.contains(&part) { String::new() } else { format!(": `{part}`") };
        let mut told = format!("{place}:{line}: {what}{shown}");
        if error.kind() == minijinja::ErrorKind::UndefinedError {
            let words = part.split(|c: char| !c.is_alphanumeric() && c != '_');
            let near = words
                .filter(|word| !word.is_empty() && !NAMES.contains(word))
                .find_map(|word| nearest(word, &NAMES));
            let hint = near.map_or_else(
                || "docs/notices.md names the variables".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            told.push_str("\n  hint: ");
            told.push_str(&hint);
        }
        TextError(told)
    }
}

/// The templates of a folder in order of name; those of its part for the language come last, and
/// so go before the others.
fn files(folder: &Path, language: Language) -> Result<Vec<PathBuf>, TextError> {
    let list = |folder: &Path| -> Result<Vec<PathBuf>, TextError> {
        let unreadable =
            |error: std::io::Error| TextError(format!("cannot read {}: {error}", folder.display()));
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            paths.push(entry.map_err(unreadable)?.path());
        }
        paths.sort();
        Ok(paths)
    };
    let mut found = Vec::new();
    let mut own = Vec::new();
    for path in list(folder)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        match name.as_deref() {
            // Of editors and of mounted volumes.
            Some(name) if name.starts_with('.') || name.ends_with('~') => {}
            Some(name @ ("en" | "zh")) if path.is_dir() => {
                if name == code(language) {
                    own = list(&path)?;
                }
            }
            _ => found.push(path),
        }
    }
    found.extend(own);
    Ok(found)
}

pub(super) fn code(language: Language) -> &'static str {
    match language {
        Language::En => "en",
        Language::Zh => "zh",
    }
}

fn nearest<'n>(word: &str, names: &[&'n str]) -> Option<&'n str> {
    let near = names.iter().min_by_key(|name| strsim::damerau_levenshtein(name, word))?;
    (strsim::damerau_levenshtein(near, word) <= 2 && word.len() > 2).then_some(near)
}
