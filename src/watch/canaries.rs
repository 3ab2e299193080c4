//! Which canaries are out, and which have come back. Pure.
//!
//! They go out in rounds, one to each partition that the instance owns and whose state is there, and
//! a round is through when all of it is. A partition that does not work keeps every round from being
//! through.

use std::collections::{BTreeMap, VecDeque};

/// The rounds that are out.
#[derive(Debug)]
pub struct Canaries {
    /// Before every id: never the same for two processes.
    name: String,
    interval_ms: i64,
    patience_ms: i64,
    due_at_ms: i64,
    number: u64,
    rounds: VecDeque<Round>,
}

#[derive(Debug)]
struct Round {
    sent_at_ms: i64,
    /// It went to every partition that there is.
    is_of_all: bool,
    /// By id.
    out: BTreeMap<String, i32>,
}

/// One that has come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Back {
    pub took_ms: i64,
    /// It was the last of its round.
    pub is_whole: bool,
    /// Which went to every partition of the instance, and not only to those whose state is there.
    pub is_of_all: bool,
}

impl Canaries {
    /// The first round is due at once. `patience_ms` is how long one is waited for.
    pub fn new(name: String, interval_ms: i64, patience_ms: i64) -> Canaries {
        Canaries {
            name,
            interval_ms,
            patience_ms,
            due_at_ms: i64::MIN,
            number: 0,
            rounds: VecDeque::new(),
        }
    }

    pub fn is_due(&self, now_ms: i64) -> bool {
        now_ms >= self.due_at_ms
    }

    /// Whether any is out.
    pub fn waits(&self) -> bool {
        !self.rounds.is_empty()
    }

    /// No round now; the next one after an interval.
    pub fn skip(&mut self, now_ms: i64) {
        self.due_at_ms = now_ms.saturating_add(self.interval_ms);
    }

    /// A round to these partitions, which are all or not: the id for each.
    pub fn begin(
        &mut self,
        partitions: &[i32],
        is_of_all: bool,
        now_ms: i64,
    ) -> Vec<(i32, String)> {
        self.skip(now_ms);
        self.number += 1;
        let id = |partition: &i32| format!("{}-{}-{partition}", self.name, self.number);
        let ids: Vec<(i32, String)> = partitions.iter().map(|at| (*at, id(at))).collect();
        let out = ids.iter().map(|(partition, id)| (id.clone(), *partition)).collect();
        self.rounds.push_back(Round { sent_at_ms: now_ms, is_of_all, out });
        ids
    }

    /// One of them has come through; `None` when it is none of ours, or was given up.
    pub fn hear(&mut self, id: &str, now_ms: i64) -> Option<Back> {
        let at = self.rounds.iter().position(|round| round.out.contains_key(id))?;
        let round = self.rounds.get_mut(at)?;
        round.out.remove(id);
        let took_ms = now_ms.saturating_sub(round.sent_at_ms).max(0);
        let (is_whole, is_of_all) = (round.out.is_empty(), round.is_of_all);
        if is_whole {
            self.rounds.remove(at);
        }
        Some(Back { took_ms, is_whole, is_of_all })
    }

    /// Lets go of those to partitions of which nobody here works now: their state is being restored,
    /// or others have them.
    pub fn keep(&mut self, partitions: &[i32]) {
        for round in &mut self.rounds {
            let sent = round.out.len();
            round.out.retain(|_, partition| partitions.contains(partition));
            round.is_of_all &= round.out.len() == sent;
        }
        self.rounds.retain(|round| !round.out.is_empty());
    }

    /// Gives up those that have been out for too long; their partitions.
    pub fn give_up(&mut self, now_ms: i64) -> Vec<i32> {
        let mut lost = Vec::new();
        while let Some(round) = self.rounds.front()
            && now_ms.saturating_sub(round.sent_at_ms) >= self.patience_ms
        {
            lost.extend(round.out.values());
            self.rounds.pop_front();
        }
        lost
    }
}

#[cfg(test)]
mod tests;
