//! Looking ahead: asks for the memory that steps over the next events will read, so that it is on
//! its way while other events are decoded and counted.
//!
//! Nothing here is part of the state or changes it. A look goes in rounds, each of which asks for
//! one link of the chain from a key to its counters for all events before the next link is
//! followed: what a round reads was asked for a round before. The first round goes along with
//! decoding. (Group prefetching, as for hash joins: Chen, Ailamaki, Gibbons and Mowry 2004,
//! "Improving hash join performance through prefetching".)

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::engine::dedup::identity;
use crate::engine::partial::{PartialsOutbox, slot_hash};
use crate::engine::plan::{KeyForm, Plan};
use crate::engine::routes::Seat;
use crate::engine::seen::user_of;
use crate::engine::space::{Key, field_of, hash_of};
use crate::engine::state::State;
use crate::engine::table::Cells;
use crate::engine::turn::step_of;
use crate::event::Event;
use crate::near::near;
use crate::rule::Field;

/// Events of one look: enough to hide a wait, few enough for what they ask for to stay near.
pub const LOOK_AHEAD: usize = 32;

/// Events that may be foreseen before what is known of their cells is forgotten.
const MOST: usize = 8 * LOOK_AHEAD;

/// What is known of the next events.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ahead {
    events: VecDeque<Foreseen>,
    /// Of how many of those, the last ones, the keys are to be asked for, and of how many before
    /// them the cells.
    fresh: usize,
    guessed: usize,
    /// Hashes of entries that wait for other partitions.
    outgoing: Vec<u64>,
}

/// What a look found out about an event, for its step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Foreseen {
    offset: i64,
    pub(crate) hashes: Hashes,
    /// Number of the ways that tell which rules will count it.
    ways: usize,
    /// Most likely the id of the user's key.
    pub(crate) user: Option<u32>,
    /// Most likely where stands what the user has shown, of the first fields that are looked at.
    pub(crate) shown: [Option<u32>; 2],
}

impl Foreseen {
    /// What is known of an event that was not foreseen.
    pub(crate) fn not(event: &Event<'_>) -> Foreseen {
        let hashes = Hashes::of(event);
        Foreseen { offset: 0, hashes, ways: 0, user: None, shown: [None; 2] }
    }

    /// The key of the event's user.
    #[inline]
    pub(crate) fn user_key<'a>(&self, event: &'a Event<'_>) -> Key<'a> {
        Key::guessed(&event.user, self.hashes.user, self.user)
    }

    /// The cells to ask for. Under other rules than those that were in force when it was foreseen they
    /// are too many or too few.
    fn seats<'p>(&self, plan: &'p Plan) -> &'p [Seat] {
        plan.routes.all().get(self.ways).map_or(&[], |ways| &ways.cells)
    }
}

/// Hashes of what an event is found by: pure functions of it, so that whoever decodes it may tell
/// them to its step.
#[derive(Debug, Clone, Copy)]
pub struct Hashes {
    /// Of the event, as duplicates know it.
    pub(crate) identity: u128,
    /// Of the user, as shown values know it.
    pub(crate) member: u128,
    /// Of the user, as keys know it.
    pub(crate) user: u64,
    pub(crate) source: Option<u64>,
    pub(crate) device: Option<u64>,
    pub(crate) ip: Option<u64>,
}

impl Hashes {
    pub fn of(event: &Event<'_>) -> Hashes {
        let member = user_of(&event.user);
        Hashes {
            identity: identity(member, &event.id),
            member,
            user: Hashes::of_user(&event.user),
            source: event.source.as_deref().map(hash_of),
            device: event.device.as_deref().map(hash_of),
            ip: event.ip.as_deref().map(hash_of),
        }
    }

    /// Of the user, who is known by [`Hashes::of_user`] as well.
    pub fn user(&self) -> u64 {
        self.user
    }

    /// Of a user's name.
    pub fn of_user(name: &str) -> u64 {
        hash_of(name)
    }

    /// Of what the event has in a field; `text` is room for what is no text.
    pub(crate) fn value(&self, field: &Field, event: &Event<'_>, text: &mut String) -> Option<u64> {
        match field {
            Field::User => Some(self.user),
            Field::Source => self.source,
            Field::Device => self.device,
            Field::Ip => self.ip,
            _ => field_of(field, event, text).map(hash_of),
        }
    }

    /// The event's key of a form; `None` where it lacks that, and of one that is composed.
    #[inline]
    pub(crate) fn key<'a>(&self, form: KeyForm, event: &'a Event<'_>) -> Option<Key<'a>> {
        let (text, hash) = match form {
            KeyForm::Global => return Some(Key::of_all()),
            KeyForm::User => (Some(&*event.user), Some(self.user)),
            KeyForm::Device => (event.device.as_deref(), self.device),
            KeyForm::Ip => (event.ip.as_deref(), self.ip),
            KeyForm::Source => (event.source.as_deref(), self.source),
            KeyForm::Composite => return None,
        };
        Some(Key::hashed(text?, hash?))
    }
}

impl Ahead {
    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.forget_looks();
    }

    fn forget_looks(&mut self) {
        (self.fresh, self.guessed) = (0, 0);
        self.outgoing.clear();
    }

    /// What is known of the event at this offset, if it was foreseen; forgets all before it.
    pub(crate) fn at(&mut self, offset: i64) -> Option<&Foreseen> {
        while self.events.front().is_some_and(|known| known.offset < offset) {
            self.events.pop_front();
        }
        self.events.front().filter(|known| known.offset == offset)
    }
}

impl State {
    /// Asks for the first of what the step over this event, at this offset, will read. Optional:
    /// steps do the same without it, only later. After some events, and before their steps,
    /// [`State::look_ahead`] asks for the rest.
    pub fn foresee(
        &mut self,
        plan: &Plan,
        (offset, event): (i64, &Event<'_>),
        outbox: &PartialsOutbox,
    ) {
        self.foresee_hashed(plan, (offset, event, &Hashes::of(event)), outbox);
    }

    /// The same for an event whose hashes are known.
    pub(crate) fn foresee_hashed(
        &mut self,
        plan: &Plan,
        (offset, event, hashes): (i64, &Event<'_>, &Hashes),
        outbox: &PartialsOutbox,
    ) {
        self.prepare(plan);
        let ahead = &mut self.ahead;
        if ahead.events.back().is_some_and(|last| last.offset >= offset) {
            ahead.clear();
        }
        if plan.settings.dedup_ms.is_some() {
            self.dedup.near(hashes.identity);
        }
        self.keyed.cells.seen.iter().for_each(|seen| seen.near_index(hashes.member));
        if let Some(space) = plan.user_space {
            near(&*event.user);
            self.keyed.cells.spaces[space].near_index(hashes.user);
        }
        if ahead.fresh + ahead.guessed >= MOST {
            ahead.forget_looks();
        }
        let ways = plan.routes.of(event, hashes.source);
        let outgoing = if outbox.apart.is_some() { &[][..] } else { ways.outgoing.as_slice() };
        for rule in outgoing {
            let info = &plan.info[*rule];
            let Some(key) = hashes.key(plan.key_forms[info.space], event) else { continue };
            let step = step_of(plan, *rule, event.ts.0, offset);
            let hash = slot_hash(key.hash, info.fingerprint, step);
            outbox.pending.near_index(hash);
            ahead.outgoing.push(hash);
        }
        let (hashes, ways) = (*hashes, ways.number);
        ahead.fresh += 1;
        ahead.events.push_back(Foreseen { offset, hashes, ways, user: None, shown: [None; 2] });
    }

    /// Asks for the rest of what steps over the events foreseen since the last call will read.
    pub fn look_ahead(&mut self, plan: &Plan, outbox: &PartialsOutbox) {
        let outgoing = self.ahead.outgoing.drain(..);
        let entries: SmallVec<[u32; 2 * LOOK_AHEAD]> =
            outgoing.filter_map(|hash| outbox.pending.near(hash)).collect();
        self.look_at_keys(plan);
        self.look_at_cells(plan);
        entries.into_iter().for_each(|at| outbox.pending.near_key(at));
    }

    /// Asks for the keys of the events foreseen since the last call.
    pub(crate) fn look_at_keys(&mut self, plan: &Plan) {
        self.prepare(plan);
        let Ahead { events, fresh, guessed, .. } = &mut self.ahead;
        let begin = events.len().saturating_sub(*fresh);
        *guessed += std::mem::take(fresh);
        for (at, seen) in self.keyed.cells.seen.iter().enumerate() {
            for event in events.range_mut(begin..) {
                let place = seen.near(event.hashes.member);
                event.shown.iter_mut().skip(at).take(1).for_each(|shown| *shown = place);
            }
        }
        let Some(space) = plan.user_space else { return };
        let space = &self.keyed.cells.spaces[space];
        for event in events.range_mut(begin..) {
            event.user = space.guess(event.hashes.user);
            if let Some(id) = event.user {
                space.near(id, event.seats(plan));
            }
        }
    }

    /// Asks for the cells of the events whose keys were asked for since the last call.
    pub(crate) fn look_at_cells(&mut self, plan: &Plan) {
        let Ahead { events, fresh, guessed, .. } = &mut self.ahead;
        let end = events.len().saturating_sub(*fresh);
        let begin = end.saturating_sub(std::mem::take(guessed));
        if let Some(space) = plan.user_space {
            let keys = events.range(begin..end);
            let keys = keys.filter_map(|event| Some((event.user?, space, event.seats(plan))));
            self.keyed.cells.near_cells(keys);
        }
    }
}

impl Cells {
    /// Asks for the cells of keys: by hash and key form, each with the seats that will be taken.
    pub(crate) fn look_at<'a>(&self, keys: impl Iterator<Item = (u64, usize, &'a [Seat])>) {
        let keys: SmallVec<[_; 2 * LOOK_AHEAD]> = keys.collect();
        for (hash, space, _) in &keys {
            self.spaces[*space].near_index(*hash);
        }
        let guess = |(hash, space, seats): (u64, usize, _)| {
            Some((self.spaces[space].guess(hash)?, space, seats))
        };
        let keys: SmallVec<[_; 2 * LOOK_AHEAD]> = keys.into_iter().filter_map(guess).collect();
        self.look_on(keys.into_iter());
    }

    /// The same for keys whose ids are known.
    fn look_on<'a>(&self, keys: impl Iterator<Item = (u32, usize, &'a [Seat])> + Clone) {
        keys.clone().for_each(|(id, space, seats)| self.spaces[space].near(id, seats));
        self.near_cells(keys);
    }

    /// The same for keys whose beginnings have been asked for.
    pub(crate) fn near_cells<'a>(
        &self,
        keys: impl Iterator<Item = (u32, usize, &'a [Seat])> + Clone,
    ) {
        keys.clone().for_each(|(id, space, _)| self.spaces[space].near_row(id));
        let mut whole: SmallVec<[(usize, usize); 4 * LOOK_AHEAD]> = SmallVec::new();
        let near_heap = |(rule, place): (usize, usize)| self.tables[rule].near_heap(place);
        for (id, space, seats) in keys {
            for (rule, place) in self.spaces[space].whole(id, seats) {
                self.tables[rule].near(place);
                if whole.len() == whole.inline_size() {
                    // The first of them are near by now.
                    whole.drain(..).for_each(near_heap);
                }
                whole.push((rule, place));
            }
        }
        whole.into_iter().for_each(near_heap);
    }

    /// Asks for cells, each by rule and key.
    pub(crate) fn look_at_due(&self, plan: &Plan, due: impl Iterator<Item = (u32, u32)>) {
        let due: SmallVec<[_; LOOK_AHEAD]> = due
            .map(|(rule, id)| (id, plan.info[rule as usize].space, [plan.seat(rule as usize)]))
            .collect();
        self.look_on(due.iter().map(|(id, space, seat)| (*id, *space, seat.as_slice())));
    }
}
