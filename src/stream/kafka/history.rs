//! Reads a stretch of a topic once, all partitions as one sequence: no group, no commits, nothing
//! written.
//!
//! Committed records alone, in order of their timestamps, then of partitions, then of offsets:
//! the records of a partition keep their order, and the same stretch is the same sequence each
//! time. Holds some thousand records of each partition, however long the stretch is.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use crate::stream::kafka::client::{KafkaSettings, unusable};
use crate::stream::kafka::native::PrivateQueue;
use crate::stream::kafka::polled::polled;
use crate::stream::kafka::topics::{TopicError, counts, unmade};
use crate::stream::{Place, Polled, Source};

/// One question to the broker.
const ASK: Duration = Duration::from_secs(10);
/// A partition that brings nothing for so long, and has not come to its end, is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Faults are looked for so often while a partition is waited for.
const WAIT_MS: u64 = 100;
/// What the client may hold of all partitions together, KiB.
const HELD_KIB: usize = 128 << 10;

/// From an instant to another, by timestamps of records: of each partition, from its first record
/// of `from_ms` or later up to its first one of `to_ms` or later, which does not belong to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stretch {
    /// `None` = the oldest record.
    pub from_ms: Option<i64>,
    /// `None` = what stands in the topic when it is opened.
    pub to_ms: Option<i64>,
}

/// Why a stretch was not read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("topic {topic} cannot be read to its end: {reason}")]
    Unread { topic: String, reason: String },
}

/// A record of the sequence.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    /// Empty where the record has none.
    pub value: &'a [u8],
}

/// A stretch being read. Fields drop in order: the queues before their client.
pub struct History {
    parts: Vec<Part>,
    consumer: BaseConsumer,
    topic: String,
    /// Timestamp, partition and place in `parts` of the next record of each part.
    heads: BinaryHeap<Reverse<(i64, i32, usize)>>,
    /// Heads are there.
    has_begun: bool,
}

/// One partition.
struct Part {
    queue: PrivateQueue,
    partition: i32,
    /// Offset that the topic ended at when it was opened.
    end: i64,
    stretch: Stretch,
    held: Held,
    /// The first record of the stretch has come.
    has_begun: bool,
    has_ended: bool,
}

/// Records of a partition that wait for their turn.
#[derive(Debug, Default)]
struct Held {
    text: Vec<u8>,
    /// Where the next one begins in the text.
    begin: usize,
    records: VecDeque<HeldRecord>,
}

#[derive(Debug, Clone, Copy)]
struct HeldRecord {
    end: usize,
    offset: i64,
    timestamp_ms: Option<i64>,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl History {
    /// Looks up where the stretch begins and ends in each partition of `topic`.
    ///
    /// # Errors
    /// When the topic is not there, or the broker does not answer.
    pub fn open(
        settings: &KafkaSettings,
        topic: &str,
        stretch: Stretch,
    ) -> Result<History, HistoryError> {
        let unread = |reason: String| HistoryError::Unread { topic: topic.to_owned(), reason };
        let failed = |error: KafkaError| unread(unusable(&error));
        let known = counts(settings)?;
        let Some(partitions) = known.get(topic).and_then(|count| i32::try_from(*count).ok()) else {
            return Err(TopicError::Missing(topic.to_owned()).into());
        };
        let mut config = settings.reading("tidegate-history");
        if !settings.properties.contains_key("queued.max.messages.kbytes") {
            let each = HELD_KIB / usize::try_from(partitions).unwrap_or(1).max(1);
            config.set("queued.max.messages.kbytes", each.clamp(1 << 10, 16 << 10).to_string());
        }
        let consumer: BaseConsumer = config.create().map_err(unmade)?;
        let mut bounds = Vec::new();
        for partition in 0..partitions {
            bounds.push(consumer.fetch_watermarks(topic, partition, ASK).map_err(failed)?);
        }
        // Of each partition, the first offset of that time or later, which may be a marker's.
        let at = |ms: i64| offsets_at(&consumer, topic, partitions, ms).map_err(failed);
        let starts = stretch.from_ms.map(at).transpose()?;
        let mut parts = Vec::new();
        let mut list = TopicPartitionList::with_capacity(bounds.len());
        for (place, (partition, (low, end))) in (0..).zip(bounds).enumerate() {
            let found = starts.as_ref().and_then(|starts| starts.get(place));
            let start = found.map_or(low, |start| start.unwrap_or(end));
            if start >= end {
                continue;
            }
            let queue = PrivateQueue::new(consumer.client().native_ptr());
            queue.forward(topic, partition);
            list.add_partition_offset(topic, partition, Offset::Offset(start)).map_err(failed)?;
            parts.push(Part::new(queue, (partition, end), stretch));
        }
        consumer.assign(&list).map_err(failed)?;
        let (topic, heads) = (topic.to_owned(), BinaryHeap::new());
        Ok(History { parts, consumer, topic, heads, has_begun: false })
    }

    /// Hands the next record to `take`; false at the end of the stretch.
    ///
    /// # Errors
    /// When a partition cannot be read to its end.
    pub fn next(&mut self, take: &mut dyn FnMut(Past<'_>)) -> Result<bool, HistoryError> {
        if !self.has_begun {
            self.has_begun = true;
            for at in 0..self.parts.len() {
                self.put_head(at)?;
            }
        }
        let Some(Reverse((_, _, at))) = self.heads.pop() else { return Ok(false) };
        if let Some(part) = self.parts.get_mut(at) {
            let partition = part.partition;
            part.held.take(&mut |record, value| {
                let HeldRecord { offset, timestamp_ms, .. } = record;
                take(Past { partition, offset, timestamp_ms, value });
            });
        }
        self.put_head(at)?;
        Ok(true)
    }

    /// Notes the next record of a part, which is waited for.
    fn put_head(&mut self, at: usize) -> Result<(), HistoryError> {
        let heard_at = Instant::now();
        let Some(part) = self.parts.get_mut(at) else { return Ok(()) };
        loop {
            if let Some(record) = part.held.records.front() {
                let timestamp = record.timestamp_ms.unwrap_or(i64::MIN);
                self.heads.push(Reverse((timestamp, part.partition, at)));
                return Ok(());
            }
            if part.has_ended {
                return Ok(());
            }
            let fault = part.read(WAIT_MS).or_else(|| {
                // Never a record: every partition has a queue of its own.
                self.consumer.poll(Duration::ZERO).and_then(Result::err)
            });
            let is_over = heard_at.elapsed() > PATIENCE;
            let reason = match fault {
                Some(error) if is_over || is_lasting(&error) => unusable(&error),
                None if is_over => "the broker does not answer".to_owned(),
                Some(_) | None => continue,
            };
            return Err(HistoryError::Unread { topic: self.topic.clone(), reason });
        }
    }
}

/// The first offset of this time or later in each partition; `None` where nothing is as young.
fn offsets_at(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: i32,
    ms: i64,
) -> Result<Vec<Option<i64>>, KafkaError> {
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Offset(ms.max(0)))?;
    }
    let found = consumer.offsets_for_times(list, ASK)?;
    let offset = |partition: i32| match found.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    Ok((0..partitions).map(offset).collect())
}

/// Whether trying on is of no use: the records were deleted meanwhile.
fn is_lasting(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(rdkafka::error::RDKafkaErrorCode::AutoOffsetReset)
}

impl Part {
    fn new(queue: PrivateQueue, (partition, end): (i32, i64), stretch: Stretch) -> Part {
        let held = Held::default();
        Part { queue, partition, end, stretch, held, has_begun: false, has_ended: false }
    }

    /// Takes what has arrived, waiting for so long at most; returns a fault.
    fn read(&mut self, wait_ms: u64) -> Option<KafkaError> {
        let mut fault = None;
        let place = |_: &[u8], partition| Place { source: Source::Events, partition };
        let Part { queue, end, stretch, held, has_begun, has_ended, .. } = self;
        held.compact();
        queue.take(wait_ms, &mut |items| {
            for one in polled(items, &place, &mut fault) {
                match one {
                    Polled::Record(_) if *has_ended => {}
                    // What the offsets up to the end are of markers and of aborted records, the
                    // next record or the end of the log tells.
                    Polled::End(..) => *has_ended = true,
                    Polled::Record(record) if record.offset >= *end => *has_ended = true,
                    Polled::Record(record) => {
                        let is_from = |ms: i64| record.timestamp_ms.is_some_and(|at| at >= ms);
                        *has_ended = stretch.to_ms.is_some_and(is_from);
                        *has_begun |= stretch.from_ms.is_none_or(is_from);
                        if *has_begun && !*has_ended {
                            held.push(record.offset, record.timestamp_ms, record.value);
                        }
                        *has_ended |= record.offset + 1 >= *end;
                    }
                }
            }
        });
        fault
    }
}

impl Held {
    fn push(&mut self, offset: i64, timestamp_ms: Option<i64>, value: Option<&[u8]>) {
        self.text.extend_from_slice(value.unwrap_or_default());
        self.records.push_back(HeldRecord { end: self.text.len(), offset, timestamp_ms });
    }

    fn take(&mut self, take: &mut dyn FnMut(HeldRecord, &[u8])) {
        let Some(record) = self.records.pop_front() else { return };
        take(record, self.text.get(self.begin..record.end).unwrap_or_default());
        self.begin = record.end;
    }

    /// Gives the room of what has been taken back; all of it has been when more is read.
    fn compact(&mut self) {
        if self.records.is_empty() {
            self.text.clear();
            self.begin = 0;
        }
    }
}
