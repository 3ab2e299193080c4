//! Watching the watcher: whether detection works, and what to say when it does not.
//!
//! An instance asks the log whether records come through ([`Canaries`]) and looks at itself once a
//! second ([`Watch`]). Pure: the time and what there is to see are arguments, and what comes of it
//! are decisions about the instance, for the routes of notices. Nothing here has a say in what is
//! detected.

mod alarms;
mod canaries;
mod pulse;
mod restores;

pub use alarms::{Facts, Limits, News, Watch};
pub use canaries::{Back, Canaries};
pub use pulse::Pulse;
pub use restores::Restores;
