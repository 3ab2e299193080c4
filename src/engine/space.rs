//! Keys, interned once per partition and key form.

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::index::{GreatIndex, half};
use crate::engine::places::Places;
use crate::engine::routes::Seat;
use crate::engine::rows::{NEAR, Rows};
use crate::event::{AttrValue, Event};
use crate::near::near_all;
use crate::rule::{Field, KeySpec};

/// Separates the parts of a composite key; cannot stand in JSON text unescaped.
pub(crate) const PART: char = '\u{1f}';

/// No place in a table.
pub(crate) const NONE: u32 = u32::MAX;

/// Rules beyond these are so many that most keys have no cell of them.
const DENSE: usize = 32;

/// The interned keys of one key form, each with the places of its cells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space {
    index: GreatIndex,
    rows: Rows,
    free: Vec<u32>,
    /// Rules that count by this key form.
    rules: usize,
    /// Places in their tables of cells of the rules beyond [`NEAR`], row by row.
    far: Vec<u32>,
    /// Of the rules beyond [`DENSE`], of those keys that have a cell.
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

impl<'a> Key<'a> {
    pub(crate) fn new(text: &'a str) -> Key<'a> {
        Key::hashed(text, hash_of(text))
    }

    /// A key whose hash is known already.
    pub(crate) fn hashed(text: &'a str, hash: u64) -> Key<'a> {
        Key { text, hash, id: Found::NotLooked, as_of: 0 }
    }

    /// The same of a key that most likely has this id.
    pub(crate) fn guessed(text: &'a str, hash: u64, id: Option<u32>) -> Key<'a> {
        Key { id: id.map_or(Found::NotLooked, Found::Guessed), ..Key::hashed(text, hash) }
    }
}

pub(crate) fn hash_of(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

impl Space {
    /// Makes room for so many rules of this key form.
    pub(crate) fn widen(&mut self, rules: usize) {
        let (old, new) = (beyond(self.rules), beyond(rules));
        if self.rules > DENSE && rules < self.rules {
            self.sparse.cut(number(rules));
        }
        self.rules = rules;
        self.rows.widen(rules);
        if old == new {
            return;
        }
        let mut far = vec![NONE; self.rows.len() * new];
        for (row, old) in far.chunks_mut(new.max(1)).zip(self.far.chunks(old.max(1))) {
            row.iter_mut().zip(old).for_each(|(place, old)| *place = *old);
        }
        self.far = far;
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

    #[inline(never)]
    fn look_up(&self, key: &mut Key<'_>) -> Option<u32> {
        let same = |id: u32| self.rows.text(id) == key.text.as_bytes();
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

    /// Brings the row of a key near, and the places of these seats that it has no room for.
    #[inline]
    pub(crate) fn near(&self, id: u32, seats: &[Seat]) {
        self.rows.near(id);
        let far = beyond(self.rules);
        if far > 0 {
            let begin = id as usize * far;
            near_all(self.far.get(begin..begin + far).unwrap_or_default());
        }
        if self.rules > DENSE {
            let sparse = seats.iter().filter(|seat| seat.column >= DENSE);
            sparse.for_each(|seat| self.sparse.near(id, number(seat.column)));
        }
    }

    /// Where a key's cells of the first rules stand.
    #[inline]
    pub(crate) fn places(&self, id: u32) -> &[u32] {
        self.rows.places(id)
    }

    /// The id of a key, made when it is new. Keep it alive with [`Space::put`].
    pub(crate) fn intern(&mut self, key: &mut Key<'_>) -> u32 {
        if let Some(id) = self.find(key) {
            return id;
        }
        let id = self.rows.put(&mut self.free, key.text.as_bytes());
        self.far.resize(self.rows.len() * beyond(self.rules), NONE);
        self.index.insert(half(key.hash), id);
        (key.id, key.as_of) = (Found::At(id), self.forgotten);
        id
    }

    /// The hash of a key, which is that of its text.
    pub(crate) fn hash(&self, id: u32) -> u64 {
        xxh3_64(self.rows.text(id))
    }

    pub(crate) fn text(&self, id: u32) -> &str {
        std::str::from_utf8(self.rows.text(id)).unwrap_or_default()
    }

    /// Where a key's cell of the space's n-th rule stands; beyond every table when it has none.
    #[inline]
    pub(crate) fn place(&self, id: u32, n: usize) -> u32 {
        if n < NEAR { self.rows.place(id, n).unwrap_or(NONE) } else { self.far_place(id, n) }
    }

    #[inline(never)]
    fn far_place(&self, id: u32, n: usize) -> u32 {
        let far = || self.far.get(id as usize * beyond(self.rules) + (n - NEAR)).copied();
        let place = if n < DENSE { far() } else { self.sparse.get(id, number(n)) };
        place.unwrap_or(NONE)
    }

    /// The place of one of the first [`DENSE`] rules.
    fn place_mut(&mut self, id: u32, n: usize) -> &mut u32 {
        if n < NEAR {
            self.rows.place_mut(id, n)
        } else {
            &mut self.far[id as usize * beyond(self.rules) + (n - NEAR)]
        }
    }

    /// A key without a cell: made just now.
    pub(crate) fn is_unused(&self, id: u32) -> bool {
        self.rows.notes(id).is_some_and(|notes| notes.cells == 0)
    }

    /// How many cells a key has.
    pub(crate) fn cells(&self, id: u32) -> u16 {
        self.rows.notes(id).map_or(0, |notes| notes.cells)
    }

    /// Ids below this one are of keys, or free.
    pub(crate) fn ids(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn reserve(&mut self, keys: usize) {
        self.index.reserve(keys);
    }

    /// Notes a key's new cell, which holds the key.
    pub(crate) fn put(&mut self, id: u32, n: usize, place: u32) {
        self.moves(id, n, place);
        let notes = self.rows.notes_mut(id);
        notes.cells = notes.cells.saturating_add(1);
    }

    /// A key's cell has another place now.
    pub(crate) fn moves(&mut self, id: u32, n: usize, place: u32) {
        if n < DENSE {
            *self.place_mut(id, n) = place;
        } else {
            self.sparse.put(id, number(n), place);
        }
    }

    /// The number of a young key; 0 for any other.
    pub(crate) fn born(&self, id: u32) -> u32 {
        if self.is_young(id) { self.born.get(id as usize).copied().unwrap_or(0) } else { 0 }
    }

    #[inline]
    pub(crate) fn is_young(&self, id: u32) -> bool {
        self.rows.notes(id).is_some_and(|notes| notes.is_young)
    }

    pub(crate) fn set_born(&mut self, id: u32, number: u32) {
        self.rows.notes_mut(id).is_young = number != 0;
        if self.born.len() <= id as usize {
            self.born.resize(id as usize + 1, 0);
        }
        self.born[id as usize] = number;
    }

    /// Takes a cell's place back; a key that has no cell left is forgotten and its id used again.
    pub(crate) fn take(&mut self, id: u32, n: usize) -> u32 {
        let place = if n < DENSE {
            std::mem::replace(self.place_mut(id, n), NONE)
        } else {
            self.sparse.take(id, number(n)).unwrap_or(NONE)
        };
        let notes = self.rows.notes_mut(id);
        notes.cells = notes.cells.saturating_sub(u16::from(place != NONE));
        if notes.cells == 0 && place != NONE {
            self.index.remove(half(self.hash(id)), id);
            self.rows.clear(id);
            self.free.push(id);
            self.forgotten += 1;
        }
        place
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes on the heap, without texts too long to stand inline.
    pub(crate) fn bytes(&self) -> usize {
        let words = self.free.capacity() + self.far.capacity() + self.born.capacity();
        self.index.bytes() + self.rows.bytes() + self.sparse.bytes() + words * size_of::<u32>()
    }
}

/// Of so many rules those that have a place for each key, beside its row.
fn beyond(rules: usize) -> usize {
    rules.min(DENSE).saturating_sub(NEAR)
}

/// A rule's number in its space.
fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A field's text, borrowed where it is one; `None` when the event lacks it.
pub(crate) fn field_of<'a>(
    field: &Field,
    event: &'a Event<'_>,
    buffer: &'a mut String,
) -> Option<&'a str> {
    if let Some(text) = text_of(field, event) {
        return Some(text);
    }
    buffer.clear();
    write_field(field, event, buffer).then_some(buffer.as_str())
}

fn text_of<'a>(field: &Field, event: &'a Event<'_>) -> Option<&'a str> {
    match field {
        Field::Id => Some(&event.id),
        Field::User => Some(&event.user),
        Field::Kind => Some(event.kind.as_str()),
        Field::Source => event.source.as_deref(),
        Field::Device => event.device.as_deref(),
        Field::Ip => event.ip.as_deref(),
        Field::Attr(name) => match event.attr(name) {
            Some(AttrValue::Text(value)) => Some(value),
            _ => None,
        },
        Field::Points | Field::Hour | Field::Weekday => None,
    }
}

/// Writes the key of `event` into `text`; false when the event lacks one of the fields.
pub(crate) fn write_key(spec: &KeySpec, event: &Event<'_>, text: &mut String) -> bool {
    text.clear();
    for (at, field) in spec.fields.iter().enumerate() {
        if at > 0 {
            text.push(PART);
        }
        if !write_field(field, event, text) {
            return false;
        }
    }
    true
}

/// Writes a field's text; false when the event lacks it.
fn write_field(field: &Field, event: &Event<'_>, text: &mut String) -> bool {
    use std::fmt::Write as _;
    match field {
        Field::Points => write!(text, "{}", event.points).is_ok(),
        Field::Attr(name) => match event.attr(name) {
            Some(AttrValue::Text(value)) => write!(text, "{value}").is_ok(),
            Some(AttrValue::Integer(value)) => write!(text, "{value}").is_ok(),
            Some(AttrValue::Float(value)) => write!(text, "{value}").is_ok(),
            Some(AttrValue::Bool(value)) => write!(text, "{value}").is_ok(),
            None => false,
        },
        field => match text_of(field, event) {
            Some(value) => {
                text.push_str(value);
                true
            }
            None => false,
        },
    }
}

/// The key as it stands in decisions: field name → value, `{"global":true}` without fields.
pub(crate) fn key_object(spec: &KeySpec, text: &str) -> serde_json::Map<String, serde_json::Value> {
    let mut map = serde_json::Map::new();
    if spec.fields.is_empty() {
        map.insert("global".to_owned(), true.into());
        return map;
    }
    for (field, value) in spec.fields.iter().zip(text.split(PART)) {
        map.insert(field.to_string(), value.into());
    }
    map
}
