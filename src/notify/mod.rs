//! Decisions to routes to receivers: its own consumer, so that detection never waits for people.
//!
//! [`run`] reads the topic of decisions and commits behind what is settled. [`Router`] decides
//! who hears of a decision and when (pure: the time is an argument); [`Delivery`] holds one task
//! and one backlog per receiver, so that a dead receiver delays no other. This room decides
//! nothing about risk: which decisions exist, and whether they alert, the engine has already said.

mod backlog;
mod consumer;
mod delivery;
mod group;
mod letters;
mod mask;
mod metrics;
mod progress;
mod rate;
mod receivers;
mod resume;
mod route;
pub mod sample;
mod settings;
mod text;
mod transport;
mod trouble;
mod way;

pub use consumer::{NotifyError, NotifyRun, run};
pub use delivery::{Delivery, Outcome, Report, Retry};
pub use mask::{mask, masked, masked_key};
pub use metrics::NotifyMetrics;
pub use receivers::{
    AlertmanagerSettings, EmailSettings, Language, Method, OutboxSettings, Provider,
    ReceiverSettings, RobotSettings, Secret, SlackSettings, SmsSettings, TlsMode, Via,
    WebhookSettings,
};
pub use route::{Notice, Router, Shares};
pub use settings::{Match, NotifySettings, RouteSettings, SettingsError};
pub use text::{Encoding, Message, Segments, TextError, Texts, segments};
pub use transport::{Done, SendError, Transport};
pub use way::signature;
