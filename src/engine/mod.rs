//! The engine: a deterministic fold over one partition's log.
//!
//! [`step`] sees inputs in log order and nothing else: no clock, no randomness, no I/O, so the
//! state at an offset is a pure function of the log up to it.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod decision;
pub mod io;

pub use decision::*;
pub use io::*;
