//! A Kafka within the process, for demonstrations: the mock cluster of librdkafka.
//!
//! It speaks the protocol on a port of 127.0.0.1, so that stock tools can look into it. It is no
//! place to keep or to prove anything: transactions are ignored (what was aborted can be seen,
//! offsets in them are not stored), a partition holds 5 MB and then forgets its oldest records,
//! and the whole is gone with the process.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::stream::kafka::client::KafkaSettings;
use crate::stream::kafka::topics::wanted;

/// What waits in the producer makes batches; the stand-in is slow with many small ones.
const LINGER_MS: &str = "20";
const FULL: Duration = Duration::from_millis(10);

/// The cluster, and a producer of it. It ends with the last use of it.
pub struct StandIn {
    producer: BaseProducer<DefaultProducerContext>,
    brokers: String,
}

impl std::fmt::Debug for StandIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StandIn").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

impl StandIn {
    /// # Errors
    /// When the cluster does not come up.
    pub fn start() -> Result<StandIn, KafkaError> {
        let producer: BaseProducer<DefaultProducerContext> = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .set("client.id", "points-pipeline")
            .set("linger.ms", LINGER_MS)
            // Who shares a key shares a partition, as with Java's producers.
            .set("partitioner", "murmur2_random")
            .set("compression.type", "lz4")
            .create()?;
        let cluster = producer.client().mock_cluster();
        let brokers =
            cluster.ok_or(KafkaError::MockCluster(RDKafkaErrorCode::Fail))?.bootstrap_servers();
        Ok(StandIn { producer, brokers })
    }

    /// Where it can be reached.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Creates all topics, since the stand-in takes no request to create any.
    ///
    /// # Errors
    /// When a topic cannot be made.
    pub fn create_topics(
        &self,
        settings: &KafkaSettings,
        partitions: i32,
    ) -> Result<(), KafkaError> {
        let cluster = self.producer.client().mock_cluster();
        let cluster = cluster.ok_or(KafkaError::MockCluster(RDKafkaErrorCode::Fail))?;
        for topic in wanted(settings, &BTreeMap::new(), partitions) {
            cluster.create_topic(&topic.name, topic.partitions, 1)?;
        }
        Ok(())
    }

    /// Hands a record to the producer; waits while that is full.
    ///
    /// # Errors
    /// When the record cannot be sent at all.
    pub fn send(&self, topic: &str, key: &str, value: &[u8]) -> Result<(), KafkaError> {
        let mut record = BaseRecord::to(topic).key(key).payload(value);
        loop {
            self.producer.poll(Duration::ZERO);
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(FULL);
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Waits until everything handed over is in its topic; false when that takes too long.
    pub fn flush(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        while self.producer.in_flight_count() > 0 {
            if Instant::now() > until {
                return false;
            }
            self.producer.poll(FULL);
        }
        true
    }
}

/// Reads a topic from its beginning, as a stock tool would: no group, nothing committed.
pub struct Follower {
    consumer: BaseConsumer,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").finish_non_exhaustive()
    }
}

impl Follower {
    /// # Errors
    /// When the client cannot be made.
    pub fn open(brokers: &str, topic: &str, partitions: i32) -> Result<Follower, KafkaError> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            // Needed by the client, though it joins none.
            .set("group.id", "onlooker")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "50")
            .create()?;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        Ok(Follower { consumer })
    }

    /// The value of the next record, if one comes within `wait`.
    pub fn next(&self, wait: Duration) -> Option<Vec<u8>> {
        // A fault passes, or else nothing comes, which is seen at the end.
        let record = self.consumer.poll(wait)?.ok()?;
        record.payload().map(<[u8]>::to_vec)
    }
}
