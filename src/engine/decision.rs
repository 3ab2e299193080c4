//! Decisions, commands and account records as they are written (contract D).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::{DailyReport, Origin};
use crate::event::{Canary, EventTime};
use crate::rule::{Scope, Severity};

/// The rule of answers to canaries.
pub const CANARY: &str = "tidegate.canary";

/// One firing of one rule, or an audit record (D). Field order is the wire order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// 32 hex digits (D1).
    pub id: String,
    pub ts: EventTime,
    pub rule: String,
    pub level: u32,
    pub severity: Severity,
    /// `live` or `shadow`.
    pub mode: String,
    /// Field name → value, `{"global":true}`, or `{"rule":NAME}` for `tidegate.*` decisions.
    pub key: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measure: Option<String>,
    /// Integer for count, sum, max, distinct; float for ratios.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zscore: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sd: Option<f64>,
    /// When the bound will be exceeded at the present rate, of a level that looks ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<EventTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowSpan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// Source of the event that tipped the rule, where the key has none: for inhibitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// One line for people; carries keys whole (receivers mask).
    pub summary: String,
    pub ruleset: String,
    /// What the notifier shall do: receivers named by `alert: { to }`; empty means by route;
    /// absent when the rule's `then` has no alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<Vec<String>>,
    /// The rule's description, for notices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Labels of the rule, for routes and silences.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Commands of this decision, one line each, for notices and consoles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// What this decision of the rule `tidegate.resolved` says is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Resolved>,
    /// The account of a day, of a decision of the rule `tidegate.daily`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily: Option<Box<DailyReport>>,
    /// Who made a change, and why (D3); on the audit records of `tidegate.*` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Decision {
    /// Says that changed rule files cannot be used and `ruleset` stays in force (R17). `faults`
    /// is their text; the same faults over the same rules give the same id.
    pub fn rules_faulty(ruleset: &str, faults: &str, ts: EventTime) -> Decision {
        let first = faults.lines().next().unwrap_or_default();
        let more = match faults.lines().count().saturating_sub(1) {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let rule = "tidegate.rules";
        Decision {
            id: crate::engine::act::hex(&format!("{rule}\u{1f}{ruleset}\u{1f}{faults}")),
            summary: format!("changed rules are faulty, {ruleset} stays in force: {first}{more}"),
            ..Decision::about(rule, rule, ruleset, ts)
        }
    }

    /// Says that a canary has come through. The same canary gives the same id, wherever it is.
    pub(crate) fn canary(canary: &Canary, origin: &Origin, offset: i64, ruleset: &str) -> Decision {
        let (topic, partition) = (origin.topic.to_string(), origin.partition);
        Decision {
            id: crate::engine::act::hex(&format!("{CANARY}\u{1f}{}", canary.id)),
            severity: Severity::Info,
            alert: None,
            trigger: Some(Trigger { id: canary.id.clone(), topic, partition, offset }),
            summary: format!("a canary of instance {} has come through", canary.instance),
            ..Decision::of_instance(CANARY, &canary.instance, ruleset, canary.ts)
        }
    }

    /// A critical decision of the rule `tidegate.*` about an instance; id and summary are still
    /// empty.
    pub fn of_instance(rule: &str, instance: &str, ruleset: &str, ts: EventTime) -> Decision {
        let mut key = Map::new();
        key.insert("instance".to_owned(), instance.into());
        Decision { key, ..Decision::about(rule, rule, ruleset, ts) }
    }

    /// A critical decision of the rule `tidegate.*` about a rule; id and summary are still empty.
    pub(crate) fn about(rule: &str, of: &str, ruleset: &str, ts: EventTime) -> Decision {
        let mut key = Map::new();
        key.insert("rule".to_owned(), of.into());
        Decision {
            id: String::new(),
            ts,
            rule: rule.to_owned(),
            level: 0,
            severity: Severity::Critical,
            mode: "live".to_owned(),
            key,
            measure: None,
            value: None,
            bound: None,
            zscore: None,
            mean: None,
            sd: None,
            forecast: None,
            window: None,
            trigger: None,
            source: None,
            summary: String::new(),
            ruleset: ruleset.to_owned(),
            alert: Some(Vec::new()),
            description: None,
            labels: BTreeMap::new(),
            actions: Vec::new(),
            resolved: None,
            daily: None,
            actor: None,
            reason: None,
        }
    }
}

/// A firing that is over: its rule has a `clear`, and the value no longer breaches it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    pub rule: String,
    /// Id of the decision that it was.
    pub decision: String,
    /// When it fired, event time.
    pub since: EventTime,
    /// The greatest value meanwhile, or the least where the rule looks below.
    pub peak: Value,
}

/// Half-open `[start, end)` for calendar and fixed windows; `(start, end]` for rolling ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSpan {
    pub start: EventTime,
    pub end: EventTime,
    pub label: String,
}

/// The event that tipped a rule, and its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    pub id: String,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// An instruction to the points pipeline (D).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// 32 hex digits: a pure function of the decision and the action's place in it.
    pub id: String,
    pub decision: String,
    pub ts: EventTime,
    /// `freeze`, `unfreeze`, `review` or `deduct`.
    pub command: String,
    pub target: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// On freezes, and on reviews that stand for one beyond its budget: end of the hold, `null` =
    /// forever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Value>,
    /// On unfreezes: the decision id of the hold that is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// On deducts: an integer, or `"all"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<Value>,
    pub rule: String,
    pub severity: Severity,
    pub reason: String,
    /// Who gave it by hand (D3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}

/// One hold on a target (D2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Decision id.
    pub hold: String,
    pub scope: Scope,
    /// `None` = forever.
    pub until: Option<EventTime>,
    pub rule: String,
    pub ts: EventTime,
    /// Version of the rule set that placed it; none on holds by hand. Kept in the state alone: no
    /// account record has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruleset: Option<String>,
}

/// A hold, and what it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    pub target: Map<String, Value>,
    #[serde(flatten)]
    pub hold: Hold,
}

/// The value of one `tidegate.accounts` record: all holds of a target, empty when free (D2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    pub target: Map<String, Value>,
    pub holds: Vec<Hold>,
}

impl Account {
    /// The record as it is written (D2): without what only the state needs.
    pub(crate) fn published(&self) -> Account {
        let hold = |hold: &Hold| Hold { ruleset: None, ..hold.clone() };
        Account { target: self.target.clone(), holds: self.holds.iter().map(hold).collect() }
    }
}

/// The record key of a target on `points.commands`: the user id for a user, `global`,
/// otherwise `field:value` joined by `|` (D).
pub fn command_key(target: &Map<String, Value>) -> String {
    match target.get("user") {
        Some(Value::String(user)) if target.len() == 1 => user.clone(),
        _ => account_key(target),
    }
}

/// The record key of a target on `tidegate.accounts`: `user:u-1001` and the like (D2).
pub fn account_key(target: &Map<String, Value>) -> String {
    if target.contains_key("global") {
        return "global".to_owned();
    }
    let mut text = String::new();
    for (field, value) in target {
        if !text.is_empty() {
            text.push('|');
        }
        text.push_str(field);
        text.push(':');
        match value {
            Value::String(value) => text.push_str(value),
            other => text.push_str(&other.to_string()),
        }
    }
    text
}
