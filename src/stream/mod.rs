//! The Kafka loop: worker, transaction, partials, restore, quarantine. Decides nothing.

mod log;

pub use log::{Batch, Entry, Failure, Log, Place, Polled, Produce};
