//! What a run fired on, by rule and target: the matter of differences and reports.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::backtest::diff::Overlap;
use crate::backtest::timeline::Timeline;
use crate::engine::{Command, Decision, Effect, account_key};
use crate::event::EventTime;
use crate::notify::masked_key;
use crate::rule::Scope;

/// Whether targets are shown whole or masked (N5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    Masked,
    Whole,
}

impl Names {
    /// A target as people may see it: `user:u-1***`.
    fn show(self, key: &Map<String, Value>) -> String {
        match self {
            Names::Whole => account_key(key),
            Names::Masked => account_key(&masked_key(key)),
        }
    }
}

/// Everything that a run fired on, if it is kept. Grows with the targets, not with the input.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    names: Option<Names>,
    pub(crate) rules: BTreeMap<String, Found>,
}

/// What one rule fired on.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) firings: u64,
    /// By [`account_key`].
    pub(crate) targets: BTreeMap<String, Target>,
    /// Targets that were frozen, each with the scope.
    pub(crate) freezes: BTreeSet<(String, Scope)>,
    pub(crate) when: Timeline,
}

/// A target of a rule.
#[derive(Debug)]
pub(crate) struct Target {
    /// As people may see it.
    pub(crate) shown: String,
    /// The member, where the key names one.
    pub(crate) user: Option<String>,
    pub(crate) firings: u64,
    pub(crate) first: EventTime,
    pub(crate) last: EventTime,
    /// The firing furthest beyond its bound.
    pub(crate) furthest: Firing,
}

/// What one firing measured.
#[derive(Debug, Clone)]
pub(crate) struct Firing {
    pub(crate) level: u32,
    pub(crate) value: Option<Value>,
    pub(crate) bound: Option<Value>,
    pub(crate) window: Option<String>,
    /// How far beyond the bound, as a share of it.
    pub(crate) beyond: f64,
}

impl Findings {
    pub(crate) fn kept(names: Names) -> Findings {
        Findings { names: Some(names), rules: BTreeMap::new() }
    }

    /// A target as people may see it.
    pub(crate) fn show(&self, key: &Map<String, Value>) -> String {
        self.names.unwrap_or(Names::Masked).show(key)
    }

    pub(crate) fn note(&mut self, effect: &Effect) {
        if self.names.is_none() {
            return;
        }
        match effect {
            Effect::Decision(decision) => self.fired(decision),
            Effect::Command(command) => self.commanded(command),
            Effect::Account(_) | Effect::Resolved(_) | Effect::Canary(_) | Effect::Daily(_) => {}
        }
    }

    pub(crate) fn fired(&mut self, decision: &Decision) {
        let firing = Firing::of(decision);
        let key = account_key(&decision.key);
        let names = self.names.unwrap_or(Names::Masked);
        let found = entry(&mut self.rules, &decision.rule);
        found.firings += 1;
        found.when.note(decision.ts.0);
        if let Some(target) = found.targets.get_mut(&key) {
            target.firings += 1;
            target.first = target.first.min(decision.ts);
            target.last = target.last.max(decision.ts);
            if (firing.level, firing.beyond) > (target.furthest.level, target.furthest.beyond) {
                target.furthest = firing;
            }
            return;
        }
        let shown = names.show(&decision.key);
        let user = decision.key.get("user").and_then(Value::as_str).map(str::to_owned);
        let (first, last) = (decision.ts, decision.ts);
        let target = Target { shown, user, firings: 1, first, last, furthest: firing };
        found.targets.insert(key, target);
    }

    fn commanded(&mut self, command: &Command) {
        if let ("freeze", Some(scope)) = (command.command.as_str(), command.scope) {
            let found = entry(&mut self.rules, &command.rule);
            found.freezes.insert((account_key(&command.target), scope));
        }
    }

    /// What a rule fired on; nothing for one that never did.
    pub(crate) fn of(&self, rule: &str) -> &Found {
        static NOTHING: Found = Found {
            firings: 0,
            targets: BTreeMap::new(),
            freezes: BTreeSet::new(),
            when: Timeline::new(),
        };
        self.rules.get(rule).unwrap_or(&NOTHING)
    }

    /// Which other rules fired on these targets, those that fired on most first, and on how many no
    /// other did.
    pub(crate) fn overlap<'a>(
        &'a self,
        rule: &'a str,
        targets: &BTreeMap<&'a str, &Target>,
    ) -> (Vec<Overlap>, u64) {
        let mut by_rule: BTreeMap<&str, u64> = BTreeMap::new();
        let mut alone = 0;
        for key in targets.keys() {
            let mut others = self.others(rule, key).peekable();
            alone += u64::from(others.peek().is_none());
            others.for_each(|other| *by_rule.entry(other).or_default() += 1);
        }
        let mut overlap: Vec<Overlap> = by_rule
            .into_iter()
            .map(|(rule, targets)| Overlap { rule: rule.to_owned(), targets })
            .collect();
        overlap.sort_by_key(|one| std::cmp::Reverse(one.targets));
        (overlap, alone)
    }

    /// Rules other than this one that fired on a target, by name. What tidegate says of its own
    /// accord is no rule's.
    pub(crate) fn others<'a>(
        &'a self,
        rule: &'a str,
        key: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        let others = self.rules.iter().filter(move |(name, found)| {
            *name != rule && !name.starts_with("tidegate.") && found.targets.contains_key(key)
        });
        others.map(|(name, _)| name.as_str())
    }
}

fn entry<'a>(rules: &'a mut BTreeMap<String, Found>, name: &str) -> &'a mut Found {
    rules.entry(name.to_owned()).or_default()
}

impl Firing {
    fn of(decision: &Decision) -> Firing {
        let number = |value: &Option<Value>| value.as_ref().and_then(Value::as_f64);
        // A z-score is held against the bound, not the value it is of.
        let measured = decision.zscore.or_else(|| number(&decision.value));
        let beyond = match (measured, number(&decision.bound)) {
            (Some(value), Some(bound)) => (value - bound).abs() / bound.abs().max(1.0),
            _ => 0.0,
        };
        Firing {
            level: decision.level,
            value: decision.value.clone(),
            bound: decision.bound.clone(),
            window: decision.window.as_ref().map(|window| window.label.clone()),
            beyond,
        }
    }
}
