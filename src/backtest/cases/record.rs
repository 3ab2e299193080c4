//! Events of one target, out of a stream of many: what a case is made of.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::event::{AttrValue, Decoder, Event};
use crate::rule::Field;

/// Events of one case; more is no test that anybody reads.
const EVENTS_MAX: usize = 1_000;

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Events that carry all of these.
    pub key: Vec<(Field, String)>,
    /// The last of them, by its id; later ones are left out.
    pub event: Option<String>,
    /// Those so many milliseconds before the last are left out.
    pub reach_ms: Option<i64>,
}

/// Events in the form of E1, in the order of the stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recorded {
    pub events: Vec<Map<String, Value>>,
    /// Lines that are no events.
    pub unreadable: u64,
}

/// Reads the selected events; each keeps its id only where another repeats it.
///
/// # Errors
/// When the stream cannot be read, does not hold the event that is named, or holds too many.
pub fn record(
    reader: &mut dyn BufRead,
    decoder: &Decoder,
    max_bytes: usize,
    selection: &Selection,
) -> io::Result<Recorded> {
    let other = |text: String| io::Error::other(text);
    let (mut recorded, mut line, mut found) = (Recorded::default(), Vec::new(), false);
    while !found {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let Ok(event) = decoder.decode(text, max_bytes) else {
            recorded.unreadable += 1;
            continue;
        };
        if !selection.key.iter().all(|(field, value)| carries(&event, field, value)) {
            continue;
        }
        found = selection.event.as_deref().is_some_and(|id| id == event.id);
        if let Ok(Value::Object(event)) = serde_json::from_str(&event.to_json()) {
            recorded.events.push(event);
        }
    }
    if let (Some(id), false) = (&selection.event, found) {
        return Err(other(format!("no event of this target has the id {id}")));
    }
    if let (Some(reach_ms), Some(last)) = (selection.reach_ms, recorded.events.last()) {
        let ts = |event: &Map<String, Value>| event.get("ts").and_then(Value::as_i64).unwrap_or(0);
        let since = ts(last).saturating_sub(reach_ms);
        recorded.events.retain(|event| ts(event) >= since);
    }
    if recorded.events.len() > EVENTS_MAX {
        return Err(other(format!(
            "{} events are too many for a case, {EVENTS_MAX} is the most; name the rule and the \
             event that tipped it",
            recorded.events.len()
        )));
    }
    number(&mut recorded.events);
    Ok(recorded)
}

fn carries(event: &Event<'_>, field: &Field, value: &str) -> bool {
    let text = match field {
        Field::User => Some(&*event.user),
        Field::Device => event.device.as_deref(),
        Field::Ip => event.ip.as_deref(),
        Field::Source => event.source.as_deref(),
        Field::Attr(name) => {
            return event.attr(name).is_some_and(|attr| match attr {
                AttrValue::Text(text) => text == value,
                AttrValue::Integer(number) => number.to_string() == value,
                AttrValue::Float(number) => number.to_string() == value,
                AttrValue::Bool(truth) => truth.to_string() == value,
            });
        }
        Field::Id | Field::Kind | Field::Points | Field::Hour | Field::Weekday => None,
    };
    text == Some(value)
}

/// Ids as a case gives them by itself, `e` and the number of the event, written only where one
/// comes again. Originals that reversals name keep their sense.
fn number(events: &mut [Map<String, Value>]) {
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for (at, event) in events.iter_mut().enumerate() {
        let id = event.shift_remove("id");
        let id = id.and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_default();
        let original = *first.entry(id).or_insert(at);
        if original != at {
            event.shift_insert(0, "id".to_owned(), format!("e{original}").into());
        }
    }
    for event in events {
        if let Some(id) = event.get_mut("reverses").and_then(|original| original.get_mut("id")) {
            let known = id.as_str().and_then(|id| first.get(id));
            let known = known.map_or_else(|| "before".to_owned(), |at| format!("e{at}"));
            *id = known.into();
        }
    }
}

/// Instants as text in the zone, as people write them.
pub(super) fn in_zone(events: &mut [Map<String, Value>], zone: &TimeZone) {
    let text = |ms: i64| {
        let instant = jiff::Timestamp::from_millisecond(ms).ok()?.to_zoned_datetime(zone.clone());
        Some(instant.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string())
    };
    for event in events {
        let original = event.get_mut("reverses").and_then(|original| original.get_mut("ts"));
        if let Some(ts) = original
            && let Some(text) = ts.as_i64().and_then(text)
        {
            *ts = text.into();
        }
        if let Some(ts) = event.get_mut("ts")
            && let Some(text) = ts.as_i64().and_then(text)
        {
            *ts = text.into();
        }
    }
}
