//! What waits for the owners of keys that cross partitions, combined by rule, key and step.
//!
//! Texts stand in two long strings that are cleared at each flush, and the event behind an entry
//! is noted by number: folding an event into an entry that waits allocates nothing.
//!
//! Or what each event brought is sealed by itself, as a backtest wants it ([`Posts`]). One event
//! brings a rule, key and step one entry at most a direction, so that nothing is to be combined.

use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use smallvec::SmallVec;

use crate::engine::partial::{Batch, Entry, EntryMark, Mark as Mover, Slot};
use crate::engine::plan::Plan;
use crate::engine::shared::Arrival;
use crate::engine::state::{Output, State};
use crate::engine::tally::{Added, PACKED, Tally};
use crate::engine::{LOOK_AHEAD, Origin};

/// Beyond so many distinct values an entry keeps an index of them.
const VALUES_SCAN_MAX: usize = 16;

#[derive(Debug, Clone, Default)]
pub(crate) struct Pending {
    entries: Vec<Waiting>,
    index: HashTable<u32>,
    /// The entry that a rule added to last, by place of the rule: a global rule finds it there.
    latest: Vec<u32>,
    keys: String,
    ids: String,
    marks: Vec<Mark>,
    /// Fingerprints, by place of the rule.
    rules: Vec<u64>,
    /// What is sealed, in order; the entries behind the last seal are not.
    seals: Vec<Seal>,
    /// Each input is sealed by itself, so that entries need not be looked for.
    apart: bool,
}

/// The end of what one input brought.
#[derive(Debug, Clone, Copy)]
struct Seal {
    /// Number of entries up to here.
    end: u32,
    watermark: Option<i64>,
    /// The event that moved the watermark last.
    mover: Option<u32>,
    tag: u32,
}

/// An entry as it waits.
#[derive(Debug, Clone)]
struct Waiting {
    hash: u64,
    key_hash: u64,
    step: i64,
    ts: i64,
    /// Place of the rule in its set.
    rule: u32,
    key: (u32, u32),
    mark: u32,
    reversal: bool,
    of: Tally,
    more: Option<Box<More>>,
}

/// What few entries need: the other side of a ratio, and an index of many values.
#[derive(Debug, Clone, Default)]
struct More {
    to: Many,
    known: HashTable<u32>,
}

/// One side of an entry: distinct values with an index of them, once they are many.
#[derive(Debug, Clone, Default)]
struct Many {
    tally: Tally,
    known: HashTable<u32>,
}

/// An event that stands for entries.
#[derive(Debug, Clone, Copy)]
struct Mark {
    id: (u32, u32),
    ts: i64,
    offset: i64,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all entries on the wire, about.
    pub(crate) fn size(&self) -> usize {
        let values: usize = self.entries.iter().map(|entry| entry.of.values.len()).sum();
        self.keys.len() + self.ids.len() + self.entries.len() * 24 + values * PACKED
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.index.clear();
        self.latest.clear();
        self.keys.clear();
        self.ids.clear();
        self.marks.clear();
        self.seals.clear();
    }

    /// Ends what one input brought; true when it brought entries, or `moved` asks for it anyway.
    pub(crate) fn seal(
        &mut self,
        watermark: Option<i64>,
        mover: Option<&Mover>,
        moved: bool,
        tag: u32,
    ) {
        if !self.apart {
            self.index.clear();
            self.latest.clear();
            self.apart = true;
        }
        let sealed = self.seals.last().map_or(0, |seal| seal.end);
        let end = number(self.entries.len());
        if moved || end > sealed {
            let mover = mover.map(|mover| self.mark_of(&mover.id, mover.ts, mover.offset));
            self.seals.push(Seal { end, watermark, mover, tag });
        }
    }

    /// What has been sealed, leaving nothing behind.
    pub(crate) fn take(&mut self) -> Pending {
        let fresh = Pending {
            // The next piece of an input brings about as much as this one.
            entries: Vec::with_capacity(self.entries.len()),
            keys: String::with_capacity(self.keys.len()),
            ids: String::with_capacity(self.ids.len()),
            marks: Vec::with_capacity(self.marks.len()),
            seals: Vec::with_capacity(self.seals.len()),
            rules: self.rules.clone(),
            apart: self.apart,
            ..Pending::default()
        };
        std::mem::replace(self, fresh)
    }

    /// Fingerprints that entries point into.
    pub(crate) fn rules(&self) -> &[u64] {
        &self.rules
    }

    /// Adds an entry, or folds it into the one of the same rule, key, step and direction.
    /// True when a sum saturated.
    pub(crate) fn add(
        &mut self,
        slot: &Slot<'_>,
        ts: i64,
        (of, to): (&Added<'_>, &Added<'_>),
    ) -> bool {
        let mark = self.mark_of(slot.id, slot.event_ts, slot.offset);
        let at = self.place(slot);
        let Some(entry) = self.entries.get_mut(at as usize) else {
            let key = append(&mut self.keys, slot.key.text);
            let to = (!to.is_nothing()).then(|| Tally::new(to));
            let more = to.map(|tally| {
                Box::new(More { to: Many { tally, ..Many::default() }, ..More::default() })
            });
            self.entries.push(Waiting {
                hash: slot.hash(),
                key_hash: slot.key.hash,
                rule: number(slot.at),
                step: slot.step,
                ts,
                key,
                mark,
                reversal: slot.reversal,
                of: Tally::new(of),
                more,
            });
            return false;
        };
        entry.ts = entry.ts.max(ts);
        entry.mark = mark;
        entry.add(of, to)
    }

    /// The number of an event, which is most likely the one asked for last.
    fn mark_of(&mut self, id: &str, ts: i64, offset: i64) -> u32 {
        if self.marks.last().is_none_or(|mark| mark.offset != offset) {
            let id = append(&mut self.ids, id);
            self.marks.push(Mark { id, ts, offset });
        }
        number(self.marks.len() - 1)
    }

    /// Where the slot's entry stands, or comes to stand.
    fn place(&mut self, slot: &Slot<'_>) -> u32 {
        if self.rules.len() <= slot.at {
            self.rules.resize(slot.at + 1, 0);
        }
        self.rules[slot.at] = slot.rule;
        if self.apart {
            return u32::MAX;
        }
        if self.latest.len() <= slot.at {
            self.latest.resize(slot.at + 1, u32::MAX);
        }
        let hash = slot.hash();
        let (entries, keys) = (&self.entries, &self.keys);
        let same = |at: &u32| {
            let entry = entries.get(*at as usize);
            entry.is_some_and(|entry| {
                entry.hash == hash
                    && slot.is(entry.rule, entry.step, entry.reversal)
                    && text(keys, entry.key) == slot.key.text
            })
        };
        let latest = &mut self.latest[slot.at];
        if same(latest) {
            return *latest;
        }
        *latest = match self.index.entry(hash, same, |at| entries[*at as usize].hash) {
            Place::Occupied(place) => *place.get(),
            Place::Vacant(place) => *place.insert(number(entries.len())).get(),
        };
        *latest
    }

    /// Reads the slots where an entry of this hash would stand.
    pub(crate) fn touch_index(&self, hash: u64) {
        self.index.find(hash, |at| {
            black_box(*at);
            false
        });
    }

    /// Reads the entry of this hash.
    pub(crate) fn touch(&self, hash: u64) {
        self.index.find(hash, |at| {
            self.entries.get(*at as usize).is_some_and(|entry| {
                black_box(entry.rule);
                entry.hash == hash
            })
        });
    }

    /// All entries in order of coming.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries.iter().map(|waiting| self.entry(waiting))
    }

    fn event(&self, mark: u32) -> EntryMark<'_> {
        let mark = &self.marks[mark as usize];
        EntryMark { id: text(&self.ids, mark.id), ts: mark.ts, offset: mark.offset }
    }

    fn entry<'a>(&'a self, waiting: &'a Waiting) -> Entry<'a> {
        let to = waiting.more.as_ref().map(|more| more.to.tally.view());
        Entry {
            rule: waiting.rule,
            key: text(&self.keys, waiting.key),
            key_hash: waiting.key_hash,
            step: waiting.step,
            reversal: waiting.reversal,
            ts: waiting.ts,
            of: waiting.of.view(),
            to: to.unwrap_or_default(),
            mark: self.event(waiting.mark),
        }
    }
}

impl Waiting {
    fn add(&mut self, of: &Added<'_>, to: &Added<'_>) -> bool {
        let mut saturated = false;
        if self.of.values.len() + of.values.len() <= VALUES_SCAN_MAX {
            saturated |= self.of.add(of);
        } else {
            let more = self.more.get_or_insert_default();
            saturated |= add_many(&mut self.of, &mut more.known, of);
        }
        if !to.is_nothing() {
            let Many { tally, known } = &mut self.more.get_or_insert_default().to;
            saturated |= add_many(tally, known, to);
        }
        saturated
    }
}

/// Adds to a tally of many values by their index.
fn add_many(tally: &mut Tally, known: &mut HashTable<u32>, added: &Added<'_>) -> bool {
    let values = &mut tally.values;
    if known.is_empty() {
        for (at, (hash, _)) in values.iter().enumerate() {
            known.insert_unique(*hash, number(at), |at| values[*at as usize].0);
        }
    }
    for (hash, ts) in added.values.iter() {
        let same = |at: &u32| values[*at as usize].0 == hash;
        match known.entry(hash, same, |at| values[*at as usize].0) {
            Place::Occupied(at) => {
                let last = &mut values[*at.get() as usize].1;
                *last = (*last).max(ts);
            }
            Place::Vacant(place) => {
                place.insert(number(values.len()));
                values.push((hash, ts));
            }
        }
    }
    tally.add_numbers(added)
}

/// Partial aggregates of one input after the other, each sealed by itself: what the records of a
/// flush after each would say, without the bytes in between.
#[derive(Debug, Clone, Default)]
pub struct Posts {
    pending: Pending,
    topic: Arc<str>,
    partition: i32,
}

impl Posts {
    pub(crate) fn new(pending: Pending, from: &Origin) -> Posts {
        Posts { pending, topic: from.topic.clone(), partition: from.partition }
    }

    /// How many records of the partials topic these would be.
    pub fn len(&self) -> usize {
        self.pending.seals.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pending.seals.is_empty()
    }

    fn batch(&self, seal: &Seal) -> Batch<'_> {
        Batch {
            topic: &self.topic,
            partition: self.partition,
            partitions: 1,
            watermark: seal.watermark,
            idle: false,
            mover: seal.mover.map(|mark| self.pending.event(mark)),
            rules: Cow::Borrowed(&self.pending.rules),
            entries: Vec::new(),
        }
    }
}

impl State {
    /// Merges posts in the place of the owner of all keys: as records of a partials topic, the
    /// first at `offset`. After each, `then` is told the tag of its input.
    pub fn merge_posts(
        &mut self,
        plan: &Plan,
        posts: &Posts,
        mut offset: i64,
        out: &mut Output,
        then: &mut dyn FnMut(u32, &mut Output),
    ) {
        self.prepare(plan);
        let entries: Vec<Entry<'_>> = posts.pending.entries().collect();
        let (mut begin, mut near) = (0, 0);
        for seal in &posts.pending.seals {
            let end = seal.end as usize;
            if near < end {
                let some = entries.get(near..entries.len().min(end.max(near + LOOK_AHEAD)));
                near += self.look_at_entries(plan, some.unwrap_or_default());
            }
            let arrival = Arrival { offset, record_ts: None, is_near: true };
            let own = entries.get(begin..end).unwrap_or_default();
            self.merge_batch(plan, (&posts.batch(seal), own), arrival, out);
            then(seal.tag, out);
            begin = end;
            offset += 1;
        }
    }

    /// Brings near the cells that entries count in; returns how many entries there were.
    fn look_at_entries(&mut self, plan: &Plan, entries: &[Entry<'_>]) -> usize {
        let rules: SmallVec<[(u64, usize); LOOK_AHEAD]> =
            entries.iter().map(|entry| (entry.key_hash, entry.rule as usize)).collect();
        let keys = rules.iter().filter_map(|(hash, rule)| {
            let space = plan.info.get(*rule)?.space;
            Some((*hash, space, std::slice::from_ref(rule)))
        });
        self.keyed.cells.look_at(plan, keys);
        entries.len()
    }
}

fn append(all: &mut String, text: &str) -> (u32, u32) {
    let from = number(all.len());
    all.push_str(text);
    (from, number(all.len()))
}

fn text(all: &str, (from, to): (u32, u32)) -> &str {
    all.get(from as usize..to as usize).unwrap_or_default()
}

/// A place in 32 bits: a flush comes long before 4 GiB wait.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
