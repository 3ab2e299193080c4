//! Cells found by rule and key.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::engine::Plan;
use crate::engine::baseline::Series;
use crate::engine::calendar::Span;
use crate::engine::cell::{Body, CalendarCell, Cell, More, Roll, RollingCell, ZCell};
use crate::engine::plan::Form;
use crate::engine::slab::Slab;
use crate::engine::snapshot::Capture;
use crate::engine::space::{Key, Space};
use crate::engine::view::View;
use crate::engine::young::Young;
use crate::rule::Check;

/// Width of an expiry slot.
const SLOT_MS: i64 = 300_000;

/// The cells of all rules, and the keys that they stand under.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cells {
    pub(crate) spaces: Vec<Space>,
    pub(crate) tables: Vec<Table>,
    /// (rule, key) by the slot of event time in which they may be forgotten.
    expiry: BTreeMap<i64, Vec<(u32, u32)>>,
    /// By rule: the slot that new cells go to, apart from the others. It is the same for minutes.
    newest: Vec<(i64, Vec<u32>)>,
    /// The earliest slot.
    first: Option<i64>,
    /// A snapshot under way.
    pub(crate) capture: Option<Box<Capture>>,
    pub(crate) young: Young,
}

impl Cells {
    pub(crate) fn prepare(&mut self, plan: &Plan) {
        if self.spaces.len() != plan.spaces.len() || self.tables.len() != plan.info.len() {
            self.spaces.resize_with(plan.spaces.len(), Space::default);
            self.tables.resize_with(plan.info.len(), Table::default);
            self.newest.resize_with(plan.info.len(), Default::default);
        }
        for (space, width) in self.spaces.iter_mut().zip(&plan.widths) {
            space.widen(*width);
        }
    }

    pub(crate) fn keys(&self) -> usize {
        self.spaces.iter().map(Space::len).sum()
    }

    pub(crate) fn count(&self) -> usize {
        self.tables.iter().map(Table::len).sum()
    }

    pub(crate) fn find(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        plan: &Plan,
    ) -> Option<&mut Cell> {
        let id = self.spaces[plan.info[rule].space].find(key)?;
        self.at(rule, id, plan)
    }

    /// The cell of a rule and key id.
    pub(crate) fn at(&mut self, rule: usize, id: u32, plan: &Plan) -> Option<&mut Cell> {
        let info = &plan.info[rule];
        self.tables[rule].get_mut(self.spaces[info.space].place(id, info.column))
    }

    /// The cell of a rule and key, made when there is none: then true. What happens at `ts` counts
    /// until `end` at least.
    pub(crate) fn cell(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        (ts, end): (i64, i64),
        plan: &Plan,
    ) -> (&mut Cell, bool) {
        let info = &plan.info[rule];
        let space = &mut self.spaces[info.space];
        let id = space.intern(key);
        let mut place = space.place(id, info.column);
        let table = &mut self.tables[rule];
        let first = table.get_mut(place).is_none();
        if first {
            let is_new = space.is_unused(id);
            if let Some(capture) = self.capture.as_mut().filter(|_| is_new) {
                capture.pass_over(info.space, id);
            }
            let body = new_body(&plan.rule(rule).check, info.form, ts);
            place = table.insert(Cell { key: id, fired: 0, body });
            space.put(id, info.column, place);
            if is_new && plan.settings.max_keys.is_some() {
                self.young.has_come(&mut self.spaces, info.space, id);
            }
            let slot = slot_of(end.saturating_add(plan.settings.allowed_lateness_ms));
            if matches!(info.form, Form::Match | Form::Calendar | Form::Rolling)
                && !self.young.waits(half(rule), id, slot)
            {
                let newest = &mut self.newest[rule];
                if newest.0 != slot {
                    let (before, cells) = std::mem::replace(newest, (slot, Vec::new()));
                    if !cells.is_empty() {
                        let cells = cells.into_iter().map(|id| (half(rule), id));
                        self.expiry.entry(before).or_default().extend(cells);
                    }
                }
                newest.1.push(id);
                self.first = Some(self.first.map_or(slot, |first| first.min(slot)));
            }
        }
        match table.get_mut(place) {
            Some(cell) => (cell, first),
            None => unreachable!("the cell was inserted above"),
        }
    }

    /// A cell as a snapshot tells it; the id of its key. `None` where there is one already.
    pub(crate) fn restore(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        cell: Cell,
        plan: &Plan,
    ) -> Option<u32> {
        let info = &plan.info[rule];
        let space = &mut self.spaces[info.space];
        let id = space.intern(key);
        if self.tables[rule].get(space.place(id, info.column)).is_some() {
            return None;
        }
        let place = self.tables[rule].insert(Cell { key: id, ..cell });
        space.put(id, info.column, place);
        Some(id)
    }

    /// Looks at a cell again once the watermark has reached `until`.
    pub(crate) fn wait(&mut self, until: i64, rule: u32, key: u32) {
        let slot = slot_of(until);
        self.expiry.entry(slot).or_default().push((rule, key));
        self.first = Some(self.first.map_or(slot, |first| first.min(slot)));
    }

    /// The (rule, key) of the earliest slot that the watermark has passed.
    pub(crate) fn due(&mut self, watermark: i64) -> Option<Vec<(u32, u32)>> {
        let first = self.first.filter(|first| first.saturating_mul(SLOT_MS) <= watermark)?;
        let mut due = self.expiry.remove(&first).unwrap_or_default();
        for (rule, (slot, cells)) in self.newest.iter_mut().enumerate() {
            if *slot == first {
                due.extend(cells.drain(..).map(|id| (half(rule), id)));
            }
        }
        for (rule, id) in &due {
            self.young.is_over(*rule, *id, first);
        }
        let newest = self.newest.iter().filter(|(_, cells)| !cells.is_empty());
        let newest = newest.map(|(slot, _)| *slot);
        let next = self.expiry.first_key_value().map(|(slot, _)| *slot);
        self.first = next.into_iter().chain(newest).min();
        Some(due)
    }

    pub(crate) fn bytes(&self) -> usize {
        let waiting: usize = self.expiry.values().map(|slot| slot.capacity() * 8).sum();
        let newest: usize = self.newest.iter().map(|(_, cells)| cells.capacity() * 4).sum();
        self.spaces.iter().map(Space::bytes).sum::<usize>()
            + self.tables.iter().map(Table::bytes).sum::<usize>()
            + waiting
            + newest
            + self.young.bytes()
    }
}

/// Cells of one rule, by the place that [`Space`](crate::engine::space::Space) keeps for it
/// with the key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    cells: Slab<Option<Cell>>,
    free: Vec<u32>,
}

impl Table {
    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut Cell> {
        self.cells.get_mut(place as usize)?.as_mut()
    }

    pub(crate) fn get(&self, place: u32) -> Option<&Cell> {
        self.cells.get(place as usize)?.as_ref()
    }

    /// Brings the line of a place near.
    #[inline]
    pub(crate) fn near(&self, place: u32) {
        self.cells.near(place as usize);
    }

    pub(crate) fn has(&self, place: u32) -> bool {
        self.get(place).is_some()
    }

    /// The place of the new cell.
    pub(crate) fn insert(&mut self, cell: Cell) -> u32 {
        self.cells.put(&mut self.free, Some(cell))
    }

    pub(crate) fn remove(&mut self, place: u32) {
        if let Some(cell) = self.cells.get_mut(place as usize)
            && cell.take().is_some()
        {
            self.free.push(place);
        }
    }

    /// Key ids with a cell, in the order of their places.
    pub(crate) fn keys(&self) -> Vec<u32> {
        self.cells.iter().flatten().map(|cell| cell.key).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len() - self.free.len()
    }

    /// Bytes on the heap, without what cells keep there.
    pub(crate) fn bytes(&self) -> usize {
        self.cells.bytes() + self.free.capacity() * size_of::<u32>()
    }
}

fn new_body(check: &Check, form: Form, ts: i64) -> Body {
    let view = View::of(check);
    match form {
        Form::Match => Body::Match,
        Form::Calendar | Form::CalendarBelow => {
            Body::Calendar(CalendarCell { periods: SmallVec::new(), t: ts })
        }
        Form::Rolling | Form::RollingBelow => Body::Rolling(RollingCell {
            t: ts,
            of: Roll::new(view.of),
            more: (view.to.is_some() || form == Form::RollingBelow)
                .then(|| Box::new(More { to: view.to.map(Roll::new), first: ts })),
        }),
        Form::ZScore => Body::ZScore(Box::new(ZCell {
            series: Series::new(),
            next: Span::default(),
            open: SmallVec::new(),
            armed_above: true,
            armed_below: true,
            empties: 0,
            usual: None,
        })),
    }
}

/// The slot of a cell that is kept up to an instant.
pub(crate) fn slot_of(until: i64) -> i64 {
    until.div_euclid(SLOT_MS) + 1
}

/// A cell kept up to `until` goes when the watermark reaches the end of its slot, whenever it was
/// last looked at.
pub(crate) fn has_gone(until: i64, watermark: i64) -> bool {
    slot_of(until).saturating_mul(SLOT_MS) <= watermark
}

/// A rule's place in 32 bits, for what is kept by the million.
fn half(rule: usize) -> u32 {
    u32::try_from(rule).unwrap_or(u32::MAX)
}
