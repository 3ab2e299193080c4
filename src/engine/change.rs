//! Changes by people: what stands in a record of the control topic, and which state acts on it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::act::hex;
use crate::engine::partial::owner_of;
use crate::engine::space::{PART, hash_of};
use crate::engine::{Hold, Matcher, PublishedRules};
use crate::event::EventTime;
use crate::rule::Scope;

/// The version of the format that this program writes, and the only one that it reads.
pub const CHANGE_VERSION: u32 = 1;

/// Bytes of an id or a value at most, as of a field of an event.
const TEXT_MAX: usize = 256;
/// Bytes of an actor's name or a reason at most.
const WORDS_MAX: usize = 1_000;

/// One change, with who made it and why (D3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub v: u32,
    /// Unique: the ids of everything that comes of it are made from it.
    pub id: String,
    /// When it was made.
    pub ts: EventTime,
    pub actor: String,
    pub reason: String,
    #[serde(flatten)]
    pub act: Act,
}

/// What is changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Act {
    /// Puts a hold on a target (D2).
    Freeze {
        target: Map<String, Value>,
        scope: Scope,
        /// `None` = forever.
        until: Option<EventTime>,
    },
    /// Lifts every hold that all of these name; at least one beside `since` is given.
    Unfreeze {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<Map<String, Value>>,
        /// Decision id of the hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// Version of the rule set that placed the hold: none by hand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ruleset: Option<String>,
        /// Only holds with this event time or a later one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<EventTime>,
    },
    /// Puts the hold of a freeze that its budget held back (R15), as its rule would have.
    Release {
        /// Id of the decision that it was an action of, and of the hold from now on.
        decision: String,
        rule: String,
        target: Map<String, Value>,
        scope: Scope,
        /// `None` = forever.
        until: Option<EventTime>,
    },
    /// Says that a freeze that its budget held back shall not be.
    Discard { decision: String, rule: String, target: Map<String, Value> },
    /// Adds an entry to a list beside those of its file (R4).
    ListAdd {
        list: String,
        value: String,
        /// No longer matches from this instant on (event time); `None` = never.
        until: Option<EventTime>,
    },
    /// Takes a value from a list, in its file or not, until it is added again.
    ListRemove { list: String, value: String },
    /// Mutes notices of the decisions that match until it ends (N3). Its id is the change's.
    Silence { matcher: Matcher, until: EventTime },
    /// Ends a silence, whether its time was over or not.
    EndSilence { silence: String, matcher: Matcher, expired: bool },
    /// Somebody looks after what a group of notices has told (N3).
    Acknowledge {
        group: String,
        /// What was told of later is not meant.
        through: EventTime,
    },
    /// Puts a rule set in force with the lists of its files (R17).
    Rules(PublishedRules),
}

impl Act {
    /// Whether an unfreeze of this kind lifts a hold, whosever it is.
    pub fn lifts(&self, held: &Hold) -> bool {
        let Act::Unfreeze { hold, rule, ruleset, since, .. } = self else { return false };
        hold.as_ref().is_none_or(|hold| *hold == held.hold)
            && rule.as_ref().is_none_or(|rule| *rule == held.rule)
            && (ruleset.is_none() || *ruleset == held.ruleset)
            && since.is_none_or(|since| held.ts >= since)
    }
}

/// Whose state it is: which log it folds over, and which partition of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// A partition of the events topic: holds on users.
    Events(u32),
    /// A partition of the partials topic: holds on all other targets.
    Partials(u32),
}

impl Change {
    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        // Plain data with text keys always has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a record's value.
    ///
    /// # Errors
    /// Why it cannot be used, in words.
    pub fn decode(value: &[u8]) -> Result<Change, String> {
        let value: Value =
            serde_json::from_slice(value).map_err(|error| format!("not JSON, {error}"))?;
        match value.get("v").and_then(Value::as_u64) {
            Some(v) if v == u64::from(CHANGE_VERSION) => {}
            Some(v) => return Err(format!("version {v} is not known, only {CHANGE_VERSION}")),
            None => return Err("it has no version `v`".to_owned()),
        }
        let change: Change = serde_json::from_value(value).map_err(|error| error.to_string())?;
        change.check()?;
        Ok(change)
    }

    /// Whether the change is whole.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn check(&self) -> Result<(), String> {
        text("id", &self.id, TEXT_MAX)?;
        text("actor", &self.actor, WORDS_MAX)?;
        text("reason", &self.reason, WORDS_MAX)?;
        match &self.act {
            Act::Freeze { target, .. } => check_target(target),
            Act::Release { decision, rule, target, .. }
            | Act::Discard { decision, rule, target } => {
                text("decision", decision, TEXT_MAX)?;
                text("rule", rule, TEXT_MAX)?;
                check_target(target)
            }
            Act::Unfreeze { target: None, hold: None, rule: None, ruleset: None, .. } => {
                Err("an unfreeze names a target, a hold, a rule or a rule set".to_owned())
            }
            Act::Unfreeze { target, .. } => target.as_ref().map_or(Ok(()), check_target),
            Act::ListAdd { list, value, .. } | Act::ListRemove { list, value } => {
                text("list", list, TEXT_MAX)?;
                text("value", value, TEXT_MAX)
            }
            Act::Silence { matcher, until } => {
                if matcher.is_empty() {
                    return Err("a silence names a rule, a key, a label or a severity".to_owned());
                }
                if *until <= self.ts {
                    return Err("the silence ends before it begins".to_owned());
                }
                Ok(())
            }
            Act::EndSilence { silence, .. } => text("silence", silence, TEXT_MAX),
            Act::Acknowledge { group, .. } => text("group", group, TEXT_MAX),
            Act::Rules(rules) => {
                text("ruleset", &rules.ruleset, TEXT_MAX)?;
                text("set", &rules.set, TEXT_MAX)?;
                if rules.files.is_empty() {
                    return Err("the rule set has no files".to_owned());
                }
                Ok(())
            }
        }
    }

    /// The id of the decision that writes the change down; a freeze's hold has it, too.
    pub fn decision_id(&self) -> String {
        hex(&format!("change\u{1f}{}", self.id))
    }

    /// The record's key. Of the edits of one list and value only the last matters, so that they
    /// have one key and compaction may drop the others; every intervention has a key of its own
    /// and stays.
    pub fn key(&self) -> String {
        match &self.act {
            Act::Freeze { .. } => format!("freeze/{}", self.id),
            Act::Unfreeze { .. } => format!("unfreeze/{}", self.id),
            Act::Release { .. } | Act::Discard { .. } => format!("held/{}", self.id),
            Act::ListAdd { list, value, .. } | Act::ListRemove { list, value } => {
                format!("list/{list}/{value}")
            }
            Act::Silence { .. } => format!("silence/{}", self.id),
            Act::EndSilence { silence, .. } => format!("silence-end/{silence}"),
            // Of those of one group only the last matters.
            Act::Acknowledge { group, .. } => format!("acknowledge/{group}"),
            // A set that was in force stays readable, however often it was replaced.
            Act::Rules(rules) => format!("rules/{}", rules.set),
        }
    }

    /// The one state among those of `partitions` partitions that writes the change down; of a
    /// freeze, the one that keeps the hold.
    pub fn seat(&self, partitions: u32) -> Seat {
        match &self.act {
            Act::Freeze { target, .. }
            | Act::Unfreeze { target: Some(target), .. }
            | Act::Release { target, .. }
            | Act::Discard { target, .. } => seat(target, partitions),
            Act::Unfreeze { target: None, .. }
            | Act::ListAdd { .. }
            | Act::ListRemove { .. }
            | Act::Silence { .. }
            | Act::EndSilence { .. }
            | Act::Acknowledge { .. }
            | Act::Rules(_) => Seat::Events(0),
        }
    }
}

/// Where the holds of a target live: with the events of its user, where its key has one,
/// otherwise with the partial aggregates of its key.
fn seat(target: &Map<String, Value>, partitions: u32) -> Seat {
    let partitions = partitions.max(1);
    if let Some(Value::String(user)) = target.get("user") {
        return Seat::Events(user_partition(user, partitions));
    }
    let parts: Vec<&str> = target.values().filter_map(Value::as_str).collect();
    let mut separator = [0; 4];
    let key = parts.join(PART.encode_utf8(&mut separator));
    Seat::Partials(owner_of(hash_of(&key), partitions))
}

/// The partition of a user's events, of so many, where whoever sends them leaves that to the
/// partitioner of Kafka's own client.
pub fn user_partition(user: &str, partitions: u32) -> u32 {
    (murmur2(user.as_bytes()) & 0x7fff_ffff) % partitions.max(1)
}

fn check_target(target: &Map<String, Value>) -> Result<(), String> {
    if target.get("global") == Some(&Value::Bool(true)) && target.len() == 1 {
        return Ok(());
    }
    if target.is_empty() {
        return Err("the target is empty".to_owned());
    }
    for (field, value) in target {
        let known = matches!(field.as_str(), "user" | "device" | "ip" | "source")
            || field.strip_prefix("attrs.").is_some_and(|name| !name.is_empty());
        if !known {
            let known = "user, device, ip, source, attrs.NAME and global";
            return Err(format!("no target has the field `{field}`, there are {known}"));
        }
        let Value::String(value) = value else {
            return Err(format!("the target's `{field}` is no text"));
        };
        text(field, value, TEXT_MAX)?;
    }
    Ok(())
}

fn text(name: &str, value: &str, most: usize) -> Result<(), String> {
    if value.is_empty() {
        return Err(format!("`{name}` is empty"));
    }
    if value.len() > most {
        return Err(format!("`{name}` is longer than {most} bytes"));
    }
    Ok(())
}

/// The hash by which Kafka's own producers choose the partition of a key.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (at, byte) in (0..).zip(rest) {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests;
