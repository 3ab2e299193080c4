//! The rule sets that a process runs or has run, each made ready once for all of its workers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use crate::engine::{Plan, PublishedRules};
use crate::stream::shared::lock;

/// Plans by the names of their sets.
pub(crate) type Sets = BTreeMap<String, Arc<Plan>>;

/// The plan in force, and those of other sets as long as somebody has them.
#[derive(Debug)]
pub struct PlanCell {
    /// By what a state is judged as long as no set is published.
    home: Arc<Plan>,
    /// The newest that a state of this process has taken in, and its offset in the control topic.
    in_force: Mutex<(i64, Arc<Plan>)>,
    known: Mutex<BTreeMap<String, Weak<Plan>>>,
}

impl PlanCell {
    /// `home` stands until a published set takes its place; its settings are those of every plan.
    pub fn new(home: Plan) -> PlanCell {
        let home = Arc::new(home);
        let in_force = Mutex::new((NOWHERE, home.clone()));
        PlanCell { home, in_force, known: Mutex::default() }
    }

    /// The plan in force, as far as this process has heard.
    pub fn get(&self) -> Arc<Plan> {
        lock(&self.in_force).1.clone()
    }

    pub(crate) fn home(&self) -> Arc<Plan> {
        self.home.clone()
    }

    /// The plan of a set, if somebody has it.
    pub(crate) fn known(&self, set: &str) -> Option<Arc<Plan>> {
        lock(&self.known).get(set).and_then(Weak::upgrade)
    }

    /// The plan of a published set.
    ///
    /// # Errors
    /// All faults of its texts, in words.
    pub(crate) fn make(&self, rules: &PublishedRules) -> Result<Arc<Plan>, String> {
        if let Some(plan) = self.known(&rules.set) {
            return Ok(plan);
        }
        let plan = rules.plan(self.home.settings.clone()).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            faults.join("\n")
        })?;
        let plan = Arc::new(plan);
        let mut known = lock(&self.known);
        known.retain(|_, plan| plan.strong_count() > 0);
        known.insert(rules.set.clone(), Arc::downgrade(&plan));
        Ok(plan)
    }

    /// A state has taken in the plan published at this offset. Returns the one it replaces where
    /// that is news to the process.
    pub(crate) fn take_effect(&self, at: i64, plan: &Arc<Plan>) -> Option<Arc<Plan>> {
        let mut in_force = lock(&self.in_force);
        if at <= in_force.0 {
            return None;
        }
        let (was_at, before) = std::mem::replace(&mut *in_force, (at, plan.clone()));
        // At a start its own files are in force mostly, and a set may be published again.
        let same = Arc::ptr_eq(&before, plan)
            || (was_at == NOWHERE && before.rules.version == plan.rules.version);
        (!same).then_some(before)
    }
}

/// The offset of what was never published.
pub(crate) const NOWHERE: i64 = -1;

#[cfg(test)]
mod tests;
