//! What waits for the owners of keys that cross partitions, combined by rule, key and step.
//!
//! Texts stand in two long strings that are cleared at each flush, and the event behind an entry
//! is noted by number: folding an event into an entry that waits allocates nothing.

use std::hint::black_box;

use crate::engine::partial::{Entry, EntryMark, Slot};
use crate::engine::space::Key;
use crate::engine::tally::{Added, PACKED, Tally};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

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

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes that it holds, about.
    pub(crate) fn bytes(&self) -> usize {
        let values: usize = self.entries.iter().map(|entry| entry.of.values.len()).sum();
        let events = self.ids.len() + self.marks.len() * size_of::<Mark>();
        let entry = size_of::<Waiting>() + size_of::<u32>();
        self.keys.len() + events + self.entries.len() * entry + values * size_of::<(u64, i64)>()
    }

    /// Lets go of all entries but these.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Entry<'_>) -> bool) {
        let mut kept = Pending::default();
        for entry in self.entries().filter(|entry| keep(entry)) {
            let slot = Slot {
                at: entry.rule as usize,
                rule: self.rules.get(entry.rule as usize).copied().unwrap_or_default(),
                key: &Key::hashed(entry.key, entry.key_hash),
                step: entry.step,
                reversal: entry.reversal,
                id: entry.mark.id,
                event_ts: entry.mark.ts,
                offset: entry.mark.offset,
            };
            kept.add(&slot, entry.ts, (&entry.of, &entry.to));
        }
        *self = kept;
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

pub(super) fn append(all: &mut String, text: &str) -> (u32, u32) {
    let from = number(all.len());
    all.push_str(text);
    (from, number(all.len()))
}

pub(super) fn text(all: &str, (from, to): (u32, u32)) -> &str {
    all.get(from as usize..to as usize).unwrap_or_default()
}

/// A place in 32 bits: a flush comes long before 4 GiB wait.
pub(super) fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
