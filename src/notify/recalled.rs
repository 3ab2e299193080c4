//! What waits for a receiver that is down or slow, when a mute begins: it is held like what comes
//! later, and not told hours after (N3). Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::lane::{Item, LaneKey, Mute, item};
use super::notice::{DIRECT, HELD, LINES, Notice};
use super::route::Router;
use crate::engine::{DAILY, Decision, SILENCES, Subject};

/// A decision of a notice, on the line of its ticket.
struct Part {
    ticket: u64,
    decision: String,
    at: i64,
    body: Option<Decision>,
}

impl Router {
    /// Whether something mutes since the last call that did not before. Quiet hours begin by
    /// themselves.
    pub(super) fn has_new_mutes(&mut self, now: i64) -> bool {
        let routes = self.tree.routes().iter().enumerate();
        let quiet: BTreeSet<usize> = routes
            .filter(|(_, route)| route.quiet.as_ref().is_some_and(|quiet| quiet.is_on(now)))
            .map(|(at, _)| at)
            .collect();
        let begins = !quiet.is_subset(&self.quiet);
        self.quiet = quiet;
        std::mem::take(&mut self.new_mutes) || begins
    }

    /// Judges a notice anew that waits for its receiver: what a mute holds by now is held, and the
    /// rest of it, if there is any, goes back.
    pub(super) fn recall(&mut self, mut notice: Notice, now: i64) -> Option<Notice> {
        if notice.tickets.is_empty() || self.is_full() {
            return Some(notice);
        }
        let mut bodies: BTreeMap<String, Decision> =
            std::mem::take(&mut notice.decisions).into_iter().map(|d| (d.id.clone(), d)).collect();
        let order: Vec<String> = notice.ids.clone();
        let times = std::mem::take(&mut notice.times);
        let since = times.into_iter().chain(std::iter::repeat(notice.offered_at));
        let parts: Vec<Part> = std::mem::take(&mut notice.tickets)
            .into_iter()
            .zip(std::mem::take(&mut notice.ids))
            .zip(since)
            .map(|((ticket, decision), at)| {
                let body = bodies.remove(&decision);
                Part { ticket, decision, at, body }
            })
            .collect();
        let mut verdicts: Vec<Option<LaneKey>> =
            parts.iter().map(|part| self.held_by(part, &notice.receiver, now)).collect();
        let listed = || parts.iter().zip(&verdicts).filter(|(part, _)| part.body.is_some());
        // Of very many only some are known whole; the others are like them.
        let is_common = listed().all(|(_, verdict)| verdict.is_some());
        let last = listed().next_back().filter(|_| is_common);
        let common = last.and_then(|(_, verdict)| verdict.clone());
        for (part, verdict) in
            parts.iter().zip(&mut verdicts).filter(|(part, _)| part.body.is_none())
        {
            verdict.clone_from(&common.clone().map(|key| step_of(key, part.ticket)));
        }
        for (part, verdict) in parts.into_iter().zip(verdicts) {
            let is_listed = part.body.is_some();
            let left = match verdict {
                _ if self.is_acknowledged(&part, &notice) => {
                    self.settled.push((part.ticket, notice.receiver.clone()));
                    None
                }
                Some(held) => {
                    self.hold(part, &held, (&notice, now));
                    None
                }
                None => self.unless_kept_from(part, &notice.receiver, now),
            };
            match left {
                Some(part) => {
                    notice.tickets.push(part.ticket);
                    notice.ids.push(part.decision);
                    notice.times.push(part.at);
                    notice.decisions.extend(part.body);
                }
                None if !is_listed => notice.rest = notice.rest.saturating_sub(1),
                None => {}
            }
        }
        let place = |one: &Decision| order.iter().position(|id| *id == one.id);
        notice.decisions.sort_by_key(place);
        (!notice.tickets.is_empty()).then_some(notice)
    }

    /// Whether it is a step that nobody needs any more: somebody looks after what it tells of.
    fn is_acknowledged(&self, part: &Part, notice: &Notice) -> bool {
        if part.ticket % LINES <= HELD {
            return false;
        }
        let groups = &notice.links.groups;
        let is_of = |group: &String| {
            let by = self.mutes.acknowledged(group);
            by.is_some_and(|by| part.at <= by.through)
        };
        match &part.body {
            // Of a digest of several groups.
            Some(decision) if groups.len() != 1 => {
                let subject = Subject::of(decision);
                let routes = self.tree.taken(&subject).into_iter();
                let routes = routes.filter_map(|at| self.tree.route(at));
                routes.map(|route| route.group_id(&route.group(&subject))).any(|id| is_of(&id))
            }
            _ => groups.len() == 1 && groups.iter().any(is_of),
        }
    }

    /// Where a mute holds it, if one does.
    fn held_by(&self, part: &Part, receiver: &str, now: i64) -> Option<LaneKey> {
        let decision = part.body.as_ref()?;
        if decision.rule == SILENCES || decision.rule == DAILY {
            return None;
        }
        let step = usize::try_from((part.ticket % LINES).saturating_sub(HELD)).ok()?;
        let subject = Subject::of(decision);
        let taken = self.tree.taken(&subject);
        let tells = |at: &usize| {
            let Some(route) = self.tree.route(*at) else { return false };
            let to = match step {
                0 => Some(&route.to),
                step => route.steps.get(step - 1).map(|step| &step.to),
            };
            to.is_some_and(|to| to.iter().any(|name| name == receiver))
        };
        // Whom the rule itself names, and who stands in for others, is told by the first.
        let route_at = taken.iter().copied().find(|at| tells(at)).or(taken.first().copied())?;
        let route = self.tree.route(route_at)?;
        let mute = self.mute(decision, route, now);
        let group = route.group(&subject);
        let receiver = receiver.to_owned();
        (mute != Mute::None).then_some(LaneKey { receiver, route: route_at, group, step, mute })
    }

    fn hold(&mut self, part: Part, held: &LaneKey, (notice, now): (&Notice, i64)) {
        let Part { mut ticket, decision, at, body } = part;
        let receiver = &held.receiver;
        if ticket % LINES == DIRECT {
            self.deferred.push((ticket, receiver.clone()));
            if let Mute::Inhibited(source) = &held.mute {
                self.count_muted((ticket, now), source, held);
            }
            ticket += HELD - DIRECT;
        }
        let due_at = self.ends_at(&held.mute, now);
        let times = (at, notice.decided_at);
        self.index.entry(decision.clone()).or_default().push(held.clone());
        if let Some(body) = body {
            let item = item(&body, ticket, times);
            self.push(&body, item, held.clone(), due_at);
            return;
        }
        let decided_at = notice.decided_at;
        let item = Item { ticket, decision, at, decided_at, over_at: None };
        self.lane(held.clone(), due_at).count(&notice.rule, item);
    }

    /// The end of something is not told to whom a mute kept its beginning from.
    fn unless_kept_from(&mut self, part: Part, receiver: &str, now: i64) -> Option<Part> {
        let resolved = part.body.as_ref().and_then(|body| body.resolved.clone());
        match resolved {
            Some(resolved) if self.was_kept_from(&resolved.decision, receiver) => {
                self.resolve(&resolved.decision, now);
                self.settled.push((part.ticket, receiver.to_owned()));
                None
            }
            _ => Some(part),
        }
    }
}

/// The same lane on the line of another ticket.
fn step_of(key: LaneKey, ticket: u64) -> LaneKey {
    let step = usize::try_from((ticket % LINES).saturating_sub(HELD)).unwrap_or(key.step);
    LaneKey { step, ..key }
}
