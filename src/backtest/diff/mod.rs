//! What a change of rules would do: two rule sets over the same input, and what they fire on
//! otherwise (C4).

mod above;
mod compare;
mod definition;
mod text;

pub use above::{AboveLevel, Stands};
pub use compare::compare;

use serde::Serialize;

use crate::backtest::{Summary, Targets};

/// What NEW does otherwise than OLD. Lists are cut at the `top` asked for; what was left out is
/// counted.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    pub old: Side,
    pub new: Side,
    /// Rules that are not unchanged: in the order of NEW, then those removed.
    pub rules: Vec<RuleDifference>,
    /// Rules of both sets that read the same and did the same.
    pub unchanged: usize,
    /// Targets fired on by some rule of NEW and by none of OLD.
    pub newly_fired: u64,
    pub no_longer_fired: u64,
    /// Issued points of the members among the targets newly fired on, each member once.
    pub points_at_stake: i64,
    /// Targets frozen by some rule of NEW and by none of OLD, each scope by itself.
    pub newly_frozen: u64,
    pub no_longer_frozen: u64,
    pub gate: Option<Gate>,
}

/// One of the two rule sets, and what it came to.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    pub rules: String,
    pub ruleset: String,
    pub summary: Summary,
}

/// How a rule differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Added,
    Removed,
    /// It reads otherwise.
    Changed,
    /// It reads the same and did otherwise: by its lists, a budget or settings shared by all rules.
    Affected,
}

/// One rule in both sets.
#[derive(Debug, Clone, Serialize)]
pub struct RuleDifference {
    pub rule: String,
    pub change: Change,
    pub firings: Pair,
    pub targets: Pair,
    /// Targets fired on under NEW alone.
    pub newly: Targets,
    /// Targets fired on under OLD alone.
    pub no_longer: Targets,
    /// Targets newly fired on by other rules of NEW as well, most first.
    pub overlap: Vec<Overlap>,
    /// Targets newly fired on by no other rule of NEW.
    pub alone: u64,
    /// Freezes of targets, by scope, that one of the sets issues alone.
    pub freezes: Freezes,
    /// Levels whose bound reaches targets sooner, and how many it finds beyond it already.
    pub already_above: Vec<AboveLevel>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pair {
    pub old: u64,
    pub new: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Freezes {
    pub newly: u64,
    pub no_longer: u64,
}

/// Another rule, and how many of the targets it fires on, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overlap {
    pub rule: String,
    pub targets: u64,
}

/// The gate of `--max-new`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gate {
    pub max_new: u64,
    /// Rules that newly fire on more targets.
    pub exceeded_by: Vec<Overlap>,
}

impl Difference {
    /// Sets the gate: no rule may newly fire on more than so many targets.
    pub fn gate(&mut self, max_new: u64) {
        let over = self.rules.iter().filter(|rule| rule.newly.count > max_new);
        let exceeded_by =
            over.map(|rule| Overlap { rule: rule.rule.clone(), targets: rule.newly.count });
        self.gate = Some(Gate { max_new, exceeded_by: exceeded_by.collect() });
    }

    /// True when a gate is set and a rule newly fires on more targets than it lets pass.
    pub fn is_stopped(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| !gate.exceeded_by.is_empty())
    }
}
