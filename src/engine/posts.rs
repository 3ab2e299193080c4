//! What events bring to keys that cross partitions, each event by itself, as a backtest wants it:
//! what the records of a flush after each would say, without the bytes in between.
//!
//! One event brings a rule and key one entry at most, so that nothing is to be combined, and all
//! its entries share the event and the few keys that it has.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::engine::inputs::Told;
use crate::engine::keyed::{At, Contribution};
use crate::engine::outbox::{append, number, text};
use crate::engine::partial::{EntryMark, Mark as Mover};
use crate::engine::plan::{KeyForm, Plan};
use crate::engine::shared::{Brings, Head};
use crate::engine::space::Key;
use crate::engine::state::{Output, State};
use crate::engine::tally::{Added, NOTHING, Values};
use crate::engine::view::View;
use crate::engine::{LOOK_AHEAD, Origin};
use crate::rule::Measure;

/// Partial aggregates of one event after the other.
#[derive(Debug, Clone, Default)]
pub struct Posts {
    topic: Arc<str>,
    partition: i32,
    /// Of the keys and of the ids of events.
    texts: String,
    keys: Vec<PostedKey>,
    entries: Vec<Posted>,
    marks: Vec<Mark>,
    seals: Vec<Seal>,
    /// By key form: one more than the number of the key that the event at hand has, if that is not
    /// below the number of keys at the last seal.
    latest: Vec<u32>,
    /// Numbers of entries and of keys at the last seal.
    sealed: (u32, u32),
}

/// The end of what one event brought.
#[derive(Debug, Clone, Copy)]
struct Seal {
    /// Numbers of entries and of keys up to here.
    end: u32,
    keys: u32,
    /// The event, if it brought entries.
    mark: u32,
    watermark: Option<i64>,
    /// The event that moved the watermark last.
    mover: Option<u32>,
    tag: u32,
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
    key: u32,
    /// Event time at which it counts.
    ts: i64,
    of: Brought,
    to: Brought,
    reversal: bool,
}

/// What one event adds to a measure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Brought {
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
    pub(crate) fn add(
        &mut self,
        plan: &Plan,
        rule: usize,
        key: &Key<'_>,
        what: &Contribution<'_>,
        at: &At<'_>,
    ) {
        let view = View::of(&plan.rule(rule).check);
        let to = view.to.map_or(Brought::Nothing, |measure| Brought::of(measure, what.to));
        let brought = [Brought::of(view.of, what.of), to];
        let space = plan.info[rule].space;
        self.push((rule, space, key), (what.ts, what.reversal), brought, at);
    }

    /// The same, where it is known what comes to either side.
    #[inline]
    pub(crate) fn push(
        &mut self,
        (rule, space, key): (usize, usize, &Key<'_>),
        (ts, reversal): (i64, bool),
        [of, to]: [Brought; 2],
        at: &At<'_>,
    ) {
        if self.marks.last().is_none_or(|mark| mark.offset != at.offset) {
            self.mark(at.id, at.ts, at.offset);
        }
        let known = self.latest.get(space).filter(|known| **known > self.sealed.1);
        let key = match known {
            Some(known) => *known - 1,
            None => self.key(space, key),
        };
        self.entries.push(Posted { rule, key, ts, of, to, reversal });
    }

    /// The number of a key that the event at hand has.
    #[inline(never)]
    fn key(&mut self, space: usize, key: &Key<'_>) -> u32 {
        if self.latest.len() <= space {
            self.latest.resize(space + 1, 0);
        }
        let next = number(self.keys.len());
        self.latest[space] = next + 1;
        let text = append(&mut self.texts, key.text);
        self.keys.push(PostedKey { hash: key.hash, text, space: number(space) });
        next
    }

    /// Notes an event.
    #[inline(never)]
    fn mark(&mut self, id: &str, ts: i64, offset: i64) {
        let id = append(&mut self.texts, id);
        self.marks.push(Mark { id, ts, offset });
    }

    /// Ends what one event brought, if it brought entries, or `moved` asks for it anyway.
    pub(crate) fn seal(
        &mut self,
        watermark: Option<i64>,
        mover: Option<&Mover>,
        moved: bool,
        tag: u32,
    ) {
        let (end, keys) = (number(self.entries.len()), number(self.keys.len()));
        if !moved && end <= self.sealed.0 {
            return;
        }
        let last = |posts: &Posts| number(posts.marks.len().saturating_sub(1));
        let mark = last(self);
        let mover = mover.map(|mover| {
            // Most likely the event at hand.
            if self.marks.last().is_none_or(|mark| mark.offset != mover.offset) {
                self.mark(&mover.id, mover.ts, mover.offset);
            }
            last(self)
        });
        self.seals.push(Seal { end, keys, mark, watermark, mover, tag });
        self.sealed = (end, keys);
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
            entries: Vec::with_capacity(some(self.entries.len())),
            marks: Vec::with_capacity(some(self.marks.len())),
            seals: Vec::with_capacity(some(self.seals.len())),
            latest: Vec::new(),
            sealed: (0, 0),
        };
        let taken = std::mem::replace(self, fresh);
        Posts { topic: from.topic.clone(), partition: from.partition, ..taken }
    }

    fn event(&self, mark: u32) -> EntryMark<'_> {
        let mark = &self.marks[mark as usize];
        EntryMark { id: text(&self.texts, mark.id), ts: mark.ts, offset: mark.offset }
    }
}

/// What one event brings.
#[derive(Debug)]
struct Post<'a> {
    entries: &'a [Posted],
    mark: EntryMark<'a>,
    /// Number of the first of these keys.
    first: u32,
    keys: SmallVec<[Key<'a>; 6]>,
}

impl<'a> Post<'a> {
    /// From the end of the event before to this one's.
    fn between(posts: &'a Posts, (entries, first): (u32, u32), seal: &Seal) -> Post<'a> {
        let keys = posts.keys.get(first as usize..seal.keys as usize).unwrap_or_default();
        let nobody = EntryMark { id: "", ts: 0, offset: -1 };
        Post {
            entries: posts.entries.get(entries as usize..seal.end as usize).unwrap_or_default(),
            mark: if posts.marks.is_empty() { nobody } else { posts.event(seal.mark) },
            first,
            keys: keys
                .iter()
                .map(|key| Key::hashed(text(&posts.texts, key.text), key.hash))
                .collect(),
        }
    }
}

impl<'a> Brings<'a> for Post<'a> {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn rule(&self, _: &Plan, at: usize) -> Option<usize> {
        Some(self.entries[at].rule)
    }

    fn ts(&self, at: usize) -> i64 {
        self.entries[at].ts
    }

    fn is_reversal(&self, at: usize) -> bool {
        self.entries[at].reversal
    }

    fn mark(&self, _: usize) -> EntryMark<'a> {
        self.mark
    }

    fn take<R>(
        &mut self,
        at: usize,
        taker: impl FnOnce(&mut Key<'a>, &Contribution<'_>) -> R,
    ) -> R {
        let Posted { key, ts, of, to, reversal, .. } = self.entries[at];
        let (mut value, mut other) = ((0, 0), (0, 0));
        let (of, to) = (&of.added(ts, &mut value), &to.added(ts, &mut other));
        let key = &mut self.keys[(key - self.first) as usize];
        taker(key, &Contribution { ts, of, to, reversal })
    }

    fn look_up_again(&mut self) {
        self.keys.iter_mut().for_each(|key| *key = Key::hashed(key.text, key.hash));
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
        let from = self.origin_of(&posts.topic, posts.partition);
        let (mut entries, mut keys) = (0, 0);
        for (at, seal) in posts.seals.iter().enumerate() {
            if at.is_multiple_of(LOOK_AHEAD) {
                self.look_at_posts(plan, posts, entries as usize, at);
            }
            let told = Told { watermark: seal.watermark, idle: false };
            let idle_after_ms = plan.settings.idle_after_ms;
            let watermark = self.inputs.tell(posts.partition, told, 1, None, idle_after_ms);
            let mover = seal.mover.map(|mark| posts.event(mark));
            let head = Head { from: &from, watermark, mover, is_near: true };
            let mut post = Post::between(posts, (entries, keys), seal);
            self.merge_batch(plan, (&head, &mut post), offset, out);
            then(seal.tag, out);
            (entries, keys) = (seal.end, seal.keys);
            offset += 1;
        }
        if let Some(mover) = posts.seals.iter().rev().find_map(|seal| seal.mover) {
            self.note_mover(&from, &posts.event(mover));
        }
    }

    /// Brings near the cells that the next events count in, from entry and seal so and so on. Of
    /// keys that are few they are near anyway.
    fn look_at_posts(&mut self, plan: &Plan, posts: &Posts, begin: usize, seal: usize) {
        let last =
            posts.seals.get(seal..).and_then(|seals| seals.iter().take(LOOK_AHEAD).next_back());
        let end = last.map_or(begin, |seal| seal.end as usize);
        let entries = posts.entries.get(begin..end).unwrap_or_default();
        let keys = entries.iter().filter_map(|entry| {
            let key = posts.keys.get(entry.key as usize)?;
            let form = plan.key_forms.get(key.space as usize)?;
            let few = matches!(form, KeyForm::Global | KeyForm::Source);
            let rules = std::slice::from_ref(&entry.rule);
            (!few).then_some((key.hash, key.space as usize, rules))
        });
        self.keyed.cells.look_at(plan, keys);
    }
}
