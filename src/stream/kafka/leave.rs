//! A member with a fixed name leaves its group.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

use crate::stream::kafka::native;

/// A group that cannot be left within this time is left to its session time-out.
const LEAVE: Duration = Duration::from_secs(2);
/// The client is heard so often meanwhile.
const HEAR: Duration = Duration::from_millis(10);

/// Leaves the group, so that others take the partitions over without waiting for the end of the
/// session. The consumer's context must give partitions back as soon as it is asked for them.
///
/// To close a consumer with a fixed name does not leave (KIP-345); to give up its subscription
/// before does.
pub(crate) fn leave<C: ConsumerContext>(consumer: &BaseConsumer<C>) {
    consumer.unsubscribe();
    let client = consumer.client().native_ptr();
    let until = Instant::now() + LEAVE;
    while native::is_member(client) && Instant::now() < until {
        consumer.poll(HEAR);
    }
}
