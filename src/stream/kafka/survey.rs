//! Reads a topic of outputs once, as it is now, for people who ask what stands in it.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::stream::kafka::client::{KafkaSettings, unusable};
use crate::stream::kafka::topics::{TopicError, counts, unmade};

/// One question to the broker.
const ASK: Duration = Duration::from_secs(5);
/// A topic that brings nothing for so long and has not come to its end is given up.
const PATIENCE: Duration = Duration::from_secs(15);

/// Takes the key and the value of a record.
pub(super) type Take<'a> = dyn FnMut(&[u8], Option<&[u8]>) + 'a;

/// Why a topic was not read.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("topic {topic} cannot be read to its end: {reason}")]
    Unread { topic: String, reason: String },
}

/// Hands every committed record of `topic` to `take`, key and value, those of a partition in
/// order; with `since_ms` only records that were written then or later.
///
/// # Errors
/// When the topic is not there, or its end is not reached.
pub fn survey(
    settings: &KafkaSettings,
    topic: &str,
    since_ms: Option<i64>,
    take: &mut Take<'_>,
) -> Result<(), SurveyError> {
    let unread = |reason: String| SurveyError::Unread { topic: topic.to_owned(), reason };
    let failed = |error: KafkaError| unread(unusable(&error));
    let known = counts(settings)?;
    let Some(partitions) = known.get(topic).and_then(|count| i32::try_from(*count).ok()) else {
        return Err(TopicError::Missing(topic.to_owned()).into());
    };
    let config = settings.reading("tidegate-survey");
    let consumer: BaseConsumer = config.create().map_err(unmade)?;
    let mut list = TopicPartitionList::with_capacity(known.len());
    for partition in 0..partitions {
        let start = since_ms.map_or(Offset::Beginning, Offset::Offset);
        list.add_partition_offset(topic, partition, start).map_err(failed)?;
    }
    if since_ms.is_some() {
        // Where nothing is as young, the answer is the end.
        list = consumer.offsets_for_times(list, ASK).map_err(failed)?;
    }
    consumer.assign(&list).map_err(failed)?;
    let mut open = partitions;
    let mut heard_at = Instant::now();
    while open > 0 {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                heard_at = Instant::now();
                take(message.key().unwrap_or_default(), message.payload());
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                heard_at = Instant::now();
                open -= 1;
            }
            Some(Err(error)) if heard_at.elapsed() > PATIENCE => return Err(failed(error)),
            None if heard_at.elapsed() > PATIENCE => {
                return Err(unread("the broker does not answer".to_owned()));
            }
            Some(Err(_)) | None => {}
        }
    }
    Ok(())
}
