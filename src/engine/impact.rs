//! Whom another rule set would hit at once, by the counters as they are now: targets that are
//! beyond an edited bound already, and what becomes of them (R18). Changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::act::number_json;
use crate::engine::calendar::duration_label;
use crate::engine::space::key_object;
use crate::engine::standing::{Outlook, stand_of};
use crate::engine::view::View;
use crate::engine::{Plan, State};
use crate::rule::{Check, Levels, Mode, Rule};

/// How many ids without a counter take as long to look at as one with a counter.
const KEY_COSTS: usize = 10;

/// Targets told of each level: those farthest beyond it.
const TOP_MAX: usize = 20;

/// What becomes of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleChange {
    /// Bounds, levels, actions, mode or texts: its counters stay.
    Edited,
    /// Counts otherwise than the rule of this name did: it starts from history.
    CountsOtherwise,
    New,
    Removed,
}

/// A rule that is not the same in both sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleImpact {
    pub rule: String,
    pub change: RuleChange,
    /// Of edited caps and ratios; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<LevelImpact>,
}

/// A level of an edited rule against the counters as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelImpact {
    pub level: u32,
    pub bound: Value,
    /// The level's bound before; absent where there was no such level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Value>,
    /// How far ahead it looks, as `2h`: who reaches the bound within that time at the present rate
    /// counts as beyond it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<String>,
    /// It looks ahead and no rates are kept yet, since the rule in force does not: judged by
    /// the bound alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_by_bound_alone: bool,
    /// Targets that are beyond it now, and beyond no higher one that has not fired.
    pub beyond: u64,
    /// Of them those for whom it counts as fired: nothing happens to them.
    pub fired: u64,
    /// Of them those for whom it fires at their next event.
    pub fires: u64,
    /// What it does then.
    pub then: Vec<String>,
    /// Of those for whom it fires the ones farthest beyond it.
    pub top: Vec<Beyond>,
}

/// A target and its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beyond {
    pub key: Map<String, Value>,
    pub value: Value,
}

/// What is different between two plans; where counters tell more, the places of the rule in both.
pub fn changes(live: &Plan, new: &Plan) -> Vec<(RuleImpact, Option<(usize, usize)>)> {
    let mut all = Vec::new();
    for (at, rule) in new.rules.rules.iter().enumerate() {
        let same_name = |known: &Rule| known.name == rule.name;
        let known = live.rules.rules.iter().position(same_name);
        let counts = |old: &usize| live.info[*old].counts_like(&new.info[at]);
        let (change, old) = match known {
            None => (RuleChange::New, None),
            Some(old) if !counts(&old) => (RuleChange::CountsOtherwise, None),
            Some(old) if is_off(live, old) && rule.mode != Mode::Off => {
                (RuleChange::CountsOtherwise, None)
            }
            Some(old) if text_of(&live.rules.rules[old]) == text_of(rule) => continue,
            Some(old) => (RuleChange::Edited, Some(old)),
        };
        let levels = old.and_then(|old| levels_of((live, old), rule)).unwrap_or_default();
        let surveyed = old.filter(|_| !levels.is_empty()).map(|old| (old, at));
        all.push((RuleImpact { rule: rule.name.clone(), change, levels }, surveyed));
    }
    for rule in &live.rules.rules {
        if new.rules.rules.iter().all(|other| other.name != rule.name) {
            let (rule, change) = (rule.name.clone(), RuleChange::Removed);
            all.push((RuleImpact { rule, change, levels: Vec::new() }, None));
        }
    }
    all
}

impl State {
    /// Ids of keys that a rule counts, from `from` on until as much has been looked at as is `left`;
    /// and the id to go on with, `None` at the end.
    pub fn keys_of_rule(
        &self,
        rule: usize,
        plan: &Plan,
        from: u32,
        left: &mut usize,
    ) -> (Vec<u32>, Option<u32>) {
        let info = &plan.info[rule];
        let Some(space) = self.keyed.cells.spaces.get(info.space) else {
            return (Vec::new(), None);
        };
        let mut keys = Vec::new();
        for id in from..u32::try_from(space.ids()).unwrap_or(u32::MAX) {
            if *left == 0 {
                return (keys, Some(id));
            }
            let counts = space.has(id, info.column);
            *left = left.saturating_sub(if counts { KEY_COSTS } else { 1 });
            keys.extend(counts.then_some(id));
        }
        (keys, None)
    }

    /// Judges some keys of the rule at place `old` of `live` by the levels of the rule at `new` of
    /// another plan.
    pub fn survey(
        &self,
        (live, old): (&Plan, usize),
        (other, new): (&Plan, usize),
        keys: &[u32],
        impact: &mut RuleImpact,
    ) {
        let (Some(levels), Some(watermark)) =
            (View::of(&other.rule(new).check).levels, self.watermark)
        else {
            return;
        };
        let info = &live.info[old];
        let space = &self.keyed.cells.spaces[info.space];
        for &key in keys {
            let cell = self.keyed.cells.held(old, key, live);
            let Some((stand, _)) = cell.and_then(|cell| stand_of(live, old, &cell, watermark))
            else {
                continue;
            };
            let outlook = stand.rising(self.keyed.rise(old, key, watermark, live)).outlook(levels);
            let (Outlook::Fires(at) | Outlook::Fired(at)) = outlook else { continue };
            let Some(level) = impact.levels.get_mut(at) else { continue };
            level.beyond += 1;
            if matches!(outlook, Outlook::Fires(_)) {
                level.fires += 1;
                let key = key_object(&live.rule(old).per, space.text(key));
                level.top.push(Beyond { key, value: stand.value() });
                keep_top(&mut level.top, 4 * TOP_MAX);
            } else {
                level.fired += 1;
            }
        }
    }
}

/// Adds up what several states have found.
pub fn merge(parts: Vec<Vec<RuleImpact>>) -> Vec<RuleImpact> {
    let mut order = Vec::new();
    let mut all: BTreeMap<String, RuleImpact> = BTreeMap::new();
    for impact in parts.into_iter().flatten() {
        let Some(known) = all.get_mut(&impact.rule) else {
            order.push(impact.rule.clone());
            all.insert(impact.rule.clone(), impact);
            continue;
        };
        for (level, more) in known.levels.iter_mut().zip(impact.levels) {
            level.beyond += more.beyond;
            level.fired += more.fired;
            level.fires += more.fires;
            level.top.extend(more.top);
        }
    }
    let mut impacts: Vec<RuleImpact> = order.iter().filter_map(|rule| all.remove(rule)).collect();
    let levels = impacts.iter_mut().flat_map(|impact| &mut impact.levels);
    for level in levels {
        keep_top(&mut level.top, 0);
    }
    impacts
}

/// Cuts to the greatest values once there are more than `room` beyond them.
fn keep_top(top: &mut Vec<Beyond>, room: usize) {
    if room > 0 && top.len() <= TOP_MAX + room {
        return;
    }
    let number = |beyond: &Beyond| beyond.value.as_f64().unwrap_or(0.0);
    let text = |beyond: &Beyond| Value::Object(beyond.key.clone()).to_string();
    top.sort_by(|a, b| number(b).total_cmp(&number(a)).then_with(|| text(a).cmp(&text(b))));
    top.truncate(TOP_MAX);
}

/// The levels to look at: of caps and ratios, which are judged at events. Silence is judged as
/// windows close, and of z-scores no level is a value.
fn levels_of((live, old): (&Plan, usize), new: &Rule) -> Option<Vec<LevelImpact>> {
    let (old, has_flow) = (live.rule(old), live.info[old].has_flow);
    let above = |check: &Check| match check {
        Check::Ratio { .. } => true,
        Check::Threshold { levels, .. } => levels.side == crate::rule::Side::Above,
        Check::Match { .. } | Check::ZScore(_) => false,
    };
    if !above(&new.check) || new.mode == Mode::Off {
        return None;
    }
    let known: Option<&Levels> = View::of(&old.check).levels;
    let levels = View::of(&new.check).levels?;
    let told = (0u32..).zip(&levels.levels).map(|(at, level)| LevelImpact {
        level: at,
        bound: number_json(level.bound),
        forecast: level.forecast_ms.map(duration_label),
        is_by_bound_alone: level.forecast_ms.is_some() && !has_flow,
        was: known
            .and_then(|known| known.levels.get(at as usize))
            .map(|level| number_json(level.bound)),
        beyond: 0,
        fired: 0,
        fires: 0,
        then: match new.mode {
            Mode::Live => level.then.iter().map(ToString::to_string).collect(),
            Mode::Shadow | Mode::Off => vec!["nothing, it is in shadow".to_owned()],
        },
        top: Vec::new(),
    });
    Some(told.collect())
}

fn is_off(plan: &Plan, rule: usize) -> bool {
    plan.rule(rule).mode == Mode::Off
}

/// Everything that a rule says, but its place in the file.
fn text_of(rule: &Rule) -> String {
    format!("{:?}", Rule { place: crate::rule::Place::default(), ..rule.clone() })
}
