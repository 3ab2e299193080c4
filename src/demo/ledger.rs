//! What was laid into the stream, and what of it the decisions found.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::engine::Decision;
use crate::generate::score::{Score, Table, Verdict};
use crate::generate::{Label, Stream};

/// One stream from its first event on.
#[derive(Debug)]
struct Round {
    from: i64,
    labels: Vec<Label>,
    score: Score,
    /// Event time of the last line sent.
    at: i64,
}

/// Keeps the score, round by round.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    rounds: Vec<Round>,
    /// The stand-in shows what was aborted and written again.
    seen: BTreeSet<String>,
    pub(super) rules: BTreeMap<String, u64>,
    /// Decisions that somebody is to be told of.
    pub(super) alerts: u64,
}

/// What came of the episodes of all rounds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Tally {
    pub rounds: usize,
    /// Episodes of abuse that were sent to their end.
    pub injected: usize,
    pub caught: usize,
    pub missed: usize,
    /// Legitimate look-alikes that were frozen.
    pub frozen: usize,
    /// Episodes that an early end cut off.
    pub unsent: usize,
    /// Of the last round that was sent to its end, or else of the one under way.
    pub table: Option<Table>,
}

impl Ledger {
    /// To be told before the first line of a stream is sent.
    pub(super) fn begin(&mut self, stream: &Stream, from: i64) {
        let labels = stream.labels().to_vec();
        let score = Score::new(labels.clone());
        self.rounds.push(Round { from, labels, score, at: i64::MIN });
    }

    pub(super) fn sent(&mut self, at: i64) {
        if let Some(round) = self.rounds.last_mut() {
            round.at = at;
        }
    }

    /// All episodes of the stream have been sent.
    pub(super) fn finish(&mut self) {
        self.sent(i64::MAX);
    }

    /// False for one that was seen before.
    pub(super) fn add(&mut self, decision: &Decision) -> bool {
        if !self.seen.insert(decision.id.clone()) {
            return false;
        }
        *self.rules.entry(decision.rule.clone()).or_default() += 1;
        self.alerts += u64::from(decision.alert.is_some() && decision.mode == "live");
        let round = self.rounds.iter_mut().rev().find(|round| round.from <= decision.ts.0);
        if let Some(round) = round {
            round.score.add(decision);
        }
        true
    }

    pub(super) fn decisions(&self) -> u64 {
        self.seen.len() as u64
    }

    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally { rounds: self.rounds.len(), ..Tally::default() };
        for round in &self.rounds {
            let table = round.table();
            tally.unsent += round.labels.len() - table.rows.len();
            tally.injected += table.injected();
            tally.caught += table.count(Verdict::Caught);
            tally.missed += table.count(Verdict::Missed);
            tally.frozen += table.count(Verdict::Frozen);
            let whole = table.rows.len() == round.labels.len();
            if whole || tally.table.is_none() {
                tally.table = Some(table);
            }
        }
        tally
    }
}

impl Round {
    /// Without the episodes that have not been sent to their end: nobody could find them.
    fn table(&self) -> Table {
        let mut table = self.score.table().clone();
        let mut labels = self.labels.iter();
        table.rows.retain(|_| labels.next().is_some_and(|label| label.to <= self.at));
        table
    }
}
