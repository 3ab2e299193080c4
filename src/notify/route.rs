//! Who hears of a decision, and when: routes, groups, intervals (N2).
//!
//! Pure: the time comes in as an argument, nothing is sent here. Every decision offered is
//! named, by its ticket, in exactly one notice for each receiver that [`Router::offer`] named.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use crate::engine::Decision;

use super::settings::{Match, NotifySettings, RouteSettings};

const GROUP_WAIT_MS: i64 = 10_000;
const GROUP_INTERVAL_MS: i64 = 60_000;
const REPEAT_INTERVAL_MS: i64 = 4 * 3_600_000;
/// What waited before a restart has waited: long enough to make one notice of what is read again.
const RESUMED_WAIT_MS: i64 = 1_000;
/// Decisions listed in one notice; the rest is counted. A mail of 50 is still read.
const LISTED_MAX: usize = 50;
/// Decisions remembered against being told twice: some 10 MB. The oldest are forgotten first.
const TOLD_MAX: usize = 100_000;

/// What one receiver shall be told at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    pub receiver: String,
    /// Empty for a digest of several rules.
    pub rule: String,
    /// The oldest first, at most 50 in notices for people.
    pub decisions: Vec<Decision>,
    /// How many more there are than `decisions` lists.
    pub rest: usize,
    /// One per decision, those of the rest included.
    pub tickets: Vec<u64>,
    /// When the first of its decisions was offered, in milliseconds since the epoch.
    pub offered_at: i64,
}

/// Who of a decision's receivers is to be told, and who was told already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares {
    /// Each gets the ticket in one notice.
    pub waiting: Vec<String>,
    pub told: Vec<String>,
}

impl Notice {
    /// Takes in another notice for the same receiver: one digest instead of two.
    pub(crate) fn absorb(&mut self, other: Notice) {
        if self.rule != other.rule {
            self.rule.clear();
        }
        self.rest += other.rest;
        for decision in other.decisions {
            if self.decisions.len() < LISTED_MAX {
                self.decisions.push(decision);
            } else {
                self.rest += 1;
            }
        }
        self.tickets.extend(other.tickets);
        self.offered_at = self.offered_at.min(other.offered_at);
    }
}

/// The groups that wait, and what has been told.
#[derive(Debug)]
pub struct Router {
    settings: NotifySettings,
    machines: BTreeSet<String>,
    ready: Vec<Notice>,
    groups: BTreeMap<GroupKey, Group>,
    told: BTreeMap<(String, String), i64>,
    told_order: VecDeque<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey {
    receiver: String,
    route: Option<usize>,
    rule: String,
}

#[derive(Debug, Default)]
struct Group {
    waiting: Option<Notice>,
    /// When `waiting` may go.
    due_at: i64,
    /// Not before this may the next notice go.
    quiet_until: i64,
}

struct Offer<'a> {
    decision: &'a Decision,
    ticket: u64,
    now_ms: i64,
    /// The longest a first notice may wait for company.
    wait_max: i64,
}

impl Router {
    pub fn new(settings: NotifySettings) -> Router {
        let machines = settings.machines().into_iter().map(str::to_owned).collect();
        Router {
            settings,
            machines,
            ready: Vec::new(),
            groups: BTreeMap::new(),
            told: BTreeMap::new(),
            told_order: VecDeque::new(),
        }
    }

    /// Takes a decision in. The shares are empty for what does not notify (shadow, no `alert`)
    /// and for what has no receiver.
    pub fn offer(&mut self, decision: &Decision, ticket: u64, now_ms: i64) -> Shares {
        self.take(&Offer { decision, ticket, now_ms, wait_max: i64::MAX }, |_| false)
    }

    /// Takes in a decision that was read before a restart, `told` being whom it has reached.
    pub fn offer_again(
        &mut self,
        decision: &Decision,
        ticket: u64,
        now_ms: i64,
        told: impl Fn(&str) -> bool,
    ) -> Shares {
        self.take(&Offer { decision, ticket, now_ms, wait_max: RESUMED_WAIT_MS }, told)
    }

    /// The notices whose time has come.
    pub fn due(&mut self, now_ms: i64) -> Vec<Notice> {
        let mut notices = std::mem::take(&mut self.ready);
        for (key, group) in &mut self.groups {
            if group.due_at > now_ms {
                continue;
            }
            if let Some(notice) = group.waiting.take() {
                notices.push(notice);
                let route = key.route.and_then(|route| self.settings.routes.get(route));
                let interval = route.and_then(|route| route.group_interval);
                group.quiet_until = now_ms.saturating_add(interval.unwrap_or(GROUP_INTERVAL_MS));
            }
        }
        self.groups.retain(|_, group| group.waiting.is_some() || group.quiet_until > now_ms);
        notices
    }

    /// When [`Router::due`] is next worth calling; `None` while nothing waits.
    pub fn next_due_at(&self) -> Option<i64> {
        if !self.ready.is_empty() {
            return Some(i64::MIN);
        }
        let waiting = self.groups.values().filter(|group| group.waiting.is_some());
        waiting.map(|group| group.due_at).min()
    }

    fn take(&mut self, offer: &Offer<'_>, told: impl Fn(&str) -> bool) -> Shares {
        let mut shares = Shares::default();
        let Some(alert) = &offer.decision.alert else { return shares };
        if offer.decision.mode != "live" {
            return shares;
        }
        let fits = |route: &RouteSettings| matches(&route.matches, offer.decision);
        let route = self.settings.routes.iter().position(fits);
        let to = match (alert.is_empty(), route) {
            (false, _) => alert,
            (true, Some(route)) => &self.settings.routes[route].to,
            (true, None) => &self.settings.default,
        };
        // A receiver a rule names but the configuration lacks must not swallow the alert.
        let known = to.iter().filter(|name| self.settings.receivers.contains_key(*name));
        let mut receivers: BTreeSet<String> = known.cloned().collect();
        if receivers.is_empty() {
            receivers.extend(self.settings.default.iter().cloned());
        }
        for receiver in receivers {
            if !told(&receiver) && self.first_telling(&receiver, route, offer) {
                self.enqueue(&receiver, route, offer);
                shares.waiting.push(receiver);
            } else {
                shares.told.push(receiver);
            }
        }
        shares
    }

    fn enqueue(&mut self, receiver: &str, route: Option<usize>, offer: &Offer<'_>) {
        let notice = Notice {
            receiver: receiver.to_owned(),
            rule: offer.decision.rule.clone(),
            decisions: vec![offer.decision.clone()],
            rest: 0,
            tickets: vec![offer.ticket],
            offered_at: offer.now_ms,
        };
        if self.machines.contains(receiver) {
            self.ready.push(notice);
            return;
        }
        let wait = route.and_then(|route| self.settings.routes.get(route)?.group_wait);
        let wait = wait.unwrap_or(GROUP_WAIT_MS).min(offer.wait_max);
        let key = GroupKey { receiver: receiver.to_owned(), route, rule: notice.rule.clone() };
        let group = self.groups.entry(key).or_default();
        if let Some(waiting) = &mut group.waiting {
            waiting.absorb(notice);
        } else {
            group.due_at = offer.now_ms.saturating_add(wait).max(group.quiet_until);
            group.waiting = Some(notice);
        }
    }

    /// False when this receiver was given this very decision within the repeat interval.
    fn first_telling(&mut self, receiver: &str, route: Option<usize>, offer: &Offer<'_>) -> bool {
        let now_ms = offer.now_ms;
        let repeat = route.and_then(|route| self.settings.routes.get(route)?.repeat_interval);
        let repeat = repeat.unwrap_or(REPEAT_INTERVAL_MS);
        let key = (receiver.to_owned(), offer.decision.id.clone());
        if let Some(at) = self.told.get_mut(&key) {
            if now_ms.saturating_sub(*at) < repeat {
                return false;
            }
            *at = now_ms;
            return true;
        }
        self.told.insert(key.clone(), now_ms);
        self.told_order.push_back(key);
        if self.told_order.len() > TOLD_MAX
            && let Some(oldest) = self.told_order.pop_front()
        {
            self.told.remove(&oldest);
        }
        true
    }
}

fn matches(wanted: &Match, decision: &Decision) -> bool {
    let severity = wanted.severity.is_empty() || wanted.severity.contains(&decision.severity);
    let rule = wanted.rule.is_empty() || wanted.rule.contains(&decision.rule);
    severity
        && rule
        && wanted.key.iter().all(|(field, values)| match decision.key.get(field) {
            Some(Value::String(text)) => values.contains(text),
            Some(other) => values.contains(&other.to_string()),
            None => false,
        })
}

#[cfg(test)]
mod tests;
