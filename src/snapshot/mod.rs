//! Snapshots on disk or in a bucket: segments, manifests, checksums, retention. Knows nothing of
//! Kafka, and of the state no more than that it is told in records.

mod keeper;
mod shelf;
mod store;

pub use keeper::{Keeper, Outcome};
pub use shelf::{Bad, Landmark, Manifest, Segment, Shelf, Subject};
pub use store::{Listed, Objects, SharedStore, Store, StoreError};
