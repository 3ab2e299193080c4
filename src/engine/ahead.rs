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
use crate::rule::Field;

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
struct Foreseen {
    offset: i64,
    hashes: Hashes,
}

/// A user, and where the rules that will count the event end in their list.
#[derive(Debug, Clone, Copy)]
struct Fresh {
    member: u128,
    user: u64,
    end: usize,
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

    /// Of a field of the event, where it is among these.
    pub(crate) fn field(&self, field: &Field) -> Option<u64> {
        match field {
            Field::User => Some(self.user),
            Field::Source => self.source,
            Field::Device => self.device,
            Field::Ip => self.ip,
            _ => None,
        }
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

    /// The hashes of the event at this offset, if it was foreseen; forgets all before it.
    pub(crate) fn at(&mut self, offset: i64) -> Option<Hashes> {
        while self.events.front().is_some_and(|known| known.offset < offset) {
            self.events.pop_front();
        }
        self.events.front().filter(|known| known.offset == offset).map(|known| known.hashes)
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
        self.seen.iter().for_each(|seen| seen.near_index(hashes.member));
        if let Some(space) = plan.user_space {
            self.keyed.cells.spaces[space].near_index(hashes.user);
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
            let hash = match plan.key_forms[info.space] {
                KeyForm::Device => hashes.device,
                _ => hashes.ip,
            };
            let Some(hash) = hash else { continue };
            let step = step_of(plan, route.rule, event.ts.0, offset);
            let hash = slot_hash(hash, info.fingerprint, step);
            outbox.pending.near_index(hash);
            ahead.outgoing.push(hash);
        }
        let (member, user) = (hashes.member, hashes.user);
        ahead.fresh.push(Fresh { member, user, end: ahead.rules.len() });
        ahead.events.push_back(Foreseen { offset, hashes: *hashes });
    }

    /// Asks for the rest of what steps over the events foreseen since the last call will read.
    pub fn look_ahead(&mut self, plan: &Plan, outbox: &PartialsOutbox) {
        let Ahead { fresh, rules, outgoing, .. } = &self.ahead;
        for seen in &self.seen {
            for event in fresh {
                seen.near(event.member);
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
                (event.user, space, own)
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
