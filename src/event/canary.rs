//! The canary: a record that an instance writes among the others to see whether it comes through.
//!
//! It is no event, so that whoever reads events has to look at nothing else: only what cannot be
//! decoded is asked whether it is one. It says the same in its value, for files and tools that drop
//! headers, as in its header, for readers that look at nothing but headers.

use serde::{Deserialize, Serialize};

use crate::event::EventTime;

/// The header of a canary, and of the decision that it comes through as; its value is
/// [`Canary::HEADER_VALUE`].
const HEADER: &str = "tidegate";
/// How the value begins. No event of ours does, and no partial aggregate.
const HEAD: &[u8] = br#"{"tidegate":"canary","#;
const VERSION: u32 = 1;
/// Longest name of an instance, and longest id.
const TEXT_MAX: usize = 256;

/// One canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Always `canary`; first, so that the value begins with it.
    tidegate: String,
    v: u32,
    /// Never the same twice; 1 to 256 bytes.
    pub id: String,
    /// Who wrote it; 1 to 256 bytes.
    pub instance: String,
    /// When, by the clock of the instance.
    pub ts: EventTime,
}

impl Canary {
    pub const HEADER: &str = HEADER;
    pub const HEADER_VALUE: &[u8] = b"canary";

    pub fn new(id: impl Into<String>, instance: impl Into<String>, ts: EventTime) -> Canary {
        let (id, instance) = (id.into(), instance.into());
        Canary { tidegate: "canary".to_owned(), v: VERSION, id, instance, ts }
    }

    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        // Plain data always has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The canary of a record's value; `None` for everything else, one of another version and one
    /// that breaks a bound among it.
    pub fn read(value: &[u8]) -> Option<Canary> {
        if !value.starts_with(HEAD) {
            return None;
        }
        let canary: Canary = serde_json::from_slice(value).ok()?;
        let fits = |text: &str| (1..=TEXT_MAX).contains(&text.len());
        let is_good = canary.v == VERSION
            && fits(&canary.id)
            && fits(&canary.instance)
            && (EventTime::MIN..=EventTime::MAX).contains(&canary.ts);
        is_good.then_some(canary)
    }
}
