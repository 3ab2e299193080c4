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

use crate::engine::cell::Cell;
use crate::engine::dedup::identity;
use crate::engine::partial::{PartialsOutbox, slot_hash};
use crate::engine::plan::{KeyForm, Plan};
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
            let identity = if dedups { identity(&event.user, &event.id) } else { 0 };
            let user_hash = hash_of(&event.user);
            self.foreseen.push_back(Foreseen { offset, identity, user_hash });
        }
        for known in self.foreseen.iter().filter(|_| dedups) {
            self.dedup.touch(known.identity);
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
    pub(crate) fn look_at<'a>(
        &self,
        plan: &Plan,
        keys: impl Iterator<Item = (u64, usize, &'a [usize])>,
    ) {
        let looks = keys.map(|(hash, space, rules)| (Look { hash, space, id: None }, rules));
        let mut looks: SmallVec<[(Look, &[usize]); 2 * LOOK_AHEAD]> = looks.collect();
        for (look, _) in &looks {
            self.spaces[look.space].touch_index(look.hash);
        }
        for (look, _) in &mut looks {
            look.find(self);
        }
        for (look, _) in &looks {
            look.touch_row(self);
        }
        for (look, rules) in &looks {
            rules.iter().for_each(|rule| look.touch_cell(self, plan, *rule));
        }
        for (look, rules) in &looks {
            rules.iter().for_each(|rule| look.touch_window(self, plan, *rule));
        }
    }
}

impl Look {
    fn find(&mut self, cells: &Cells) {
        self.id = cells.spaces[self.space].guess(self.hash);
    }

    fn touch_row(&self, cells: &Cells) {
        if let Some(id) = self.id {
            cells.spaces[self.space].touch(id);
        }
    }

    fn touch_cell(&self, cells: &Cells, plan: &Plan, rule: usize) {
        if let Some(cell) = self.cell(cells, plan, rule) {
            black_box((cell.key, cell.body.t()));
        }
    }

    /// What a cell keeps on the heap.
    fn touch_window(&self, cells: &Cells, plan: &Plan, rule: usize) {
        if let Some(cell) = self.cell(cells, plan, rule) {
            black_box(cell.body.ends());
        }
    }

    fn cell<'a>(&self, cells: &'a Cells, plan: &Plan, rule: usize) -> Option<&'a Cell> {
        let place = cells.spaces[self.space].place(self.id?, plan.info[rule].column);
        cells.tables[rule].get(place)
    }
}
