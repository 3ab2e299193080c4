//! What is to be known of the filters of a check, whatever its kind.

use crate::rule::types::{Check, Condition, Filter, Test};

impl Check {
    /// What events are held against: one filter, of ratios two.
    pub(crate) fn filters_mut(&mut self) -> impl Iterator<Item = &mut Filter> {
        let (one, other) = match self {
            Check::Match { filter, .. } => (filter, None),
            Check::Threshold { input, .. } => (&mut input.filter, None),
            Check::Ratio { of, to, .. } => (&mut of.filter, Some(&mut to.filter)),
            Check::ZScore(zscore) => (&mut zscore.input.filter, None),
        };
        [Some(one), other].into_iter().flatten()
    }

    /// Takes all actions away.
    pub(crate) fn disarm(&mut self) {
        match self {
            Check::Match { then, .. } => then.clear(),
            Check::Threshold { levels, .. } | Check::Ratio { levels, .. } => {
                levels.levels.iter_mut().for_each(|level| level.then.clear());
            }
            Check::ZScore(zscore) => zscore.then.clear(),
        }
    }

    /// Whether it asks for nothing but the event at hand.
    pub(crate) fn is_instant(&self) -> bool {
        matches!(self, Check::Match { filter, .. } if !filter.asks_for_news())
    }
}

impl Filter {
    /// Puts other places of lists in the place of those that it names.
    pub(crate) fn map_lists(&mut self, map: &dyn Fn(usize) -> usize) {
        for condition in &mut self.all {
            match condition {
                Condition::Field { test: Test::In(list) | Test::NotIn(list), .. } => {
                    *list = map(*list);
                }
                Condition::Any(filters) => {
                    for filter in filters {
                        filter.map_lists(map);
                    }
                }
                Condition::Not(filter) => filter.map_lists(map),
                Condition::Field { .. } | Condition::New { .. } => {}
            }
        }
    }

    fn asks_for_news(&self) -> bool {
        self.all.iter().any(|condition| match condition {
            Condition::New { .. } => true,
            Condition::Any(filters) => filters.iter().any(Filter::asks_for_news),
            Condition::Not(filter) => filter.asks_for_news(),
            Condition::Field { .. } => false,
        })
    }
}
