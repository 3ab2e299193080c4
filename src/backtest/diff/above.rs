//! A lowered cap: who is above it already, and what happens to them when it comes in force.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::engine::act::number_json;
use crate::engine::view::View;
use crate::engine::{Outlook, Standing};
use crate::rule::{Level, Levels, Number, Rule, Side};

/// One level of a rule whose bound is reached sooner under NEW, at the end of the input.
#[derive(Debug, Clone, Serialize)]
pub struct AboveLevel {
    pub level: usize,
    /// None where OLD has no such level.
    pub old_bound: Option<Value>,
    pub new_bound: Value,
    /// Targets whose value breaches the new bound.
    pub targets: u64,
    /// Those that fire this level at their next event, and what that does.
    pub fire_next: u64,
    pub then: Vec<String>,
    /// Those for which this level has fired: nothing happens before it re-arms.
    pub fired: u64,
    /// Those that fire the first time a higher level does, which stands for this one, too.
    pub higher: u64,
    /// Of those that fire next, the ones furthest beyond the bound.
    pub top: Vec<Stands>,
    /// How many are not listed.
    pub rest: u64,
}

/// A target above a new bound.
#[derive(Debug, Clone, Serialize)]
pub struct Stands {
    pub target: String,
    pub value: Value,
    pub window: String,
}

/// The levels of a rule that is judged at each event.
fn levels(rule: &Rule) -> Option<&Levels> {
    View::of(&rule.check).levels
}

/// True when some level of `new` is reached sooner than under `old`.
pub(super) fn is_lowered(old: &Rule, new: &Rule) -> bool {
    let (Some(old), Some(new)) = (levels(old), levels(new)) else { return false };
    old.side == new.side && (0..new.levels.len()).any(|at| is_sooner(old, new, at))
}

fn is_sooner(old: &Levels, new: &Levels, at: usize) -> bool {
    let (Some(before), Some(now)) = (old.levels.get(at), new.levels.get(at)) else {
        return new.levels.len() > at;
    };
    let (before, now) = (as_f64(before.bound), as_f64(now.bound));
    if new.side == Side::Above { now < before } else { now > before }
}

#[expect(clippy::cast_precision_loss, reason = "bounds are compared as people read them")]
fn as_f64(number: Number) -> f64 {
    match number {
        Number::Integer(value) => value as f64,
        Number::Float(value) => value,
    }
}

/// Holds the keys of a rule, as they stand at the end of the input under `old`, against the
/// levels of `new`.
pub(super) fn above(
    (old, new): (&Rule, &Rule),
    standings: &[Standing],
    top: usize,
    show: &dyn Fn(&Map<String, Value>) -> String,
) -> Vec<AboveLevel> {
    let (Some(old), Some(new)) = (levels(old), levels(new)) else { return Vec::new() };
    let mut firing: BTreeMap<usize, Vec<&Standing>> = BTreeMap::new();
    for standing in standings {
        if let Outlook::Fires(level) = standing.outlook(new) {
            firing.entry(level).or_default().push(standing);
        }
    }
    let lowered = new.levels.iter().enumerate().filter(|(at, _)| is_sooner(old, new, *at));
    let of_level = |(at, level): (usize, &Level)| {
        let breaching = || standings.iter().filter(|standing| standing.breaches(new, at));
        let higher = breaching()
            .filter(|one| matches!(one.outlook(new), Outlook::Fires(level) if level > at));
        let next = firing.remove(&at).unwrap_or_default();
        let (targets, higher) = (count(breaching()), count(higher));
        AboveLevel {
            level: at,
            old_bound: old.levels.get(at).map(|level| number_json(level.bound)),
            new_bound: number_json(level.bound),
            targets,
            fire_next: next.len() as u64,
            then: level.then.iter().map(ToString::to_string).collect(),
            fired: targets.saturating_sub(higher + next.len() as u64),
            higher,
            rest: next.len().saturating_sub(top) as u64,
            top: furthest(next, level.bound, top, show),
        }
    };
    lowered.map(of_level).collect()
}

fn count<T>(all: impl Iterator<Item = T>) -> u64 {
    all.count() as u64
}

/// The ones furthest beyond the bound; of equal ones, in order of keys.
fn furthest(
    mut next: Vec<&Standing>,
    bound: Number,
    top: usize,
    show: &dyn Fn(&Map<String, Value>) -> String,
) -> Vec<Stands> {
    let beyond = |standing: &Standing| {
        let value = standing.value().as_f64().unwrap_or(0.0);
        (value - as_f64(bound)).abs()
    };
    // They come in order of keys, and the sort keeps it.
    next.sort_by(|a, b| beyond(b).total_cmp(&beyond(a)));
    let stands = |standing: &Standing| Stands {
        target: show(&standing.key),
        value: standing.value(),
        window: standing.window.label.clone(),
    };
    next.into_iter().take(top).map(stands).collect()
}
