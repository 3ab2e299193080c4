//! Partial aggregates: what a partition tells the owner of a key that crosses partitions
//! (architecture 5), and their codec (postcard, one version byte in front).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::engine::Origin;
use crate::engine::inputs::Told;
use crate::engine::outbox::Pending;
use crate::engine::space::Key;
use crate::event::EventTime;

const VERSION: u8 = 1;
/// Size of a record, about: well below what a broker takes by default (1 MB).
const RECORD_MAX: usize = 256 << 10;
/// Bytes of an entry without its texts and values, and of a value, at most.
const ENTRY_SIZE: usize = 80;
const VALUE_SIZE: usize = 20;

/// What some events add to a measure. Reversals take away: negative count and sum.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) count: i64,
    pub(crate) sum: i64,
    pub(crate) max: Option<i64>,
    /// Hashes of distinct values, each with the latest event time it came with.
    pub(crate) values: SmallVec<[(u64, i64); 1]>,
}

impl Tally {
    /// Adds another tally; true when a sum saturated (R19).
    pub(crate) fn add(&mut self, other: &Tally) -> bool {
        for (hash, ts) in &other.values {
            match self.values.iter_mut().find(|(known, _)| known == hash) {
                Some((_, last)) => *last = (*last).max(*ts),
                None => self.values.push((*hash, *ts)),
            }
        }
        self.add_numbers(other)
    }

    /// Adds all but the distinct values.
    pub(crate) fn add_numbers(&mut self, other: &Tally) -> bool {
        let over = self.sum.checked_add(other.sum).is_none();
        self.sum = self.sum.saturating_add(other.sum);
        self.count += other.count;
        self.max = self.max.max(other.max);
        over
    }
}

/// The event that moved a watermark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) id: String,
    pub(crate) ts: i64,
    pub(crate) offset: i64,
}

/// The event that stands for an entry: the last one that went into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryMark<'a> {
    pub(crate) id: &'a str,
    pub(crate) ts: i64,
    pub(crate) offset: i64,
}

/// The combined events of one rule, key and step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry<'a> {
    pub(crate) rule: u64,
    pub(crate) key: &'a str,
    /// Window start, aligned step, or for match rules the offset of the event.
    pub(crate) step: i64,
    pub(crate) reversal: bool,
    /// Greatest event time of the entry (a reversal's: where it nets out).
    pub(crate) ts: i64,
    pub(crate) of: Cow<'a, Tally>,
    pub(crate) to: Cow<'a, Tally>,
    #[serde(borrow)]
    pub(crate) mark: EntryMark<'a>,
}

/// One record of the partials topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch<'a> {
    pub(crate) topic: Cow<'a, str>,
    pub(crate) partition: i32,
    /// How many partitions the topic has.
    pub(crate) partitions: u32,
    pub(crate) watermark: Option<i64>,
    pub(crate) idle: bool,
    /// The event that moved the watermark last.
    pub(crate) mover: Option<Cow<'a, Mark>>,
    #[serde(borrow)]
    pub(crate) entries: Vec<Entry<'a>>,
}

impl<'a> Batch<'a> {
    fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// `None` for a payload of another version or one that is damaged.
    pub(crate) fn decode(payload: &'a [u8]) -> Option<Batch<'a>> {
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
    pub(crate) pending: Pending,
    mover: Option<Mark>,
    /// Watermark that the owners were told last.
    told: Option<i64>,
}

impl PartialsOutbox {
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
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

    /// Lets go of everything that waits: a replay has told it before.
    pub fn clear(&mut self) {
        self.pending.clear();
    }

    /// Encoded records, at least one per destination partition that has entries, or for all of
    /// them when `heartbeat` or the watermark has moved; clears the outbox. `partitions` is the number
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
        let before = Told { watermark: self.told, idle: false };
        let tell_all = self.tell(watermark, heartbeat);
        let mut batches = self.pending.batches(partitions);
        if tell_all {
            for to in 0..partitions {
                batches.entry(to).or_default();
            }
        }
        let told = Told { watermark, idle };
        let mut records = Vec::new();
        for (to, entries) in batches {
            let mut parts = split(entries, RECORD_MAX);
            let last = parts.pop().unwrap_or_default();
            // The watermark comes with the last: it closes windows that the others belong to.
            for part in parts {
                records.push((to, self.batch(from, partitions, before, part).encode()));
            }
            records.push((to, self.batch(from, partitions, told, last).encode()));
        }
        self.pending.clear();
        records
    }

    /// Notes what the owners are told now; true when all of them are to hear of it.
    pub(crate) fn tell(&mut self, watermark: Option<i64>, heartbeat: bool) -> bool {
        let moved = watermark != self.told;
        self.told = watermark;
        heartbeat || moved
    }

    pub(crate) fn batch<'a>(
        &'a self,
        from: &'a Origin,
        partitions: u32,
        told: Told,
        entries: Vec<Entry<'a>>,
    ) -> Batch<'a> {
        Batch {
            topic: Cow::Borrowed(&from.topic),
            partition: from.partition,
            partitions,
            watermark: told.watermark,
            idle: told.idle,
            mover: self.mover.as_ref().map(Cow::Borrowed),
            entries,
        }
    }
}

/// Parts of at most `most` bytes each, about; an entry of more values than fit is taken apart.
fn split(entries: Vec<Entry<'_>>, most: usize) -> Vec<Vec<Entry<'_>>> {
    let mut parts = vec![Vec::new()];
    let mut size = 0;
    let pieces = entries.into_iter().flat_map(|entry| apart(entry, most / VALUE_SIZE));
    for piece in pieces {
        let own = ENTRY_SIZE + piece.key.len() + piece.mark.id.len();
        let own = own + VALUE_SIZE * (piece.of.values.len() + piece.to.values.len());
        if size > 0 && size + own > most {
            parts.push(Vec::new());
            size = 0;
        }
        size += own;
        if let Some(part) = parts.last_mut() {
            part.push(piece);
        }
    }
    parts
}

/// The entry itself, or pieces with at most so many distinct values; count and sum go with the
/// first.
fn apart(mut entry: Entry<'_>, values_max: usize) -> Vec<Entry<'_>> {
    if entry.of.values.len() <= values_max {
        return vec![entry];
    }
    let values = std::mem::take(&mut entry.of.to_mut().values);
    let mut pieces = Vec::new();
    for values in values.chunks(values_max.max(1)) {
        let mut piece = entry.clone();
        piece.of.to_mut().values = values.into();
        pieces.push(piece);
        (entry.of, entry.to) = (Cow::default(), Cow::default());
    }
    pieces
}

/// Where an entry belongs, and the event that brings it.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    /// Place of the rule in its set.
    pub(crate) at: usize,
    pub(crate) rule: u64,
    pub(crate) key: &'a Key<'a>,
    pub(crate) step: i64,
    pub(crate) reversal: bool,
    pub(crate) id: &'a str,
    pub(crate) event_ts: i64,
    pub(crate) offset: i64,
}

impl Slot<'_> {
    pub(crate) fn hash(&self) -> u64 {
        let step = self.step.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.key.hash ^ self.rule.rotate_left(21) ^ step ^ u64::from(self.reversal)
    }

    pub(crate) fn is(&self, rule: u64, step: i64, reversal: bool) -> bool {
        rule == self.rule && step == self.step && reversal == self.reversal
    }
}

/// The partition of the partials topic that owns a key, from the hash of its text: by the text
/// alone, so that all holds of a target live in one place.
pub(crate) fn owner_of(key_hash: u64, partitions: u32) -> u32 {
    u32::try_from(key_hash % u64::from(partitions.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests;
