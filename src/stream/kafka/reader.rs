//! Reads partitions of a topic in batches: no group, no commits, no transactions.
//!
//! Takes records in the way a worker's log does, so that what it costs is what consumption alone
//! costs a worker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::stream::kafka::client::{fetching, unusable};
use crate::stream::kafka::native::PrivateQueue;
use crate::stream::kafka::polled::polled;
use crate::stream::{Place, Source, Visit};

/// Errors are looked for so often.
const SERVE: Duration = Duration::from_millis(10);

/// A reader of one topic; sees open and aborted transactions too. Fields drop in order: the queue
/// before its client.
pub struct Reader {
    queue: PrivateQueue,
    consumer: BaseConsumer,
    served_at: Option<Instant>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    /// Reads the given partitions of `topic`, each from its offset on.
    ///
    /// # Errors
    /// When a setting cannot be used; in words, without its value, which may be a secret. A broker
    /// that is away is waited for.
    pub fn open(
        brokers: &str,
        properties: &BTreeMap<String, String>,
        topic: &str,
        starts: &[(i32, i64)],
    ) -> Result<Reader, String> {
        let unusable = |error| unusable(&error);
        let mut config = ClientConfig::new();
        for (name, value) in properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", brokers).set("client.id", "tidegate-reader");
        // The client wants a name before it lets partitions be assigned; no group is joined.
        config.set("group.id", "tidegate-reader");
        fetching(&mut config).set("isolation.level", "read_uncommitted");
        let consumer: BaseConsumer = config.create().map_err(unusable)?;
        let queue = PrivateQueue::new(consumer.client().native_ptr());
        let mut list = TopicPartitionList::with_capacity(starts.len());
        for (partition, offset) in starts {
            queue.forward(topic, *partition);
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                .map_err(unusable)?;
        }
        consumer.assign(&list).map_err(unusable)?;
        Ok(Reader { queue, consumer, served_at: None })
    }

    /// Hands what has arrived to `visit`; waits at most `wait_ms` for a first record.
    ///
    /// # Errors
    /// What the client reports; many faults pass, and the next call goes on.
    pub fn poll(&mut self, wait_ms: u64, visit: &mut Visit<'_>) -> KafkaResult<()> {
        if self.served_at.is_none_or(|at| at.elapsed() >= SERVE) {
            self.served_at = Some(Instant::now());
            // Never a record: every partition was sent to our own queue before it was assigned.
            if let Some(Err(error)) = self.consumer.poll(Duration::ZERO) {
                return Err(error);
            }
        }
        let mut fault = None;
        let place = |_: &[u8], partition| Place { source: Source::Events, partition };
        self.queue.take(wait_ms, &mut |items| visit(&polled(items, &place, &mut fault)));
        fault.map_or(Ok(()), Err)
    }
}
