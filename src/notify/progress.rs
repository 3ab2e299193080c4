//! Which decisions have been offered, who is still to be told, and what may be committed.
//!
//! Pure. One ticket per decision that somebody waits for; it stays open until each of its
//! receivers is settled: told, or given up with the dead letter written. What waits for something
//! that comes later, if at all, is noted elsewhere and then no longer holds the offset back. Memory
//! follows the number of tickets, which whoever reads the topic bounds by pausing.

use std::collections::{BTreeMap, BTreeSet};

use super::note::Lines;
use super::notice::{HELD, LINES, Shares, is_deferred, line};
use super::resume::{Logged, Range, Resume};
use super::told::Told;

/// What waits for longer, but for no receiver, is noted, so that its offset may be committed.
const NOTE_AFTER_MS: i64 = 5_000;

/// Where a decision stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// The open tickets of all partitions.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    partitions: BTreeMap<i32, Partition>,
    tickets: BTreeMap<u64, Place>,
    next_ticket: u64,
    /// What the log of told notices said at the start, until it has been read again.
    told: Told,
    /// Behind the last record of that log whose notice is settled here, and in all notes.
    log: Option<i64>,
    /// The same, before what has come of notes is written.
    log_next: Option<i64>,
    /// Notes of which something has come that is not yet handed out; `None` where all of it has.
    changes: BTreeMap<Place, Option<Lines>>,
}

#[derive(Debug, Default)]
struct Partition {
    /// Behind the last offset offered.
    next: i64,
    /// What was known at the start of what is not yet read again.
    before: Resume,
    /// Behind the last offset that the log of told notices spoke of at the start.
    reach: i64,
    /// From where that log says what the broker's commit does not.
    log: Option<i64>,
    /// Offset → how many lines wait.
    open: BTreeMap<i64, Waiting>,
    /// Of those, how many wait for a receiver now.
    urgent: usize,
    /// What is noted, by offset: none of it is in `open`.
    noted: BTreeMap<i64, Noted>,
    receivers: BTreeMap<String, Line>,
}

/// How many lines of a decision wait.
#[derive(Debug, Default)]
struct Waiting {
    /// For a receiver to take the notice.
    now: usize,
    /// For a mute to end, or for somebody not to acknowledge.
    later: usize,
    /// Since when.
    since: i64,
    note: Noting,
    /// Something of it may stand there.
    has_note: bool,
    is_over: bool,
}

/// How far a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Noting {
    #[default]
    Not,
    /// Asked for, or being written.
    Asked,
    Written,
}

/// A decision that is noted.
#[derive(Debug, Default)]
struct Noted {
    lines: BTreeSet<String>,
    /// What has come of it since.
    come: Lines,
}

/// One receiver's offsets, of which `settled` ranges never span a pending one.
#[derive(Debug, Default)]
struct Line {
    pending: BTreeSet<i64>,
    /// First → last.
    settled: BTreeMap<i64, i64>,
}

impl Progress {
    /// Forgets the partitions there were. Tickets given out before settle nothing any more.
    pub(crate) fn begin(&mut self, starts: impl IntoIterator<Item = (i32, Resume)>) {
        self.begin_with(starts, (Told::default(), None));
    }

    /// The same with what the log of told notices says, and where it ends.
    pub(crate) fn begin_with(
        &mut self,
        starts: impl IntoIterator<Item = (i32, Resume)>,
        (told, log): (Told, Option<i64>),
    ) {
        let partition = |number: i32, before: Resume| Partition {
            next: before.committed,
            reach: told.reach(number).map_or(0, |last| last + 1),
            log: before.log.whole,
            before,
            ..Partition::default()
        };
        self.tickets.clear();
        self.partitions = starts
            .into_iter()
            .map(|(number, before)| (number, partition(number, before)))
            .collect();
        self.told = told;
        (self.log, self.log_next) = (None, log);
        self.changes.clear();
    }

    /// Whether the log of told notices said at the start that this line was told.
    pub(crate) fn was_told(&self, line: &str, decision: &str) -> bool {
        self.told.has(line, decision)
    }

    /// Takes in a decision from its note, of which these lines still wait.
    pub(crate) fn keep(
        &mut self,
        place: Place,
        ticket: u64,
        (had, mut come): (BTreeSet<String>, Lines),
        waiting: Vec<String>,
    ) {
        let Some(partition) = self.partitions.get_mut(&place.partition) else { return };
        let lines: BTreeSet<String> = waiting.into_iter().collect();
        let before = come.lines.len();
        come.lines.extend(had.difference(&lines).cloned());
        if lines.is_empty() {
            self.changes.insert(place, None);
            return;
        }
        if come.lines.len() > before {
            self.changes.insert(place, Some(come.clone()));
        }
        partition.noted.insert(place.offset, Noted { lines, come });
        self.tickets.insert(ticket, place);
    }

    /// What is known of a record that had been read before the start: whether a line was told.
    pub(crate) fn before(&self, place: Place, decision: &str) -> Option<impl Fn(&str) -> bool> {
        let partition = self.partitions.get(&place.partition)?;
        // A log that begins anew has nothing to do with what was known.
        let goes_on = place.offset >= partition.next;
        let covered = goes_on && partition.before.covers(place.offset);
        let is_told = place.offset < partition.reach && self.told.knows(decision);
        let decision = decision.to_owned();
        (covered || is_told).then_some(move |line: &str| {
            covered && partition.before.told(line, place.offset) || self.told.has(line, &decision)
        })
    }

    /// The record at `offset` says of a notice that it was told, and so do its tickets by now.
    pub(crate) fn logged(&mut self, offset: i64) {
        self.log_next = self.log_next.max(Some(offset + 1));
    }

    /// All that has come of notes is written.
    pub(crate) fn is_kept(&mut self) {
        if self.changes.is_empty() {
            self.log = self.log_next;
        }
    }

    /// The broker has a commit that leaves to the log what is behind `log`.
    pub(crate) fn committed(&mut self, partition: i32, log: Option<i64>) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.log = log;
        }
        let all = self.partitions.values();
        if !self.told.is_empty() && all.into_iter().all(|one| one.next >= one.reach) {
            self.told = Told::default();
        }
    }

    /// A ticket for the next decision; never the same twice, and [`LINES`] apart.
    pub(crate) fn ticket(&mut self) -> u64 {
        self.next_ticket += LINES;
        self.next_ticket
    }

    /// Takes in a record that has been read: a decision with its shares, or one that concerns
    /// nobody. An offset before the last one means that the log began anew.
    pub(crate) fn offer(&mut self, place: Place, ticket: u64, (shares, now): (Shares, i64)) {
        let partition = self.partitions.entry(place.partition).or_default();
        if place.offset < partition.next {
            self.tickets.retain(|_, open| open.partition != place.partition);
            let gone =
                partition.noted.keys().map(|offset| (Place { offset: *offset, ..place }, None));
            self.changes.extend(gone);
            *partition = Partition::default();
        }
        partition.next = place.offset + 1;
        for receiver in shares.told {
            partition.receivers.entry(receiver).or_default().settle(place.offset);
        }
        if shares.waiting.is_empty() {
            return;
        }
        let later = shares.waiting.iter().filter(|line| is_deferred(line)).count();
        let urgent = shares.waiting.len() - later;
        partition.urgent += usize::from(urgent > 0);
        let waiting = Waiting { now: urgent, later, since: now, ..Waiting::default() };
        partition.open.insert(place.offset, waiting);
        for receiver in shares.waiting {
            partition.receivers.entry(receiver).or_default().pending.insert(place.offset);
        }
        self.tickets.insert(ticket, place);
    }

    /// Places, at most so many, that only wait for something that comes later and have for a while: what
    /// waits there is to be noted. Those before which nothing else is open.
    pub(crate) fn ripe(&mut self, now: i64, max: usize) -> Vec<Place> {
        let mut places = Vec::new();
        for (number, partition) in &mut self.partitions {
            let is_ripe = |waiting: &&mut Waiting| {
                waiting.now == 0 && now.saturating_sub(waiting.since) >= NOTE_AFTER_MS
            };
            let mut front = partition.open.iter_mut();
            while let Some((offset, waiting)) = front.next().filter(|(_, w)| is_ripe(w))
                && places.len() < max
            {
                if waiting.note == Noting::Not {
                    (waiting.note, waiting.has_note) = (Noting::Asked, true);
                    places.push(Place { partition: *number, offset: *offset });
                }
            }
        }
        places
    }

    /// What to write of a place, where it is still to be noted.
    pub(crate) fn note(&self, place: Place) -> Option<Lines> {
        let partition = self.partitions.get(&place.partition)?;
        let waiting = partition.open.get(&place.offset).filter(|w| w.note == Noting::Asked)?;
        let waits = partition.receivers.iter().filter(|(_, l)| l.pending.contains(&place.offset));
        let lines = waits.map(|(name, _)| name.clone()).collect();
        Some(Lines { lines, is_over: waiting.is_over })
    }

    /// A place could not be noted; it is asked for again.
    pub(crate) fn not_noted(&mut self, place: Place) {
        if let Some(waiting) = self.waiting(place).filter(|one| one.note == Noting::Asked) {
            waiting.note = Noting::Not;
        }
    }

    /// What was asked for of a place is written, unless it is asked for anew: its offset may be
    /// committed.
    pub(crate) fn noted(&mut self, place: Place) {
        let Some(waiting) = self.waiting(place).filter(|one| one.note == Noting::Asked) else {
            return;
        };
        waiting.note = Noting::Written;
        if let Some(partition) = self.partitions.get_mut(&place.partition) {
            partition.advance();
        }
    }

    fn waiting(&mut self, place: Place) -> Option<&mut Waiting> {
        self.partitions.get_mut(&place.partition)?.open.get_mut(&place.offset)
    }

    /// What has come of notes, by place: what to write beside one, or nothing where it is done with.
    pub(crate) fn changes(&mut self) -> BTreeMap<Place, Option<Lines>> {
        std::mem::take(&mut self.changes)
    }

    /// It is resolved what a ticket tells of; it still waits.
    pub(crate) fn over(&mut self, ticket: u64) {
        let Some(place) = self.place(ticket) else { return };
        let Some(partition) = self.partitions.get_mut(&place.partition) else { return };
        if let Some(waiting) = partition.open.get_mut(&place.offset) {
            (waiting.is_over, waiting.note) = (true, Noting::Not);
        } else if let Some(noted) = partition.noted.get_mut(&place.offset) {
            noted.come.is_over = true;
            self.changes.insert(place, Some(noted.come.clone()));
        }
    }

    /// One receiver is done with a ticket, on the line that it is of. An unknown one, or one that is done, changes nothing.
    pub(crate) fn settle(&mut self, ticket: u64, receiver: &str) {
        let kind = ticket % LINES;
        let (ticket, receiver) = (ticket - kind, line(kind, receiver));
        let Some(place) = self.tickets.get(&ticket).copied() else { return };
        let Some(partition) = self.partitions.get_mut(&place.partition) else { return };
        if let Some(noted) = partition.noted.get_mut(&place.offset) {
            if !noted.lines.remove(&receiver) {
                return;
            }
            noted.come.lines.insert(receiver);
            let is_done = noted.lines.is_empty();
            self.changes.insert(place, (!is_done).then(|| noted.come.clone()));
            if is_done {
                partition.noted.remove(&place.offset);
                self.tickets.remove(&ticket);
            }
            return;
        }
        let Some(line) = partition.receivers.get_mut(&receiver) else { return };
        if !line.pending.remove(&place.offset) {
            return;
        }
        line.settle(place.offset);
        let Some(waiting) = partition.open.get_mut(&place.offset) else { return };
        if is_deferred(&receiver) {
            waiting.later -= 1;
        } else {
            waiting.now -= 1;
            partition.urgent -= usize::from(waiting.now == 0);
        }
        waiting.note = Noting::Not;
        let has_note = waiting.has_note;
        if waiting.now + waiting.later == 0 {
            partition.open.remove(&place.offset);
            self.tickets.remove(&ticket);
            if has_note {
                self.changes.insert(place, None);
            }
        }
        partition.advance();
    }

    /// What a receiver was to be told now is held for it.
    pub(crate) fn defer(&mut self, ticket: u64, receiver: &str) {
        let Some(place) = self.tickets.get(&(ticket - ticket % LINES)).copied() else { return };
        let Some(partition) = self.partitions.get_mut(&place.partition) else { return };
        let Some(direct) = partition.receivers.get_mut(receiver) else { return };
        if !direct.pending.remove(&place.offset) {
            return;
        }
        direct.settle(place.offset);
        partition.receivers.entry(line(HELD, receiver)).or_default().hold(place.offset);
        if let Some(waiting) = partition.open.get_mut(&place.offset) {
            waiting.now -= 1;
            waiting.later += 1;
            partition.urgent -= usize::from(waiting.now == 0);
        }
    }

    pub(crate) fn place(&self, ticket: u64) -> Option<Place> {
        self.tickets.get(&(ticket - ticket % LINES)).copied()
    }

    /// Decisions that receivers are to be told of now.
    pub(crate) fn open(&self) -> usize {
        self.partitions.values().map(|partition| partition.urgent).sum()
    }

    /// Decisions that wait for nothing but the end of a mute, or for nobody to acknowledge.
    pub(crate) fn held(&self) -> usize {
        self.tickets.len() - self.open()
    }

    pub(crate) fn reads(&self, partition: i32) -> bool {
        self.partitions.contains_key(&partition)
    }

    /// What may be committed, and what goes with it, by partition.
    pub(crate) fn resumes(&self) -> impl Iterator<Item = (i32, Resume)> {
        self.partitions.iter().map(|(number, partition)| (*number, partition.resume(self.log)))
    }
}

impl Partition {
    /// All before it is settled.
    fn safe(&self) -> i64 {
        self.open.first_key_value().map_or(self.next, |(offset, _)| *offset)
    }

    /// What is noted and has nothing open before it no longer waits here.
    fn advance(&mut self) {
        while let Some(first) = self.open.first_entry().filter(|e| e.get().note == Noting::Written)
        {
            let (offset, waiting) = first.remove_entry();
            let come = Lines { is_over: waiting.is_over, ..Lines::default() };
            let mut noted = Noted { come, ..Noted::default() };
            for (name, line) in &mut self.receivers {
                if line.pending.remove(&offset) {
                    line.settle(offset);
                    noted.lines.insert(name.clone());
                }
            }
            self.noted.insert(offset, noted);
        }
        self.trim();
    }

    /// Forgets what lies before the offset to commit.
    fn trim(&mut self) {
        let safe = self.safe();
        self.receivers.retain(|_, line| {
            while let Some(range) = line.settled.first_entry().filter(|range| *range.get() < safe) {
                range.remove();
            }
            !line.pending.is_empty() || !line.settled.is_empty()
        });
    }

    fn resume(&self, log: Option<i64>) -> Resume {
        let is_read_again = self.next >= self.reach;
        let pending = self.receivers.iter().filter(|(_, line)| !line.pending.is_empty());
        let mut resume = Resume {
            committed: self.safe(),
            next: self.next.max(self.before.next),
            pending: pending.map(|(name, line)| (name.clone(), line.ranges())).collect(),
            log: Logged { whole: if is_read_again { log } else { self.log }, coarse: self.log },
        };
        for (name, ranges) in &self.before.pending {
            let unread = ranges.iter().filter(|range| range.last >= self.next);
            let unread = unread.map(|range| Range { first: range.first.max(self.next), ..*range });
            let mut unread = unread.peekable();
            if unread.peek().is_some() {
                resume.pending.entry(name.clone()).or_default().extend(unread);
            }
        }
        resume
    }
}

impl Line {
    /// Joins the range before and the one behind, where nothing is pending in between.
    fn settle(&mut self, offset: i64) {
        let (mut first, mut last) = (offset, offset);
        if let Some((&start, &end)) = self.settled.range(..=offset).next_back()
            && (end >= offset || self.pending.range(end..offset).next().is_none())
        {
            (first, last) = (start, last.max(end));
        }
        if let Some((&start, &end)) = self.settled.range(offset + 1..).next()
            && self.pending.range(offset..start).next().is_none()
        {
            self.settled.remove(&start);
            last = end;
        }
        self.settled.insert(first, last);
    }

    /// What was settled is pending.
    fn hold(&mut self, offset: i64) {
        if let Some((&first, &last)) = self.settled.range(..=offset).next_back()
            && last >= offset
        {
            self.settled.remove(&first);
            if first < offset {
                self.settled.insert(first, offset - 1);
            }
            if last > offset {
                self.settled.insert(offset + 1, last);
            }
        }
        self.pending.insert(offset);
    }

    /// The pending offsets, cut where something settled lies in between.
    fn ranges(&self) -> Vec<Range> {
        let mut ranges: Vec<Range> = Vec::new();
        for offset in &self.pending {
            match ranges.last_mut() {
                Some(range) if self.settled.range(range.last..*offset).next().is_none() => {
                    range.last = *offset;
                }
                _ => ranges.push(Range { first: *offset, last: *offset }),
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests;
