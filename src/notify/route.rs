//! Who hears of a decision, and when: routes, groups, intervals, mutes, steps (N2, N3).
//!
//! Pure: the time comes in as an argument, nothing is sent here. Every decision offered is
//! named, by its ticket, in exactly one notice for each line that [`Router::offer`] named, unless
//! [`Router::settled`] says that nobody needs to hear of it any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::engine::{DAILY, Decision, SILENCES};

use super::daily::{self, Daily};
use super::inhibit::Inhibitions;
use super::lane::{Item, Lane, LaneKey, Mute, item};
use super::mutes::{Acknowledged, Mutes};
use super::notice::{HELD, Notice, SOURCE, STEPS_MAX, Shares, line};
use super::offer::Offer;
use super::remind;
use super::settings::NotifySettings;
use super::signing::Signer;
use super::tree::{Route, Tree};

/// What waited before a restart has waited: long enough to make one notice of what is read again.
pub(super) const RESUMED_WAIT_MS: i64 = 1_000;
/// Decisions remembered against being told twice: some 10 MB. The oldest are forgotten first.
pub(super) const TOLD_MAX: usize = 100_000;
/// Decisions that wait for a mute to end or for nobody to acknowledge, or are told again: some
/// 50 MB for a receiver that is told of each.
const HELD_MAX: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();
/// Groups of which it is remembered whom they woke.
pub(super) const WOKEN_MAX: usize = 10_000;

/// The groups that wait, and what has been told.
#[derive(Debug)]
pub struct Router {
    pub(super) tree: Tree,
    pub(super) known: BTreeSet<String>,
    pub(super) default: Vec<String>,
    pub(super) machines: BTreeSet<String>,
    /// Programs that are told again as long as it stands.
    forgetful: BTreeSet<String>,
    pub(super) base: Option<Arc<str>>,
    pub(super) signer: Option<Signer>,
    pub(super) mutes: Mutes,
    pub(super) inhibitions: Inhibitions,
    pub(super) daily: Daily,
    pub(super) ready: Vec<Notice>,
    pub(super) settled: Vec<(u64, String)>,
    /// Tickets of notices that a mute holds by now, with their receivers.
    pub(super) deferred: Vec<(u64, String)>,
    /// Tickets of what is held and is over by now.
    pub(super) overs: Vec<u64>,
    /// A mute has begun, for which what waits elsewhere is to be judged anew.
    pub(super) new_mutes: bool,
    /// Routes whose quiet hours had begun at the last look.
    pub(super) quiet: BTreeSet<usize>,
    pub(super) held_max: usize,
    pub(super) lanes: BTreeMap<LaneKey, Lane>,
    /// Decision → lanes that can do without it once it is resolved.
    pub(super) index: BTreeMap<String, Vec<LaneKey>>,
    /// Group → receivers that it has told, for whoever acknowledges.
    pub(super) woken: BTreeMap<String, BTreeSet<String>>,
    pub(super) woken_order: VecDeque<String>,
    pub(super) told: BTreeMap<(String, String), i64>,
    pub(super) told_order: VecDeque<(String, String)>,
}

impl Router {
    pub fn new(settings: &NotifySettings) -> Router {
        let mutes = Mutes::new(settings.silence_max_ms());
        Router::with(settings, mutes)
    }

    /// With what is known of silences and acknowledgements.
    pub(super) fn with(settings: &NotifySettings, mutes: Mutes) -> Router {
        Router {
            tree: Tree::new(settings),
            known: settings.receivers.keys().cloned().collect(),
            default: settings.default.clone(),
            machines: settings.machines().into_iter().map(str::to_owned).collect(),
            forgetful: BTreeSet::new(),
            base: settings.url.as_deref().map(|url| Arc::from(url.trim_end_matches('/'))),
            signer: Signer::of(settings),
            mutes,
            inhibitions: Inhibitions::new(&settings.inhibit),
            daily: Daily::new(&settings.daily),
            ready: Vec::new(),
            settled: Vec::new(),
            deferred: Vec::new(),
            overs: Vec::new(),
            new_mutes: false,
            quiet: BTreeSet::new(),
            held_max: settings.held_max.unwrap_or(HELD_MAX).get(),
            lanes: BTreeMap::new(),
            index: BTreeMap::new(),
            woken: BTreeMap::new(),
            woken_order: VecDeque::new(),
            told: BTreeMap::new(),
            told_order: VecDeque::new(),
        }
    }

    /// For what an instance says of itself, which comes again as long as it stands.
    pub(super) fn of_instance(settings: &NotifySettings, mutes: Mutes) -> Router {
        let forgetful = settings.forgetful().into_iter().map(str::to_owned).collect();
        Router { forgetful, ..Router::with(settings, mutes) }
    }

    /// Those who are told again as long as it stands.
    pub(super) fn forgetful(&self) -> impl Iterator<Item = &String> {
        self.forgetful.iter()
    }

    /// The notices whose time has come.
    pub fn due(&mut self, now_ms: i64) -> Vec<Notice> {
        for source in self.inhibitions.over(now_ms) {
            self.settled.push((source.ticket + SOURCE, String::new()));
            self.recheck(&Mute::Inhibited(source.decision), now_ms);
        }
        let mut notices = std::mem::take(&mut self.ready);
        let due = self.lanes.iter().filter(|(_, lane)| lane.waits() && lane.due_at <= now_ms);
        let due: Vec<LaneKey> = due.map(|(key, _)| key.clone()).collect();
        for key in due {
            notices.extend(self.release(&key, now_ms));
        }
        self.lanes.retain(|_, lane| lane.waits() || lane.quiet_until > now_ms);
        notices
    }

    /// When [`Router::due`] is next worth calling; `None` while nothing waits.
    pub fn next_due_at(&self) -> Option<i64> {
        if !self.ready.is_empty() {
            return Some(i64::MIN);
        }
        let waiting = self.lanes.values().filter(|lane| lane.waits()).map(|lane| lane.due_at);
        waiting.chain(self.inhibitions.next_over_at()).min()
    }

    /// Tickets, with their receivers, that nobody needs to hear of any more.
    pub fn settled(&mut self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.settled)
    }

    /// Tickets of notices, with their receivers, that are held from now on.
    pub(super) fn deferred(&mut self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.deferred)
    }

    /// Tickets of what is held, and of which it is known by now that it is over.
    pub(super) fn overs(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.overs)
    }

    /// Somebody looks after what a group has told: it goes no step further, and whom it woke
    /// hears of that.
    pub(super) fn acknowledged(&mut self, group: &str, by: &Acknowledged, now: i64) {
        // What waits for a receiver is asked back.
        self.new_mutes |= self.tree.routes().iter().any(|route| !route.steps.is_empty());
        let mut has_gone = false;
        for (key, lane) in &mut self.lanes {
            if key.step == 0 || lane.id != group {
                continue;
            }
            for gone in lane.remove(|item| item.at <= by.through) {
                has_gone = true;
                self.settled.push((gone.ticket, key.receiver.clone()));
            }
        }
        let woken = self.woken.remove(group);
        if !has_gone && woken.is_none() {
            return;
        }
        let routes = self.tree.routes().iter();
        // After a restart nobody knows any more whom it was; by the route it is those.
        let by_route = || {
            let lanes = self.lanes.iter().find(|(_, lane)| lane.id == group);
            let route = lanes.and_then(|(key, _)| routes.clone().nth(key.route));
            route.map(|route| route.to.iter().cloned().collect()).unwrap_or_default()
        };
        let reason = if by.reason.is_empty() { String::new() } else { format!(": {}", by.reason) };
        for receiver in woken.unwrap_or_else(by_route) {
            if self.machines.contains(&receiver) {
                continue;
            }
            self.ready.push(Notice {
                receiver,
                offered_at: now,
                remarks: vec![format!("acknowledged by {}{reason}", by.actor)],
                ..Notice::default()
            });
        }
    }

    pub(super) fn take(&mut self, offer: &Offer<'_>) -> Shares {
        let mut shares = Shares::default();
        let decision = offer.decision;
        let Some(alert) = &decision.alert else { return shares };
        if decision.mode != "live" {
            return shares;
        }
        if decision.rule == DAILY {
            let mut told = BTreeSet::new();
            if daily::is_alarm(offer) {
                told = self.by_routes(offer, alert, &mut shares);
            }
            self.daily(offer, &told, &mut shares);
            return shares;
        }
        if decision.resolved.is_none() {
            self.source(offer, &mut shares);
        }
        self.by_routes(offer, alert, &mut shares);
        if let Some(resolved) = &decision.resolved {
            self.resolve(&resolved.decision, offer.now);
        }
        shares
    }

    /// By every route that it takes; all who are told of it.
    fn by_routes(
        &mut self,
        offer: &Offer<'_>,
        alert: &[String],
        shares: &mut Shares,
    ) -> BTreeSet<String> {
        let decision = offer.decision;
        let taken =
            if decision.rule == SILENCES { vec![0] } else { self.tree.taken(&offer.subject) };
        let mut seen = BTreeSet::new();
        for (nth, at) in taken.into_iter().enumerate() {
            let Some(route) = self.tree.route(at).cloned() else { continue };
            let to = match (nth, alert.is_empty()) {
                _ if decision.rule == SILENCES => self.concerned(decision),
                (0, false) => alert.to_vec(),
                (_, false) => break,
                (_, true) => route.to.clone(),
            };
            // A receiver a rule names but the configuration lacks must not swallow the alert.
            let mut receivers: BTreeSet<String> =
                to.into_iter().filter(|name| self.known.contains(name)).collect();
            if receivers.is_empty() {
                receivers.extend(self.default.iter().cloned());
            }
            // Told by one route is told.
            receivers.retain(|name| seen.insert(name.clone()));
            self.by_route(offer, (at, &route), receivers, shares);
        }
        seen
    }

    /// One route: its receivers, and the steps behind them.
    fn by_route(
        &mut self,
        offer: &Offer<'_>,
        (at, route): (usize, &Route),
        receivers: BTreeSet<String>,
        shares: &mut Shares,
    ) {
        if offer.decision.resolved.is_some() && !route.tells_resolved || receivers.is_empty() {
            return;
        }
        let is_account = offer.decision.rule == DAILY;
        let is_news =
            offer.decision.resolved.is_some() || offer.decision.rule == SILENCES || is_account;
        let group =
            if is_account { daily::group(offer.decision) } else { route.group(&offer.subject) };
        let mute = self.mute(offer.decision, route, offer.now);
        for receiver in receivers {
            let key =
                LaneKey { receiver, route: at, group: group.clone(), step: 0, mute: Mute::None };
            if self.machines.contains(&key.receiver) {
                self.program(offer, key, shares);
            } else {
                let reminders = remind::beside(&key);
                let is_reminded = mute == Mute::None || remind::was_to_come(offer, &reminders);
                self.person(offer, key, mute.clone(), shares);
                if !is_news && is_reminded {
                    self.remember(offer, route, &reminders, shares);
                }
            }
        }
        if is_news {
            return;
        }
        for (step, next) in (1..STEPS_MAX).zip(&route.steps) {
            for receiver in next.to.clone() {
                if !self.known.contains(&receiver) {
                    continue;
                }
                let held = if let Mute::Quiet(_) = mute { Mute::None } else { mute.clone() };
                let key = LaneKey { receiver, route: at, group: group.clone(), step, mute: held };
                self.step(offer, (route, &mute), key, next.after, shares);
            }
        }
    }

    /// A program hears of every decision at once.
    pub(super) fn program(&mut self, offer: &Offer<'_>, key: LaneKey, shares: &mut Shares) {
        let LaneKey { receiver, .. } = key;
        let repeat = self.tree.route(key.route).map_or(0, |route| route.repeat_interval);
        let again = self.forgetful.contains(&receiver);
        if (offer.told)(&receiver) || !(self.first_telling(&receiver, repeat, offer) || again) {
            shares.told.push(receiver);
            return;
        }
        shares.waiting.push(receiver.clone());
        self.ready.push(Notice {
            receiver,
            rule: offer.decision.rule.clone(),
            decisions: vec![offer.decision.clone()],
            tickets: vec![offer.ticket],
            ids: vec![offer.decision.id.clone()],
            times: vec![offer.at()],
            offered_at: offer.now,
            decided_at: offer.decided_at,
            ..Notice::default()
        });
    }

    pub(super) fn person(
        &mut self,
        offer: &Offer<'_>,
        key: LaneKey,
        mute: Mute,
        shares: &mut Shares,
    ) {
        let held_line = line(HELD, &key.receiver);
        let resolved = offer.decision.resolved.as_ref();
        if resolved.is_some_and(|one| self.was_kept_from(&one.decision, &key.receiver)) {
            shares.told.extend([key.receiver, held_line]);
            return;
        }
        let mute = match (offer.written_at, (offer.told)(&key.receiver)) {
            (Some(_), true) if (offer.told)(&held_line) => {
                shares.told.extend([key.receiver, held_line]);
                return;
            }
            (Some(written_at), true) if mute == Mute::None => {
                self.was_held(offer.decision, &key, written_at)
            }
            // Its notice says so when it is told.
            _ if self.is_full() => Mute::None,
            _ => mute,
        };
        let repeat = self.tree.route(key.route).map_or(0, |route| route.repeat_interval);
        if !self.first_telling(&key.receiver, repeat, offer) {
            shares.told.extend([key.receiver, held_line]);
            return;
        }
        let key = LaneKey { mute, ..key };
        if key.mute == Mute::None {
            shares.waiting.push(key.receiver.clone());
            // It parts what is held before and after it, in what is remembered.
            shares.told.push(held_line);
        } else {
            shares.told.push(key.receiver.clone());
            shares.waiting.push(held_line);
        }
        match &key.mute {
            Mute::Inhibited(source) => {
                self.count_muted((offer.ticket, offer.now), source, &key);
            }
            Mute::None | Mute::Quiet(_) => self.inhibitions.told_by(&offer.decision.id, &key),
            Mute::Silence(_) | Mute::Past => {}
        }
        self.enqueue(offer, key);
    }

    fn step(
        &mut self,
        offer: &Offer<'_>,
        (route, mute): (&Route, &Mute),
        key: LaneKey,
        after: i64,
        shares: &mut Shares,
    ) {
        let name = line(key.kind(), &key.receiver);
        let id = route.group_id(&key.group);
        let by = self.mutes.acknowledged(&id);
        let is_acknowledged = by.is_some_and(|by| offer.at() <= by.through);
        // The step comes all the same; it does not count this one.
        let is_counted = !self.is_full()
            || self.index.contains_key(&offer.decision.id)
            || !self.lanes.contains_key(&key);
        let read_again = offer.written_at.is_some();
        if is_acknowledged && read_again
            || !is_counted
            || (offer.told)(&name)
            || !self.first_telling(&name, route.repeat_interval, offer)
        {
            shares.told.push(name);
            return;
        }
        shares.waiting.push(name);
        let from = match mute {
            Mute::Quiet(until) => *until,
            // Its first notice comes now.
            Mute::None if self.was_muted(offer, route) => offer.now,
            _ => offer.at().saturating_add(route.group_wait),
        };
        let due_at = match &key.mute {
            Mute::None => from.saturating_add(after),
            mute => self.ends_at(mute, offer.now),
        };
        self.put(offer, key, due_at);
    }

    fn enqueue(&mut self, offer: &Offer<'_>, key: LaneKey) {
        let due_at = match &key.mute {
            Mute::None => {
                let wait = self.tree.route(key.route).map_or(0, |route| route.group_wait);
                let most = if offer.written_at.is_some() { RESUMED_WAIT_MS } else { i64::MAX };
                offer.now.saturating_add(wait.min(most))
            }
            mute => self.ends_at(mute, offer.now),
        };
        self.put(offer, key, due_at);
    }

    pub(super) fn put(&mut self, offer: &Offer<'_>, key: LaneKey, due_at: i64) {
        let times = (offer.at(), offer.decided_at);
        let item = item(offer.decision, offer.ticket + key.kind(), times);
        if key.kind() != 0 {
            self.index.entry(item.decision.clone()).or_default().push(key.clone());
        }
        self.push(offer.decision, item, key, due_at);
    }

    pub(super) fn push(&mut self, decision: &Decision, item: Item, key: LaneKey, due_at: i64) {
        let whole = self.machines.contains(&key.receiver);
        let is_held = key.mute != Mute::None;
        self.lane(key, due_at).push(decision, item, is_held, whole);
    }

    /// The lane of a key; one in which nothing waits begins anew.
    pub(super) fn lane(&mut self, key: LaneKey, due_at: i64) -> &mut Lane {
        let id = self.tree.route(key.route).map(|route| route.group_id(&key.group));
        let lane = self.lanes.entry(key).or_default();
        if !lane.waits() {
            lane.id = id.unwrap_or_default();
            lane.due_at = due_at.max(lane.quiet_until);
        }
        lane
    }
}

#[cfg(test)]
mod tests;
