//! Questions to the workers of an instance, which they answer between two polls (C5): the state
//! stays on its thread, and whoever asks waits, not the stream.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::engine::Plan;
use crate::engine::explain::{Answer, Question};
use crate::engine::impact::RuleImpact;
use crate::stream::shared::lock;

/// What somebody wants to know.
#[derive(Debug, Clone)]
pub struct Asked {
    pub question: Question,
    /// The record of the event that it is about.
    pub event: Option<Vec<u8>>,
}

/// What a worker knows.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// One for each of its partitions that is restored.
    pub answers: Vec<Answer>,
    /// Partitions of the events topic that answered.
    pub partitions: Vec<i32>,
    /// Partitions of the events topic whose state is being rebuilt.
    pub restoring: Vec<i32>,
}

/// What a worker's counters say of another rule set.
#[derive(Debug, Clone, Default)]
pub struct Surveyed {
    /// One for each of its partitions.
    pub impacts: Vec<Vec<RuleImpact>>,
    /// Partitions of the events topic that were looked at.
    pub partitions: Vec<i32>,
    /// Partitions of the events topic whose state is being rebuilt.
    pub restoring: Vec<i32>,
}

/// A question, and where its answer goes.
#[derive(Debug)]
pub(crate) enum Ask {
    Why(Asked, oneshot::Sender<Told>),
    Impact(Arc<Plan>, oneshot::Sender<Surveyed>),
}

/// Questions that wait for one worker.
#[derive(Debug, Default)]
pub struct Asks {
    waiting: Mutex<Vec<Ask>>,
    any: AtomicBool,
}

/// Questions that wait for a worker at most; more are turned away.
const WAITING_MAX: usize = 64;

impl Asks {
    /// Puts a question. The receiver fails where the worker goes before it answers, or has too
    /// many to answer.
    pub fn put(&self, asked: Asked) -> oneshot::Receiver<Told> {
        let (sender, receiver) = oneshot::channel();
        self.add(Ask::Why(asked, sender));
        receiver
    }

    /// Asks whom a rule set would hit; fails as [`Asks::put`] does.
    pub fn put_rules(&self, plan: Arc<Plan>) -> oneshot::Receiver<Surveyed> {
        let (sender, receiver) = oneshot::channel();
        self.add(Ask::Impact(plan, sender));
        receiver
    }

    fn add(&self, ask: Ask) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() < WAITING_MAX {
            waiting.push(ask);
            self.any.store(true, Ordering::Release);
        }
    }

    /// What waits; costs a load where nothing does.
    pub(crate) fn take(&self) -> Vec<Ask> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut waiting = lock(&self.waiting);
        self.any.store(false, Ordering::Release);
        std::mem::take(&mut waiting)
    }
}
