//! Faults that the clients report, each told once in a while: a broker that is away is reported
//! many times a second.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::stream::shared::lock;

const AGAIN: Duration = Duration::from_secs(30);
/// Kinds of faults remembered; librdkafka has some hundred.
const KINDS_MAX: usize = 200;
/// How long a client has nothing to say before it is taken to have said all.
const LISTEN: Duration = Duration::from_millis(200);
/// And how long it is listened to at most.
const LISTEN_MAX: Duration = Duration::from_secs(5);

/// When each kind of fault was told last, and how often it came since.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    told: Mutex<BTreeMap<String, (Instant, u64)>>,
}

impl Complaints {
    pub(super) fn note(&self, client: &str, error: &KafkaError, reason: &str) {
        let kind =
            error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
        if let Some(unsaid) = self.count(kind) {
            tracing::warn!(client, %error, reason, unsaid, "the kafka client reports a fault");
        }
    }

    /// How often the kind came untold, when it is to be told now.
    fn count(&self, kind: String) -> Option<u64> {
        let mut told = lock(&self.told);
        if told.len() >= KINDS_MAX {
            told.clear();
        }
        let now = Instant::now();
        if let Some((at, unsaid)) = told.get_mut(&kind) {
            if now.duration_since(*at) < AGAIN {
                *unsaid += 1;
                return None;
            }
            *at = now;
            return Some(std::mem::take(unsaid));
        }
        told.insert(kind, (now, 0));
        Some(0)
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Barrier {
    /// Nobody answers, or not in Kafka's protocol.
    Away(String),
    /// Somebody answers, and either side does not accept the other: TLS or SASL.
    Refused(String),
}

/// Hears why a client gets no connection, for whoever waits for it; does not log that itself.
#[derive(Debug, Default)]
pub(super) struct Ear {
    barrier: Mutex<Option<Barrier>>,
    /// Lines for the log that the client has given so far.
    lines: AtomicU64,
}

impl Ear {
    /// Of a question that only timed out: why, waits in the client's queue among other events, and
    /// with `debug` behind thousands of lines for the log. `serve` takes events from the queue for
    /// as long as it is told, or less when it comes upon an error.
    pub(super) fn listen(&self, mut serve: impl FnMut(Duration)) -> Option<Barrier> {
        let until = Instant::now() + LISTEN_MAX;
        loop {
            let before = self.lines.load(Ordering::Relaxed);
            serve(LISTEN);
            let heard = self.heard();
            let silent = self.lines.load(Ordering::Relaxed) == before;
            if heard.is_some() || silent || Instant::now() > until {
                return heard;
            }
        }
    }

    pub(super) fn note(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.lines.fetch_add(1, Ordering::Relaxed);
        DefaultClientContext.log(level, facility, line);
    }

    /// What was heard. A refusal tells more than a broker that is away, and whichever of several
    /// brokers told last tells the state of now.
    pub(super) fn heard(&self) -> Option<Barrier> {
        lock(&self.barrier).clone()
    }

    pub(super) fn hear(&self, error: &KafkaError, reason: &str) {
        let mut heard = lock(&self.barrier);
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::SSL,
            ) => *heard = Some(Barrier::Refused(reason.to_owned())),
            // Follows each of the others and names no cause.
            Some(RDKafkaErrorCode::AllBrokersDown) => {}
            _ if matches!(*heard, Some(Barrier::Refused(_))) => {}
            _ => *heard = Some(Barrier::Away(reason.to_owned())),
        }
    }
}

impl ClientContext for Ear {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.note(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.hear(&error, reason);
    }
}

impl ConsumerContext for Ear {}

#[cfg(test)]
mod tests {
    use rdkafka::client::ClientContext;
    use rdkafka::config::RDKafkaLogLevel;
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};

    use super::{Barrier, Complaints, Ear};

    #[test]
    fn a_kind_is_told_once_in_a_while() {
        let complaints = Complaints::default();
        assert_eq!(complaints.count("down".to_owned()), Some(0));
        assert_eq!(complaints.count("down".to_owned()), None);
        assert_eq!(complaints.count("slow".to_owned()), Some(0));
    }

    #[test]
    fn a_refusal_is_not_hidden_by_what_follows_it() {
        let ear = Ear::default();
        let hear = |code, reason| ear.hear(&KafkaError::Global(code), reason);
        hear(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(ear.heard(), None);
        hear(RDKafkaErrorCode::BrokerTransportFailure, "connection refused");
        assert_eq!(ear.heard(), Some(Barrier::Away("connection refused".to_owned())));
        hear(RDKafkaErrorCode::Authentication, "invalid credentials");
        hear(RDKafkaErrorCode::BrokerTransportFailure, "disconnected");
        assert_eq!(ear.heard(), Some(Barrier::Refused("invalid credentials".to_owned())));
    }

    #[test]
    fn a_refusal_behind_many_lines_is_listened_for() {
        let ear = Ear::default();
        let mut calls = 0;
        let heard = ear.listen(|_| {
            calls += 1;
            match calls {
                1..=50 => ear.log(RDKafkaLogLevel::Debug, "CONNECT", "broker in state TRY_CONNECT"),
                _ => ear.hear(&KafkaError::Global(RDKafkaErrorCode::SSL), "unknown authority"),
            }
        });
        assert_eq!(heard, Some(Barrier::Refused("unknown authority".to_owned())));
        assert_eq!(calls, 51);
        assert_eq!(Ear::default().listen(|_| {}), None, "a silent client is not waited for");
    }
}
