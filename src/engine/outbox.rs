//! What waits for the owners of keys that cross partitions, combined by rule, key and step.
//!
//! Texts stand in two long strings that are cleared at each flush, and the event behind an entry
//! is noted by number: folding an event into an entry that waits allocates nothing.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use crate::engine::index::{Index, half};
use crate::engine::partial::{Entry, EntryMark, Slot};
use crate::engine::space::{Key, is_same};
use crate::engine::tally::{Added, NOTHING, PACKED, Tally, Values};
use crate::near::near;

/// Beyond so many distinct values an entry keeps an index of them.
const VALUES_SCAN_MAX: usize = 16;

#[derive(Debug, Clone, Default)]
pub(crate) struct Pending {
    entries: Vec<Waiting>,
    index: Index,
    /// The entry that a rule added to last, by place of the rule: a global rule finds it there.
    latest: Vec<u32>,
    keys: String,
    ids: String,
    marks: Vec<Mark>,
    /// Fingerprints, by place of the rule.
    rules: Vec<u64>,
}

/// An entry as it waits: one line of the cache.
#[derive(Debug, Clone)]
#[repr(align(64))]
struct Waiting {
    key_hash: u64,
    step: i64,
    /// What it holds, unless that is [`Holds::Much`], and the latest event time of the entry,
    /// which a value has for its own.
    one: (u64, i64),
    holds: Holds,
    reversal: bool,
    /// Place of the rule in its set.
    rule: u32,
    key: (u32, u32),
    mark: u32,
    more: Option<Box<More>>,
}

const _: () = assert!(size_of::<Waiting>() == 64);

/// What most entries bring is one number, or one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    Count,
    Sum,
    Max,
    Value,
    /// Anything else: it stands in [`More`].
    Much,
}

/// What few entries need: several numbers, many values, the other side of a ratio.
#[derive(Debug, Clone, Default)]
struct More {
    of: Many,
    to: Many,
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
        let values: usize = self.entries.iter().map(Waiting::values).sum();
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
        let values: usize = self.entries.iter().map(Waiting::values).sum();
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
            let mut entry = Waiting {
                key_hash: slot.key.hash,
                step: slot.step,
                one: (0, ts),
                holds: Holds::Nothing,
                reversal: slot.reversal,
                rule: number(slot.at),
                key: append(&mut self.keys, slot.key.text),
                mark,
                more: None,
            };
            let saturated = entry.add(of, to, ts);
            self.entries.push(entry);
            return saturated;
        };
        entry.mark = mark;
        entry.add(of, to, ts)
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
        let (entries, keys) = (&self.entries, &self.keys);
        let same = |at: u32| {
            let entry = entries.get(at as usize);
            entry.is_some_and(|entry| {
                entry.key_hash == slot.key.hash
                    && slot.is(entry.rule, entry.step, entry.reversal)
                    && is_same(text(keys, entry.key), slot.key.text)
            })
        };
        let latest = &mut self.latest[slot.at];
        if same(*latest) {
            return *latest;
        }
        let hash = half(slot.hash());
        *latest = self.index.find(hash, same).unwrap_or_else(|| {
            let at = number(entries.len());
            self.index.insert(hash, at);
            at
        });
        *latest
    }

    /// Brings the line near where an entry of this hash would be noted.
    pub(crate) fn near_index(&self, hash: u64) {
        self.index.near(half(hash));
    }

    /// Brings the entry near that most likely has this hash; its place.
    pub(crate) fn near(&self, hash: u64) -> Option<u32> {
        let at = self.index.find(half(hash), |_| true)?;
        near(self.entries.get(at as usize)?);
        Some(at)
    }

    /// Brings the key of an entry near, with whose text others are compared.
    pub(crate) fn near_key(&self, at: u32) {
        let entry = self.entries.get(at as usize);
        if let Some(byte) = entry.and_then(|entry| self.keys.as_bytes().get(entry.key.0 as usize)) {
            near(byte);
        }
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
            ts: waiting.one.1,
            of: waiting.of(),
            to: to.unwrap_or_default(),
            mark: self.event(waiting.mark),
        }
    }
}

impl Holds {
    /// What `added` is, at this event time, if it is one number or one value at most; and which.
    fn one(added: &Added<'_>, ts: i64) -> Option<(Holds, u64)> {
        let Added { count, sum, max, values } = *added;
        match (count, sum, max, values.len()) {
            (0, 0, None, 0) => Some((Holds::Nothing, 0)),
            (count, 0, None, 0) => Some((Holds::Count, count.cast_unsigned())),
            (0, sum, None, 0) => Some((Holds::Sum, sum.cast_unsigned())),
            (0, 0, Some(max), 0) => Some((Holds::Max, max.cast_unsigned())),
            (0, 0, None, 1) => {
                let (value, last) = values.iter().next()?;
                (last == ts).then_some((Holds::Value, value))
            }
            _ => None,
        }
    }
}

impl Waiting {
    /// Distinct values held.
    fn values(&self) -> usize {
        match self.holds {
            Holds::Value => 1,
            Holds::Much => self.of().values.len(),
            Holds::Nothing | Holds::Count | Holds::Sum | Holds::Max => 0,
        }
    }

    fn of(&self) -> Added<'_> {
        let number = self.one.0.cast_signed();
        match self.holds {
            Holds::Nothing => NOTHING,
            Holds::Count => Added { count: number, ..NOTHING },
            Holds::Sum => Added { sum: number, ..NOTHING },
            Holds::Max => Added { max: Some(number), ..NOTHING },
            Holds::Value => {
                Added { values: Values::Pairs(std::slice::from_ref(&self.one)), ..NOTHING }
            }
            Holds::Much => self.more.as_ref().map_or(NOTHING, |more| more.of.tally.view()),
        }
    }

    /// Adds what counts at `ts`; true when a sum saturated.
    fn add(&mut self, of: &Added<'_>, to: &Added<'_>, ts: i64) -> bool {
        let mut saturated = self.add_one(of, ts).unwrap_or_else(|| {
            if self.holds != Holds::Much {
                let tally = Tally::new(&self.of());
                self.more.get_or_insert_default().of.tally = tally;
                self.holds = Holds::Much;
            }
            self.more.get_or_insert_default().of.add(of)
        });
        self.one.1 = self.one.1.max(ts);
        if !to.is_nothing() {
            saturated |= self.more.get_or_insert_default().to.add(to);
        }
        saturated
    }

    /// Adds to the one number or value; `None`, and nothing is done, when it does not stay one.
    fn add_one(&mut self, of: &Added<'_>, ts: i64) -> Option<bool> {
        let (holds, one) = Holds::one(of, ts)?;
        let (known, last) = self.one;
        let number = (known.cast_signed(), one.cast_signed());
        let (now, saturated) = match (self.holds, holds) {
            // Its time is that of the entry.
            (Holds::Nothing, Holds::Value) if last <= ts => (one, false),
            (Holds::Value, Holds::Value) if known == one => (one, false),
            (Holds::Value, Holds::Nothing) if ts <= last => return Some(false),
            (Holds::Value | Holds::Much, _) | (_, Holds::Value | Holds::Much) => return None,
            (_, Holds::Nothing) => return Some(false),
            (Holds::Nothing, _) => (one, false),
            (Holds::Count, Holds::Count) => ((number.0 + number.1).cast_unsigned(), false),
            (Holds::Max, Holds::Max) => (number.0.max(number.1).cast_unsigned(), false),
            (Holds::Sum, Holds::Sum) => {
                let over = number.0.checked_add(number.1).is_none();
                (number.0.saturating_add(number.1).cast_unsigned(), over)
            }
            _ => return None,
        };
        (self.one.0, self.holds) = (now, holds);
        Some(saturated)
    }
}

impl Many {
    fn add(&mut self, added: &Added<'_>) -> bool {
        if self.tally.values.len() + added.values.len() <= VALUES_SCAN_MAX {
            self.tally.add(added)
        } else {
            add_many(&mut self.tally, &mut self.known, added)
        }
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
