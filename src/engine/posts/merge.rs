//! Posts merged by the owner of the keys.

use smallvec::SmallVec;

use crate::engine::LOOK_AHEAD;
use crate::engine::inputs;
use crate::engine::keyed::{Contribution, Ctx};
use crate::engine::partial::EntryMark;
use crate::engine::plan::Plan;
use crate::engine::posting::{Many, Told};
use crate::engine::posts::few::Few;
use crate::engine::posts::sums::Sums;
use crate::engine::posts::{
    Brought, Events, FEW, LACKING, Mover, Posted, PostedEvent, Posts, Seal,
};
use crate::engine::routes::Adds;
use crate::engine::shared::{Brings, Head};
use crate::engine::space::Key;
use crate::engine::state::{Output, State};
use crate::engine::table::Cells;
use crate::engine::together::Alike;
use crate::event::Event;
use crate::near::near;

/// What one event brings.
#[derive(Debug)]
struct Post<'a, 'f> {
    entries: &'f [Posted],
    mark: EntryMark<'a>,
    /// Number of the first of these keys.
    first: u32,
    keys: &'f mut [Key<'a>],
    few: &'f mut [Key<'a>],
}

/// Events are asked for, then their keys, then their cells, each while steps go over others.
const STAGES: usize = 3;

/// How far posts have been read, and room for what is read.
#[derive(Debug)]
struct Reading<'a, 'e> {
    /// Numbers of the first entry and key of the next event.
    entry: u32,
    key: u32,
    few: Few<'a>,
    /// The events of these seals and of those after them, some at a time, each time in the next of
    /// these lists; and how many of the first have been read.
    coming: [Vec<Coming<'a, 'e>>; STAGES],
    read: usize,
    /// Of those the plain ones that are alike.
    groups: Vec<Group<'a>>,
    /// Of the next event: its own keys, and what it brings.
    keys: Vec<Key<'a>>,
    entries: Vec<Posted>,
    together: Sums,
}

/// The event of a seal.
#[derive(Debug, Clone, Copy)]
struct Coming<'a, 'e> {
    posted: Option<PostedEvent<'a, 'e>>,
    posting: Option<u32>,
    /// Its group, if it is plain.
    group: Option<usize>,
    /// Of its keys of the first forms that have many: their hashes, and most likely their ids.
    hashes: [Option<u64>; MANY],
    ids: [Option<u32>; MANY],
}

/// Key forms that have many keys, of those that plain events have: devices and addresses.
const MANY: usize = 2;

/// Plain events of one posting and source: they have the same few keys.
#[derive(Debug)]
struct Group<'a> {
    posting: u32,
    source: Option<(u64, &'a str)>,
    /// By key form of the posting the number of the key among the few.
    names: SmallVec<[u32; 4]>,
    /// All of them, and what they bring to rules that take it together.
    sum: Alike,
    /// All of that has been added.
    is_done: bool,
}

impl<'a> Group<'a> {
    #[inline]
    fn is(&self, posting: u32, event: &Event<'_>, hash: Option<u64>) -> bool {
        let source = self.source;
        self.posting == posting
            && source.map(|(hash, _)| hash) == hash
            && source.map(|(_, text)| text) == event.source.as_deref()
    }

    /// One that nothing is in.
    fn new(plan: &Plan, number: u32, posted: &PostedEvent<'a, '_>, few: &mut Few<'a>) -> Group<'a> {
        let spaces = plan.posting_of(Some(number)).map_or(&[][..], |posting| &posting.spaces);
        let names = spaces.iter().map(|space| few.name(plan, *space, posted)).collect();
        let source = posted.hashes.source.zip(posted.event.source.as_deref());
        Group { posting: number, source, names, sum: Alike::default(), is_done: false }
    }
}

impl<'a, 'e> Reading<'a, 'e> {
    fn new(posts: &'a Posts) -> Reading<'a, 'e> {
        Reading {
            entry: 0,
            key: 0,
            few: Few::of(posts),
            coming: Default::default(),
            read: 0,
            groups: Vec::new(),
            keys: Vec::new(),
            entries: Vec::new(),
            together: Sums::default(),
        }
    }

    /// Goes on to the next seals: asks for the events of the latest of those to come, for the keys of
    /// those before, for the rows of those before them, and for the cells of these.
    fn go_on(
        &mut self,
        plan: &Plan,
        cells: &Cells,
        events: &'a impl Events<'e>,
        later: (&[Seal], &[Seal]),
    ) {
        let (later, latest) = later;
        for seal in latest {
            events.near(seal.tag);
        }
        self.coming.rotate_left(1);
        let [these, next, last] = &mut self.coming;
        last.clear();
        last.extend(later.iter().map(|seal| {
            let posted = events.event(seal.tag);
            let mut hashes = [None; MANY];
            for (many, hash) in many_of(plan, seal.plain).iter().zip(&mut hashes) {
                let Some(key) = posted.and_then(|posted| posted.key(plan, many.space)) else {
                    continue;
                };
                *hash = Some(key.hash);
                // The text is compared with that of the row.
                near(key.text);
                cells.spaces[many.space].near_index(key.hash);
            }
            Coming { posted, posting: seal.plain, group: None, hashes, ids: [None; MANY] }
        }));
        for coming in next {
            let Coming { posting, hashes, ids, .. } = coming;
            for ((many, hash), id) in many_of(plan, *posting).iter().zip(hashes).zip(ids) {
                let space = &cells.spaces[many.space];
                *id = hash.and_then(|hash| space.guess(hash));
                if let Some(id) = id {
                    space.near(*id, &many.seats);
                }
            }
        }
        cells.near_cells(these.iter().flat_map(|coming| {
            let ids = many_of(plan, coming.posting).iter().zip(coming.ids);
            ids.filter_map(|(many, id)| Some((id?, many.space, many.seats.as_slice())))
        }));
    }

    /// Puts those of these events together that are alike.
    fn group(&mut self, plan: &Plan) {
        self.groups.clear();
        self.read = 0;
        let [these, ..] = &mut self.coming;
        for Coming { posted, posting, group, .. } in these {
            *group = posting.zip(*posted).map(|(posting, posted)| {
                let PostedEvent { event, hashes, .. } = posted;
                let is_it = |group: &Group<'_>| group.is(posting, event, hashes.source);
                let at = self.groups.iter().position(is_it).unwrap_or_else(|| {
                    self.groups.push(Group::new(plan, posting, &posted, &mut self.few));
                    self.groups.len() - 1
                });
                self.groups[at].sum.add(event.ts.0, event.points);
                at
            });
        }
    }

    /// Reads what an event brings, in rule order but for what reversals bring, which comes last.
    fn next<'f>(&'f mut self, plan: &Plan, posts: &'a Posts, seal: &Seal) -> Post<'a, 'f> {
        let range = |from: u32, to: u32| from as usize..to as usize;
        let own = posts.keys.get(range(self.key, seal.keys)).unwrap_or_default();
        self.keys.clear();
        self.keys.extend(own.iter().map(|key| key.key(posts)));
        let mut looked_at = posts.entries.get(range(self.entry, seal.end)).unwrap_or_default();
        let first = std::mem::replace(&mut self.key, seal.keys);
        self.entry = seal.end;
        self.entries.clear();
        let coming = self.coming[0].get(self.read).copied();
        self.read += 1;
        let posted = coming.and_then(|coming| coming.posted);
        let group = coming.and_then(|coming| self.groups.get(coming.group?));
        let mut place = 0;
        if let (Some(posting), Some(posted), Some(group)) =
            (plan.posting_of(seal.plain), posted, group)
        {
            let mut names: SmallVec<[u32; 4]> = SmallVec::from_slice(&group.names);
            let mut lacks = false;
            let ids = coming.map_or([None; MANY], |coming| coming.ids);
            let mut many = 0;
            for (name, space) in names.iter_mut().zip(&posting.spaces) {
                if *name == LACKING {
                    let has_many = !plan.key_forms[*space].has_few();
                    let id = ids.get(many).copied().flatten().filter(|_| has_many);
                    many += usize::from(has_many);
                    let Some(key) = posted.key(plan, *space) else {
                        lacks = true;
                        continue;
                    };
                    *name = seal.keys + count(self.keys.len() - own.len());
                    self.keys.push(Key::guessed(key.text, key.hash, id));
                }
            }
            if group.is_done && !lacks && looked_at.is_empty() {
                for (place, told) in &posting.apart {
                    let entry = posted.entry(told, names[told.space]);
                    self.entries.push(Posted { place: *place, ..entry });
                }
            } else {
                for told in &posting.told {
                    let before = |entry: &&Posted| entry.rule < told.rule && !entry.reversal;
                    while let Some((entry, rest)) =
                        looked_at.split_first().filter(|all| before(&all.0))
                    {
                        self.entries.push(Posted { place, ..*entry });
                        place += 1;
                        looked_at = rest;
                    }
                    let name = names[told.space];
                    if name == LACKING {
                        continue;
                    }
                    if !self.together.is_done(told, name) {
                        self.entries.push(Posted { place, ..posted.entry(told, name) });
                    }
                    place += 1;
                }
            }
        }
        self.entries
            .extend((place..).zip(looked_at).map(|(place, entry)| Posted { place, ..*entry }));
        let nobody = EntryMark { id: "", ts: 0, offset: -1 };
        let mark = posted.map_or(nobody, |posted| posted.mark());
        let Reading { entries, keys, few, .. } = self;
        Post { entries, mark, first, keys, few: &mut few.keys }
    }
}

/// Key forms of a posting that have many keys.
fn many_of(plan: &Plan, posting: Option<u32>) -> &[Many] {
    plan.posting_of(posting).map_or(&[], |posting| &posting.many)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl<'a> PostedEvent<'a, '_> {
    fn mark(&self) -> EntryMark<'a> {
        EntryMark { id: &self.event.id, ts: self.event.ts.0, offset: self.offset }
    }

    /// What it brings to a rule.
    #[inline]
    fn entry(&self, told: &Told, key: u32) -> Posted {
        let brought = |adds: Option<Adds>| match adds {
            None => Brought::Nothing,
            Some(Adds::One) => Brought::Number(1),
            Some(Adds::Points) => Brought::Number(self.event.points),
            Some(Adds::User) => Brought::Value(self.hashes.user),
        };
        let (of, to) = (brought(told.of), brought(told.to));
        let ts = self.event.ts.0;
        Posted { rule: told.rule, key, ts, of, to, reversal: false, place: 0 }
    }
}

impl<'a> Brings<'a> for Post<'a, '_> {
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

    fn place(&self, at: usize) -> usize {
        self.entries[at].place as usize
    }

    fn take<R>(
        &mut self,
        at: usize,
        taker: impl FnOnce(&mut Key<'a>, &Contribution<'_>) -> R,
    ) -> R {
        let Posted { ts, of, to, reversal, .. } = self.entries[at];
        let (mut value, mut other) = ((0, 0), (0, 0));
        let (of, to) = (&of.added(ts, &mut value), &to.added(ts, &mut other));
        self.with_key(at, |key| taker(key, &Contribution { ts, of, to, reversal }))
    }

    #[inline]
    fn value(&self, at: usize) -> Option<u64> {
        match self.entries[at] {
            Posted { of: Brought::Value(value), reversal: false, .. } => Some(value),
            _ => None,
        }
    }

    #[inline]
    fn with_key<R>(&mut self, at: usize, taker: impl FnOnce(&mut Key<'a>) -> R) -> R {
        let key = self.entries[at].key;
        taker(match key & FEW {
            0 => &mut self.keys[(key - self.first) as usize],
            _ => &mut self.few[(key & !FEW) as usize],
        })
    }
}

impl State {
    /// Merges posts in the place of the owner of all keys: as records of a partials topic, the
    /// first at `offset`. `events` are those that were stepped over; after what each brings, `then` is
    /// told the tag of its input.
    pub fn merge_posts<'e>(
        &mut self,
        plan: &Plan,
        (posts, events): (&Posts, &impl Events<'e>),
        mut offset: i64,
        out: &mut Output,
        then: &mut dyn FnMut(u32, &mut Output),
    ) {
        self.prepare(plan);
        let from = self.origin_of(&posts.topic, posts.partition);
        let mut reading = Reading::new(posts);
        let some = |at: usize| posts.seals.chunks(LOOK_AHEAD).nth(at).unwrap_or_default();
        for at in 1..STAGES {
            reading.go_on(plan, &self.keyed.cells, events, (some(at - 1), some(at)));
        }
        for (at, seals) in posts.seals.chunks(LOOK_AHEAD).enumerate() {
            let later = (some(at + STAGES - 1), some(at + STAGES));
            reading.go_on(plan, &self.keyed.cells, events, later);
            reading.group(plan);
            self.look_at_entries_of(plan, posts, (&reading, seals));
            self.take_together(plan, (posts, seals), &mut reading, out);
            for seal in seals {
                self.keyed.begin_step();
                let told = inputs::Told { watermark: seal.watermark, idle: false };
                let idle_after_ms = plan.settings.idle_after_ms;
                let watermark = self.inputs.tell(posts.partition, told, 1, None, idle_after_ms);
                let mut post = reading.next(plan, posts, seal);
                let mover = match seal.mover {
                    Mover::Nobody => None,
                    Mover::Own => Some(post.mark),
                    Mover::Other(mark) => Some(posts.event(mark)),
                };
                let head = Head { from: &from, watermark, mover, is_near: true };
                self.merge_batch(plan, (&head, &mut post), offset, out);
                then(seal.tag, out);
                offset += 1;
            }
        }
        let mover = posts.seals.iter().rev().find_map(|seal| match seal.mover {
            Mover::Nobody => None,
            Mover::Own => events.event(seal.tag).map(|posted| posted.mark()),
            Mover::Other(mark) => Some(posts.event(mark)),
        });
        if let Some(mover) = mover {
            self.note_mover(&from, &mover);
        }
    }

    /// Adds what the next events bring to few keys, as far as it comes to nothing.
    fn take_together(
        &mut self,
        plan: &Plan,
        (posts, seals): (&Posts, &[Seal]),
        reading: &mut Reading<'_, '_>,
        out: &mut Output,
    ) {
        let Reading { together: sums, few, groups, entry, .. } = reading;
        let fits = sums.begin(few.keys.len(), plan.together.len());
        let Some(last) = seals.last() else { return };
        let Some(watermark) = last.watermark else { return };
        let entries = posts.entries.get(*entry as usize..last.end as usize);
        // What comes by itself has to come in its turn.
        let is_one = |entry: &Posted| plan.together.contains(&entry.rule);
        let comes_by_itself = entries.unwrap_or_default().iter().any(is_one);
        if !fits || comes_by_itself || !self.goes_on(plan, watermark) {
            return;
        }
        let told_of = |group: &Group<'_>| {
            plan.posting_of(Some(group.posting)).map_or(&[][..], |posting| &posting.told)
        };
        for group in &*groups {
            for told in told_of(group) {
                sums.add(told, group.names[told.space], &group.sum);
            }
        }
        let mut ctx = Ctx { plan, watermark, effects: &mut out.effects, counts: &mut out.counts };
        for at in &sums.used {
            let (all, key) = (&mut sums.all[*at], &mut few.keys[at / sums.rules]);
            let rule = plan.together[at % sums.rules];
            all.is_done = self.keyed.add_together(rule, key, all, &mut ctx);
        }
        for group in groups {
            let mut together = told_of(group).iter().filter(|told| told.together.is_some());
            group.is_done = together.all(|told| sums.is_done(told, group.names[told.space]));
        }
    }

    /// Whether no window closes and no day ends before the watermark comes there, and nothing else looks
    /// at each event.
    fn goes_on(&self, plan: &Plan, watermark: i64) -> bool {
        let over = watermark.saturating_sub(plan.settings.allowed_lateness_ms);
        self.keyed.is_plain() && !self.keyed.has_due(watermark) && over < self.day.end
    }

    /// Brings near the cells of what is not posted plainly. Of keys that are few they are near anyway.
    fn look_at_entries_of(
        &self,
        plan: &Plan,
        posts: &Posts,
        (reading, seals): (&Reading<'_, '_>, &[Seal]),
    ) {
        let end = seals.last().map_or(reading.entry, |seal| seal.end);
        let entries = posts.entries.get(reading.entry as usize..end as usize).unwrap_or_default();
        let seats: SmallVec<[_; 8]> =
            entries.iter().map(|entry| (entry.key, [plan.seat(entry.rule)])).collect();
        self.keyed.cells.look_at(seats.iter().filter_map(|(key, seat)| {
            // None of the few.
            let key = posts.keys.get(*key as usize)?;
            Some((key.hash, key.space as usize, seat.as_slice()))
        }));
    }
}
