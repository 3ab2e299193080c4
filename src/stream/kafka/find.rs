//! Looks for one event in the events topic, from its end backwards, and for what came of it.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::engine::Decision;
use crate::event::Decoder;
use crate::stream::kafka::client::{KafkaSettings, unusable};
use crate::stream::kafka::topics::counts;

/// One question to the broker.
const ASK: Duration = Duration::from_secs(5);
/// Records read at a time, going backwards.
const STRETCH: i64 = 20_000;
/// A partition that brings nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// An event as it stands in the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundEvent {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub record_ts: Option<i64>,
    pub value: Vec<u8>,
}

/// What to look for, and how far.
#[derive(Debug)]
pub struct Wanted<'a> {
    pub id: &'a str,
    /// Of this user; of any when absent.
    pub user: Option<&'a str>,
    pub decoder: &'a Decoder,
    pub max_bytes: usize,
    /// Records looked at in a partition, from its end.
    pub depth: i64,
    /// Partition to begin with.
    pub first: i32,
}

/// The youngest event of that id; `None` when it is not among the records looked at.
///
/// # Errors
/// When the topic cannot be read, in words.
pub fn find_event(
    settings: &KafkaSettings,
    wanted: &Wanted<'_>,
) -> Result<Option<FoundEvent>, String> {
    let topic = settings.topics.events.to_string();
    let known = counts(settings).map_err(|error| error.to_string())?;
    let partitions = known.get(&topic).and_then(|count| i32::try_from(*count).ok()).unwrap_or(0);
    let consumer: BaseConsumer =
        settings.reading("tidegate-find").create().map_err(|error| unusable(&error))?;
    let others = (0..partitions).filter(|partition| *partition != wanted.first);
    let order = (0..partitions).filter(|partition| *partition == wanted.first).chain(others);
    for partition in order {
        let bounds = consumer.fetch_watermarks(&topic, partition, ASK);
        let (low, high) = bounds.map_err(|error| unusable(&error))?;
        let floor = low.max(high - wanted.depth);
        let mut end = high;
        while end > floor {
            let start = floor.max(end - STRETCH);
            let mut found = None;
            stretch(
                &consumer,
                (&topic, partition),
                (start, end),
                &mut |offset, record_ts, value| {
                    if is_wanted(value, wanted) {
                        let value = value.to_vec();
                        found = Some(FoundEvent { partition, offset, record_ts, value });
                    }
                },
            )?;
            if found.is_some() {
                return Ok(found);
            }
            end = start;
        }
    }
    Ok(None)
}

fn is_wanted(value: &[u8], wanted: &Wanted<'_>) -> bool {
    // Most records are told apart by their bytes alone; an id with an escape is seen all the same.
    let id = wanted.id.as_bytes();
    let may_be = value.contains(&b'\\') || value.windows(id.len().max(1)).any(|part| part == id);
    may_be
        && wanted.decoder.decode(value, wanted.max_bytes).is_ok_and(|event| {
            event.id == wanted.id && wanted.user.is_none_or(|user| event.user == user)
        })
}

/// Decisions that an event has triggered, looked for among those written since.
///
/// # Errors
/// When the topic cannot be read, in words.
pub fn decisions_of(
    settings: &KafkaSettings,
    event: &FoundEvent,
    id: &str,
    most: usize,
) -> Result<Vec<Decision>, String> {
    let topic = settings.topics.decisions.to_string();
    let known = counts(settings).map_err(|error| error.to_string())?;
    let partitions = known.get(&topic).and_then(|count| i32::try_from(*count).ok()).unwrap_or(0);
    let failed = |error: KafkaError| unusable(&error);
    let consumer: BaseConsumer = settings.reading("tidegate-find").create().map_err(failed)?;
    let mut list = TopicPartitionList::with_capacity(usize::try_from(partitions).unwrap_or(0));
    for partition in 0..partitions {
        let since = Offset::Offset(event.record_ts.unwrap_or(0));
        list.add_partition_offset(&topic, partition, since).map_err(failed)?;
    }
    let starts = consumer.offsets_for_times(list, ASK).map_err(failed)?;
    let mut found: Vec<Decision> = Vec::new();
    for start in starts.elements() {
        let Offset::Offset(from) = start.offset() else { continue };
        let partition = start.partition();
        let (_, high) = consumer.fetch_watermarks(&topic, partition, ASK).map_err(failed)?;
        let to = high.min(from + STRETCH);
        stretch(&consumer, (&topic, partition), (from, to), &mut |_, _, value| {
            let decision = serde_json::from_slice::<Decision>(value).ok();
            let of_event = decision.filter(|decision| {
                let trigger = decision.trigger.as_ref();
                trigger.is_some_and(|trigger| {
                    trigger.id == id
                        && trigger.partition == event.partition
                        && trigger.offset == event.offset
                })
            });
            // What was written again says the same.
            let of_event = of_event.filter(|one| found.iter().all(|known| known.id != one.id));
            if found.len() < most {
                found.extend(of_event);
            }
        })?;
    }
    Ok(found)
}

/// The committed records of a partition from one offset up to another.
///
/// # Errors
/// When it cannot be read, in words.
pub fn records(
    settings: &KafkaSettings,
    place: (&str, i32),
    range: (i64, i64),
    take: &mut dyn FnMut(i64, &[u8]),
) -> Result<(), String> {
    let made: Result<BaseConsumer, _> = settings.reading("tidegate-find").create();
    let consumer = made.map_err(|error| unusable(&error))?;
    stretch(&consumer, place, range, &mut |offset, _, value| take(offset, value))
}

/// Takes a record's offset, its timestamp and its value.
type Take<'a> = dyn FnMut(i64, Option<i64>, &[u8]) + 'a;

/// Reads the records of a partition from one offset up to another.
fn stretch(
    consumer: &BaseConsumer,
    (topic, partition): (&str, i32),
    (from, to): (i64, i64),
    take: &mut Take<'_>,
) -> Result<(), String> {
    let failed = |error: KafkaError| unusable(&error);
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(topic, partition, Offset::Offset(from)).map_err(failed)?;
    consumer.assign(&list).map_err(failed)?;
    let mut heard_at = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                heard_at = Instant::now();
                if message.offset() >= to {
                    return Ok(());
                }
                let value = message.payload().unwrap_or_default();
                take(message.offset(), message.timestamp().to_millis(), value);
                if message.offset() + 1 >= to {
                    return Ok(());
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(error)) if heard_at.elapsed() > PATIENCE => return Err(failed(error)),
            None if heard_at.elapsed() > PATIENCE => {
                return Err(format!("{topic}: the broker does not answer"));
            }
            Some(Err(_)) | None => {}
        }
    }
}
