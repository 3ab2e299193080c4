//! Holds and budgets: what firings leave behind (D2, R15).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::intervene::FREEZE_BY_HAND;
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
    capture: Option<Box<Capture>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spent {
    pub(crate) freezes: VecDeque<i64>,
    pub(crate) exhausted: bool,
}

/// A snapshot under way.
#[derive(Debug, Clone, Default)]
struct Capture {
    /// Accounts up to this one are said.
    last: Option<String>,
    /// Beyond it those that have changed, and how they were.
    changed: BTreeSet<String>,
    saved: Vec<Account>,
}

impl Ledger {
    pub(crate) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// A target's holds, by its key.
    pub(crate) fn account(&self, key: &str) -> Option<&Account> {
        self.accounts.get(key)
    }

    /// Freezes that a budget has let pass in its duration up to `now`, and whether it is
    /// exhausted.
    pub(crate) fn spent(&self, name: &str, budget: Budget, now: i64) -> (u32, bool) {
        let Some(spent) = self.budgets.get(name) else { return (0, false) };
        let since = now.saturating_sub(budget.per_ms);
        let recent = spent.freezes.iter().filter(|at| **at > since).count();
        (u32::try_from(recent).unwrap_or(u32::MAX), recent >= budget.freezes as usize)
    }

    /// A rough figure: 500 bytes a target with a hold.
    pub(crate) fn bytes(&self) -> usize {
        self.accounts.len() * 500
    }

    /// Whether the watermark has reached the end of a hold.
    #[inline]
    pub(crate) fn is_over(&self, watermark: i64) -> bool {
        self.ends.first_key_value().is_some_and(|(end, _)| *end <= watermark)
    }

    /// Lets go of holds whose end the watermark has reached.
    pub(crate) fn expire(&mut self, watermark: i64, effects: &mut Vec<Effect>) {
        while self.is_over(watermark)
            && let Some(entry) = self.ends.first_entry()
        {
            let end = *entry.key();
            // In an order that does not depend on that of the holds.
            let mut keys = entry.remove();
            keys.sort_unstable();
            for key in keys {
                self.keep(&key);
                let Some(account) = self.accounts.get_mut(&key) else { continue };
                let ends = |hold: &Hold| hold.until.is_some_and(|until| until.0 == end);
                if !account.holds.iter().any(ends) {
                    // The hold has been lifted or replaced.
                    continue;
                }
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
        effects.push(Effect::Account(Box::new(account.published())));
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
        self.keep(&key);
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
        let key = account_key(target);
        self.keep(&key);
        let Some(account) = self.accounts.get_mut(&key) else { return Vec::new() };
        let (lifted, kept) = std::mem::take(&mut account.holds).into_iter().partition(|hold| {
            hold.rule != FREEZE_BY_HAND && rule.is_none_or(|rule| hold.rule == rule)
        });
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
            self.keep(&key);
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

    /// In order of their keys.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// What is spent of budgets, by name of the rule.
    pub(crate) fn budgets(&self) -> &BTreeMap<String, Spent> {
        &self.budgets
    }

    pub(crate) fn restore_budget(&mut self, rule: String, spent: Spent) {
        self.budgets.insert(rule, spent);
    }

    /// An account as a snapshot tells it.
    pub(crate) fn restore(&mut self, account: Account) {
        let key = account_key(&account.target);
        for until in account.holds.iter().filter_map(|hold| hold.until) {
            self.ends.entry(until.0).or_default().push(key.clone());
        }
        self.accounts.insert(key, account);
    }

    /// Fixes what a snapshot will tell.
    pub(crate) fn begin(&mut self) {
        self.capture = Some(Box::default());
    }

    pub(crate) fn abandon(&mut self) {
        self.capture = None;
    }

    /// The next account as it was.
    pub(crate) fn say(&mut self) -> Option<Account> {
        let capture = self.capture.as_mut()?;
        if let Some(account) = capture.saved.pop() {
            return Some(account);
        }
        let from = capture.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.accounts.range::<String, _>((from.clone(), Bound::Unbounded));
        let next = next.into_iter().find(|(key, _)| !capture.changed.contains(*key));
        match (next, from) {
            (Some((key, account)), _) => {
                capture.last = Some(key.clone());
                Some(account.clone())
            }
            (None, Bound::Excluded(last)) => {
                capture.last = Some(last);
                None
            }
            (None, _) => None,
        }
    }

    /// An account is about to change.
    fn keep(&mut self, key: &str) {
        let Some(capture) = &mut self.capture else { return };
        let said = capture.last.as_deref().is_some_and(|last| key <= last);
        if !said
            && capture.changed.insert(key.to_owned())
            && let Some(account) = self.accounts.get(key)
        {
            capture.saved.push(account.clone());
        }
    }
}
