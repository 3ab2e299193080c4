//! From a firing to its decision and commands (D), with holds (D2) and budgets (R15).

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use crate::engine::ledger::Ledger;
use crate::engine::space::key_object;
use crate::engine::{
    Command, Counts, Decision, Effect, Hold, Plan, Trigger, WindowSpan, account_key,
};
use crate::event::EventTime;
use crate::rule::{
    Action, BUDGET, Budget, Deduct, HoldFor, KeySpec, Mode, Number, Rule, Scope, Severity,
};

/// What makes a firing unique beside rule, key and level (D1).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seed<'a> {
    Event(&'a str),
    /// Start of the closed window.
    Closed(i64),
    /// Partition, offset and entry in the log of partial aggregates.
    Place(i32, i64, usize),
}

/// One firing, ready to be written.
#[derive(Debug)]
pub(crate) struct Firing<'a> {
    pub(crate) rule: usize,
    pub(crate) key: &'a str,
    pub(crate) level: usize,
    pub(crate) ts: i64,
    pub(crate) seed: Seed<'a>,
    pub(crate) trigger: Option<Trigger>,
    /// Of the event that tipped the rule.
    pub(crate) source: Option<&'a str>,
    pub(crate) severity: Severity,
    pub(crate) then: &'a [Action],
    pub(crate) finding: Option<Finding>,
}

/// The measured part of a firing; match rules have none.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) measure: String,
    pub(crate) value: Value,
    pub(crate) bound: Number,
    pub(crate) above: bool,
    /// zscore, mean, sd
    pub(crate) stats: Option<(f64, f64, f64)>,
    /// When the bound will be exceeded, and how that is told.
    pub(crate) forecast: Option<(i64, String)>,
    pub(crate) window: WindowSpan,
}

/// Where a firing's effects go.
#[derive(Debug)]
pub(crate) struct Desk<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) watermark: i64,
    pub(crate) effects: &'a mut Vec<Effect>,
    pub(crate) counts: &'a mut Counts,
}

impl Desk<'_> {
    /// Writes the decision of a firing and, for live rules, its commands.
    pub(crate) fn fire(&mut self, firing: &Firing<'_>) {
        let plan = self.plan;
        let rule = plan.rule(firing.rule);
        let key = key_object(&rule.per, firing.key);
        let mut decision = decision(plan, rule, &key, firing);
        let at = self.effects.len();
        let mut extra = Vec::new();
        if rule.mode == Mode::Live {
            for (place, action) in firing.then.iter().enumerate() {
                let due = Due { rule, place, action, decision: &decision, firing };
                self.act(&due, &mut extra);
            }
        }
        for effect in &self.effects[at..] {
            if let Effect::Command(command) = effect {
                decision.actions.push(action_line(command));
            }
        }
        self.effects.insert(at, Effect::Decision(Box::new(decision)));
        self.effects.extend(extra);
    }

    fn act(&mut self, due: &Due<'_>, extra: &mut Vec<Effect>) {
        match due.action {
            Action::Alert { .. } => {}
            Action::Review => self.command(due.command("review", "")),
            Action::Freeze { scope, hold_for } => self.freeze(due, *scope, *hold_for, extra),
            Action::Unfreeze { rule } => {
                let target = &due.decision.key;
                let lifted = self.ledger.lift(target, rule.as_deref());
                for hold in &lifted {
                    let mut command = due.command("unfreeze", &hold.hold);
                    command.scope = Some(hold.scope);
                    command.hold = Some(hold.hold.clone());
                    self.command(command);
                }
                if !lifted.is_empty() {
                    let key = account_key(target);
                    self.ledger.publish(&key, self.effects);
                }
            }
            Action::Deduct { points } => {
                let points: Value = match points {
                    Deduct::All => "all".into(),
                    Deduct::Points(points) => (*points).into(),
                    Deduct::Excess => excess(due.firing.finding.as_ref()).into(),
                };
                let mut command = due.command("deduct", "");
                command.points = Some(points);
                self.command(command);
            }
        }
    }

    fn freeze(&mut self, due: &Due<'_>, scope: Scope, how: HoldFor, extra: &mut Vec<Effect>) {
        let ts = due.firing.ts;
        let until = match how {
            HoldFor::Forever => None,
            HoldFor::Duration(ms) => Some(EventTime(ts.saturating_add(ms))),
            HoldFor::Window => due.firing.finding.as_ref().map(|finding| finding.window.end),
        };
        if until.is_some_and(|until| until.0 <= self.watermark) {
            self.counts.freezes_ended += 1;
            return;
        }
        if !self.within_budget(due, extra) {
            // With scope and end: what somebody may release (R15).
            let mut review = due.command("review", "");
            review.scope = Some(scope);
            review.until = Some(until_json(until));
            self.command(review);
            return;
        }
        let mut command = due.command("freeze", "");
        command.scope = Some(scope);
        command.until = Some(until_json(until));
        self.command(command);
        let hold = Hold {
            hold: due.decision.id.clone(),
            scope,
            until,
            rule: due.rule.name.clone(),
            ts: EventTime(ts),
            ruleset: Some(self.plan.rules.version.clone()),
        };
        self.ledger.hold(&due.decision.key, hold, self.effects);
    }

    fn within_budget(&mut self, due: &Due<'_>, extra: &mut Vec<Effect>) -> bool {
        let own = due.rule.budget.map(|budget| (due.rule.name.as_str(), budget));
        let shared = self.plan.rules.budget.map(|budget| ("", budget));
        let mut room = true;
        for (name, budget) in own.into_iter().chain(shared) {
            if let Some(first) = self.ledger.room(name, budget, due.firing.ts) {
                room = false;
                if first {
                    extra.push(Effect::Decision(Box::new(exhausted(due, name, budget))));
                }
            }
        }
        if room {
            for (name, _) in own.into_iter().chain(shared) {
                self.ledger.spend(name, due.firing.ts);
            }
        }
        room
    }

    fn command(&mut self, command: Command) {
        self.effects.push(Effect::Command(Box::new(command)));
    }
}

/// One action of one decision.
#[derive(Debug)]
struct Due<'a> {
    rule: &'a Rule,
    place: usize,
    action: &'a Action,
    decision: &'a Decision,
    firing: &'a Firing<'a>,
}

impl Due<'_> {
    fn command(&self, what: &str, hold: &str) -> Command {
        let decision = self.decision;
        Command {
            id: hex(&format!("command\u{1f}{}\u{1f}{}\u{1f}{hold}", decision.id, self.place)),
            decision: decision.id.clone(),
            ts: decision.ts,
            command: what.to_owned(),
            target: decision.key.clone(),
            scope: None,
            until: None,
            hold: None,
            points: None,
            rule: decision.rule.clone(),
            severity: decision.severity,
            reason: reason(self.rule, self.firing),
            actor: None,
        }
    }
}

fn decision(plan: &Plan, rule: &Rule, key: &Map<String, Value>, firing: &Firing<'_>) -> Decision {
    let id = match firing.seed {
        Seed::Event(id) => format!("event\u{1f}{id}"),
        Seed::Closed(start) => format!("closed\u{1f}{start}"),
        Seed::Place(partition, offset, entry) => {
            format!("place\u{1f}{partition}\u{1f}{offset}\u{1f}{entry}")
        }
    };
    let id =
        hex(&format!("{}\u{1f}{}\u{1f}{}\u{1f}{id}", rule.name, account_key(key), firing.level));
    let finding = firing.finding.as_ref();
    let stats = finding.and_then(|finding| finding.stats);
    let alert: Vec<&Action> =
        firing.then.iter().filter(|action| matches!(action, Action::Alert { .. })).collect();
    let receivers = alert.iter().filter_map(|action| match action {
        Action::Alert { to } => to.clone(),
        _ => None,
    });
    Decision {
        id,
        ts: EventTime(firing.ts),
        rule: rule.name.clone(),
        level: u32::try_from(firing.level).unwrap_or(u32::MAX),
        severity: firing.severity,
        mode: if rule.mode == Mode::Shadow { "shadow" } else { "live" }.to_owned(),
        key: key.clone(),
        measure: finding.map(|finding| finding.measure.clone()),
        value: finding.map(|finding| finding.value.clone()),
        bound: finding.map(|finding| number_json(finding.bound)),
        zscore: stats.map(|(zscore, ..)| zscore),
        mean: stats.map(|(_, mean, _)| mean),
        sd: stats.map(|(.., sd)| sd),
        forecast: finding.and_then(|finding| Some(EventTime(finding.forecast.as_ref()?.0))),
        window: finding.map(|finding| finding.window.clone()),
        trigger: firing.trigger.clone(),
        source: firing.source.filter(|_| !key.contains_key("source")).map(str::to_owned),
        summary: format!("{}: {}", subject(&rule.per, key), reason(rule, firing)),
        ruleset: plan.rules.version.clone(),
        alert: (!alert.is_empty()).then(|| receivers.collect()),
        description: rule.description.clone(),
        labels: rule.labels.clone(),
        actions: Vec::new(),
        resolved: None,
        daily: None,
        actor: None,
        reason: None,
    }
}

/// The decision that says a budget is exhausted (R15).
fn exhausted(due: &Due<'_>, name: &str, budget: Budget) -> Decision {
    let whose = if name.is_empty() { "the shared budget" } else { "its budget" };
    let of = due.decision;
    Decision {
        id: hex(&format!("{BUDGET}\u{1f}{name}\u{1f}{}", of.id)),
        mode: of.mode.clone(),
        trigger: of.trigger.clone(),
        summary: format!(
            "rule {}: {whose} of {} freezes per {} is exhausted, further freezes become reviews",
            due.rule.name,
            budget.freezes,
            crate::engine::calendar::duration_label(budget.per_ms),
        ),
        description: Some(
            "`tidegate held list` names the freezes that are held back, `held release` and `held \
             discard` decide about them."
                .to_owned(),
        ),
        ..Decision::about(BUDGET, &due.rule.name, &of.ruleset, of.ts)
    }
}

fn excess(finding: Option<&Finding>) -> i64 {
    let Some(finding) = finding else { return 0 };
    let value = finding.value.as_i64().unwrap_or(0);
    let bound = match finding.bound {
        Number::Integer(bound) => bound,
        #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
        Number::Float(bound) => bound.floor() as i64,
    };
    value.saturating_sub(bound)
}

fn reason(rule: &Rule, firing: &Firing<'_>) -> String {
    let Some(finding) = &firing.finding else { return format!("event matches {}", rule.name) };
    let window = short_label(&finding.window.label);
    let side = if finding.above { '>' } else { '<' };
    let (measure, value) = (&finding.measure, &finding.value);
    let bound = number_json(finding.bound);
    if let Some((_, when)) = &finding.forecast {
        return format!("{measure} {value} reaches {bound} {when}, in {window}");
    }
    match finding.stats {
        None => format!("{measure} {value} {side} {bound} in {window}"),
        Some((zscore, mean, sd)) => format!(
            "{measure} {value} in {window}: z-score {zscore:.2} {side} {bound} (mean {mean:.2}, sd {sd:.2})"
        ),
    }
}

/// A calendar label without its zone: `day 2025-11-22`.
fn short_label(label: &str) -> &str {
    let mut spaces = label.match_indices(' ').skip(1);
    spaces.next().map_or(label, |(at, _)| label.split_at(at).0)
}

pub(crate) fn subject(per: &KeySpec, key: &Map<String, Value>) -> String {
    if per.fields.is_empty() {
        return "global".to_owned();
    }
    let part = |(field, value): (&String, &Value)| {
        format!("{field} {}", value.as_str().unwrap_or_default())
    };
    key.iter().map(part).collect::<Vec<_>>().join(", ")
}

pub(crate) fn action_line(command: &Command) -> String {
    let scope = command.scope.map_or(String::new(), |scope| format!(" {}", scope.as_str()));
    let points = command.points.as_ref().map_or(String::new(), |points| match points {
        Value::String(text) => format!(" {text}"),
        other => format!(" {other}"),
    });
    let until = match &command.until {
        Some(Value::Number(until)) => {
            let at = until.as_i64().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            at.map_or(String::new(), |at| format!(" until {at}"))
        }
        Some(_) => " forever".to_owned(),
        None => String::new(),
    };
    format!("{}{scope}{points}{until}", command.command)
}

/// The end of a hold on the wire: `null` = for ever.
pub(crate) fn until_json(until: Option<EventTime>) -> Value {
    until.map_or(Value::Null, |until| until.0.into())
}

pub(crate) fn number_json(number: Number) -> Value {
    match number {
        Number::Integer(value) => value.into(),
        Number::Float(value) => value.into(),
    }
}

/// The name of a measure in decisions: `count`, `sum(points)`, `distinct(user)` …
pub(crate) fn measure_name(measure: &crate::rule::Measure) -> String {
    use crate::rule::Measure;
    match measure {
        Measure::Count => "count".to_owned(),
        Measure::SumPoints => "sum(points)".to_owned(),
        Measure::MaxPoints => "max(points)".to_owned(),
        Measure::Distinct(field) => format!("distinct({field})"),
    }
}

/// 32 hex digits: xxh3, 128 bits.
pub(crate) fn hex(text: &str) -> String {
    format!("{:032x}", xxh3_128(text.as_bytes()))
}
