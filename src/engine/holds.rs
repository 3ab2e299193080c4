//! Holds and budgets of a state as they go over to the state that takes its place when a rule set
//! that counts otherwise comes into force: they are facts, whatever the rules were. So is what
//! became of the records, of which the one that takes over may not have read the first.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::daily::Intake;
use crate::engine::ledger::{Ledger, Spent};
use crate::engine::{Account, State};

/// What is held of the targets of one state, and what is spent of budgets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Holds {
    accounts: Vec<Account>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    budgets: BTreeMap<String, Spent>,
    /// Of a partition of the events; `None` in parts after the first, and where it was not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    intake: Option<Intake>,
}

impl Holds {
    /// Cuts them into parts of about so many accounts each; one part at least.
    pub(crate) fn cut(mut self, accounts_max: usize) -> Vec<Holds> {
        let mut accounts = std::mem::take(&mut self.accounts).into_iter();
        self.accounts = accounts.by_ref().take(accounts_max).collect();
        let mut parts = vec![self];
        while accounts.len() > 0 {
            let accounts = accounts.by_ref().take(accounts_max).collect();
            parts.push(Holds { accounts, ..Holds::default() });
        }
        parts
    }
}

impl State {
    pub fn holds(&self) -> Holds {
        let ledger = &self.keyed.ledger;
        Holds {
            accounts: ledger.accounts().cloned().collect(),
            budgets: ledger.budgets().clone(),
            intake: (self.intake.consumed > 0).then_some(self.intake),
        }
    }

    /// Lets go of all holds and budgets and takes these instead. Nothing is put out.
    pub fn replace_holds(&mut self, holds: Holds) {
        self.keyed.ledger = Ledger::default();
        self.add_holds(holds);
    }

    /// Takes in more holds, of targets that have none.
    pub fn add_holds(&mut self, holds: Holds) {
        self.intake = holds.intake.unwrap_or(self.intake);
        let ledger = &mut self.keyed.ledger;
        holds.accounts.into_iter().for_each(|account| ledger.restore(account));
        for (rule, spent) in holds.budgets {
            ledger.restore_budget(rule, spent);
        }
    }
}

#[cfg(test)]
mod tests;
