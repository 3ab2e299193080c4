//! Rules: YAML text in, a checked [`RuleSet`] or all of its faults out (contract R).
//!
//! Reads no files and knows no counters: callers hand in texts, the engine gives rules meaning.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod types;

pub use types::*;
