//! Keys, interned once per partition and key form.

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::arena::Byte;
use crate::engine::habit::Habit;
use crate::engine::index::{GreatIndex, half};
use crate::engine::places::Places;
use crate::engine::routes::Seat;
use crate::engine::rows::{At, COLUMNS_MAX, Column, Held, Notes, Rows, Spot, Stands};
use crate::engine::seen::Value;
use crate::engine::small::Small;

pub(crate) use texts::{field_of, key_object, write_key};

mod texts;

/// Separates the parts of a composite key; cannot stand in JSON text unescaped.
pub(crate) const PART: char = '\u{1f}';

/// No id.
pub(crate) const NONE: u32 = u32::MAX;

/// Fields of which a row has what the key has shown, at most.
pub(crate) const SHOWN_MAX: usize = 2;

/// Rules beyond these are so many that most keys have no cell of them.
const DENSE: usize = COLUMNS_MAX - SHOWN_MAX;

/// The interned keys of one key form, each with its small counters and the places of others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space {
    index: GreatIndex,
    rows: Rows,
    free: Vec<u32>,
    /// Rules that count by this key form, and fields of which it has what was shown.
    rules: usize,
    shown: usize,
    /// Counters of the rules beyond [`DENSE`].
    sparse: Places,
    /// By id, as far as needed: the number of a key that is young, or 0.
    born: Vec<u32>,
    /// How many keys have been forgotten. Where that has not changed, ids are whose they were.
    forgotten: u64,
}

/// A key to look for: hashed once, and looked up once as long as no key of its form is forgotten.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) text: &'a str,
    pub(crate) hash: u64,
    id: Found,
    /// How many keys of its form had been forgotten when it was looked up.
    as_of: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    NotLooked,
    Guessed(u32),
    Nowhere,
    At(u32),
}

/// The hash of the empty text.
const HASH_OF_ALL: u64 = 0x2d06_8005_38d3_94c2;

impl<'a> Key<'a> {
    /// The key of the system.
    pub(crate) fn of_all() -> Key<'static> {
        Key::hashed("", HASH_OF_ALL)
    }

    pub(crate) fn new(text: &'a str) -> Key<'a> {
        Key::hashed(text, hash_of(text))
    }

    /// A key whose hash is known already.
    pub(crate) fn hashed(text: &'a str, hash: u64) -> Key<'a> {
        Key { text, hash, id: Found::NotLooked, as_of: 0 }
    }

    /// The same key as far as it has been found, by the same text elsewhere.
    pub(crate) fn found_for<'b>(&self, text: &'b str) -> Key<'b> {
        Key { text, hash: self.hash, id: self.id, as_of: self.as_of }
    }

    /// The same of a key that most likely has this id.
    pub(crate) fn guessed(text: &'a str, hash: u64, id: Option<u32>) -> Key<'a> {
        Key { id: id.map_or(Found::NotLooked, Found::Guessed), ..Key::hashed(text, hash) }
    }
}

pub(crate) fn hash_of(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

/// Whether two keys have the same text. That of the system is empty, and no bytes are not compared:
/// where libc reads them under a mask, and they stand nowhere, that takes 40 ns.
#[inline]
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    is_same_bytes(one.as_bytes(), other.as_bytes())
}

#[inline]
fn is_same_bytes(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && (one.is_empty() || one == other)
}

impl Space {
    /// Makes room for what so many fields show, and for the rules of this key form, which count in
    /// these ways.
    pub(crate) fn widen(&mut self, shown: usize, rules: &[Column]) {
        if self.rules > DENSE && rules.len() < self.rules {
            self.sparse.cut(number(rules.len()));
        }
        (self.rules, self.shown) = (rules.len(), shown.min(SHOWN_MAX));
        let shown = std::iter::repeat_n(Column::Shown, self.shown);
        let columns: Vec<Column> = shown.chain(rules.iter().copied().take(DENSE)).collect();
        self.rows.set_columns(&columns);
    }

    /// Whether rows have room for what keys have shown of a field.
    pub(crate) fn shows(&self, field: usize) -> bool {
        field < self.shown
    }

    /// Where that stands.
    #[inline]
    pub(crate) fn shown_at(&self, id: u32, field: usize) -> At {
        if self.shows(field) { self.rows.at(id, field) } else { At::Nowhere }
    }

    #[inline]
    pub(crate) fn value(&self, at: Byte) -> Value {
        self.rows.value(at)
    }

    /// Another value in the place of one that stands there; false, and nothing is done, where it does
    /// not fit.
    #[inline]
    pub(crate) fn set_value(&mut self, at: Byte, value: Value) -> bool {
        self.rows.set_value(at, value)
    }

    /// Has this stand for what a key has shown of a field; false, and nothing is done, where it does
    /// not fit.
    pub(crate) fn set_shown(&mut self, id: u32, field: usize, held: Held) -> bool {
        self.shows(field) && self.rows.set(id, field, held)
    }

    pub(crate) fn take_shown(&mut self, id: u32, field: usize) -> Option<Held> {
        if self.shows(field) { self.rows.take(id, field) } else { None }
    }

    /// The id of a key, if it is known.
    #[inline]
    pub(crate) fn find(&self, key: &mut Key<'_>) -> Option<u32> {
        match key.id {
            Found::At(id) if key.as_of == self.forgotten => Some(id),
            Found::Nowhere if key.as_of == self.forgotten => None,
            _ => self.look_up(key),
        }
    }

    /// Where a key's cell of the space's n-th rule stands; fast for one key after another.
    #[inline]
    pub(crate) fn seek(&mut self, id: u32, n: usize) -> At {
        if n < DENSE { self.rows.seek(id, self.shown + n) } else { self.sparse.at(id, number(n)) }
    }

    /// The same for what it has shown of a field.
    #[inline]
    pub(crate) fn seek_shown(&mut self, id: u32, field: usize) -> At {
        if self.shows(field) { self.rows.seek(id, field) } else { At::Nowhere }
    }

    #[inline(never)]
    fn look_up(&self, key: &mut Key<'_>) -> Option<u32> {
        let same = |id: u32| is_same_bytes(self.rows.text(id), key.text.as_bytes());
        let guessed = match key.id {
            // A free row has no text.
            Found::Guessed(id) => Some(id).filter(|id| same(*id) && !key.text.is_empty()),
            _ => None,
        };
        let found = guessed.or_else(|| self.index.find(half(key.hash), same));
        (key.id, key.as_of) = (found.map_or(Found::Nowhere, Found::At), self.forgotten);
        found
    }

    /// Brings the line near where a key of this hash would be noted.
    #[inline]
    pub(crate) fn near_index(&self, hash: u64) {
        self.index.near(half(hash));
    }

    /// A key that has this hash: most likely the one that a look-up will find.
    pub(crate) fn guess(&self, hash: u64) -> Option<u32> {
        self.index.find(half(hash), |_| true)
    }

    /// Brings near where the row of a key begins is told, and where the counters of these seats are
    /// noted that it has no room for.
    #[inline]
    pub(crate) fn near(&self, id: u32, seats: &[Seat]) {
        self.rows.near(id);
        if self.rules > DENSE {
            let sparse = seats.iter().filter(|seat| seat.column >= DENSE);
            sparse.for_each(|seat| self.sparse.near(id, number(seat.column)));
        }
    }

    /// The place in its table of each of a key's counters that stand there, of these seats.
    #[inline]
    pub(crate) fn whole<'a>(
        &'a self,
        id: u32,
        seats: &'a [Seat],
    ) -> impl Iterator<Item = (usize, usize)> + 'a {
        let (has_any, in_row) = self.rows.whole(id);
        let seats = if has_any || self.rules > DENSE { seats } else { &[] };
        seats.iter().filter_map(move |Seat { rule, column: n }| {
            let place = match *n {
                n if n < DENSE => in_row(self.shown + n)?,
                n => match self.sparse.at(id, number(n)) {
                    At::Whole(place) => place,
                    _ => return None,
                },
            };
            Some((*rule, place))
        })
    }

    /// Brings the row of a key near.
    #[inline]
    pub(crate) fn near_row(&self, id: u32) {
        self.rows.near_row(id);
    }

    /// The id of a key, and whether it is new and was made just now. Keep it alive with
    /// [`Space::put`].
    pub(crate) fn intern(&mut self, key: &mut Key<'_>) -> (u32, bool) {
        if let Some(id) = self.find(key) {
            return (id, false);
        }
        let id = self.rows.put(&mut self.free, key.text.as_bytes());
        self.index.insert(half(key.hash), id);
        (key.id, key.as_of) = (Found::At(id), self.forgotten);
        (id, true)
    }

    /// The hash of a key, which is that of its text.
    pub(crate) fn hash(&self, id: u32) -> u64 {
        xxh3_64(self.rows.text(id))
    }

    pub(crate) fn text(&self, id: u32) -> &str {
        std::str::from_utf8(self.rows.text(id)).unwrap_or_default()
    }

    /// Where a key's cell of the space's n-th rule stands.
    #[inline]
    pub(crate) fn at(&self, id: u32, n: usize) -> At {
        if n < DENSE { self.rows.at(id, self.shown + n) } else { self.sparse.at(id, number(n)) }
    }

    #[inline]
    pub(crate) fn has(&self, id: u32, n: usize) -> bool {
        self.at(id, n) != At::Nowhere
    }

    /// A key's cell of the space's n-th rule, or its place.
    pub(crate) fn held(&self, id: u32, n: usize) -> Option<Held> {
        if n < DENSE { self.rows.held(id, self.shown + n) } else { self.sparse.held(id, number(n)) }
    }

    /// Keys that have a small cell of the space's n-th rule.
    pub(crate) fn keys_with_small(&self, n: usize) -> Vec<u32> {
        let is_small = |id: &u32| matches!(self.at(*id, n), At::Small(_) | At::Habit(_));
        if n < DENSE {
            (0..number(self.ids())).filter(is_small).collect()
        } else {
            self.sparse.keys(number(n)).filter(is_small).collect()
        }
    }

    /// The small cell that stands there.
    #[inline]
    pub(crate) fn small(&self, spot: Spot) -> Option<Small> {
        match spot.stands() {
            Stands::Row { at, is_odd } => Some(self.rows.small(at, is_odd)),
            Stands::Apart(at) => self.sparse.small(at),
        }
    }

    /// Changes the small cell that stands there, which stays as odd as before, where `change` says that
    /// it did.
    #[inline]
    pub(crate) fn change_small(
        &mut self,
        spot: Spot,
        change: impl FnOnce(&mut Small) -> bool,
    ) -> bool {
        match spot.stands() {
            Stands::Row { at, is_odd } => self.rows.change_small(at, is_odd, change),
            Stands::Apart(at) => self.sparse.small_mut(at).is_some_and(change),
        }
    }

    /// The same for one of a z-score.
    #[inline]
    pub(crate) fn change_habit(
        &mut self,
        spot: Spot,
        change: impl FnOnce(&mut Habit) -> bool,
    ) -> bool {
        match spot.stands() {
            Stands::Row { at, .. } => self.rows.change_habit(at, change),
            Stands::Apart(at) => self.sparse.habit_mut(at).is_some_and(change),
        }
    }

    /// Other content of a small cell that stands there; as odd as before.
    #[inline]
    pub(crate) fn set_small(&mut self, spot: Spot, small: Small) {
        match spot.stands() {
            Stands::Row { at, .. } => self.rows.set_small(at, small),
            Stands::Apart(at) => self.sparse.small_mut(at).into_iter().for_each(|own| *own = small),
        }
    }

    /// How many cells a key has.
    pub(crate) fn cells(&self, id: u32) -> u16 {
        self.rows.cells(id)
    }

    /// Ids below this one are of keys, or free.
    pub(crate) fn ids(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn reserve(&mut self, keys: usize) {
        self.index.reserve(keys);
    }

    /// Notes a key's new cell, which holds the key.
    pub(crate) fn put(&mut self, id: u32, n: usize, held: Held) {
        self.set(id, n, held);
        if n >= DENSE {
            let notes = self.rows.notes(id);
            self.rows.set_notes(id, Notes { apart: notes.apart.saturating_add(1), ..notes });
        }
    }

    /// A key's cell has another form or place now.
    pub(crate) fn set(&mut self, id: u32, n: usize, held: Held) {
        let fits = if n < DENSE {
            self.rows.set(id, self.shown + n, held)
        } else {
            self.sparse.set(id, number(n), held)
        };
        debug_assert!(fits, "{held:?} in column {n}");
    }

    /// The number of a young key; 0 for any other.
    pub(crate) fn born(&self, id: u32) -> u32 {
        if self.is_young(id) { self.born.get(id as usize).copied().unwrap_or(0) } else { 0 }
    }

    #[inline]
    pub(crate) fn is_young(&self, id: u32) -> bool {
        self.rows.notes(id).is_young
    }

    pub(crate) fn set_born(&mut self, id: u32, number: u32) {
        let notes = self.rows.notes(id);
        self.rows.set_notes(id, Notes { is_young: number != 0, ..notes });
        if self.born.len() <= id as usize {
            self.born.resize(id as usize + 1, 0);
        }
        self.born[id as usize] = number;
    }

    /// Takes a cell out; a key that has no cell left is forgotten and its id used again.
    pub(crate) fn take(&mut self, id: u32, n: usize) -> Option<Held> {
        let held = if n < DENSE {
            self.rows.take(id, self.shown + n)
        } else {
            self.sparse.take(id, number(n))
        };
        if n >= DENSE && held.is_some() {
            let notes = self.rows.notes(id);
            self.rows.set_notes(id, Notes { apart: notes.apart.saturating_sub(1), ..notes });
        }
        if held.is_some() && self.cells(id) == 0 {
            self.index.remove(half(self.hash(id)), id);
            self.rows.clear(id);
            self.free.push(id);
            self.forgotten += 1;
        }
        held
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// There is no room for another key: hundreds of millions are there.
    pub(crate) fn is_full(&self) -> bool {
        self.rows.is_full()
    }

    /// Bytes on the heap, without texts too long for a row.
    pub(crate) fn bytes(&self) -> usize {
        let words = self.free.capacity() + self.born.capacity();
        self.index.bytes() + self.rows.bytes() + self.sparse.bytes() + words * size_of::<u32>()
    }
}

/// A rule's number in its space.
fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
