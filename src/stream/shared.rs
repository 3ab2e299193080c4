//! What a worker shares with other threads: what it looks like, and the decisions it committed
//! last.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Decisions kept for the status page.
const RECENT_MAX: usize = 100;

/// Where a worker is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not yet a member of the group.
    #[default]
    Joining,
    /// Has partitions whose state is being rebuilt.
    Restoring,
    Running,
    /// Cannot go on without help; the reason says why.
    Stuck,
    Stopped,
}

/// One partition as a worker sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionView {
    pub topic: String,
    pub partition: i32,
    pub next: i64,
    pub committed: i64,
    pub lag: Option<i64>,
    /// Milliseconds since the epoch.
    pub watermark: Option<i64>,
    pub keys: usize,
    pub bytes: usize,
    pub restored: bool,
    /// Rules of the set in force that do not act here yet, and how far they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warming: Option<Warming>,
}

/// Rules that are made ready from the log (R18).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warming {
    pub rules: Vec<String>,
    /// Of the log that they have to read, 0 to 100.
    pub percent: u8,
}

/// A worker as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct WorkerView {
    pub slot: String,
    pub state: Phase,
    /// Why it is not running, in words.
    pub reason: Option<String>,
    /// Why changes by people cannot be read.
    pub control: Option<String>,
    /// When the broker last answered, by [`Clock::now_us`](crate::stream::Clock::now_us); 0 where
    /// it has not.
    #[serde(skip)]
    pub contact_us: i64,
    /// While it does nothing but read snapshots: how many segments it has read.
    #[serde(skip)]
    pub loading: Option<u64>,
    pub partitions: Vec<PartitionView>,
}

/// The decisions committed last, as they were written.
#[derive(Debug, Default)]
pub struct Recent {
    decisions: Mutex<VecDeque<Vec<u8>>>,
}

impl Recent {
    pub fn push(&self, decision: Vec<u8>) {
        let mut decisions = lock(&self.decisions);
        if decisions.len() == RECENT_MAX {
            decisions.pop_front();
        }
        decisions.push_back(decision);
    }

    /// The newest first.
    pub fn all(&self) -> Vec<serde_json::Value> {
        let decisions = lock(&self.decisions);
        decisions.iter().rev().filter_map(|text| serde_json::from_slice(text).ok()).collect()
    }
}

/// Frees in a thread of its own what takes long to free.
pub(crate) fn let_go(name: &str, thing: impl Send + 'static) {
    // Without a thread it is freed here.
    drop(std::thread::Builder::new().name(format!("free-{name}")).spawn(move || drop(thing)));
}

/// A thread that panicked while it held the lock left plain data behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
