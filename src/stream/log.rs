//! The narrow view of a log that the worker runs over. Two implementations: Kafka, and one in
//! memory with faults for the simulation.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The topics a worker reads. Partition p of both lands on the same worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    Events,
    Partials,
}

/// A partition of an input topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub source: Source,
    pub partition: i32,
}

/// A header: name and value.
pub type Header = (String, Option<Vec<u8>>);

/// The headers of a record, read only when somebody asks.
pub trait Headers: std::fmt::Debug {
    fn read(&self) -> Vec<Header>;
}

/// A record as it was read, borrowed from the log's buffer.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub place: Place,
    pub offset: i64,
    /// Milliseconds since the epoch, where the record has a timestamp.
    pub timestamp_ms: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a dyn Headers,
}

impl Record<'_> {
    /// Tells the record from another one at the same offset of a log of the same name.
    pub fn fingerprint(&self) -> u64 {
        let key = self.key.map_or(0, xxh3_64);
        let timestamp = self.timestamp_ms.unwrap_or(-1).cast_unsigned();
        let seed = key.rotate_left(17) ^ timestamp;
        self.value.map_or(seed, |value| xxh3_64_with_seed(value, seed))
    }
}

/// What a poll brings, in order.
#[derive(Debug, Clone, Copy)]
pub enum Polled<'a> {
    Record(Record<'a>),
    /// The partition is read to its end, which is at this offset.
    End(Place, i64),
}

impl Polled<'_> {
    /// The partition it is about.
    pub fn place(&self) -> Place {
        match self {
            Polled::Record(record) => record.place,
            Polled::End(place, _) => *place,
        }
    }
}

/// Takes what a poll brings, some at a time: enough to look ahead, in order.
pub type Visit<'a> = dyn FnMut(&[Polled<'_>]) + 'a;

/// A change of assignment, to be acted on between two polls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebalance {
    /// All partitions the worker now has. Not read from until [`Log::assign`] says where to start.
    Assigned(Vec<Place>),
    /// All partitions are taken away. `lost`: somebody else may own them already, so that
    /// nothing more can be committed for them.
    Revoked { lost: bool },
}

/// The topics a worker writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sink {
    Partials,
    Decisions,
    Commands,
    Accounts,
    Quarantine,
    Journal,
    Daily,
}

/// A record to be written; `partition: None` leaves the choice to the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Produce {
    pub sink: Sink,
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp_ms: Option<i64>,
    pub headers: Vec<Header>,
}

/// How far a group has come with an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Offset of the next record.
    pub next: i64,
    /// What came of records before this offset the owners of keys that cross partitions have been
    /// told; at most `next`.
    pub told: i64,
}

impl Progress {
    /// All that came before `next` is told.
    pub fn at(next: i64) -> Progress {
        Progress { next, told: next }
    }
}

/// Outputs and how far every input has come, committed together or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    pub outputs: Vec<Produce>,
    pub progress: Vec<(Place, Progress)>,
}

/// The topics that every worker reads whole, beside its inputs: one partition each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Changes by people.
    Control,
    /// Where each partition took them in.
    Journal,
}

/// A record of a side topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideRecord {
    pub offset: i64,
    /// `None` where the value was deleted.
    pub value: Option<Vec<u8>>,
}

/// What the worker must do about a failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing happened; make the same call again later.
    #[error("{0}")]
    Retriable(String),
    /// The transaction is void; keep state and outbox, and commit again later.
    #[error("transaction aborted: {0}")]
    Aborted(String),
    /// The transaction is void because these outputs (by index) are larger than the broker takes.
    #[error("the broker takes no records of this size")]
    TooLarge(Vec<usize>),
    /// Build a new log and restore.
    #[error("{0}")]
    Fatal(String),
    /// Fenced: another instance seems to run under the same name. Build a new log; when this comes
    /// again and again, end.
    #[error("fenced: {0}")]
    Replaced(String),
}

/// First offset still held, and the offset behind the last record a reader can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub low: i64,
    pub high: i64,
}

/// What can be asked of a log beside reading on in it. Each question waits for its answer.
pub trait Lookup {
    fn bounds(&mut self, place: Place) -> Result<Bounds, Failure>;
    /// Offset of the first record whose timestamp, in milliseconds since the epoch, is not before
    /// `ms`; where there is none, one behind the last record.
    fn since(&mut self, place: Place, ms: i64) -> Result<i64, Failure>;
    /// [`Record::fingerprint`] of the record at an offset; `None` where there is none.
    fn fingerprint(&mut self, place: Place, offset: i64) -> Result<Option<u64>, Failure>;
    /// A side topic from an offset on: everything that was committed before the call.
    fn whole(&mut self, side: Side, from: i64) -> Result<Vec<SideRecord>, Failure>;
}

/// The answer to what is asked of a log in another thread.
#[derive(Debug)]
pub struct Aside<T>(Receiver<Result<T, Failure>>);

impl<T> Aside<T> {
    /// And where the answer is to be put, once.
    pub fn new() -> (SyncSender<Result<T, Failure>>, Aside<T>) {
        let (answer, aside) = sync_channel(1);
        (answer, Aside(aside))
    }

    /// `None` as long as there is none.
    pub fn take(&self) -> Option<Result<T, Failure>> {
        match self.0.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                Some(Err(Failure::Retriable("whoever asked the log has ended".to_owned())))
            }
        }
    }
}

/// Input records, committed offsets and atomic commits of one worker.
pub trait Log: Lookup {
    /// Hands what has arrived to `visit`, some at a time; waits at most `wait_ms` for a first
    /// record.
    fn poll(&mut self, wait_ms: u64, visit: &mut Visit<'_>) -> Result<(), Failure>;
    /// Lets changes of assignment and faults come in, but no records; takes `wait_ms`.
    fn serve(&mut self, wait_ms: u64) -> Result<(), Failure>;
    /// The changes of assignment since the last call, the oldest first.
    fn rebalances(&mut self) -> Vec<Rebalance>;
    /// Read exactly these partitions from these offsets on.
    fn assign(&mut self, starts: &[(Place, i64)]) -> Result<(), Failure>;
    /// Give everything back after [`Rebalance::Revoked`].
    fn unassign(&mut self) -> Result<(), Failure>;
    /// How far the group has come with each place; `None` where it has committed nothing.
    fn committed(&mut self, places: &[Place]) -> Result<Vec<Option<Progress>>, Failure>;
    /// Hands records of an input that were read before to `visit`, of a span from an offset up to
    /// another, which is no further than what was read: as many as have arrived, apart from what is polled. Waits
    /// for nothing. Returns the offset that is reached, to go on from. One partition at a time.
    fn earlier(
        &mut self,
        place: Place,
        span: (i64, i64),
        visit: &mut Visit<'_>,
    ) -> Result<i64, Failure>;
    /// Nothing more is asked of [`Log::earlier`] for now.
    fn rest(&mut self);
    /// Records between the next one and the end, as far as it is known without asking.
    fn lag(&self, place: Place, next: i64) -> Option<i64>;
    /// Hands outputs over to be written at once and in order, outside of any transaction; waits for
    /// nothing. Retriable when none of them was taken over.
    fn send(&mut self, outputs: &[Produce]) -> Result<(), Failure>;
    /// How many of the outputs of [`Log::send`] are not known to be written, from the first such one
    /// on; waits at most `wait_ms` until there is none. After [`Log::unassign`] there is none:
    /// whoever has the partitions next writes what is missing.
    fn unwritten(&mut self, wait_ms: u64) -> Result<usize, Failure>;
    /// Begins to write outputs and offsets in one transaction, beside everything else; waits for
    /// nothing. One at a time.
    fn begin(&mut self, batch: Batch);
    /// How the transaction ended that was begun, with what was to be written; waits for that at most
    /// `wait_ms`. `None` as long as it has not ended, and once that has been said.
    fn ended(&mut self, wait_ms: u64) -> Option<(Batch, Result<(), Failure>)>;
    /// Records of the control topic from an offset on, as far as they have arrived; waits for
    /// nothing. The topic not answering is retriable.
    fn changes(&mut self, from: i64) -> Result<Vec<SideRecord>, Failure>;
    /// Asks beside everything else, and waits for nothing.
    fn aside<T: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut dyn Lookup) -> Result<T, Failure> + Send + 'static,
    ) -> Aside<T>;
}
