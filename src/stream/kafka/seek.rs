//! Reads partitions that are assigned already from other offsets on.
//!
//! Assigning them anew would stop each first, which undoes the forwarding of its queue to ours
//! behind our back: its records would trickle in one by one, and its end would never be told.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

use crate::stream::Failure;

/// One try; a partition that was assigned a moment ago is not read yet and refuses.
const TRY: Duration = Duration::from_secs(1);
/// Tried for so long.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// # Errors
/// Fatal when a partition cannot be sought.
pub(super) fn seek<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    starts: &TopicPartitionList,
) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        let reason = match consumer.seek_partitions(starts.clone(), TRY) {
            Ok(done) => match done.elements().iter().find_map(|at| at.error().err()) {
                None => return Ok(()),
                Some(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        if Instant::now() > until {
            return Err(Failure::Fatal(format!("partitions cannot be read again: {reason}")));
        }
        std::thread::sleep(PAUSE);
    }
}
