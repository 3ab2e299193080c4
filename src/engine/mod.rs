//! The engine: a deterministic fold over one partition's log.
//!
//! [`step`] sees inputs in log order and nothing else: no clock, no randomness, no I/O, so the
//! state at an offset is a pure function of the log up to it. One [`State`] belongs to one
//! partition of the input topic, or of the partials topic: what crosses partitions leaves the
//! first as [`PartialsOutbox`] records and enters the second as [`Input::Partials`].
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub(crate) mod act;
mod ahead;
mod arena;
pub(crate) mod baseline;
mod by_rule;
mod bytes;
pub(crate) mod calendar;
pub(crate) mod cell;
pub(crate) mod change;
pub(crate) mod closing;
pub mod daily;
pub mod decision;
pub(crate) mod dedup;
pub(crate) mod direct;
pub(crate) mod distinct;
pub(crate) mod edits;
pub(crate) mod expiry;
pub mod explain;
pub(crate) mod filter;
pub(crate) mod firing;
pub(crate) mod forecast;
pub(crate) mod forget;
pub(crate) mod gate;
mod gather;
mod habit;
mod history;
pub(crate) mod holds;
pub mod impact;
pub(crate) mod in_turn;
pub(crate) mod index;
pub(crate) mod inputs;
pub(crate) mod intervene;
pub mod io;
pub(crate) mod keyed;
pub(crate) mod ledger;
mod matcher;
pub(crate) mod opens;
pub(crate) mod outbox;
pub(crate) mod partial;
mod peaks;
pub(crate) mod places;
mod plan;
pub(crate) mod posting;
pub(crate) mod posts;
pub(crate) mod published;
pub(crate) mod queue;
pub(crate) mod quiet;
pub(crate) mod reach;
pub(crate) mod rolling;
pub(crate) mod routes;
mod rows;
mod sample;
pub(crate) mod score;
pub(crate) mod season;
pub(crate) mod seen;
pub(crate) mod shared;
pub(crate) mod shown;
pub(crate) mod slab;
pub(crate) mod small;
pub mod snapshot;
pub(crate) mod space;
pub(crate) mod standing;
pub(crate) mod state;
pub(crate) mod table;
pub(crate) mod tally;
pub(crate) mod tight;
pub(crate) mod together;
pub(crate) mod turn;
pub(crate) mod view;
pub(crate) mod wire;
mod young;

pub use ahead::{Hashes, LOOK_AHEAD};
pub use change::{Act, CHANGE_VERSION, Change, Seat, user_partition};
pub use daily::{DAILY, DailyOutbox, DailyReport};
pub use decision::*;
pub use filter::Lists;
pub use gate::Gate;
pub use holds::Holds;
pub use intervene::{ChangePlace, FREEZE_BY_HAND, HELD, SILENCES};
pub use io::*;
pub use matcher::{Matcher, Subject};
pub use partial::PartialsOutbox;
pub use plan::Plan;
pub use posts::{Events, PostedEvent, Posts};
pub use published::{NamedText, PublishedRules};
pub use snapshot::{Damaged, Loaded, Loader, Swept};
pub use standing::{Outlook, Standing};
pub use state::{Output, State, step};
