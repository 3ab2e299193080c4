//! Looking ahead: touches the memory that steps over the next events will read, for all of them
//! together, so that a processor waits once for many lines and not once for each.
//!
//! Nothing here is part of the state or changes it. A look goes in rounds, each of which reads one
//! link of the chain from a key to its counters for all events before the next link is followed;
//! the reads of a round do not depend on each other, so they are under way at the same time. (The
//! idea is that of group prefetching for hash joins: Chen, Ailamaki, Gibbons and Mowry 2004,
//! "Improving hash join performance through prefetching", with plain loads for prefetches.)

use std::hint::black_box;

use smallvec::SmallVec;

use crate::engine::dedup::identity;
use crate::engine::partial::{PartialsOutbox, slot_hash};
use crate::engine::plan::{KeyForm, Plan};
use crate::engine::seen::user_of;
use crate::engine::space::hash_of;
use crate::engine::state::State;
use crate::engine::table::Cells;
use crate::engine::turn::step_of;
use crate::event::Event;

/// Events of one look: enough to hide a wait, few enough for what they touch to stay near.
pub const LOOK_AHEAD: usize = 32;

/// What a look found out about an event, for its step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Foreseen {
    pub(crate) offset: i64,
    pub(crate) identity: u128,
    /// The user as duplicates and shown values know it, and as keys do.
    pub(crate) user: u128,
    pub(crate) user_hash: u64,
}

/// A key on its way to its cells.
#[derive(Debug, Clone, Copy)]
struct Look {
    hash: u64,
    space: usize,
    id: Option<u32>,
}

impl State {
    /// Brings near what steps over these events, at these offsets, will read. Optional: steps do
    /// the same without it, only later.
    pub fn look_ahead<'a, 'e: 'a>(
        &mut self,
        plan: &Plan,
        events: impl Iterator<Item = (i64, &'a Event<'e>)> + Clone,
        outbox: &PartialsOutbox,
    ) {
        self.prepare(plan);
        self.foreseen.clear();
        let dedups = plan.settings.dedup_ms.is_some();
        // Hashes first, apart: a round is as short as can be, so that many of its reads are under
        // way together.
        for (offset, event) in events.clone() {
            let (user, user_hash) = (user_of(&event.user), hash_of(&event.user));
            let identity = if dedups { identity(user, &event.id) } else { 0 };
            self.foreseen.push_back(Foreseen { offset, identity, user, user_hash });
        }
        for known in self.foreseen.iter().filter(|_| dedups) {
            self.dedup.touch(known.identity);
        }
        for seen in &self.seen {
            self.foreseen.iter().for_each(|known| seen.touch_index(known.user));
            self.foreseen.iter().for_each(|known| seen.touch(known.user));
        }
        look_at_outgoing(plan, events.clone().map(|(_, event)| event), outbox);
        let Some(space) = plan.user_space else { return };
        let keys = self.foreseen.iter().zip(events).map(|(known, (_, event))| {
            let rules = plan.user_rules[event.kind as usize].as_slice();
            (known.user_hash, space, rules)
        });
        self.keyed.cells.look_at(plan, keys);
    }
}

/// Brings near the entries that wait for other partitions.
fn look_at_outgoing<'a, 'e: 'a>(
    plan: &Plan,
    events: impl Iterator<Item = &'a Event<'e>>,
    outbox: &PartialsOutbox,
) {
    if outbox.apart.is_some() {
        return;
    }
    let mut hashes: SmallVec<[u64; 2 * LOOK_AHEAD]> = SmallVec::new();
    for event in events {
        for &rule in &plan.outgoing[event.kind as usize] {
            let info = &plan.info[rule];
            let key = match plan.key_forms[info.space] {
                KeyForm::Device => event.device.as_deref(),
                KeyForm::Ip => event.ip.as_deref(),
                _ => None,
            };
            if let Some(key) = key {
                let step = step_of(plan, rule, event.ts.0, 0);
                hashes.push(slot_hash(hash_of(key), info.fingerprint, step));
            }
        }
    }
    hashes.iter().for_each(|hash| outbox.pending.touch_index(*hash));
    hashes.iter().for_each(|hash| outbox.pending.touch(*hash));
}

impl Cells {
    /// Brings near the cells of keys: by hash and key form, each with the rules that will count.
    ///
    /// What is read goes into one number, and no branch hangs on it: the fewer instructions there
    /// are between two reads, the more of them are under way together.
    pub(crate) fn look_at<'a>(
        &self,
        plan: &Plan,
        keys: impl Iterator<Item = (u64, usize, &'a [usize])>,
    ) {
        let looks = keys.map(|(hash, space, rules)| (Look { hash, space, id: None }, rules));
        let mut looks: SmallVec<[(Look, &[usize]); 2 * LOOK_AHEAD]> = looks.collect();
        let mut read = 0;
        for (look, _) in &looks {
            read ^= self.spaces[look.space].touch_index(look.hash);
        }
        black_box(read);
        for (look, _) in &mut looks {
            look.id = self.spaces[look.space].guess(look.hash);
        }
        for (look, _) in &looks {
            read ^= look.touch_row(self);
        }
        black_box(read);
        for (look, rules) in &looks {
            read ^= rules.iter().fold(0, |read, rule| read ^ look.touch_cell(self, plan, *rule));
        }
        black_box(read);
        for (look, rules) in &looks {
            read ^= rules.iter().fold(0, |read, rule| read ^ look.touch_heap(self, plan, *rule));
        }
        black_box(read);
    }

    /// Brings near cells, each by rule and key.
    pub(crate) fn look_at_due<'a>(
        &self,
        plan: &Plan,
        due: impl Iterator<Item = &'a (u32, u32)> + Clone,
    ) {
        let looks = due.map(|(rule, key)| {
            let rule = *rule as usize;
            (Look { hash: 0, space: plan.info[rule].space, id: Some(*key) }, rule)
        });
        black_box(looks.clone().fold(0, |read, (look, _)| read ^ look.touch_row(self)));
        black_box(looks.fold(0, |read, (look, rule)| read ^ look.touch_cell(self, plan, rule)));
    }
}

impl Look {
    fn touch_row(&self, cells: &Cells) -> u32 {
        self.id.map_or(0, |id| cells.spaces[self.space].touch(id))
    }

    fn touch_cell(&self, cells: &Cells, plan: &Plan, rule: usize) -> u32 {
        self.place(cells, plan, rule).map_or(0, |place| cells.tables[rule].touch(place))
    }

    /// Reads what a cell keeps on the heap.
    fn touch_heap(&self, cells: &Cells, plan: &Plan, rule: usize) -> u32 {
        let cell = self.place(cells, plan, rule).and_then(|place| cells.tables[rule].get(place));
        cell.map_or(0, |cell| cell.body.touch_heap())
    }

    fn place(&self, cells: &Cells, plan: &Plan, rule: usize) -> Option<u32> {
        Some(cells.spaces[self.space].place(self.id?, plan.info[rule].column))
    }
}
