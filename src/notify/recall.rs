//! Reads, at a start, what the log of told notices has to say beyond the commits (N4).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::group;
use super::told::Told;
use crate::stream::kafka::Quiet;

/// A log that cannot be read by then keeps nobody from being told.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

/// What is told from `from` on, all of it where that is unknown, and where the log ends; nothing
/// and unknown where it cannot be read.
pub(super) fn recall(
    brokers: &str,
    properties: &BTreeMap<String, String>,
    topic: &str,
    from: Option<i64>,
) -> (Told, Option<i64>) {
    let mut told = Told::default();
    match read(brokers, properties, (topic, from), &mut told) {
        Ok(Some(end)) => return (told, Some(end)),
        Ok(None) => tracing::warn!(topic, "what was told last cannot be read to its end"),
        Err(error) => tracing::warn!(topic, %error, "what was told last cannot be read"),
    }
    (told, None)
}

fn read(
    brokers: &str,
    properties: &BTreeMap<String, String>,
    (topic, from): (&str, Option<i64>),
    told: &mut Told,
) -> KafkaResult<Option<i64>> {
    let until = Instant::now() + PATIENCE;
    let fixed = [
        // Needed by the client, though it joins none.
        ("group.id", "tidegate-notices"),
        ("enable.auto.commit", "false"),
        ("enable.partition.eof", "true"),
        ("auto.offset.reset", "earliest"),
    ];
    let config = group::settings(brokers, properties, &[("fetch.wait.max.ms", "10")], &fixed);
    let made: KafkaResult<BaseConsumer<Quiet>> = config.create_with_context(Quiet("recall"));
    let consumer = made.map_err(group::hide_value)?;
    let (low, high) = consumer.fetch_watermarks(topic, 0, PATIENCE)?;
    // A log that is younger than what is known of it is read whole.
    let from = from.filter(|from| (low..=high).contains(from)).unwrap_or(low);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(from))?;
    let mut next = from;
    if next < high {
        consumer.assign(&list)?;
    }
    while next < high && Instant::now() < until {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                told.take(message.payload().unwrap_or_default());
                next = message.offset() + 1;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => next = high,
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
            Some(Err(_)) | None => {}
        }
    }
    Ok((next >= high).then_some(next))
}
