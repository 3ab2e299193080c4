//! Cells found by rule and key.

use std::ops::Deref;

use smallvec::SmallVec;

use crate::engine::Plan;
use crate::engine::baseline::Series;
use crate::engine::calendar::Span;
use crate::engine::cell::{Body, CalendarCell, Cell, More, Roll, RollingCell, ZCell};
use crate::engine::expiry::{Due, Expiry, Slot};
use crate::engine::habit::Habit;
use crate::engine::outbox::number;
use crate::engine::plan::Form;
use crate::engine::slab::Pool;
use crate::engine::small::{Little, Periods, Sizes, Small};
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

    /// Whether a rule has a cell for a key.
    pub(crate) fn has(&self, rule: usize, key: &mut Key<'_>, plan: &Plan) -> bool {
        let info = &plan.info[rule];
        let space = &self.spaces[info.space];
        let id = space.find(key);
        id.is_some_and(|id| self.tables[rule].has(space.place(id, info.column)))
    }

    /// The cell of a rule and key id, made whole to be changed.
    pub(crate) fn at(&mut self, rule: usize, id: u32, plan: &Plan) -> Option<&mut Cell> {
        let info = &plan.info[rule];
        let place = self.spaces[info.space].place(id, info.column);
        self.whole_at(rule, (id, place), plan)
    }

    /// The cell of a rule and key id, to be looked at.
    pub(crate) fn held(&self, rule: usize, id: u32, plan: &Plan) -> Option<CellRef<'_>> {
        let info = &plan.info[rule];
        self.tables[rule].get(self.spaces[info.space].place(id, info.column))
    }

    /// The cell of a rule and key id at its place, made whole to be changed.
    pub(crate) fn whole_at(
        &mut self,
        rule: usize,
        (id, place): (u32, u32),
        plan: &Plan,
    ) -> Option<&mut Cell> {
        let place = self.whole(rule, id, place, plan);
        self.tables[rule].get_mut(place)
    }

    /// Where the cell at a place stands once it is whole.
    fn whole(&mut self, rule: usize, id: u32, place: u32, plan: &Plan) -> u32 {
        let Some(grown) = self.tables[rule].grow(place) else { return place };
        let info = &plan.info[rule];
        self.spaces[info.space].moves(id, info.column, grown);
        grown
    }

    /// A cell with little left in it becomes small.
    pub(crate) fn shrink(&mut self, rule: usize, id: u32, plan: &Plan) {
        let info = &plan.info[rule];
        let space = &mut self.spaces[info.space];
        if let Some(shrunk) = self.tables[rule].shrink(space.place(id, info.column)) {
            space.moves(id, info.column, shrunk);
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
        let id = space.intern(key);
        let mut place = space.place(id, info.column);
        let first = !self.tables[rule].has(place);
        if first {
            let body = new_body(&plan.rule(rule).check, info.form, ts);
            place = self.tables[rule].insert(Cell { key: id, fired: 0, body });
            self.is_new(rule, (key.hash, id), (place, end), plan);
        } else {
            place = self.whole(rule, id, place, plan);
        }
        let table = &mut self.tables[rule];
        match table.get_mut(place) {
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
        let id = self.spaces[plan.info[rule].space].intern(key);
        let table = &mut self.tables[rule];
        let place = match first {
            First::Little(little) => table.insert_little(id, little),
            First::Body(body) => table.insert_least(Cell { key: id, fired: 0, body }),
        };
        self.is_new(rule, (key.hash, id), (place, end), plan);
    }

    /// Takes up a cell that was just made, and its key with it.
    fn is_new(
        &mut self,
        rule: usize,
        (hash, id): (u64, u32),
        (place, end): (u32, i64),
        plan: &Plan,
    ) {
        let info = &plan.info[rule];
        let space = &mut self.spaces[info.space];
        let is_new = space.is_unused(id);
        if let Some(capture) = self.capture.as_mut().filter(|_| is_new) {
            capture.pass_over(info.space, id);
        }
        space.put(id, info.column, place);
        if is_new && plan.settings.max_keys.is_some() {
            self.young.has_come(&mut self.spaces, info.space, id);
        }
        let slot = info.pace.slot(end.saturating_add(plan.settings.allowed_lateness_ms), hash);
        if matches!(info.form, Form::Match | Form::Calendar | Form::Rolling)
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
        let id = space.intern(key);
        let table = &mut self.tables[rule];
        if table.has(space.place(id, info.column)) {
            return None;
        }
        let place = table.insert_least(Cell { key: id, ..cell });
        space.put(id, info.column, place);
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

    /// Takes the lists of such keys back.
    pub(crate) fn give_back(&mut self, due: Due) {
        self.expiry.give_back(due);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.spaces.iter().map(Space::bytes).sum::<usize>()
            + self.tables.iter().map(Table::bytes).sum::<usize>()
            + self.expiry.bytes()
            + self.young.bytes()
    }
}

/// Cells of one rule, by the place that [`Space`](crate::engine::space::Space) keeps for it
/// with the key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    cells: Pool<Option<Cell>>,
    /// Those with little in them; their places have [`SMALL`] set.
    small: Pool<Small>,
    sizes: Sizes,
    /// Those of z-score rules with little in them; their places have [`HABIT`] set as well.
    habits: Pool<Habit>,
    periods: Periods,
}

/// Marks the place of a small cell.
const SMALL: u32 = 1 << 31;
const HABIT: u32 = 1 << 30;

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
    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut Cell> {
        self.cells.get_mut(place as usize)?.as_mut()
    }

    pub(crate) fn get(&self, place: u32) -> Option<CellRef<'_>> {
        match At::of(place) {
            At::Small(at) => self.sizes.cell(self.small.get(at)?).map(CellRef::Small),
            At::Habit(at) => self.habits.get(at)?.cell(&self.periods).map(CellRef::Small),
            At::Whole(at) => self.cells.get(at)?.as_ref().map(CellRef::Whole),
        }
    }

    /// What a small cell of a threshold says.
    #[inline]
    pub(crate) fn little(&self, place: u32) -> Option<Little> {
        let At::Small(at) = At::of(place) else { return None };
        self.sizes.unpack(self.small.get(at)?)
    }

    /// A small cell, and what it takes to read it.
    #[inline]
    pub(crate) fn small_mut(&mut self, place: u32) -> Option<(&mut Small, &mut Sizes)> {
        let At::Small(at) = At::of(place) else { return None };
        Some((self.small.get_mut(at)?, &mut self.sizes))
    }

    /// A small cell of a z-score rule, and what it takes to read it.
    #[inline]
    pub(crate) fn habit_mut(&mut self, place: u32) -> Option<(&mut Habit, &Periods)> {
        let At::Habit(at) = At::of(place) else { return None };
        Some((self.habits.get_mut(at)?, &self.periods))
    }

    /// Brings the line of a place near; true where there may be more on the heap.
    #[inline]
    pub(crate) fn near(&self, place: u32) -> bool {
        let at = At::of(place);
        match at {
            At::Small(at) => self.small.near(at),
            At::Habit(at) => self.habits.near(at),
            At::Whole(at) => self.cells.near(at),
        }
        matches!(at, At::Whole(_))
    }

    /// Brings near what the cell at a place keeps on the heap.
    pub(crate) fn near_heap(&self, place: u32) {
        if let Some(Some(cell)) = self.cells.get(place as usize) {
            cell.body.near_heap();
        }
    }

    pub(crate) fn has(&self, place: u32) -> bool {
        match At::of(place) {
            At::Small(at) => self.small.get(at).is_some_and(|small| small.key().is_some()),
            At::Habit(at) => self.habits.get(at).is_some_and(|habit| habit.key().is_some()),
            At::Whole(at) => self.cells.get(at).is_some_and(Option::is_some),
        }
    }

    /// The place of the new cell.
    pub(crate) fn insert(&mut self, cell: Cell) -> u32 {
        self.cells.put(Some(cell))
    }

    /// The place of a new cell with little in it, which is small if it can be.
    pub(crate) fn insert_little(&mut self, key: u32, little: Little) -> u32 {
        let place = self.insert_small(key, little);
        place.unwrap_or_else(|| self.insert(little.cell(key)))
    }

    /// The place of a new cell, which is small if it can be.
    pub(crate) fn insert_least(&mut self, cell: Cell) -> u32 {
        self.insert_packed(&cell).unwrap_or_else(|| self.insert(cell))
    }

    /// The place of a new small cell; `None` where it has to be a whole one.
    pub(crate) fn insert_small(&mut self, key: u32, little: Little) -> Option<u32> {
        if self.small.len() == 0 {
            // Another rule's, before.
            self.sizes = Sizes::default();
        }
        let small = self.sizes.pack(key, little)?;
        Some(self.small.put(small) | SMALL)
    }

    /// The place of a small cell that says the same as a whole one; `None` where there is more to it.
    fn insert_packed(&mut self, cell: &Cell) -> Option<u32> {
        if let Some(little) = Little::of(cell) {
            return self.insert_small(cell.key, little);
        }
        let habit = Habit::pack(cell, &mut self.periods)?;
        Some(self.habits.put(habit) | SMALL | HABIT)
    }

    /// Where a small cell stands once it is whole; `None` for any other.
    pub(crate) fn grow(&mut self, place: u32) -> Option<u32> {
        let CellRef::Small(cell) = self.get(place)? else { return None };
        self.remove(place);
        Some(self.insert(cell))
    }

    /// Where a cell stands once it is small; `None` for one that is already, or has more to it.
    pub(crate) fn shrink(&mut self, place: u32) -> Option<u32> {
        let At::Whole(at) = At::of(place) else { return None };
        let cell = self.cells.get(at)?.as_ref()?;
        let shrunk = match Little::of(cell) {
            Some(little) => self.insert_small(cell.key, little)?,
            None => self.habits.put(Habit::pack(cell, &mut self.periods)?) | SMALL | HABIT,
        };
        self.cells.give_back(at, None);
        Some(shrunk)
    }

    pub(crate) fn remove(&mut self, place: u32) {
        if !self.has(place) {
            return;
        }
        match At::of(place) {
            At::Small(at) => {
                self.small.get(at).into_iter().for_each(|small| self.sizes.leave(small));
                self.small.give_back(at, Small::FREE);
            }
            At::Habit(at) => {
                self.habits.get(at).into_iter().for_each(|habit| habit.leave(&mut self.periods));
                self.habits.give_back(at, Habit::FREE);
            }
            At::Whole(at) => self.cells.give_back(at, None),
        }
    }

    /// Key ids with a cell, in the order of their places.
    pub(crate) fn keys(&self) -> Vec<u32> {
        let whole = self.cells.iter().flatten().map(|cell| cell.key);
        let small = self.small.iter().filter_map(Small::key);
        whole.chain(small).chain(self.habits.iter().filter_map(Habit::key)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len() + self.small.len() + self.habits.len()
    }

    /// Bytes on the heap, without what cells keep there.
    pub(crate) fn bytes(&self) -> usize {
        let cells = self.cells.bytes() + self.small.bytes() + self.habits.bytes();
        cells + self.sizes.bytes() + self.periods.bytes()
    }
}

/// Which cell stands at a place.
#[derive(Debug, Clone, Copy)]
enum At {
    Whole(usize),
    Small(usize),
    Habit(usize),
}

impl At {
    #[inline]
    fn of(place: u32) -> At {
        match (place & SMALL != 0, place & HABIT != 0) {
            (true, false) => At::Small((place & !SMALL) as usize),
            (true, true) => At::Habit((place & !(SMALL | HABIT)) as usize),
            (false, _) => At::Whole(place as usize),
        }
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
