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
use crate::engine::seen::user_of;
use crate::engine::space::hash_of;
use crate::engine::state::State;
use crate::engine::table::Cells;
use crate::engine::turn::step_of;
use crate::event::{Event, Kind};

/// Events of one look: enough to hide a wait, few enough for what they ask for to stay near.
pub const LOOK_AHEAD: usize = 32;

/// What is known of the next events.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ahead {
    events: VecDeque<Foreseen>,
    /// Of entries that wait for other partitions.
    outgoing: Vec<u64>,
}

/// What a look found out about an event, for its step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Foreseen {
    offset: i64,
    kind: Kind,
    pub(crate) identity: u128,
    /// The user as duplicates and shown values know it, and as keys do.
    pub(crate) user: u128,
    pub(crate) hashes: Hashes,
}

/// Hashes of an event's keys, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hashes {
    pub(crate) user: Option<u64>,
    pub(crate) source: Option<u64>,
    pub(crate) device: Option<u64>,
    pub(crate) ip: Option<u64>,
}

/// A key on its way to its cells.
#[derive(Debug, Clone, Copy)]
struct Look {
    space: usize,
    id: Option<u32>,
}

impl Ahead {
    pub(crate) fn clear(&mut self) {
        *self = Ahead::default();
    }

    /// What is known of the event at this offset; forgets all before it.
    pub(crate) fn at(&mut self, offset: i64) -> Option<Foreseen> {
        while self.events.front().is_some_and(|known| known.offset < offset) {
            self.events.pop_front();
        }
        self.events.front().filter(|known| known.offset == offset).copied()
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
        self.prepare(plan);
        let ahead = &mut self.ahead;
        if ahead.events.back().is_some_and(|last| last.offset >= offset) {
            ahead.events.clear();
        }
        let user = user_of(&event.user);
        let user_hash = hash_of(&event.user);
        let mut hashes = Hashes { user: Some(user_hash), ..Hashes::default() };
        let mut known = Foreseen { offset, kind: event.kind, identity: 0, user, hashes };
        if plan.settings.dedup_ms.is_some() {
            known.identity = identity(user, &event.id);
            self.dedup.near(known.identity);
        }
        self.seen.iter().for_each(|seen| seen.near_index(user));
        if let Some(space) = plan.user_space {
            self.keyed.cells.spaces[space].near_index(user_hash);
        }
        for &rule in &plan.outgoing[event.kind as usize] {
            let info = &plan.info[rule];
            let (text, hash) = match plan.key_forms[info.space] {
                KeyForm::Device => (event.device.as_deref(), &mut hashes.device),
                KeyForm::Ip => (event.ip.as_deref(), &mut hashes.ip),
                _ => continue,
            };
            let Some(text) = text else { continue };
            let hash = *hash.get_or_insert_with(|| hash_of(text));
            if outbox.apart.is_none() && ahead.outgoing.len() < 8 * LOOK_AHEAD {
                let step = step_of(plan, rule, event.ts.0, 0);
                let hash = slot_hash(hash, info.fingerprint, step);
                outbox.pending.near_index(hash);
                ahead.outgoing.push(hash);
            }
        }
        known.hashes = hashes;
        ahead.events.push_back(known);
    }

    /// Asks for the rest of what steps over the events foreseen will read.
    pub fn look_ahead(&mut self, plan: &Plan, outbox: &PartialsOutbox) {
        let Ahead { events, outgoing } = &mut self.ahead;
        for seen in &self.seen {
            for known in events.iter() {
                seen.near(known.user);
            }
        }
        outgoing.drain(..).for_each(|hash| outbox.pending.near(hash));
        let Some(space) = plan.user_space else { return };
        let keys = events.iter().filter_map(|known| {
            let rules = plan.user_rules[known.kind as usize].as_slice();
            Some((known.hashes.user?, space, rules))
        });
        self.keyed.cells.look_on(plan, keys);
    }
}

impl Cells {
    /// Asks for the cells of keys: by hash and key form, each with the rules that will count.
    pub(crate) fn look_at<'a>(
        &self,
        plan: &Plan,
        keys: impl Iterator<Item = (u64, usize, &'a [usize])>,
    ) {
        let keys = keys.inspect(|(hash, space, _)| self.spaces[*space].near_index(*hash));
        let keys: SmallVec<[_; 2 * LOOK_AHEAD]> = keys.collect();
        self.look_on(plan, keys.into_iter());
    }

    /// The same, where the lines in which keys are noted have been asked for.
    fn look_on<'a>(&self, plan: &Plan, keys: impl Iterator<Item = (u64, usize, &'a [usize])>) {
        let mut looks: SmallVec<[(Look, &[usize]); 2 * LOOK_AHEAD]> = SmallVec::new();
        for (hash, space, rules) in keys {
            let look = Look { space, id: self.spaces[space].guess(hash) };
            look.near_row(self);
            looks.push((look, rules));
        }
        for (look, rules) in &looks {
            rules.iter().for_each(|rule| look.near_cell(self, plan, *rule));
        }
        for (look, rules) in &looks {
            rules.iter().for_each(|rule| look.near_heap(self, plan, *rule));
        }
    }

    /// Asks for cells, each by rule and key.
    pub(crate) fn look_at_due<'a>(
        &self,
        plan: &Plan,
        due: impl Iterator<Item = &'a (u32, u32)> + Clone,
    ) {
        let looks = due.map(|(rule, key)| {
            let rule = *rule as usize;
            (Look { space: plan.info[rule].space, id: Some(*key) }, rule)
        });
        looks.clone().for_each(|(look, _)| look.near_row(self));
        looks.clone().for_each(|(look, rule)| look.near_cell(self, plan, rule));
        looks.for_each(|(look, rule)| look.near_heap(self, plan, rule));
    }
}

impl Look {
    fn near_row(&self, cells: &Cells) {
        if let Some(id) = self.id {
            cells.spaces[self.space].near(id);
        }
    }

    fn near_cell(&self, cells: &Cells, plan: &Plan, rule: usize) {
        if let Some(place) = self.place(cells, plan, rule) {
            cells.tables[rule].near(place);
        }
    }

    fn near_heap(&self, cells: &Cells, plan: &Plan, rule: usize) {
        let cell = self.place(cells, plan, rule).and_then(|place| cells.tables[rule].get(place));
        if let Some(cell) = cell {
            cell.body.near_heap();
        }
    }

    fn place(&self, cells: &Cells, plan: &Plan, rule: usize) -> Option<u32> {
        Some(cells.spaces[self.space].place(self.id?, plan.info[rule].column))
    }
}
