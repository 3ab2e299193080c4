//! Since when a rule is in force whose keys cross partitions (R18).
//!
//! What it counts comes from all partitions, each of which tells what its log held before it sent
//! the first of its own ([`History`](crate::engine::history)). One that has told and one that has
//! not must not be taken for each other, nor what was sent while the rule was in force once
//! before: on the wire and in a state the rule goes by its birth, too. That is a function of the
//! control topic alone, so that all partitions agree on it, whichever sets each of them has seen
//! in force: the offset of the last set before without the rule. Compaction does not take that
//! one away: a later set of the same content would be without the rule as well.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::Plan;
use crate::engine::plan::{Form, RuleInfo, Stage};
use crate::rule::Mode;

/// The birth of a rule that every published set had, and of one that needs none.
pub(crate) const EVER: i64 = -1;

impl RuleInfo {
    /// The same rule, born at an offset of the control topic.
    pub(crate) fn bear(&mut self, birth: i64) {
        self.birth = birth;
        let named = [self.base.to_le_bytes(), birth.to_le_bytes()].concat();
        self.fingerprint = if birth == EVER { self.base } else { xxh3_64(&named) };
    }

    pub(crate) fn gathers(&self) -> bool {
        self.stage == Stage::Gathers
    }

    /// Whether what it counts comes from all partitions and has a past.
    pub(crate) fn has_births(&self) -> bool {
        self.shared && self.form != Form::Match
    }
}

impl Plan {
    /// Births of the rules of this set, by name, where it follows upon another that was published
    /// at `at`; none of those that were born with the first.
    pub fn births_after(&self, before: &Plan, at: i64) -> BTreeMap<String, i64> {
        let mut births = BTreeMap::new();
        for (place, info) in self.info.iter().enumerate() {
            if !info.has_births() || self.rule(place).mode == Mode::Off {
                continue;
            }
            let mut known = before.info.iter().zip(&before.rules.rules);
            let known =
                known.find(|(known, rule)| known.counts_like(info) && rule.mode != Mode::Off);
            let birth = known.map_or(at, |(known, _)| known.birth);
            if birth != EVER {
                births.insert(self.rule(place).name.clone(), birth);
            }
        }
        births
    }

    /// Births of its rules by name, but for those that were always there.
    pub fn births(&self) -> BTreeMap<String, i64> {
        let rules = self.info.iter().zip(&self.rules.rules);
        let born = rules.filter(|(info, _)| info.birth != EVER);
        born.map(|(info, rule)| (rule.name.clone(), info.birth)).collect()
    }

    /// The same set with rules of these births.
    #[must_use]
    pub fn born(&self, births: &BTreeMap<String, i64>) -> Plan {
        let mut plan = self.clone();
        for (info, rule) in plan.info.iter_mut().zip(&self.rules.rules) {
            info.bear(births.get(&rule.name).copied().unwrap_or(EVER));
        }
        plan.indexed()
    }

    /// Fingerprints of rules whose past each partition has to tell.
    pub(crate) fn told_rules(&self) -> Vec<u64> {
        self.info.iter().filter(|info| info.birth != EVER).map(|info| info.fingerprint).collect()
    }

    /// Has the owner of its keys count what comes for the rule without judging it.
    pub(super) fn gather(&mut self, rule: usize) {
        self.info[rule].stage = Stage::Gathers;
        self.postings.clear();
        self.silence.retain(|silent| *silent != rule);
    }

    /// The same, but of the rules of these names those that are judged as time goes on, and no
    /// others; they do nothing. `None` where there are none.
    pub(crate) fn hushed(&self, rules: &[String]) -> Option<Plan> {
        let waits = |plan: &Plan, at: usize| {
            let form = plan.info[at].form;
            matches!(form, Form::ZScore | Form::CalendarBelow | Form::RollingBelow)
                && plan.info[at].shared
                && rules.contains(&plan.rule(at).name)
        };
        if !(0..self.info.len()).any(|at| waits(self, at)) {
            return None;
        }
        let mut plan = self.clone();
        for at in 0..self.info.len() {
            if waits(self, at) {
                plan.info[at].resolves = false;
            } else {
                plan.gather(at);
            }
        }
        let mut set = crate::rule::RuleSet::clone(&self.rules);
        set.rules.iter_mut().for_each(|rule| rule.check.disarm());
        plan.rules = std::sync::Arc::new(set);
        Some(plan)
    }
}
