//! Writes what is to outlive the process though nobody has been told of it yet, or not of its end: to
//! a compacted topic, in which the last word on each key stands (N3, N4).
//!
//! Words on one key arrive in their order, and a word that is late is written again: what stands there
//! in the end is the last one. Nothing waits for it but what it is asked about.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::group;

/// Words on their way at a time.
const SENT_MAX: usize = 1_000;
const AGAIN_MS: i64 = 2_000;
/// A client that has nothing to do for so long goes.
const IDLE_MS: i64 = 10_000;
const POLL: Duration = Duration::from_millis(10);

/// The last words that are not known to be in the topic.
pub(super) struct Keeper {
    config: ClientConfig,
    topic: String,
    /// While there is something to write: it keeps a thread busy for a hundredth of a core.
    producer: Option<BaseProducer<Acks>>,
    words: BTreeMap<String, Word>,
    next: u64,
    sent: usize,
    again_at: i64,
    busy_at: i64,
}

#[derive(Debug)]
struct Word {
    version: u64,
    /// Nothing any more, if `None`.
    value: Option<String>,
    is_sent: bool,
}

impl Keeper {
    pub(super) fn new(config: ClientConfig, topic: &str) -> Keeper {
        Keeper {
            config,
            topic: topic.to_owned(),
            producer: None,
            words: BTreeMap::new(),
            next: 0,
            sent: 0,
            again_at: i64::MIN,
            busy_at: 0,
        }
    }

    /// The last word on a key from now on.
    pub(super) fn put(&mut self, key: String, value: Option<String>) {
        self.next += 1;
        self.words.insert(key, Word { version: self.next, value, is_sent: false });
    }

    /// Whether the last word on this key is in the topic.
    pub(super) fn has_written(&self, key: &str) -> bool {
        !self.words.contains_key(key)
    }

    /// Whether all is.
    pub(super) fn is_clean(&self) -> bool {
        self.words.is_empty()
    }

    /// Sends what is to be sent, and hears what has arrived.
    pub(super) fn turn(&mut self, now: i64) {
        if self.words.is_empty() {
            if now.saturating_sub(self.busy_at) >= IDLE_MS {
                (self.producer, self.sent) = (None, 0);
            }
            return;
        }
        self.busy_at = now;
        if now >= self.again_at
            && let Err(error) = self.send()
        {
            tracing::warn!(%error, topic = self.topic, "what is to outlive a restart is not written");
            self.again_at = now.saturating_add(AGAIN_MS);
        }
        self.hear(now);
    }

    /// The same until all is there, or the time is over.
    pub(super) fn flush(&mut self, now: i64, within: Duration) {
        let until = Instant::now() + within;
        self.turn(now);
        while !self.is_clean() && Instant::now() < until {
            std::thread::sleep(POLL);
            self.turn(now);
        }
    }

    /// Gives up what is not yet there of these keys: it is somebody else's from now on.
    pub(super) fn forget(&mut self, prefix: &str) {
        let before = self.words.len();
        self.words.retain(|key, _| !key.starts_with(prefix));
        if self.words.len() < before {
            // With what it has not sent.
            self.producer = None;
            self.sent = 0;
            self.words.values_mut().for_each(|word| word.is_sent = false);
        }
    }

    fn send(&mut self) -> KafkaResult<()> {
        let producer = match &mut self.producer {
            Some(producer) if producer.client().fatal_error().is_none() => producer,
            none_good => {
                self.sent = 0;
                self.words.values_mut().for_each(|word| word.is_sent = false);
                let made = self.config.create_with_context(Acks::default());
                none_good.insert(made.map_err(group::hide_value)?)
            }
        };
        for (key, word) in self.words.iter_mut().filter(|(_, word)| !word.is_sent) {
            if self.sent >= SENT_MAX {
                break;
            }
            let about = Box::new((key.clone(), word.version));
            let record = BaseRecord::with_opaque_to(&self.topic, about).partition(0).key(key);
            let record = match &word.value {
                Some(value) => record.payload(value),
                None => record,
            };
            match producer.send(record) {
                Ok(()) => {}
                Err((error, _))
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) =>
                {
                    break;
                }
                Err((error, _)) => return Err(error),
            }
            word.is_sent = true;
            self.sent += 1;
        }
        Ok(())
    }

    fn hear(&mut self, now: i64) {
        let Some(producer) = &self.producer else { return };
        producer.poll(Duration::ZERO);
        for (key, version, error) in producer.context().heard() {
            self.sent = self.sent.saturating_sub(1);
            let Some(word) = self.words.get_mut(&key).filter(|word| word.version == version) else {
                continue;
            };
            let Some(error) = error else {
                self.words.remove(&key);
                continue;
            };
            tracing::warn!(%error, topic = self.topic, "what is to outlive a restart is not written");
            word.is_sent = false;
            self.again_at = now.saturating_add(AGAIN_MS);
        }
    }
}

/// Key, version, and why it has not arrived.
type Ack = (String, u64, Option<KafkaError>);

#[derive(Debug, Default)]
struct Acks(Mutex<Vec<Ack>>);

impl Acks {
    fn heard(&self) -> Vec<Ack> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Acks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        group::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "a client has trouble with Kafka");
    }
}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<(String, u64)>;

    fn delivery(&self, result: &DeliveryResult<'_>, about: Self::DeliveryOpaque) {
        let error = result.as_ref().err().map(|(error, _)| error.clone());
        let (key, version) = *about;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((key, version, error));
    }
}
