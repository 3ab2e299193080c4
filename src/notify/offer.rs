//! A decision on its way into the router: when it came, and what is known of it. Pure.

use super::notice::Shares;
use super::route::Router;
use crate::engine::{Decision, Subject};

pub(super) struct Offer<'a> {
    pub(super) decision: &'a Decision,
    pub(super) subject: Subject<'a>,
    pub(super) ticket: u64,
    pub(super) now: i64,
    /// When the record was written, where it is read again.
    pub(super) written_at: Option<i64>,
    /// When it was committed.
    pub(super) decided_at: i64,
    pub(super) told: &'a dyn Fn(&str) -> bool,
}

impl Offer<'_> {
    /// Since when it waits.
    pub(super) fn at(&self) -> i64 {
        self.written_at.map_or(self.now, |at| at.min(self.now))
    }
}

impl Router {
    /// Takes a decision in. The shares are empty for what does not notify (shadow, no `alert`)
    /// and for what has no receiver.
    pub fn offer(&mut self, decision: &Decision, ticket: u64, now_ms: i64) -> Shares {
        self.offer_written(decision, ticket, (now_ms, now_ms))
    }

    /// The same, of one that was written a moment ago: its delay counts from then.
    pub(super) fn offer_written(
        &mut self,
        decision: &Decision,
        ticket: u64,
        (now, written_at): (i64, i64),
    ) -> Shares {
        let subject = Subject::of(decision);
        let told = &|_: &str| false;
        let decided_at = written_at.min(now);
        self.take(&Offer { decision, subject, ticket, now, written_at: None, decided_at, told })
    }

    /// Takes in a decision that was read before a restart and was written at `written_at`, `told`
    /// being which of its lines are behind us.
    pub fn offer_again(
        &mut self,
        decision: &Decision,
        ticket: u64,
        (now_ms, written_at): (i64, i64),
        told: impl Fn(&str) -> bool,
    ) -> Shares {
        let subject = Subject::of(decision);
        let decided_at = written_at.min(now_ms);
        self.take(&Offer {
            decision,
            subject,
            ticket,
            now: now_ms,
            written_at: Some(written_at),
            decided_at,
            told: &told,
        })
    }
}
