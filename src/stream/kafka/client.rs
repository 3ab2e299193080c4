//! Settings of the Kafka clients, each with its reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use crate::stream::kafka::members::client_name;
use crate::stream::{Delivery, Side, Sink, Source};

/// The names of the topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicNames {
    pub events: Arc<str>,
    pub partials: Arc<str>,
    pub decisions: Arc<str>,
    pub commands: Arc<str>,
    pub accounts: Arc<str>,
    pub quarantine: Arc<str>,
    pub control: Arc<str>,
    pub journal: Arc<str>,
    pub notices_dead: Arc<str>,
    /// What receivers were told.
    pub told: Arc<str>,
    /// What of notices outlives a restart.
    pub standing: Arc<str>,
    /// Accounts of days.
    pub daily: Arc<str>,
}

impl TopicNames {
    pub(crate) fn input(&self, source: Source) -> &Arc<str> {
        match source {
            Source::Events => &self.events,
            Source::Partials => &self.partials,
        }
    }

    pub(crate) fn side(&self, side: Side) -> &Arc<str> {
        match side {
            Side::Control => &self.control,
            Side::Journal => &self.journal,
        }
    }

    pub(crate) fn of(&self, sink: Sink) -> &str {
        match sink {
            Sink::Partials => &self.partials,
            Sink::Decisions => &self.decisions,
            Sink::Commands => &self.commands,
            Sink::Accounts => &self.accounts,
            Sink::Quarantine => &self.quarantine,
            Sink::Journal => &self.journal,
            Sink::Daily => &self.daily,
        }
    }
}

/// How to reach Kafka, and under which names.
#[derive(Clone)]
pub struct KafkaSettings {
    pub brokers: String,
    pub group: String,
    /// Handed to librdkafka as they are; may hold secrets.
    pub properties: BTreeMap<String, String>,
    pub topics: TopicNames,
    /// Where the instance serves its pages, for the other instances: a URL, or `host:port`.
    pub address: Option<String>,
    pub delivery: Delivery,
}

/// Properties may hold passwords and stay hidden.
impl std::fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSettings").field("group", &self.group).finish_non_exhaustive()
    }
}

/// Why a client cannot be made. The value of a setting may be a secret and is left out.
pub(crate) fn unusable(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, _, key, _) => {
            format!("kafka.properties.{key}: no such property, or a value it does not take")
        }
        other => other.to_string(),
    }
}

impl KafkaSettings {
    /// What every client has in common.
    pub(crate) fn client(&self, client_id: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", client_id);
        // Answers a broker that came back within a second, not within ten.
        config.set("reconnect.backoff.max.ms", "1000");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }

    /// Reads committed records. The client wants the name of a group before it lets partitions be
    /// assigned, also where it joins none.
    pub(crate) fn reading(&self, client_id: &str) -> ClientConfig {
        let mut config = self.client(client_id);
        config.set("group.id", &self.group).set("isolation.level", "read_committed");
        fetching(&mut config);
        config
    }

    pub(crate) fn consumer(&self, slot: &str) -> ClientConfig {
        let mut config = self.reading(slot);
        // Partition p of both input topics lands on the same worker.
        config.set("partition.assignment.strategy", "range");
        for (name, value) in [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "1000")] {
            if !self.properties.contains_key(name) {
                config.set(name, value);
            }
        }
        // Static membership: a restart takes its partitions back without a rebalance.
        config.set("group.instance.id", slot);
        if let Some(address) = &self.address
            && !self.properties.contains_key("client.id")
        {
            // Where this member can be asked: the broker tells it to the others.
            config.set("client.id", client_name(slot, address));
        }
        config
    }

    pub(crate) fn producer(&self, slot: &str) -> ClientConfig {
        let mut config = self.writing(slot);
        config
            .set("transactional.id", format!("{}-{slot}", self.group))
            .set("transaction.timeout.ms", "10000")
            .set("message.timeout.ms", "10000")
            .set("delivery.report.only.error", "true")
            // A transaction begun before the markers of the one before are written waits so long.
            .set("retry.backoff.ms", "2")
            .set("retry.backoff.max.ms", "4")
            // A commit of offsets may hang for good once the group's coordinator has gone: the client
            // looks for the new one when some broker's state changes (librdkafka #5511, #5456).
            // Connections that nothing goes over are closed, which is such a change.
            .set("connections.max.idle.ms", "6000");
        config
    }

    /// Writes what leaves before the transaction: each once and in order, however long it takes.
    pub(crate) fn direct(&self, slot: &str) -> ClientConfig {
        let mut config = self.writing(slot);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // Given up would be one out of the middle: the worker waits, and takes in no more.
            .set("message.timeout.ms", "0")
            // One too large for its topic takes no others with it.
            .set("batch.size", "65536");
        if !self.properties.contains_key("socket.timeout.ms") {
            // A broker that hangs is left for the next leader: nothing else ends a request.
            config.set("socket.timeout.ms", "10000");
        }
        config
    }

    /// What both producers have in common.
    fn writing(&self, client_id: &str) -> ClientConfig {
        let mut config = self.client(client_id);
        config
            .set("linger.ms", "0")
            // The broker's limit is what counts; a copy it refuses is written without its value.
            .set("message.max.bytes", "100000000")
            .set("partitioner", "murmur2_random");
        if !self.properties.contains_key("compression.type") {
            // Little goes out, and most of it is packed already: partial aggregates.
            config.set("compression.type", "none");
        }
        config
    }
}

/// How records are fetched, but for what is said otherwise; offsets are committed by nobody but us.
pub(crate) fn fetching(config: &mut ClientConfig) -> &mut ClientConfig {
    // What is fetched far ahead has left the processor's cache when its turn comes, and is fresh
    // memory each time: by default up to 100,000 records or 64 MiB of each partition, of which a
    // broker sends 1 MiB at a time. A twentieth of a second's events is enough for the next fetch to come.
    let few = [
        ("queued.min.messages", "10000"),
        ("queued.max.messages.kbytes", "4096"),
        ("max.partition.fetch.bytes", "262144"),
    ];
    // The one of them that librdkafka knows by two names.
    let is_named = config.get("fetch.message.max.bytes").is_some();
    for (name, value) in few {
        if config.get(name).is_none() && !(is_named && name == "max.partition.fetch.bytes") {
            config.set(name, value);
        }
    }
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A missing offset must stop the reader, never skip records.
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "50")
        // The default of 1000 leaves the fetcher asleep behind a full queue.
        .set("fetch.queue.backoff.ms", "5")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_ahead_is_fetched_can_be_said_otherwise() {
        let mut config = ClientConfig::new();
        config.set("queued.min.messages", "77").set("fetch.message.max.bytes", "1000000");
        fetching(&mut config);
        assert_eq!(config.get("queued.min.messages"), Some("77"));
        assert_eq!(config.get("queued.max.messages.kbytes"), Some("4096"));
        assert_eq!(config.get("max.partition.fetch.bytes"), None);
    }
}
