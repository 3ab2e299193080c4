//! Dead letters: notices that were given up, written to a topic so that nothing is lost.
//!
//! A notice counts as settled only once its letter is in the log, however long that takes.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;

use crate::engine::Decision;
use crate::stream::kafka::Quiet;

use super::delivery::Report;
use super::group;

const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// One letter. Values are whole, as in decisions and commands (N5 speaks of notices and logs).
#[derive(Debug, Serialize)]
pub(super) struct Letter {
    receiver: String,
    reason: String,
    attempts: u32,
    /// When the first of the decisions was offered, in milliseconds since the epoch.
    offered_at: i64,
    decisions: Vec<Decision>,
    /// How many more there are than `decisions` holds.
    rest: usize,
    /// All of them, by their places in the topic of decisions: partition → offsets.
    offsets: BTreeMap<i32, Vec<i64>>,
    #[serde(skip)]
    tickets: Vec<u64>,
}

impl Letter {
    pub(super) fn new(report: Report, reason: String, offsets: BTreeMap<i32, Vec<i64>>) -> Letter {
        let notice = report.notice;
        Letter {
            receiver: notice.receiver,
            reason,
            attempts: report.attempts,
            offered_at: notice.offered_at,
            decisions: notice.decisions,
            rest: notice.rest,
            offsets,
            tickets: notice.tickets,
        }
    }
}

/// A letter that is in the log.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) receiver: String,
    pub(super) tickets: Vec<u64>,
}

/// The writer's task; it ends with this.
#[derive(Debug)]
pub(super) struct Letters {
    queue: UnboundedSender<Letter>,
    written: UnboundedReceiver<Written>,
    waiting: usize,
    task: JoinHandle<()>,
}

impl Letters {
    pub(super) fn start(
        brokers: &str,
        properties: &BTreeMap<String, String>,
        topic: &str,
        runtime: &Handle,
    ) -> Result<Letters, KafkaError> {
        let config = config(brokers, properties);
        config.create_native_config().map_err(group::hide_value)?;
        let writer = Writer { producer: None, config, topic: topic.to_owned() };
        let (queue, letters) = mpsc::unbounded_channel();
        let (done, written) = mpsc::unbounded_channel();
        let task = runtime.spawn(writer.run(letters, done));
        Ok(Letters { queue, written, waiting: 0, task })
    }

    pub(super) fn write(&mut self, letter: Letter) {
        // The other side lives as long as this.
        if self.queue.send(letter).is_ok() {
            self.waiting += 1;
        }
    }

    pub(super) fn next_written(&mut self) -> Option<Written> {
        let written = self.written.try_recv().ok()?;
        self.waiting -= 1;
        Some(written)
    }

    /// Letters that are not yet in the log.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Writer {
    /// Made when there is a letter: it keeps a thread busy for a hundredth of a core.
    producer: Option<FutureProducer<Quiet>>,
    config: ClientConfig,
    topic: String,
}

impl Writer {
    async fn run(mut self, mut letters: UnboundedReceiver<Letter>, done: UnboundedSender<Written>) {
        while let Some(mut letter) = letters.recv().await {
            while let Err(error) = self.write(&letter).await {
                let too_large = Some(RDKafkaErrorCode::MessageSizeTooLarge);
                if error.rdkafka_error_code() == too_large && !letter.decisions.is_empty() {
                    // Their places say where to read them.
                    letter.rest += letter.decisions.len();
                    letter.decisions.clear();
                    continue;
                }
                let topic = &self.topic;
                tracing::error!(%error, topic, "a dead notice cannot be written yet; trying on");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            let Letter { receiver, tickets, .. } = letter;
            if done.send(Written { receiver, tickets }).is_err() {
                return;
            }
        }
    }

    async fn write(&mut self, letter: &Letter) -> Result<(), KafkaError> {
        let producer = match &mut self.producer {
            Some(producer) if producer.client().fatal_error().is_none() => producer,
            none_good => none_good.insert(producer(&self.config)?),
        };
        // Decisions came out of JSON and can go back into it.
        let text = serde_json::to_string(letter).unwrap_or_default();
        let record = FutureRecord::to(&self.topic).key(&letter.receiver).payload(&text);
        producer.send(record, AGAIN_AFTER).await.map(drop).map_err(|(error, _)| error)
    }
}

/// How the notifier writes.
pub(super) fn config(brokers: &str, properties: &BTreeMap<String, String>) -> ClientConfig {
    let fixed = [("enable.idempotence", "true")];
    let defaults = [("linger.ms", "0"), ("partitioner", "murmur2_random")];
    group::settings(brokers, properties, &defaults, &fixed)
}

pub(super) fn producer(config: &ClientConfig) -> Result<FutureProducer<Quiet>, KafkaError> {
    config.create_with_context(Quiet("letters")).map_err(group::hide_value)
}
