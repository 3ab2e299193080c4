//! What waits for one receiver, and which of it is tried when.
//!
//! Pure: time and waits come in as arguments. A notice that fails is tried again by its own
//! back-off while others go before it, so that one that the receiver chokes on holds up nobody.
//! Once two different notices have failed in a row the receiver itself is taken to be down, and
//! everything waits. Nothing is refused: the number of open decisions bounds what waits here.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::notice::Notice;
use super::transport::Done;
use crate::rule::Severity;

/// Notices for people that wait one by one; what comes on top joins the last of them.
const APART_MAX: usize = 100;

/// A notice and what its attempts have come to.
#[derive(Debug)]
pub(crate) struct Entry<W> {
    pub(crate) notice: Notice,
    /// Which of its parts are behind us.
    pub(crate) done: Done,
    pub(crate) attempts: u32,
    /// Its own back-off.
    pub(crate) waits: W,
    seq: u64,
}

/// What is to be done now.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
pub(crate) enum Next<W> {
    Try(Entry<W>),
    /// Nothing before this time.
    WaitUntil(i64),
    Idle,
}

/// What is critical does not wait behind what is not, when a receiver is back.
type Rank = (Reverse<Option<Severity>>, u64);

#[derive(Debug)]
pub(crate) struct Backlog<W> {
    /// The gravest first, and of those the oldest.
    fresh: BTreeMap<Rank, Entry<W>>,
    /// No notice in `fresh` was offered before.
    oldest_at: i64,
    /// By time of the next attempt.
    again: BTreeMap<(i64, u64), Entry<W>>,
    next_seq: u64,
    paused_until: i64,
    /// The notice that failed last, unless one has succeeded since.
    failed: Option<u64>,
    /// How long one notice may take in another without changing when it is given up.
    near_ms: i64,
}

impl<W> Backlog<W> {
    pub(crate) fn new(give_up_ms: i64) -> Backlog<W> {
        Backlog {
            fresh: BTreeMap::new(),
            oldest_at: i64::MAX,
            again: BTreeMap::new(),
            next_seq: 0,
            paused_until: i64::MIN,
            failed: None,
            near_ms: give_up_ms / 24,
        }
    }

    pub(crate) fn push(&mut self, notice: Notice, waits: W) {
        self.next_seq += 1;
        self.oldest_at = self.oldest_at.min(notice.offered_at);
        let rank = (Reverse(gravest(&notice)), self.next_seq);
        let entry = Entry { notice, done: Done::default(), attempts: 0, waits, seq: self.next_seq };
        self.fresh.insert(rank, entry);
    }

    /// As [`Backlog::push`], for people: true when it has joined a notice that waits already.
    pub(crate) fn push_digest(&mut self, notice: Notice, waits: W) -> bool {
        let is_full = self.fresh.len() >= APART_MAX;
        let severity = Reverse(gravest(&notice));
        let mut alike = self.fresh.range_mut((severity, 0)..=(severity, u64::MAX));
        let last = alike.next_back().map(|(_, last)| last);
        if let Some(last) = last.filter(|_| is_full)
            && notice.offered_at - last.notice.offered_at <= self.near_ms
        {
            last.notice.absorb(notice);
            return true;
        }
        self.push(notice, waits);
        false
    }

    /// Takes what waits and was never tried into `entry`; answers how many notices that were.
    pub(crate) fn digest_into(&mut self, entry: &mut Entry<W>) -> usize {
        if entry.attempts > 0 {
            return 0;
        }
        let mut joined = 0;
        let (near_ms, offered_at) = (self.near_ms, entry.notice.offered_at);
        let near =
            |_: &Rank, next: &mut Entry<W>| (next.notice.offered_at - offered_at).abs() <= near_ms;
        for (_, next) in self.fresh.extract_if(.., near) {
            entry.notice.absorb(next.notice);
            joined += 1;
        }
        joined
    }

    /// What failed goes first once its wait is over: it has waited longest.
    pub(crate) fn next(&mut self, now_ms: i64) -> Next<W> {
        let again_at = self.again.first_key_value().map(|((at, _), _)| *at);
        if self.fresh.is_empty() && again_at.is_none() {
            return Next::Idle;
        }
        if now_ms < self.paused_until {
            return Next::WaitUntil(self.paused_until);
        }
        match again_at {
            Some(at) if at <= now_ms || self.fresh.is_empty() => {
                if at > now_ms {
                    return Next::WaitUntil(at.max(self.paused_until));
                }
                self.again.pop_first().map_or(Next::Idle, |(_, entry)| Next::Try(entry))
            }
            _ => self.fresh.pop_first().map_or(Next::Idle, |(_, entry)| Next::Try(entry)),
        }
    }

    /// The receiver took something.
    pub(crate) fn arrived(&mut self) {
        self.failed = None;
        self.paused_until = i64::MIN;
    }

    /// The attempt failed. True when the receiver is taken to be down, and is to be paused.
    pub(crate) fn failing(&mut self, entry: &Entry<W>) -> bool {
        let down = self.failed.is_some_and(|seq| seq != entry.seq);
        self.failed = Some(entry.seq);
        down
    }

    pub(crate) fn pause_until(&mut self, at: i64) {
        self.paused_until = at;
    }

    /// To be tried again, not before `at`.
    pub(crate) fn put_back(&mut self, entry: Entry<W>, at: i64) {
        self.again.insert((at, entry.seq), entry);
    }

    /// Takes out all that waits, but what has arrived in part, in the order in which it would go;
    /// each with the time before which it is not to be tried.
    pub(crate) fn recall(&mut self) -> Vec<(i64, Entry<W>)> {
        let begun = |entry: &Entry<W>| entry.done.parts() > 0;
        let again = self.again.extract_if(.., |_, entry| !begun(entry));
        let mut recalled: Vec<(i64, Entry<W>)> =
            again.map(|((at, _), entry)| (at, entry)).collect();
        recalled.extend(std::mem::take(&mut self.fresh).into_values().map(|one| (i64::MIN, one)));
        self.oldest_at = i64::MAX;
        // Should it come back and fail, it is the same one.
        self.failed.take_if(|failed| recalled.iter().any(|(_, entry)| entry.seq == *failed));
        recalled
    }

    /// What was taken out after so many attempts goes on as it was.
    pub(crate) fn push_again(&mut self, notice: Notice, waits: W, (attempts, at): (u32, i64)) {
        self.next_seq += 1;
        let entry = Entry { notice, done: Done::default(), attempts, waits, seq: self.next_seq };
        self.put_back(entry, at);
    }

    /// Takes out what is past its time, wherever it waits, but only what has failed before or
    /// waits for a receiver that is failing: everything is tried at least once, or was hopeless.
    pub(crate) fn expired(&mut self, given_up_before: i64) -> Vec<Entry<W>> {
        if self.failed.is_none() {
            return Vec::new();
        }
        let old = |entry: &Entry<W>| entry.notice.offered_at < given_up_before;
        let mut expired = Vec::new();
        if self.oldest_at < given_up_before {
            let gone = self.fresh.extract_if(.., |_, entry| old(entry));
            expired.extend(gone.map(|(_, entry)| entry));
            let ages = self.fresh.values().map(|entry| entry.notice.offered_at);
            self.oldest_at = ages.min().unwrap_or(i64::MAX);
        }
        let keys: Vec<(i64, u64)> =
            self.again.iter().filter(|(_, entry)| old(entry)).map(|(key, _)| *key).collect();
        expired.extend(keys.iter().filter_map(|key| self.again.remove(key)));
        expired
    }
}

fn gravest(notice: &Notice) -> Option<Severity> {
    notice.decisions.iter().map(|decision| decision.severity).max()
}

#[cfg(test)]
mod tests;
