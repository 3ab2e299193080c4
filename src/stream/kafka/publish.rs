//! Writes one change by people to the control topic and waits until it is safe there.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::engine::Change;
use crate::stream::kafka::client::{KafkaSettings, unusable};
use crate::stream::kafka::topics::{TopicError, counts, unmade};

/// A change is acknowledged within so long, or given up.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a change was not written.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error(
        "the broker has not acknowledged the change within 15 s: it may have been written or not; look for {id} in topic {topic} before you try again"
    )]
    Unknown { id: String, topic: String },
    #[error("the broker refused the change: {0}")]
    Refused(String),
}

/// Writes a change, and returns its offset.
///
/// # Errors
/// When the topic is not there, the broker is away, or it refuses the change.
pub async fn publish(settings: &KafkaSettings, change: &Change) -> Result<i64, PublishError> {
    let topic = settings.topics.control.to_string();
    let known = tokio::task::block_in_place(|| counts(settings))?;
    match known.get(&topic) {
        // One partition, so that all changes have one order.
        Some(1) => {}
        Some(has) => return Err(TopicError::NotOne { topic, has: *has }.into()),
        None => return Err(TopicError::Missing(topic).into()),
    }
    let mut config = settings.client("tidegate-control");
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("message.timeout.ms", PATIENCE.as_millis().to_string());
    let producer: FutureProducer = config.create().map_err(unmade)?;
    let (key, value) = (change.key(), change.encode());
    let record = FutureRecord::to(&topic).partition(0).key(&key).payload(&value);
    match producer.send(record, PATIENCE).await {
        Ok(delivery) => Ok(delivery.offset),
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut), _)) => {
            Err(PublishError::Unknown { id: change.id.clone(), topic })
        }
        Err((error, _)) => Err(PublishError::Refused(unusable(&error))),
    }
}
