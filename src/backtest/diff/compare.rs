//! Two runs side by side.

use std::collections::{BTreeMap, BTreeSet};

use crate::backtest::diff::above::{above, is_lowered};
use crate::backtest::diff::definition::is_same;
use crate::backtest::diff::{AboveLevel, Change, Difference, Freezes, Pair, RuleDifference, Side};
use crate::backtest::findings::{Findings, Found, Target};
use crate::backtest::{Backtest, Targets};
use crate::rule::{Mode, Rule, RuleSet, Scope};

/// Two runs over the same input that have come to their end.
struct Runs<'a> {
    old: &'a Backtest,
    new: &'a Backtest,
    top: usize,
}

/// Tells what `new` did otherwise than `old`, listing so many targets of each kind. `names` are
/// where the rules came from.
pub fn compare(
    (old, new): (&Backtest, &Backtest),
    names: (String, String),
    top: usize,
) -> Difference {
    let runs = Runs { old, new, top };
    let side = |run: &Backtest, rules| Side {
        rules,
        ruleset: run.rule_set().version.clone(),
        summary: run.summary(),
    };
    let (olds, news) = (old.rule_set(), new.rule_set());
    let mut all: Vec<RuleDifference> = Vec::new();
    let mut unchanged = 0;
    for rule in &news.rules {
        match runs.rule(by_name(olds, &rule.name), Some(rule)) {
            Some(difference) => all.push(difference),
            None => unchanged += 1,
        }
    }
    for rule in olds.rules.iter().filter(|rule| by_name(news, &rule.name).is_none()) {
        all.extend(runs.rule(Some(rule), None));
    }
    let (before, after) = (old.findings().all(), new.findings().all());
    let only = |one: &BTreeMap<&str, _>, other: &BTreeMap<&str, _>| {
        one.keys().filter(|key| !other.contains_key(*key)).count() as u64
    };
    let newly = after.iter().filter(|(key, _)| !before.contains_key(*key));
    let users: BTreeSet<&str> = newly.filter_map(|(_, target)| target.user.as_deref()).collect();
    let frozen = |one: &Backtest, other: &Backtest| {
        one.findings().frozen().difference(&other.findings().frozen()).count() as u64
    };
    Difference {
        rules: all,
        unchanged,
        newly_fired: only(&after, &before),
        no_longer_fired: only(&before, &after),
        points_at_stake: users.into_iter().map(|user| old.issued(user)).sum(),
        newly_frozen: frozen(new, old),
        no_longer_frozen: frozen(old, new),
        old: side(old, names.0),
        new: side(new, names.1),
        gate: None,
    }
}

fn by_name<'a>(set: &'a RuleSet, name: &str) -> Option<&'a Rule> {
    set.rules.iter().find(|rule| rule.name == name)
}

impl Runs<'_> {
    /// `None` for a rule that reads the same and did the same.
    fn rule(&self, old: Option<&Rule>, new: Option<&Rule>) -> Option<RuleDifference> {
        let name = new.or(old)?.name.as_str();
        let (before, after) = (self.old.findings().of(name), self.new.findings().of(name));
        let newly = missing(after, before);
        let no_longer = missing(before, after);
        let only =
            |one: &Found, other: &Found| one.freezes.difference(&other.freezes).count() as u64;
        let freezes = Freezes { newly: only(after, before), no_longer: only(before, after) };
        let firings = Pair { old: before.firings, new: after.firings };
        let did_the_same = newly.is_empty()
            && no_longer.is_empty()
            && freezes == Freezes { newly: 0, no_longer: 0 }
            && firings.old == firings.new;
        let change = match (old, new) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            (Some(old), Some(new)) => {
                let sets = (self.old.rule_set(), self.new.rule_set());
                match (is_same((old, sets.0), (new, sets.1)), did_the_same) {
                    (true, true) => return None,
                    (true, false) => Change::Affected,
                    (false, _) => Change::Changed,
                }
            }
        };
        let (overlap, alone) = self.new.findings().overlap(name, &newly);
        Some(RuleDifference {
            rule: name.to_owned(),
            change,
            firings,
            targets: Pair { old: count(before), new: count(after) },
            newly: self.targets(name, &newly, self.new.findings()),
            no_longer: self.targets(name, &no_longer, self.old.findings()),
            overlap,
            alone,
            freezes,
            already_above: self.already_above(old, new),
        })
    }

    fn targets(
        &self,
        rule: &str,
        targets: &BTreeMap<&str, &Target>,
        findings: &Findings,
    ) -> Targets {
        Targets::of(rule, targets, findings, &|user| Some(self.old.issued(user)), self.top)
    }

    fn already_above(&self, old: Option<&Rule>, new: Option<&Rule>) -> Vec<AboveLevel> {
        let (Some(old), Some(new)) = (old, new) else { return Vec::new() };
        if old.mode == Mode::Off || new.mode == Mode::Off || !is_lowered(old, new) {
            return Vec::new();
        }
        // Counters go on only where they count the same (R18).
        if !self.old.plan.counts_as_in(&self.new.plan, &old.name) {
            return Vec::new();
        }
        let findings = self.new.findings();
        above((old, new), &self.old.standings(old), self.top, &|key| findings.show(key))
    }
}

fn count(found: &Found) -> u64 {
    found.targets.len() as u64
}

/// Targets of `one` that `other` has not.
fn missing<'a>(one: &'a Found, other: &Found) -> BTreeMap<&'a str, &'a Target> {
    let only = one.targets.iter().filter(|(key, _)| !other.targets.contains_key(*key));
    only.map(|(key, target)| (key.as_str(), target)).collect()
}

impl Findings {
    /// Targets fired on by whichever rule.
    fn all(&self) -> BTreeMap<&str, &Target> {
        let rules = self.rules.iter().filter(|(name, _)| !name.starts_with("tidegate."));
        let targets = rules.flat_map(|(_, found)| &found.targets);
        targets.map(|(key, target)| (key.as_str(), target)).collect()
    }

    /// Targets frozen by whichever rule, each with the scope.
    fn frozen(&self) -> BTreeSet<(&str, Scope)> {
        let all = self.rules.values().flat_map(|found| &found.freezes);
        all.map(|(key, scope)| (key.as_str(), *scope)).collect()
    }
}
