//! From the configuration to what the stream room wants to know.

use std::sync::Arc;

use crate::config::{Config, Start as ConfigStart};
use crate::stream::Start;
use crate::stream::kafka::{KafkaSettings, TopicNames};

/// Brokers, group and topics.
pub fn kafka_settings(config: &Config) -> KafkaSettings {
    let topics = &config.topics;
    let name = |text: &str| Arc::from(text);
    KafkaSettings {
        brokers: config.kafka.brokers.clone(),
        group: config.kafka.group.clone(),
        properties: config.kafka.properties.clone(),
        address: config.http.advertise.clone(),
        topics: TopicNames {
            events: name(&topics.events),
            partials: name(&config.kafka.partials()),
            decisions: name(&topics.decisions),
            commands: name(&topics.commands),
            accounts: name(&topics.accounts),
            quarantine: name(&topics.quarantine),
            control: name(&topics.control),
            journal: name(&config.kafka.journal()),
            notices_dead: name(&topics.notices_dead),
        },
    }
}

/// Where to begin without a committed offset.
pub fn worker_start(config: &Config) -> Start {
    match config.input.start {
        ConfigStart::Oldest => Start::Oldest,
        ConfigStart::Latest => Start::Latest,
    }
}
