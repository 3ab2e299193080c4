//! Changes by people on their way to the states: read from the control topic, applied between
//! two records, and noted in the journal with the next transaction (architecture 4).
//!
//! The journal holds the changes themselves, so that a restore needs nothing that compaction may
//! have taken from the control topic.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::engine::{Act, Change, Holds, Origin};
use crate::stream::plans::{PlanCell, Sets};
use crate::stream::{Failure, Produce, SideRecord, Sink};

/// The version of the journal's records.
const VERSION: u32 = 4;
/// Targets whose holds stand in one record: some 500 bytes each, seldom more than 2,000.
const ACCOUNTS_MAX: usize = 300;
/// A record of the journal is cut at about so many bytes; brokers take 1 MiB.
const RECORD_BYTES: usize = 256 * 1024;

/// A change, and its offset in the control topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) at: i64,
    pub(crate) change: Change,
}

/// A record of the journal: before its record at `offset`, the state of this partition took in
/// these changes, and has now seen the control topic up to `control`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Journaled {
    v: u32,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) control: i64,
    /// How many partitions the events topic had: who acts on a change depends on it.
    pub(crate) partitions: u32,
    pub(crate) changes: Vec<Placed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) begun: Option<Begun>,
}

impl Journaled {
    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        // Plain data with text keys always has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Up to which offset of the control topic its state has seen rule sets: that one included.
    pub(crate) fn seen(&self) -> i64 {
        let begun = self.begun.as_ref().map_or(-1, |begun| begun.at);
        begun.max(self.control - 1)
    }

    /// Reads a record's value.
    ///
    /// # Errors
    /// Why it cannot be used, in words.
    pub fn decode(value: &[u8]) -> Result<Journaled, String> {
        let entry: Journaled = serde_json::from_slice(value).map_err(|error| error.to_string())?;
        match entry.v {
            // In 1 no state begins anew, in 2 no rule has a birth, and in 3 every state begins with
            // the first record; all else is the same.
            1..=VERSION => Ok(entry),
            v => Err(format!("version {v} is not known, only {VERSION}")),
        }
    }
}

/// A state begins anew, with records of its log that were read before, under a rule set that counts
/// otherwise; holds and budgets go over from the one before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// The name of the rule set.
    pub(crate) set: String,
    /// Its offset in the control topic.
    pub(crate) at: i64,
    /// Of several records the first.
    pub(crate) first: bool,
    /// `None` where there was no state before.
    pub(crate) holds: Option<Holds>,
    /// Rules that are new to it: they count from the first record on, and are judged from here on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) armed: Vec<String>,
    /// Since when its rules are in force whose keys cross partitions:
    /// [`Plan::births`](crate::engine::Plan::births).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) births: BTreeMap<String, i64>,
    /// Offset of the first record that it was folded from.
    #[serde(default, skip_serializing_if = "is_first")]
    pub(crate) from: i64,
    /// The same of the rules that are new, where the others came of a snapshot.
    #[serde(default, skip_serializing_if = "is_first")]
    pub(crate) since: i64,
    /// The last rule set before under which nothing was made ready: up to the place where the next was taken in, rules that are not new were judged by its bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Before>,
}

/// A rule set that was in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Before {
    /// Its offset in the control topic, and its name.
    pub(crate) at: i64,
    pub(crate) set: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) births: BTreeMap<String, i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_first(offset: &i64) -> bool {
    *offset == 0
}

/// The rule sets among changes, in order: their offsets and names.
pub(crate) fn rule_sets(changes: &[Placed]) -> impl DoubleEndedIterator<Item = (i64, &str)> {
    changes.iter().filter_map(|placed| match &placed.change.act {
        Act::Rules(rules) => Some((placed.at, rules.set.as_str())),
        _ => None,
    })
}

/// The last rule set among changes: its offset and its name.
pub(crate) fn newest(changes: &[Placed]) -> Option<(i64, &str)> {
    rule_sets(changes).next_back()
}

/// Where a state took changes in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applied<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) partitions: u32,
}

/// The journal's records for changes that a state has just taken in.
pub(crate) fn journal(applied: &Applied<'_>, changes: &[Placed]) -> Vec<Produce> {
    let mut records = Vec::new();
    let mut rest = changes;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|placed| {
            bytes += placed.change.encode().len();
            bytes <= RECORD_BYTES
        });
        let (some, later) = rest.split_at(fits.count().max(1));
        let control = some.last().map_or(0, |placed| placed.at + 1);
        records.push(applied.record(control, some.to_vec(), None));
        rest = later;
    }
    records
}

/// The journal's records for a state that begins anew; it has seen the control topic up to
/// `control`. Its holds may take several.
pub(crate) fn begin(applied: &Applied<'_>, control: i64, mut begun: Begun) -> Vec<Produce> {
    let parts = begun.holds.take().map(|holds| holds.cut(ACCOUNTS_MAX));
    let parts: Vec<Option<Holds>> =
        parts.map_or(vec![None], |parts| parts.into_iter().map(Some).collect());
    let (set, at) = (begun.set.clone(), begun.at);
    let mut next = Some(Begun { first: true, ..begun });
    let rest = Begun { set, at, ..Begun::default() };
    let record = |holds| {
        let begun = next.take().unwrap_or_else(|| rest.clone());
        applied.record(control, Vec::new(), Some(Begun { holds, ..begun }))
    };
    parts.into_iter().map(record).collect()
}

impl<'a> Applied<'a> {
    pub(crate) fn at(origin: &'a Origin, offset: i64, partitions: u32) -> Applied<'a> {
        Applied { topic: &origin.topic, partition: origin.partition, offset, partitions }
    }

    /// What the journal says of changes.
    pub(crate) fn entry(
        &self,
        control: i64,
        changes: Vec<Placed>,
        begun: Option<Begun>,
    ) -> Journaled {
        Journaled {
            v: VERSION,
            topic: self.topic.to_owned(),
            partition: self.partition,
            offset: self.offset,
            control,
            partitions: self.partitions,
            changes,
            begun,
        }
    }

    fn record(&self, control: i64, changes: Vec<Placed>, begun: Option<Begun>) -> Produce {
        let entry = self.entry(control, changes, begun);
        Produce {
            sink: Sink::Journal,
            partition: None,
            key: Some(format!("{}/{}", self.topic, self.partition).into_bytes()),
            value: Some(entry.encode()),
            timestamp_ms: None,
            headers: Vec::new(),
        }
    }
}

/// What the journal says of each partition, in the order in which it happened. Where a partition
/// went back, because its group was set back or its topic made anew, what lay ahead is void.
///
/// # Errors
/// Fatal when a record cannot be read: without it no state would be right.
pub(crate) fn histories(
    records: &[SideRecord],
) -> Result<BTreeMap<(String, i32), Vec<Journaled>>, Failure> {
    let mut histories: BTreeMap<(String, i32), Vec<Journaled>> = BTreeMap::new();
    for record in records {
        let value = record.value.as_deref().unwrap_or_default();
        let entry = Journaled::decode(value).map_err(|error| {
            Failure::Fatal(format!(
                "the journal's record at offset {} cannot be read, {error}: was it written by a \
                 newer version?",
                record.offset
            ))
        })?;
        let history = histories.entry((entry.topic.clone(), entry.partition)).or_default();
        while history.last().is_some_and(|last| last.offset > entry.offset) {
            history.pop();
        }
        history.push(entry);
    }
    Ok(histories)
}

/// The changes that wait for a worker's partitions.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    waiting: VecDeque<Placed>,
    /// The plans of rule sets among them.
    pub(crate) sets: Sets,
    /// Offset to read on from.
    pub(crate) next: i64,
    /// Since when the control topic cannot be read, and why.
    failing: Option<(i64, String)>,
}

impl Desk {
    /// Takes in records as they were read; returns how many of them are no changes, or rule sets
    /// that cannot be used.
    pub(crate) fn take(&mut self, records: Vec<SideRecord>, plans: &PlanCell) -> u64 {
        let mut unreadable = 0;
        for SideRecord { offset, value } in records {
            self.next = offset + 1;
            // Nothing is said where a value was deleted.
            let Some(value) = value else { continue };
            match self.read(&value, plans) {
                Ok(change) => self.waiting.push_back(Placed { at: offset, change }),
                Err(reason) => {
                    unreadable += 1;
                    tracing::error!(offset, reason, "a record of the control topic is no change");
                }
            }
        }
        unreadable
    }

    /// A change; of a rule set the plan is kept, and no text.
    fn read(&mut self, value: &[u8], plans: &PlanCell) -> Result<Change, String> {
        let mut change = Change::decode(value)?;
        if let Act::Rules(rules) = &mut change.act {
            let plan = plans.make(rules).map_err(|faults| format!("faulty rules: {faults}"))?;
            self.sets.insert(rules.set.clone(), plan);
            rules.strip();
        }
        Ok(change)
    }

    /// The changes that a state which has seen the topic up to `from` has not.
    pub(crate) fn since(&self, from: i64) -> Vec<Placed> {
        let first = self.waiting.partition_point(|placed| placed.at < from);
        self.waiting.iter().skip(first).cloned().collect()
    }

    pub(crate) fn has_since(&self, from: i64) -> bool {
        self.waiting.back().is_some_and(|placed| placed.at >= from)
    }

    /// Forgets what all states have taken in.
    pub(crate) fn forget_before(&mut self, from: i64) {
        while self.waiting.front().is_some_and(|placed| placed.at < from) {
            self.waiting.pop_front();
        }
        let waiting = &self.waiting;
        let waits = |set: &String| {
            waiting
                .iter()
                .any(|placed| matches!(&placed.change.act, Act::Rules(rules) if rules.set == *set))
        };
        self.sets.retain(|set, _| waits(set));
    }

    /// Starts over at the offset that the states of an assignment have seen.
    pub(crate) fn reset(&mut self, from: i64) {
        self.waiting.clear();
        self.sets.clear();
        self.next = from;
    }

    /// The topic answers; true when it did not before.
    pub(crate) fn answers(&mut self) -> bool {
        self.failing.take().is_some()
    }

    /// The topic does not answer; true when it did before.
    pub(crate) fn fails(&mut self, reason: String, now_us: i64) -> bool {
        let new = self.failing.is_none();
        let since_us = self.failing.take().map_or(now_us, |(since_us, _)| since_us);
        self.failing = Some((since_us, reason));
        new
    }

    /// Why the topic has not been read for `patience_us`.
    pub(crate) fn trouble(&self, patience_us: i64, now_us: i64) -> Option<&str> {
        let (since_us, reason) = self.failing.as_ref()?;
        (now_us - since_us > patience_us).then_some(reason.as_str())
    }
}

#[cfg(test)]
mod tests;
