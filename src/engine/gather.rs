//! The owner's side of rules that are new and whose keys cross partitions (R18): each partition
//! tells what its log held for them, and they are judged once all have told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::engine::keyed::{At, Ctx};
use crate::engine::plan::{EVER, Plan};
use crate::engine::state::{Output, State};

/// Rules whose partitions are remembered; the oldest is forgotten.
const RULES_MAX: usize = 1_000;

/// Which partitions have told their past of which rules: the rule's fingerprint, in order of
/// coming. Also of rules that are not known yet: what is told of them stands in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heard(VecDeque<(u64, BTreeSet<i32>)>);

impl Heard {
    pub(crate) fn note(&mut self, rules: &[u64], partition: i32) {
        for rule in rules {
            if let Some((_, from)) = self.0.iter_mut().find(|(known, _)| known == rule) {
                from.insert(partition);
                continue;
            }
            if self.0.len() == RULES_MAX {
                self.0.pop_front();
            }
            self.0.push_back((*rule, BTreeSet::from([partition])));
        }
    }

    /// How many partitions have told their past of a rule.
    fn of(&self, rule: u64) -> usize {
        self.0.iter().find(|(known, _)| *known == rule).map_or(0, |(_, from)| from.len())
    }
}

impl Plan {
    /// Of these rules those whose past has to be told by other partitions: their fingerprints.
    pub(crate) fn awaited(&self, names: &[String]) -> Vec<u64> {
        let told = self.info.iter().zip(&self.rules.rules);
        let told = told.filter(|(info, rule)| info.birth != EVER && names.contains(&rule.name));
        told.map(|(info, _)| info.fingerprint).collect()
    }
}

impl State {
    /// How many pasts were told of these rules, of how many partitions have to tell: the least of
    /// all rules.
    pub(crate) fn heard(&self, rules: &[u64], partitions: u32) -> (usize, usize) {
        let partitions = partitions as usize;
        let least = rules.iter().map(|rule| self.heard.of(*rule)).min();
        (least.unwrap_or(partitions).min(partitions), partitions)
    }

    /// From here on `plan` judges these rules, for which everything has come together: windows that
    /// are over are closed, and who is silent is looked at, without a word. What was odd or silent
    /// before is no news; levels above stay armed.
    pub fn take_up(&mut self, plan: &Plan, rules: &[String], out: &mut Output) {
        let (Some(hushed), Some(watermark)) = (plan.hushed(rules), self.watermark) else { return };
        let Some((origin, mover)) = self.mover.clone() else { return };
        self.prepare(&hushed);
        let at = At::mover(&origin, &mover);
        let (effects, counts) = (out.effects.len(), out.counts.clone());
        let plan = &hushed;
        let mut ctx = Ctx { plan, watermark, effects: &mut out.effects, counts: &mut out.counts };
        self.keyed.look_again();
        self.keyed.close(&at, false, &mut ctx);
        self.keyed.silence(&at, true, &BTreeMap::new(), &mut ctx);
        // Of the other rules nothing was looked at.
        self.keyed.look_again();
        out.effects.truncate(effects);
        out.counts = counts;
    }
}

#[cfg(test)]
mod tests;
