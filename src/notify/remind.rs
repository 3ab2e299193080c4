//! What still fires is said again each `repeat_interval`, a few times, until it is resolved, its
//! window is over or somebody acknowledges it (N2). Pure.
//!
//! Reminders of a group stand on a grid that begins when the oldest of its decisions was written: they
//! come in one notice, and a restart neither repeats one nor moves it.

use std::collections::BTreeSet;

use super::inhibit::over_at;
use super::lane::{Item, LaneKey, Mute};
use super::notice::{DIRECT, HELD, LISTED_MAX, Links, Notice, REMIND, Shares, line};
use super::offer::Offer;
use super::route::Router;
use super::tree::Route;
use crate::rule::write_duration;

/// Decisions of one group that one receiver is reminded of.
const REMINDED_MAX: usize = 1_000;

/// The instants at which a group is reminded: `repeat_interval` apart, from when the oldest of it was
/// told. So all of it comes in one notice, and nothing of it sooner.
#[derive(Debug, Clone, Copy)]
struct Grid {
    from: i64,
    wait: i64,
    repeat: i64,
    reminders: i64,
}

impl Grid {
    fn new(route: &Route, oldest_at: i64) -> Grid {
        Grid {
            from: oldest_at.saturating_add(route.group_wait),
            wait: route.group_wait,
            repeat: route.repeat_interval.max(1),
            reminders: i64::from(route.reminders),
        }
    }

    /// The last one by `now`.
    fn last(&self, now: i64) -> i64 {
        let nth = now.saturating_sub(self.from).max(0) / self.repeat;
        self.from.saturating_add(nth.saturating_mul(self.repeat))
    }

    /// Whether what waits since `since` is told again at one of them.
    fn tells(&self, since: i64, at: i64) -> bool {
        let told_at = since.saturating_add(self.wait);
        (1..=self.reminders).contains(&(at.saturating_sub(told_at) / self.repeat))
    }

    /// When that is after `now`, if it still fires then.
    fn next(&self, since: i64, over_at: Option<i64>, now: i64) -> Option<i64> {
        let first = since.saturating_add(self.wait).saturating_add(self.repeat);
        let last = self.last(now.max(first.saturating_sub(1)));
        let at = last.saturating_add(self.repeat);
        (self.tells(since, at) && over_at.is_some_and(|over| at < over)).then_some(at)
    }
}

impl Router {
    /// Takes a decision in that was told, or is about to be.
    pub(super) fn remember(
        &mut self,
        offer: &Offer<'_>,
        route: &Route,
        key: &LaneKey,
        shares: &mut Shares,
    ) {
        let name = line(key.kind(), &key.receiver);
        if offer.written_at.is_some() && (offer.told)(&name) {
            shares.told.push(name);
            return;
        }
        let by = self.mutes.acknowledged(&route.group_id(&key.group));
        let is_acknowledged = by.is_some_and(|by| offer.at() <= by.through);
        let is_full = self.is_full()
            || self.lanes.get(key).is_some_and(|lane| lane.items.len() >= REMINDED_MAX);
        let oldest = self.lanes.get(key).filter(|lane| lane.waits()).and_then(|l| l.oldest_at);
        let grid = Grid::new(route, oldest.map_or(offer.at(), |at| at.min(offer.at())));
        let due_at = grid.next(offer.at(), over_at(offer.decision), offer.now);
        if let Some(due_at) = due_at.filter(|_| !is_acknowledged && !is_full) {
            shares.waiting.push(name);
            if let Some(lane) = self.lanes.get_mut(key) {
                if oldest.is_some_and(|at| offer.at() < at) {
                    let next = |item: &Item| grid.next(item.at, item.over_at, offer.now);
                    lane.due_at = lane.items.iter().filter_map(next).min().unwrap_or(i64::MAX);
                }
                lane.due_at = lane.due_at.min(due_at);
            }
            self.put(offer, key.clone(), due_at);
            if let Some(lane) = self.lanes.get_mut(key) {
                lane.oldest_at = Some(oldest.map_or(offer.at(), |at| at.min(offer.at())));
            }
        }
    }

    /// The notice of what is said again now; what is over, or was said often enough, goes.
    pub(super) fn remind(&mut self, key: &LaneKey, now: i64) -> Option<Notice> {
        let route = self.tree.route(key.route).cloned()?;
        let lane = self.lanes.get_mut(key)?;
        let grid = Grid::new(&route, lane.oldest_at?);
        let next = |item: &Item| grid.next(item.at, item.over_at, now);
        let at = grid.last(now);
        let mut gone = lane.remove(|item| item.over_at.is_none_or(|over| over <= now));
        let due = lane.items.iter().filter(|item| grid.tells(item.at, at));
        let due: Vec<(u64, String)> =
            due.map(|item| (item.ticket, item.decision.clone())).collect();
        let ids: BTreeSet<&str> = due.iter().map(|(_, id)| id.as_str()).collect();
        let known = lane.bodies.iter().filter(|one| ids.contains(one.id.as_str()));
        let decisions: Vec<_> = known.take(LISTED_MAX).cloned().collect();
        gone.extend(lane.remove(|item| next(item).is_none()));
        lane.due_at = lane.items.iter().filter_map(next).min().unwrap_or(i64::MAX);
        let (id, rule) = (lane.id.clone(), lane.rule.clone());
        if key.mute != Mute::None
            && let Some(lane) = self.lanes.remove(key)
        {
            let due_at = lane.due_at;
            self.hand_over(lane, key, &LaneKey { mute: Mute::None, ..key.clone() }, due_at);
        }
        for item in gone {
            self.unindex(&item.decision, key);
            self.settled.push((item.ticket, key.receiver.clone()));
        }
        if due.is_empty() {
            return None;
        }
        self.wake(&id, &key.receiver);
        let count = due.len();
        let s = if count == 1 { " fires" } else { "s fire" };
        let repeat = write_duration(u128::try_from(route.repeat_interval).unwrap_or_default());
        let acknowledge = self.signer.as_ref().map(|signer| signer.path(&id, now));
        Some(Notice {
            receiver: key.receiver.clone(),
            rule,
            rest: count - decisions.len(),
            decisions,
            also: due.into_iter().map(|(ticket, _)| ticket).collect(),
            offered_at: now,
            remarks: vec![format!("{count} alert{s} still, told {repeat} ago or earlier")],
            links: Links {
                base: self.base.clone(),
                groups: BTreeSet::from([id]),
                acknowledge,
                ..Links::default()
            },
            ..Notice::default()
        })
    }
}

/// Whether it was told before a restart and was to be told again, whatever mutes it now.
pub(super) fn was_to_come(offer: &Offer<'_>, key: &LaneKey) -> bool {
    let is_told = |kind: u64| (offer.told)(&line(kind, &key.receiver));
    offer.written_at.is_some() && is_told(DIRECT) && is_told(HELD) && !is_told(key.kind())
}

/// The lane of reminders beside that of a notice.
pub(super) fn beside(key: &LaneKey) -> LaneKey {
    LaneKey { step: REMIND, mute: Mute::None, ..key.clone() }
}
