//! The codec of partial aggregates: a head, a table of the rules that occur, and entries whose
//! numbers are told relative to the first one's.
//!
//! Its own codec and not a library's, because a fifth of the detector's instructions went into a
//! general one.

use std::borrow::Cow;

use crate::engine::bytes::{Rest, put, put_signed, put_text};
use crate::engine::partial::{Batch, Entry, EntryMark};
use crate::engine::space::hash_of;
use crate::engine::tally::{Added, PACKED, Values, pack};

const VERSION: u8 = 2;

const HAS_WATERMARK: u8 = 1;
const IDLE: u8 = 2;
const HAS_MOVER: u8 = 4;
/// Those who do not know it know none of the rules either.
const TELLS: u8 = 8;

const REVERSAL: u8 = 1;
const HAS_TO: u8 = 2;

const COUNT: u8 = 1;
const SUM: u8 = 2;
const MAX: u8 = 4;
const VALUES: u8 = 8;

/// Entries on their way to one partition.
#[derive(Debug, Default)]
pub(crate) struct Letter {
    body: Vec<u8>,
    /// Bytes that it is likely to take.
    room: usize,
    entries: u64,
    /// Event time and offset of the first entry.
    base: (i64, i64),
    /// Rules in order of their coming, and by the sender's number the place in there.
    rules: Vec<u64>,
    places: Vec<u32>,
}

impl Letter {
    pub(crate) fn with_room(room: usize) -> Letter {
        Letter { body: Vec::with_capacity(room), room, ..Letter::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Bytes so far, without the head.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    /// Adds an entry. `rules` are the fingerprints that `entry.rule` points into.
    pub(crate) fn push(&mut self, entry: &Entry<'_>, rules: &[u64]) {
        if self.entries == 0 {
            self.base = (entry.ts, entry.mark.offset);
        }
        self.entries += 1;
        let rule = self.place(entry.rule, rules);
        let (ts, offset) = self.base;
        let body = &mut self.body;
        let has_to = !entry.to.is_nothing();
        put(body, u64::from(rule));
        body.push(REVERSAL * u8::from(entry.reversal) + HAS_TO * u8::from(has_to));
        put_text(body, entry.key);
        put_signed(body, entry.step.wrapping_sub(ts));
        put_signed(body, entry.ts.wrapping_sub(ts));
        put_text(body, entry.mark.id);
        put_signed(body, entry.mark.ts.wrapping_sub(ts));
        put_signed(body, entry.mark.offset.wrapping_sub(offset));
        put_added(body, &entry.of);
        if has_to {
            put_added(body, &entry.to);
        }
    }

    /// Lists rules, whether entries are there of them or not.
    pub(crate) fn mention(&mut self, rules: &[u64]) {
        for rule in rules {
            if !self.rules.contains(rule) {
                self.rules.push(*rule);
            }
        }
    }

    fn place(&mut self, rule: u32, rules: &[u64]) -> u32 {
        let at = rule as usize;
        if self.places.len() <= at {
            self.places.resize(at + 1, u32::MAX);
        }
        if self.places[at] == u32::MAX {
            self.places[at] = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
            self.rules.push(rules.get(at).copied().unwrap_or_default());
        }
        self.places[at]
    }

    /// The record: what `head` says, without its entries, and the entries of this letter, which
    /// is empty after.
    pub(crate) fn seal(&mut self, head: &Batch<'_>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128 + self.rules.len() * 8);
        bytes.push(VERSION);
        put_text(&mut bytes, head.topic);
        put_signed(&mut bytes, i64::from(head.partition));
        put(&mut bytes, u64::from(head.partitions));
        bytes.push(
            HAS_WATERMARK * u8::from(head.watermark.is_some())
                + IDLE * u8::from(head.idle)
                + HAS_MOVER * u8::from(head.mover.is_some())
                + TELLS * u8::from(head.tells),
        );
        if let Some(watermark) = head.watermark {
            put_signed(&mut bytes, watermark);
        }
        if let Some(mover) = &head.mover {
            put_text(&mut bytes, mover.id);
            put_signed(&mut bytes, mover.ts);
            put_signed(&mut bytes, mover.offset);
        }
        put_signed(&mut bytes, self.base.0);
        put_signed(&mut bytes, self.base.1);
        put(&mut bytes, self.rules.len() as u64);
        self.rules.iter().for_each(|rule| bytes.extend_from_slice(&rule.to_le_bytes()));
        put(&mut bytes, self.entries);
        self.rules.clear();
        self.places.clear();
        self.entries = 0;
        // The entries make way where they stand: a copy would want fresh memory.
        let mut record = std::mem::replace(&mut self.body, Vec::with_capacity(self.room));
        record.splice(..0, bytes);
        record
    }
}

impl<'a> Batch<'a> {
    /// `None` for a payload of another version or one that is damaged.
    pub(crate) fn decode(payload: &'a [u8]) -> Option<Batch<'a>> {
        let mut rest = Rest(payload);
        if rest.byte()? != VERSION {
            return None;
        }
        let topic = rest.text()?;
        let partition = i32::try_from(rest.signed()?).ok()?;
        let partitions = u32::try_from(rest.number()?).ok()?;
        let flags = rest.byte()?;
        let watermark = (flags & HAS_WATERMARK != 0).then(|| rest.signed());
        let watermark = watermark.map_or(Some(None), |read| read.map(Some))?;
        let mover = if flags & HAS_MOVER != 0 {
            Some(EntryMark { id: rest.text()?, ts: rest.signed()?, offset: rest.signed()? })
        } else {
            None
        };
        let base = (rest.signed()?, rest.signed()?);
        let rules = rest.list(8)?.as_chunks().0;
        let rules: Vec<u64> = rules.iter().map(|rule| u64::from_le_bytes(*rule)).collect();
        let count = usize::try_from(rest.number()?).ok()?;
        // An entry takes more than eight bytes, so that a damaged count asks for no memory.
        let mut entries = Vec::with_capacity(count.min(rest.0.len() / 8));
        for _ in 0..count {
            let entry = rest.entry(base)?;
            if entry.rule as usize >= rules.len() {
                return None;
            }
            entries.push(entry);
        }
        let (idle, tells) = (flags & IDLE != 0, flags & TELLS != 0);
        let rules = Cow::Owned(rules);
        rest.0.is_empty().then_some(Batch {
            topic,
            partition,
            partitions,
            watermark,
            idle,
            tells,
            mover,
            rules,
            entries,
        })
    }
}

impl<'a> Rest<'a> {
    fn added(&mut self) -> Option<Added<'a>> {
        let flags = self.byte()?;
        let mut added = Added::default();
        if flags & COUNT != 0 {
            added.count = self.signed()?;
        }
        if flags & SUM != 0 {
            added.sum = self.signed()?;
        }
        if flags & MAX != 0 {
            added.max = Some(self.signed()?);
        }
        if flags & VALUES != 0 {
            added.values = Values::Packed(self.list(PACKED)?.as_chunks().0);
        }
        Some(added)
    }

    fn entry(&mut self, (ts, offset): (i64, i64)) -> Option<Entry<'a>> {
        let rule = u32::try_from(self.number()?).ok()?;
        let flags = self.byte()?;
        let key = self.text()?;
        Some(Entry {
            rule,
            reversal: flags & REVERSAL != 0,
            key,
            key_hash: hash_of(key),
            step: self.signed()?.wrapping_add(ts),
            ts: self.signed()?.wrapping_add(ts),
            mark: EntryMark {
                id: self.text()?,
                ts: self.signed()?.wrapping_add(ts),
                offset: self.signed()?.wrapping_add(offset),
            },
            of: self.added()?,
            to: if flags & HAS_TO != 0 { self.added()? } else { Added::default() },
        })
    }
}

fn put_added(bytes: &mut Vec<u8>, added: &Added<'_>) {
    bytes.push(
        COUNT * u8::from(added.count != 0)
            + SUM * u8::from(added.sum != 0)
            + MAX * u8::from(added.max.is_some())
            + VALUES * u8::from(!added.values.is_empty()),
    );
    if added.count != 0 {
        put_signed(bytes, added.count);
    }
    if added.sum != 0 {
        put_signed(bytes, added.sum);
    }
    if let Some(max) = added.max {
        put_signed(bytes, max);
    }
    if !added.values.is_empty() {
        put(bytes, added.values.len() as u64);
        added.values.iter().for_each(|(hash, ts)| bytes.extend_from_slice(&pack(hash, ts)));
    }
}

#[cfg(test)]
mod tests;
