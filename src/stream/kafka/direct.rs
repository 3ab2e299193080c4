//! The producer of what leaves at once: idempotent, in order, outside of any transaction.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

use crate::stream::kafka::client::{KafkaSettings, unusable};
use crate::stream::kafka::complaints::Complaints;
use crate::stream::kafka::native;
use crate::stream::kafka::transaction::record;
use crate::stream::kafka::verdict::fatal;
use crate::stream::shared::lock;
use crate::stream::{Failure, Produce};

/// How long room is waited for in a full queue: a worker never fills it, other outputs might.
const ROOM: Duration = Duration::from_secs(15);
/// An output that its topic does not take.
const TOO_LARGE: &str =
    "an output is larger than its topic takes: raise the topic's max.message.bytes";

/// What has come of outputs, by number.
#[derive(Debug, Default)]
struct Written {
    /// All before it are written.
    first: usize,
    /// Those behind it that are, too.
    more: BTreeSet<usize>,
    /// Reports so far.
    heard: usize,
    failure: Option<KafkaError>,
}

impl Written {
    fn take(&mut self, number: usize, result: Result<(), KafkaError>) {
        self.heard += 1;
        if let Err(error) = result {
            self.failure.get_or_insert(error);
            return;
        }
        self.more.insert(number);
        while self.more.remove(&self.first) {
            self.first += 1;
        }
    }
}

#[derive(Debug, Default)]
struct Reports {
    written: Mutex<Written>,
    complaints: Complaints,
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.note("outputs", &error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone());
        lock(&self.written).take(number, result);
    }
}

/// Outputs on their way, by number in the order in which they were handed over.
pub(super) struct Direct {
    settings: KafkaSettings,
    slot: String,
    producer: BaseProducer<Reports>,
    handed: usize,
}

impl Direct {
    /// # Errors
    /// Fatal when a setting cannot be used.
    pub(super) fn open(settings: &KafkaSettings, slot: &str) -> Result<Direct, Failure> {
        let producer = producer(settings, slot)?;
        Ok(Direct { settings: settings.clone(), slot: slot.to_owned(), producer, handed: 0 })
    }

    /// # Errors
    /// Fatal when one cannot be handed over: those before it may be written all the same.
    pub(super) fn send(&mut self, outputs: &[Produce]) -> Result<(), Failure> {
        let until = Instant::now() + ROOM;
        for output in outputs {
            loop {
                let record = record(&self.settings.topics, self.handed, output);
                let Err((error, _)) = self.producer.send(record) else { break };
                match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::QueueFull) if Instant::now() < until => {
                        native::flush(self.producer.client().native_ptr(), 10);
                        self.producer.poll(Duration::ZERO);
                    }
                    _ => return Err(self.failure(&error)),
                }
            }
            self.handed += 1;
        }
        Ok(())
    }

    /// # Errors
    /// Fatal when one was not written and will not be: what came after it may be.
    pub(super) fn unwritten(&self, wait_ms: u64) -> Result<usize, Failure> {
        let until = Instant::now() + Duration::from_millis(wait_ms);
        loop {
            self.hear();
            let (first, failure) = {
                let mut written = lock(&self.producer.context().written);
                (written.first, written.failure.take())
            };
            if let Some(error) = failure {
                return Err(self.failure(&error));
            }
            if let Some((code, reason)) = self.producer.client().fatal_error() {
                return Err(fatal(code, reason));
            }
            let open = self.handed - first;
            if open == 0 || Instant::now() >= until {
                return Ok(open);
            }
            // Reports that wait count as under way: it lasts for all of the millisecond.
            native::flush(self.producer.client().native_ptr(), 1);
        }
    }

    /// Takes in the reports that have come: a poll brings those of one request.
    fn hear(&self) {
        let heard = || lock(&self.producer.context().written).heard;
        loop {
            let before = heard();
            self.producer.poll(Duration::ZERO);
            if heard() == before {
                return;
            }
        }
    }

    /// Gives up what is on its way: the broker may have it, or get none of it any more.
    ///
    /// # Errors
    /// Fatal when a setting cannot be used.
    pub(super) fn forget(&mut self) -> Result<(), Failure> {
        if self.handed > lock(&self.producer.context().written).first {
            // Its numbers and its place in the broker's order go with it.
            *self = Direct::open(&self.settings, &self.slot)?;
        }
        Ok(())
    }

    fn failure(&self, error: &KafkaError) -> Failure {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
                Failure::Fatal(TOO_LARGE.to_owned())
            }
            // It names a cause that the report does not.
            Some(RDKafkaErrorCode::Fatal) => match self.producer.client().fatal_error() {
                Some((code, reason)) => fatal(code, reason),
                None => Failure::Fatal(error.to_string()),
            },
            _ => Failure::Fatal(format!("decisions or commands are not written: {error}")),
        }
    }
}

fn producer(settings: &KafkaSettings, slot: &str) -> Result<BaseProducer<Reports>, Failure> {
    BaseProducer::from_config_and_context(&settings.direct(slot), Reports::default())
        .map_err(|error| Failure::Fatal(unusable(&error)))
}

#[cfg(test)]
mod tests {
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};

    use super::Written;

    #[test]
    fn what_is_written_counts_from_the_first_that_is_not() {
        let mut written = Written::default();
        for (number, first) in [(1, 0), (3, 0), (0, 2), (2, 4)] {
            written.take(number, Ok(()));
            assert_eq!(written.first, first);
        }
        written.take(4, Err(KafkaError::Global(RDKafkaErrorCode::InvalidTopic)));
        written.take(5, Ok(()));
        assert_eq!(written.first, 4);
        assert_eq!(
            written.failure.and_then(|error| error.rdkafka_error_code()),
            Some(RDKafkaErrorCode::InvalidTopic)
        );
    }
}
