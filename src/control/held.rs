//! Which holds an unfreeze would lift: folded from the records that instances have written, so
//! that people can look before they act.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::engine::{Account, Act, Held, Hold, account_key};

/// The holds of all targets as account records tell of them.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    holds: BTreeMap<String, Account>,
}

/// What is needed of a decision.
#[derive(Debug, Deserialize)]
struct Placed {
    id: String,
    ruleset: String,
}

impl Accounts {
    /// Takes in an account record; a later one of the same key replaces an earlier one.
    pub fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        let key = String::from_utf8_lossy(key).into_owned();
        match value.and_then(|value| serde_json::from_slice::<Account>(value).ok()) {
            Some(account) if !account.holds.is_empty() => drop(self.holds.insert(key, account)),
            _ => drop(self.holds.remove(&key)),
        }
    }

    /// The holds that an unfreeze would lift if every rule set had placed them, in order of
    /// targets. Those by hand are of no rule set.
    pub fn lifted_by(&self, act: &Act) -> Vec<Held> {
        let Act::Unfreeze { target, ruleset, .. } = act else { return Vec::new() };
        let wanted = target.as_ref().map(account_key);
        let accounts = self
            .holds
            .iter()
            .filter(|(key, _)| wanted.as_ref().is_none_or(|wanted| wanted == *key));
        let holds = accounts.flat_map(|(_, account)| {
            account
                .holds
                .iter()
                .map(|hold| Held { target: account.target.clone(), hold: hold.clone() })
        });
        let fits = |held: &Held| {
            let by_rule = held.hold.rule != crate::engine::FREEZE_BY_HAND;
            let ruleset = ruleset.clone().filter(|_| by_rule);
            act.lifts(&Hold { ruleset, ..held.hold.clone() })
        };
        holds.filter(fits).collect()
    }
}

/// Holds whose rule set is sought among decisions.
#[derive(Debug)]
pub struct Origins {
    wanted: BTreeSet<String>,
    found: BTreeMap<String, String>,
}

impl Origins {
    pub fn of(holds: &[Held]) -> Origins {
        let wanted = holds.iter().map(|held| held.hold.hold.clone()).collect();
        Origins { wanted, found: BTreeMap::new() }
    }

    /// Takes in a record of the decisions topic.
    pub fn take(&mut self, value: Option<&[u8]>) {
        let placed = value.and_then(|value| serde_json::from_slice::<Placed>(value).ok());
        if let Some(Placed { id, ruleset }) = placed
            && self.wanted.contains(&id)
        {
            self.found.insert(id, ruleset);
        }
    }

    /// Notes in each hold the rule set that placed it, where its decision was found.
    pub fn note(&self, holds: &mut [Held]) {
        for held in holds {
            held.hold.ruleset = self.found.get(&held.hold.hold).cloned();
        }
    }
}

#[cfg(test)]
mod tests;
