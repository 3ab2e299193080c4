//! Partial aggregates: what a partition tells the owner of a key that crosses partitions
//! (architecture 5).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::engine::Origin;
use crate::engine::history::History;
use crate::engine::inputs::Told;
use crate::engine::outbox::Pending;
use crate::engine::posts::Posts;
use crate::engine::space::Key;
use crate::engine::tally::{Added, PACKED};
use crate::engine::wire::Letter;
use crate::event::EventTime;

/// Size of a record, about: well below what a broker takes by default (1 MB).
pub(crate) const RECORD_MAX: usize = 256 << 10;

/// The event that moved a watermark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) id: String,
    pub(crate) ts: i64,
    pub(crate) offset: i64,
}

impl Mark {
    pub(crate) fn view(&self) -> EntryMark<'_> {
        EntryMark { id: &self.id, ts: self.ts, offset: self.offset }
    }
}

/// The event that stands for an entry: the last one that went into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryMark<'a> {
    pub(crate) id: &'a str,
    pub(crate) ts: i64,
    pub(crate) offset: i64,
}

/// The combined events of one rule, key and step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// Place of the rule's fingerprint in the batch's list.
    pub(crate) rule: u32,
    pub(crate) key: &'a str,
    pub(crate) key_hash: u64,
    /// Window start, aligned step, of caps that forecast the minute, or for match rules the offset
    /// of the event.
    pub(crate) step: i64,
    pub(crate) reversal: bool,
    /// Greatest event time of the entry (a reversal's: where it nets out).
    pub(crate) ts: i64,
    pub(crate) of: Added<'a>,
    pub(crate) to: Added<'a>,
    pub(crate) mark: EntryMark<'a>,
}

/// One record of the partials topic. Its codec is in `engine::wire`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    /// How many partitions the topic has.
    pub(crate) partitions: u32,
    pub(crate) watermark: Option<i64>,
    pub(crate) idle: bool,
    /// With it the partition has told its past of the rules that it lists (R18).
    pub(crate) tells: bool,
    /// The event that moved the watermark last.
    pub(crate) mover: Option<EntryMark<'a>>,
    /// Fingerprints of rules.
    pub(crate) rules: Cow<'a, [u64]>,
    pub(crate) entries: Vec<Entry<'a>>,
}

impl Batch<'_> {
    /// Whether its times may be times of events: windows reckon with them, and a record that is
    /// damaged or that somebody else has written must not end the worker, again and again.
    pub(crate) fn is_sound(&self) -> bool {
        let may = |ts: i64| (0..=EventTime::MAX.0).contains(&ts);
        self.watermark.is_none_or(may)
            && self.mover.is_none_or(|mark| may(mark.ts))
            && self.entries.iter().all(|entry| may(entry.ts) && may(entry.mark.ts))
    }
}

/// Partial aggregates of one partition that wait for the next flush, combined by rule, key
/// and step.
#[derive(Debug, Clone, Default)]
pub struct PartialsOutbox {
    pub(crate) pending: Pending,
    /// Where what each input brings is kept by itself.
    pub(crate) apart: Option<Box<Posts>>,
    mover: Option<Mark>,
    /// Watermark that the owners were told last.
    pub(crate) told: Option<i64>,
    /// Of a state that is made ready for new rules (R18).
    pub(crate) history: Option<Box<History>>,
}

impl PartialsOutbox {
    /// One that keeps apart what each input brings: seal it after each, and take
    /// [`Posts`] from it.
    pub fn apart() -> PartialsOutbox {
        PartialsOutbox { apart: Some(Box::default()), ..PartialsOutbox::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether whatever events bring is posted, each event by itself.
    pub(crate) fn posts(&self) -> bool {
        self.apart.is_some() && self.history.is_none()
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

    /// Ends what the last input brought, in an outbox that keeps inputs apart: it is to be merged
    /// by itself, as after a flush. `tag` names the input to whoever merges. With `heartbeat` it is
    /// told although it brought nothing and did not move the watermark.
    pub fn seal(&mut self, watermark: Option<EventTime>, heartbeat: bool, tag: u32) {
        let watermark = watermark.map(|watermark| watermark.0);
        let moved = self.tell(watermark, false);
        if let Some(posts) = &mut self.apart {
            posts.seal(watermark, self.mover.as_ref(), (moved, heartbeat), tag);
        }
    }

    /// What has been sealed since the last call; nothing from an outbox that combines.
    pub fn take_posts(&mut self, from: &Origin) -> Posts {
        self.apart.as_mut().map(|posts| posts.take(from)).unwrap_or_default()
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
        let told = Told { watermark, idle };
        let room = self.pending.size() / partitions.max(1) as usize;
        let letter = || (Letter::with_room((room + room / 4).min(RECORD_MAX)), false);
        let mut letters: Vec<(Letter, bool)> = (0..partitions).map(|_| letter()).collect();
        let mut records = Vec::new();
        for entry in self.pending.entries() {
            let to = owner_of(entry.key_hash, partitions);
            let (letter, begun) = &mut letters[to as usize];
            *begun = true;
            for piece in apart(&entry, RECORD_MAX / PACKED / 2) {
                if letter.len() + size(&piece) > RECORD_MAX && !letter.is_empty() {
                    // The watermark comes with the last record: it closes windows that the
                    // others belong to.
                    records.push((to, letter.seal(&self.batch(from, partitions, before))));
                }
                letter.push(&piece, self.pending.rules());
            }
        }
        for (to, (letter, begun)) in (0..).zip(&mut letters) {
            if *begun || tell_all {
                records.push((to, letter.seal(&self.batch(from, partitions, told))));
            }
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

    /// A batch without entries.
    pub(crate) fn batch<'a>(&'a self, from: &'a Origin, partitions: u32, told: Told) -> Batch<'a> {
        Batch {
            topic: &from.topic,
            partition: from.partition,
            partitions,
            watermark: told.watermark,
            idle: told.idle,
            tells: false,
            mover: self.mover.as_ref().map(Mark::view),
            rules: Cow::Borrowed(self.pending.rules()),
            entries: Vec::new(),
        }
    }
}

/// Bytes that an entry takes, at most.
pub(crate) fn size(entry: &Entry<'_>) -> usize {
    let numbers = 12 * 10;
    let values = entry.of.values.len() + entry.to.values.len();
    numbers + entry.key.len() + entry.mark.id.len() + values * PACKED
}

/// The entry itself, or pieces with at most so many distinct values on each side, each with its
/// share of both; count and sum go with the first.
pub(crate) fn apart<'a>(entry: &Entry<'a>, values_max: usize) -> impl Iterator<Item = Entry<'a>> {
    let (of, to) = (entry.of, entry.to);
    let pieces = of.values.len().max(to.values.len()).div_ceil(values_max.max(1)).max(1);
    let entry = *entry;
    (0..pieces).map(move |piece| {
        let part = |side: Added<'a>| {
            let border = |piece: usize| side.values.len() * piece / pieces;
            let values = side.values.part(border(piece)..border(piece + 1));
            if piece == 0 { Added { values, ..side } } else { Added { values, ..Added::default() } }
        };
        Entry { of: part(of), to: part(to), ..entry }
    })
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

/// Of an entry: of its key, the fingerprint of its rule, and its step.
pub(crate) fn slot_hash(key_hash: u64, rule: u64, step: i64) -> u64 {
    let step = step.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    key_hash ^ rule.rotate_left(21) ^ step
}

impl Slot<'_> {
    pub(crate) fn hash(&self) -> u64 {
        slot_hash(self.key.hash, self.rule, self.step) ^ u64::from(self.reversal)
    }

    pub(crate) fn is(&self, at: u32, step: i64, reversal: bool) -> bool {
        at as usize == self.at && step == self.step && reversal == self.reversal
    }
}

/// The partition of the partials topic that owns a key, from the hash of its text: by the text
/// alone, so that all holds of a target live in one place.
pub(crate) fn owner_of(key_hash: u64, partitions: u32) -> u32 {
    u32::try_from(key_hash % u64::from(partitions.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests;
