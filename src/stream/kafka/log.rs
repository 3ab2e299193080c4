//! One worker's consumer and producers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message as _, TopicPartitionList};

use crate::stream::kafka::client::{KafkaSettings, unusable};
use crate::stream::kafka::direct::Direct;
use crate::stream::kafka::earlier::Earlier;
use crate::stream::kafka::leave::leave;
use crate::stream::kafka::lookup::apart;
use crate::stream::kafka::native::{self, PrivateQueue};
use crate::stream::kafka::polled::{NoHeaders, polled};
use crate::stream::kafka::progress;
use crate::stream::kafka::seek::seek;
use crate::stream::kafka::side::Sides;
use crate::stream::kafka::transaction::Transactions;
use crate::stream::kafka::verdict::fatal;
use crate::stream::kafka::watcher::{Watcher, source};
use crate::stream::shared::let_go;
use crate::stream::{
    Aside, Batch, Delivery, Failure, Log, Lookup, Place, Polled, Produce, Progress, Rebalance,
    Record, SideRecord, Visit,
};

/// One question to the broker.
pub(super) const ASK: Duration = Duration::from_secs(5);
/// Rebalances and errors are looked for so often.
pub(super) const SERVE: Duration = Duration::from_millis(10);

/// A worker's log in Kafka. Fields drop in order: the queue before its client.
pub struct KafkaLog {
    queue: PrivateQueue,
    /// Reads what was read before once more.
    earlier: Option<Earlier>,
    pub(super) consumer: BaseConsumer<Watcher>,
    transactions: Transactions,
    /// Of outputs that leave at once.
    direct: Option<Direct>,
    settings: KafkaSettings,
    pub(super) sides: Sides,
    assigned: BTreeSet<Place>,
    served_at: Option<Instant>,
}

impl std::fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaLog").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// Fences whoever used the slot before, and joins the group.
    ///
    /// # Errors
    /// Retriable when the broker does not answer, fatal when a setting cannot be used.
    pub fn open(settings: &KafkaSettings, slot: &str) -> Result<KafkaLog, Failure> {
        let made = |error: KafkaError| Failure::Fatal(unusable(&error));
        let transactions = Transactions::open(settings, slot)?;
        let config = settings.consumer(slot);
        let consumer: BaseConsumer<Watcher> =
            BaseConsumer::from_config_and_context(&config, Watcher::new(&settings.topics))
                .map_err(made)?;
        let topics = [&*settings.topics.events, &*settings.topics.partials];
        consumer.subscribe(&topics).map_err(made)?;
        let queue = PrivateQueue::new(consumer.client().native_ptr());
        let direct = match settings.delivery {
            Delivery::ExactlyOnce => None,
            Delivery::AtLeastOnce => Some(Direct::open(settings, slot)?),
        };
        Ok(KafkaLog {
            queue,
            earlier: None,
            consumer,
            transactions,
            direct,
            settings: settings.clone(),
            sides: Sides::new(settings, slot),
            assigned: BTreeSet::new(),
            served_at: None,
        })
    }

    /// Leaves the group, so that others take the partitions over without waiting for the end of
    /// the session. Nothing is polled or committed after it.
    pub fn leave(&mut self) {
        self.consumer.context().close();
        leave(&self.consumer);
    }

    pub(super) fn topic(&self, place: Place) -> &str {
        self.settings.topics.input(place.source)
    }

    /// Serves rebalances, errors and whatever lies in the consumer's own queue.
    fn serve(&mut self, visit: &mut Visit<'_>) -> Result<(), Failure> {
        if self.served_at.is_some_and(|at| at.elapsed() < SERVE) {
            return Ok(());
        }
        self.served_at = Some(Instant::now());
        let Some(result) = self.consumer.poll(Duration::ZERO) else { return Ok(()) };
        match result {
            Ok(message) => {
                let record = Record {
                    place: Place {
                        source: source(Some(&self.settings.topics), message.topic().as_bytes()),
                        partition: message.partition(),
                    },
                    offset: message.offset(),
                    timestamp_ms: message.timestamp().to_millis(),
                    key: message.key(),
                    value: message.payload(),
                    headers: &NoHeaders,
                };
                visit(&[Polled::Record(record)]);
                Ok(())
            }
            Err(KafkaError::PartitionEOF(_)) => Ok(()),
            Err(error) => self.consumer_failure(&error),
        }
    }

    fn consumer_failure(&self, error: &KafkaError) -> Result<(), Failure> {
        if let Some((code, reason)) = self.consumer.client().fatal_error() {
            return Err(fatal(code, reason));
        }
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) {
            let reason = "the next record is not in the log any more: it was deleted unread";
            return Err(Failure::Fatal(reason.to_owned()));
        }
        self.consumer.context().complaints.note("consumer", error, "it goes on");
        Ok(())
    }
}

/// Closes; the group keeps the slot for the session time-out unless it was left before.
impl Drop for KafkaLog {
    fn drop(&mut self) {
        // The consumer polls until it has given its partitions back; nobody else does that now. It may
        // have been asked for them already, and whoever should have done so has failed.
        self.consumer.context().close();
        if let Err(error) = self.consumer.unassign() {
            tracing::warn!(%error, "cannot give partitions back");
        }
    }
}

impl Log for KafkaLog {
    fn poll(&mut self, wait_ms: u64, visit: &mut Visit<'_>) -> Result<(), Failure> {
        KafkaLog::serve(self, visit)?;
        let names = &self.settings.topics;
        let mut fault = None;
        self.queue.take(wait_ms, &mut |items| {
            let place =
                |topic: &[u8], partition| Place { source: source(Some(names), topic), partition };
            visit(&polled(items, &place, &mut fault));
        });
        fault.map_or(Ok(()), |error| self.consumer_failure(&error))
    }

    fn serve(&mut self, wait_ms: u64) -> Result<(), Failure> {
        std::thread::sleep(Duration::from_millis(wait_ms));
        KafkaLog::serve(self, &mut |_| {})
    }

    fn rebalances(&mut self) -> Vec<Rebalance> {
        self.consumer.context().rebalances()
    }

    fn assign(&mut self, starts: &[(Place, i64)]) -> Result<(), Failure> {
        self.sides.rest();
        let at = starts.iter().map(|(place, offset)| (*place, Progress::at(*offset)));
        let list = progress::list(|source| self.settings.topics.input(source), at)?;
        let places: BTreeSet<Place> = starts.iter().map(|(place, _)| *place).collect();
        if !places.is_empty() && places == self.assigned {
            return seek(&self.consumer, &list);
        }
        for (place, _) in starts {
            self.queue.forward(self.topic(*place), place.partition);
        }
        self.assigned = places;
        self.consumer.assign(&list).map_err(|error| Failure::Fatal(error.to_string()))
    }

    fn unassign(&mut self) -> Result<(), Failure> {
        self.assigned.clear();
        if let Some(direct) = &mut self.direct {
            direct.forget()?;
        }
        self.consumer.unassign().map_err(|error| Failure::Fatal(error.to_string()))
    }

    fn committed(&mut self, places: &[Place]) -> Result<Vec<Option<Progress>>, Failure> {
        if places.is_empty() {
            // More workers than partitions: nothing to ask.
            return Ok(Vec::new());
        }
        let mut list = TopicPartitionList::with_capacity(places.len());
        for place in places {
            list.add_partition(self.topic(*place), place.partition);
        }
        // Waits for a transaction that is still open on these offsets.
        let found = self.consumer.committed_offsets(list, ASK);
        let found = found.map_err(|error| Failure::Retriable(error.to_string()))?;
        let told = |place: &Place| progress::found(&found, self.topic(*place), place.partition);
        places.iter().map(told).collect()
    }

    fn earlier(
        &mut self,
        place: Place,
        (from, until): (i64, i64),
        visit: &mut Visit<'_>,
    ) -> Result<i64, Failure> {
        let reader = match self.earlier.take() {
            Some(reader) if reader.stands_at(place, from) => reader,
            _ => {
                let (topic, slot) = (self.settings.topics.input(place.source), self.sides.slot());
                Earlier::open(&self.settings, slot, (topic, place), from)?
            }
        };
        self.earlier.insert(reader).read(until, visit)
    }

    fn rest(&mut self) {
        if let Some(earlier) = self.earlier.take() {
            // To end a client takes up to a tenth of a second.
            let_go("reader", earlier);
        }
    }

    fn lag(&self, place: Place, next: i64) -> Option<i64> {
        let client = self.consumer.client().native_ptr();
        let end = native::known_end(client, self.topic(place), place.partition)?;
        Some((end - next).max(0))
    }

    fn send(&mut self, outputs: &[Produce]) -> Result<(), Failure> {
        match &mut self.direct {
            Some(direct) => direct.send(outputs),
            None => Err(Failure::Fatal("nothing leaves before the transaction".to_owned())),
        }
    }

    fn unwritten(&mut self, wait_ms: u64) -> Result<usize, Failure> {
        self.direct.as_ref().map_or(Ok(0), |direct| direct.unwritten(wait_ms))
    }

    fn begin(&mut self, batch: Batch) {
        let group = self.consumer.group_metadata();
        self.transactions.begin(batch, group);
    }

    fn ended(&mut self, wait_ms: u64) -> Option<(Batch, Result<(), Failure>)> {
        self.transactions.ended(wait_ms)
    }

    fn changes(&mut self, from: i64) -> Result<Vec<SideRecord>, Failure> {
        self.sides.changes(from)
    }

    fn aside<T: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut dyn Lookup) -> Result<T, Failure> + Send + 'static,
    ) -> Aside<T> {
        apart(&self.settings, self.sides.slot(), ask)
    }
}
