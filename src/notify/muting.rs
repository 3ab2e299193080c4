//! What holds a decision back from people: silences, inhibitions, quiet hours (N2, N3). Pure.

use std::collections::BTreeSet;

use super::lane::{Item, Lane, LaneKey, Mute};
use super::notice::{DIRECT, HELD, SOURCE, Shares, line};
use super::offer::Offer;
use super::route::{RESUMED_WAIT_MS, Router};
use super::tree::Route;
use crate::engine::{DAILY, Decision, SILENCES, Subject};

impl Router {
    /// Silences have changed: what they hold is looked at again.
    pub(super) fn silences_changed(&mut self, now: i64) {
        self.new_mutes = true;
        for (key, lane) in &mut self.lanes {
            if matches!(key.mute, Mute::Silence(_)) {
                lane.due_at = now;
            }
        }
    }

    pub(super) fn was_muted(&self, offer: &Offer<'_>, route: &Route) -> bool {
        let written_at = offer.written_at;
        written_at.is_some_and(|at| self.mute(offer.decision, route, at) != Mute::None)
    }

    /// By what, of something that was held before a restart and is held by nothing now.
    pub(super) fn was_held(&self, decision: &Decision, key: &LaneKey, written_at: i64) -> Mute {
        let Some(route) = self.tree.route(key.route) else { return Mute::Past };
        match self.mute(decision, route, written_at) {
            Mute::None => Mute::Past,
            mute => mute,
        }
    }

    /// When what is muted is to be looked at again.
    pub(super) fn ends_at(&self, mute: &Mute, now: i64) -> i64 {
        match mute {
            Mute::None => now,
            Mute::Quiet(until) => *until,
            Mute::Silence(id) => self.mutes.silence(id).map_or(now, super::mutes::Silence::ends_at),
            // The end of a source looks at it.
            Mute::Inhibited(source) if self.inhibitions.is_in_force(source, now) => i64::MAX,
            Mute::Inhibited(_) | Mute::Past => now.saturating_add(RESUMED_WAIT_MS),
        }
    }

    pub(super) fn is_in_force(&self, mute: &Mute, now: i64) -> bool {
        match mute {
            Mute::None | Mute::Past => false,
            Mute::Quiet(until) => now < *until,
            Mute::Silence(id) => self.mutes.silence(id).is_some_and(|one| one.is_in_force(now)),
            Mute::Inhibited(source) => self.inhibitions.is_in_force(source, now),
        }
    }

    pub(super) fn mute(&self, decision: &Decision, route: &Route, at: i64) -> Mute {
        // The account of a day has a time of its own.
        if decision.rule == DAILY {
            return Mute::None;
        }
        let subject = Subject::of(decision);
        if decision.rule == SILENCES {
            return route.quiet_until(&subject, at).map_or(Mute::None, Mute::Quiet);
        }
        // That something is over is told to whom it was told that it began.
        if decision.resolved.is_none() {
            if let Some(silence) = self.mutes.silenced(&subject, at) {
                return Mute::Silence(silence.id.clone());
            }
            if let Some(source) = self.inhibitions.muted(decision, at) {
                return Mute::Inhibited(source.decision.clone());
            }
        }
        route.quiet_until(&subject, at).map_or(Mute::None, Mute::Quiet)
    }

    pub(super) fn recheck(&mut self, mute: &Mute, now: i64) {
        for (key, lane) in &mut self.lanes {
            if key.mute == *mute {
                lane.due_at = now;
            }
        }
    }

    /// A decision that explains others: it stays in mind, through restarts, while it mutes them.
    pub(super) fn source(&mut self, offer: &Offer<'_>, shares: &mut Shares) {
        let name = line(SOURCE, "");
        if (offer.told)(&name) {
            return;
        }
        let (decision, ticket) = (offer.decision, offer.ticket);
        if self.inhibitions.begin(decision, ticket, offer.at(), offer.now) {
            shares.waiting.push(name);
            self.new_mutes = true;
        }
    }

    /// What is muted by a source is counted, and listed behind the link, in the source's notices.
    pub(super) fn count_muted(&mut self, (ticket, now): (u64, i64), source: &str, held: &LaneKey) {
        let id = self.tree.route(held.route).map(|route| route.group_id(&held.group));
        for key in self.inhibitions.tellers(source) {
            let key = match key.mute {
                Mute::Quiet(until) if until <= now => LaneKey { mute: Mute::None, ..key },
                _ => key,
            };
            let interval = self.tree.route(key.route).map_or(0, |route| route.group_wait);
            let own = self.tree.route(key.route).map(|route| route.group_id(&key.group));
            let lane = self.lanes.entry(key.clone()).or_default();
            if !lane.waits() {
                lane.id = own.unwrap_or_default();
                lane.due_at = now.saturating_add(interval).max(lane.quiet_until);
            }
            if lane.muted.last() != Some(&ticket) {
                lane.muted.push(ticket);
            }
            lane.muted_groups.extend(id.clone());
        }
    }

    /// The steps behind what was muted begin with its first notice.
    pub(super) fn unmute_step(&mut self, key: &LaneKey, now: i64) {
        let Some(mut lane) = self.lanes.remove(key) else { return };
        let Some(route) = self.tree.route(key.route).cloned() else { return };
        let after = route.steps.get(key.step - 1).map_or(0, |step| step.after);
        let due_at = now.saturating_add(after);
        for over in lane.remove(|item| item.over_at.is_some_and(|over| over <= now)) {
            self.settled.push((over.ticket, key.receiver.clone()));
        }
        let to = LaneKey { mute: Mute::None, ..key.clone() };
        self.hand_over(lane, key, &to, due_at);
    }

    /// What a mute holds by now, or another one than before, goes there.
    pub(super) fn mute_again(&mut self, key: &LaneKey, now: i64) {
        let Some(route) = self.tree.route(key.route).cloned() else { return };
        let Some(lane) = self.lanes.get(key) else { return };
        let mute = |decision: &Decision| self.mute(decision, &route, now);
        let mutes: Vec<(String, Mute)> =
            lane.bodies.iter().map(|one| (one.id.clone(), mute(one))).collect();
        let Some(common) = mutes.last().map(|(_, mute)| mute.clone()) else { return };
        if mutes.iter().all(|(_, mute)| *mute == Mute::None) {
            return;
        }
        if key.kind() == DIRECT && self.is_full() {
            if let Some(lane) = self.lanes.get_mut(key) {
                lane.is_overflow = true;
            }
            return;
        }
        let all_are_muted = mutes.iter().all(|(_, mute)| *mute != Mute::None);
        for (id, mute) in mutes {
            if mute != Mute::None {
                self.move_to(&mute, key, now, |item| item.decision == id);
            }
        }
        // Of very many only some are known whole; the others are like them.
        if all_are_muted {
            self.move_to(&common, key, now, |_| true);
        }
    }

    /// Moves what waits to where a mute holds it.
    fn move_to(&mut self, mute: &Mute, key: &LaneKey, now: i64, wanted: impl Fn(&Item) -> bool) {
        let due_at = self.ends_at(mute, now);
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let (id, rule, oldest_at) = (lane.id.clone(), lane.rule.clone(), lane.oldest_at);
        let mut moved = Lane { id, rule, oldest_at, ..Lane::default() };
        moved.items = lane.items.extract_if(.., |item| wanted(item)).collect();
        if moved.items.is_empty() {
            return;
        }
        let ids: BTreeSet<&str> = moved.items.iter().map(|item| item.decision.as_str()).collect();
        moved.bodies = lane.bodies.extract_if(.., |one| ids.contains(one.id.as_str())).collect();
        let to = LaneKey { mute: mute.clone(), ..key.clone() };
        if key.kind() == DIRECT {
            self.defer(&mut moved, key, &to, now);
        }
        self.hand_over(moved, key, &to, due_at);
    }

    /// What was to be told now waits on the line of what is held; the end of it is not told to
    /// whom the beginning was not.
    fn defer(&mut self, moved: &mut Lane, key: &LaneKey, to: &LaneKey, now: i64) {
        let kept_from = !matches!(to.mute, Mute::Quiet(_));
        for item in &mut moved.items {
            self.deferred.push((item.ticket, key.receiver.clone()));
            if let Mute::Inhibited(source) = &to.mute {
                self.count_muted((item.ticket, now), source, to);
            }
            item.ticket += HELD - DIRECT;
            self.index.entry(item.decision.clone()).or_default().push(key.clone());
        }
        let Some(lane) = self.lanes.get_mut(key).filter(|_| kept_from) else { return };
        for item in &mut moved.items {
            let ends = |one: &Decision| {
                one.resolved.as_ref().is_some_and(|resolved| resolved.decision == item.decision)
            };
            let ended: BTreeSet<String> =
                lane.bodies.iter().filter(|one| ends(one)).map(|one| one.id.clone()).collect();
            if ended.is_empty() {
                continue;
            }
            item.over_at = Some(now);
            self.overs.push(item.ticket);
            for gone in lane.remove(|other| ended.contains(&other.decision)) {
                self.settled.push((gone.ticket, key.receiver.clone()));
            }
        }
    }

    /// Whether no more can be held: what comes is told, whatever mutes it.
    pub(super) fn is_full(&self) -> bool {
        self.index.len() >= self.held_max
    }
}
