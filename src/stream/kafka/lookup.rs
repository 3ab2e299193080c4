//! Questions to the brokers about what a log holds, from a worker's own thread while it restores, or
//! from one beside it.

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use crate::stream::kafka::client::{KafkaSettings, unusable};
use crate::stream::kafka::log::{ASK, KafkaLog};
use crate::stream::kafka::side::{Ears, Sides, consumer};
use crate::stream::{Aside, Bounds, Failure, Lookup, Place, Side, SideRecord};

impl Lookup for KafkaLog {
    fn bounds(&mut self, place: Place) -> Result<Bounds, Failure> {
        bounds(&self.consumer, (self.topic(place), place.partition))
    }

    fn since(&mut self, place: Place, ms: i64) -> Result<i64, Failure> {
        since(&self.consumer, (self.topic(place), place.partition), ms)
    }

    fn fingerprint(&mut self, place: Place, offset: i64) -> Result<Option<u64>, Failure> {
        let topic = self.topic(place).to_owned();
        self.sides.fingerprint((&topic, place), offset)
    }

    fn whole(&mut self, side: Side, from: i64) -> Result<Vec<SideRecord>, Failure> {
        self.sides.whole(side, from)
    }
}

/// Asks in a thread of its own, with clients of its own.
pub(super) fn apart<T: Send + 'static>(
    settings: &KafkaSettings,
    slot: &str,
    ask: impl FnOnce(&mut dyn Lookup) -> Result<T, Failure> + Send + 'static,
) -> Aside<T> {
    let (answer, aside) = Aside::new();
    let sides = Sides::new(settings, slot);
    let mut apart = Apart { settings: settings.clone(), sides, consumer: None };
    let thread = std::thread::Builder::new().name(format!("{slot}-lookup"));
    let begun = thread.spawn(move || {
        // Nobody may want to know any more.
        drop(answer.send(ask(&mut apart)));
    });
    if let Err(error) = begun {
        tracing::warn!(slot, %error, "no thread for a question to the log, trying again");
    }
    aside
}

struct Apart {
    settings: KafkaSettings,
    sides: Sides,
    /// Made when something is first asked.
    consumer: Option<BaseConsumer<Ears>>,
}

impl Apart {
    fn consumer(&mut self) -> Result<&BaseConsumer<Ears>, Failure> {
        let made = match self.consumer.take() {
            Some(made) => made,
            None => consumer(&self.settings, self.sides.slot(), &[])
                .map_err(|error| Failure::Fatal(unusable(&error)))?,
        };
        Ok(self.consumer.insert(made))
    }
}

impl Lookup for Apart {
    fn bounds(&mut self, place: Place) -> Result<Bounds, Failure> {
        let topic = self.settings.topics.input(place.source).clone();
        bounds(self.consumer()?, (&topic, place.partition))
    }

    fn since(&mut self, place: Place, ms: i64) -> Result<i64, Failure> {
        let topic = self.settings.topics.input(place.source).clone();
        since(self.consumer()?, (&topic, place.partition), ms)
    }

    fn fingerprint(&mut self, place: Place, offset: i64) -> Result<Option<u64>, Failure> {
        let topic = self.settings.topics.input(place.source);
        self.sides.fingerprint((topic, place), offset)
    }

    fn whole(&mut self, side: Side, from: i64) -> Result<Vec<SideRecord>, Failure> {
        self.sides.whole(side, from)
    }
}

fn bounds<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    (topic, partition): (&str, i32),
) -> Result<Bounds, Failure> {
    let found = consumer.fetch_watermarks(topic, partition, ASK);
    let (low, high) = found.map_err(|error| Failure::Retriable(error.to_string()))?;
    Ok(Bounds { low, high })
}

fn since<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    (topic, partition): (&str, i32),
    ms: i64,
) -> Result<i64, Failure> {
    let retriable = |error: KafkaError| Failure::Retriable(error.to_string());
    let mut times = TopicPartitionList::with_capacity(1);
    // Negative times have meanings of their own.
    times.add_partition_offset(topic, partition, Offset::Offset(ms.max(0))).map_err(retriable)?;
    let found = consumer.offsets_for_times(times, ASK).map_err(retriable)?;
    match found.elements().first().map(|at| (at.error(), at.offset())) {
        Some((Ok(()), Offset::Offset(offset))) => Ok(offset),
        Some((Ok(()), _)) => Ok(bounds(consumer, (topic, partition))?.high),
        Some((Err(error), _)) => Err(Failure::Retriable(error.to_string())),
        None => Err(Failure::Retriable("the broker left out a partition".to_owned())),
    }
}
