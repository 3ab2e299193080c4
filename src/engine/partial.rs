//! Partial aggregates: what a partition tells the owner of a key that crosses partitions
//! (architecture 5), and their codec (postcard, one version byte in front).

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::engine::Origin;
use crate::event::EventTime;

const VERSION: u8 = 1;

/// What some events add to a measure. Reversals take away: negative count and sum.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) count: i64,
    pub(crate) sum: i64,
    pub(crate) max: Option<i64>,
    /// Hashes of distinct values, each with the latest event time it came with.
    pub(crate) values: Vec<(u64, i64)>,
}

impl Tally {
    /// Adds another tally; true when a sum saturated (R19).
    pub(crate) fn add(&mut self, other: &Tally) -> bool {
        let (sum, over) = self.sum.overflowing_add(other.sum);
        self.sum = if over { self.sum.saturating_add(other.sum) } else { sum };
        self.count += other.count;
        self.max = self.max.max(other.max);
        for (hash, ts) in &other.values {
            match self.values.iter_mut().find(|(known, _)| known == hash) {
                Some((_, last)) => *last = (*last).max(*ts),
                None => self.values.push((*hash, *ts)),
            }
        }
        over
    }
}

/// The event that stands for an entry: the last one that went into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) id: String,
    pub(crate) ts: i64,
    pub(crate) offset: i64,
}

/// The combined events of one rule, key and step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) rule: u64,
    pub(crate) key: String,
    /// Window start, aligned step, or for match rules the offset of the event.
    pub(crate) step: i64,
    pub(crate) reversal: bool,
    /// Greatest event time of the entry (a reversal's: where it nets out).
    pub(crate) ts: i64,
    pub(crate) of: Tally,
    pub(crate) to: Tally,
    pub(crate) mark: Mark,
}

/// One record of the partials topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// How many partitions the topic has.
    pub(crate) partitions: u32,
    pub(crate) watermark: Option<i64>,
    pub(crate) idle: bool,
    /// The event that moved the watermark last.
    pub(crate) mover: Option<Mark>,
    pub(crate) entries: Vec<Entry>,
}

impl Batch {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        if let Ok(body) = postcard::to_stdvec(self) {
            bytes.extend_from_slice(&body);
        }
        bytes
    }

    /// `None` for a payload of another version or one that is damaged.
    pub(crate) fn decode(payload: &[u8]) -> Option<Batch> {
        match payload.split_first() {
            Some((&VERSION, body)) => postcard::from_bytes(body).ok(),
            _ => None,
        }
    }
}

/// Partial aggregates of one partition that wait for the next flush, combined by rule, key
/// and step.
#[derive(Debug, Clone, Default)]
pub struct PartialsOutbox {
    entries: Vec<Entry>,
    index: HashTable<u32>,
    mover: Option<Mark>,
    /// Watermark that the owners were told last.
    told: Option<i64>,
}

impl PartialsOutbox {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The event that moved the watermark last.
    pub(crate) fn mover(&self) -> Option<&Mark> {
        self.mover.as_ref()
    }

    pub(crate) fn set_mover(&mut self, id: &str, ts: i64, offset: i64) {
        match &mut self.mover {
            Some(mover) => {
                id.clone_into(&mut mover.id);
                mover.ts = ts;
                mover.offset = offset;
            }
            None => self.mover = Some(Mark { id: id.to_owned(), ts, offset }),
        }
    }

    /// Adds an entry, or folds it into the one of the same rule, key, step and direction.
    /// True when a sum saturated.
    pub(crate) fn add(&mut self, slot: &Slot<'_>, ts: i64, tallies: (&Tally, &Tally)) -> bool {
        let hash = slot.hash();
        let entries = &mut self.entries;
        if let Some(at) = self.index.find(hash, |at| slot.is(&entries[*at as usize])) {
            let entry = &mut entries[*at as usize];
            entry.ts = entry.ts.max(ts);
            slot.id.clone_into(&mut entry.mark.id);
            entry.mark.ts = slot.event_ts;
            entry.mark.offset = slot.offset;
            let of = entry.of.add(tallies.0);
            return entry.to.add(tallies.1) || of;
        }
        let at = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        entries.push(Entry {
            rule: slot.rule,
            key: slot.key.to_owned(),
            step: slot.step,
            reversal: slot.reversal,
            ts,
            of: tallies.0.clone(),
            to: tallies.1.clone(),
            mark: Mark { id: slot.id.to_owned(), ts: slot.event_ts, offset: slot.offset },
        });
        self.index.insert_unique(hash, at, |at| {
            let entry = &entries[*at as usize];
            entry_hash(entry.rule, &entry.key, entry.step, entry.reversal)
        });
        false
    }

    /// Lets go of everything that waits: a replay has told it before.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.index.clear();
    }

    /// Encoded records, one per destination partition that has entries, or for all of them
    /// when `heartbeat` or the watermark has moved; clears the outbox. `partitions` is the number
    /// of partitions of the input topic and of the partials topic alike.
    pub fn drain(
        &mut self,
        from: &Origin,
        watermark: Option<EventTime>,
        partitions: u32,
        idle: bool,
        heartbeat: bool,
    ) -> Vec<(u32, Vec<u8>)> {
        let watermark = watermark.map(|watermark| watermark.0);
        let tell_all = heartbeat || watermark != self.told;
        self.told = watermark;
        self.index.clear();
        let mut batches: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
        for entry in self.entries.drain(..) {
            let to = partition_of(&entry.key, partitions);
            batches.entry(to).or_default().push(entry);
        }
        if tell_all {
            for to in 0..partitions {
                batches.entry(to).or_default();
            }
        }
        let record = |(to, entries)| {
            let batch = Batch {
                topic: from.topic.to_string(),
                partition: from.partition,
                partitions,
                watermark,
                idle,
                mover: self.mover.clone(),
                entries,
            };
            (to, batch.encode())
        };
        batches.into_iter().map(record).collect()
    }
}

/// Where an entry belongs, and the event that brings it.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    pub(crate) rule: u64,
    pub(crate) key: &'a str,
    pub(crate) step: i64,
    pub(crate) reversal: bool,
    pub(crate) id: &'a str,
    pub(crate) event_ts: i64,
    pub(crate) offset: i64,
}

impl Slot<'_> {
    fn hash(&self) -> u64 {
        entry_hash(self.rule, self.key, self.step, self.reversal)
    }

    fn is(&self, entry: &Entry) -> bool {
        entry.rule == self.rule
            && entry.step == self.step
            && entry.reversal == self.reversal
            && entry.key == self.key
    }
}

fn entry_hash(rule: u64, key: &str, step: i64, reversal: bool) -> u64 {
    let key = xxh3_64(key.as_bytes());
    let mixed =
        key ^ rule.rotate_left(21) ^ (step.cast_unsigned()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ u64::from(reversal)
}

/// The partition of the partials topic that owns a key: by key text alone, so that all holds
/// of a target live in one place.
pub fn partition_of(key: &str, partitions: u32) -> u32 {
    let partitions = u64::from(partitions.max(1));
    u32::try_from(xxh3_64(key.as_bytes()) % partitions).unwrap_or(0)
}

/// The topic and partition of a batch as a trigger's origin.
pub(crate) fn origin(batch: &Batch) -> Origin {
    Origin { topic: Arc::from(batch.topic.as_str()), partition: batch.partition }
}
