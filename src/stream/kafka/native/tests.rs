//! The room against librdkafka's mock cluster. CI runs these under memcheck too, which tells of
//! memory that is read after it was given back, given back twice, or never.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

use super::*;

const TOPIC: &str = "events";
const PATIENCE: Duration = Duration::from_mins(1);

/// A consumer of one partition and the queue over it, in the order in which they are dropped.
struct Reading {
    queue: PrivateQueue,
    consumer: BaseConsumer,
}

/// A mock cluster, which ends with its producer.
struct Mock(BaseProducer<DefaultProducerContext>);

/// What is borrowed, copied.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    partition: i32,
    offset: i64,
    timestamp_ms: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<crate::stream::Header>,
}

impl Mock {
    fn new() -> Mock {
        let producer: BaseProducer<DefaultProducerContext> =
            ClientConfig::new().set("test.mock.num.brokers", "1").create().unwrap();
        producer.client().mock_cluster().unwrap().create_topic(TOPIC, 1, 1).unwrap();
        Mock(producer)
    }

    fn write(&self, key: Option<&str>, value: Option<&str>, n: i64, headers: OwnedHeaders) {
        let mut record = BaseRecord::<str, str>::to(TOPIC).timestamp(n).headers(headers);
        (record.key, record.payload) = (key, value);
        self.0.send(record).map_err(|(error, _)| error).unwrap();
    }

    /// So many records, number 0 first.
    fn write_some(&self, count: i64) {
        for n in 0..count {
            self.write(Some("k"), Some(&n.to_string()), n, OwnedHeaders::new());
        }
        self.flush();
    }

    fn flush(&self) {
        let until = Instant::now() + PATIENCE;
        // What has been sent stays until its report is taken.
        while !flush(self.0.client().native_ptr(), 10) {
            assert!(Instant::now() < until, "the records are not sent");
            self.0.poll(Duration::ZERO);
        }
    }

    fn read(&self) -> Reading {
        let cluster = self.0.client().mock_cluster().unwrap();
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "10")
            .create()
            .unwrap();
        let queue = PrivateQueue::new(consumer.client().native_ptr());
        queue.forward(TOPIC, 0);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        Reading { queue, consumer }
    }
}

impl Reading {
    /// Hands out what comes until the partition's end, of which the offset is returned.
    fn take_all(&mut self, visit: &mut dyn FnMut(&Message<'_>)) -> i64 {
        let until = Instant::now() + PATIENCE;
        let mut end = None;
        while end.is_none() {
            assert!(Instant::now() < until, "the end does not come");
            self.queue.take(100, &mut |items| {
                assert!((1..=LOOK_AHEAD).contains(&items.len()));
                for item in items {
                    match item {
                        Item::Message(message) => visit(message),
                        Item::Error(code, topic, partition, offset) => {
                            assert_eq!(*code, RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF);
                            assert_eq!((*topic, *partition), (TOPIC.as_bytes(), 0));
                            end = Some(*offset);
                        }
                    }
                }
            });
        }
        end.unwrap()
    }
}

fn owned(message: &Message<'_>) -> Owned {
    assert_eq!(message.topic, TOPIC.as_bytes());
    Owned {
        partition: message.partition,
        offset: message.offset,
        timestamp_ms: message.timestamp_ms,
        key: message.key.map(<[u8]>::to_vec),
        value: message.value.map(<[u8]>::to_vec),
        headers: message.headers.read(),
    }
}

#[test]
fn records_are_read_as_they_were_written() {
    let mock = Mock::new();
    let header = |key, value| Header { key, value };
    let headers = OwnedHeaders::new()
        .insert(header("trace", Some("t-1")))
        .insert(header("empty", Some("")))
        .insert(header("null", None));
    mock.write(Some("u-1"), Some("points"), 1_000, headers);
    mock.write(None, Some(""), 2_000, OwnedHeaders::new());
    mock.write(Some(""), None, 3_000, OwnedHeaders::new());
    mock.flush();
    let mut found = Vec::new();
    let mut reading = mock.read();
    let end = reading.take_all(&mut |message| found.push(owned(message)));
    let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    let record = |offset, key, value| Owned {
        partition: 0,
        offset,
        timestamp_ms: Some((offset + 1) * 1_000),
        key: bytes(key),
        value: bytes(value),
        headers: Vec::new(),
    };
    let trace = |key: &str, value| (key.to_owned(), bytes(value));
    let mut first = record(0, Some("u-1"), Some("points"));
    first.headers =
        vec![trace("trace", Some("t-1")), trace("empty", Some("")), trace("null", None)];
    assert_eq!(found, [first, record(1, None, Some("")), record(2, Some(""), None)]);
    assert_eq!(end, 3);
}

#[test]
fn each_record_of_many_batches_is_handed_out_once_and_in_order() {
    let mock = Mock::new();
    let count = i64::try_from(BATCH + LOOK_AHEAD + 1).unwrap();
    mock.write_some(count);
    let mut next = 0;
    let mut reading = mock.read();
    reading.take_all(&mut |message| {
        assert_eq!(message.offset, next);
        assert_eq!(message.value, Some(next.to_string().as_bytes()));
        next += 1;
    });
    assert_eq!(next, count);
    // The client has heard of the end with the records.
    let client = reading.consumer.client().native_ptr();
    assert_eq!(known_end(client, TOPIC, 0), Some(count));
    assert_eq!(known_end(client, TOPIC, 7), None);
    assert_eq!(known_end(client, "a zero \0 within", 0), None);
    // It was told what to read, and is in no group.
    assert!(!is_member(client));
}

#[test]
fn records_of_a_visit_that_panics_are_given_back() {
    let mock = Mock::new();
    mock.write_some(5);
    let mut reading = mock.read();
    let until = Instant::now() + PATIENCE;
    let taking = || {
        while Instant::now() < until {
            reading.queue.take(100, &mut |_| std::panic::resume_unwind(Box::new("visited")));
        }
    };
    let visited = catch_unwind(AssertUnwindSafe(taking)).unwrap_err();
    assert_eq!(visited.downcast_ref(), Some(&"visited"));
    assert!(!reading.queue.taken.messages.is_empty());
    // The client would not end before it has them back.
    drop(reading);
}
