//! By what the decisions of a rule set are counted: rule, level, mode.

use crate::rule::types::{Action, Check, Mode, RuleSet};

/// The rule of decisions that say that a budget is exhausted (R15).
pub const BUDGET: &str = "tidegate.budget";

impl Check {
    /// How many levels it has, at least 1.
    pub fn levels(&self) -> usize {
        match self {
            Check::Threshold { levels, .. } | Check::Ratio { levels, .. } => levels.levels.len(),
            Check::Match { .. } | Check::ZScore(_) => 1,
        }
    }

    fn freezes(&self) -> bool {
        let freezes = |then: &[Action]| then.iter().any(|a| matches!(a, Action::Freeze { .. }));
        match self {
            Check::Match { then, .. } => freezes(then),
            Check::ZScore(zscore) => freezes(&zscore.then),
            Check::Threshold { levels, .. } | Check::Ratio { levels, .. } => {
                levels.levels.iter().any(|level| freezes(&level.then))
            }
        }
    }
}

impl RuleSet {
    /// Rule, level and mode of every decision that it can come to, each once; what people do comes on
    /// top. Levels count from 0.
    pub fn outcomes(&self) -> Vec<(&str, usize, Mode)> {
        let on = || self.rules.iter().filter(|rule| rule.mode != Mode::Off);
        let mut all: Vec<_> = on()
            .flat_map(|rule| {
                (0..rule.check.levels()).map(|level| (rule.name.as_str(), level, rule.mode))
            })
            .collect();
        let is_bounded = on().any(|rule| {
            let has_budget = rule.budget.is_some() || self.budget.is_some();
            has_budget && rule.mode == Mode::Live && rule.check.freezes()
        });
        if is_bounded {
            all.push((BUDGET, 0, Mode::Live));
        }
        all
    }
}

#[cfg(test)]
mod tests;
