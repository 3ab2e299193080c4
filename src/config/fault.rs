//! Faults of a configuration: where the value was given, its key, what is wrong, what was meant.
//!
//! A fault never holds the text of a value that may be a secret.

use std::fmt;

use super::tree::Origin;

/// One fault. `Display` is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// File and line, the variable's name, or `command line`; empty for a value nobody gave.
    pub place: String,
    /// Dotted; empty for a fault of the file as a whole.
    pub key: String,
    pub message: String,
    /// The nearest valid name, if one was probably meant.
    pub hint: Option<String>,
}

impl Fault {
    pub(super) fn new(origin: &Origin, key: &str, message: &str) -> Fault {
        Fault {
            place: origin.to_string(),
            key: key.to_owned(),
            message: message.to_owned(),
            hint: None,
        }
    }

    /// A fault of a value that a default or another value's absence brought about.
    pub(super) fn of(key: &str, message: impl Into<String>) -> Fault {
        Fault { place: String::new(), key: key.to_owned(), message: message.into(), hint: None }
    }

    pub(super) fn hinted(mut self, hint: Option<String>) -> Fault {
        self.hint = hint;
        self
    }

    /// The first segment of the key.
    pub(super) fn section(&self) -> &str {
        self.key.split('.').next().unwrap_or_default()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.place, &self.key].into_iter().filter(|part| !part.is_empty()) {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " (did you mean `{hint}`?)"),
            None => Ok(()),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Unreadable { path: String, source: std::io::Error },
    /// All faults that were found, one a line.
    #[error("{}", lines(.0))]
    Faulty(Vec<Fault>),
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// The valid name that was probably meant.
pub(super) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let distance = |known: &str| strsim::damerau_levenshtein(known, name);
    let near = known.into_iter().min_by_key(|known| distance(known))?;
    // Two slips in a long name, one in a short one: `to` is not `tls`.
    let slips = if near.len() > 3 { 2 } else { 1 };
    (distance(near) <= slips || near.starts_with(name) && name.len() > 2).then(|| near.to_owned())
}
