//! What the log of told notices says: which lines of which decisions a receiver has taken (N4).
//! Pure.
//!
//! The commit of an offset says the same, but only now and then; what has been told since is
//! found here after a crash. Entries go by the decision's id, so that a topic of decisions that
//! begins anew has nothing to do with them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::notice::{DIRECT, HELD, LINES, Notice, line};

const VERSION: u32 = 1;
/// Of one record: some 180 kB, where brokers take 1 MB.
const IDS_MAX: usize = 5_000;
/// Decisions kept in mind: some 30 MB. The oldest are forgotten first, and may be told again.
const KEPT_MAX: usize = 200_000;

/// One record.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    v: u32,
    receiver: String,
    /// Which of a decision's lines → ids of decisions.
    told: BTreeMap<u64, Vec<String>>,
    /// Partition of the topic of decisions → the last offset that is told of.
    to: BTreeMap<i32, i64>,
}

/// The records that say that a notice has arrived; none for one that tells of no decision.
pub(super) fn records(notice: &Notice) -> Vec<String> {
    let lines: Vec<(u64, &String)> =
        notice.tickets.iter().map(|ticket| ticket % LINES).zip(&notice.ids).collect();
    let places = notice.links.places();
    let record = |some: &[(u64, &String)]| {
        let mut told: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (kind, id) in some {
            told.entry(*kind).or_default().push((*id).clone());
        }
        let to = places.clone();
        let record = Record { v: VERSION, receiver: notice.receiver.clone(), told, to };
        // Maps of strings and integers can always be written.
        serde_json::to_string(&record).unwrap_or_default()
    };
    lines.chunks(IDS_MAX).map(record).collect()
}

/// What was told between the last commit and a crash.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Decision → its lines.
    lines: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    order: VecDeque<Arc<str>>,
    /// Partition of the topic of decisions → the last offset that is told of.
    reach: BTreeMap<i32, i64>,
}

impl Told {
    /// Takes in a record; one of another hand says nothing.
    pub(super) fn take(&mut self, value: &[u8]) {
        let record = serde_json::from_slice::<Record>(value).ok();
        let Some(record) = record.filter(|record| record.v == VERSION) else { return };
        for (kind, ids) in record.told {
            // Who has taken a notice waits for it on neither of the two.
            let kinds = if kind <= HELD { vec![DIRECT, HELD] } else { vec![kind] };
            let names: Vec<Arc<str>> =
                kinds.into_iter().map(|kind| Arc::from(line(kind, &record.receiver))).collect();
            for id in ids {
                self.keep(Arc::from(id), &names);
            }
        }
        for (partition, offset) in record.to {
            let reach = self.reach.entry(partition).or_insert(offset);
            *reach = offset.max(*reach);
        }
    }

    fn keep(&mut self, id: Arc<str>, names: &[Arc<str>]) {
        if !self.lines.contains_key(&id) {
            self.order.push_back(Arc::clone(&id));
        }
        let lines = self.lines.entry(id).or_default();
        for name in names {
            if !lines.contains(name) {
                lines.push(Arc::clone(name));
            }
        }
        if self.order.len() > KEPT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.lines.remove(&oldest);
        }
    }

    /// Whether anything of a decision was told.
    pub(super) fn knows(&self, decision: &str) -> bool {
        self.lines.contains_key(decision)
    }

    pub(super) fn has(&self, line: &str, decision: &str) -> bool {
        let lines = self.lines.get(decision);
        lines.is_some_and(|lines| lines.iter().any(|name| **name == *line))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The last offset of a partition that is told of.
    pub(super) fn reach(&self, partition: i32) -> Option<i64> {
        self.reach.get(&partition).copied()
    }
}

#[cfg(test)]
mod tests;
