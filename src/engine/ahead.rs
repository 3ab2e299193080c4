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
use crate::engine::plan::{KeyForm, Looks, Plan};
use crate::engine::seen::user_of;
use crate::engine::space::hash_of;
use crate::engine::state::State;
use crate::engine::table::Cells;
use crate::engine::turn::step_of;
use crate::event::Event;

/// Events of one look: enough to hide a wait, few enough for what they ask for to stay near.
pub const LOOK_AHEAD: usize = 32;

/// Events that may be foreseen before what is known of their cells is forgotten.
const MOST: usize = 8 * LOOK_AHEAD;

/// What is known of the next events.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ahead {
    events: VecDeque<Foreseen>,
    /// Of those the ones whose cells are to be asked for, and the rules that will count them.
    fresh: Vec<Fresh>,
    rules: Vec<usize>,
    /// Hashes of entries that wait for other partitions.
    outgoing: Vec<u64>,
}

/// What a look found out about an event, for its step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Foreseen {
    offset: i64,
    pub(crate) identity: u128,
    /// The user as duplicates and shown values know it, and as keys do.
    pub(crate) user: u128,
    pub(crate) hashes: Hashes,
}

/// A user, and where the rules that will count the event end in their list.
#[derive(Debug, Clone, Copy)]
struct Fresh {
    user: u128,
    hash: u64,
    end: usize,
}

/// Hashes of an event's keys, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hashes {
    pub(crate) user: Option<u64>,
    pub(crate) source: Option<u64>,
    pub(crate) device: Option<u64>,
    pub(crate) ip: Option<u64>,
}

impl Hashes {
    /// What every step needs to know.
    pub(crate) fn of(event: &Event<'_>) -> Hashes {
        Hashes { source: event.source.as_deref().map(hash_of), ..Hashes::default() }
    }
}

/// A key on its way to its cells.
#[derive(Debug, Clone, Copy)]
struct Look {
    space: usize,
    id: Option<u32>,
}

impl Ahead {
    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.forget_looks();
    }

    fn forget_looks(&mut self) {
        self.fresh.clear();
        self.rules.clear();
        self.outgoing.clear();
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
            ahead.clear();
        }
        let user = user_of(&event.user);
        let user_hash = hash_of(&event.user);
        let mut hashes = Hashes { user: Some(user_hash), ..Hashes::of(event) };
        let mut id = 0;
        if plan.settings.dedup_ms.is_some() {
            id = identity(user, &event.id);
            self.dedup.near(id);
        }
        self.seen.iter().for_each(|seen| seen.near_index(user));
        if let Some(space) = plan.user_space {
            self.keyed.cells.spaces[space].near_index(user_hash);
        }
        if ahead.fresh.len() == MOST {
            ahead.forget_looks();
        }
        for route in &plan.routes.of(event, hashes.source).routes {
            let info = &plan.info[route.rule];
            match info.looks {
                Looks::Nothing => continue,
                Looks::Cell => {
                    ahead.rules.push(route.rule);
                    continue;
                }
                Looks::Outgoing if outbox.apart.is_some() => continue,
                Looks::Outgoing => {}
            }
            let (text, hash) = match plan.key_forms[info.space] {
                KeyForm::Device => (event.device.as_deref(), &mut hashes.device),
                _ => (event.ip.as_deref(), &mut hashes.ip),
            };
            let Some(text) = text else { continue };
            let hash = *hash.get_or_insert_with(|| hash_of(text));
            let step = step_of(plan, route.rule, event.ts.0, offset);
            let hash = slot_hash(hash, info.fingerprint, step);
            outbox.pending.near_index(hash);
            ahead.outgoing.push(hash);
        }
        ahead.fresh.push(Fresh { user, hash: user_hash, end: ahead.rules.len() });
        ahead.events.push_back(Foreseen { offset, identity: id, user, hashes });
    }

    /// Asks for the rest of what steps over the events foreseen since the last call will read.
    pub fn look_ahead(&mut self, plan: &Plan, outbox: &PartialsOutbox) {
        let Ahead { fresh, rules, outgoing, .. } = &self.ahead;
        for seen in &self.seen {
            for event in fresh {
                seen.near(event.user);
            }
        }
        for hash in outgoing {
            outbox.pending.near(*hash);
        }
        if let Some(space) = plan.user_space {
            let mut begin = 0;
            let keys = fresh.iter().map(|event| {
                let own = rules.get(begin..event.end).unwrap_or_default();
                begin = event.end;
                (event.hash, space, own)
            });
            self.keyed.cells.look_on(plan, keys);
        }
        self.ahead.forget_looks();
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
            look.near_row(self, plan, rules);
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
    pub(crate) fn look_at_due(&self, plan: &Plan, due: impl Iterator<Item = (u32, u32)> + Clone) {
        let looks = due.map(|(rule, key)| {
            let rule = rule as usize;
            (Look { space: plan.info[rule].space, id: Some(key) }, rule)
        });
        looks.clone().for_each(|(look, rule)| look.near_row(self, plan, &[rule]));
        looks.clone().for_each(|(look, rule)| look.near_cell(self, plan, rule));
        looks.for_each(|(look, rule)| look.near_heap(self, plan, rule));
    }
}

impl Look {
    fn near_row(&self, cells: &Cells, plan: &Plan, rules: &[usize]) {
        if let Some(id) = self.id {
            let space = &cells.spaces[self.space];
            space.near(id);
            for rule in rules {
                space.near_place(id, plan.info[*rule].column);
            }
        }
    }

    fn near_cell(&self, cells: &Cells, plan: &Plan, rule: usize) {
        if let Some(place) = self.place(cells, plan, rule) {
            cells.tables[rule].near(place);
        }
    }

    fn near_heap(&self, cells: &Cells, plan: &Plan, rule: usize) {
        if let Some(place) = self.place(cells, plan, rule) {
            cells.tables[rule].near_heap(place);
        }
    }

    fn place(&self, cells: &Cells, plan: &Plan, rule: usize) -> Option<u32> {
        Some(cells.spaces[self.space].place(self.id?, plan.info[rule].column))
    }
}
