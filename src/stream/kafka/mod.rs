//! Kafka behind the narrow [`crate::stream::Log`]: consumer, transactional producer, topics.

mod client;
mod complaints;
mod log;
mod native;
mod stand_in;
mod topics;

pub use client::{KafkaSettings, TopicNames};
pub use log::KafkaLog;
pub use stand_in::{Reader, StandIn};
pub use topics::{TopicError, prepare};
