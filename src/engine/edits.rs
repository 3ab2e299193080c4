//! Entries of lists that people added and removed while the stream ran (R4).

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3DefaultBuilder;

use crate::event::EventTime;

/// The last edit of each value, by name of the list: names, not places, for a changed rule set
/// may order its lists otherwise.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ListEdits {
    lists: BTreeMap<String, Values>,
}

/// Only ever looked up.
type Values = hashbrown::HashMap<String, Edit, Xxh3DefaultBuilder>;

/// What was last done to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Matches before this instant, or always; afterwards the file counts again.
    Added(Option<EventTime>),
    /// Does not match, whatever the file says.
    Removed,
}

impl ListEdits {
    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// A rough figure: 100 bytes a value.
    pub(crate) fn bytes(&self) -> usize {
        self.lists.values().map(|values| values.len() * 100).sum()
    }

    pub(crate) fn put(&mut self, list: &str, value: &str, edit: Edit) {
        self.lists.entry(list.to_owned()).or_default().insert(value.to_owned(), edit);
    }

    /// Every edit: list, value and what was done, in an order of its own.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str, Edit)> {
        self.lists.iter().flat_map(|(list, values)| {
            let mut values: Vec<_> = values.iter().collect();
            values.sort_unstable_by_key(|(value, _)| *value);
            values.into_iter().map(|(value, edit)| (list.as_str(), value.as_str(), *edit))
        })
    }

    /// Whether the edits decide about a value at an instant; `None` leaves it to the file.
    pub(crate) fn verdict(&self, list: &str, value: &str, at: EventTime) -> Option<bool> {
        match self.lists.get(list)?.get(value)? {
            Edit::Removed => Some(false),
            Edit::Added(until) => until.is_none_or(|until| at < until).then_some(true),
        }
    }
}
