//! Applies a change by people to one state: holds, list entries, and the decision that says who
//! did what and why (D2, D3).

use serde_json::{Map, Value};

use crate::engine::act::{action_line, hex, until_json};
use crate::engine::change::{Act, Change, Seat};
use crate::engine::edits::{By, Edit};
use crate::engine::state::{Output, State};
use crate::engine::{Command, Decision, Effect, Hold, Matcher, Plan, Trigger, account_key};
use crate::event::EventTime;
use crate::rule::{Scope, Severity};

/// The rules that decisions about changes name. A hold by hand is of this one.
pub const FREEZE_BY_HAND: &str = "tidegate.freeze";
const UNFREEZE: &str = "tidegate.unfreeze";
/// Names decisions about freezes that a budget held back.
pub const HELD: &str = "tidegate.held";
const LISTS: &str = "tidegate.lists";
const RULES: &str = "tidegate.rules";
/// Names decisions about silences.
pub const SILENCES: &str = "tidegate.silences";
const ACKNOWLEDGED: &str = "tidegate.acknowledged";

/// Commands that a decision about a change names.
const LINES_MAX: usize = 50;

/// Where a change stands, and whose state it is applied to.
#[derive(Debug, Clone, Copy)]
pub struct ChangePlace<'a> {
    /// The control topic.
    pub topic: &'a str,
    pub offset: i64,
    /// Whose state this is.
    pub seat: Seat,
    /// How many partitions the events topic has.
    pub partitions: u32,
}

impl State {
    /// Applies a change. Of all states its seat alone writes the decision and keeps a new hold;
    /// holds are lifted wherever they are, and list entries count everywhere.
    pub(crate) fn change(
        &mut self,
        plan: &Plan,
        change: &Change,
        place: &ChangePlace<'_>,
        out: &mut Output,
    ) {
        let speaks = change.seat(place.partitions) == place.seat;
        let mut desk = Desk { change, watermark: self.watermark, commands: Vec::new() };
        let mut accounts = Vec::new();
        let mut remark = String::new();
        match &change.act {
            Act::Freeze { target, scope, until } | Act::Release { target, scope, until, .. } => {
                if !speaks {
                    return;
                }
                if desk.has_passed(*until) {
                    out.counts.freezes_ended += 1;
                    "; its end has passed already".clone_into(&mut remark);
                } else {
                    let hold = desk.freeze(target, *scope, *until);
                    self.keyed.ledger.hold(target, hold, &mut accounts);
                }
            }
            Act::Unfreeze { target, .. } => {
                let wanted = |held: &Hold| change.act.lifts(held);
                let mut lifted = |target: &Map<String, Value>, hold: &Hold| {
                    desk.unfreeze(target, hold);
                };
                self.keyed.ledger.lift_all(target.as_ref(), &wanted, &mut lifted, &mut accounts);
            }
            Act::ListAdd { list, value, until } => {
                self.edits.put(list, value, Edit::Added(*until), Some(by(change)));
                remark = unknown(plan, list);
            }
            Act::ListRemove { list, value } => {
                self.edits.put(list, value, Edit::Removed, Some(by(change)));
                remark = unknown(plan, list);
            }
            Act::Rules(rules) if rules.initial => return,
            // Nothing was held; what has to be done with rules is up to whoever holds the plan.
            Act::Discard { .. }
            | Act::Silence { .. }
            | Act::EndSilence { .. }
            | Act::Acknowledge { .. }
            | Act::Rules(_) => {}
        }
        if speaks {
            let mut decision = audit(plan, change, place, &remark);
            decision.actions = lines(&desk.commands);
            out.effects.push(Effect::Decision(Box::new(decision)));
        }
        let commands = desk.commands.into_iter();
        out.effects.extend(commands.map(|command| Effect::Command(Box::new(command))));
        out.effects.append(&mut accounts);
    }
}

/// Commands in words, so many of them that a record keeps its size.
fn lines(commands: &[Command]) -> Vec<String> {
    let mut lines: Vec<String> = commands.iter().take(LINES_MAX).map(action_line).collect();
    if commands.len() > LINES_MAX {
        lines.push(format!("and {} more", commands.len() - LINES_MAX));
    }
    lines
}

fn by(change: &Change) -> By {
    By { actor: change.actor.clone(), reason: change.reason.clone() }
}

/// Says so where no list of this name is in the rules.
fn unknown(plan: &Plan, list: &str) -> String {
    if plan.rules.lists.iter().any(|known| known.name == list) {
        return String::new();
    }
    format!("; rule set {} has no list of this name", plan.rules.version)
}

struct Desk<'a> {
    change: &'a Change,
    watermark: Option<i64>,
    commands: Vec<Command>,
}

impl Desk<'_> {
    fn has_passed(&self, until: Option<EventTime>) -> bool {
        matches!((until, self.watermark), (Some(until), Some(watermark)) if until.0 <= watermark)
    }

    /// Writes the command, and returns the hold. Of a freeze that was held back both are those of
    /// its decision.
    fn freeze(
        &mut self,
        target: &Map<String, Value>,
        scope: Scope,
        until: Option<EventTime>,
    ) -> Hold {
        let (hold, rule) = match &self.change.act {
            Act::Release { decision, rule, .. } => (decision.clone(), rule.clone()),
            _ => (self.change.decision_id(), FREEZE_BY_HAND.to_owned()),
        };
        let mut command = self.command("freeze", &rule, target, "");
        command.decision.clone_from(&hold);
        command.scope = Some(scope);
        command.until = Some(until_json(until));
        self.commands.push(command);
        Hold { hold, scope, until, rule, ts: self.change.ts, ruleset: None }
    }

    fn unfreeze(&mut self, target: &Map<String, Value>, hold: &Hold) {
        let mut command = self.command("unfreeze", UNFREEZE, target, &hold.hold);
        command.scope = Some(hold.scope);
        command.hold = Some(hold.hold.clone());
        self.commands.push(command);
    }

    fn command(&self, what: &str, rule: &str, target: &Map<String, Value>, hold: &str) -> Command {
        let decision = self.change.decision_id();
        Command {
            id: hex(&format!("command\u{1f}{decision}\u{1f}0\u{1f}{hold}")),
            decision,
            ts: self.change.ts,
            command: what.to_owned(),
            target: target.clone(),
            scope: None,
            until: None,
            hold: None,
            points: None,
            rule: rule.to_owned(),
            severity: Severity::Info,
            reason: self.change.reason.clone(),
            actor: Some(self.change.actor.clone()),
        }
    }
}

/// The rule that names a change, its key, and what was done.
fn told(change: &Change) -> (&'static str, Map<String, Value>, String) {
    match &change.act {
        Act::Freeze { target, scope, until } => {
            let scope = scope.as_str();
            (FREEZE_BY_HAND, target.clone(), format!("frozen ({scope}{})", ending(*until)))
        }
        Act::Unfreeze { target, hold, rule, ruleset, since } => {
            let named = [("hold", hold), ("rule", rule), ("ruleset", ruleset)];
            let named: Vec<(&str, &String)> =
                named.into_iter().filter_map(|(name, of)| Some((name, of.as_ref()?))).collect();
            let since = since.and_then(|since| jiff::Timestamp::from_millisecond(since.0).ok());
            let of = named.iter().map(|(name, of)| format!("{name} {of}"));
            let of: Vec<String> = of.chain(since.map(|since| format!("since {since}"))).collect();
            let of = if of.is_empty() { String::new() } else { format!(" ({})", of.join(", ")) };
            let own = || object(named.first().into_iter().map(|(name, of)| (*name, of.as_str())));
            (UNFREEZE, target.clone().unwrap_or_else(own), format!("unfrozen{of}"))
        }
        Act::Release { decision, rule, target, .. } | Act::Discard { decision, rule, target } => {
            let done =
                if matches!(change.act, Act::Release { .. }) { "released" } else { "discarded" };
            let what = format!("the held freeze of {} by rule {rule} {done}", account_key(target));
            (HELD, object([("decision", decision.as_str())]), what)
        }
        Act::ListAdd { list, value, until } => {
            let key = object([("list", list.as_str()), ("value", value.as_str())]);
            (LISTS, key, format!("added{}", ending(*until)))
        }
        Act::ListRemove { list, value } => {
            let key = object([("list", list.as_str()), ("value", value.as_str())]);
            (LISTS, key, "removed".to_owned())
        }
        Act::Silence { matcher, until } => {
            let what = format!("{} silenced{}", matcher.words(), ending(Some(*until)));
            (SILENCES, silence_key(&change.id, matcher), what)
        }
        Act::EndSilence { silence, matcher, expired } => {
            let how = if *expired { "its time is over" } else { "ended" };
            let what = format!("{} no longer silenced, {how}", matcher.words());
            (SILENCES, silence_key(silence, matcher), what)
        }
        Act::Acknowledge { group, .. } => {
            (ACKNOWLEDGED, object([("group", group.as_str())]), "acknowledged".to_owned())
        }
        Act::Rules(rules) => {
            (RULES, object([("ruleset", rules.ruleset.as_str())]), "published".to_owned())
        }
    }
}

/// The decision that says who changed what, and why.
fn audit(plan: &Plan, change: &Change, place: &ChangePlace<'_>, remark: &str) -> Decision {
    let (rule, key, what) = told(change);
    let ruleset = match &change.act {
        Act::Rules(rules) => &rules.ruleset,
        _ => &plan.rules.version,
    };
    let subject: Vec<String> = key
        .iter()
        .map(|(field, value)| match value {
            Value::String(value) => format!("{field} {value}"),
            _ => field.clone(),
        })
        .collect();
    Decision {
        id: change.decision_id(),
        severity: Severity::Info,
        trigger: Some(Trigger {
            id: change.id.clone(),
            topic: place.topic.to_owned(),
            partition: 0,
            offset: place.offset,
        }),
        summary: format!(
            "{}: {what} by {}: {}{remark}",
            subject.join(", "),
            change.actor,
            change.reason
        ),
        // For the record, not for a notice, but that people hear of what is kept from them.
        alert: (rule == SILENCES).then(Vec::new),
        actor: Some(change.actor.clone()),
        reason: Some(change.reason.clone()),
        key,
        ..Decision::about(rule, rule, ruleset, change.ts)
    }
}

/// With the values of its key fields as [`Matcher::words`] writes them, so that they are masked
/// wherever the decision is shown.
fn silence_key(silence: &str, matcher: &Matcher) -> Map<String, Value> {
    let mut key = object([("silence", silence)]);
    for (field, values) in &matcher.key {
        key.insert(field.clone(), values.join(" or ").into());
    }
    key
}

fn ending(until: Option<EventTime>) -> String {
    let at = until.and_then(|until| jiff::Timestamp::from_millisecond(until.0).ok());
    at.map_or(String::new(), |at| format!(" until {at}"))
}

fn object<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Map<String, Value> {
    pairs.into_iter().map(|(field, value)| (field.to_owned(), value.into())).collect()
}

#[cfg(test)]
mod tests;
