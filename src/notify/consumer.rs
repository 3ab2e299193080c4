//! The notifier's loop: decisions in, notices out, offsets committed behind what is settled.
//!
//! One thread owns everything: poll ▸ offer to the router ▸ hand on what is due ▸ settle what
//! was reported ▸ commit. At least once: an offset is committed when every receiver of every
//! decision before it was told, or given up with the dead letter in the log. Who of what lies
//! behind it was told already travels as the commit's metadata ([`Resume`]), and what that does
//! not hold, or not yet, stands in the log of told notices ([`Ledger`]), so that neither a restart
//! nor a rebalance tells it again. What waits for longer, but for no receiver, is noted ([`Keeper`])
//! and holds no offset back. Limits of that: what was on its way at a crash, or taken and
//! not yet in the log, is told again; and `give_up` counts anew after a restart. No fault of Kafka
//! ends the loop. Nothing of a decision is logged but its place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::engine::{Decision, SILENCES};

use super::bulletin::Bulletin;
use super::delivery::{Clock, Delivery, Retry};
use super::desk::{Desk, ended};
use super::group::{self, Event, Member};
use super::keeper::Keeper;
use super::ledger::Ledger;
use super::letters::{self, Letters};
use super::mutes::Mutes;
use super::note;
use super::own::Own;
use super::progress::{Place, Progress};
use super::recall;
use super::repeats::Repeats;
use super::resume::{METADATA_MAX_BYTES, Resume};
use super::route::Router;
use super::run::{NotifyError, NotifyRun};
use super::settings::SettingsError;
use super::trouble::Trouble;
use super::turn;

mod before;
mod keep;
mod settle;

use keep::Noting;

/// Short, since reports of receivers are looked at between two polls.
const POLL: Duration = Duration::from_millis(20);
/// Records that are read one after the other: a restart reads many again.
const SOME: usize = 200;
const COMMIT_EVERY_MS: i64 = 200;
/// How often it is said again that a silence is over, until that is heard.
const OVERDUE_EVERY_MS: i64 = 5_000;
/// A stop shall be over within 5 s: attempts under way, dead letters and the commit, the client.
const HALT: Duration = Duration::from_millis(2_500);
const LAST_COMMIT_MS: i64 = 1_500;
const CLOSE: Duration = Duration::from_millis(500);
const FLUSH: Duration = Duration::from_millis(500);
const ASK: Duration = Duration::from_secs(1);
const START_AGAIN_MS: i64 = 5_000;

/// Notifies until `stop` says true or its sender is gone, and then ends within 5 s.
///
/// # Errors
/// When the settings cannot be used.
pub async fn run(mut settings: NotifyRun, stop: watch::Receiver<bool>) -> Result<(), NotifyError> {
    if let Some(fault) = settings.notify.faults().into_iter().next() {
        return Err(fault.into());
    }
    for (route, by) in settings.notify.unreachable_routes() {
        tracing::warn!(route, by, "this route is never taken: the other takes all that it matches");
    }
    let runtime = Handle::current();
    let retry = Retry::default();
    // Its faults are told now and not once a partition is assigned.
    drop(Delivery::start(&settings.notify, settings.reveal, retry, &settings.metrics)?);
    let letters =
        Letters::start(&settings.brokers, &settings.properties, &settings.dead_topic, &runtime)?;
    let mutes = Mutes::new(settings.notify.silence_max_ms());
    let own = Own::open(&mut settings, retry, &mutes)?;
    let NotifyRun { brokers, properties, standing_topic, .. } = &settings;
    let keeper = Keeper::new(letters::config(brokers, properties), standing_topic);
    let open = |topic: &String| Bulletin::open(brokers, properties, topic, mutes);
    let bulletin = settings.control_topic.as_ref().map(open).transpose()?;
    let notifier = Notifier {
        settings,
        own,
        keeper,
        retry,
        stop,
        runtime,
        clock: Clock::default(),
        progress: Progress::default(),
        repeats: Repeats::default(),
        letters,
        commits: 0,
        parked: BTreeMap::new(),
        bulletin,
        overdue_at: 0,
        unreadable: Trouble::default(),
        trouble: Trouble::default(),
    };
    tokio::task::spawn_blocking(move || notifier.run()).await?
}

/// An offset with its metadata.
type Commit = (i64, String);

/// What outlives a membership.
struct Notifier {
    settings: NotifyRun,
    retry: Retry,
    stop: watch::Receiver<bool>,
    runtime: Handle,
    clock: Clock,
    progress: Progress,
    repeats: Repeats,
    letters: Letters,
    commits: u64,
    /// Partitions that were taken away, with what may have been committed last.
    parked: BTreeMap<i32, (Resume, Vec<Commit>)>,
    bulletin: Option<Bulletin>,
    own: Option<Own>,
    keeper: Keeper,
    overdue_at: i64,
    unreadable: Trouble,
    trouble: Trouble,
}

/// What a membership holds.
#[derive(Default)]
struct Duty {
    /// While partitions are assigned.
    desk: Option<Desk>,
    /// Partitions whose offsets are not known yet.
    to_start: Option<Vec<i32>>,
    /// By partition, as the broker has it.
    committed: BTreeMap<i32, Commit>,
    /// The commit that is under way, with its number.
    committing: Option<(u64, BTreeMap<i32, Commit>)>,
    commit_at: i64,
    noting: Noting,
    changed: bool,
    paused: bool,
    metadata_max: usize,
}

impl Notifier {
    fn run(mut self) -> Result<(), NotifyError> {
        while !self.stopped() {
            let names = (self.settings.group.as_str(), self.settings.instance.as_str());
            let member = group::member(&self.settings.brokers, &self.settings.properties, names)?;
            let member = Arc::new(member);
            member.subscribe(&[&self.settings.decisions_topic])?;
            let mut duty = Duty { metadata_max: METADATA_MAX_BYTES, ..Duty::default() };
            while !self.stopped() {
                if let Err(error) = self.turn(&member, &mut duty) {
                    tracing::error!(%error, "the notifier's membership has ended; joining again");
                    break;
                }
            }
            self.leave(&member, &mut duty);
            let leaving = self.stopped() && self.settings.leaving.load(Ordering::Acquire);
            group::close(member, leaving, CLOSE);
            let again_at = self.clock.now_ms() + START_AGAIN_MS;
            while !self.stopped() && self.clock.now_ms() < again_at {
                std::thread::sleep(POLL);
            }
        }
        if let Some(own) = self.own.take() {
            let with = (self.clock.now_ms(), &mut self.letters, &mut self.keeper);
            self.runtime.block_on(own.halt(CLOSE, with));
        }
        self.keeper.flush(self.clock.now_ms(), FLUSH);
        Ok(())
    }

    fn stopped(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    /// One turn of the loop. An error ends the membership.
    fn turn(&mut self, member: &Arc<Member>, duty: &mut Duty) -> Result<(), KafkaError> {
        let mut wait = POLL;
        for _ in 0..SOME {
            match member.poll(std::mem::take(&mut wait)) {
                Some(Ok(message)) => self.read(&message, duty),
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
                Some(Err(KafkaError::PartitionEOF(_))) | None => break,
                Some(Err(error)) => self.trouble_with("kafka", &error.to_string()),
            }
            // What has been taken away is not read on, and too much is not either.
            if member.context().has_news() || self.has_enough() {
                break;
            }
        }
        while let Some(event) = member.context().next() {
            self.act(event, member, duty)?;
        }
        self.start(member, duty)?;
        self.settle(duty);
        let now = self.clock.now_ms();
        self.hear(duty, now);
        if let Some(Desk { router, delivery: Some(delivery), .. }) = &mut duty.desk
            && router.next_due_at().is_some_and(|at| at <= now)
        {
            for notice in turn::due(router, &mut self.progress, now) {
                delivery.hand(notice);
            }
            duty.changed = true;
        }
        if let Some(desk) = &mut duty.desk {
            desk.review(now);
        }
        self.turn_own(now, duty.desk.is_some());
        self.note(duty, now);
        self.keeper.turn(now);
        self.breathe(member, duty)?;
        if now >= duty.commit_at {
            duty.commit_at = now + COMMIT_EVERY_MS;
            self.commit(member, duty);
        }
        Ok(())
    }

    /// What is said about silences and acknowledgements.
    fn hear(&mut self, duty: &mut Duty, now: i64) {
        let Some(bulletin) = &mut self.bulletin else { return };
        let news = bulletin.serve();
        if let Some(own) = self.own.as_mut().filter(|_| !news.is_empty()) {
            own.hear(&news, &bulletin.mutes, now);
        }
        let Some(desk) = &mut duty.desk else { return };
        if !news.is_empty() {
            desk.hear(&news, &bulletin.mutes, now);
            turn::settle(&mut desk.router, &mut self.progress);
            duty.changed = true;
        }
        // One instance says for all that the time of a silence is over.
        if now < self.overdue_at || !self.progress.reads(0) {
            return;
        }
        self.overdue_at = now + OVERDUE_EVERY_MS;
        let Some(publish) = &self.settings.publish else { return };
        for silence in bulletin.mutes.overdue(now) {
            publish(ended(silence, now, &self.settings.instance));
        }
    }

    fn read(&mut self, message: &BorrowedMessage<'_>, duty: &mut Duty) {
        let Some(desk) = &mut duty.desk else { return };
        let place = Place { partition: message.partition(), offset: message.offset() };
        let now = self.clock.now_ms();
        let decision = serde_json::from_slice::<Decision>(message.payload().unwrap_or_default());
        if let Ok(decision) = &decision
            && decision.rule == SILENCES
            && let (Some(bulletin), Some(record)) = (&mut self.bulletin, &decision.trigger)
        {
            let news = bulletin.catch_up(record.offset);
            desk.hear(&news, &bulletin.mutes, now);
            if let Some(own) = &mut self.own {
                own.hear(&news, &bulletin.mutes, now);
            }
        }
        let decision = match decision {
            Ok(decision) => Some(decision),
            Err(error) => {
                self.settings.metrics.unreadable();
                if let Some(count) = self.unreadable.tell(now) {
                    let Place { partition, offset } = place;
                    let column = error.column();
                    tracing::warn!(partition, offset, column, count, "not a decision; skipped");
                }
                None
            }
        };
        let decision = decision.filter(|decision| !self.is_repeat(place, &decision.id));
        let written_at = message.timestamp().to_millis().unwrap_or(now);
        let both = (&mut desk.router, &mut self.progress);
        turn::read(both, place, decision.as_ref(), (now, written_at));
        duty.changed = true;
    }

    fn act(
        &mut self,
        event: Event,
        member: &Arc<Member>,
        duty: &mut Duty,
    ) -> Result<(), KafkaError> {
        match event {
            Event::Assigned(partitions) => duty.to_start = Some(partitions),
            Event::Revoked => {
                self.leave(member, duty);
                *duty = Duty { metadata_max: duty.metadata_max, ..Duty::default() };
                member.unassign()?;
            }
            Event::Committed(number, result) => self.committed(number, result, duty),
            Event::Trouble(text) => self.trouble_with("kafka", &text),
        }
        Ok(())
    }

    /// Starts reading assigned partitions, once it is known from where.
    fn start(&mut self, member: &Arc<Member>, duty: &mut Duty) -> Result<(), KafkaError> {
        let Some(partitions) = &duty.to_start else { return Ok(()) };
        if self.bulletin.as_mut().is_some_and(|bulletin| !bulletin.is_ready()) {
            return Ok(());
        }
        let topic = self.settings.decisions_topic.as_str();
        let mut asked = TopicPartitionList::new();
        for partition in partitions {
            asked.add_partition(topic, *partition);
        }
        let told = match member.committed_offsets(asked, ASK) {
            Ok(told) => told,
            Err(error) => {
                self.trouble_with("kafka", &error.to_string());
                return Ok(());
            }
        };
        let desk = match self.open_desk() {
            Ok(desk) => desk,
            Err(error) => {
                // A file that could be read at the start no longer can; it may come back.
                self.trouble_with("the receivers", &error.to_string());
                return Ok(());
            }
        };
        let mut starts: BTreeMap<i32, Resume> = BTreeMap::new();
        let mut from = TopicPartitionList::new();
        for at in told.elements() {
            let commit = match at.offset() {
                Offset::Offset(offset) => (offset, at.metadata().to_owned()),
                _ => (0, String::new()),
            };
            let resume = self.resume(at.partition(), &commit);
            let start = match resume.committed {
                0 => Offset::Beginning,
                committed => Offset::Offset(committed),
            };
            from.add_partition_offset(&self.settings.decisions_topic, at.partition(), start)?;
            duty.committed.insert(at.partition(), commit);
            starts.insert(at.partition(), resume);
        }
        let NotifyRun { told_topic, standing_topic, .. } = &self.settings;
        // Without it what is muted would be lost.
        let words = match recall::words(self.line(), standing_topic) {
            Ok(words) => words,
            Err(error) => {
                self.trouble_with("kafka", &error);
                return Ok(());
            }
        };
        let known = starts.values().map(|resume| resume.log.whole);
        let log_from = known.min().flatten();
        let told = recall::recall(self.line(), told_topic, log_from);
        tracing::info!(partitions = starts.len(), "the notifier reads decisions");
        self.parked.clear();
        let committed: Vec<(i32, i64)> =
            starts.iter().map(|(partition, resume)| (*partition, resume.committed)).collect();
        self.look_back(&starts);
        self.progress.begin_with(starts, told);
        duty.desk = Some(desk);
        duty.to_start = None;
        self.read_notes(&words, &committed, duty);
        member.assign(&from)?;
        member.resume(&from)
    }

    /// Where nobody has committed since, what is known here is at least as good.
    fn resume(&self, partition: i32, commit: &Commit) -> Resume {
        match self.parked.get(&partition) {
            Some((resume, had)) if had.contains(commit) => resume.clone(),
            _ => Resume::decode(commit.0, &commit.1),
        }
    }

    fn open_desk(&self) -> Result<Desk, SettingsError> {
        let _runtime = self.runtime.enter();
        let NotifyRun { notify, reveal, metrics, told_topic, .. } = &self.settings;
        let config = letters::config(&self.settings.brokers, &self.settings.properties);
        let ledger = Ledger::new(config, told_topic);
        let (delivery, reports) =
            Delivery::keeping(notify, *reveal, (self.retry, metrics), ledger)?;
        let router = match &self.bulletin {
            Some(bulletin) => Router::with(notify, bulletin.mutes.clone()),
            None => Router::new(notify),
        };
        Ok(Desk { router, delivery: Some(delivery), reports, review_at: 0 })
    }

    /// Commits what has changed, without waiting.
    fn commit(&mut self, member: &Arc<Member>, duty: &mut Duty) {
        if !duty.changed || duty.committing.is_some() || duty.desk.is_none() {
            return;
        }
        duty.changed = false;
        if self.keeper.is_clean() {
            self.progress.is_kept();
        }
        let mut list = TopicPartitionList::new();
        let mut commits = BTreeMap::new();
        for (partition, resume) in self.progress.resumes() {
            let commit = (resume.committed, resume.encode(duty.metadata_max));
            if duty.committed.get(&partition) == Some(&commit) {
                continue;
            }
            let topic = &self.settings.decisions_topic;
            let mut at = list.add_partition(topic, partition);
            at.set_metadata(&commit.1);
            // Offsets of records are valid offsets.
            at.set_offset(Offset::Offset(commit.0)).unwrap_or_default();
            commits.insert(partition, commit);
        }
        if commits.is_empty() {
            return;
        }
        self.commits += 1;
        group::commit(member, self.commits, list);
        duty.committing = Some((self.commits, commits));
    }

    /// The answer to an earlier assignment's commit concerns nobody any more.
    fn committed(&mut self, number: u64, result: Result<(), RDKafkaErrorCode>, duty: &mut Duty) {
        let Some((_, commits)) = duty.committing.take_if(|(ours, _)| *ours == number) else {
            return;
        };
        match result {
            Ok(()) => {
                for (partition, (offset, text)) in &commits {
                    let log = Resume::decode(*offset, text).log.whole;
                    self.progress.committed(*partition, log);
                }
                duty.committed.extend(commits);
                if self.trouble.over() {
                    tracing::info!("kafka answers the notifier again");
                }
            }
            Err(code) => {
                duty.changed = true;
                if code == RDKafkaErrorCode::OffsetMetadataTooLarge {
                    duty.metadata_max /= 2;
                }
                self.trouble_with("kafka", &code.to_string());
            }
        }
    }

    /// Ends the receivers' tasks, commits what is settled, and remembers the rest.
    fn leave(&mut self, member: &Arc<Member>, duty: &mut Duty) {
        let Some(desk) = &mut duty.desk else { return };
        if let Some(delivery) = desk.delivery.take() {
            self.runtime.block_on(delivery.halt(HALT));
        }
        let give_up_at = self.clock.now_ms() + LAST_COMMIT_MS;
        loop {
            self.settle(duty);
            self.keep_changes();
            self.keeper.turn(self.clock.now_ms());
            if !member.assignment_lost() {
                self.commit(member, duty);
            }
            let is_written = self.letters.waiting() == 0 && self.keeper.is_clean();
            let done = is_written && duty.committing.is_none() && !duty.changed;
            if done || member.assignment_lost() || self.clock.now_ms() >= give_up_at {
                break;
            }
            // Records that come now are read again by whoever starts at the committed offset.
            drop(member.poll(POLL));
            while let Some(event) = member.context().next() {
                if let Event::Committed(number, result) = event {
                    self.committed(number, result, duty);
                }
            }
        }
        duty.desk = None;
        for (partition, resume) in self.progress.resumes() {
            let committing = duty.committing.iter().filter_map(|(_, all)| all.get(&partition));
            let had = duty.committed.get(&partition).into_iter().chain(committing);
            self.parked.insert(partition, (resume, had.cloned().collect()));
        }
        self.progress.begin([]);
        // Whoever has these partitions next writes on.
        self.keeper.forget(note::PREFIX);
        self.settings.metrics.waiting(0, 0, false);
    }

    fn trouble_with(&mut self, what: &str, error: &str) {
        if let Some(count) = self.trouble.tell(self.clock.now_ms()) {
            tracing::warn!(what, error, count, "the notifier has trouble; trying on");
        }
    }
}
