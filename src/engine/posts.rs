//! What events bring to keys that cross partitions, each event by itself, as a backtest wants it:
//! what the records of a flush after each would say, without the bytes in between.
//!
//! One event brings a rule and key one entry at most, so that nothing is to be combined, and all
//! its entries share the event and the few keys that it has.

use std::sync::Arc;

use crate::engine::Origin;
use crate::engine::ahead::Hashes;
use crate::engine::keyed::Contribution;
use crate::engine::outbox::{append, number, text};
use crate::engine::partial::{self, EntryMark};
use crate::engine::plan::{KeyForm, Plan};
use crate::engine::space::{Key, is_same};
use crate::engine::tally::{Added, NOTHING, Values};
use crate::engine::view::View;
use crate::event::Event;
use crate::rule::Measure;

/// Partial aggregates of one event after the other.
#[derive(Debug, Clone, Default)]
pub struct Posts {
    topic: Arc<str>,
    partition: i32,
    /// Of the keys and of the ids of events.
    texts: String,
    keys: Vec<PostedKey>,
    /// Keys of forms that have few, each once.
    few: Vec<PostedKey>,
    entries: Vec<Posted>,
    /// Events that moved the watermark before the one at hand.
    marks: Vec<Mark>,
    seals: Vec<Seal>,
    /// By key form: the number of the key that an event had, and how many seals there were then.
    latest: Vec<(u32, u32)>,
    /// Number of entries at the last seal.
    sealed: u32,
    /// The event at hand is plain, and this the number of its posting.
    plain: Option<u32>,
}

/// The end of what one event brought.
#[derive(Debug, Clone, Copy)]
struct Seal {
    /// Numbers of entries and of keys up to here.
    end: u32,
    keys: u32,
    /// Of its posting, if it brings something plainly: see [`Posting`](crate::engine::posting::Posting).
    plain: Option<u32>,
    watermark: Option<i64>,
    mover: Mover,
    tag: u32,
}

/// The event that moved the watermark last.
#[derive(Debug, Clone, Copy)]
enum Mover {
    Nobody,
    /// The one that is sealed.
    Own,
    /// Its number among those that are marked.
    Other(u32),
}

/// The events that were stepped over, found by the tags of their seals.
pub trait Events<'e> {
    fn event(&self, tag: u32) -> Option<PostedEvent<'_, 'e>>;

    /// Brings near what [`Events::event`] will find. Optional.
    fn near(&self, tag: u32) {
        let _ = tag;
    }
}

/// An event that was stepped over, its hashes, and its offset.
#[derive(Debug, Clone, Copy)]
pub struct PostedEvent<'a, 'e> {
    pub event: &'a Event<'e>,
    pub hashes: &'a Hashes,
    pub offset: i64,
}

impl<'a> PostedEvent<'a, '_> {
    /// Its key of a form; `None` where it lacks that, and of one that is composed.
    #[inline]
    fn key(&self, plan: &Plan, space: usize) -> Option<Key<'a>> {
        self.hashes.key(plan.key_forms[space], self.event)
    }
}

#[derive(Debug, Clone, Copy)]
struct PostedKey {
    hash: u64,
    text: (u32, u32),
    space: u32,
}

/// What an event brings to one rule and key.
#[derive(Debug, Clone, Copy)]
struct Posted {
    rule: usize,
    /// Its number, with [`FEW`] that among the few.
    key: u32,
    /// Event time at which it counts.
    ts: i64,
    of: Brought,
    to: Brought,
    reversal: bool,
    /// Its place among all that the event brings.
    place: u32,
}

/// Marks the number of one of the few keys.
const FEW: u32 = 1 << 31;
/// The event lacks a field of the key.
const LACKING: u32 = u32::MAX;
/// As many as are looked through.
const FEW_MAX: usize = 64;

/// What one event adds to a measure.
#[derive(Debug, Clone, Copy)]
enum Brought {
    Nothing,
    /// To a count, a sum or a maximum.
    Number(i64),
    /// The hash of a distinct value.
    Value(u64),
}

/// An event that stands for entries, or for a watermark.
#[derive(Debug, Clone, Copy)]
struct Mark {
    id: (u32, u32),
    ts: i64,
    offset: i64,
}

impl PostedKey {
    fn new(space: usize, key: &Key<'_>, texts: &mut String) -> PostedKey {
        PostedKey { hash: key.hash, text: append(texts, key.text), space: number(space) }
    }

    fn key<'a>(&self, posts: &'a Posts) -> Key<'a> {
        Key::hashed(text(&posts.texts, self.text), self.hash)
    }
}

impl Brought {
    fn of(measure: &Measure, added: &Added<'_>) -> Brought {
        match measure {
            Measure::Count => Brought::Number(added.count),
            Measure::SumPoints => Brought::Number(added.sum),
            Measure::MaxPoints => added.max.map_or(Brought::Nothing, Brought::Number),
            Measure::Distinct(_) => added
                .values
                .iter()
                .next()
                .map_or(Brought::Nothing, |(hash, _)| Brought::Value(hash)),
        }
    }

    /// As the measure takes it in; `value` is room for a distinct value.
    fn added(self, ts: i64, value: &mut (u64, i64)) -> Added<'_> {
        match self {
            Brought::Nothing => NOTHING,
            // The measure takes the one that it looks at.
            Brought::Number(n) => Added { count: n, sum: n, max: Some(n), ..NOTHING },
            Brought::Value(hash) => {
                *value = (hash, ts);
                Added { values: Values::Pairs(std::slice::from_ref(value)), ..NOTHING }
            }
        }
    }
}

impl Posts {
    /// How many records of the partials topic these would be.
    pub fn len(&self) -> usize {
        self.seals.len()
    }

    pub fn is_empty(&self) -> bool {
        self.seals.is_empty()
    }

    /// Adds what the event at hand brings to a rule and key.
    pub(crate) fn add(&mut self, plan: &Plan, rule: usize, key: &Key<'_>, what: &Contribution<'_>) {
        let view = View::of(&plan.rule(rule).check);
        let to = view.to.map_or(Brought::Nothing, |measure| Brought::of(measure, what.to));
        let of = Brought::of(view.of, what.of);
        let key = self.number_of(plan, plan.info[rule].space, key);
        let (ts, reversal) = (what.ts, what.reversal);
        self.entries.push(Posted { rule, key, ts, of, to, reversal, place: 0 });
    }

    /// The event at hand brings plainly what the posting of this number says.
    pub(crate) fn post(&mut self, posting: usize) {
        self.plain = Some(number(posting));
    }

    /// The number of an event, which is most likely the one asked for last.
    fn mark_of(&mut self, id: &str, ts: i64, offset: i64) -> u32 {
        if self.marks.last().is_none_or(|mark| mark.offset != offset) {
            let id = append(&mut self.texts, id);
            self.marks.push(Mark { id, ts, offset });
        }
        number(self.marks.len() - 1)
    }

    /// The number of a key of the event at hand, noted once.
    #[inline]
    fn number_of(&mut self, plan: &Plan, space: usize, key: &Key<'_>) -> u32 {
        match self.latest.get(space) {
            Some((known, then)) if *then == number(self.seals.len()) => *known,
            _ => self.key(plan.key_forms[space], space, key),
        }
    }

    /// The number of a key that the event at hand has.
    #[inline(never)]
    fn key(&mut self, form: KeyForm, space: usize, key: &Key<'_>) -> u32 {
        let at =
            form.has_few().then(|| self.one_of_few(space, key)).flatten().unwrap_or_else(|| {
                self.keys.push(PostedKey::new(space, key, &mut self.texts));
                number(self.keys.len() - 1)
            });
        if self.latest.len() <= space {
            self.latest.resize(space + 1, (0, u32::MAX));
        }
        self.latest[space] = (at, number(self.seals.len()));
        at
    }

    fn one_of_few(&mut self, space: usize, key: &Key<'_>) -> Option<u32> {
        let known = self.few.iter().position(|known| {
            (known.hash, known.space as usize) == (key.hash, space)
                && is_same(text(&self.texts, known.text), key.text)
        });
        let at = known.unwrap_or(self.few.len());
        if at == FEW_MAX {
            return None;
        }
        if known.is_none() {
            self.few.push(PostedKey::new(space, key, &mut self.texts));
        }
        Some(number(at) | FEW)
    }

    /// Ends what one event brought, if it brought something, `moved` the watermark, or `anyway`.
    pub(crate) fn seal(
        &mut self,
        watermark: Option<i64>,
        mover: Option<&partial::Mark>,
        (moved, anyway): (bool, bool),
        tag: u32,
    ) {
        let (end, keys) = (number(self.entries.len()), number(self.keys.len()));
        let plain = self.plain.take();
        if !moved && !anyway && plain.is_none() && end == self.sealed {
            return;
        }
        let mover = match mover {
            _ if moved => Mover::Own,
            Some(mover) => Mover::Other(self.mark_of(&mover.id, mover.ts, mover.offset)),
            None => Mover::Nobody,
        };
        self.seals.push(Seal { end, keys, plain, watermark, mover, tag });
        self.sealed = end;
    }

    /// What has been sealed, leaving nothing behind.
    pub(crate) fn take(&mut self, from: &Origin) -> Posts {
        let some = |len: usize| len + len / 8;
        let fresh = Posts {
            topic: from.topic.clone(),
            partition: from.partition,
            // The next piece of an input brings about as much as this one.
            texts: String::with_capacity(some(self.texts.len())),
            keys: Vec::with_capacity(some(self.keys.len())),
            few: Vec::with_capacity(self.few.len()),
            entries: Vec::with_capacity(some(self.entries.len())),
            marks: Vec::with_capacity(some(self.marks.len())),
            seals: Vec::with_capacity(some(self.seals.len())),
            latest: Vec::new(),
            sealed: 0,
            plain: None,
        };
        let taken = std::mem::replace(self, fresh);
        Posts { topic: from.topic.clone(), partition: from.partition, ..taken }
    }

    fn event(&self, mark: u32) -> EntryMark<'_> {
        let mark = &self.marks[mark as usize];
        EntryMark { id: text(&self.texts, mark.id), ts: mark.ts, offset: mark.offset }
    }
}

mod few;
mod merge;
mod sums;
#[cfg(test)]
mod tests;
