//! A fault of a rule file or list: where it stands, what is wrong, what was probably meant.

use std::fmt;

use serde::Serialize;

use super::types::Place;

/// One fault (R17). `Display` is the form for people, `Serialize` the one for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    #[serde(flatten)]
    pub place: Place,
    /// The offending text as written, shortened.
    pub text: String,
    pub message: String,
    /// What to write instead: most often the nearest valid name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head())?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// The first line: place, message and text.
    pub fn head(&self) -> String {
        let Place { file, line, column } = &self.place;
        format!("{file}:{line}:{column}: error: {}: `{}`", self.message, self.text)
    }
}

/// At most `TEXT_MAX` characters of one line.
pub(super) fn shorten(text: &str) -> String {
    const TEXT_MAX: usize = 60;
    let mut short: String =
        text.chars().take(TEXT_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(TEXT_MAX).is_some() {
        short.push('…');
    }
    short
}

/// The valid name nearest to `text`, if one is near enough to have been meant.
pub(super) fn nearest<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    /// Similarity that lets a longer or shorter form of a name pass, `equals` for `eq`.
    const NEAR: f64 = 0.75;
    let lower = text.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for name in names {
        let other = name.to_lowercase();
        let score = strsim::jaro_winkler(&lower, &other);
        let slip = strsim::osa_distance(&lower, &other) <= 1 && lower.len() > 1;
        let score = if slip { score.max(NEAR) } else { score };
        if score >= NEAR && best.is_none_or(|(so_far, _)| score > so_far) {
            best = Some((score, name));
        }
    }
    best.map(|(_, name)| name)
}

/// The hint for a name that is not known: the nearest one, else the whole choice.
pub(super) fn did_you_mean(text: &str, names: &[&str]) -> Option<String> {
    match nearest(text, names.iter().copied()) {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None if names.is_empty() || names.len() > 24 => None,
        None => Some(format!("one of `{}`", names.join("`, `"))),
    }
}
