//! Decisions to routes to receivers: its own consumer, so that detection never waits for people.
//!
//! [`run`] reads the topic of decisions and commits behind what is settled. [`Router`] decides
//! who hears of a decision and when (pure: the time is an argument); [`Delivery`] holds one task
//! and one backlog per receiver, so that a dead receiver delays no other. This room decides
//! nothing about risk: which decisions exist, and whether they alert, the engine has already said.

mod backlog;
mod bulletin;
mod consumer;
mod daily;
mod delivery;
mod desk;
mod group;
mod heart;
mod inhibit;
mod keeper;
mod lane;
mod ledger;
mod letters;
mod mask;
mod metrics;
mod mutes;
mod muting;
mod note;
mod notice;
mod offer;
mod own;
mod own_entry;
mod progress;
mod quiet;
mod rate;
mod recall;
mod recalled;
mod receivers;
mod release;
mod remind;
mod repeats;
mod resume;
mod route;
mod routes;
mod run;
pub mod sample;
mod settings;
mod signing;
mod text;
mod told;
mod transport;
mod tree;
mod trouble;
mod turn;
mod way;

pub use consumer::run;
pub use daily::DailySettings;
pub use delivery::{Delivery, Outcome, Report, Retry};
pub use heart::{BeatMethod, HeartbeatSettings};
pub use mask::{mask, masked, masked_key};
pub use metrics::NotifyMetrics;
pub use mutes::{Acknowledged, Mutes, Silence};
pub use notice::{Links, Notice, Shares};
pub use own::{Alive, OwnNews, OwnRun};
pub use receivers::{
    AlertmanagerSettings, EmailSettings, Language, Method, OutboxSettings, Provider,
    ReceiverSettings, RobotSettings, Secret, SlackSettings, SmsSettings, TlsMode, Via,
    WebhookSettings,
};
pub use route::Router;
pub use routes::{InhibitSettings, QuietSettings, RouteSettings, StepSettings};
pub use run::{NotifyError, NotifyRun, Publish};
pub use settings::{NotifySettings, SettingsError};
pub use signing::{Signed, Signer};
pub use text::{Encoding, Message, Segments, TextError, Texts, segments};
pub use transport::{Done, SendError, Transport};
pub use tree::{Groups, Told};
pub use way::signature;
