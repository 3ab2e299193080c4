//! The notifier's membership in its consumer group: settings, and what Kafka tells.
//!
//! The context only records what happens; the loop that polls acts on it, so that everything is
//! done at one place, in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{TopicPartitionList, TopicPartitionListElem};
use rdkafka::types::RDKafkaRespErr;

use crate::stream::kafka::leave;

pub(super) type Member = BaseConsumer<Context>;

/// What Kafka has told.
#[derive(Debug)]
pub(super) enum Event {
    /// These partitions, and no others.
    Assigned(Vec<i32>),
    Revoked,
    /// The number that [`commit`] was given.
    Committed(u64, Result<(), RDKafkaErrorCode>),
    Trouble(String),
}

#[derive(Debug, Default)]
pub(super) struct Context {
    events: Mutex<VecDeque<Event>>,
    /// From then on nobody acts on what is recorded.
    closing: AtomicBool,
}

impl Context {
    pub(super) fn next(&self) -> Option<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Whether something has been told that nobody has acted on yet.
    pub(super) fn has_news(&self) -> bool {
        !self.events.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn record(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.record(Event::Trouble(format!("{error}: {reason}")));
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        member: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Acquire) {
            // Closing ends only once nothing is assigned, and goes on by itself on a fault.
            member.unassign().unwrap_or_default();
            return;
        }
        self.record(match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Event::Assigned(
                partitions.elements().iter().map(TopicPartitionListElem::partition).collect(),
            ),
            _ => Event::Revoked,
        });
    }
}

/// Commits without waiting; the answer comes as an event. The library's own asynchronous commit
/// never calls back (rdkafka 0.39 sets no callback, and librdkafka then posts no event), and its
/// synchronous one may take the session's time when the broker is gone, hence the thread.
pub(super) fn commit(member: &Arc<Member>, number: u64, offsets: TopicPartitionList) {
    let member = Arc::clone(member);
    std::thread::spawn(move || {
        let code = |error: KafkaError| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let result = member.commit(&offsets, CommitMode::Sync).map_err(code);
        member.context().record(Event::Committed(number, result));
    });
}

/// The library tells of every lost connection and each try; what of it matters comes as an event.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    tracing::debug!(target: "librdkafka", ?level, facility, message);
}

/// Settings that the configuration may change, then the configuration's, then those that what
/// is promised rests on.
pub(super) fn settings(
    brokers: &str,
    properties: &BTreeMap<String, String>,
    defaults: &[(&str, &str)],
    fixed: &[(&str, &str)],
) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("reconnect.backoff.max.ms", "2000");
    for (key, value) in defaults {
        config.set(*key, *value);
    }
    for (key, value) in properties {
        config.set(key, value);
    }
    for (key, value) in fixed {
        config.set(*key, *value);
    }
    config.set("bootstrap.servers", brokers);
    config
}

/// Joins no group yet: that begins with the subscription.
pub(super) fn member(
    brokers: &str,
    properties: &BTreeMap<String, String>,
    (group, instance): (&str, &str),
) -> KafkaResult<Member> {
    let defaults = [
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "1000"),
        ("fetch.wait.max.ms", "100"),
        // A topic that is created later is found by then.
        ("topic.metadata.refresh.interval.ms", "5000"),
        // Besides what is open: what was fetched and not yet looked at.
        ("queued.max.messages.kbytes", "8192"),
    ];
    let group = format!("{group}.notify");
    let instance = format!("{instance}-notify");
    let fixed = [
        ("group.id", group.as_str()),
        ("group.instance.id", instance.as_str()),
        ("partition.assignment.strategy", "range"),
        ("isolation.level", "read_committed"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "earliest"),
    ];
    let config = settings(brokers, properties, &defaults, &fixed);
    config.create_with_context(Context::default()).map_err(hide_value)
}

/// The value of a setting that cannot be used may be a secret.
pub(super) fn hide_value(error: KafkaError) -> KafkaError {
    match error {
        KafkaError::ClientConfig(result, _, key, _) => {
            let why = "no such property, or a value it does not take:";
            KafkaError::ClientConfig(result, why.to_owned(), key, String::new())
        }
        other => other,
    }
}

/// Leaves the client behind within the time given. Being a static member it keeps its
/// partitions for the session's time, so that a restart takes them back at once; `leaving` gives
/// them to others.
pub(super) fn close(member: Arc<Member>, leaving: bool, within: Duration) {
    member.context().closing.store(true, Ordering::Release);
    let (closed, wait) = mpsc::channel();
    // Closing waits for the broker; one that is gone must not hold up a stop.
    std::thread::spawn(move || {
        if leaving {
            leave(&member);
        }
        drop(member);
        closed.send(()).unwrap_or_default();
    });
    wait.recv_timeout(within).unwrap_or_default();
}

#[cfg(test)]
mod tests;
