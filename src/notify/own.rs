//! What an instance has to say of itself: by the same routes, and without a broker.
//!
//! A router and deliveries of their own, beside those of decisions from the log, which there are only
//! while the broker gives partitions. What was told, and to whom, is kept while a broker answers: the
//! next process of the same name neither tells it again nor forgets that it is to tell its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::delivery::{Delivery, Outcome, Report, Retry};
use super::desk::Desk;
use super::heart::Heart;
use super::keeper::Keeper;
use super::letters::{Letter, Letters, Written};
use super::mutes::{Muted, Mutes};
use super::notice::{HELD, LINES, Shares, line};
use super::own_entry::{self, Entry};
use super::route::Router;
use super::run::NotifyRun;
use super::settings::SettingsError;
use crate::engine::Decision;
use crate::event::EventTime;

/// Whether the instance works, and why not.
pub type Alive = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// A decision of an instance about itself. Those that stand come again and again, under the same id.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnNews {
    pub decision: Decision,
    /// It stood before a restart, and nobody knows yet whether it still does: who was told of it is
    /// not told again.
    pub is_presumed: bool,
}

/// Where the notifier hears of the instance that it belongs to.
pub struct OwnRun {
    pub news: UnboundedReceiver<OwnNews>,
    /// Is told once what stood when the last process of the same name ended; nothing where that is
    /// not to be had. News come after that.
    pub stood: UnboundedSender<Vec<Decision>>,
    pub alive: Alive,
}

impl std::fmt::Debug for OwnRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnRun").finish_non_exhaustive()
    }
}

/// What has to be there before anything is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    /// Decisions of the log are read, too.
    pub(super) is_member: bool,
    /// Silences are known, or are not to be had.
    pub(super) knows_mutes: bool,
}

/// Far from the tickets of decisions in the log, which count up from 0.
const FIRST_TICKET: u64 = 1 << 62;
/// A topic that cannot be read by then keeps nobody from being told.
const RECALL_MS: i64 = 15_000;
/// What stands is written again so often, with its figures.
const WRITE_EVERY_MS: i64 = 300_000;
/// Of an instance that has not come back for so long nobody waits any more for the end of what it said.
const LEFT_BEHIND_MS: i64 = 86_400_000;
/// Why what was said is taken to be over.
const NOT_BACK: &str = "has not come back for a day";
const NO_MORE: &str = "has said no more of it for a day";
const SAID_AGAIN: &str = "has said so again";
/// How often it is looked whether there is such.
const LOOK_EVERY_MS: i64 = 3_600_000;
/// Things that are not yet settled; of more the oldest is forgotten, and may be told again.
const ENTRIES_MAX: usize = 200;

/// A decision that somebody is yet to hear of.
#[derive(Debug)]
struct Open {
    /// Of the beginning.
    decision: String,
    is_end: bool,
    lines: BTreeSet<String>,
}

/// Whether it is known what stood.
enum Recall {
    Until(i64),
    Known,
}

pub(super) struct Own {
    desk: Desk,
    run: OwnRun,
    instance: String,
    next_ticket: u64,
    recall: Option<Recall>,
    entries: BTreeMap<String, Entry>,
    /// Of those, what was taken over from the last process and has not been offered by this one.
    unoffered: BTreeSet<String>,
    open: BTreeMap<u64, Open>,
    look_at: Option<i64>,
    heart: Option<Heart>,
}

impl Own {
    /// Where the instance has something to say. Must be called within a tokio runtime.
    pub(super) fn open(
        settings: &mut NotifyRun,
        retry: Retry,
        mutes: &Mutes,
    ) -> Result<Option<Own>, SettingsError> {
        let Some(run) = settings.own.take() else { return Ok(None) };
        let NotifyRun { notify, reveal, metrics, group, instance, .. } = settings;
        let names = (group.clone(), instance.clone());
        let heart = Heart::new(notify, names, metrics)?;
        let (delivery, reports) = Delivery::start(notify, *reveal, retry, metrics)?;
        let router = Router::of_instance(notify, mutes.clone());
        let desk = Desk { router, delivery: Some(delivery), reports, review_at: 0 };
        Ok(Some(Own {
            desk,
            run,
            instance: instance.clone(),
            next_ticket: FIRST_TICKET,
            recall: None,
            entries: BTreeMap::new(),
            unoffered: BTreeSet::new(),
            open: BTreeMap::new(),
            look_at: None,
            heart,
        }))
    }

    /// What is said about silences and acknowledgements.
    pub(super) fn hear(&mut self, news: &[Muted], mutes: &Mutes, now: i64) {
        self.desk.hear(news, mutes, now);
    }

    /// Whether it is to be told what is kept.
    pub(super) fn is_to_recall(&mut self, now: i64) -> bool {
        let recall = self.recall.get_or_insert(Recall::Until(now.saturating_add(RECALL_MS)));
        matches!(recall, Recall::Until(_))
    }

    /// What is kept, or why that is not to be had now.
    pub(super) fn recall(&mut self, words: Result<BTreeMap<String, Vec<u8>>, String>, now: i64) {
        let is_late = matches!(self.recall, Some(Recall::Until(until)) if now >= until);
        match words {
            Ok(words) => self.entries = own_entry::entries(&words, &self.instance),
            Err(reason) if is_late => {
                tracing::warn!(
                    reason,
                    "what was told of this instance is not known; it may be told again"
                );
            }
            Err(_) => return,
        }
        self.recall = Some(Recall::Known);
        let mut stood = Vec::new();
        self.only_the_last_stand(now);
        for (id, entry) in &self.entries {
            self.unoffered.insert(id.clone());
            for (line, at) in entry.told() {
                self.desk.router.was_told(line, id, at);
            }
            if entry.over.is_none() {
                stood.push(entry.began.clone());
            }
        }
        // Refused where nobody watches any more.
        self.run.stood.send(stood).unwrap_or_default();
    }

    /// Of one thing that is wrong one beginning stands; a crash may have kept the end of another from being
    /// written.
    fn only_the_last_stand(&mut self, now: i64) {
        let mut last: BTreeMap<String, (EventTime, String)> = BTreeMap::new();
        for Entry { began, .. } in self.entries.values().filter(|entry| entry.over.is_none()) {
            let this = (began.ts, began.id.clone());
            let known = last.entry(began.rule.clone()).or_insert_with(|| this.clone());
            *known = this.max(known.clone());
        }
        for (id, entry) in &mut self.entries {
            let is_last = last.get(&entry.began.rule).is_some_and(|(_, known)| known == id);
            if entry.over.is_none() && !is_last {
                entry.give_up(SAID_AGAIN, now);
            }
        }
    }

    /// Whether it is time to look for what instances have left behind that did not come back.
    pub(super) fn is_to_look(&mut self, now: i64) -> bool {
        let look_at = self.look_at.get_or_insert(now.saturating_add(LOOK_EVERY_MS));
        let is_due = now >= *look_at;
        if is_due {
            *look_at = now.saturating_add(LOOK_EVERY_MS);
        }
        is_due
    }

    /// Tells the end of what stands of instances that have not come back.
    pub(super) fn adopt(
        &mut self,
        words: &BTreeMap<String, Vec<u8>>,
        now: i64,
        keeper: &mut Keeper,
    ) {
        let before = now.saturating_sub(LEFT_BEHIND_MS);
        for (key, mut entry) in own_entry::left_behind(words, &self.instance, before) {
            tracing::warn!(
                rule = entry.began.rule,
                key,
                "left behind by an instance that has not come back"
            );
            keeper.put(key, None);
            entry.give_up(NOT_BACK, now);
            let id = entry.began.id.clone();
            self.entries.insert(id.clone(), entry);
            self.unoffered.insert(id.clone());
            self.write(&id, now, keeper);
        }
        // Of its own name, of which this process has no more to say.
        let unoffered = self.unoffered.iter().filter_map(|id| self.entries.get_key_value(id));
        let old = unoffered.filter(|(_, entry)| entry.at < before && entry.over.is_none());
        let old: Vec<String> = old.map(|(id, _)| id.clone()).collect();
        for id in old {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.give_up(NO_MORE, now);
            }
        }
    }

    /// Takes in, tells and beats what is due.
    pub(super) fn turn(
        &mut self,
        now: i64,
        Ready { is_member, knows_mutes }: Ready,
        letters: &mut Letters,
        keeper: &mut Keeper,
    ) {
        if knows_mutes && matches!(self.recall, Some(Recall::Known)) {
            self.tell_ends(now, keeper);
            while let Ok(news) = self.run.news.try_recv() {
                self.take(news, now, keeper);
            }
        }
        let router = &mut self.desk.router;
        if let Some(delivery) = &self.desk.delivery
            && router.next_due_at().is_some_and(|at| at <= now)
        {
            for notice in router.due(now) {
                delivery.hand(notice);
            }
        }
        self.desk.review(now);
        while let Ok(report) = self.desk.reports.try_recv() {
            self.heard_of(report, now, letters);
        }
        self.settle(now, keeper);
        if let Some(heart) = &mut self.heart {
            let alive = (self.run.alive)();
            heart.turn(now, alive.and_then(|()| is_reading(is_member)));
        }
    }

    /// What ended before a restart, and not everybody knows that.
    fn tell_ends(&mut self, now: i64, keeper: &mut Keeper) {
        let is_over = |id: &&String| self.entries.get(*id).is_some_and(|one| one.over.is_some());
        let ended: Vec<String> = self.unoffered.iter().filter(is_over).cloned().collect();
        for id in ended {
            self.offer_again(&id, now);
            self.offer_end(&id, true, now);
            self.close(&id, keeper);
        }
    }

    fn take(&mut self, news: OwnNews, now: i64, keeper: &mut Keeper) {
        let OwnNews { decision, is_presumed } = news;
        if let Some(resolved) = &decision.resolved {
            let id = resolved.decision.clone();
            if self.unoffered.contains(&id) {
                self.offer_again(&id, now);
            }
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.over = Some(decision);
                self.offer_end(&id, false, now);
                self.write(&id, now, keeper);
                self.close(&id, keeper);
            } else {
                self.offer(&decision, now);
            }
            return;
        }
        let id = decision.id.clone();
        let is_new = !self.entries.contains_key(&id);
        let entry = self.entries.entry(id.clone()).or_insert_with(|| Entry::new(decision.clone()));
        entry.began.clone_from(&decision);
        if is_presumed || self.unoffered.contains(&id) {
            self.offer_again(&id, now);
        } else {
            let (ticket, shares) = self.offer(&decision, now);
            self.wait(ticket, &id, false, shares);
        }
        if is_new {
            self.write(&id, now, keeper);
        }
        self.forget_some(keeper);
    }

    fn offer(&mut self, decision: &Decision, now: i64) -> (u64, Shares) {
        self.next_ticket += LINES;
        (self.next_ticket, self.desk.router.offer(decision, self.next_ticket, now))
    }

    /// That it began, to those who have not heard of it.
    fn offer_again(&mut self, id: &str, now: i64) {
        self.unoffered.remove(id);
        let Some(entry) = self.entries.get(id) else { return };
        self.next_ticket += LINES;
        let router = &mut self.desk.router;
        let forgetful: BTreeSet<String> = router.forgetful().cloned().collect();
        // Who forgets is told again as long as it stands.
        let told = |line: &str| entry.knows(line, false) && !forgetful.contains(line);
        let times = (now, entry.began.ts.0);
        let shares = router.offer_again(&entry.began, self.next_ticket, times, told);
        self.wait(self.next_ticket, id, false, shares);
    }

    /// That it is over.
    fn offer_end(&mut self, id: &str, is_again: bool, now: i64) {
        let Some(entry) = self.entries.get(id) else { return };
        let Some(over) = &entry.over else { return };
        self.next_ticket += LINES;
        let (router, ticket) = (&mut self.desk.router, self.next_ticket);
        let told = |line: &str| entry.knows(line, true);
        let shares = if is_again {
            router.offer_again(over, ticket, (now, over.ts.0), told)
        } else {
            router.offer(over, ticket, now)
        };
        self.wait(ticket, id, true, shares);
    }

    fn wait(&mut self, ticket: u64, decision: &str, is_end: bool, shares: Shares) {
        let lines: BTreeSet<String> = shares.waiting.into_iter().collect();
        if !lines.is_empty() {
            self.open.insert(ticket, Open { decision: decision.to_owned(), is_end, lines });
        }
    }

    fn heard_of(&mut self, report: Report, now: i64, letters: &mut Letters) {
        match report.outcome.clone() {
            Outcome::Delivered => {
                for ticket in report.notice.tickets {
                    self.done(ticket, &report.notice.receiver, Some(now));
                }
            }
            Outcome::Dead(reason) => {
                letters.write(Letter::new(report, reason, BTreeMap::new()));
            }
            Outcome::Recalled(at) => {
                self.desk.recalled(report.notice, (report.attempts, at), now);
            }
        }
    }

    /// The dead letter of a notice is written.
    pub(super) fn given_up(&mut self, written: &Written, now: i64) {
        for ticket in &written.tickets {
            self.done(*ticket, &written.receiver, Some(now));
        }
    }

    /// A line is done with, by having been told if there is a time.
    fn done(&mut self, ticket: u64, receiver: &str, told_at: Option<i64>) {
        let kind = ticket % LINES;
        let Some(open) = self.open.get_mut(&(ticket - kind)) else { return };
        open.lines.remove(&line(kind, receiver));
        if let Some(entry) = self.entries.get_mut(&open.decision)
            && let Some(at) = told_at
        {
            let knew = entry.knows(&line(kind, receiver), open.is_end);
            entry.tell(kind, receiver, open.is_end, at);
            if !knew || !self.desk.router.forgetful().any(|name| name == receiver) {
                // Written with the next look.
                entry.at = 0;
            }
        }
    }

    /// What the router is done with, and what is to be written.
    fn settle(&mut self, now: i64, keeper: &mut Keeper) {
        for (ticket, receiver) in self.desk.router.settled() {
            self.done(ticket, &receiver, None);
        }
        for (ticket, receiver) in self.desk.router.deferred() {
            if let Some(open) = self.open.get_mut(&(ticket - ticket % LINES))
                && open.lines.remove(&receiver)
            {
                open.lines.insert(line(HELD, &receiver));
            }
        }
        self.desk.router.overs();
        self.open.retain(|_, open| !open.lines.is_empty());
        // Also what only waits, so that nobody takes it to be left behind.
        let is_due = |id: &str, entry: &Entry| {
            let is_old = now.saturating_sub(entry.at) >= WRITE_EVERY_MS;
            entry.at == 0 || is_old && !self.unoffered.contains(id)
        };
        let unwritten = self.entries.iter().filter(|(id, entry)| is_due(id, entry));
        let unwritten: Vec<String> = unwritten.map(|(id, _)| id.clone()).collect();
        for id in unwritten {
            self.write(&id, now, keeper);
            self.close(&id, keeper);
        }
        let over: Vec<String> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.over.is_some())
            .map(|(id, _)| id.clone())
            .collect();
        for id in over {
            self.close(&id, keeper);
        }
    }

    fn write(&mut self, id: &str, now: i64, keeper: &mut Keeper) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.at = now;
            keeper.put(own_entry::key(&self.instance, id), Some(entry.text()));
        }
    }

    /// Forgets what is over once everybody knows.
    fn close(&mut self, id: &str, keeper: &mut Keeper) {
        let is_over = self.entries.get(id).is_some_and(|entry| entry.over.is_some());
        let waits = self.open.values().any(|open| open.decision == id);
        if is_over && !waits && !self.unoffered.contains(id) {
            self.entries.remove(id);
            keeper.put(own_entry::key(&self.instance, id), None);
        }
    }

    fn forget_some(&mut self, keeper: &mut Keeper) {
        while self.entries.len() > ENTRIES_MAX {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.began.ts);
            let Some(id) = oldest.map(|(id, _)| id.clone()) else { return };
            self.entries.remove(&id);
            self.unoffered.remove(&id);
            keeper.put(own_entry::key(&self.instance, &id), None);
        }
    }

    /// Begins no further delivery and waits for those under way.
    pub(super) async fn halt(
        mut self,
        within: Duration,
        (now, letters, keeper): (i64, &mut Letters, &mut Keeper),
    ) {
        if let Some(delivery) = self.desk.delivery.take() {
            delivery.halt(within).await;
        }
        while let Ok(report) = self.desk.reports.try_recv() {
            self.heard_of(report, now, letters);
        }
        self.settle(now, keeper);
    }
}

fn is_reading(is_member: bool) -> Result<(), String> {
    let why = "the notifier does not read decisions";
    if is_member { Ok(()) } else { Err(why.to_owned()) }
}
