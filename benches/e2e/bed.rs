//! The Kafka that is measured with, and the topic that is filled beforehand.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde::Serialize;
use tidegate::generate::{self, Stream};
use xxhash_rust::xxh3::xxh3_64;

use crate::Options;
use crate::broker::{Broker, PATIENCE, unique, wait};

/// Where everything runs. Its topics are deleted at the end.
pub(crate) struct Bed {
    pub(crate) address: String,
    broker: Option<Broker>,
    prefix: String,
    runtime: tokio::runtime::Runtime,
}

/// The topic that is read, and what lies in it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Input {
    pub(crate) topic: String,
    /// Records of each partition.
    pub(crate) ends: Vec<i64>,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    /// Distinct users.
    pub(crate) users: u64,
}

impl Bed {
    /// At `brokers`, or with a broker of its own.
    pub(crate) fn new(brokers: Option<&str>) -> Bed {
        // Java's own choice of compilers: the tests' quick start costs each request twice the time.
        let broker = brokers.is_none().then(|| Broker::new(&[], &["-Xmx1g"]));
        let own = || broker.as_ref().map(|broker| broker.address().to_owned());
        Bed {
            address: brokers.map(str::to_owned).or_else(own).unwrap(),
            broker,
            prefix: unique("tidegate-e2e"),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }

    /// What answers, in words.
    pub(crate) fn kafka(&self) -> String {
        match self.broker {
            Some(_) => "Apache Kafka 4.1.0, one node on this machine".to_owned(),
            None => format!("Kafka at {}", self.address),
        }
    }

    /// The first part of names that nobody else uses.
    pub(crate) fn name(&self, name: &str) -> String {
        unique(&format!("{}.{name}", self.prefix))
    }

    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    pub(crate) fn create(&self, topic: &str, partitions: i32) {
        // Event times lie in the past, and so do the timestamps of the records.
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        let new = new.set("retention.ms", "-1");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let created = self.runtime.block_on(self.admin().create_topics([&new], &options)).unwrap();
        assert_eq!(created, [Ok(topic.to_owned())]);
        let consumer: BaseConsumer = self.client().create().unwrap();
        wait("the new topic has leaders", || {
            let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
            let partitions_known = metadata.topics()[0].partitions();
            partitions_known.iter().filter(|partition| partition.leader() >= 0).count()
                == usize::try_from(partitions).unwrap()
        });
    }

    /// Writes the generated stream in batches as busy producers do.
    pub(crate) fn prefill(&self, options: &Options) -> Input {
        let began = Instant::now();
        let topic = self.name("input");
        self.create(&topic, options.partitions);
        let mut config = self.client();
        config.set("compression.type", "lz4").set("batch.size", "65536").set("linger.ms", "200");
        config.set("partitioner", "murmur2_random").set("queue.buffering.max.kbytes", "262144");
        let producer: BaseProducer = config.create().unwrap();
        let mut stream = Stream::new(&generate::Options {
            users: options.users,
            popularity: options.distribution,
            paced: false,
            rate: options.rate,
            seconds: options.events.div_ceil(options.rate).max(1),
            events: Some(options.events),
            ..generate::Options::default()
        });
        let (mut events, mut bytes, mut users) = (0, 0, BTreeSet::new());
        while let Some(line) = stream.next_line() {
            let record = BaseRecord::to(&topic).key(line.user).payload(line.bytes);
            send(&producer, record.timestamp(line.at));
            events += 1;
            bytes += line.bytes.len() as u64;
            users.insert(xxh3_64(line.user.as_bytes()));
        }
        producer.flush(PATIENCE * 5).unwrap();
        eprintln!("prefilled {events} events in {:.1} s", began.elapsed().as_secs_f64());
        let ends = self.ends(&topic, options.partitions);
        assert_eq!(ends.iter().sum::<i64>().cast_unsigned(), events, "records are missing");
        Input { topic, ends, events, bytes, users: users.len() as u64 }
    }

    fn ends(&self, topic: &str, partitions: i32) -> Vec<i64> {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let end = |partition| consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap().1;
        (0..partitions).map(end).collect()
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    fn delete_topics(&self) -> Result<(), KafkaError> {
        let consumer: BaseConsumer = self.client().create()?;
        let metadata = consumer.fetch_metadata(None, PATIENCE)?;
        let names = metadata.topics().iter().map(rdkafka::metadata::MetadataTopic::name);
        let ours: Vec<&str> = names.filter(|name| name.starts_with(&self.prefix)).collect();
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        self.runtime.block_on(self.admin().delete_topics(&ours, &options)).map(drop)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // Those of a broker of our own go with its folder.
        if self.broker.is_none()
            && let Err(error) = self.delete_topics()
        {
            eprintln!("cannot delete the topics {}*: {error}", self.prefix);
        }
    }
}

/// Sends, and waits while the producer's queue is full.
pub(crate) fn send(producer: &BaseProducer, record: BaseRecord<'_, str, [u8]>) {
    let mut record = record;
    while let Err((error, refused)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
        producer.poll(Duration::from_millis(10));
        record = refused;
    }
}
