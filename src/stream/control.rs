//! Changes by people on their way to the states: read from the control topic, applied between
//! two transactions, and noted in the journal in the next one (architecture 4).
//!
//! The journal holds the changes themselves, so that a restore needs nothing that compaction may
//! have taken from the control topic.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::engine::Change;
use crate::stream::{Failure, Produce, SideRecord, Sink};

/// The version of the journal's records.
const VERSION: u32 = 1;
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
pub(crate) struct Journaled {
    v: u32,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) control: i64,
    /// How many partitions the events topic had: who acts on a change depends on it.
    pub(crate) partitions: u32,
    pub(crate) changes: Vec<Placed>,
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
        let entry = Journaled {
            v: VERSION,
            topic: applied.topic.to_owned(),
            partition: applied.partition,
            offset: applied.offset,
            control: some.last().map_or(0, |placed| placed.at + 1),
            partitions: applied.partitions,
            changes: some.to_vec(),
        };
        records.push(Produce {
            sink: Sink::Journal,
            partition: None,
            key: Some(format!("{}/{}", applied.topic, applied.partition).into_bytes()),
            value: Some(serde_json::to_vec(&entry).unwrap_or_default()),
            timestamp_ms: None,
            headers: Vec::new(),
        });
        rest = later;
    }
    records
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
        let entry = serde_json::from_slice::<Journaled>(value)
            .map_err(|error| error.to_string())
            .and_then(|entry| match entry.v {
                VERSION => Ok(entry),
                v => Err(format!("version {v} is not known, only {VERSION}")),
            });
        let entry = entry.map_err(|error| {
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
    /// Offset to read on from.
    pub(crate) next: i64,
    /// Since when the control topic cannot be read, and why.
    failing: Option<(i64, String)>,
}

impl Desk {
    /// Takes in records as they were read; returns how many of them are no changes.
    pub(crate) fn take(&mut self, records: Vec<SideRecord>) -> u64 {
        let mut unreadable = 0;
        for SideRecord { offset, value } in records {
            self.next = offset + 1;
            // Nothing is said where a value was deleted.
            let Some(value) = value else { continue };
            match Change::decode(&value) {
                Ok(change) => self.waiting.push_back(Placed { at: offset, change }),
                Err(reason) => {
                    unreadable += 1;
                    tracing::error!(offset, reason, "a record of the control topic is no change");
                }
            }
        }
        unreadable
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
    }

    /// Starts over at the offset that the states of an assignment have seen.
    pub(crate) fn reset(&mut self, from: i64) {
        self.waiting.clear();
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
