//! From one plan to another that counts otherwise: what goes on meanwhile, and what is new (R18).

use std::sync::Arc;

use crate::engine::Plan;
use crate::engine::filter::Lists;
use crate::rule::{Check, Mode, Rule, RuleSet, Side};

impl Plan {
    /// What keeps a state of this plan going while one of `other` is made ready from the log (R18).
    /// Rules that count alike are judged as `other` has them; those that it counts otherwise go on
    /// as they are, and those that it lacks are off. Of what is new there are the rules that ask
    /// for nothing but the event at hand. In another zone all counts otherwise: the plan stays as
    /// it is.
    #[must_use]
    pub fn towards(&self, other: &Plan) -> Plan {
        if self.rules.timezone_name != other.rules.timezone_name {
            return self.clone();
        }
        let mut set = RuleSet::clone(&other.rules);
        let mut lists = other.lists.clone();
        let mut is_there = vec![false; other.info.len()];
        set.rules.clear();
        for (at, own) in self.rules.rules.iter().enumerate() {
            let found = other.named(self.info[at].fingerprint, at);
            if let Some(found) = found.filter(|found| is_alike((self, at), (other, *found))) {
                is_there[found] = true;
                set.rules.push(other.rule(found).clone());
                continue;
            }
            let named = other.rules.rules.iter().find(|rule| rule.name == own.name);
            let is_replaced =
                named.is_none_or(|rule| rule.mode == Mode::Off || rule.check.is_instant());
            let mut rule = own.clone();
            if is_replaced || own.mode == Mode::Off {
                rule.mode = Mode::Off;
                rule.name = format!("{} (before)", own.name);
                rule.check.filters_mut().for_each(|filter| filter.all.clear());
            } else {
                self.take_lists(&mut rule, (&mut set, &mut lists));
            }
            set.rules.push(rule);
        }
        let news = other.rules.rules.iter().zip(is_there).filter(|(rule, is_there)| {
            !is_there && rule.mode != Mode::Off && rule.check.is_instant()
        });
        set.rules.extend(news.map(|(rule, _)| rule.clone()));
        let plan = Plan::new(Arc::new(set), lists, self.settings.clone());
        // Values that nobody asks for stay where they are.
        Plan { new_fields: self.new_fields.clone(), ..plan }.shaped()
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
            let known = known.filter(|known| is_alike((other, *known), (self, *at)));
            rule.mode != Mode::Off && known.is_none()
        };
        let rules = self.rules.rules.iter().enumerate().filter(is_news);
        rules.map(|(_, rule)| rule.name.clone()).collect()
    }

    /// The same, but these rules count without being judged: their levels stay armed. Z-scores, and
    /// rules that watch for too little, are judged all the same: a series that is odd, or a key
    /// that is silent, long since, is no news.
    #[must_use]
    pub fn muted(&self, rules: &[String]) -> Plan {
        let mut plan = self.clone();
        let mut set = RuleSet::clone(&plan.rules);
        for (at, rule) in set.rules.iter_mut().enumerate() {
            if !rules.contains(&rule.name) {
                continue;
            }
            match &mut rule.check {
                Check::Match { .. } => plan.routes.close(at),
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
}

/// Whether the counters of a rule of one plan can go on as those of a rule of another; both are on.
fn is_alike((a, at): (&Plan, usize), (b, other): (&Plan, usize)) -> bool {
    let is_on = |plan: &Plan, at: usize| plan.rule(at).mode != Mode::Off;
    is_on(a, at) && is_on(b, other) && a.info[at].counts_as(&b.info[other])
}
