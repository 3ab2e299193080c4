//! Cells found by rule and key.

use std::ops::Deref;

use smallvec::SmallVec;

use crate::engine::Plan;
use crate::engine::baseline::Series;
use crate::engine::calendar::Span;
use crate::engine::cell::{Body, CalendarCell, Cell, More, Roll, RollingCell, ZCell};
use crate::engine::expiry::{Due, Expiry, Slot};
use crate::engine::habit::Habit;
use crate::engine::in_turn::Closing;
use crate::engine::outbox::number;
use crate::engine::plan::{Form, RuleInfo};
use crate::engine::rows::{At, Held};
use crate::engine::seen::Seen;
use crate::engine::slab::Pool;
use crate::engine::small::{Little, Periods, Sizes};
use crate::engine::snapshot::Capture;
use crate::engine::space::{Key, Space};
use crate::engine::view::View;
use crate::engine::young::Young;
use crate::rule::Check;

/// The cells of all rules, and the keys that they stand under.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cells {
    pub(crate) spaces: Vec<Space>,
    pub(crate) tables: Vec<Table>,
    /// What members have shown, by field.
    pub(crate) seen: Vec<Seen>,
    /// How many times there was no room for that when a key was forgotten.
    pub(crate) dropped: u64,
    /// When they may be forgotten.
    expiry: Expiry,
    /// A snapshot under way.
    pub(crate) capture: Option<Box<Capture>>,
    pub(crate) young: Young,
}

impl Cells {
    pub(crate) fn prepare(&mut self, plan: &Plan) {
        if self.spaces.len() != plan.spaces.len() || self.tables.len() != plan.info.len() {
            self.spaces.resize_with(plan.spaces.len(), Space::default);
            self.tables.resize_with(plan.info.len(), Table::default);
            self.expiry.prepare(plan.info.iter().map(|info| info.pace));
        }
        for (at, (space, rules)) in self.spaces.iter_mut().zip(&plan.columns).enumerate() {
            space.widen(plan.shown_in(at), rules);
        }
        if self.seen.len() != plan.new_fields.len() {
            self.seen.resize_with(plan.new_fields.len(), Seen::default);
        }
    }

    pub(crate) fn keys(&self) -> usize {
        self.spaces.iter().map(Space::len).sum()
    }

    /// Whether there is room for one key more of a form.
    pub(crate) fn has_room(&self, space: usize, plan: &Plan) -> bool {
        !self.spaces[space].is_full() && plan.settings.max_keys.is_none_or(|max| self.keys() < max)
    }

    pub(crate) fn count(&self) -> usize {
        self.tables.iter().map(Table::len).sum()
    }

    /// Whether a rule has a cell for a key.
    pub(crate) fn has(&self, rule: usize, key: &mut Key<'_>, plan: &Plan) -> bool {
        let info = &plan.info[rule];
        let space = &self.spaces[info.space];
        space.find(key).is_some_and(|id| space.has(id, info.column))
    }

    /// Where the cell of a rule and key id stands.
    #[inline]
    pub(crate) fn place(&self, info: &RuleInfo, id: u32) -> At {
        self.spaces[info.space].at(id, info.column)
    }

    /// The cell of a rule and key id, made whole to be changed.
    pub(crate) fn at(&mut self, rule: usize, id: u32, plan: &Plan) -> Option<&mut Cell> {
        self.whole_at(rule, (id, self.place(&plan.info[rule], id)), plan)
    }

    /// The cell of a rule and key id, to be looked at.
    pub(crate) fn held(&self, rule: usize, id: u32, plan: &Plan) -> Option<CellRef<'_>> {
        let info = plan.info.get(rule)?;
        let held = self.spaces.get(info.space)?.held(id, info.column)?;
        self.tables.get(rule)?.get(id, held)
    }

    /// What the small cell of a threshold says; `None` for any other.
    pub(crate) fn little(&self, rule: usize, id: u32, plan: &Plan) -> Option<Little> {
        let info = &plan.info[rule];
        let space = &self.spaces[info.space];
        let At::Small(spot) = space.at(id, info.column) else { return None };
        self.tables[rule].small.sizes.unpack(&space.small(spot)?)
    }

    /// Ids of the keys that a rule counts, in no order that says anything.
    pub(crate) fn keys_of(&self, rule: usize, plan: &Plan) -> Vec<u32> {
        let Some((info, table)) = plan.info.get(rule).zip(self.tables.get(rule)) else {
            return Vec::new();
        };
        let mut keys = table.whole_keys();
        if table.small.count > 0
            && let Some(space) = self.spaces.get(info.space)
        {
            keys.append(&mut space.keys_with_small(info.column));
        }
        keys
    }

    /// The cell of a rule and key id that stands there, made whole to be changed.
    #[inline]
    pub(crate) fn whole_at(
        &mut self,
        rule: usize,
        (id, at): (u32, At),
        plan: &Plan,
    ) -> Option<&mut Cell> {
        let place = match at {
            At::Whole(place) => place,
            At::Nowhere | At::Value(_) => return None,
            At::Small(_) | At::Habit(_) => self.grow(rule, id, plan)?,
        };
        self.tables[rule].get_mut(place)
    }

    /// The place of a small cell once it is whole.
    fn grow(&mut self, rule: usize, id: u32, plan: &Plan) -> Option<usize> {
        let info = &plan.info[rule];
        let space = &mut self.spaces[info.space];
        let place = self.tables[rule].grow(id, space.held(id, info.column)?)?;
        space.set(id, info.column, Held::Whole(place));
        Some(place as usize)
    }

    /// A cell with little left in it becomes small.
    pub(crate) fn shrink(&mut self, rule: usize, id: u32, plan: &Plan) {
        let info = &plan.info[rule];
        let space = &mut self.spaces[info.space];
        if let At::Whole(place) = space.at(id, info.column)
            && let Some(shrunk) = self.tables[rule].shrink(place)
        {
            space.set(id, info.column, shrunk);
        }
    }

    /// Takes the cell of a rule and key id out; a key that has none left is forgotten.
    pub(crate) fn remove(&mut self, rule: usize, id: u32, plan: &Plan) {
        let info = &plan.info[rule];
        let space = &mut self.spaces[info.space];
        if space.cells(id) <= 1 && space.has(id, info.column) {
            self.young.grows_old(space, id);
            if plan.shown_in(info.space) > 0 && !self.set_apart(info.space, id, plan) {
                self.dropped += 1;
            }
        }
        let space = &mut self.spaces[info.space];
        if let Some(held) = space.take(id, info.column) {
            self.tables[rule].remove(held);
        }
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
        let (id, is_new) = space.intern(key);
        let first = is_new || !space.has(id, info.column);
        if first {
            let body = new_body(&plan.rule(rule).check, info.form, ts);
            let place = self.tables[rule].insert(Cell { key: id, fired: 0, body });
            self.is_new(rule, (key.hash, id, is_new), (place, end), plan);
        }
        match self.at(rule, id, plan) {
            Some(cell) => (cell, first),
            None => unreachable!("the cell was inserted above"),
        }
    }

    /// A new cell with this in it, which counts until `end` at least.
    pub(crate) fn begin(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        (first, end): (First, i64),
        plan: &Plan,
    ) {
        let (id, is_new) = self.spaces[plan.info[rule].space].intern(key);
        let table = &mut self.tables[rule];
        let held = match first {
            First::Little(little) => table.insert_little(id, little),
            First::Body(body) => table.insert_least(Cell { key: id, fired: 0, body }),
        };
        self.is_new(rule, (key.hash, id, is_new), (held, end), plan);
    }

    /// Takes up a cell that was just made, and its key with it.
    fn is_new(
        &mut self,
        rule: usize,
        (hash, id, is_new): (u64, u32, bool),
        (held, end): (Held, i64),
        plan: &Plan,
    ) {
        let info = &plan.info[rule];
        let space = &mut self.spaces[info.space];
        if let Some(capture) = self.capture.as_mut().filter(|_| is_new) {
            capture.pass_over(info.space, id);
        }
        space.put(id, info.column, held);
        if is_new && plan.settings.max_keys.is_some() {
            self.young.has_come(&mut self.spaces, info.space, id);
        }
        let slot = info.pace.slot(end.saturating_add(info.close_after_ms), hash);
        let waits = matches!(info.form, Form::Match | Form::Calendar | Form::Rolling);
        if (waits || info.closing == Closing::InTurn)
            && !self.young.waits(number(rule), id, slot.over())
        {
            self.expiry.push(slot, rule, id);
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
        let (id, _) = space.intern(key);
        if space.has(id, info.column) {
            return None;
        }
        let held = self.tables[rule].insert_least(Cell { key: id, ..cell });
        space.put(id, info.column, held);
        Some(id)
    }

    /// Where a cell waits that matters until the watermark is beyond `until`. It goes when the
    /// watermark has reached the end of that, whenever it was last looked at.
    pub(crate) fn slot(&self, until: i64, (rule, id): (usize, u32), plan: &Plan) -> Slot {
        let info = &plan.info[rule];
        info.pace.slot_of(until, || self.spaces[info.space].hash(id))
    }

    /// Brings near where a rule's cells wait.
    pub(crate) fn near_slot(&self, slot: Slot, rule: u32) {
        self.expiry.near(slot, rule);
    }

    /// Looks at a cell again when it may go.
    pub(crate) fn wait(&mut self, slot: Slot, rule: u32, key: u32) {
        self.expiry.wait(slot, rule, key);
    }

    /// No cell of a rule waits any more.
    pub(crate) fn forget_waits(&mut self, rule: usize) {
        self.expiry.clear(rule);
    }

    /// Whether the watermark has passed a slot.
    #[inline]
    pub(crate) fn is_due(&self, watermark: i64) -> bool {
        self.expiry.is_due(watermark)
    }

    /// The keys of the earliest slot that the watermark has passed, by rule.
    pub(crate) fn due(&mut self, watermark: i64) -> Option<Due> {
        let (over, due) = self.expiry.due(watermark)?;
        for (rule, keys) in &due {
            for id in keys {
                self.young.is_over(*rule, *id, over);
            }
        }
        Some(due)
    }

    /// A key that comes again grows old.
    #[inline]
    pub(crate) fn comes_again(&mut self, space: usize, id: u32) {
        self.young.grows_old(&mut self.spaces[space], id);
    }

    /// Takes the lists of such keys back.
    pub(crate) fn give_back(&mut self, due: Due) {
        self.expiry.give_back(due);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.spaces.iter().map(Space::bytes).sum::<usize>()
            + self.tables.iter().map(Table::bytes).sum::<usize>()
            + self.seen.iter().map(Seen::bytes).sum::<usize>()
            + self.expiry.bytes()
            + self.young.bytes()
    }
}

/// Cells of one rule: whole ones by place, and what it takes to read small ones, which stand with their
/// keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    cells: Pool<Option<Cell>>,
    pub(crate) small: Smalls,
}

/// What it takes to read the small cells of one rule.
#[derive(Debug, Clone, Default)]
pub(crate) struct Smalls {
    /// How many there are.
    count: usize,
    pub(crate) sizes: Sizes,
    /// Of those of z-score rules.
    pub(crate) periods: Periods,
}

impl Smalls {
    /// A new one; `None` where it has to be a whole one.
    pub(crate) fn insert(&mut self, little: Little) -> Option<Held> {
        if self.count == 0 {
            // Another rule's, before.
            self.sizes = Sizes::default();
        }
        let small = self.sizes.pack(little)?;
        self.count += 1;
        Some(Held::Small(small))
    }

    /// One that says the same as a whole one; `None` where there is more to it.
    fn pack(&mut self, cell: &Cell) -> Option<Held> {
        if let Some(little) = Little::of(cell) {
            return self.insert(little);
        }
        let habit = Habit::pack(cell, &mut self.periods)?;
        self.count += 1;
        Some(Held::Habit(habit))
    }
}

/// What a new cell begins with.
#[derive(Debug)]
pub(crate) enum First {
    Little(Little),
    Body(Body),
}

/// A cell to look at: as it stands, or what a small one says.
#[derive(Debug)]
pub(crate) enum CellRef<'a> {
    Whole(&'a Cell),
    Small(Cell),
}

impl Deref for CellRef<'_> {
    type Target = Cell;

    fn deref(&self) -> &Cell {
        match self {
            CellRef::Whole(cell) => cell,
            CellRef::Small(cell) => cell,
        }
    }
}

impl Table {
    /// A whole cell.
    #[inline]
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut Cell> {
        self.cells.get_mut(place)?.as_mut()
    }

    /// The cell of a key.
    pub(crate) fn get(&self, key: u32, held: Held) -> Option<CellRef<'_>> {
        match held {
            Held::Small(small) => self.small.sizes.cell(key, &small).map(CellRef::Small),
            Held::Habit(habit) => habit.cell(key, &self.small.periods).map(CellRef::Small),
            Held::Whole(place) => self.cells.get(place as usize)?.as_ref().map(CellRef::Whole),
            Held::Value(_) => None,
        }
    }

    /// Brings the line of a whole cell near.
    #[inline]
    pub(crate) fn near(&self, place: usize) {
        self.cells.near(place);
    }

    /// Brings near what the cell at a place keeps on the heap.
    pub(crate) fn near_heap(&self, place: usize) {
        if let Some(Some(cell)) = self.cells.get(place) {
            cell.body.near_heap();
        }
    }

    /// A new whole cell.
    pub(crate) fn insert(&mut self, cell: Cell) -> Held {
        Held::Whole(self.cells.put(Some(cell)))
    }

    /// A new cell with little in it, which is small if it can be.
    pub(crate) fn insert_little(&mut self, key: u32, little: Little) -> Held {
        let small = self.small.insert(little);
        small.unwrap_or_else(|| self.insert(little.cell(key)))
    }

    /// A new cell, which is small if it can be.
    pub(crate) fn insert_least(&mut self, cell: Cell) -> Held {
        self.small.pack(&cell).unwrap_or_else(|| self.insert(cell))
    }

    /// The place of a small cell once it is whole; `None` for any other.
    pub(crate) fn grow(&mut self, key: u32, held: Held) -> Option<u32> {
        let CellRef::Small(cell) = self.get(key, held)? else { return None };
        self.remove(held);
        Some(self.cells.put(Some(cell)))
    }

    /// The whole cell at a place once it is small; `None` for one that has more to it.
    pub(crate) fn shrink(&mut self, place: usize) -> Option<Held> {
        let shrunk = self.small.pack(self.cells.get(place)?.as_ref()?)?;
        self.cells.give_back(place, None);
        Some(shrunk)
    }

    pub(crate) fn remove(&mut self, held: Held) {
        match held {
            Held::Small(small) => self.small.sizes.leave(&small),
            Held::Habit(habit) => habit.leave(&mut self.small.periods),
            Held::Whole(place) => return self.cells.give_back(place as usize, None),
            Held::Value(_) => return,
        }
        self.small.count -= 1;
    }

    /// Key ids with a whole cell, in the order of their places.
    fn whole_keys(&self) -> Vec<u32> {
        self.cells.iter().flatten().map(|cell| cell.key).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len() + self.small.count
    }

    /// Bytes on the heap, without what cells keep there.
    pub(crate) fn bytes(&self) -> usize {
        self.cells.bytes() + self.small.sizes.bytes() + self.small.periods.bytes()
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
