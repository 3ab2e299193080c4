//! Keys, interned once per partition and key form.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::event::{AttrValue, Event};
use crate::rule::{Field, KeySpec};

/// Separates the parts of a composite key; cannot stand in JSON text unescaped.
const PART: char = '\u{1f}';

/// The interned keys of one key form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space {
    index: HashTable<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Entry {
    hash: u64,
    text: Box<str>,
    cells: u32,
}

impl Space {
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        let hash = xxh3_64(text.as_bytes());
        let entries = &self.entries;
        self.index
            .find(hash, |id| {
                let entry = &entries[*id as usize];
                entry.hash == hash && &*entry.text == text
            })
            .copied()
    }

    /// The id of a key, made when it is new. Keep it alive with [`Space::hold`].
    pub(crate) fn intern(&mut self, text: &str) -> u32 {
        if let Some(id) = self.find(text) {
            return id;
        }
        let hash = xxh3_64(text.as_bytes());
        let entry = Entry { hash, text: text.into(), cells: 0 };
        let id = if let Some(id) = self.free.pop() {
            self.entries[id as usize] = entry;
            id
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        };
        let entries = &self.entries;
        self.index.insert_unique(hash, id, |id| entries[*id as usize].hash);
        id
    }

    pub(crate) fn text(&self, id: u32) -> &str {
        &self.entries[id as usize].text
    }

    pub(crate) fn hold(&mut self, id: u32) {
        self.entries[id as usize].cells += 1;
    }

    /// Gives one hold back; a key that nothing holds is forgotten and its id used again.
    pub(crate) fn release(&mut self, id: u32) {
        let entry = &mut self.entries[id as usize];
        entry.cells = entry.cells.saturating_sub(1);
        if entry.cells == 0 {
            let hash = entry.hash;
            if let Ok(found) = self.index.find_entry(hash, |other| *other == id) {
                found.remove();
            }
            self.free.push(id);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
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
pub(crate) fn write_field(field: &Field, event: &Event<'_>, text: &mut String) -> bool {
    use std::fmt::Write as _;
    let value = match field {
        Field::Id => Some(&*event.id),
        Field::User => Some(&*event.user),
        Field::Kind => Some(event.kind.as_str()),
        Field::Source => event.source.as_deref(),
        Field::Device => event.device.as_deref(),
        Field::Ip => event.ip.as_deref(),
        Field::Points => return write!(text, "{}", event.points).is_ok(),
        Field::Attr(name) => match event.attr(name) {
            Some(AttrValue::Text(value)) => Some(&**value),
            Some(AttrValue::Integer(value)) => return write!(text, "{value}").is_ok(),
            Some(AttrValue::Float(value)) => return write!(text, "{value}").is_ok(),
            Some(AttrValue::Bool(value)) => return write!(text, "{value}").is_ok(),
            None => None,
        },
        Field::Hour | Field::Weekday => None,
    };
    match value {
        Some(value) => {
            text.push_str(value);
            true
        }
        None => false,
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
