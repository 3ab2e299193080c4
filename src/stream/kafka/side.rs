//! Reads a topic of one partition that every worker reads whole, beside its inputs and outside
//! the group: control and journal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::stream::kafka::client::{KafkaSettings, unusable};
use crate::stream::kafka::complaints::Complaints;
use crate::stream::kafka::native::{self, PrivateQueue};
use crate::stream::kafka::polled::{NoHeaders, polled};
use crate::stream::{Failure, Place, Polled, Record, Side, SideRecord, Source};

/// The topic is read to its end within so long, or another time.
const WHOLE: Duration = Duration::from_secs(10);
/// A quiet topic is asked for a sign of life so often.
const PROBE: Duration = Duration::from_secs(10);
/// How long such a question may hold the worker's loop.
const ANSWER: Duration = Duration::from_millis(300);
/// The control topic is looked at so often.
const SERVE: Duration = Duration::from_millis(10);
/// After a fault it is read with a client made anew, so long after.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Ears {
    complaints: Complaints,
}

impl ClientContext for Ears {
    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.note("side reader", &error, reason);
    }
}

impl ConsumerContext for Ears {}

/// The side topics of a worker.
pub(super) struct Sides {
    settings: KafkaSettings,
    slot: String,
    /// Made when the control topic is first asked for.
    control: Option<SideReader>,
    asked_at: Option<Instant>,
    /// Why it cannot be read, until it is heard of again.
    trouble: Option<String>,
    /// Reads single records of the inputs while states are restored.
    probe: Option<BaseConsumer<Ears>>,
}

impl Sides {
    pub(super) fn new(settings: &KafkaSettings, slot: &str) -> Sides {
        let (settings, slot) = (settings.clone(), slot.to_owned());
        Sides { settings, slot, control: None, asked_at: None, trouble: None, probe: None }
    }

    /// What has arrived in the control topic, from an offset on.
    ///
    /// # Errors
    /// Retriable from a fault on until the topic is heard of again.
    pub(super) fn changes(&mut self, from: i64) -> Result<Vec<SideRecord>, Failure> {
        let pause = if self.trouble.is_some() && self.control.is_none() { AGAIN } else { SERVE };
        if self.asked_at.is_none_or(|at| at.elapsed() >= pause) {
            self.asked_at = Some(Instant::now());
            let mut reader = match self.control.take() {
                Some(reader) if reader.stands_at(from) => reader,
                _ => self.open(Side::Control, from)?,
            };
            match reader.arrived() {
                Ok(records) => {
                    if reader.is_heard {
                        self.trouble = None;
                    }
                    self.control = Some(reader);
                    if !records.is_empty() {
                        return Ok(records);
                    }
                }
                // Its client may never see a topic that was made anew, or that has moved.
                Err(Failure::Retriable(reason)) => self.trouble = Some(reason),
                Err(failure) => return Err(failure),
            }
        }
        self.trouble.clone().map_or(Ok(Vec::new()), |reason| Err(Failure::Retriable(reason)))
    }

    /// The fingerprint of a committed record of some topic; `None` where there is none.
    ///
    /// # Errors
    /// Retriable when the topic cannot be read.
    pub(super) fn fingerprint(
        &mut self,
        (topic, place): (&str, Place),
        offset: i64,
    ) -> Result<Option<u64>, Failure> {
        let made = |error: KafkaError| Failure::Fatal(unusable(&error));
        let probe = match self.probe.take() {
            Some(probe) => probe,
            None => consumer(&self.settings, &self.slot, &[]).map_err(made)?,
        };
        let probe = self.probe.insert(probe);
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, place.partition, Offset::Offset(offset)).map_err(made)?;
        probe.assign(&list).map_err(made)?;
        let until = Instant::now() + WHOLE;
        while Instant::now() < until {
            match probe.poll(SERVE) {
                None => {}
                Some(Ok(message)) => {
                    let record = Record {
                        place,
                        offset: message.offset(),
                        timestamp_ms: message.timestamp().to_millis(),
                        key: message.key(),
                        value: message.payload(),
                        headers: &NoHeaders,
                    };
                    return Ok((record.offset == offset).then(|| record.fingerprint()));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
                Some(Err(error))
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) =>
                {
                    return Ok(None);
                }
                Some(Err(error)) => {
                    tracing::debug!(slot = %self.slot, topic, %error, "a record cannot be read yet");
                }
            }
        }
        Err(Failure::Retriable(format!("{topic}[{}] does not answer", place.partition)))
    }

    pub(super) fn slot(&self) -> &str {
        &self.slot
    }

    /// States are restored: no single records are asked for any more.
    pub(super) fn rest(&mut self) {
        self.probe = None;
    }

    /// A side topic from an offset on, whole.
    pub(super) fn whole(&mut self, side: Side, from: i64) -> Result<Vec<SideRecord>, Failure> {
        let mut reader = self.open(side, from)?;
        let records = reader.whole()?;
        if side == Side::Control {
            (self.control, self.trouble) = (Some(reader), None);
        }
        Ok(records)
    }

    fn open(&self, side: Side, from: i64) -> Result<SideReader, Failure> {
        let topic = self.settings.topics.side(side);
        SideReader::open(&self.settings, &self.slot, topic, from)
    }
}

/// Whether the client goes on by itself, with whichever broker it finds.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown)
    )
}

/// A client that reads committed records and joins no group.
pub(super) fn consumer(
    settings: &KafkaSettings,
    slot: &str,
    more: &[(&str, &str)],
) -> Result<BaseConsumer<Ears>, KafkaError> {
    let mut config = settings.reading(slot);
    for (name, value) in more {
        config.set(*name, *value);
    }
    BaseConsumer::from_config_and_context(&config, Ears::default())
}

/// A reader of one side topic. Fields drop in order: the queue before its client.
pub(super) struct SideReader {
    queue: PrivateQueue,
    consumer: BaseConsumer<Ears>,
    topic: Arc<str>,
    /// Offset behind the last record that was handed out, and behind all that is read.
    given: i64,
    next: i64,
    /// Where committed records ended when they were read up to there.
    end: Option<i64>,
    heard_at: Instant,
    /// A record or the end has come.
    is_heard: bool,
    /// The last question was not answered in time.
    is_late: bool,
}

impl SideReader {
    /// Reads `topic` from an offset on, committed records only.
    ///
    /// # Errors
    /// Fatal when a setting cannot be used.
    pub(super) fn open(
        settings: &KafkaSettings,
        slot: &str,
        topic: &Arc<str>,
        from: i64,
    ) -> Result<SideReader, Failure> {
        let made = |error: KafkaError| Failure::Fatal(unusable(&error));
        let consumer = consumer(settings, slot, &[]).map_err(made)?;
        let queue = PrivateQueue::new(consumer.client().native_ptr());
        queue.forward(topic, 0);
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, 0, Offset::Offset(from)).map_err(made)?;
        consumer.assign(&list).map_err(made)?;
        Ok(SideReader {
            queue,
            consumer,
            topic: topic.clone(),
            given: from,
            next: from,
            end: None,
            heard_at: Instant::now(),
            is_heard: false,
            is_late: false,
        })
    }

    /// Whether the next record handed out is the first from this offset on.
    fn stands_at(&self, from: i64) -> bool {
        from == self.given
    }

    /// Everything that was committed before the call.
    ///
    /// # Errors
    /// Retriable when the end does not come in time.
    pub(super) fn whole(&mut self) -> Result<Vec<SideRecord>, Failure> {
        let mut records = Vec::new();
        let until = Instant::now() + WHOLE;
        loop {
            self.read(20, &mut records)?;
            // Committed records end before a transaction that is still open: what was committed
            // before the call may lie behind it, until its marker is written.
            let client = self.consumer.client().native_ptr();
            let high = native::known_end(client, &self.topic, 0);
            if let (Some(end), Some(high)) = (self.end, high)
                && end >= high
            {
                return Ok(records);
            }
            if Instant::now() > until {
                return Err(Failure::Retriable(format!(
                    "topic {} could not be read to its end: its broker is away, or a \
                     transaction is open on it",
                    self.topic
                )));
            }
        }
    }

    /// What has arrived since.
    ///
    /// # Errors
    /// Retriable when the topic cannot be read.
    fn arrived(&mut self) -> Result<Vec<SideRecord>, Failure> {
        let mut records = Vec::new();
        self.read(0, &mut records)?;
        if !records.is_empty() {
            self.heard_at = Instant::now();
        } else if self.heard_at.elapsed() >= PROBE {
            self.heard_at = Instant::now();
            self.probe()?;
        }
        Ok(records)
    }

    /// Asks for a sign of life. One answer that is late is no fault yet: brokers may be busy.
    fn probe(&mut self) -> Result<(), Failure> {
        let found = self.consumer.fetch_watermarks(&self.topic, 0, ANSWER);
        let is_late = found.as_ref().is_err_and(|error| {
            error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut)
        });
        if is_late && !std::mem::replace(&mut self.is_late, is_late) {
            self.heard_at =
                Instant::now().checked_sub(PROBE.saturating_sub(AGAIN)).unwrap_or(self.heard_at);
            return Ok(());
        }
        self.is_late = false;
        match found {
            Ok((_, high)) if high < self.next => Err(self.lost()),
            Ok(_) => Ok(()),
            Err(error) => {
                Err(Failure::Retriable(format!("topic {} does not answer: {error}", self.topic)))
            }
        }
    }

    fn read(&mut self, wait_ms: u64, records: &mut Vec<SideRecord>) -> Result<(), Failure> {
        // Never a record: the partition was sent to our own queue before it was assigned.
        let mut fault = match self.consumer.poll(Duration::ZERO) {
            Some(Err(error)) => Some(error),
            Some(Ok(_)) | None => None,
        };
        let (given, next, end) = (&mut self.given, &mut self.next, &mut self.end);
        let is_heard = &mut self.is_heard;
        let place = |_: &[u8], partition| Place { source: Source::Events, partition };
        self.queue.take(wait_ms, &mut |items| {
            for one in polled(items, &place, &mut fault) {
                *is_heard = true;
                match one {
                    Polled::Record(record) => {
                        (*given, *next) = (record.offset + 1, record.offset + 1);
                        let value = record.value.map(<[u8]>::to_vec);
                        records.push(SideRecord { offset: record.offset, value });
                    }
                    Polled::End(_, at) => {
                        *end = Some(at);
                        *next = at.max(*next);
                    }
                }
            }
        });
        match fault {
            None => Ok(()),
            // A broker that is away: another one may lead the topic. Who waits for it knows when to
            // give up.
            Some(error) if is_passing(&error) => Ok(()),
            Some(error)
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) =>
            {
                Err(self.lost())
            }
            Some(error) => {
                Err(Failure::Retriable(format!("topic {} cannot be read: {error}", self.topic)))
            }
        }
    }

    fn lost(&self) -> Failure {
        Failure::Retriable(format!(
            "topic {} does not hold offset {}: were its records deleted, or was it made anew?",
            self.topic, self.next
        ))
    }
}
