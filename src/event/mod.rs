//! The event: what one record of the input topic says, as plain data.
//!
//! Knows the wire format (contract E1–E3) and nothing else: no rules, no windows, no Kafka.
//! Decoding borrows from the record; a string is copied only where it carries a JSON escape.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod attrs;
mod canary;
mod decode;
mod eights;
mod encode;
mod layout;
mod quotes;
mod scan;
mod span;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

pub use canary::Canary;
pub use decode::{Decoder, MappingError};
pub use layout::Layouts;

/// Event time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EventTime(pub i64);

impl EventTime {
    /// 2000-01-01T00:00:00Z, the earliest event time accepted (E1).
    pub const MIN: EventTime = EventTime(946_684_800_000);
    /// 2100-01-01T00:00:00Z, the latest event time accepted (E1).
    pub const MAX: EventTime = EventTime(4_102_444_800_000);
}

/// What a record does to the balance (E1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Issue,
    Redeem,
    Expire,
    Adjust,
    Reverse,
}

impl Kind {
    pub const ALL: [Kind; 5] =
        [Kind::Issue, Kind::Redeem, Kind::Expire, Kind::Adjust, Kind::Reverse];

    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Issue => "issue",
            Kind::Redeem => "redeem",
            Kind::Expire => "expire",
            Kind::Adjust => "adjust",
            Kind::Reverse => "reverse",
        }
    }

    pub fn parse(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value of `attrs`: string (at most 256 bytes), number or boolean.
#[derive(Debug, Clone, PartialEq)]
pub enum AttrValue<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    /// Any JSON number that is not an integer of 64 bits.
    Float(f64),
    Bool(bool),
}

/// Attributes in the record's order. An event is moved about with its inline ones, so there are
/// few: most records have no more.
pub type Attrs<'a> = SmallVec<[(Cow<'a, str>, AttrValue<'a>); 2]>;

/// The original that a `reverse` takes back (E2).
#[derive(Debug, Clone, PartialEq)]
pub struct Reverses<'a> {
    pub id: Cow<'a, str>,
    pub ts: Option<EventTime>,
    pub kind: Kind,
    pub partial: bool,
}

/// One event, borrowed from its record. All limits of E1 and E2 hold.
/// An optional string that is `null` or empty in the record is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Event<'a> {
    pub id: Cow<'a, str>,
    pub ts: EventTime,
    pub user: Cow<'a, str>,
    pub kind: Kind,
    pub points: i64,
    pub source: Option<Cow<'a, str>>,
    pub device: Option<Cow<'a, str>>,
    pub ip: Option<Cow<'a, str>>,
    /// Present on `reverse` only; in a box, so that the many others are smaller.
    pub reverses: Option<Box<Reverses<'a>>>,
    /// In the record's order, names unique; `null` and empty strings are left out.
    pub attrs: Attrs<'a>,
}

impl<'a> Event<'a> {
    /// The attribute of that name, if the event carries it.
    pub fn attr(&self, name: &str) -> Option<&AttrValue<'a>> {
        self.attrs.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// Why a record went to quarantine; `Display` is the `reason` header (E4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    NotJson,
    /// `bad_<field>`; the field's name of E1/E2.
    Bad(&'static str),
    TooLarge,
    TooFarAhead,
    Late,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotJson => f.write_str("not_json"),
            Reason::Bad(field) => write!(f, "bad_{field}"),
            Reason::TooLarge => f.write_str("too_large"),
            Reason::TooFarAhead => f.write_str("too_far_ahead"),
            Reason::Late => f.write_str("late"),
        }
    }
}
