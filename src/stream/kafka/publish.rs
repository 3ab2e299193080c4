//! Writes one change by people to the control topic and waits until it is safe there; reads which
//! rule sets were published.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::engine::{Act, CHANGE_VERSION, Change};
use crate::event::EventTime;
use crate::stream::kafka::client::{KafkaSettings, unusable};
use crate::stream::kafka::side::SideReader;
use crate::stream::kafka::topics::{TopicError, counts, unmade};
use crate::stream::{Clock, Failure, Side, SystemClock};

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
    #[error(
        "the broker takes no record of this size ({bytes} bytes before compression): raise `max.message.bytes` of topic {topic}"
    )]
    TooLarge { bytes: usize, topic: String },
    #[error("{0}")]
    Unread(String),
}

/// A rule set that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetRecord {
    pub set: String,
    pub ruleset: String,
    pub actor: String,
}

/// The rule sets in the control topic, the oldest first; those that replaced none and were
/// published again stand at the later place.
///
/// # Errors
/// When the topic cannot be read.
pub async fn published(settings: &KafkaSettings) -> Result<Vec<SetRecord>, PublishError> {
    let settings = settings.clone();
    let read = tokio::task::spawn_blocking(move || {
        let topic = settings.topics.side(Side::Control);
        SideReader::open(&settings, "tidegate-control", topic, 0)?.whole()
    });
    let records = read.await.map_err(|error| Failure::Retriable(error.to_string()));
    let records = records.flatten().map_err(|failure| PublishError::Unread(failure.to_string()))?;
    let sets = records.iter().filter_map(|record| {
        let change = Change::decode(record.value.as_deref()?).ok()?;
        let Act::Rules(rules) = change.act else { return None };
        let (set, ruleset) = (rules.set, rules.ruleset);
        Some(SetRecord { set, ruleset, actor: change.actor })
    });
    Ok(sets.collect())
}

/// A change that is made now, under a name of its own.
pub fn new_change(act: Act, actor: String, reason: String) -> Change {
    let id = format!("{:032x}", rand::random::<u128>());
    let ts = EventTime(SystemClock.wall_us() / 1000);
    Change { v: CHANGE_VERSION, id, ts, actor, reason, act }
}

/// Writes a change, and returns its offset.
///
/// # Errors
/// When the topic is not there, the broker is away, or it refuses the change.
pub async fn publish(settings: &KafkaSettings, change: &Change) -> Result<i64, PublishError> {
    let mut offset = -1;
    publish_all(settings, std::slice::from_ref(change), &mut |_, at| offset = at).await?;
    Ok(offset)
}

/// Writes changes one after the other; `done` hears of each and its offset.
///
/// # Errors
/// The same, for the first that is not written; no later one is tried.
pub async fn publish_all(
    settings: &KafkaSettings,
    changes: &[Change],
    done: &mut (dyn FnMut(&Change, i64) + Send),
) -> Result<(), PublishError> {
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
        .set("message.timeout.ms", PATIENCE.as_millis().to_string())
        // The broker's limit is what counts, and it counts what is compressed.
        .set("message.max.bytes", "100000000");
    if !settings.properties.contains_key("compression.type") {
        config.set("compression.type", "zstd");
    }
    let producer: FutureProducer = config.create().map_err(unmade)?;
    for change in changes {
        let offset = send(&producer, &topic, change).await?;
        done(change, offset);
    }
    Ok(())
}

async fn send(
    producer: &FutureProducer,
    topic: &str,
    change: &Change,
) -> Result<i64, PublishError> {
    let topic = topic.to_owned();
    let (key, value) = (change.key(), change.encode());
    let record = FutureRecord::to(&topic).partition(0).key(&key).payload(&value);
    match producer.send(record, PATIENCE).await {
        Ok(delivery) => Ok(delivery.offset),
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut), _)) => {
            Err(PublishError::Unknown { id: change.id.clone(), topic })
        }
        Err((
            KafkaError::MessageProduction(
                RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize,
            ),
            _,
        )) => Err(PublishError::TooLarge { bytes: value.len(), topic }),
        Err((error, _)) => Err(PublishError::Refused(unusable(&error))),
    }
}
