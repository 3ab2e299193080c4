//! The Kafka loop: worker, transaction, partials, restore, quarantine. Decides nothing.
//!
//! [`Worker`] runs over the narrow [`Log`]: [`kafka`] is the real one, the simulation of the
//! tests another. One thread owns a worker with its consumer, producer and engine states.

mod asks;
mod bench;
mod clock;
mod control;
mod emit;
pub mod kafka;
mod log;
mod part;
mod plans;
mod reign;
mod restore;
mod runner;
mod shared;
mod worker;

pub(crate) use asks::Ask;
pub use asks::{Asked, Asks, Surveyed, Told};
pub use clock::{Clock, SystemClock};
pub use control::Journaled;
pub use log::{
    Aside, Batch, Bounds, Failure, Header, Headers, Log, Lookup, Place, Polled, Produce, Progress,
    Rebalance, Record, Side, SideRecord, Sink, Source, Visit,
};
pub use plans::PlanCell;
pub use runner::{Fleet, RunnerSettings, readiness};
pub(crate) use shared::lock;
pub use shared::{PartitionView, Phase, Recent, WorkerView};
pub use worker::{Delivery, SnapshotSettings, Start, Worker, WorkerSettings};
