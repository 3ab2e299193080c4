//! The control topic as the notifier reads it: silences and acknowledgements (N3).
//!
//! By itself, outside the group and from the beginning, so that every instance and every start
//! knows them all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::group;
use super::mutes::{Muted, Mutes};
use crate::stream::kafka::Quiet;

/// Records taken in between two looks at the decisions.
const SOME: usize = 1_000;
/// A topic that cannot be read to its end by then keeps nobody from being told.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one record may be waited for.
const CATCH_UP: Duration = Duration::from_secs(2);

pub(super) struct Bulletin {
    consumer: BaseConsumer<Quiet>,
    pub(super) mutes: Mutes,
    /// Offset behind what was read.
    next: i64,
    began: Instant,
    is_whole: bool,
}

impl Bulletin {
    pub(super) fn open(
        brokers: &str,
        properties: &BTreeMap<String, String>,
        topic: &str,
        mutes: Mutes,
    ) -> KafkaResult<Bulletin> {
        let fixed = [
            // Needed by the client, though it joins none.
            ("group.id", "tidegate-notices"),
            ("isolation.level", "read_committed"),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "earliest"),
        ];
        let defaults = [("fetch.wait.max.ms", "100"), ("queued.max.messages.kbytes", "1024")];
        let config = group::settings(brokers, properties, &defaults, &fixed);
        let made: KafkaResult<BaseConsumer<Quiet>> = config.create_with_context(Quiet("bulletin"));
        let consumer = made.map_err(group::hide_value)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning)?;
        consumer.assign(&list)?;
        Ok(Bulletin { consumer, mutes, next: 0, began: Instant::now(), is_whole: false })
    }

    /// Takes in what has arrived.
    pub(super) fn serve(&mut self) -> Vec<Muted> {
        let mut news = Vec::new();
        for _ in 0..SOME {
            if !self.read(Duration::ZERO, &mut news) {
                break;
            }
        }
        news
    }

    /// Whether what was there at the start is known; or it is not to be had.
    pub(super) fn is_ready(&mut self) -> bool {
        if !self.is_whole && self.began.elapsed() > PATIENCE {
            tracing::warn!("silences cannot be read; notices go out without them");
            self.is_whole = true;
        }
        self.is_whole
    }

    /// Reads on until the record at `offset` has been taken in.
    pub(super) fn catch_up(&mut self, offset: i64) -> Vec<Muted> {
        let mut news = Vec::new();
        let until = Instant::now() + CATCH_UP;
        while self.next <= offset && Instant::now() < until {
            self.read(Duration::from_millis(20), &mut news);
        }
        news
    }

    fn read(&mut self, wait: Duration, news: &mut Vec<Muted>) -> bool {
        match self.consumer.poll(wait) {
            Some(Ok(message)) => {
                self.next = message.offset() + 1;
                news.extend(message.payload().and_then(|value| self.mutes.take(value)));
                true
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                self.is_whole = true;
                false
            }
            Some(Err(_)) | None => false,
        }
    }
}
