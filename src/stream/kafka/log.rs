//! One worker's consumer and producers.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::stream::kafka::client::{KafkaSettings, TopicNames, unusable};
use crate::stream::kafka::complaints::{Barrier, Complaints, Ear};
use crate::stream::kafka::direct::Direct;
use crate::stream::kafka::earlier::Earlier;
use crate::stream::kafka::leave::leave;
use crate::stream::kafka::lookup::apart;
use crate::stream::kafka::native::{self, PrivateQueue};
use crate::stream::kafka::polled::{NoHeaders, polled};
use crate::stream::kafka::seek::seek;
use crate::stream::kafka::side::Sides;
use crate::stream::kafka::verdict::{classify, fatal};
use crate::stream::kafka::watcher::{Watcher, source};
use crate::stream::shared::{let_go, lock};
use crate::stream::{
    Aside, Batch, Delivery, Failure, Log, Lookup, Place, Polled, Produce, Rebalance, Record,
    SideRecord, Visit,
};

/// One question to the broker.
pub(super) const ASK: Duration = Duration::from_secs(5);
/// How long the end of a transaction is sought before the worker is built anew.
const SETTLE: Duration = Duration::from_mins(1);
/// `message.timeout.ms`, and some more.
const SENT: Duration = Duration::from_secs(15);
/// A little less than `transaction.timeout.ms`.
const LONG: Duration = Duration::from_secs(9);
/// Rebalances and errors are looked for so often.
const SERVE: Duration = Duration::from_millis(10);

/// Collects what the broker refused: index of the output, and why.
#[derive(Debug, Default)]
struct Reports {
    failed: Mutex<Vec<(usize, RDKafkaErrorCode)>>,
    complaints: Complaints,
    /// The broker has answered once; before, whoever waits for it tells why it does not.
    opened: AtomicBool,
    ear: Ear,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.ear.note(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if self.opened.load(Ordering::Acquire) {
            self.complaints.note("producer", &error, reason);
        } else {
            self.ear.hear(&error, reason);
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        if let Err((error, _)) = result {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            lock(&self.failed).push((index, code));
        }
    }
}

/// A worker's log in Kafka. Fields drop in order: the queue before its client.
pub struct KafkaLog {
    queue: PrivateQueue,
    /// Reads what was read before once more.
    earlier: Option<Earlier>,
    pub(super) consumer: BaseConsumer<Watcher>,
    producer: BaseProducer<Reports>,
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
        let config = settings.producer(slot);
        let producer: BaseProducer<Reports> =
            BaseProducer::from_config_and_context(&config, Reports::default()).map_err(made)?;
        producer.init_transactions(ASK).map_err(|error| {
            let heard = producer.context().ear.listen(|time| producer.poll(time));
            match (classify(&error), heard) {
                (Failure::Retriable(_), Some(Barrier::Refused(reason) | Barrier::Away(reason))) => {
                    Failure::Retriable(reason)
                }
                (failure, _) => failure,
            }
        })?;
        producer.context().opened.store(true, Ordering::Release);
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
            producer,
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

    fn list(&self, offsets: &[(Place, i64)]) -> Result<TopicPartitionList, Failure> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (place, offset) in offsets {
            list.add_partition_offset(self.topic(*place), place.partition, Offset::Offset(*offset))
                .map_err(|error| Failure::Fatal(error.to_string()))?;
        }
        Ok(list)
    }

    fn add(&self, index: usize, output: &Produce) -> Result<(), Failure> {
        loop {
            let Err(error) = self.producer.send(record(&self.settings.topics, index, output))
            else {
                return Ok(());
            };
            match error.0.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => {
                    native::flush(self.producer.client().native_ptr(), 100);
                    self.producer.poll(Duration::ZERO);
                }
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    return Err(Failure::TooLarge(vec![index]));
                }
                _ => return Err(classify(&error.0)),
            }
        }
    }

    fn transact(&self, batch: &Batch<'_>) -> Result<(), Failure> {
        self.producer.begin_transaction().map_err(|error| classify(&error))?;
        for (index, output) in batch.outputs.iter().enumerate() {
            self.add(index, output)?;
        }
        if !batch.offsets.is_empty() {
            let offsets = self.list(batch.offsets)?;
            self.insist(|| {
                let group = self.consumer.group_metadata().ok_or(KafkaError::NoMessageReceived)?;
                self.producer.send_offsets_to_transaction(&offsets, &group, ASK)
            })?;
        }
        self.settle();
        self.insist(|| self.producer.commit_transaction(ASK))
    }

    /// Waits until every output is written or refused. What is refused counts as under way until
    /// its report is read.
    fn settle(&self) {
        let until = Instant::now() + SENT;
        while !native::flush(self.producer.client().native_ptr(), 10) && Instant::now() < until {
            self.producer.poll(Duration::ZERO);
        }
    }

    /// Makes a resumable call until it has an outcome.
    fn insist(&self, call: impl Fn() -> KafkaResult<()>) -> Result<(), Failure> {
        let began = Instant::now();
        let mut is_told = false;
        loop {
            let Err(error) = call() else { return Ok(()) };
            match classify(&error) {
                Failure::Retriable(reason) if began.elapsed() > SETTLE => {
                    return Err(Failure::Fatal(reason));
                }
                Failure::Retriable(reason) => {
                    if began.elapsed() >= ASK && !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(reason, "the end of a transaction is waited for");
                    }
                    self.producer.poll(SERVE);
                }
                failure => return Err(failure),
            }
        }
    }

    fn abort(&self) -> Result<(), Failure> {
        let until = Instant::now() + SETTLE;
        loop {
            self.producer.poll(Duration::ZERO);
            let Err(error) = self.producer.abort_transaction(Duration::from_millis(100)) else {
                return Ok(());
            };
            match classify(&error) {
                Failure::Retriable(_) if Instant::now() <= until => {}
                Failure::Retriable(reason) | Failure::Aborted(reason) => {
                    return Err(Failure::Fatal(reason));
                }
                failure => return Err(failure),
            }
        }
    }
}

/// Closes; the group keeps the slot for the session time-out unless it was left before.
impl Drop for KafkaLog {
    fn drop(&mut self) {
        // The consumer polls until it has given its partitions back; nobody else does that now.
        self.consumer.context().close();
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
        let list = self.list(starts)?;
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

    fn committed(&mut self, places: &[Place]) -> Result<Vec<Option<i64>>, Failure> {
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
        let offset = |place: &Place| {
            let found = found.find_partition(self.topic(*place), place.partition);
            match found.map(|at| (at.error(), at.offset())) {
                Some((Ok(()), Offset::Offset(offset))) => Ok(Some(offset)),
                Some((Ok(()), _)) => Ok(None),
                Some((Err(error), _)) => Err(Failure::Retriable(error.to_string())),
                None => Err(Failure::Retriable("the broker left out a partition".to_owned())),
            }
        };
        places.iter().map(offset).collect()
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

    fn commit(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        lock(&self.producer.context().failed).clear();
        let began = Instant::now();
        let failure = match self.transact(batch) {
            Ok(()) => return Ok(()),
            // The broker ends a transaction that stays open too long as it fences a twin's.
            Err(Failure::Replaced(reason)) if began.elapsed() >= LONG => {
                return Err(Failure::Fatal(reason));
            }
            Err(failure @ (Failure::Fatal(_) | Failure::Replaced(_))) => return Err(failure),
            Err(failure) => failure,
        };
        self.abort()?;
        let failed = std::mem::take(&mut *lock(&self.producer.context().failed));
        let too_large = failed.iter().filter(|(_, code)| {
            matches!(
                code,
                RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize
            )
        });
        let too_large: Vec<usize> = too_large.map(|(index, _)| *index).collect();
        match failure {
            Failure::TooLarge(_) => Err(failure),
            _ if !too_large.is_empty() => Err(Failure::TooLarge(too_large)),
            Failure::Retriable(reason) => Err(Failure::Aborted(reason)),
            failure => Err(failure),
        }
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

pub(super) fn record<'a>(
    names: &'a TopicNames,
    index: usize,
    output: &'a Produce,
) -> BaseRecord<'a, [u8], [u8], usize> {
    let mut record = BaseRecord::with_opaque_to(names.of(output.sink), index);
    record.partition = output.partition;
    record.key = output.key.as_deref();
    record.payload = output.value.as_deref();
    record.timestamp = output.timestamp_ms;
    if !output.headers.is_empty() {
        let mut headers = OwnedHeaders::new_with_capacity(output.headers.len());
        for (name, value) in &output.headers {
            headers =
                headers.insert(rdkafka::message::Header { key: name, value: value.as_deref() });
        }
        record.headers = Some(headers);
    }
    record
}
