//! What waits for one receiver: of one group, for one reason. Pure.

use std::collections::BTreeSet;

use super::inhibit::over_at;
use super::notice::{DIRECT, HELD, LISTED_MAX, Links, Notice};
use crate::engine::Decision;

/// Bodies kept of what is held, so that it can be said what of it still matters.
const HELD_MAX: usize = 1_000;

/// Why something is held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mute {
    None,
    /// Until the end of quiet hours, milliseconds since the epoch.
    Quiet(i64),
    /// Id of the silence.
    Silence(String),
    /// Id of the decision that explains it.
    Inhibited(String),
    /// By something before a restart that is over.
    Past,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneKey {
    pub(super) receiver: String,
    pub(super) route: usize,
    pub(super) group: String,
    /// 0 is the route's own `to`.
    pub(super) step: usize,
    pub(super) mute: Mute,
}

impl LaneKey {
    pub(super) fn kind(&self) -> u64 {
        match (self.step, &self.mute) {
            (0, Mute::None) => DIRECT,
            (0, _) => HELD,
            (step, _) => HELD + step as u64,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) ticket: u64,
    pub(super) decision: String,
    pub(super) at: i64,
    /// When it was committed.
    pub(super) decided_at: i64,
    /// When it no longer matters; never, where nobody can say.
    pub(super) over_at: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    /// What its group is called outside.
    pub(super) id: String,
    pub(super) rule: String,
    pub(super) items: Vec<Item>,
    pub(super) bodies: Vec<Decision>,
    /// Tickets of what is muted because of it, and their groups: told as a count.
    pub(super) muted: Vec<u64>,
    pub(super) muted_groups: BTreeSet<String>,
    /// What it tells would be muted, were not too much held already.
    pub(super) is_overflow: bool,
    /// When what waits may go.
    pub(super) due_at: i64,
    /// Since when the oldest of what is told again has waited, whether or not it still does.
    pub(super) oldest_at: Option<i64>,
    /// Not before this may the next notice go.
    pub(super) quiet_until: i64,
}

impl Lane {
    pub(super) fn waits(&self) -> bool {
        !self.items.is_empty() || !self.muted.is_empty()
    }

    /// Takes a decision in; `whole` keeps every one for a program.
    pub(super) fn push(&mut self, decision: &Decision, item: Item, is_held: bool, whole: bool) {
        let most = if is_held { HELD_MAX } else { LISTED_MAX };
        if whole || self.bodies.len() < most {
            self.bodies.push(decision.clone());
        }
        self.count(&decision.rule, item);
    }

    /// Takes in one that is known as a number alone.
    pub(super) fn count(&mut self, rule: &str, item: Item) {
        if self.items.is_empty() {
            rule.clone_into(&mut self.rule);
        } else if self.rule != rule {
            self.rule.clear();
        }
        self.items.push(item);
    }

    /// Takes out what `wanted` says, bodies and all.
    pub(super) fn remove(&mut self, wanted: impl Fn(&Item) -> bool) -> Vec<Item> {
        let gone: Vec<Item> = self.items.extract_if(.., |item| wanted(item)).collect();
        let ids: BTreeSet<&str> = gone.iter().map(|item| item.decision.as_str()).collect();
        self.bodies.retain(|decision| !ids.contains(decision.id.as_str()));
        gone
    }

    /// Takes out what waits, as a notice. Of what was muted only what still matters at `now` is
    /// listed or counted among the rest; the number of the others comes with it.
    pub(super) fn notice(&mut self, key: &LaneKey, now: i64, whole: bool) -> (Notice, usize) {
        let items = std::mem::take(&mut self.items);
        let mut decisions = std::mem::take(&mut self.bodies);
        let is_muted = matches!(key.mute, Mute::Silence(_) | Mute::Inhibited(_) | Mute::Past);
        let is_over = |over_at: Option<i64>| is_muted && over_at.is_some_and(|over| over <= now);
        let over: BTreeSet<&str> = items
            .iter()
            .filter(|item| is_over(item.over_at))
            .map(|item| item.decision.as_str())
            .collect();
        decisions.retain(|decision| !over.contains(decision.id.as_str()));
        if !whole {
            decisions.truncate(LISTED_MAX);
        }
        let offered_at = match (key.step, &key.mute) {
            (0, Mute::None) => items.iter().map(|item| item.at).min().unwrap_or(now),
            // Its time to be delivered in begins now.
            _ => now,
        };
        let decided_at = match (key.step, &key.mute) {
            (0, Mute::None) => items.iter().map(|item| item.decided_at).min().unwrap_or(now),
            _ => now,
        };
        let mut groups = std::mem::take(&mut self.muted_groups);
        groups.insert(self.id.clone());
        let notice = Notice {
            receiver: key.receiver.clone(),
            rule: self.rule.clone(),
            rest: items.len() - over.len() - decisions.len(),
            tickets: items.iter().map(|item| item.ticket).collect(),
            decisions,
            // What is over by now is told as a number.
            ids: items.iter().map(|item| item.decision.clone()).collect(),
            times: items.iter().map(|item| item.at).collect(),
            offered_at,
            decided_at,
            also: Vec::new(),
            remarks: Vec::new(),
            links: Links { groups, ..Links::default() },
        };
        (notice, over.len())
    }
}

pub(super) fn item(decision: &Decision, ticket: u64, (at, decided_at): (i64, i64)) -> Item {
    // What matches an event is no state: it is over as it comes.
    let over_at = decision.resolved.as_ref().map_or_else(
        || over_at(decision).or_else(|| decision.measure.is_none().then_some(at)),
        |_| Some(at),
    );
    // An account of a day is news whenever it comes.
    let over_at = over_at.filter(|_| decision.daily.is_none());
    Item { ticket, decision: decision.id.clone(), at, decided_at, over_at }
}
