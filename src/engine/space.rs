//! Keys, interned once per partition and key form.

use hashbrown::HashTable;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::event::{AttrValue, Event};
use crate::rule::{Field, KeySpec};

/// Separates the parts of a composite key; cannot stand in JSON text unescaped.
const PART: char = '\u{1f}';

/// No place in a table.
const NONE: u32 = u32::MAX;

/// The interned keys of one key form, each with the places of its cells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space {
    index: HashTable<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Rules that count by this key form.
    rules: usize,
    /// Place in its table by key id and rule of the space, row by row.
    places: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// Bytes of a text: most keys are short enough to stand inline.
    text: SmallVec<[u8; 16]>,
    hash: u32,
    cells: u32,
}

/// A key to look for: hashed once, looked up once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) text: &'a str,
    pub(crate) hash: u64,
    id: Found,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    NotLooked,
    Nowhere,
    At(u32),
}

impl<'a> Key<'a> {
    pub(crate) fn new(text: &'a str) -> Key<'a> {
        Key::hashed(text, hash_of(text))
    }

    /// A key whose hash is known already.
    pub(crate) fn hashed(text: &'a str, hash: u64) -> Key<'a> {
        Key { text, hash, id: Found::NotLooked }
    }
}

pub(crate) fn hash_of(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

impl Space {
    /// Makes room for so many rules of this key form.
    pub(crate) fn widen(&mut self, rules: usize) {
        if self.rules == rules {
            return;
        }
        let rows = self.entries.len();
        let mut places = vec![NONE; rows * rules];
        for (row, old) in places.chunks_mut(rules.max(1)).zip(self.places.chunks(self.rules.max(1)))
        {
            row.iter_mut().zip(old).for_each(|(place, old)| *place = *old);
        }
        (self.rules, self.places) = (rules, places);
    }

    /// The id of a key, if it is known.
    pub(crate) fn find(&self, key: &mut Key<'_>) -> Option<u32> {
        if key.id == Found::NotLooked {
            let (hash, entries) = (half(key.hash), &self.entries);
            let same = |id: &u32| {
                let entry = &entries[*id as usize];
                entry.hash == hash && *entry.text == *key.text.as_bytes()
            };
            let found = self.index.find(spread(hash), same);
            key.id = found.map_or(Found::Nowhere, |id| Found::At(*id));
        }
        match key.id {
            Found::At(id) => Some(id),
            Found::NotLooked | Found::Nowhere => None,
        }
    }

    /// A key that seems to have this hash: what a look-up will read first.
    pub(crate) fn guess(&self, hash: u64) -> Option<u32> {
        self.index.find(spread(half(hash)), |_| true).copied()
    }

    /// Reads the row of a key.
    pub(crate) fn touch(&self, id: u32) {
        let entry = self.entries.get(id as usize).map(|entry| (entry.hash, entry.text.first()));
        std::hint::black_box((entry, self.place(id, 0)));
    }

    /// The id of a key, made when it is new. Keep it alive with [`Space::put`].
    pub(crate) fn intern(&mut self, key: &mut Key<'_>) -> u32 {
        if let Some(id) = self.find(key) {
            return id;
        }
        let hash = half(key.hash);
        let entry = Entry { hash, text: SmallVec::from_slice(key.text.as_bytes()), cells: 0 };
        let id = if let Some(id) = self.free.pop() {
            self.entries[id as usize] = entry;
            id
        } else {
            self.entries.push(entry);
            self.places.resize(self.entries.len() * self.rules, NONE);
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        };
        let entries = &self.entries;
        self.index.insert_unique(spread(hash), id, |id| spread(entries[*id as usize].hash));
        key.id = Found::At(id);
        id
    }

    pub(crate) fn text(&self, id: u32) -> &str {
        std::str::from_utf8(&self.entries[id as usize].text).unwrap_or_default()
    }

    /// Where a key's cell of the space's n-th rule stands; beyond every table when it has none.
    pub(crate) fn place(&self, id: u32, n: usize) -> u32 {
        self.places.get(id as usize * self.rules + n).copied().unwrap_or(NONE)
    }

    /// Notes a key's new cell, which holds the key.
    pub(crate) fn put(&mut self, id: u32, n: usize, place: u32) {
        self.places[id as usize * self.rules + n] = place;
        self.entries[id as usize].cells += 1;
    }

    /// Takes a cell's place back; a key that has no cell left is forgotten and its id used again.
    pub(crate) fn take(&mut self, id: u32, n: usize) -> u32 {
        let place = std::mem::replace(&mut self.places[id as usize * self.rules + n], NONE);
        let entry = &mut self.entries[id as usize];
        entry.cells = entry.cells.saturating_sub(u32::from(place != NONE));
        if entry.cells == 0 && place != NONE {
            if let Ok(found) = self.index.find_entry(spread(entry.hash), |other| *other == id) {
                found.remove();
            }
            entry.text = SmallVec::new();
            self.free.push(id);
        }
        place
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes on the heap, without texts too long to stand inline.
    pub(crate) fn bytes(&self) -> usize {
        let words = self.free.capacity() + self.places.capacity();
        self.index.allocation_size()
            + self.entries.capacity() * size_of::<Entry>()
            + words * size_of::<u32>()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "half a hash is a hash")]
fn half(hash: u64) -> u32 {
    hash as u32
}

/// The table takes buckets from the low bits of a hash and tags from the high ones: a
/// multiplication by the golden ratio fills both from 32 bits.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
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
        map.insert(field_name(field), value.into());
    }
    map
}

pub(crate) fn field_name(field: &Field) -> String {
    match field {
        Field::Id => "id".to_owned(),
        Field::User => "user".to_owned(),
        Field::Kind => "kind".to_owned(),
        Field::Points => "points".to_owned(),
        Field::Source => "source".to_owned(),
        Field::Device => "device".to_owned(),
        Field::Ip => "ip".to_owned(),
        Field::Attr(name) => format!("attrs.{name}"),
        Field::Hour => "hour".to_owned(),
        Field::Weekday => "weekday".to_owned(),
    }
}
