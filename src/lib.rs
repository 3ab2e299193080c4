//! tidegate: a stream-processing risk and anomaly detector for loyalty-points programmes.
//!
//! # Bird's-eye view
//!
//! State is a fold over a log. The engine sees the events of one partition in log order and
//! nothing else, so its state at an offset is a pure function of the log up to it, and whatever
//! runs the engine over the same log with the same rules comes to the same decisions. A backtest
//! is that fold over a file:
//!
//! ```text
//! JSON lines ─▶ event::Decoder ─▶ engine::step ─▶ decisions, commands, account records
//!                                   ▲      │
//! YAML, CSV ─▶ rule::load ─▶ Plan ──┘      └─▶ partial aggregates ─▶ engine::step
//! ```
//!
//! # Code map
//!
//! - [`event`]: the event, its wire format, the mapping of other shapes to it.
//! - [`rule`]: rule files and lists, from text to checked types; all faults of rules.
//! - [`engine`]: [`engine::step`] over a [`engine::State`]: watermark, duplicates, windows,
//!   baselines, firing, holds. A key that crosses partitions (device, address, source, global)
//!   leaves as a record of [`engine::PartialsOutbox`] and is judged where it comes in again.
//! - [`config`]: settings of the fold, from a file.
//! - [`backtest`]: the fold over a file of events, and the tests that stand beside rules.
//! - [`generate`]: seeded streams of events with labelled abuse.
//! - [`stream`]: what a worker needs of a log.
//! - [`demo`]: the detector between stand-ins, to look at.
//! - [`cli`]: arguments to one call per command.
//!
//! # Invariants
//!
//! - `event`, `rule` and `engine` have no clock, no randomness, no files, no environment, no
//!   sockets and no hash map whose order could reach an output.
//! - `event` knows no other room, and `rule` does not know `engine`.
//! - No error leaves [`engine::step`]: bad input is counted and named by [`engine::Outcome`].
//! - Outside the engine nothing chooses an id, a threshold or a text of a decision.
//! - No rule set is loaded in part.
//!
//! # Time
//!
//! Time is event time, in milliseconds. A partition's watermark is the greatest `ts` it has
//! accepted; how late an event may be, which windows are closed and which ids and keys are
//! forgotten all follow from it.
//!
//! # Errors and limits
//!
//! All faults of a rule set are told at once, each with its place, the text in question and a
//! hint. What memory has to leave out is counted ([`engine::Counts`]): nothing is dropped in
//! silence, and consumed = accepted + duplicate + late + quarantined.
//!
//! # Delivery
//!
//! The ids of decisions and commands depend on the rule, the key, the level and the event (for
//! keys that cross partitions: on the place in the log of partial aggregates), so that whoever
//! receives one twice can tell.

pub mod event;
pub mod rule;

pub mod engine;

pub mod config;

pub mod backtest;
pub mod cli;
pub mod demo;
pub mod generate;
pub mod http;
pub mod metrics;
pub mod notify;
pub mod service;
pub mod stream;
