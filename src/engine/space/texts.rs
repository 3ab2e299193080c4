//! The texts of an event's fields, and of its keys.

use crate::engine::space::PART;
use crate::event::{AttrValue, Event};
use crate::rule::{Field, KeySpec};

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
