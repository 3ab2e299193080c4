//! What a worker's consumer hears from its client: changes of assignment and errors.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;

use crate::stream::kafka::client::TopicNames;
use crate::stream::kafka::complaints::Complaints;
use crate::stream::shared::lock;
use crate::stream::{Place, Rebalance, Source};

/// Notes rebalances; the worker's loop acts on them after the poll.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    rebalances: Mutex<Vec<Rebalance>>,
    /// The loop has ended: partitions are given back at once.
    closing: AtomicBool,
    names: Option<TopicNames>,
    pub(super) complaints: Complaints,
}

impl Watcher {
    pub(super) fn new(names: &TopicNames) -> Watcher {
        Watcher { names: Some(names.clone()), ..Watcher::default() }
    }

    /// The changes of assignment since the last call, the oldest first.
    pub(super) fn rebalances(&self) -> Vec<Rebalance> {
        std::mem::take(&mut lock(&self.rebalances))
    }

    /// From now on partitions are given back as soon as the group asks for them.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }
}

impl ClientContext for Watcher {
    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.note("consumer", &error, reason);
    }
}

impl ConsumerContext for Watcher {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let assigned = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            let result = if assigned { consumer.assign(list) } else { consumer.unassign() };
            if let Err(error) = result {
                tracing::warn!(%error, "cannot give partitions back");
            }
            return;
        }
        let event = if assigned {
            let elements = list.elements();
            let place = |topic: &str, partition| Place {
                source: source(self.names.as_ref(), topic.as_bytes()),
                partition,
            };
            let places = elements.iter().map(|at| place(at.topic(), at.partition())).collect();
            Rebalance::Assigned(places)
        } else {
            Rebalance::Revoked { lost: consumer.assignment_lost() }
        };
        lock(&self.rebalances).push(event);
    }
}

pub(super) fn source(names: Option<&TopicNames>, topic: &[u8]) -> Source {
    match names {
        Some(names) if names.partials.as_bytes() == topic => Source::Partials,
        _ => Source::Events,
    }
}
