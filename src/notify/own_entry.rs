//! What an instance has said of itself and to whom, as the next process of its name finds it (N4). Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::notice::{DIRECT, HELD, line};
use crate::engine::act::hex;
use crate::engine::{Decision, Resolved};
use crate::event::EventTime;

/// The rule of what is over.
const RESOLVED: &str = "tidegate.resolved";
const PREFIX: &str = "own/";
const VERSION: u32 = 1;

/// Something that was wrong, by the id of the decision that says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    v: u32,
    pub(super) began: Decision,
    /// That it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) over: Option<Decision>,
    /// Line → when it was told that it began, last; milliseconds since the epoch.
    told: BTreeMap<String, i64>,
    /// Lines that were told that it is over.
    heard: BTreeSet<String>,
    /// When this was written.
    pub(super) at: i64,
}

impl Entry {
    pub(super) fn new(began: Decision) -> Entry {
        let (told, heard) = (BTreeMap::new(), BTreeSet::new());
        Entry { v: VERSION, began, over: None, told, heard, at: 0 }
    }

    /// Whether a line was told of its beginning, or of its end.
    pub(super) fn knows(&self, line: &str, is_end: bool) -> bool {
        if is_end { self.heard.contains(line) } else { self.told.contains_key(line) }
    }

    /// Who has taken a notice waits for it on no line.
    pub(super) fn tell(&mut self, kind: u64, receiver: &str, is_end: bool, now: i64) {
        let kinds = if kind <= HELD { vec![DIRECT, HELD] } else { vec![kind] };
        for kind in kinds {
            if is_end {
                self.heard.insert(line(kind, receiver));
            } else {
                self.told.insert(line(kind, receiver), now);
            }
        }
    }

    /// Lines, and when each was told last that it began.
    pub(super) fn told(&self) -> impl Iterator<Item = (&String, i64)> {
        self.told.iter().map(|(line, at)| (line, *at))
    }

    /// Nobody will say that it is over: whoever was told of it is told that much, and why.
    pub(super) fn give_up(&mut self, why: &str, now: i64) {
        let Decision { id, rule, ts, ruleset, value, severity, key, .. } = &self.began;
        let instance = key.get("instance").and_then(serde_json::Value::as_str).unwrap_or_default();
        let summary =
            format!("instance {instance} {why}; what it said before is taken to be over: {rule}");
        let end = Decision {
            id: hex(&format!("{RESOLVED}\u{1f}{id}")),
            severity: *severity,
            summary,
            resolved: Some(Resolved {
                rule: rule.clone(),
                decision: id.clone(),
                since: *ts,
                peak: value.clone().unwrap_or_default(),
            }),
            ..Decision::of_instance(RESOLVED, instance, ruleset, EventTime(now))
        };
        self.over.get_or_insert(end);
    }

    /// As it is kept.
    pub(super) fn text(&self) -> String {
        // What came out of JSON can go back into it.
        serde_json::to_string(self).unwrap_or_default()
    }
}

pub(super) fn key(instance: &str, decision: &str) -> String {
    format!("{PREFIX}{instance}/{decision}")
}

/// What is kept of an instance, by decision. What another hand wrote says nothing.
pub(super) fn entries(
    words: &BTreeMap<String, Vec<u8>>,
    instance: &str,
) -> BTreeMap<String, Entry> {
    let prefix = key(instance, "");
    let own = words.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
    let read = |value: &Vec<u8>| {
        let entry = serde_json::from_slice::<Entry>(value).ok();
        entry.filter(|entry| entry.v == VERSION)
    };
    own.filter_map(|(_, value)| read(value)).map(|entry| (entry.began.id.clone(), entry)).collect()
}

/// What other instances said of themselves, and none of them has repeated since `before`: it has not
/// come back. By key.
pub(super) fn left_behind(
    words: &BTreeMap<String, Vec<u8>>,
    instance: &str,
    before: i64,
) -> BTreeMap<String, Entry> {
    let own = key(instance, "");
    let all = words.range(PREFIX.to_owned()..).take_while(|(key, _)| key.starts_with(PREFIX));
    let others = all.filter(|(key, _)| !key.starts_with(&own));
    let read = |value: &Vec<u8>| serde_json::from_slice::<Entry>(value).ok();
    others
        .filter_map(|(key, value)| Some((key.clone(), read(value)?)))
        .filter(|(_, entry)| entry.v == VERSION && entry.at < before)
        .collect()
}

#[cfg(test)]
mod tests;
