//! Decisions about the instance itself, such as rules that cannot be loaded (R17).
//!
//! Written at once and by themselves: they belong to no input record. They are rare, and the
//! client's producer keeps a thread busy for a hundredth of a core, so that one is made for each.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::engine::{Decision, account_key};
use crate::stream::kafka::{KafkaSettings, unusable};

const PATIENCE: Duration = Duration::from_secs(30);

/// Writes to the decisions topic.
pub(super) struct Announcer {
    config: ClientConfig,
    topic: String,
}

impl Announcer {
    pub(super) fn new(settings: &KafkaSettings) -> Result<Announcer, String> {
        let mut config = settings.client("tidegate-service");
        config.set("enable.idempotence", "true").set("partitioner", "murmur2_random");
        config.create_native_config().map_err(|error| unusable(&error))?;
        Ok(Announcer { config, topic: settings.topics.decisions.to_string() })
    }

    /// Writes in the background; a failure is logged.
    pub(super) fn tell(&self, decision: &Decision) {
        let Ok(value) = serde_json::to_vec(decision) else { return };
        let (config, topic) = (self.config.clone(), self.topic.clone());
        let (key, rule) = (account_key(&decision.key), decision.rule.clone());
        tokio::spawn(async move {
            let failure = match config.create::<FutureProducer>() {
                Ok(producer) => {
                    let record = FutureRecord::to(&topic).key(&key).payload(&value);
                    let failure = producer.send(record, PATIENCE).await.err();
                    // Waits for its thread.
                    tokio::task::spawn_blocking(move || drop(producer));
                    failure.map(|(error, _)| unusable(&error))
                }
                Err(error) => Some(unusable(&error)),
            };
            if let Some(error) = failure {
                tracing::error!(error, rule, "a decision about this instance was not written");
            }
        });
    }
}
