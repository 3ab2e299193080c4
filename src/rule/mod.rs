//! Rules: YAML text in, a checked [`RuleSet`] or all of its faults out (contract R).
//!
//! Reads no files and knows no counters: callers hand in texts, the engine gives rules meaning.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod action;
mod baseline;
mod duration;
mod fault;
mod filter;
mod filters;
mod format;
mod levels;
mod lint;
mod list;
mod load;
mod measure;
pub(crate) mod node;
mod outcomes;
mod reach;
#[expect(clippy::module_inception, reason = "the section of one rule, beside its parts")]
mod rule;
mod schema;
mod section;
#[cfg(test)]
mod tests;
pub mod types;

pub(crate) use duration::millis;
pub use duration::{DURATION_MAX_MS, parse_duration, write_duration};
pub use fault::Fault;
pub use format::{FormatError, format};
pub use lint::{Lint, Surroundings, Warning, lint};
pub use list::{parse_instant, parse_list};
pub use load::{Source, load, place_of_list};
pub use outcomes::BUDGET;
pub use reach::reach_ms;
pub(crate) use reach::window_ms;
pub use schema::schema;
pub use types::*;
