//! Decisions about the instance itself, such as rules that cannot be loaded (R17).
//!
//! Written at once and by themselves: they belong to no input record.

use std::time::Duration;

use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::engine::{Decision, account_key};
use crate::stream::kafka::{KafkaSettings, unusable};

const PATIENCE: Duration = Duration::from_secs(30);

/// Writes to the decisions topic.
pub(super) struct Announcer {
    producer: FutureProducer,
    topic: String,
}

impl Announcer {
    pub(super) fn new(settings: &KafkaSettings) -> Result<Announcer, String> {
        let mut config = settings.client("tidegate-service");
        config.set("enable.idempotence", "true").set("partitioner", "murmur2_random");
        let producer = config.create().map_err(|error| unusable(&error))?;
        Ok(Announcer { producer, topic: settings.topics.decisions.to_string() })
    }

    /// Writes in the background; a failure is logged.
    pub(super) fn tell(&self, decision: &Decision) {
        let Ok(value) = serde_json::to_vec(decision) else { return };
        let (producer, topic) = (self.producer.clone(), self.topic.clone());
        let (key, rule) = (account_key(&decision.key), decision.rule.clone());
        tokio::spawn(async move {
            let record = FutureRecord::to(&topic).key(&key).payload(&value);
            if let Err((error, _)) = producer.send(record, PATIENCE).await {
                tracing::error!(%error, rule, "a decision about this instance was not written");
            }
        });
    }
}
