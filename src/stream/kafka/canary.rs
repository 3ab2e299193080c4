//! The way of canaries: out to an input topic, and back as decisions that are committed.
//!
//! Belongs to no group and to no transaction. Between two rounds nothing is read.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};

use crate::engine::{CANARY, Decision, user_partition};
use crate::event::Canary;
use crate::stream::Source;
use crate::stream::kafka::client::{KafkaSettings, unusable};
use crate::stream::kafka::quiet::Quiet;
use crate::stream::kafka::topics::counts;

/// One question to the broker.
const ASK: Duration = Duration::from_secs(5);
/// A round is handed over within so long; what is left goes on by itself.
const FLUSH: Duration = Duration::from_secs(2);

/// Both ends.
pub struct CanaryLine {
    producer: BaseProducer<Quiet>,
    consumer: BaseConsumer<Quiet>,
    /// Where they are put in.
    topic: String,
    decisions: String,
    /// The record key of what comes back, and the partition that it chooses.
    key: String,
    partition: i32,
    listens: bool,
}

impl std::fmt::Debug for CanaryLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CanaryLine").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl CanaryLine {
    /// For the canaries of an instance, by one of the input topics.
    ///
    /// # Errors
    /// When no broker answers, or a setting cannot be used; in words.
    pub fn open(
        settings: &KafkaSettings,
        instance: &str,
        by: Source,
    ) -> Result<CanaryLine, String> {
        let names = &settings.topics;
        let topic = names.input(by).to_string();
        let decisions = names.decisions.to_string();
        let known = counts(settings).map_err(|error| error.to_string())?;
        let count = known.get(&decisions).and_then(|count| u32::try_from(*count).ok());
        let count = count.ok_or_else(|| format!("there is no topic {decisions}"))?;
        let mut config = settings.client("tidegate-canary");
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            // Older ones are given up, and would come through when nobody asks any more.
            .set("message.timeout.ms", "30000");
        let producer =
            config.create_with_context(Quiet("canaries")).map_err(|error| unusable(&error))?;
        let config = settings.reading("tidegate-canary");
        let consumer =
            config.create_with_context(Quiet("canaries")).map_err(|error| unusable(&error))?;
        let key = format!("instance:{instance}");
        let partition = i32::try_from(user_partition(&key, count)).unwrap_or(0);
        Ok(CanaryLine { producer, consumer, topic, decisions, key, partition, listens: false })
    }

    /// Hears what comes from now on; goes on where it listens already.
    ///
    /// # Errors
    /// When the broker does not say where the topic ends.
    pub fn listen(&mut self) -> Result<(), String> {
        if self.listens {
            return Ok(());
        }
        let failed = |error: KafkaError| unusable(&error);
        let ends = self.consumer.fetch_watermarks(&self.decisions, self.partition, ASK);
        let (_, end) = ends.map_err(failed)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.decisions, self.partition, Offset::Offset(end))
            .map_err(failed)?;
        self.consumer.assign(&list).map_err(failed)?;
        self.listens = true;
        Ok(())
    }

    /// Puts one in each of these partitions.
    ///
    /// # Errors
    /// When the client takes no more.
    pub fn send(&self, canaries: &[(i32, Canary)]) -> Result<(), String> {
        for (partition, canary) in canaries {
            let value = canary.encode();
            let header = Header { key: Canary::HEADER, value: Some(Canary::HEADER_VALUE) };
            let record = BaseRecord::<str, [u8]>::to(&self.topic)
                .partition(*partition)
                .key(&self.key)
                .payload(&value)
                .headers(OwnedHeaders::new().insert(header));
            self.producer.send(record).map_err(|(error, _)| unusable(&error))?;
        }
        // What the broker has not taken by then it may take later.
        self.producer.flush(Timeout::After(FLUSH)).unwrap_or_default();
        Ok(())
    }

    /// Ids of those that have come back, as soon as there are any.
    pub fn hear(&mut self, wait: Duration) -> Vec<String> {
        let until = Instant::now() + wait;
        self.producer.poll(Duration::ZERO);
        let mut back = Vec::new();
        while back.is_empty() || Instant::now() < until {
            let left = if back.is_empty() {
                until.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
            match self.consumer.poll(left) {
                Some(Ok(record)) if record.key() == Some(self.key.as_bytes()) => {
                    back.extend(record.payload().and_then(answered));
                }
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) if Instant::now() < until => {}
                Some(Err(error)) if Instant::now() < until => {
                    // The offset may be gone: from the end on, the next time.
                    tracing::debug!(%error, "canaries: cannot read decisions");
                    self.listens = false;
                    return back;
                }
                Some(_) | None => return back,
            }
        }
        back
    }

    /// Reads nothing until [`CanaryLine::listen`].
    pub fn rest(&mut self) {
        if std::mem::take(&mut self.listens)
            && let Err(error) = self.consumer.unassign()
        {
            tracing::debug!(%error, "canaries: cannot stop reading");
        }
    }
}

/// The canary that a decision answers.
fn answered(value: &[u8]) -> Option<String> {
    let decision: Decision = serde_json::from_slice(value).ok()?;
    if decision.rule != CANARY {
        return None;
    }
    decision.trigger.map(|trigger| trigger.id)
}
