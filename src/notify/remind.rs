//! What still fires is said again each `repeat_interval`, a few times, until it is resolved, its
//! window is over or somebody acknowledges it (N2). Pure.
//!
//! Reminders stand on a grid that begins when a decision was written: a restart neither repeats
//! one nor moves it.

use std::collections::BTreeSet;

use super::inhibit::over_at;
use super::lane::{Item, LaneKey, Mute};
use super::notice::{LISTED_MAX, Links, Notice, REMIND, Shares, line};
use super::offer::Offer;
use super::route::Router;
use super::tree::Route;
use crate::rule::write_duration;

/// Decisions of one group that one receiver is reminded of.
const REMINDED_MAX: usize = 1_000;

/// When something is said again, if it still fires then.
fn again_at(route: &Route, at: i64, over_at: Option<i64>, now: i64) -> Option<i64> {
    let repeat = route.repeat_interval.max(1);
    let told_at = at.saturating_add(route.group_wait);
    let nth = now.saturating_sub(told_at).max(0) / repeat + 1;
    let again_at = told_at.saturating_add(repeat.saturating_mul(nth));
    let still_fires = over_at.is_some_and(|over| again_at < over);
    (nth <= i64::from(route.reminders) && still_fires).then_some(again_at)
}

impl Router {
    /// Takes a decision in that was told, or is about to be.
    pub(super) fn remember(
        &mut self,
        offer: &Offer<'_>,
        route: &Route,
        key: LaneKey,
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
            || self.lanes.get(&key).is_some_and(|lane| lane.items.len() >= REMINDED_MAX);
        let due_at = again_at(route, offer.at(), over_at(offer.decision), offer.now);
        if let Some(due_at) = due_at.filter(|_| !is_acknowledged && !is_full) {
            shares.waiting.push(name);
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.due_at = lane.due_at.min(due_at);
            }
            self.put(offer, key, due_at);
        }
    }

    /// The notice of what is said again now; what is over, or was said often enough, goes.
    pub(super) fn remind(&mut self, key: &LaneKey, now: i64) -> Option<Notice> {
        let route = self.tree.route(key.route).cloned()?;
        let next = |item: &Item| again_at(&route, item.at, item.over_at, now);
        let first = route.group_wait.saturating_add(route.repeat_interval);
        let lane = self.lanes.get_mut(key)?;
        let mut gone = lane.remove(|item| item.over_at.is_none_or(|over| over <= now));
        let due = lane.items.iter().filter(|item| item.at.saturating_add(first) <= now);
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

/// The lane of reminders beside that of a notice.
pub(super) fn beside(key: &LaneKey) -> LaneKey {
    LaneKey { step: REMIND, mute: Mute::None, ..key.clone() }
}
