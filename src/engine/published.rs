//! A rule set as it is published: the texts of its files and lists, and the plan they make.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::act::hex;
use crate::engine::{Lists, Plan, Settings};
use crate::rule::{Fault, ListEntry, Place, RuleSet, Source, load, parse_list};

/// The text of a rule file, by its path within the rules, or of a list, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedText {
    pub name: String,
    pub text: String,
}

/// A rule set that people put in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedRules {
    /// The version that decisions name.
    pub ruleset: String,
    /// Names rules and list entries: what means the same has the same name.
    pub set: String,
    /// The first of all that were published here: no change, and no decision tells of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub initial: bool,
    /// None where the set is only named, as in the journal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<NamedText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<NamedText>,
}

impl PublishedRules {
    /// Names a checked rule set with the entries of its lists; it has no texts yet.
    pub fn named(rules: &RuleSet, entries: &[Vec<ListEntry>]) -> PublishedRules {
        let lists = hex(&format!("{entries:?}"));
        let (lists, _) = lists.split_at(16);
        PublishedRules {
            ruleset: rules.version.clone(),
            set: format!("{}-{lists}", rules.version),
            initial: false,
            files: Vec::new(),
            lists: Vec::new(),
        }
    }

    /// Forgets the texts.
    pub(crate) fn strip(&mut self) {
        (self.files, self.lists) = (Vec::new(), Vec::new());
    }

    /// The plan of these texts, whole or not at all (R17).
    ///
    /// # Errors
    /// All faults.
    pub fn plan(&self, settings: Settings) -> Result<Plan, Vec<Fault>> {
        let source = |file: &NamedText| Source { path: file.name.clone(), text: file.text.clone() };
        let sources: Vec<Source> = self.files.iter().map(source).collect();
        let mut rules = load(&sources)?;
        // As whoever published it named it: another release may make another name of its texts.
        rules.version.clone_from(&self.ruleset);
        let mut lists = Lists::new(rules.lists.len());
        let mut faults = Vec::new();
        for (at, list) in rules.lists.iter().enumerate() {
            let Some(file) = &list.file else { continue };
            let found = self.lists.iter().find(|text| text.name == list.name);
            let entries = match found {
                Some(text) => parse_list(&text.text, file, &rules.timezone),
                None => Err(vec![Fault {
                    place: Place { file: list.origin.clone(), line: 1, column: 1 },
                    text: list.name.clone(),
                    message: "the list was not published with its rules".to_owned(),
                    hint: None,
                }]),
            };
            match entries {
                Ok(entries) => lists.set(at, entries),
                Err(mut more) => faults.append(&mut more),
            }
        }
        if faults.is_empty() {
            Ok(Plan::new(Arc::new(rules), lists, settings))
        } else {
            Err(faults)
        }
    }
}

#[cfg(test)]
mod tests;
