//! What waits for one receiver, and which of it is tried when.
//!
//! Pure: time and waits come in as arguments. A notice that fails is tried again by its own
//! back-off while others go before it, so that one that the receiver chokes on holds up nobody.
//! Once two different notices have failed in a row the receiver itself is taken to be down, and
//! everything waits. Nothing is refused: the number of open decisions bounds what waits here.

use std::collections::{BTreeMap, VecDeque};

use super::route::Notice;
use super::transport::Done;

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
pub(crate) enum Next<W> {
    Try(Entry<W>),
    /// Nothing before this time.
    WaitUntil(i64),
    Idle,
}

#[derive(Debug)]
pub(crate) struct Backlog<W> {
    fresh: VecDeque<Entry<W>>,
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
            fresh: VecDeque::new(),
            again: BTreeMap::new(),
            next_seq: 0,
            paused_until: i64::MIN,
            failed: None,
            near_ms: give_up_ms / 24,
        }
    }

    pub(crate) fn push(&mut self, notice: Notice, waits: W) {
        self.next_seq += 1;
        let entry = Entry { notice, done: Done::default(), attempts: 0, waits, seq: self.next_seq };
        self.fresh.push_back(entry);
    }

    /// As [`Backlog::push`], for people: true when it has joined a notice that waits already.
    pub(crate) fn push_digest(&mut self, notice: Notice, waits: W) -> bool {
        if self.fresh.len() >= APART_MAX
            && let Some(last) = self.fresh.back_mut()
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
        while let Some(next) = self.fresh.front() {
            if next.notice.offered_at - entry.notice.offered_at > self.near_ms {
                break;
            }
            if let Some(next) = self.fresh.pop_front() {
                entry.notice.absorb(next.notice);
                joined += 1;
            }
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
            _ => self.fresh.pop_front().map_or(Next::Idle, Next::Try),
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

    /// Takes out what is past its time, wherever it waits, but only what has failed before or
    /// waits for a receiver that is failing: everything is tried at least once, or was hopeless.
    pub(crate) fn expired(&mut self, given_up_before: i64) -> Vec<Entry<W>> {
        if self.failed.is_none() {
            return Vec::new();
        }
        let old = |entry: &Entry<W>| entry.notice.offered_at < given_up_before;
        let mut expired = Vec::new();
        while self.fresh.front().is_some_and(old) {
            expired.extend(self.fresh.pop_front());
        }
        let keys: Vec<(i64, u64)> =
            self.again.iter().filter(|(_, entry)| old(entry)).map(|(key, _)| *key).collect();
        expired.extend(keys.iter().filter_map(|key| self.again.remove(key)));
        expired
    }
}

#[cfg(test)]
mod tests;
