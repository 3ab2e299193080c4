//! Holds and budgets: what firings leave behind (D2, R15).

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value};

use crate::engine::intervene::FREEZE;
use crate::engine::{Account, Effect, Hold, account_key};
use crate::rule::Budget;

/// Holds and budgets of one state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    accounts: BTreeMap<String, Account>,
    /// Account keys by the instant at which one of their holds ends.
    ends: BTreeMap<i64, Vec<String>>,
    /// By rule name; the shared one under the empty name.
    budgets: BTreeMap<String, Spent>,
}

#[derive(Debug, Clone, Default)]
struct Spent {
    freezes: VecDeque<i64>,
    exhausted: bool,
}

impl Ledger {
    pub(crate) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// A rough figure: 500 bytes a target with a hold.
    pub(crate) fn bytes(&self) -> usize {
        self.accounts.len() * 500
    }

    /// Lets go of holds whose end the watermark has reached.
    pub(crate) fn expire(&mut self, watermark: i64, effects: &mut Vec<Effect>) {
        while let Some(entry) = self.ends.first_entry() {
            if *entry.key() > watermark {
                break;
            }
            for key in entry.remove() {
                let Some(account) = self.accounts.get_mut(&key) else { continue };
                let before = account.holds.len();
                account.holds.retain(|hold| hold.until.is_none_or(|until| until.0 > watermark));
                if account.holds.len() != before {
                    self.publish(&key, effects);
                }
            }
        }
    }

    pub(crate) fn publish(&mut self, key: &str, effects: &mut Vec<Effect>) {
        let Some(account) = self.accounts.get(key) else { return };
        effects.push(Effect::Account(Box::new(account.clone())));
        if account.holds.is_empty() {
            self.accounts.remove(key);
        }
    }

    pub(crate) fn hold(
        &mut self,
        target: &Map<String, Value>,
        hold: Hold,
        effects: &mut Vec<Effect>,
    ) {
        let key = account_key(target);
        if let Some(until) = hold.until {
            self.ends.entry(until.0).or_default().push(key.clone());
        }
        let account = self
            .accounts
            .entry(key.clone())
            .or_insert_with(|| Account { target: target.clone(), holds: Vec::new() });
        account.holds.retain(|held| held.rule != hold.rule || held.scope != hold.scope);
        account.holds.push(hold);
        self.publish(&key, effects);
    }

    /// Takes a target's automatic holds, or those of one rule (R16).
    pub(crate) fn lift(&mut self, target: &Map<String, Value>, rule: Option<&str>) -> Vec<Hold> {
        let Some(account) = self.accounts.get_mut(&account_key(target)) else { return Vec::new() };
        let (lifted, kept) = std::mem::take(&mut account.holds)
            .into_iter()
            .partition(|hold| hold.rule != FREEZE && rule.is_none_or(|rule| hold.rule == rule));
        account.holds = kept;
        lifted
    }

    /// Lifts the holds that are `wanted` of one target, or of all; tells each, and publishes.
    pub(crate) fn lift_all(
        &mut self,
        target: Option<&Map<String, Value>>,
        wanted: &dyn Fn(&Hold) -> bool,
        lifted: &mut dyn FnMut(&Map<String, Value>, &Hold),
        effects: &mut Vec<Effect>,
    ) {
        let keys: Vec<String> = match target {
            Some(target) => vec![account_key(target)],
            None => self.accounts.keys().cloned().collect(),
        };
        for key in keys {
            let Some(account) = self.accounts.get_mut(&key) else { continue };
            let before = account.holds.len();
            for hold in account.holds.iter().filter(|hold| wanted(hold)) {
                lifted(&account.target, hold);
            }
            account.holds.retain(|hold| !wanted(hold));
            if account.holds.len() != before {
                self.publish(&key, effects);
            }
        }
    }

    /// Takes one freeze from a budget. `None` = there was room; otherwise whether this is the
    /// first freeze too many.
    pub(crate) fn room(&mut self, name: &str, budget: Budget, ts: i64) -> Option<bool> {
        let spent = self.budgets.entry(name.to_owned()).or_default();
        let since = ts.saturating_sub(budget.per_ms);
        while spent.freezes.front().is_some_and(|first| *first <= since) {
            spent.freezes.pop_front();
        }
        if spent.freezes.len() < budget.freezes as usize {
            spent.exhausted = false;
            return None;
        }
        Some(!std::mem::replace(&mut spent.exhausted, true))
    }

    pub(crate) fn spend(&mut self, name: &str, ts: i64) {
        if let Some(spent) = self.budgets.get_mut(name) {
            // Kept in order of event time, so that the oldest leaves first.
            let at = spent.freezes.partition_point(|other| *other <= ts);
            spent.freezes.insert(at, ts);
        }
    }
}
