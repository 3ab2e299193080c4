//! Kafka behind the narrow [`crate::stream::Log`]: consumer, transactional producer, topics; plain
//! readers beside it, and a stand-in for the broker for demonstrations.

mod canary;
mod client;
mod complaints;
mod direct;
mod earlier;
mod find;
mod history;
mod leave;
mod log;
mod lookup;
mod members;
mod native;
mod polled;
mod progress;
mod publish;
mod quiet;
mod reader;
mod seek;
mod side;
mod stand_in;
mod survey;
mod topics;
mod transaction;
mod verdict;
mod watcher;

pub use canary::CanaryLine;
pub(crate) use client::unusable;
pub use client::{KafkaSettings, TopicNames};
pub use find::{FoundEvent, Wanted, decisions_of, find_event, records};
pub use history::{History, HistoryError, Past, Stretch};
pub(crate) use leave::leave;
pub use log::KafkaLog;
pub use members::{Member, members};
pub use publish::{PublishError, SetRecord, new_change, publish, publish_all, published};
pub(crate) use quiet::Quiet;
pub use reader::Reader;
pub use stand_in::{Follower, StandIn};
pub use survey::{SurveyError, survey};
pub use topics::{TopicError, prepare, retention_ms};
