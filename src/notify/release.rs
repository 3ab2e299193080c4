//! What leaves the router, and what it lets go: notices whose time has come, mutes that end, and
//! what is resolved (N2, N3). Pure.

use std::collections::BTreeSet;

use super::lane::{Lane, LaneKey, Mute};
use super::notice::{Notice, REMIND};
use super::offer::Offer;
use super::route::{Router, TOLD_MAX, WOKEN_MAX};
use crate::engine::{DAILY, Decision, Subject};
use crate::rule::{Severity, write_duration};

impl Router {
    /// The notice of a lane whose time has come; none where its mute goes on.
    pub(super) fn release(&mut self, key: &LaneKey, now: i64) -> Option<Notice> {
        if self.is_in_force(&key.mute, now) {
            let due_at = self.ends_at(&key.mute, now);
            self.lanes.get_mut(key)?.due_at = due_at;
            return None;
        }
        let was_muted = matches!(key.mute, Mute::Silence(_) | Mute::Inhibited(_) | Mute::Past);
        if was_muted && key.step > 0 {
            self.unmute_step(key, now);
            return None;
        }
        // A mute that has come meanwhile holds for what waits, too.
        self.mute_again(key, now);
        if key.step == REMIND {
            return self.remind(key, now);
        }
        let interval = self.tree.route(key.route)?.group_interval;
        let whole = self.machines.contains(&key.receiver);
        let lane = self.lanes.get_mut(key)?;
        if !lane.waits() {
            return None;
        }
        lane.quiet_until = now.saturating_add(interval);
        let muted = std::mem::take(&mut lane.muted);
        let is_overflow = std::mem::take(&mut lane.is_overflow);
        let gone: Vec<String> = lane.items.iter().map(|item| item.decision.clone()).collect();
        let (mut notice, over) = lane.notice(key, now, whole);
        let id = lane.id.clone();
        if key.kind() != 0 {
            for decision in &gone {
                self.unindex(decision, key);
            }
        }
        if notice.rule != DAILY {
            notice.remarks = self.remarks(key, (over, muted.len()), is_overflow);
        }
        notice.links.base.clone_from(&self.base);
        notice.also = muted;
        if !notice.decisions.is_empty() && notice.rule != DAILY {
            let signed = self.signer.as_ref().map(|signer| signer.path(&id, now));
            notice.links.acknowledge = signed;
            self.wake(&id, &key.receiver);
        }
        Some(notice)
    }

    fn remarks(
        &self,
        key: &LaneKey,
        (over, muted): (usize, usize),
        is_overflow: bool,
    ) -> Vec<String> {
        let mut remarks = Vec::new();
        if is_overflow {
            remarks.push("muted, and told all the same: no more can be held".to_owned());
        }
        let s = |count: usize| if count == 1 { "" } else { "s" };
        let past = match over {
            0 => String::new(),
            over => format!("; {over} more alert{} came and went meanwhile", s(over)),
        };
        match &key.mute {
            Mute::None => {}
            Mute::Quiet(_) => remarks.push("held during quiet hours".to_owned()),
            Mute::Silence(id) => {
                let by = self.mutes.silence(id);
                let by = by.map_or(String::new(), |silence| format!(" by {}", silence.actor));
                remarks.push(format!("was silenced{by} until now{past}"));
            }
            Mute::Past => remarks.push(format!("was muted until now{past}")),
            Mute::Inhibited(_) => {
                remarks.push(format!("was muted until now by what explained it{past}"));
            }
        }
        if muted > 0 {
            let (follow, are) = if muted == 1 { ("follows", "is") } else { ("follow", "are") };
            remarks.push(format!("{muted} alert{} that {follow} from this {are} muted", s(muted)));
        }
        if key.step > 0
            && let Some(route) = self.tree.route(key.route)
        {
            let before = route.steps.iter().take(key.step - 1).flat_map(|step| &step.to);
            let before: BTreeSet<&str> =
                route.to.iter().chain(before).map(String::as_str).collect();
            let before: Vec<&str> = before.into_iter().collect();
            let after = route.steps.get(key.step - 1).map_or(0, |step| step.after);
            let after = write_duration(u128::try_from(after).unwrap_or_default());
            remarks.push(format!("not acknowledged within {after} by {}", before.join(", ")));
        }
        remarks
    }

    pub(super) fn hand_over(&mut self, from: Lane, key: &LaneKey, to: &LaneKey, due_at: i64) {
        for item in &from.items {
            for known in self.index.entry(item.decision.clone()).or_default() {
                if known == key {
                    known.clone_from(to);
                }
            }
        }
        let lane = self.lanes.entry(to.clone()).or_default();
        if lane.waits() {
            lane.items.extend(from.items);
            lane.bodies.extend(from.bodies);
            lane.oldest_at = lane.oldest_at.into_iter().chain(from.oldest_at).min();
        } else {
            (lane.id, lane.oldest_at) = (from.id, from.oldest_at);
            lane.due_at = due_at.max(lane.quiet_until);
            lane.rule.clone_from(&from.rule);
            (lane.items, lane.bodies) = (from.items, from.bodies);
        }
    }

    pub(super) fn unindex(&mut self, decision: &str, key: &LaneKey) {
        if let Some(lanes) = self.index.get_mut(decision) {
            lanes.retain(|known| known != key);
            if lanes.is_empty() {
                self.index.remove(decision);
            }
        }
    }

    pub(super) fn wake(&mut self, group: &str, receiver: &str) {
        if !self.woken.contains_key(group) {
            self.woken_order.push_back(group.to_owned());
            if self.woken_order.len() > WOKEN_MAX
                && let Some(oldest) = self.woken_order.pop_front()
            {
                self.woken.remove(&oldest);
            }
        }
        self.woken.entry(group.to_owned()).or_default().insert(receiver.to_owned());
    }

    /// It is over: who was not told of it need not be, and it goes no step further.
    pub(super) fn resolve(&mut self, decision: &str, now: i64) {
        if self.inhibitions.end(decision, now) {
            self.recheck(&Mute::Inhibited(decision.to_owned()), now);
        }
        for key in self.index.remove(decision).unwrap_or_default() {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            if key.step > 0 {
                for gone in lane.remove(|item| item.decision == decision) {
                    self.settled.push((gone.ticket, key.receiver.clone()));
                }
            } else if !matches!(key.mute, Mute::Quiet(_)) {
                for item in lane.items.iter_mut().filter(|item| item.decision == decision) {
                    item.over_at = Some(now);
                    self.overs.push(item.ticket);
                }
            }
        }
    }

    /// Whether a receiver has not heard of what a resolution is about, since it was muted.
    pub(super) fn was_kept_from(&self, decision: &str, receiver: &str) -> bool {
        let lanes = self.index.get(decision).into_iter().flatten();
        lanes
            .filter(|key| key.step == 0 && key.receiver == receiver)
            .any(|key| matches!(key.mute, Mute::Silence(_) | Mute::Inhibited(_) | Mute::Past))
    }

    /// Whom a silence concerns: the receivers of what it mutes.
    pub(super) fn concerned(&self, decision: &Decision) -> Vec<String> {
        let id = decision.key.get("silence").and_then(serde_json::Value::as_str);
        let silence = id.and_then(|id| self.mutes.silence(id));
        let mut to = BTreeSet::new();
        let Some(silence) = silence else { return self.default.clone() };
        let matcher = &silence.matcher;
        if matcher.rule.is_empty() || matcher.rule.iter().any(|name| name.ends_with('*')) {
            to.extend(self.tree.routes().iter().flat_map(|route| route.to.clone()));
        }
        let first = |values: &Vec<String>| values.first().cloned().unwrap_or_default();
        let key = matcher.key.iter();
        let key = key.map(|(field, values)| (field.clone(), first(values).into())).collect();
        let labels = matcher.labels.iter();
        let labels = labels.map(|(name, values)| (name.clone(), first(values))).collect();
        for rule in &matcher.rule {
            for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
                if !matcher.severity.is_empty() && !matcher.severity.contains(&severity) {
                    continue;
                }
                let subject = Subject { severity, rule, key: &key, labels: &labels };
                let taken = self.tree.taken(&subject).into_iter();
                let routes = taken.filter_map(|at| self.tree.route(at));
                to.extend(routes.flat_map(|route| route.to.clone()));
            }
        }
        to.into_iter().collect()
    }

    /// False when this line was given this very decision within the repeat interval.
    pub(super) fn first_telling(&mut self, line: &str, repeat: i64, offer: &Offer<'_>) -> bool {
        let now = offer.now;
        let key = (line.to_owned(), offer.decision.id.clone());
        if let Some(at) = self.told.get_mut(&key) {
            if now.saturating_sub(*at) < repeat {
                return false;
            }
            *at = now;
            return true;
        }
        self.told.insert(key.clone(), now);
        self.told_order.push_back(key);
        if self.told_order.len() > TOLD_MAX
            && let Some(oldest) = self.told_order.pop_front()
        {
            self.told.remove(&oldest);
        }
        true
    }

    /// A line was given a decision before this process began.
    pub(super) fn was_told(&mut self, line: &str, decision: &str, at: i64) {
        let key = (line.to_owned(), decision.to_owned());
        if self.told.insert(key.clone(), at).is_none() {
            self.told_order.push_back(key);
        }
    }
}
