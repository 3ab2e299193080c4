//! Which decisions have been offered, who is still to be told, and what may be committed.
//!
//! Pure. One ticket per decision that somebody waits for; it stays open until each of its
//! receivers is settled: told, or given up with the dead letter written. Memory follows the
//! number of open tickets, which whoever reads the topic bounds by pausing.

use std::collections::{BTreeMap, BTreeSet};

use super::notice::{HELD, LINES, Shares, is_deferred, is_reminder, line};
use super::resume::{Logged, Range, Resume};
use super::told::Told;

/// So far back in a partition, records, does what is still to be told again keep an offset from being
/// committed: a restart reads that again, in a few seconds.
const REMINDED_BACK: i64 = 100_000;

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
    /// Behind the last record of that log whose notice is settled here.
    log: Option<i64>,
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
    receivers: BTreeMap<String, Line>,
}

/// How many lines of a decision wait.
#[derive(Debug, Default)]
struct Waiting {
    /// For a receiver to take the notice.
    now: usize,
    /// For a mute to end, or for somebody not to acknowledge.
    later: usize,
    /// Of those, how many to say again what still fires.
    reminders: usize,
    ticket: u64,
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
        self.log = log;
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
        self.log = self.log.max(Some(offset + 1));
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
    pub(crate) fn offer(&mut self, place: Place, ticket: u64, shares: Shares) {
        let partition = self.partitions.entry(place.partition).or_default();
        if place.offset < partition.next {
            self.tickets.retain(|_, open| open.partition != place.partition);
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
        let reminders = shares.waiting.iter().filter(|line| is_reminder(line)).count();
        let now = shares.waiting.len() - later;
        partition.urgent += usize::from(now > 0);
        partition.open.insert(place.offset, Waiting { now, later, reminders, ticket });
        for receiver in shares.waiting {
            partition.receivers.entry(receiver).or_default().pending.insert(place.offset);
        }
        self.tickets.insert(ticket, place);
    }

    /// Lets go of what lies far back and is only told again as long as it fires: whoever remembers it
    /// tells it, but a restart forgets it.
    pub(crate) fn let_go(&mut self) {
        for partition in self.partitions.values_mut() {
            while let Some(ticket) = partition.let_go() {
                self.tickets.remove(&ticket);
            }
        }
    }

    /// One receiver is done with a ticket, on the line that it is of. An unknown one, or one that is done, changes nothing.
    pub(crate) fn settle(&mut self, ticket: u64, receiver: &str) {
        let kind = ticket % LINES;
        let (ticket, receiver) = (ticket - kind, line(kind, receiver));
        let Some(place) = self.tickets.get(&ticket).copied() else { return };
        let Some(partition) = self.partitions.get_mut(&place.partition) else { return };
        let Some(line) = partition.receivers.get_mut(&receiver) else { return };
        if !line.pending.remove(&place.offset) {
            return;
        }
        line.settle(place.offset);
        if let Some(waiting) = partition.open.get_mut(&place.offset) {
            if is_deferred(&receiver) {
                waiting.later -= 1;
                waiting.reminders -= usize::from(is_reminder(&receiver));
            } else {
                waiting.now -= 1;
                partition.urgent -= usize::from(waiting.now == 0);
            }
            if waiting.now + waiting.later == 0 {
                partition.open.remove(&place.offset);
                self.tickets.remove(&ticket);
                partition.trim();
            }
        }
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

    /// The ticket of the oldest that waits, if it lies far back and nothing of it would be lost.
    fn let_go(&mut self) -> Option<u64> {
        let (&offset, waiting) = self.open.first_key_value()?;
        let is_far = self.next - offset > REMINDED_BACK;
        if !is_far || waiting.now > 0 || waiting.later > waiting.reminders {
            return None;
        }
        let ticket = waiting.ticket;
        for (_, line) in self.receivers.iter_mut().filter(|(name, _)| is_reminder(name)) {
            if line.pending.remove(&offset) {
                line.settle(offset);
            }
        }
        self.open.remove(&offset);
        self.trim();
        Some(ticket)
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
