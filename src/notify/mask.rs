//! Masking of users, devices and addresses in what leaves for people and programs (N5).
//!
//! Decisions and commands in Kafka are never masked; only copies made for receivers are.

use serde_json::{Map, Value};

use crate::engine::Decision;

/// Key fields that name no person or thing of a person. Everything else is masked, so that an
/// attribute nobody thought of (a phone number in `attrs`) is hidden rather than shown.
const OPEN: [&str; 10] =
    ["date", "global", "group", "hold", "instance", "kind", "list", "rule", "silence", "source"];

/// Shorter values are replaced in free text only where they stand alone: user `5` must not
/// turn the value 5120 into `***120`.
const ANYWHERE_MIN_CHARS: usize = 4;

/// The first three characters, at most half of the text, then `***`.
pub fn mask(text: &str) -> String {
    let shown = (text.chars().count() / 2).min(3);
    text.chars().take(shown).chain("***".chars()).collect()
}

/// A copy of the decision for a receiver: key values masked, in the key and in its texts.
pub fn masked(decision: &Decision) -> Decision {
    let mut copy = decision.clone();
    let mut hidden = cover(&mut copy.key);
    // Longest first: where one value is a part of another, the longer is covered whole.
    hidden.sort_by_key(|(plain, _)| std::cmp::Reverse(plain.len()));
    for (plain, cover) in &hidden {
        copy.summary = replaced(&copy.summary, plain, cover);
        copy.reason = copy.reason.map(|reason| replaced(&reason, plain, cover));
        for action in &mut copy.actions {
            *action = replaced(action, plain, cover);
        }
    }
    copy
}

/// A copy of a key with its values masked.
pub fn masked_key(key: &Map<String, Value>) -> Map<String, Value> {
    let mut copy = key.clone();
    cover(&mut copy);
    copy
}

/// Masks the values of a key; returns each as it was and as it is.
fn cover(key: &mut Map<String, Value>) -> Vec<(String, String)> {
    let mut hidden = Vec::new();
    for (field, value) in key {
        if OPEN.contains(&field.as_str()) {
            continue;
        }
        let plain = match &*value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let cover = mask(&plain);
        *value = Value::String(cover.clone());
        hidden.push((plain, cover));
    }
    hidden
}

fn replaced(text: &str, plain: &str, cover: &str) -> String {
    if plain.is_empty() {
        return text.to_owned();
    }
    if plain.chars().count() >= ANYWHERE_MIN_CHARS {
        return text.replace(plain, cover);
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(plain) {
        result.push_str(before);
        let left = result.chars().next_back();
        let alone = !left.is_some_and(char::is_alphanumeric)
            && !after.chars().next().is_some_and(char::is_alphanumeric);
        result.push_str(if alone { cover } else { plain });
        rest = after;
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests;
