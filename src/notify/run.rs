//! What the notifier works with, and why it cannot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rdkafka::error::KafkaError;

use super::metrics::NotifyMetrics;
use super::own::OwnRun;
use super::settings::{NotifySettings, SettingsError};
use crate::engine::Change;

/// Takes a change by people, or one that follows from it.
pub type Publish = Arc<dyn Fn(Change) + Send + Sync>;

/// What the notifier works with.
pub struct NotifyRun {
    pub brokers: String,
    /// The process's group; the notifier's is `<group>.notify`.
    pub group: String,
    pub instance: String,
    /// Handed to librdkafka as they are.
    pub properties: BTreeMap<String, String>,
    pub decisions_topic: String,
    /// Decisions may come once more under the same id.
    pub may_repeat: bool,
    pub dead_topic: String,
    /// The log of what was told, one partition.
    pub told_topic: String,
    /// What outlives a restart though nobody has been told of it, or not of its end: compacted, one
    /// partition.
    pub standing_topic: String,
    /// Where silences and acknowledgements stand; none are heeded without it.
    pub control_topic: Option<String>,
    /// Writes a change to that topic, in the background.
    pub publish: Option<Publish>,
    pub notify: NotifySettings,
    /// `privacy.reveal`: masks nothing for anybody.
    pub reveal: bool,
    pub metrics: NotifyMetrics,
    /// What the instance has to say of itself; nothing without it.
    pub own: Option<OwnRun>,
    /// Whether a stop leaves the group; read when it stops.
    pub leaving: Arc<AtomicBool>,
}

impl std::fmt::Debug for NotifyRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotifyRun").field("group", &self.group).finish_non_exhaustive()
    }
}

/// Why the notifier cannot work at all. Once it works, nothing ends it but a stop.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("notify: the settings for kafka cannot be used: {0}")]
    Kafka(#[from] KafkaError),
    #[error("notify: the loop has ended: {0}")]
    Ended(#[from] tokio::task::JoinError),
}
