//! Entries of lists that people added and removed while the stream ran (R4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

use crate::event::EventTime;

/// The last edit of each value, by name of the list: names, not places, for a changed rule set
/// may order its lists otherwise.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ListEdits {
    lists: BTreeMap<String, Values>,
}

/// Only ever looked up.
type Values = hashbrown::HashMap<String, Edited, Xxh3DefaultBuilder>;

/// What was last done to a value, and who did it and why, where that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edited {
    pub(crate) edit: Edit,
    pub(crate) by: Option<Box<By>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct By {
    pub(crate) actor: String,
    pub(crate) reason: String,
}

/// What was last done to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Matches before this instant, or always; afterwards the file counts again.
    Added(Option<EventTime>),
    /// Does not match, whatever the file says.
    Removed,
}

impl Edit {
    /// Whether it matches at an instant; `None` leaves it to the file.
    pub(crate) fn verdict(self, at: EventTime) -> Option<bool> {
        match self {
            Edit::Removed => Some(false),
            Edit::Added(until) => until.is_none_or(|until| at < until).then_some(true),
        }
    }
}

impl ListEdits {
    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// A rough figure: 200 bytes a value.
    pub(crate) fn bytes(&self) -> usize {
        self.lists.values().map(|values| values.len() * 200).sum()
    }

    pub(crate) fn put(&mut self, list: &str, value: &str, edit: Edit, by: Option<By>) {
        let edited = Edited { edit, by: by.map(Box::new) };
        self.lists.entry(list.to_owned()).or_default().insert(value.to_owned(), edited);
    }

    pub(crate) fn get(&self, list: &str, value: &str) -> Option<&Edited> {
        self.lists.get(list)?.get(value)
    }

    /// Every edit: list, value and what was done, in an order of its own.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str, &Edited)> {
        self.lists.iter().flat_map(|(list, values)| {
            let mut values: Vec<_> = values.iter().collect();
            values.sort_unstable_by_key(|(value, _)| *value);
            values.into_iter().map(|(value, edit)| (list.as_str(), value.as_str(), edit))
        })
    }

    /// Whether the edits decide about a value at an instant; `None` leaves it to the file.
    pub(crate) fn verdict(&self, list: &str, value: &str, at: EventTime) -> Option<bool> {
        self.get(list, value)?.edit.verdict(at)
    }
}
