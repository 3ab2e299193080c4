//! What events bring together to few keys, by key and rule.

use crate::engine::posting::Told;
use crate::engine::posts::{FEW, LACKING};
use crate::engine::together::{Alike, Together};

/// What the next events bring together, by number of the key among the few and of the rule.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) all: Vec<Together>,
    pub(super) rules: usize,
    /// Those that something comes to.
    pub(super) used: Vec<usize>,
}

/// More keys times rules are not worth their room.
const SUMS_MAX: usize = 4096;

impl Sums {
    /// Where a rule and key stand; `None` where what comes to them is looked at one by one.
    #[inline]
    fn at(&self, told: &Told, name: u32) -> Option<usize> {
        let rule = told.together?;
        let is_few = name != LACKING && name & FEW != 0;
        is_few.then_some((name & !FEW) as usize * self.rules + rule)
    }

    /// Forgets all, and makes room for so many keys and rules; false where they are too many.
    pub(super) fn begin(&mut self, keys: usize, rules: usize) -> bool {
        for at in self.used.drain(..) {
            self.all[at] = Together::default();
        }
        let fits = keys * rules <= SUMS_MAX;
        if fits {
            self.all.resize(keys * rules, Together::default());
            self.rules = rules;
        }
        fits
    }

    /// What events that are alike bring to a rule, by the number of the key.
    #[inline]
    pub(super) fn add(&mut self, told: &Told, name: u32, group: &Alike) {
        let at = self.at(told, name);
        if let Some((at, all)) = at.and_then(|at| Some((at, self.all.get_mut(at)?))) {
            if !all.has_some {
                self.used.push(at);
            }
            all.join(group, (told.of, told.to));
        }
    }

    pub(super) fn is_done(&self, told: &Told, name: u32) -> bool {
        let all = self.at(told, name).and_then(|at| self.all.get(at));
        all.is_some_and(|all| all.is_done)
    }
}
