//! Reads records of an input once more, beside what the group reads: for rules that are made ready
//! from the log while events go on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::stream::kafka::client::{KafkaSettings, unusable};
use crate::stream::kafka::native::PrivateQueue;
use crate::stream::kafka::polled::{NoHeaders, polled};
use crate::stream::kafka::side::{Ears, consumer, is_passing};
use crate::stream::{Failure, Place, Polled, Record, Visit};

/// Records handed over at once.
const SOME: usize = 256;
/// What the client may hold.
const HELD_KIB: &str = "16384";

/// A reader of one partition. Fields drop in order: the queue before its client.
pub(super) struct Earlier {
    queue: PrivateQueue,
    consumer: BaseConsumer<Ears>,
    topic: Arc<str>,
    place: Place,
    /// Offset up to which records were handed over.
    given: i64,
    held: VecDeque<Held>,
}

/// What has arrived and was not handed over.
#[derive(Debug)]
enum Held {
    Record {
        offset: i64,
        timestamp_ms: Option<i64>,
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    },
    /// The end of the log, which is there.
    End(i64),
}

impl Earlier {
    /// Reads a partition of `topic` from an offset on.
    ///
    /// # Errors
    /// Fatal when a setting cannot be used.
    pub(super) fn open(
        settings: &KafkaSettings,
        slot: &str,
        (topic, place): (&Arc<str>, Place),
        from: i64,
    ) -> Result<Earlier, Failure> {
        let made = |error: KafkaError| Failure::Fatal(unusable(&error));
        let consumer = consumer(settings, slot, &[("queued.max.messages.kbytes", HELD_KIB)]);
        let consumer = consumer.map_err(made)?;
        let queue = PrivateQueue::new(consumer.client().native_ptr());
        queue.forward(topic, place.partition);
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, place.partition, Offset::Offset(from)).map_err(made)?;
        consumer.assign(&list).map_err(made)?;
        let (topic, held) = (topic.clone(), VecDeque::new());
        Ok(Earlier { queue, consumer, topic, place, given: from, held })
    }

    /// Whether the next record handed over is the first of a place from this offset on.
    pub(super) fn stands_at(&self, place: Place, from: i64) -> bool {
        (self.place, self.given) == (place, from)
    }

    /// Hands over what has arrived before `until`; returns the offset that is reached.
    ///
    /// # Errors
    /// Retriable when the partition cannot be read.
    pub(super) fn read(&mut self, until: i64, visit: &mut Visit<'_>) -> Result<i64, Failure> {
        if self.held.is_empty() {
            self.fetch()?;
        }
        let is_due = |held: &&Held| matches!(held, Held::Record { offset, .. } if *offset < until);
        let due = self.held.iter().take(SOME).take_while(is_due).count();
        let records: Vec<Polled<'_>> =
            self.held.iter().take(due).filter_map(|held| held.record(self.place)).collect();
        if !records.is_empty() {
            visit(&records);
        }
        let last = self.held.drain(..due).next_back();
        if let Some(Held::Record { offset, .. }) = last {
            self.given = offset + 1;
        }
        match self.held.front() {
            // Markers of transactions and aborted records lie between.
            Some(Held::Record { offset, .. }) if *offset >= until => self.given = until,
            Some(Held::End(at)) if *at >= until => self.given = until,
            Some(Held::End(at)) => {
                self.given = self.given.max(*at);
                self.held.pop_front();
            }
            Some(Held::Record { .. }) | None => {}
        }
        Ok(self.given)
    }

    fn fetch(&mut self) -> Result<(), Failure> {
        // Never a record: the partition was sent to our own queue before it was assigned.
        let mut fault = self.consumer.poll(Duration::ZERO).and_then(Result::err);
        let (held, place) = (&mut self.held, self.place);
        self.queue.take(0, &mut |items| {
            held.extend(polled(items, &|_, _| place, &mut fault).iter().map(Held::of));
        });
        match fault {
            None => Ok(()),
            Some(error) if is_passing(&error) => Ok(()),
            Some(error)
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) =>
            {
                Err(Failure::Retriable(format!(
                    "{}[{}] does not hold offset {} any more",
                    self.topic, self.place.partition, self.given
                )))
            }
            Some(error) => Err(Failure::Retriable(format!(
                "{}[{}] cannot be read: {error}",
                self.topic, self.place.partition
            ))),
        }
    }
}

impl Held {
    fn of(polled: &Polled<'_>) -> Held {
        match polled {
            Polled::End(_, at) => Held::End(*at),
            Polled::Record(record) => Held::Record {
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
            },
        }
    }

    fn record(&self, place: Place) -> Option<Polled<'_>> {
        let Held::Record { offset, timestamp_ms, key, value } = self else { return None };
        Some(Polled::Record(Record {
            place,
            offset: *offset,
            timestamp_ms: *timestamp_ms,
            key: key.as_deref(),
            value: value.as_deref(),
            headers: &NoHeaders,
        }))
    }
}
