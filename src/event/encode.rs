//! Events to records: the wire format of E1 and E2, written.
//!
//! Writes each member once and leaves out what is absent; applies no mapping (E3).

use serde_json::{Map, Value};

use crate::event::{AttrValue, Event, Reverses};

impl Event<'_> {
    /// The event as one line of JSON that decodes to an equal event.
    /// A float attribute that is not finite has no JSON and is left out.
    pub fn to_json(&self) -> String {
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
        put("id", (&*self.id).into());
        put("ts", self.ts.0.into());
        put("user", (&*self.user).into());
        put("kind", self.kind.as_str().into());
        put("points", self.points.into());
        for (name, text) in [("source", &self.source), ("device", &self.device), ("ip", &self.ip)] {
            if let Some(text) = text {
                put(name, (&**text).into());
            }
        }
        if let Some(reverses) = &self.reverses {
            put("reverses", original(reverses));
        }
        if !self.attrs.is_empty() {
            let attrs = self.attrs.iter().map(|(name, value)| (name.to_string(), attr(value)));
            put("attrs", Value::Object(attrs.collect()));
        }
        Value::Object(members).to_string()
    }
}

fn original(reverses: &Reverses<'_>) -> Value {
    let mut members = Map::new();
    members.insert("id".to_owned(), (&*reverses.id).into());
    if let Some(ts) = reverses.ts {
        members.insert("ts".to_owned(), ts.0.into());
    }
    members.insert("kind".to_owned(), reverses.kind.as_str().into());
    if reverses.partial {
        members.insert("partial".to_owned(), true.into());
    }
    Value::Object(members)
}

fn attr(value: &AttrValue<'_>) -> Value {
    match value {
        AttrValue::Text(text) => (&**text).into(),
        AttrValue::Integer(integer) => (*integer).into(),
        // A float that is not finite becomes null, which means absent.
        AttrValue::Float(float) => (*float).into(),
        AttrValue::Bool(value) => (*value).into(),
    }
}
