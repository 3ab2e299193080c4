//! Freezes that budgets held back (R15): folded from the records that instances have written, so
//! that people can decide about them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::{Act, Command, HELD};
use crate::event::EventTime;
use crate::rule::{Scope, Severity};

/// A freeze that became a review because its budget was exhausted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeldFreeze {
    pub decision: String,
    pub target: Map<String, Value>,
    pub scope: Scope,
    /// `None` = forever.
    pub until: Option<EventTime>,
    pub rule: String,
    pub severity: Severity,
    pub ts: EventTime,
    pub reason: String,
}

/// All that are held back and that nobody has decided about.
#[derive(Debug, Clone, Default)]
pub struct Backlog {
    held: BTreeMap<String, HeldFreeze>,
    decided: BTreeSet<String>,
}

/// What is needed of a decision.
#[derive(Debug, Deserialize)]
struct Decided {
    rule: String,
    key: Map<String, Value>,
}

impl Backlog {
    /// Takes in a record of the commands topic.
    pub fn take_command(&mut self, value: Option<&[u8]>) {
        let command = value.and_then(|value| serde_json::from_slice::<WithEnd>(value).ok());
        let Some(WithEnd { command, until: Some(until) }) = command else { return };
        let Some(scope) = command.scope.filter(|_| command.command == "review") else { return };
        let held = HeldFreeze {
            decision: command.decision.clone(),
            target: command.target,
            scope,
            until: until.as_i64().map(EventTime),
            rule: command.rule,
            severity: command.severity,
            ts: command.ts,
            reason: command.reason,
        };
        self.held.insert(command.decision, held);
    }

    /// Takes in a record of the decisions topic.
    pub fn take_decision(&mut self, value: Option<&[u8]>) {
        let decided = value.and_then(|value| serde_json::from_slice::<Decided>(value).ok());
        if let Some(Decided { rule, key }) = decided
            && rule == HELD
            && let Some(Value::String(decision)) = key.get("decision")
        {
            self.decided.insert(decision.clone());
        }
    }

    /// Those that still wait at `now`, the oldest first: neither released nor discarded, and not
    /// over.
    pub fn waiting(&self, now: EventTime) -> Vec<HeldFreeze> {
        let waits = |held: &&HeldFreeze| {
            !self.decided.contains(&held.decision) && held.until.is_none_or(|until| until > now)
        };
        let mut waiting: Vec<HeldFreeze> = self.held.values().filter(waits).cloned().collect();
        waiting.sort_by(|a, b| (a.ts, &a.decision).cmp(&(b.ts, &b.decision)));
        waiting
    }
}

impl HeldFreeze {
    /// Puts the hold after all.
    pub fn release(&self) -> Act {
        Act::Release {
            decision: self.decision.clone(),
            rule: self.rule.clone(),
            target: self.target.clone(),
            scope: self.scope,
            until: self.until,
        }
    }

    /// Lets it be.
    pub fn discard(&self) -> Act {
        Act::Discard {
            decision: self.decision.clone(),
            rule: self.rule.clone(),
            target: self.target.clone(),
        }
    }
}

/// A command with its `until` as it stands: `null` is an end that never comes, an absent one is
/// none.
#[derive(Debug, Deserialize)]
struct WithEnd {
    #[serde(flatten)]
    command: Command,
    #[serde(default, deserialize_with = "present")]
    until: Option<Value>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests;
