//! Keys by id: each one's text and counters in a block of its own, as large as they need.
//!
//! A row is its size, where its counters begin, what is noted of the key, two bits for each column that
//! tell which form the counter there has, the text, and the counters, column by column.
//! A small counter stands in the row itself; of any other its place in the table of its rule does. What
//! a key has shown stands there like a counter.

use hashbrown::HashMap;

use crate::engine::arena::{Arena, BLOCK_MAX, Byte};
use crate::engine::habit::Habit;
use crate::engine::seen::Value;
use crate::engine::small::Small;
use crate::engine::space::NONE;

use begins::Begins;
use found::Found;
pub(crate) use held::{At, Column, Held, Notes, Spot, Stands};
use layout::{Layout, NOTHING, ODD, SMALL, WHOLE, form, has_whole, shown};
use value::{VALUE, bytes_of, value_of};

mod begins;
mod found;
mod held;
mod layout;
mod value;

/// Columns of a row at most.
pub(crate) const COLUMNS_MAX: usize = 32;

/// A longer text stands elsewhere: bytes.
const TEXT_MAX: usize = 100;
/// Where what is told of a row begins in it: where its counters begin, its notes, the forms.
const COUNTERS: usize = 1;
const NOTES: usize = 2;
const FORMS: usize = 4;
/// So many bytes less than a row has room for are a reason to move it. One counter that goes and comes
/// again is none.
const SLACK: usize = 20;
/// The row of the newest key has room for so many counters of the largest kind.
const NEWEST_HAS: usize = 5;

/// The forms are read as a word.
const ROW_MIN: usize = FORMS + size_of::<u64>();

const _: () = assert!(FORMS + 8 + TEXT_MAX + COLUMNS_MAX * Habit::BYTES <= BLOCK_MAX);
const _: () = assert!(FORMS + 8 + TEXT_MAX <= u8::MAX as usize);

/// The rows of one key form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    /// Where each begins; [`NONE`] of a free id.
    begins: Begins,
    arena: Arena,
    layout: Layout,
    /// The row that was looked for last, as long as it is as it was.
    found: Found,
    /// The key that came last: its row has room for all that it may need, until the next one comes.
    newest: Option<u32>,
    /// Texts that are too long for a row.
    long: HashMap<u32, Box<[u8]>>,
}

impl Rows {
    /// Makes rows that have these columns; what stands in a column that is another now is gone.
    pub(crate) fn set_columns(&mut self, columns: &[Column]) {
        if self.layout.columns == columns {
            return;
        }
        let rows = Rows { layout: Layout::new(columns), ..Rows::default() };
        let old = std::mem::replace(self, rows);
        for id in 0..u32::try_from(old.len()).unwrap_or(NONE) {
            if old.begin(id).is_none() {
                self.begins.set(id, NONE);
                continue;
            }
            self.put_at(id, old.text(id));
            self.set_notes(id, old.notes(id));
            for (at, column) in columns.iter().enumerate() {
                // What is shown comes first, then one rule after the other.
                let before = match column {
                    Column::Shown => at,
                    _ => at - shown(columns) + shown(&old.layout.columns),
                };
                if old.layout.columns.get(before) == Some(column)
                    && let Some(held) = old.held(id, before)
                {
                    self.set(id, at, held);
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.begins.len
    }

    /// What room is left is that of rows that grow.
    pub(crate) fn is_full(&self) -> bool {
        self.arena.is_full()
    }

    /// Brings near where a row begins is told.
    #[inline]
    pub(crate) fn near(&self, id: u32) {
        self.begins.near(id);
    }

    /// Brings a row near.
    #[inline]
    pub(crate) fn near_row(&self, id: u32) {
        if let Some(begin) = self.begin(id) {
            self.arena.near(begin);
        }
    }

    /// Puts a key where a free one is, or appends it; returns its id.
    pub(crate) fn put(&mut self, free: &mut Vec<u32>, text: &[u8]) -> u32 {
        let id = free.pop().unwrap_or_else(|| u32::try_from(self.len()).unwrap_or(NONE));
        self.put_at(id, text);
        id
    }

    fn put_at(&mut self, id: u32, text: &[u8]) {
        let is_long = text.len() > TEXT_MAX;
        let own = if is_long { &[] } else { text };
        let head = FORMS + self.layout.forms;
        if let Some(newest) = self.newest.take() {
            self.fit(newest);
        }
        let most: usize = self.layout.columns.len().min(NEWEST_HAS) * Habit::BYTES;
        let begin = self.arena.take((head + own.len() + most).max(ROW_MIN));
        self.newest = Some(id);
        let counters = u8::try_from(head + own.len()).unwrap_or(0);
        let row = self.arena.block_mut(begin);
        if let Some([_, told @ ..]) = row.first_chunk_mut::<ROW_MIN>() {
            *told = [0; ROW_MIN - 1];
        }
        row[COUNTERS] = counters;
        row[head..head + own.len()].copy_from_slice(own);
        if is_long {
            self.long.insert(id, text.into());
        }
        self.begins.set(id, begin);
        let shape = self.layout.note(0);
        self.found = Found { id: id.into(), begin, counters, forms: 0, shape };
    }

    #[inline]
    fn begin(&self, id: u32) -> Option<u32> {
        self.begins.get(id).filter(|begin| *begin != NONE)
    }

    /// What stands from the beginning of a row on.
    #[inline]
    fn row(&self, id: u32) -> Option<&[u8]> {
        Some(self.arena.from(self.begin(id)?))
    }

    /// A key's text; empty where there is none.
    #[inline]
    pub(crate) fn text(&self, id: u32) -> &[u8] {
        let Some(row) = self.row(id) else { return &[] };
        let text = &row[FORMS + self.layout.forms..usize::from(row[COUNTERS])];
        if text.is_empty() { self.long.get(&id).map_or(&[], |text| text) } else { text }
    }

    /// Nothing of an id that is free, or that there is not.
    #[inline]
    pub(crate) fn notes(&self, id: u32) -> Notes {
        let row = self.row(id).and_then(|row| row.first_chunk::<FORMS>());
        row.map_or_else(Notes::default, |[.., low, high]| {
            Notes::of(u16::from_le_bytes([*low, *high]))
        })
    }

    pub(crate) fn set_notes(&mut self, id: u32, notes: Notes) {
        if let Some(begin) = self.begin(id) {
            self.arena.set_bytes(Arena::byte(begin, NOTES), notes.bits().to_le_bytes());
        }
    }

    /// Where a key's row begins, how far behind that its counters do, and their forms.
    #[inline]
    fn find(&self, id: u32) -> Option<(u32, u8, u64)> {
        if self.found.is_of(id) {
            let Found { begin, counters, forms, .. } = self.found;
            return Some((begin, counters, forms));
        }
        let begin = self.begin(id)?;
        let [_, counters, _, _, forms @ ..] = *self.arena.from(begin).first_chunk::<ROW_MIN>()?;
        Some((begin, counters, self.layout.forms(forms)))
    }

    /// Has a key's row stand in `found`; false where there is none.
    #[inline]
    fn look(&mut self, id: u32) -> bool {
        self.found.is_of(id) || self.look_anew(id)
    }

    #[inline(never)]
    fn look_anew(&mut self, id: u32) -> bool {
        let Some((begin, counters, forms)) = self.find(id) else { return false };
        let shape = self.layout.note(forms);
        self.found = Found { id: id.into(), begin, counters, forms, shape };
        true
    }

    /// Where the counter in a column stands; faster where the same row was looked for last.
    #[inline]
    pub(crate) fn seek(&mut self, id: u32, column: usize) -> At {
        if !self.look(id) {
            return At::Nowhere;
        }
        let Found { begin, counters, forms, shape, .. } = self.found;
        let form = form(forms, column);
        if form == NOTHING {
            return At::Nowhere;
        }
        let offset = usize::from(counters) + self.layout.shape(shape).offset(column);
        self.at_byte(Arena::byte(begin, offset), form, column)
    }

    /// Where the counter in a column stands.
    #[inline]
    pub(crate) fn at(&self, id: u32, column: usize) -> At {
        let Some((begin, counters, forms)) = self.find(id) else { return At::Nowhere };
        let form = form(forms, column);
        if form == NOTHING {
            return At::Nowhere;
        }
        let offset = usize::from(counters) + self.layout.offset(forms, column);
        self.at_byte(Arena::byte(begin, offset), form, column)
    }

    #[inline]
    fn at_byte(&self, at: Byte, form: u64, column: usize) -> At {
        if form == WHOLE {
            return At::Whole(u32::from_le_bytes(self.arena.bytes(at)) as usize);
        }
        match self.layout.kind(column) {
            Column::Number => At::Small(Spot::row(at, form == ODD)),
            Column::Habit => At::Habit(Spot::row(at, false)),
            Column::Shown => At::Value(at),
        }
    }

    /// Whether a key has counters that stand elsewhere, and by column the place of each.
    #[inline]
    pub(crate) fn whole(&self, id: u32) -> (bool, impl Fn(usize) -> Option<usize>) {
        let (begin, counters, forms) = self.find(id).unwrap_or((0, 0, 0));
        let place = move |column| {
            (form(forms, column) == WHOLE).then(|| {
                let offset = usize::from(counters) + self.layout.offset(forms, column);
                u32::from_le_bytes(self.arena.bytes(Arena::byte(begin, offset))) as usize
            })
        };
        (has_whole(forms), place)
    }

    /// Counters of a key, wherever they stand.
    #[inline]
    pub(crate) fn cells(&self, id: u32) -> u16 {
        let Some(row) = self.row(id).and_then(|row| row.first_chunk::<ROW_MIN>()) else { return 0 };
        let [_, _, low, high, forms @ ..] = *row;
        let apart = Notes::of(u16::from_le_bytes([low, high])).apart;
        self.layout.cells(self.layout.forms(forms)).saturating_add(apart)
    }

    /// The counter in a column.
    pub(crate) fn held(&self, id: u32, column: usize) -> Option<Held> {
        match self.at(id, column) {
            At::Nowhere => None,
            At::Whole(place) => u32::try_from(place).ok().map(Held::Whole),
            At::Value(at) => Some(Held::Value(self.value(at))),
            At::Small(spot) => match spot.stands() {
                Stands::Row { at, is_odd } => Some(Held::Small(self.small(at, is_odd))),
                Stands::Apart(_) => None,
            },
            At::Habit(spot) => match spot.stands() {
                Stands::Row { at, .. } => Some(Held::Habit(self.habit(at))),
                Stands::Apart(_) => None,
            },
        }
    }

    #[inline]
    pub(crate) fn small(&self, at: Byte, is_odd: bool) -> Small {
        Small::of_bytes(&self.arena.bytes(at), is_odd)
    }

    #[inline]
    pub(crate) fn habit(&self, at: Byte) -> Habit {
        Habit::of_bytes(&self.arena.bytes(at))
    }

    #[inline]
    pub(crate) fn value(&self, at: Byte) -> Value {
        value_of(self.arena.bytes(at))
    }

    /// The same counter with other content, which is as odd.
    #[inline]
    pub(crate) fn set_small(&mut self, at: Byte, small: Small) {
        self.arena.set_bytes(at, small.to_bytes());
    }

    /// Changes the counter where `change` says that it did.
    #[inline]
    pub(crate) fn change_small(
        &mut self,
        at: Byte,
        is_odd: bool,
        change: impl FnOnce(&mut Small) -> bool,
    ) -> bool {
        let Some(bytes) = self.arena.bytes_mut(at) else { return false };
        let mut small = Small::of_bytes(bytes, is_odd);
        let is_changed = change(&mut small);
        if is_changed {
            *bytes = small.to_bytes();
        }
        is_changed
    }

    #[inline]
    pub(crate) fn change_habit(
        &mut self,
        at: Byte,
        change: impl FnOnce(&mut Habit) -> bool,
    ) -> bool {
        let Some(bytes) = self.arena.bytes_mut(at) else { return false };
        let mut habit = Habit::of_bytes(bytes);
        let is_changed = change(&mut habit);
        if is_changed {
            *bytes = habit.to_bytes();
        }
        is_changed
    }

    /// The same column with another value; false, and nothing is done, where it does not fit.
    #[inline]
    pub(crate) fn set_value(&mut self, at: Byte, value: Value) -> bool {
        let Some(bytes) = bytes_of(value) else { return false };
        self.arena.set_bytes(at, bytes);
        true
    }

    /// Has this counter in a column, in the place of another if there is one; false, and nothing is
    /// done, where the column has no room for its form.
    pub(crate) fn set(&mut self, id: u32, column: usize, held: Held) -> bool {
        match (held, self.layout.columns.get(column)) {
            (Held::Whole(place), Some(_)) => self.write(id, column, (WHOLE, place.to_le_bytes())),
            (Held::Small(small), Some(Column::Number)) => {
                let form = if small.is_odd { ODD } else { SMALL };
                self.write(id, column, (form, small.to_bytes()));
            }
            (Held::Habit(habit), Some(Column::Habit)) => {
                self.write(id, column, (SMALL, habit.to_bytes()));
            }
            (Held::Value(value), Some(Column::Shown)) => match bytes_of(value) {
                Some(bytes) => self.write(id, column, (SMALL, bytes)),
                None => return false,
            },
            _ => return false,
        }
        true
    }

    /// Takes the counter of a column out.
    pub(crate) fn take(&mut self, id: u32, column: usize) -> Option<Held> {
        let held = self.held(id, column)?;
        self.write(id, column, (NOTHING, []));
        Some(held)
    }

    /// Takes a key away.
    pub(crate) fn clear(&mut self, id: u32) {
        let Some(begin) = self.begin(id) else { return };
        self.arena.give_back(begin);
        self.set_begin(id, NONE);
        self.newest = self.newest.filter(|newest| *newest != id);
        self.long.remove(&id);
    }

    /// Puts bytes of a form into a column, in the place of those that stand there.
    #[inline]
    fn write<const N: usize>(&mut self, id: u32, column: usize, (to, bytes): (u64, [u8; N])) {
        if !self.look(id) {
            return;
        }
        let Found { mut begin, counters, forms, mut shape, .. } = self.found;
        let old = form(forms, column);
        let own = self.layout.shape(shape);
        let offset = usize::from(counters) + own.offset(column);
        let new = forms & !(3 << (2 * column)) | to << (2 * column);
        if (old == NOTHING) != (to == NOTHING) {
            let used = usize::from(counters) + own.used();
            begin = self.make_room((id, begin), (offset, used), column, to != NOTHING);
            shape = self.layout.note(new);
        }
        if N > 0 {
            self.arena.set_bytes(Arena::byte(begin, offset), bytes);
        }
        if old != to {
            let [at, of] = [FORMS + column / 4, column / 4];
            self.arena.set_bytes(Arena::byte(begin, at), [new.to_le_bytes()[of]]);
        }
        self.found = Found { id: id.into(), begin, counters, forms: new, shape };
    }

    /// Makes room for what a column will have, or gives that of what it had back; returns where the row
    /// begins then.
    #[inline]
    fn make_room(
        &mut self,
        (id, begin): (u32, u32),
        (offset, used): (usize, usize),
        column: usize,
        comes: bool,
    ) -> u32 {
        let width = self.layout.width(column);
        let room = self.arena.block(begin).len();
        if comes {
            let is_full = used + width > room;
            let row = (id, begin);
            let begin = if is_full { self.move_row(row, used, used + width) } else { begin };
            if offset < used {
                self.arena.block_mut(begin).copy_within(offset..used, offset + width);
            }
            return begin;
        }
        let needed = used - width;
        self.arena.block_mut(begin).copy_within(offset + width..used, offset);
        let is_loose = needed + SLACK <= room && self.newest != Some(id);
        if is_loose { self.move_row((id, begin), needed, needed) } else { begin }
    }

    /// Gives a row no more room than it needs.
    fn fit(&mut self, id: u32) {
        if self.look(id) {
            let Found { begin, counters, shape, .. } = self.found;
            let used = usize::from(counters) + self.layout.shape(shape).used();
            self.move_row((id, begin), used, used);
        }
    }

    /// Moves the first so many bytes of a row to a block that has room for those that are needed;
    /// returns where it begins.
    fn move_row(&mut self, (id, begin): (u32, u32), used: usize, needed: usize) -> u32 {
        let to = self.arena.take(needed.max(ROW_MIN));
        self.arena.copy(begin, to, COUNTERS..used);
        self.arena.give_back(begin);
        self.set_begin(id, to);
        to
    }

    /// Notes that a row begins there.
    #[inline]
    fn set_begin(&mut self, id: u32, begin: u32) {
        self.begins.set(id, begin);
        if self.found.is_of(id) {
            self.found = Found::default();
        }
    }

    /// Bytes on the heap, without texts that are too long for a row.
    pub(crate) fn bytes(&self) -> usize {
        self.begins.lines.bytes() + self.arena.heap() + self.long.allocation_size()
    }
}

#[cfg(test)]
mod tests;
