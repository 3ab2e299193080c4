//! From the configuration to what the stream room wants to know.

use std::sync::Arc;

use crate::config::{Config, Delivery as ConfigDelivery, Start as ConfigStart};
use crate::notify::{NotifySettings, Secret, signature};
use crate::stream::kafka::{KafkaSettings, TopicNames};
use crate::stream::{Delivery, Start};

/// Brokers, group and topics.
pub fn kafka_settings(config: &Config) -> KafkaSettings {
    let topics = &config.topics;
    let name = |text: &str| Arc::from(text);
    KafkaSettings {
        brokers: config.kafka.brokers.clone(),
        group: config.kafka.group.clone(),
        properties: config.kafka.properties.clone(),
        address: config.http.advertise.clone(),
        delivery: delivery(config),
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
            told: name(&config.kafka.told()),
            standing: name(&config.kafka.standing()),
            daily: name(&topics.daily),
        },
    }
}

/// When decisions and commands leave.
fn delivery(config: &Config) -> Delivery {
    match config.engine.delivery {
        ConfigDelivery::ExactlyOnce => Delivery::ExactlyOnce,
        ConfigDelivery::AtLeastOnce => Delivery::AtLeastOnce,
    }
}

/// Where to begin without a committed offset.
pub fn worker_start(config: &Config) -> Start {
    match config.input.start {
        ConfigStart::Oldest => Start::Oldest,
        ConfigStart::Latest => Start::Latest,
    }
}

/// The settings of notices, with the address of links and what signs them.
pub fn notify_settings(config: &Config) -> NotifySettings {
    let mut settings = config.notify.clone();
    if settings.url.is_none() {
        let listen = config.http.listen;
        let own = (!listen.ip().is_unspecified()).then(|| format!("http://{listen}"));
        settings.url = config.http.advertise.clone().or(own);
    }
    if settings.secret.is_none() {
        // Another one than the token itself: a link must tell nobody anything of that.
        let token = config.http.token.as_ref();
        let made = token.map(|token| signature(token.expose().as_bytes(), b"notice links"));
        settings.secret = made.map(Secret::new);
    }
    settings
}
