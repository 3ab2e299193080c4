//! What leaves at once, before the transaction that commits what it came of: `at_least_once`.
//!
//! The ids of decisions and commands are those of a replay, so that whatever is written again after
//! a crash can be told. That takes two things. Nothing leaves that rests on what a crash would undo:
//! changes by people, the start of a state, and what goes beyond a bound wait for the transaction,
//! as does all that comes after. And nothing leaves unless a commit has lately proved that the
//! partitions are still this worker's.

use std::collections::VecDeque;

use crate::stream::bench::Outbox;
use crate::stream::worker::Worker;
use crate::stream::{Clock, Failure, Log};

/// How long a commit proves that the partitions are this worker's. A member that is not heard of
/// keeps them for its session time-out, 6 s, less the second between two signs of life.
const PROVEN_US: i64 = 3_000_000;
/// A commit is due after so long, whether or not there is anything new.
const PROVE_US: i64 = 1_000_000;
/// No more comes in while so many outputs are on their way.
const MOST: usize = 10_000;
/// A transaction waits so long for what is on its way.
pub(super) const WRITTEN_MS: u64 = 1_000;

/// When outputs leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// With the transaction that commits what they came of.
    #[default]
    ExactlyOnce,
    /// Decisions and commands at once; after a crash some come again, with the same ids.
    AtLeastOnce,
}

/// Outputs that have left and are not known to be written.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    /// As they left, the first first.
    groups: VecDeque<Outbox>,
    outputs: usize,
    /// Groups that are written.
    written: u64,
    /// When a commit was begun that proved whose the partitions are.
    proven_us: Option<i64>,
}

impl UnderWay {
    /// Groups that have left so far.
    pub(super) fn left(&self) -> u64 {
        self.written + self.groups.len() as u64
    }

    /// Of those, the ones that are written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Forgets what has left: it is nobody's any more, and so are the partitions.
    pub(super) fn forget(&mut self) {
        *self = UnderWay::default();
    }

    pub(super) fn is_full(&self) -> bool {
        self.outputs >= MOST
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn prove(&mut self, since_us: i64) {
        self.proven_us = Some(since_us);
    }
}

impl<L: Log, C: Clock> Worker<L, C> {
    /// Whether outputs may leave now.
    pub(super) fn may_send(&self, now_us: i64) -> bool {
        let proven_us = self.under_way.proven_us;
        self.settings.delivery == Delivery::AtLeastOnce
            && proven_us.is_some_and(|since_us| now_us - since_us < PROVEN_US)
            && !self.holds_messages()
    }

    /// Whether a commit is due that says nothing but whose the partitions are.
    pub(super) fn has_to_prove(&self, now_us: i64) -> bool {
        self.settings.delivery == Delivery::AtLeastOnce
            && self.under_way.proven_us.is_none_or(|since_us| now_us - since_us >= PROVE_US)
    }

    /// Hands over what leaves at once, and counts what is written of it.
    pub(super) fn send(&mut self) -> Result<(), Failure> {
        if !self.bench.leaving.is_empty() {
            match self.log.send(&self.bench.leaving.outputs) {
                Ok(()) => {
                    let group = std::mem::take(&mut self.bench.leaving);
                    self.under_way.outputs += group.outputs.len();
                    self.under_way.groups.push_back(group);
                }
                Err(Failure::Retriable(reason)) => {
                    tracing::debug!(slot = %self.settings.slot, reason, "outputs wait");
                }
                Err(failure) => return Err(failure),
            }
        }
        self.count_written(0).map(drop)
    }

    /// True when all that leaves at once is written.
    pub(super) fn is_all_written(&mut self) -> Result<bool, Failure> {
        self.send()?;
        Ok(self.bench.leaving.is_empty() && self.count_written(WRITTEN_MS)?)
    }

    /// Counts what is written; true when all is that has left.
    fn count_written(&mut self, wait_ms: u64) -> Result<bool, Failure> {
        if self.under_way.is_empty() {
            return Ok(true);
        }
        let open = match self.log.unwritten(wait_ms) {
            Ok(open) => open,
            Err(Failure::Retriable(_)) => return Ok(false),
            Err(failure) => return Err(failure),
        };
        while let Some(first) = self.under_way.groups.front()
            && self.under_way.outputs - first.outputs.len() >= open
            && let Some(group) = self.under_way.groups.pop_front()
        {
            self.under_way.outputs -= group.outputs.len();
            self.under_way.written += 1;
            self.count(&group);
        }
        Ok(self.under_way.is_empty())
    }
}
