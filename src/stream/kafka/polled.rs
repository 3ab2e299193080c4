//! What a queue of the client brings, as records of the narrow log.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;

use crate::stream::kafka::native::Item;
use crate::stream::{Header, Place, Polled, Record};

#[derive(Debug)]
pub(super) struct NoHeaders;

impl crate::stream::Headers for NoHeaders {
    fn read(&self) -> Vec<Header> {
        Vec::new()
    }
}

/// What items of the queue are to a worker; a fault of a partition is noted apart.
pub(super) fn polled<'a>(
    items: &'a [Item<'a>],
    place: &dyn Fn(&[u8], i32) -> Place,
    fault: &mut Option<KafkaError>,
) -> Vec<Polled<'a>> {
    let lost = RDKafkaRespErr::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET;
    let polled = items.iter().filter_map(|item| match item {
        Item::Message(message) => Some(Polled::Record(Record {
            place: place(message.topic, message.partition),
            offset: message.offset,
            timestamp_ms: message.timestamp_ms,
            key: message.key,
            value: message.value,
            headers: &message.headers,
        })),
        Item::Error(RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF, topic, partition, at) => {
            Some(Polled::End(place(topic, *partition), *at))
        }
        Item::Error(code, ..) => {
            // Told once only: no other fault may hide it.
            if fault.is_none() || *code == lost {
                *fault = Some(KafkaError::MessageConsumption((*code).into()));
            }
            None
        }
    });
    polled.collect()
}
