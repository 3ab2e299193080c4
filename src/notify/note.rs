//! What is noted of a decision of which something is still to come: held by a mute, waiting for nobody
//! to acknowledge, or to be told again. With the note written its offset may be committed (N3). Pure.
//!
//! A note stands in the compacted topic under the decision's place; what has come of it since, under a
//! key beside it, so that the decision is written once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::progress::Place;
use crate::engine::Decision;

/// Of all keys of notes.
pub(super) const PREFIX: &str = "note/";
/// At the end of the key of what has come of one.
const SINCE: &str = "/since";
const VERSION: u32 = 1;

/// A decision with what waits of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Note {
    pub(super) place: Place,
    pub(super) decision: Decision,
    /// When it was written, milliseconds since the epoch.
    pub(super) written_at: i64,
    pub(super) lines: BTreeSet<String>,
    /// What has come of it since.
    pub(super) come: Lines,
}

/// What waits of a decision, or what has come of that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Lines {
    pub(super) lines: BTreeSet<String>,
    pub(super) is_over: bool,
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u32,
    at: i64,
    lines: BTreeSet<String>,
    #[serde(default)]
    over: bool,
    decision: Decision,
}

#[derive(Serialize, Deserialize)]
struct Since {
    v: u32,
    done: BTreeSet<String>,
    #[serde(default)]
    over: bool,
}

pub(super) fn key(place: Place) -> String {
    format!("{PREFIX}{}/{}", place.partition, place.offset)
}

/// Of what has come since.
pub(super) fn since_key(place: Place) -> String {
    format!("{}{SINCE}", key(place))
}

/// A note as it is written; `None` for what is no decision.
pub(super) fn body(record: &[u8], written_at: i64, waits: Lines) -> Option<String> {
    let decision = serde_json::from_slice(record).ok()?;
    let Lines { lines, is_over: over } = waits;
    let body = Body { v: VERSION, at: written_at, lines, over, decision };
    // What came out of JSON can go back into it.
    serde_json::to_string(&body).ok()
}

pub(super) fn since(come: Lines) -> String {
    let Lines { lines: done, is_over: over } = come;
    serde_json::to_string(&Since { v: VERSION, done, over }).unwrap_or_default()
}

/// The notes of a partition, by offset. One of another hand says nothing.
pub(super) fn notes(words: &BTreeMap<String, Vec<u8>>, partition: i32) -> BTreeMap<i64, Note> {
    let mut notes = BTreeMap::new();
    let prefix = format!("{PREFIX}{partition}/");
    for (key, value) in words.range(prefix.clone()..) {
        let Some(offset) = key.strip_prefix(&prefix) else { break };
        let Ok(offset) = offset.parse::<i64>() else { continue };
        let body = serde_json::from_slice::<Body>(value).ok();
        let Some(body) = body.filter(|body| body.v == VERSION) else { continue };
        let place = Place { partition, offset };
        let mut note = Note {
            place,
            decision: body.decision,
            written_at: body.at,
            lines: body.lines,
            come: Lines { is_over: body.over, ..Lines::default() },
        };
        let since = words.get(&since_key(place));
        let since = since.and_then(|value| serde_json::from_slice::<Since>(value).ok());
        if let Some(since) = since.filter(|since| since.v == VERSION) {
            note.lines.retain(|line| !since.done.contains(line));
            note.come.lines = since.done;
            note.come.is_over |= since.over;
        }
        notes.insert(offset, note);
    }
    notes
}

/// Keys of a partition of what has come of a note that is gone: a crash came in between.
pub(super) fn orphans(words: &BTreeMap<String, Vec<u8>>, partition: i32) -> Vec<String> {
    let prefix = format!("{PREFIX}{partition}/");
    let all = words.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
    let is_orphan = |key: &str| {
        let note = key.strip_suffix(SINCE);
        note.is_some_and(|note| !words.contains_key(note))
    };
    all.filter(|(key, _)| is_orphan(key)).map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests;
