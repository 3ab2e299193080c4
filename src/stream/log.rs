//! The narrow view of a log that the worker runs over.

use std::sync::Arc;

/// A topic and one of its partitions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub topic: Arc<str>,
    pub partition: i32,
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub place: Place,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp_ms: Option<i64>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A record to be written; `partition: None` leaves the choice to the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Produce {
    pub topic: Arc<str>,
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp_ms: Option<i64>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Outputs and the next offset of every input, committed together or not at all.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    pub outputs: &'a [Produce],
    pub offsets: &'a [(Place, i64)],
}

/// What a poll brought.
#[derive(Debug)]
pub enum Polled {
    Nothing,
    Entry(Entry),
    /// Not read from until [`Log::assign`] names where to start.
    Assigned(Vec<Place>),
    /// `lost`: owned by another already, so nothing more can be committed for it.
    Revoked {
        places: Vec<Place>,
        lost: bool,
    },
}

/// What the worker must do about a failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Make the same call again.
    #[error("try again: {0}")]
    Retriable(String),
    /// The transaction is void; keep state and outbox, and commit again later.
    #[error("transaction aborted: {0}")]
    Abortable(String),
    /// Build a new log and restore.
    #[error("log lost: {0}")]
    Fatal(String),
}

/// Input records, committed offsets and atomic commits of one worker.
pub trait Log {
    /// Wait at most `wait_ms` for the next record or rebalance.
    fn poll(&mut self, wait_ms: u64) -> Result<Polled, Failure>;
    /// Read `places` from these offsets on.
    fn assign(&mut self, places: &[(Place, i64)]) -> Result<(), Failure>;
    /// Give `places` back after [`Polled::Revoked`].
    fn unassign(&mut self, places: &[Place]) -> Result<(), Failure>;
    /// Next offset the group would read; `None` where it has committed nothing.
    fn committed(&mut self, place: &Place) -> Result<Option<i64>, Failure>;
    /// The first offset that the log still holds.
    fn low_watermark(&mut self, place: &Place) -> Result<i64, Failure>;
    /// Write outputs and offsets in one transaction.
    fn commit(&mut self, batch: &Batch<'_>) -> Result<(), Failure>;
}
