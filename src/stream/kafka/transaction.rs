//! Transactions of one worker, each in the worker's second thread: events are counted meanwhile.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use crate::stream::kafka::client::{KafkaSettings, TopicNames, unusable};
use crate::stream::kafka::complaints::{Barrier, Complaints, Ear};
use crate::stream::kafka::log::{ASK, SERVE};
use crate::stream::kafka::native;
use crate::stream::kafka::progress;
use crate::stream::kafka::verdict::classify;
use crate::stream::shared::lock;
use crate::stream::{Batch, Failure, Produce};

/// How long the end of a transaction is sought before the worker is built anew.
const SETTLE: Duration = Duration::from_mins(1);
/// `message.timeout.ms`, and some more.
const SENT: Duration = Duration::from_secs(15);
/// A little less than `transaction.timeout.ms`.
const LONG: Duration = Duration::from_secs(9);

type Begun = (Batch, Option<ConsumerGroupMetadata>);
type Ended = (Batch, Result<(), Failure>);

/// Where a worker puts its transactions, one at a time.
#[derive(Debug)]
pub(super) struct Transactions {
    /// None once it is dropped.
    batches: Option<SyncSender<Begun>>,
    ends: Receiver<Ended>,
    thread: Option<JoinHandle<()>>,
    is_under_way: bool,
}

impl Transactions {
    /// Fences whoever used the slot before.
    pub(super) fn open(settings: &KafkaSettings, slot: &str) -> Result<Transactions, Failure> {
        let committer = Committer::open(settings, slot)?;
        let (batches, to_do) = sync_channel::<Begun>(1);
        let (done, ends) = sync_channel(1);
        let thread = std::thread::Builder::new().name(format!("{slot}-commit"));
        let thread = thread.spawn(move || {
            for (batch, group) in to_do {
                let result = committer.commit(&batch, group.as_ref());
                if done.send((batch, result)).is_err() {
                    return;
                }
            }
        });
        let thread = thread
            .map_err(|error| Failure::Retriable(format!("no thread for transactions: {error}")))?;
        Ok(Transactions { batches: Some(batches), ends, thread: Some(thread), is_under_way: false })
    }

    pub(super) fn begin(&mut self, batch: Batch, group: Option<ConsumerGroupMetadata>) {
        self.is_under_way = true;
        if let Some(batches) = &self.batches {
            // Without its thread the end says so.
            batches.send((batch, group)).unwrap_or_default();
        }
    }

    pub(super) fn ended(&mut self, wait_ms: u64) -> Option<Ended> {
        if !self.is_under_way {
            return None;
        }
        let ended = match self.ends.recv_timeout(Duration::from_millis(wait_ms)) {
            Ok(ended) => ended,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => {
                let reason = "the thread of transactions has ended".to_owned();
                (Batch::default(), Err(Failure::Fatal(reason)))
            }
        };
        self.is_under_way = false;
        Some(ended)
    }
}

/// What is under way is left to end by itself: who opens the slot next ends it for good.
impl Drop for Transactions {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take().filter(|_| !self.is_under_way) {
            // A panic has been told.
            thread.join().unwrap_or_default();
        }
    }
}

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

/// The transactional producer of a worker.
struct Committer {
    producer: BaseProducer<Reports>,
    topics: TopicNames,
}

impl Committer {
    fn open(settings: &KafkaSettings, slot: &str) -> Result<Committer, Failure> {
        let config = settings.producer(slot);
        let producer: BaseProducer<Reports> =
            BaseProducer::from_config_and_context(&config, Reports::default())
                .map_err(|error| Failure::Fatal(unusable(&error)))?;
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
        Ok(Committer { producer, topics: settings.topics.clone() })
    }

    /// Writes outputs and offsets in one transaction.
    fn commit(&self, batch: &Batch, group: Option<&ConsumerGroupMetadata>) -> Result<(), Failure> {
        lock(&self.producer.context().failed).clear();
        let began = Instant::now();
        let failure = match self.transact(batch, group) {
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

    fn add(&self, index: usize, output: &Produce) -> Result<(), Failure> {
        loop {
            let Err(error) = self.producer.send(record(&self.topics, index, output)) else {
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

    fn transact(
        &self,
        batch: &Batch,
        group: Option<&ConsumerGroupMetadata>,
    ) -> Result<(), Failure> {
        self.producer.begin_transaction().map_err(|error| classify(&error))?;
        for (index, output) in batch.outputs.iter().enumerate() {
            self.add(index, output)?;
        }
        if !batch.progress.is_empty() {
            let offsets =
                progress::list(|source| self.topics.input(source), batch.progress.iter().copied())?;
            self.insist(|| {
                let group = group.ok_or(KafkaError::NoMessageReceived)?;
                self.producer.send_offsets_to_transaction(&offsets, group, ASK)
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
