//! What a reviewer would say of rules that load: they mean something else than it seems, or
//! nothing at all.
//!
//! A lint errs to silence: what is said never to match does not, whatever the events.

mod effects;
mod filters;
mod history;
mod satisfy;
mod sets;
mod site;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::fault::Fault;
use super::load::Source;
use super::node::{self, Node};
use super::types::{ListEntry, Place, RuleSet};

/// One warning. `Display` is the form for people, `Serialize` the one for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    pub lint: Lint,
    #[serde(flatten)]
    pub fault: Fault,
}

/// What is warned of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lint {
    /// No event, or no state of the rule's counter, can make it fire.
    NeverFires,
    /// A part of `where` that no event satisfies, while others are left.
    DeadBranch,
    /// A higher level that is less severe than one before it.
    SeverityFalls,
    /// A higher level that does less than one before it.
    WeakerLevel,
    /// A rule that reaches further back than the input is kept.
    ShortRetention,
    /// A freeze for ever that does not say so.
    EndlessFreeze,
    /// A rule that no test expects to fire.
    Untested,
    /// A list that no rule looks at.
    UnusedList,
    /// A list whose file has no entries.
    EmptyList,
    /// A list of one field that is looked up with another.
    ForeignList,
    /// A rule that always fires together with another.
    SameRule,
    /// A receiver that the configuration does not have.
    UnknownReceiver,
    /// A cooldown that outlasts the calendar period of its rule.
    LongCooldown,
    /// A budget, or an `unfreeze`, of a rule that freezes nobody.
    NoFreeze,
    /// A test file that is none.
    UnreadableTest,
}

impl Lint {
    pub const ALL: [Lint; 15] = [
        Lint::NeverFires,
        Lint::DeadBranch,
        Lint::SeverityFalls,
        Lint::WeakerLevel,
        Lint::ShortRetention,
        Lint::EndlessFreeze,
        Lint::Untested,
        Lint::UnusedList,
        Lint::EmptyList,
        Lint::ForeignList,
        Lint::SameRule,
        Lint::UnknownReceiver,
        Lint::LongCooldown,
        Lint::NoFreeze,
        Lint::UnreadableTest,
    ];

    /// The name that it is told and allowed by.
    pub const fn as_str(self) -> &'static str {
        match self {
            Lint::NeverFires => "never-fires",
            Lint::DeadBranch => "dead-branch",
            Lint::SeverityFalls => "severity-falls",
            Lint::WeakerLevel => "weaker-level",
            Lint::ShortRetention => "short-retention",
            Lint::EndlessFreeze => "endless-freeze",
            Lint::Untested => "untested",
            Lint::UnusedList => "unused-list",
            Lint::EmptyList => "empty-list",
            Lint::ForeignList => "foreign-list",
            Lint::SameRule => "same-rule",
            Lint::UnknownReceiver => "unknown-receiver",
            Lint::LongCooldown => "long-cooldown",
            Lint::NoFreeze => "no-freeze",
            Lint::UnreadableTest => "unreadable-test",
        }
    }

    pub fn parse(name: &str) -> Option<Lint> {
        Lint::ALL.into_iter().find(|lint| lint.as_str() == name)
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head())?;
        match &self.fault.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl Warning {
    /// The first line: place, message, text and lint.
    pub fn head(&self) -> String {
        let Fault { place: Place { file, line, column }, text, message, .. } = &self.fault;
        format!("{file}:{line}:{column}: warning: {message}: `{text}` [{}]", self.lint)
    }
}

/// What is known beside the rules. What is not known is not judged.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// Of each list, in order of [`RuleSet::lists`].
    pub entries: &'a [Vec<ListEntry>],
    /// Names of the rules that a test expects to fire.
    pub tested: Option<&'a BTreeSet<String>>,
    /// How long the broker keeps the events.
    pub retention_ms: Option<i64>,
    /// Names of the receivers of the configuration.
    pub receivers: Option<&'a [String]>,
}

/// All warnings of a rule set, in order of file and place. `sources` are those it was loaded from.
pub fn lint(sources: &[Source], set: &RuleSet, around: &Surroundings<'_>) -> Vec<Warning> {
    let mut files: Vec<(&str, Node)> = Vec::new();
    for Source { path, text } in sources {
        let root = node::parse(path, text, &mut Vec::new());
        files.extend(root.map(|root| (path.as_str(), root)));
    }
    let sites = site::sites(&files, set);
    let mut linter = Linter { set, around: *around, warnings: Vec::new() };
    for site in &sites {
        linter.filters(site);
        linter.effects(site);
        linter.history(site);
    }
    linter.sets(&files, &sites);
    let mut warnings = linter.warnings;
    let order = |name: &str| files.iter().position(|(file, _)| *file == name);
    warnings.sort_by_key(|Warning { fault, lint }| {
        let Place { file, line, column } = &fault.place;
        (order(file), *line, *column, *lint)
    });
    // What an alias repeats is one thing to mend.
    warnings.dedup();
    warnings
}

struct Linter<'a> {
    set: &'a RuleSet,
    around: Surroundings<'a>,
    warnings: Vec<Warning>,
}

impl Linter<'_> {
    fn warn(
        &mut self,
        lint: Lint,
        (file, at): (&str, &Node),
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.warn_of(lint, (file, at), at.shown(), message, hint);
    }

    /// As [`Linter::warn`], of a text that is not all of the node.
    fn warn_of(
        &mut self,
        lint: Lint,
        (file, at): (&str, &Node),
        text: String,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let place = Place { file: file.to_owned(), line: at.line, column: at.column };
        let hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        let fault = Fault { place, text, message: message.into(), hint };
        self.warnings.push(Warning { lint, fault });
    }
}
