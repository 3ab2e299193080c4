//! Words that several commands use: of instants, holds, targets and answers.

use serde_json::{Map, Value};

use crate::engine::calendar::instant_label;
use crate::event::EventTime;

/// An instant of event time.
pub(super) fn instant(at: EventTime) -> String {
    instant_label(at.0)
}

/// The end of a hold.
pub(super) fn until(until: Option<EventTime>) -> String {
    until.map_or("for ever".to_owned(), |until| format!("until {}", instant(until)))
}

/// A text as it is, anything else as JSON.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A key: `user u-1, device d-1`, or `global`.
pub(super) fn key(key: &Map<String, Value>) -> String {
    let part = |(field, value): (&String, &Value)| match value {
        Value::Bool(true) => field.clone(),
        value => format!("{field} {}", plain(value)),
    };
    key.iter().map(part).collect::<Vec<_>>().join(", ")
}
