//! A simulation of two notifiers from a seed: a log of decisions, receivers that fail, hang and
//! fail after they have accepted, people who silence and acknowledge, a virtual clock, crashes
//! between any two steps, and partitions that change hands.
//!
//! What a crash leaves is what was committed, as its text, the log of what was told, and what was noted. Checked at
//! the end: every decision has reached each of its receivers, or is a dead letter of it; and none
//! has reached one twice, unless the receiver failed after it had accepted, or it was one of the
//! few notices that were taken and not yet in the log when the crash came.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::{due, read, read_note, settle};
use crate::engine::{Act, Change, Decision, Matcher};
use crate::event::EventTime;
use crate::notify::backlog::{Backlog, Next};
use crate::notify::ledger::WINDOW;
use crate::notify::mutes::{Muted, Mutes};
use crate::notify::note::{body, key, notes, orphans, since, since_key};
use crate::notify::notice::{HELD, LINES, Notice};
use crate::notify::progress::{Place, Progress};
use crate::notify::resume::{METADATA_MAX_BYTES, Resume};
use crate::notify::route::Router;
use crate::notify::settings::NotifySettings;
use crate::notify::told::{Told, records};
use crate::rule::Severity;

const GIVE_UP_MS: i64 = 40 * 60_000;
const STEP_MS: i64 = 500;
const PARTITIONS: i32 = 3;
/// All is quiet by then: silences, steps and the longest outage are over.
const LONG_MS: i64 = 4 * 3_600_000;

const SETTINGS: &str = r#"
receivers:
  mail: { slack: { url: "http://x" } }
  boss: { slack: { url: "http://x" } }
  chat: { slack: { url: "http://x" } }
  hook: { webhook: { url: "http://x" } }
routes:
  - { match: { severity: [critical] }, to: [mail, hook], group_wait: 5s, repeat_interval: 20m, escalate: [{ after: 3m, to: [boss] }] }
  - { match: { rule: [cap] }, to: [chat, hook], group_wait: 2s, group_interval: 20s }
  - { match: { rule: [night] }, to: [chat], quiet: { from: "00:00", to: "00:20" } }
inhibit:
  - { source: { rule: [campaign] }, target: { rule: [user] }, equal: [source], lasts: 5m }
default: [mail]
"#;

/// What of a receiver survives a crash of the notifier: everything.
#[derive(Debug, Default)]
struct Receiver {
    /// Decision and line → how often it came.
    got: BTreeMap<(String, u64), u32>,
    /// Came, and was answered with a failure or none at all.
    unsure: BTreeSet<(String, u64)>,
    down_until: i64,
}

#[derive(Debug, Default)]
struct World {
    log: BTreeMap<i32, Vec<(i64, Decision)>>,
    control: Vec<Vec<u8>>,
    groups: Option<crate::notify::Groups>,
    /// Group → when somebody said so last.
    acknowledged: BTreeMap<String, i64>,
    receivers: BTreeMap<String, Receiver>,
    /// Partition → offset and metadata.
    committed: BTreeMap<i32, (i64, String)>,
    /// The log of what was told.
    told: Vec<String>,
    /// The last word on each key: what outlives a crash though it is not told.
    standing: BTreeMap<String, Vec<u8>>,
    noted: usize,
    dead: BTreeSet<(String, String)>,
    now: i64,
    next_id: u32,
}

/// A notifier between two crashes.
struct Life {
    router: Router,
    progress: Progress,
    backlogs: BTreeMap<String, Backlog<i64>>,
    next: BTreeMap<i32, usize>,
    heard: usize,
    /// Taken, and not yet in the log of what was told.
    unwritten: VecDeque<Notice>,
    /// Words on their way, and what is noted with one.
    words: VecDeque<(String, Option<String>, Option<Place>)>,
    ids: Ids,
    /// When nobody is asked: an attempt hangs.
    hangs_until: BTreeMap<String, i64>,
}

impl World {
    fn decide(&mut self, rng: &mut ChaCha8Rng) {
        self.next_id += 1;
        let rules = ["cap", "night", "campaign", "user", "odd"];
        let rule = rules[rng.random_range(0..rules.len())];
        let severity = ["info", "warning", "critical"][rng.random_range(0..3)];
        let source = ["lottery", "quiz"][rng.random_range(0..2)];
        let end = self.now + rng.random_range(1..LONG_MS);
        // A rule per user knows the source of the event alone.
        let key = match rule {
            "user" => json!({ "user": "u-1" }),
            _ => json!({ "source": source, "user": "u-1" }),
        };
        let decision: Decision = serde_json::from_value(json!({
            "id": self.next_id.to_string(), "ts": self.now, "rule": rule, "level": 0,
            "severity": severity, "mode": "live", "key": key, "source": source,
            "measure": "count", "summary": "s", "ruleset": "x", "alert": [],
            "window": {"start": self.now - 1_000, "end": end, "label": "day 1970-01-01 UTC"},
        }))
        .unwrap();
        let partition = rng.random_range(0..PARTITIONS);
        self.log.entry(partition).or_default().push((self.now, decision));
    }

    fn say(&mut self, act: Act) {
        let id = format!("c-{}", self.control.len());
        let (actor, reason) = ("ann".to_owned(), "known".to_owned());
        let change = Change { v: 1, id, ts: EventTime(self.now), actor, reason, act };
        self.control.push(change.encode());
    }

    fn groups_of(&self, decision: &Decision) -> Vec<String> {
        self.groups.as_ref().unwrap().of(decision)
    }

    fn people(&mut self, rng: &mut ChaCha8Rng) {
        if rng.random_range(0..100) == 0
            && let Some((_, decision)) =
                self.log.get(&rng.random_range(0..PARTITIONS)).and_then(|log| log.last())
        {
            for group in self.groups_of(&decision.clone()) {
                let through = EventTime(self.now);
                self.say(Act::Acknowledge { group: group.clone(), through });
                self.acknowledged.insert(group, self.now);
            }
        }
        if rng.random_range(0..200) == 0 {
            let rule = ["cap", "odd"][rng.random_range(0..2)];
            let matcher = Matcher { rule: vec![rule.into()], ..Matcher::default() };
            let until = EventTime(self.now + rng.random_range(1_000..900_000));
            self.say(Act::Silence { matcher, until });
        }
        for receiver in self.receivers.values_mut() {
            if rng.random_range(0..400) == 0 {
                receiver.down_until = self.now + rng.random_range(1_000..3_600_000);
            }
        }
    }

    fn born(&self, settings: &NotifySettings, partitions: &[i32]) -> Life {
        let mut mutes = Mutes::new(settings.silence_max_ms());
        for record in &self.control {
            mutes.take(record);
        }
        let mut progress = Progress::default();
        let mut next = BTreeMap::new();
        let starts = partitions.iter().map(|&partition| {
            let (offset, text) = self.committed.get(&partition).cloned().unwrap_or_default();
            next.insert(partition, usize::try_from(offset).unwrap());
            (partition, Resume::decode(offset, &text))
        });
        let starts: Vec<(i32, Resume)> = starts.collect();
        let log_from = starts.iter().map(|(_, resume)| resume.log.whole).min().flatten();
        let mut told = Told::default();
        for record in self.told.iter().skip(usize::try_from(log_from.unwrap_or(0)).unwrap()) {
            told.take(record.as_bytes());
        }
        progress.begin_with(starts, (told, i64::try_from(self.told.len()).ok()));
        let committed: Vec<(i32, i64)> = partitions
            .iter()
            .map(|one| (*one, self.committed.get(one).map_or(0, |(offset, _)| *offset)))
            .collect();
        let backlog = |name: &String| (name.clone(), Backlog::new(GIVE_UP_MS));
        let mut life = Life {
            router: Router::with(settings, mutes),
            progress,
            backlogs: self.receivers.keys().map(backlog).collect(),
            next,
            heard: self.control.len(),
            unwritten: VecDeque::new(),
            words: VecDeque::new(),
            ids: Ids::new(),
            hangs_until: BTreeMap::new(),
        };
        for (partition, committed) in committed {
            let orphans = orphans(&self.standing, partition);
            life.words.extend(orphans.into_iter().map(|key| (key, None, None)));
            for (offset, note) in notes(&self.standing, partition) {
                if offset >= committed {
                    life.words.push_back((key(note.place), None, None));
                    life.words.push_back((since_key(note.place), None, None));
                    continue;
                }
                let (id, groups) = (note.decision.id.clone(), self.groups_of(&note.decision));
                read_note((&mut life.router, &mut life.progress), note, self.now);
                let ticket = life.progress.ticket() - LINES;
                life.ids.insert(ticket, Read { id, at: self.now, groups });
            }
        }
        life
    }

    /// The receiver's answer, or none; what it has taken it has.
    fn takes(&mut self, notice: &Notice, ids: &Ids, rng: &mut ChaCha8Rng) -> bool {
        let receiver = self.receivers.get_mut(&notice.receiver).unwrap();
        if self.now < receiver.down_until {
            return false;
        }
        let fails_after = rng.random_range(0..20) == 0;
        for ticket in &notice.tickets {
            let id = ids[&(ticket - ticket % LINES)].id.clone();
            let line = ticket % LINES;
            *receiver.got.entry((id.clone(), line)).or_default() += 1;
            if fails_after {
                receiver.unsure.insert((id, line));
            }
        }
        !fails_after
    }
}

/// By ticket.
type Ids = BTreeMap<u64, Read>;

/// A decision as it was read.
struct Read {
    id: String,
    at: i64,
    groups: Vec<String>,
}

impl Life {
    fn read(&mut self, world: &World, rng: &mut ChaCha8Rng) {
        let partition = rng.random_range(0..PARTITIONS);
        let Some(at) = self.next.get_mut(&partition) else { return };
        let Some((written_at, decision)) = world.log.get(&partition).and_then(|log| log.get(*at))
        else {
            return;
        };
        let place = Place { partition, offset: i64::try_from(*at).unwrap() };
        let both = (&mut self.router, &mut self.progress);
        read(both, place, Some(decision), (world.now, *written_at));
        // The ticket that it was given: the next one is the one after.
        let ticket = self.progress.ticket() - LINES;
        let (id, groups) = (decision.id.clone(), world.groups_of(decision));
        self.ids.insert(ticket, Read { id, at: world.now, groups });
        *at += 1;
    }

    fn hear(&mut self, world: &World) {
        let silent = self.heard;
        for record in world.control.iter().skip(self.heard) {
            match self.router.mutes.take(record) {
                Some(Muted::Silences) => self.router.silences_changed(world.now),
                Some(Muted::Acknowledged(group, by)) => {
                    self.router.acknowledged(&group, &by, world.now);
                }
                None => {}
            }
        }
        self.heard = world.control.len();
        settle(&mut self.router, &mut self.progress);
        if self.heard > silent || self.router.has_new_mutes(world.now) {
            self.review(world.now);
        }
    }

    /// What waits for people is judged anew.
    fn review(&mut self, now: i64) {
        for (_, backlog) in self.backlogs.iter_mut().filter(|(name, _)| *name != "hook") {
            for (at, entry) in backlog.recall() {
                match self.router.recall(entry.notice, now) {
                    Some(rest) if entry.attempts > 0 => {
                        backlog.push_again(rest, entry.waits, (entry.attempts, at));
                    }
                    Some(rest) => {
                        backlog.push_digest(rest, 1_000);
                    }
                    None => {}
                }
                settle(&mut self.router, &mut self.progress);
            }
        }
    }

    fn hand(&mut self, now: i64) {
        for notice in due(&mut self.router, &mut self.progress, now) {
            self.no_step_is_taken_of_what_is_acknowledged(&notice);
            let backlog = self.backlogs.get_mut(&notice.receiver).unwrap();
            if notice.receiver == "hook" {
                backlog.push(notice, 1_000);
            } else {
                backlog.push_digest(notice, 1_000);
            }
        }
    }

    fn no_step_is_taken_of_what_is_acknowledged(&self, notice: &Notice) {
        for ticket in notice.tickets.iter().chain(&notice.also) {
            let kind = ticket % LINES;
            if kind <= HELD {
                continue;
            }
            let read = &self.ids[&(ticket - kind)];
            let through = |group: &String| {
                self.router.mutes.acknowledged(group).is_some_and(|by| by.through >= read.at)
            };
            assert!(!read.groups.iter().any(through), "{notice:?} is acknowledged");
        }
    }

    /// Some attempts of each receiver.
    fn deliver(&mut self, world: &mut World, rng: &mut ChaCha8Rng) {
        let names: Vec<String> = self.backlogs.keys().cloned().collect();
        for name in names {
            for _ in 0..rng.random_range(0..20) {
                if !self.attempt(&name, world, rng) {
                    break;
                }
            }
            for _ in 0..rng.random_range(0..WINDOW) {
                self.write(world);
            }
        }
    }

    /// The oldest of what was taken comes into the log, and is reported.
    fn write(&mut self, world: &mut World) {
        let Some(notice) = self.unwritten.pop_front() else { return };
        world.told.extend(records(&notice));
        for ticket in notice.tickets {
            self.progress.settle(ticket, &notice.receiver);
        }
        self.progress.logged(i64::try_from(world.told.len()).unwrap() - 1);
    }

    /// Notes what waits for longer, and what has come of notes.
    fn note(&mut self, world: &World) {
        for (place, change) in self.progress.changes() {
            let (body, come) = match change {
                Some(come) => (None, Some(since(come))),
                None => (Some((key(place), None, None)), None),
            };
            self.words.extend(body);
            self.words.push_back((since_key(place), come, None));
        }
        if self.words.iter().any(|(.., place)| place.is_some()) {
            return;
        }
        for place in self.progress.ripe(world.now, 50) {
            let lines = self.progress.note(place).unwrap();
            let (at, decision) =
                &world.log[&place.partition][usize::try_from(place.offset).unwrap()];
            let record = serde_json::to_vec(decision).unwrap();
            self.words.push_back((key(place), body(&record, *at, lines), Some(place)));
        }
    }

    /// The oldest of the words arrives.
    fn keep(&mut self, world: &mut World) {
        let Some((key, word, place)) = self.words.pop_front() else { return };
        match word {
            Some(word) => world.standing.insert(key, word.into_bytes()),
            None => world.standing.remove(&key),
        };
        if let Some(place) = place {
            self.progress.noted(place);
            world.noted += 1;
        }
    }

    /// Partitions are taken away: what was taken is written down and committed.
    fn leave(&mut self, world: &mut World, rng: &mut ChaCha8Rng) {
        while !self.unwritten.is_empty() {
            self.write(world);
        }
        self.note(world);
        while !self.words.is_empty() {
            self.keep(world);
        }
        self.commit(world, rng);
    }

    /// What of it may come again: all but what is in the log, though not reported.
    fn crash(&mut self, world: &mut World, rng: &mut ChaCha8Rng) -> Vec<Excused> {
        let mut excused = Vec::new();
        for _ in 0..rng.random_range(0..=self.words.len()) {
            self.keep(world);
        }
        let written = rng.random_range(0..=self.unwritten.len());
        for (nth, notice) in self.unwritten.iter().enumerate() {
            if nth < written {
                world.told.extend(records(notice));
                continue;
            }
            for ticket in &notice.tickets {
                let id = self.ids[&(ticket - ticket % LINES)].id.clone();
                excused.push((notice.receiver.clone(), id, ticket % LINES));
            }
        }
        excused
    }

    /// False when there is nothing to try.
    fn attempt(&mut self, name: &str, world: &mut World, rng: &mut ChaCha8Rng) -> bool {
        let on_its_way = self.unwritten.iter().filter(|notice| notice.receiver == name).count();
        if on_its_way >= WINDOW || world.now < self.hangs_until.get(name).copied().unwrap_or(0) {
            return false;
        }
        let backlog = self.backlogs.get_mut(name).unwrap();
        let mut dead = backlog.expired(world.now - GIVE_UP_MS);
        let tried = match backlog.next(world.now) {
            Next::Try(entry) => Some(entry),
            Next::WaitUntil(_) | Next::Idle => None,
        };
        let has_tried = tried.is_some();
        if let Some(mut entry) = tried {
            entry.attempts += 1;
            let again_at = world.now + entry.waits;
            if world.takes(&entry.notice, &self.ids, rng) {
                backlog.arrived();
                self.unwritten.push_back(entry.notice);
            } else if again_at >= entry.notice.offered_at + GIVE_UP_MS {
                dead.push(entry);
            } else {
                entry.waits = (entry.waits * 2).min(30_000);
                if rng.random_range(0..2) == 0 {
                    self.hangs_until.insert(name.to_owned(), world.now + 10_000);
                }
                if backlog.failing(&entry) {
                    backlog.pause_until(world.now + 1_000);
                }
                backlog.put_back(entry, again_at);
            }
        }
        for entry in dead {
            for ticket in entry.notice.tickets {
                world
                    .dead
                    .insert((name.to_owned(), self.ids[&(ticket - ticket % LINES)].id.clone()));
                self.progress.settle(ticket, name);
            }
        }
        has_tried
    }

    /// Metadata that is too small for most of what there is to say now and then, too.
    fn commit(&mut self, world: &mut World, rng: &mut ChaCha8Rng) {
        let bytes_max = if rng.random_range(0..3) == 0 { 100 } else { METADATA_MAX_BYTES };
        if self.words.is_empty() {
            self.progress.is_kept();
        }
        let resumes: Vec<(i32, Resume)> = self.progress.resumes().collect();
        for (partition, resume) in resumes {
            let text = resume.encode(bytes_max);
            let log = Resume::decode(resume.committed, &text).log.whole;
            self.progress.committed(partition, log);
            world.committed.insert(partition, (resume.committed, text));
        }
    }
}

/// Receiver, decision and line.
type Excused = (String, String, u64);

fn simulate(seed: u64) {
    let settings: NotifySettings = serde_saphyr::from_str(SETTINGS).unwrap();
    assert_eq!(settings.faults(), []);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut world =
        World { groups: Some(crate::notify::Groups::new(&settings)), ..World::default() };
    for name in settings.receivers.keys() {
        world.receivers.insert(name.clone(), Receiver::default());
    }
    let mut excused: BTreeSet<Excused> = BTreeSet::new();
    let mut hands = [vec![0, 1], vec![2]];
    let mut lives = hands.each_ref().map(|partitions| world.born(&settings, partitions));
    let busy = 6_000;
    let mut step = 0;
    let mut quiet_since = None;
    while quiet_since.is_none_or(|since| world.now < since + LONG_MS) {
        step += 1;
        world.now += rng.random_range(0..STEP_MS);
        if step < busy {
            if rng.random_range(0..4) == 0 {
                world.decide(&mut rng);
            }
            world.people(&mut rng);
        } else if quiet_since.is_none() {
            quiet_since = Some(world.now);
        } else {
            world.now += 5_000;
        }
        let whose = rng.random_range(0..lives.len());
        let life = &mut lives[whose];
        match rng.random_range(0..100) {
            0..40 => {
                for _ in 0..rng.random_range(1..20) {
                    life.read(&world, &mut rng);
                }
            }
            40..55 => life.hand(world.now),
            55..85 => life.deliver(&mut world, &mut rng),
            85..90 => life.hear(&world),
            90..94 => life.note(&world),
            94..96 => {
                for _ in 0..rng.random_range(0..=life.words.len()) {
                    life.keep(&mut world);
                }
            }
            96..99 => life.commit(&mut world, &mut rng),
            _ if step < busy && rng.random_range(0..6) == 0 => {
                excused.extend(life.crash(&mut world, &mut rng));
                *life = world.born(&settings, &hands[whose]);
            }
            _ if step < busy && rng.random_range(0..6) == 0 => {
                for life in &mut lives {
                    life.leave(&mut world, &mut rng);
                }
                hands = [Vec::new(), Vec::new()];
                for partition in 0..PARTITIONS {
                    hands[rng.random_range(0..2)].push(partition);
                }
                lives = hands.each_ref().map(|partitions| world.born(&settings, partitions));
            }
            _ => {}
        }
    }
    for life in &mut lives {
        life.leave(&mut world, &mut rng);
        assert_eq!(life.progress.open() + life.progress.held(), 0, "seed {seed}: all is settled");
    }
    assert_eq!(world.standing.keys().collect::<Vec<_>>(), Vec::<&String>::new(), "seed {seed}");
    assert!(world.noted > 5, "seed {seed}: {}", world.noted);
    check(seed, &world, &excused, &settings);
}

fn check(seed: u64, world: &World, excused: &BTreeSet<Excused>, settings: &NotifySettings) {
    let groups = crate::notify::Groups::new(settings);
    for (_, decision) in world.log.values().flatten() {
        for told in groups.of_subject(&crate::engine::Subject::of(decision)) {
            for name in &told.to {
                let receiver = &world.receivers[name];
                let came =
                    (0..2).any(|line| receiver.got.contains_key(&(decision.id.clone(), line)));
                let is_dead = world.dead.contains(&(name.clone(), decision.id.clone()));
                assert!(came || is_dead, "seed {seed}: {name} never heard of {decision:?}");
            }
        }
    }
    // What nobody has acknowledged has gone to the next step, if nothing mutes it.
    for (written_at, decision) in world.log.values().flatten() {
        let steps = decision.severity == Severity::Critical
            && matches!(decision.rule.as_str(), "night" | "campaign");
        let latest =
            world.groups_of(decision).iter().filter_map(|g| world.acknowledged.get(g)).max();
        if steps && latest.is_none_or(|at| at < written_at) {
            let came = world.receivers["boss"].got.contains_key(&(decision.id.clone(), HELD + 1));
            let is_dead = world.dead.contains(&("boss".to_owned(), decision.id.clone()));
            assert!(came || is_dead, "seed {seed}: boss never heard of {decision:?}");
        }
    }
    for (name, receiver) in &world.receivers {
        for ((id, line), times) in &receiver.got {
            let is_excused = receiver.unsure.contains(&(id.clone(), *line))
                || excused.contains(&(name.clone(), id.clone(), *line));
            assert!(
                *times == 1 || is_excused,
                "seed {seed}: {name} heard {times} times of {id} on line {line}"
            );
        }
    }
}

#[test]
fn through_crashes_and_outages_everything_is_told_and_nothing_twice() {
    let first = std::env::var("TIDEGATE_SIM_FIRST").ok().and_then(|seed| seed.parse().ok());
    let count = std::env::var("TIDEGATE_SIM_SEEDS").ok().and_then(|count| count.parse().ok());
    let first: u64 = first.unwrap_or(1);
    for seed in first..first + count.unwrap_or(4) {
        simulate(seed);
    }
}
