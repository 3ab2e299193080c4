//! From one plan to another that counts otherwise: what goes on meanwhile, and what is new (R18).

use std::sync::Arc;

use crate::engine::Plan;
use crate::engine::filter::Lists;
use crate::engine::plan::RuleInfo;
use crate::rule::{Check, Mode, Rule, RuleSet, Side};

impl Plan {
    /// What keeps a state of this plan going while one of `other` is made ready from the log (R18).
    /// Rules that count alike are judged as `other` has them; those that it counts otherwise go on
    /// as they are, and those that it lacks are off. Of what is new there are the rules that ask
    /// for nothing but the event at hand, and those whose keys cross partitions: what partitions
    /// tell of them is counted and not judged. In another zone all counts otherwise: the plan stays
    /// as it is.
    #[must_use]
    pub fn towards(&self, other: &Plan) -> Plan {
        if self.rules.timezone_name != other.rules.timezone_name {
            return self.clone();
        }
        let mut set = RuleSet::clone(&other.rules);
        let mut lists = other.lists.clone();
        let mut is_there = vec![false; other.info.len()];
        // By place: what the rule is counted as, and whether it is not judged.
        let mut counted: Vec<Option<(&RuleInfo, bool)>> = Vec::new();
        set.rules.clear();
        for (at, own) in self.rules.rules.iter().enumerate() {
            let (info, gathers) = (&self.info[at], self.info[at].gathers());
            let found = other.named(info.fingerprint, at);
            if let Some(found) = found.filter(|found| is_alike((self, at), (other, *found))) {
                is_there[found] = true;
                set.rules.push(to_come(other.rule(found), gathers));
                counted.push(Some((&other.info[found], gathers)));
                continue;
            }
            let named = other.rules.rules.iter().find(|rule| rule.name == own.name);
            let is_replaced =
                named.is_none_or(|rule| rule.mode == Mode::Off || rule.check.is_instant());
            let mut rule = own.clone();
            if is_replaced || gathers || own.mode == Mode::Off {
                rule.mode = Mode::Off;
                rule.name = format!("{} (before)", own.name);
                rule.check.filters_mut().for_each(|filter| filter.all.clear());
                counted.push(None);
            } else {
                self.take_lists(&mut rule, (&mut set, &mut lists));
                counted.push(Some((info, false)));
            }
            set.rules.push(rule);
        }
        for (at, rule) in other.rules.rules.iter().enumerate() {
            let is_instant = rule.check.is_instant();
            let is_new = !is_there[at] && rule.mode != Mode::Off;
            if is_new && (is_instant || other.info[at].has_births()) {
                set.rules.push(to_come(rule, !is_instant));
                counted.push(Some((&other.info[at], !is_instant)));
            }
        }
        let mut plan = Plan::new(Arc::new(set), lists, self.settings.clone());
        plan.count_as(&counted);
        // Values that nobody asks for stay where they are.
        Plan { new_fields: self.new_fields.clone(), ..plan }.indexed().shaped()
    }

    /// This plan and, beside its rules, those of another on the way to it that go on in their old
    /// form with the owners of their keys: what events bring to them is still told. `None` where
    /// there are none.
    pub fn beside(&self, other: &Plan) -> Option<Plan> {
        if self.rules.timezone_name != other.rules.timezone_name {
            return None;
        }
        let mut set = RuleSet::clone(&self.rules);
        let mut lists = self.lists.clone();
        let mut counted: Vec<_> = self.info.iter().map(|info| Some((info, false))).collect();
        for (at, rule) in other.rules.rules.iter().enumerate() {
            let info = &other.info[at];
            let known = self.named(info.fingerprint, at);
            let is_known = known.is_some_and(|known| is_alike((self, known), (other, at)));
            if is_known || !info.shared || info.gathers() || rule.mode == Mode::Off {
                continue;
            }
            let mut rule = rule.clone();
            other.take_lists(&mut rule, (&mut set, &mut lists));
            set.rules.push(rule);
            counted.push(Some((info, false)));
        }
        if set.rules.len() == self.info.len() {
            return None;
        }
        let mut plan = Plan::new(Arc::new(set), lists, self.settings.clone());
        plan.count_as(&counted);
        Some(Plan { new_fields: self.new_fields.clone(), ..plan }.indexed().shaped())
    }

    /// Gives rules the names under which they are counted.
    fn count_as(&mut self, counted: &[Option<(&RuleInfo, bool)>]) {
        for (at, info) in counted.iter().enumerate() {
            let Some((info, gathers)) = *info else { continue };
            self.info[at].base = info.base;
            self.info[at].bear(info.birth);
            if gathers {
                // Only what others tell is counted: events bring nothing.
                self.gather(at);
                self.close(at);
                self.by_reversed.iter_mut().for_each(|rules| rules.retain(|rule| *rule != at));
            }
        }
    }

    /// Has a rule of this plan find its lists in another set, which gets those that it lacks.
    fn take_lists(&self, rule: &mut Rule, (set, lists): (&mut RuleSet, &mut Lists)) {
        let mut places = Vec::new();
        for (at, own) in self.rules.lists.iter().enumerate() {
            places.push(set.lists.iter().position(|list| list.name == own.name).unwrap_or_else(
                || {
                    lists.take_from(&self.lists, at, set.lists.len());
                    set.lists.push(own.clone());
                    set.lists.len() - 1
                },
            ));
        }
        let map = |list: usize| places.get(list).copied().unwrap_or(usize::MAX);
        rule.check.filters_mut().for_each(|filter| filter.map_lists(&map));
    }

    /// Rules of this plan of which a state of `other` knows nothing, by name. None in another zone.
    pub fn news_to(&self, other: &Plan) -> Vec<String> {
        if self.rules.timezone_name != other.rules.timezone_name {
            return Vec::new();
        }
        let is_news = |(at, rule): &(usize, &Rule)| {
            let known = other.named(self.info[*at].fingerprint, *at);
            let known = known.filter(|known| {
                is_alike((other, *known), (self, *at)) && !other.info[*known].gathers()
            });
            rule.mode != Mode::Off && known.is_none()
        };
        let rules = self.rules.rules.iter().enumerate().filter(is_news);
        rules.map(|(_, rule)| rule.name.clone()).collect()
    }

    /// The same, but these rules count without being judged: their levels stay armed. Z-scores of
    /// users are judged all the same: a series that is odd long since is no news. Rules whose keys
    /// cross partitions gather what is told of them: see
    /// [`State::take_up`](crate::engine::State::take_up).
    #[must_use]
    pub fn muted(&self, rules: &[String]) -> Plan {
        let mut plan = self.clone();
        let mut set = RuleSet::clone(&plan.rules);
        for (at, rule) in set.rules.iter_mut().enumerate() {
            if !rules.contains(&rule.name) {
                continue;
            }
            if plan.info[at].has_births() {
                plan.gather(at);
                continue;
            }
            match &mut rule.check {
                Check::Match { .. } => plan.close(at),
                Check::Threshold { levels, .. } | Check::Ratio { levels, .. }
                    if levels.side == Side::Above =>
                {
                    levels.levels.clear();
                    plan.info[at].calm = None;
                }
                Check::Threshold { .. } | Check::Ratio { .. } | Check::ZScore(_) => {}
            }
        }
        plan.rules = Arc::new(set);
        plan
    }

    /// The same, but only these rules see events.
    pub(crate) fn alone(&self, rules: &[String]) -> Plan {
        let mut plan = self.clone();
        for at in 0..self.info.len() {
            if !rules.contains(&self.rule(at).name) {
                plan.close(at);
                plan.by_reversed.iter_mut().for_each(|rules| rules.retain(|rule| *rule != at));
            }
        }
        plan
    }

    /// The same, but rules that `before` counts alike are judged by its bounds: what had fired when
    /// the bounds were edited was judged by those.
    #[must_use]
    pub fn judged_as(&self, before: &Plan) -> Plan {
        let mut set = RuleSet::clone(&self.rules);
        for (at, rule) in set.rules.iter_mut().enumerate() {
            let found = before.rules.rules.iter().position(|known| known.name == rule.name);
            let counts_like = |found: &usize| before.info[*found].counts_like(&self.info[at]);
            let Some(found) = found.filter(counts_like) else { continue };
            let known = before.rule(found);
            rule.cooldown_ms = known.cooldown_ms;
            match (&mut rule.check, &known.check) {
                (Check::Threshold { levels, .. }, Check::Threshold { levels: known, .. })
                | (Check::Ratio { levels, .. }, Check::Ratio { levels: known, .. }) => {
                    levels.clone_from(known);
                }
                (Check::ZScore(zscore), Check::ZScore(known)) => {
                    (zscore.above, zscore.below) = (known.above, known.below);
                }
                _ => {}
            }
        }
        let plan = Plan::new(Arc::new(set), self.lists.clone(), self.settings.clone());
        plan.born(&self.births()).shaped()
    }
}

/// A rule that is not judged yet: the one that it takes the place of may go by its name.
fn to_come(rule: &Rule, gathers: bool) -> Rule {
    let name = if gathers { format!("{} (to come)", rule.name) } else { rule.name.clone() };
    Rule { name, ..rule.clone() }
}

/// Whether the counters of a rule of one plan can go on as those of a rule of another; both are on.
fn is_alike((a, at): (&Plan, usize), (b, other): (&Plan, usize)) -> bool {
    let is_on = |plan: &Plan, at: usize| plan.rule(at).mode != Mode::Off;
    is_on(a, at) && is_on(b, other) && a.info[at].counts_as(&b.info[other])
}
