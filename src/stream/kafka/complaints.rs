//! Faults that the clients report, each told once in a while: a broker that is away is reported
//! many times a second.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;

use crate::stream::shared::lock;

const AGAIN: Duration = Duration::from_secs(30);
/// Kinds of faults remembered; librdkafka has some hundred.
const KINDS_MAX: usize = 200;

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

#[cfg(test)]
mod tests {
    use super::Complaints;

    #[test]
    fn a_kind_is_told_once_in_a_while() {
        let complaints = Complaints::default();
        assert_eq!(complaints.count("down".to_owned()), Some(0));
        assert_eq!(complaints.count("down".to_owned()), None);
        assert_eq!(complaints.count("slow".to_owned()), Some(0));
    }
}
