//! Reads, at a start, what the log of told notices has to say beyond the commits, and what was noted
//! to outlive the process (N3, N4).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::group;
use super::progress::Place;
use super::told::Told;
use crate::stream::kafka::Quiet;

/// A log that nothing more comes of for so long cannot be read to its end now.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);
/// Records that are read through on the way to the next one that is wanted.
const NEAR: i64 = 500;

/// How to reach a broker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) brokers: &'a str,
    /// Handed to librdkafka as they are.
    pub(super) properties: &'a BTreeMap<String, String>,
}

/// What is told from `from` on, all of it where that is unknown, and where the log ends; nothing
/// and unknown where it cannot be read: that keeps nobody from being told.
pub(super) fn recall(line: Line<'_>, topic: &str, from: Option<i64>) -> (Told, Option<i64>) {
    let mut told = Told::default();
    let take = &mut |message: &BorrowedMessage<'_>| {
        told.take(message.payload().unwrap_or_default());
    };
    match read_all(line, (topic, from), take) {
        Ok(Some(end)) => return (told, Some(end)),
        Ok(None) => tracing::warn!(topic, "what was told last cannot be read to its end"),
        Err(error) => tracing::warn!(topic, %error, "what was told last cannot be read"),
    }
    (told, None)
}

/// The last word on each key of a compacted topic.
///
/// # Errors
/// Why it cannot be read to its end.
pub(super) fn words(line: Line<'_>, topic: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut words = BTreeMap::new();
    let take = &mut |message: &BorrowedMessage<'_>| {
        let Some(Ok(key)) = message.key().map(str::from_utf8) else { return };
        match message.payload() {
            Some(value) => words.insert(key.to_owned(), value.to_vec()),
            None => words.remove(key),
        };
    };
    match read_all(line, (topic, None), take) {
        Ok(Some(_)) => Ok(words),
        Ok(None) => Err(format!("{topic} cannot be read to its end")),
        Err(error) => Err(format!("{topic} cannot be read: {error}")),
    }
}

/// A decision as it stands in its topic.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    /// When, and what; nothing of one that the topic no longer has.
    pub(super) record: Option<(i64, Vec<u8>)>,
}

/// The records at these places; what cannot be read now is left out.
///
/// # Errors
/// Why nothing can be read.
pub(super) fn records(line: Line<'_>, topic: &str, places: &[Place]) -> KafkaResult<Vec<Found>> {
    let consumer = open(line)?;
    let mut wanted: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
    for place in places {
        wanted.entry(place.partition).or_default().insert(place.offset);
    }
    let mut found = Vec::new();
    for (partition, offsets) in wanted {
        let (low, _) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
        for run in runs(&offsets) {
            let mut records: BTreeMap<i64, (i64, Vec<u8>)> = BTreeMap::new();
            let take = &mut |message: &BorrowedMessage<'_>| {
                if offsets.contains(&message.offset()) {
                    let at = message.timestamp().to_millis().unwrap_or_default();
                    let value = message.payload().unwrap_or_default().to_vec();
                    records.insert(message.offset(), (at, value));
                }
            };
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let range = (low.max(*first), last + 1);
            if read(&consumer, (topic, partition), range, take)?.is_none() {
                continue;
            }
            found.extend(run.into_iter().map(|offset| {
                let place = Place { partition, offset };
                Found { place, record: records.remove(&offset) }
            }));
        }
    }
    Ok(found)
}

/// The records of a partition from one offset up to another, as far as they are there: offset and
/// value.
///
/// # Errors
/// Why they cannot be read.
pub(super) fn stretch(
    line: Line<'_>,
    (topic, partition): (&str, i32),
    (from, to): (i64, i64),
    take: &mut dyn FnMut(i64, &[u8]),
) -> KafkaResult<()> {
    if from >= to {
        return Ok(());
    }
    let consumer = open(line)?;
    let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
    let take = &mut |message: &BorrowedMessage<'_>| {
        take(message.offset(), message.payload().unwrap_or_default());
    };
    read(&consumer, (topic, partition), (low.max(from), high.min(to)), take).map(drop)
}

/// Those that lie close together.
fn runs(offsets: &BTreeSet<i64>) -> Vec<Vec<i64>> {
    let mut runs: Vec<Vec<i64>> = Vec::new();
    for &offset in offsets {
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|last| offset - last <= NEAR) => run.push(offset),
            _ => runs.push(vec![offset]),
        }
    }
    runs
}

/// From `from` on, from the beginning where that is not there, to the end, and where that is; unknown
/// where it is not reached.
fn read_all(
    line: Line<'_>,
    (topic, from): (&str, Option<i64>),
    take: &mut dyn FnMut(&BorrowedMessage<'_>),
) -> KafkaResult<Option<i64>> {
    let consumer = open(line)?;
    let (low, high) = consumer.fetch_watermarks(topic, 0, PATIENCE)?;
    // A log that is younger than what is known of it is read whole.
    let from = from.filter(|from| (low..=high).contains(from)).unwrap_or(low);
    read(&consumer, (topic, 0), (from, high), take)
}

fn open(Line { brokers, properties }: Line<'_>) -> KafkaResult<BaseConsumer<Quiet>> {
    let fixed = [
        // Needed by the client, though it joins none.
        ("group.id", "tidegate-notices"),
        ("isolation.level", "read_committed"),
        ("enable.auto.commit", "false"),
        ("enable.partition.eof", "true"),
        ("auto.offset.reset", "earliest"),
    ];
    let config = group::settings(brokers, properties, &[("fetch.wait.max.ms", "10")], &fixed);
    config.create_with_context(Quiet("recall")).map_err(group::hide_value)
}

fn read(
    consumer: &BaseConsumer<Quiet>,
    (topic, partition): (&str, i32),
    (from, end): (i64, i64),
    take: &mut dyn FnMut(&BorrowedMessage<'_>),
) -> KafkaResult<Option<i64>> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(from))?;
    let mut next = from;
    if next < end {
        consumer.assign(&list)?;
    }
    let mut until = Instant::now() + PATIENCE;
    while next < end && Instant::now() < until {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                next = message.offset() + 1;
                if next <= end {
                    take(&message);
                }
                until = Instant::now() + PATIENCE;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => next = end,
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
            Some(Err(_)) | None => {}
        }
    }
    Ok((next >= end).then_some(next))
}
