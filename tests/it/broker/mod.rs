//! A real Apache Kafka for tests: nodes in processes of their own, without containers.
//!
//! [`shared`] is one broker for the whole test binary, [`private`] one that a test may stop and
//! start again on the same ports and log folder, [`cluster`] three of which each may go and come.
//! All answer `None`, and say so loudly, unless `TIDEGATE_KAFKA=1` is set; they need `java` and
//! `mvn`. All helpers block: a test that serves something beside them wants
//! `#[tokio::test(flavor = "multi_thread")]`.

mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::metadata::MetadataPartition;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};

use node::{Flags, Node, QUICK};

/// For anything a healthy broker does; generous, since the cores may be shared.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
const STEP: Duration = Duration::from_millis(50);

/// One record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    pub(crate) headers: BTreeMap<String, String>,
}

/// A broker, or some that make a cluster; their processes end with it.
#[derive(Debug)]
pub(crate) struct Broker {
    nodes: Vec<Node>,
    /// For `bootstrap.servers`.
    address: String,
}

/// The broker of this test binary, started at first use; `None` where it is not wanted.
pub(crate) fn shared() -> Option<&'static Broker> {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    wanted().then(|| BROKER.get_or_init(|| Broker::new(&[], &QUICK)))
}

/// A broker of one's own, with server properties beside the usual ones.
pub(crate) fn private(properties: &[(&str, &str)]) -> Option<Broker> {
    wanted().then(|| Broker::new(properties, &QUICK))
}

/// The same with words for `kafka.tools.StorageTool format`, which can make users.
pub(crate) fn formatted(properties: &[(&str, &str)], format: &[&str]) -> Option<Broker> {
    wanted().then(|| Broker::of(1, properties, &QUICK, format))
}

/// Three brokers that keep everything three times and want two to have it.
pub(crate) fn cluster() -> Option<Broker> {
    let properties = [
        ("default.replication.factor", "3"),
        ("min.insync.replicas", "2"),
        ("offsets.topic.replication.factor", "3"),
        ("transaction.state.log.replication.factor", "3"),
        ("transaction.state.log.min.isr", "2"),
    ];
    wanted().then(|| Broker::of(3, &properties, &QUICK, &[]))
}

/// A name that no other test uses, in this run or another.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Whether tests against a broker shall run, and can.
pub(crate) fn wanted() -> bool {
    if std::env::var("TIDEGATE_KAFKA").as_deref() != Ok("1") {
        skipped("it needs a real Kafka; set TIDEGATE_KAFKA=1 to run it");
        return false;
    }
    able()
}

/// Whether this machine has what a broker needs.
///
/// # Panics
/// With `CI=true` where it has not.
pub(crate) fn able() -> bool {
    let runs = |program: &str, argument: &str| {
        let quiet = || Stdio::null();
        let mut command = Command::new(program);
        command.arg(argument).stdin(quiet()).stdout(quiet()).stderr(quiet());
        command.status().is_ok_and(|status| status.success())
    };
    let able = runs("java", "-version") && (node::has_jars() || runs("mvn", "-v"));
    if !able {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "in CI there must be java and mvn");
        skipped("it needs a real Kafka, and there is no java, or no mvn");
    }
    able
}

/// Past the capture of test output, so that nobody takes a skipped test for a passed one.
pub(crate) fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    tell(&format!("SKIPPED: {test}: {why}"));
}

/// A line past the capture of test output.
pub(crate) fn tell(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

impl Broker {
    pub(crate) fn new(properties: &[(&str, &str)], flags: Flags) -> Broker {
        Broker::of(1, properties, flags, &[])
    }

    /// So many nodes, started side by side.
    #[expect(clippy::panic, reason = "a test helper that cannot go on should stop the test")]
    fn of(count: usize, properties: &[(&str, &str)], flags: Flags, words: &[&str]) -> Broker {
        let mut log = String::new();
        // Another process may take a port between here and a node's start, hence the tries.
        for _ in 0..5 {
            // The form of a UUID in base 64: 22 characters.
            let cluster = format!("{:A>22}", unique("A"));
            let nodes = Node::some(count, &cluster, flags);
            let address: Vec<&str> = nodes.iter().map(Node::address).collect();
            let broker = Broker { address: address.join(","), nodes };
            std::thread::scope(|scope| {
                for node in &broker.nodes {
                    scope.spawn(|| node.format(&broker.nodes, properties, words));
                }
            });
            broker.nodes.iter().for_each(Node::start);
            if broker.nodes.iter().all(|node| broker.answers(node)) {
                return broker;
            }
            log = broker.nodes.iter().map(Node::log).collect();
        }
        panic!("no broker came up: {log}");
    }

    /// For `bootstrap.servers`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The same for the port that `{secure}` stands for in properties, of the first node.
    pub(crate) fn secure_address(&self) -> &str {
        self.nodes[0].secure_address()
    }

    /// A client configuration that names this broker and nothing else.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        // Tests that stop a broker want its return noticed soon.
        config.set("reconnect.backoff.max.ms", "500");
        config
    }

    /// Ends all processes at once, as a crash would; ports and log stay for [`Broker::start`].
    pub(crate) fn stop(&self) {
        self.nodes.iter().for_each(Node::kill);
    }

    /// Starts it again after [`Broker::stop`], and waits until it answers.
    pub(crate) fn start(&self) {
        self.nodes.iter().for_each(Node::start);
        for node in &self.nodes {
            assert!(self.answers(node), "the broker did not come back: {}", node.log());
        }
    }

    /// Another broker, elsewhere, that begins with a copy of this one's disk. This one is down.
    pub(crate) fn copy(&self) -> Broker {
        let [from] = self.nodes.as_slice() else { unreachable!("a copy is of one node") };
        let nodes = Node::some(1, from.cluster(), &QUICK);
        nodes[0].take_over(from);
        let broker = Broker { address: nodes[0].address().to_owned(), nodes };
        broker.start();
        broker
    }

    /// Ends one node at once, as a crash would.
    pub(crate) fn kill_node(&self, id: i32) {
        self.node(id).kill();
    }

    /// Asks one node to hand over what it leads and to end, and waits for that.
    pub(crate) fn shut_down_node(&self, id: i32) {
        self.node(id).shut_down();
    }

    /// Starts a node again, and waits until it answers and holds all that it has to.
    pub(crate) fn start_node(&self, id: i32) {
        let node = self.node(id);
        node.start();
        assert!(self.answers(node), "node {id} did not come back: {}", node.log());
        wait("all replicas are in sync", || {
            self.metadata().is_some_and(|topics| {
                let mut all = topics.values().flat_map(BTreeMap::values);
                all.all(|at| at.in_sync.len() == at.replicas.len() && at.leader >= 0)
            })
        });
    }

    fn node(&self, id: i32) -> &Node {
        self.nodes.iter().find(|node| node.id() == id).unwrap()
    }

    /// Where the partitions of all topics are; `None` while no node says.
    pub(crate) fn metadata(&self) -> Option<Standings> {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let metadata = consumer.fetch_metadata(None, STEP * 20).ok()?;
        let standing = |at: &MetadataPartition| {
            let (replicas, in_sync) = (at.replicas().to_vec(), at.isr().to_vec());
            (at.id(), Standing { leader: at.leader(), replicas, in_sync })
        };
        let topics = metadata.topics().iter();
        let all = topics.map(|topic| {
            (topic.name().to_owned(), topic.partitions().iter().map(standing).collect())
        });
        Some(all.collect())
    }

    /// False when a node ended before it answered, or never did.
    fn answers(&self, node: &Node) -> bool {
        let mut config = self.client();
        let consumer: BaseConsumer =
            config.set("bootstrap.servers", node.address()).create().unwrap();
        let give_up_at = Instant::now() + 2 * PATIENCE;
        while Instant::now() < give_up_at && !node.has_ended() {
            let metadata = consumer.fetch_metadata(None, STEP * 10);
            let is_member =
                metadata.is_ok_and(|all| all.brokers().iter().any(|one| one.id() == node.id()));
            // Another process on our port has another cluster.
            let cluster = consumer.client().fetch_cluster_id(STEP * 10);
            if is_member && cluster.as_deref() == Some(node.cluster()) {
                return true;
            }
        }
        node.kill();
        false
    }

    /// A new topic with a name of its own.
    pub(crate) fn topic(&self, name: &str, partitions: i32) -> String {
        let name = unique(name);
        self.create(&name, partitions, &[]);
        name
    }

    /// A new topic, with topic settings such as `("cleanup.policy", "compact")`.
    pub(crate) fn create(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let copies = TopicReplication::Fixed(i32::try_from(self.nodes.len()).unwrap());
        self.create_on(NewTopic::new(name, partitions, copies), settings);
    }

    /// A new topic of one partition on one node.
    pub(crate) fn create_at(&self, name: &str, node: i32, settings: &[(&str, &str)]) {
        self.create_on(NewTopic::new(name, 1, TopicReplication::Variable(&[&[node]])), settings);
    }

    fn create_on<'a>(&self, mut topic: NewTopic<'a>, settings: &'a [(&'a str, &'a str)]) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let name = topic.name;
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let options =
            AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        let created = block_on(admin.create_topics([&topic], &options)).unwrap();
        assert_eq!(created, [Ok(name.to_owned())]);
        // The answer comes before the broker itself leads the partitions.
        let consumer: BaseConsumer = self.client().create().unwrap();
        wait("the new topic has leaders", || {
            let metadata = consumer.fetch_metadata(Some(name), PATIENCE).unwrap();
            let partitions = metadata.topics()[0].partitions();
            partitions.iter().filter(|p| p.leader() >= 0 && p.error().is_none()).count()
                == usize::try_from(topic.num_partitions).unwrap()
        });
    }

    /// Writes records of a key and a value, spread by key, and waits until all are written.
    pub(crate) fn produce<K: AsRef<str>, V: AsRef<str>>(&self, topic: &str, records: &[(K, V)]) {
        // In order also where some have to be sent again.
        let producer: BaseProducer =
            self.client().set("enable.idempotence", "true").create().unwrap();
        send(&producer, topic, records);
        producer.flush(PATIENCE).unwrap();
    }

    /// The same within a transaction that is committed or aborted.
    pub(crate) fn transact<K: AsRef<str>, V: AsRef<str>>(
        &self,
        topic: &str,
        records: &[(K, V)],
        end: End,
    ) {
        let mut config = self.client();
        let producer: BaseProducer =
            config.set("transactional.id", unique("transaction")).create().unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        send(&producer, topic, records);
        producer.flush(PATIENCE).unwrap();
        match end {
            End::Commit => producer.commit_transaction(PATIENCE).unwrap(),
            End::Abort => producer.abort_transaction(PATIENCE).unwrap(),
        }
    }

    /// What a `read_committed` consumer sees of a topic from its start, in order of arrival,
    /// until `enough` says so.
    ///
    /// # Panics
    /// After `deadline`, with what has been read.
    #[expect(clippy::panic, reason = "a test helper that cannot go on should stop the test")]
    pub(crate) fn read_until(
        &self,
        topic: &str,
        deadline: Duration,
        mut enough: impl FnMut(&[Record]) -> bool,
    ) -> Vec<Record> {
        let (consumer, _) = self.reader(topic);
        let give_up_at = Instant::now() + deadline;
        let mut records = Vec::new();
        while !enough(&records) {
            assert!(
                Instant::now() < give_up_at,
                "{topic}: still not enough after {deadline:?}: {records:?}"
            );
            match consumer.poll(STEP) {
                Some(Ok(message)) => records.push(record(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) | None => {}
                Some(Err(error)) => panic!("{topic}: {error}"),
            }
        }
        records
    }

    /// All that a `read_committed` consumer can see of a topic now, in order of arrival.
    #[expect(clippy::panic, reason = "a test helper that cannot go on should stop the test")]
    pub(crate) fn read_all(&self, topic: &str) -> Vec<Record> {
        let (consumer, mut unread) = self.reader(topic);
        let give_up_at = Instant::now() + PATIENCE;
        let mut records = Vec::new();
        while !unread.is_empty() {
            assert!(Instant::now() < give_up_at, "{topic}: no end of {unread:?}");
            match consumer.poll(STEP) {
                Some(Ok(message)) => records.push(record(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    unread.remove(&partition);
                }
                Some(Err(error)) => panic!("{topic}: {error}"),
                None => {}
            }
        }
        records
    }

    /// The offsets a group has committed, by partition; without those that have none. Whether a
    /// transaction is open on them, as one of several workers always may be, makes no difference.
    pub(crate) fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let told = self.committed_with_metadata(group, topic);
        told.into_iter().map(|(partition, (offset, _))| (partition, offset)).collect()
    }

    /// The same with the metadata of each.
    pub(crate) fn committed_with_metadata(
        &self,
        group: &str,
        topic: &str,
    ) -> BTreeMap<i32, (i64, String)> {
        offsets(&self.onlooker(group), topic)
    }

    /// A client that can ask what a group has committed, and is told without delay.
    ///
    /// One that reads committed records asks for offsets that no open transaction can move. It asks
    /// for all partitions at once, and again, up to a second later, while one of them has such a
    /// transaction: the more workers commit in turn, the longer it takes to meet a moment when none
    /// does.
    pub(crate) fn onlooker(&self, group: &str) -> BaseConsumer {
        let mut config = self.client();
        config.set("group.id", group).set("isolation.level", "read_uncommitted");
        config.create().unwrap()
    }

    /// Waits until no transaction is open on a topic. The markers of one that has been committed come
    /// later than whoever committed it hears of, where a leader has just changed; until then nobody
    /// who reads what is committed sees any of what lies behind.
    pub(crate) fn decided(&self, topic: &str) {
        let [committed, all] = ["read_committed", "read_uncommitted"].map(|isolation| {
            let mut config = self.client();
            config.set("isolation.level", isolation).create::<BaseConsumer>().unwrap()
        });
        wait("no transaction is open", || ends(&committed, topic) == ends(&all, topic));
    }

    /// The offsets behind the last record of each partition.
    pub(crate) fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        ends(&self.client().create().unwrap(), topic)
    }

    /// Deletes a topic, and waits until it is gone.
    pub(crate) fn delete(&self, topic: &str) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let options =
            AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        let deleted = block_on(admin.delete_topics(&[topic], &options)).unwrap();
        assert_eq!(deleted, [Ok(topic.to_owned())]);
        let gone = |topics: Standings| !topics.contains_key(topic);
        wait("the topic is gone", || self.metadata().is_some_and(gone));
    }

    /// Another setting of a topic.
    pub(crate) fn alter(&self, topic: &str, name: &str, value: &str) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let options =
            AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        let altered = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
        let done = block_on(admin.alter_configs([&altered], &options)).unwrap();
        assert!(done.iter().all(Result::is_ok), "{done:?}");
    }

    /// Deletes all records of a topic, as retention does with old ones.
    pub(crate) fn empty(&self, topic: &str) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let mut all = TopicPartitionList::new();
        for (partition, _) in self.ends(topic) {
            all.add_partition_offset(topic, partition, Offset::End).unwrap();
        }
        let options =
            AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        let done = block_on(admin.delete_records(&all, &options)).unwrap();
        assert!(done.elements().iter().all(|at| at.error().is_ok()), "{done:?}");
    }

    fn reader(&self, topic: &str) -> (BaseConsumer, BTreeSet<i32>) {
        let mut config = self.client();
        config.set("group.id", unique("reader")).set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().unwrap();
        let partitions = partitions(&consumer, topic);
        let mut all = TopicPartitionList::new();
        for partition in &partitions {
            all.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        (consumer, partitions)
    }
}

/// Partitions by topic and number.
pub(crate) type Standings = BTreeMap<String, BTreeMap<i32, Standing>>;

/// Where a partition is.
#[derive(Debug)]
pub(crate) struct Standing {
    /// -1 when nobody leads.
    pub(crate) leader: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) in_sync: Vec<i32>,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Commit,
    Abort,
}

fn send<K: AsRef<str>, V: AsRef<str>>(producer: &BaseProducer, topic: &str, records: &[(K, V)]) {
    for (key, value) in records {
        let mut record = BaseRecord::to(topic).key(key.as_ref()).payload(value.as_ref());
        while let Err((error, refused)) = producer.send(record) {
            assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
            producer.poll(STEP);
            record = refused;
        }
    }
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().into_iter().flat_map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default())))
    });
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(text),
        value: text(message.payload().unwrap_or_default()),
        headers: headers.collect(),
    }
}

/// The offsets behind the last record of each partition that the consumer may see.
fn ends(consumer: &BaseConsumer, topic: &str) -> BTreeMap<i32, i64> {
    let end = |partition| consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap().1;
    let all = partitions(consumer, topic).into_iter();
    all.map(|partition| (partition, end(partition))).collect()
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> BTreeSet<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    metadata.topics()[0].partitions().iter().map(MetadataPartition::id).collect()
}

/// The offsets that a group has committed, with their metadata, as an [`Broker::onlooker`] is told.
pub(crate) fn offsets(consumer: &BaseConsumer, topic: &str) -> BTreeMap<i32, (i64, String)> {
    let mut asked = TopicPartitionList::new();
    for partition in partitions(consumer, topic) {
        asked.add_partition(topic, partition);
    }
    let mut told = TopicPartitionList::new();
    // The first group makes the broker create the topic of offsets, which takes a while.
    wait("the group has a coordinator", || {
        let answer = consumer.committed_offsets(asked.clone(), PATIENCE);
        answer.map(|offsets| told = offsets).is_ok()
    });
    let commit = |at: &TopicPartitionListElem<'_>| match at.offset() {
        Offset::Offset(offset) => Some((at.partition(), (offset, at.metadata().to_owned()))),
        _ => None,
    };
    told.elements().iter().filter_map(commit).collect()
}

/// Waits until `holds`, for as long as a healthy broker may need.
pub(crate) fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up_at = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up_at, "never came: {what}");
        std::thread::sleep(STEP);
    }
}

/// On a thread of its own, since tests call from within a runtime as well.
fn block_on<F: Future<Output: Send> + Send>(future: F) -> F::Output {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(future)
        });
        thread.join().unwrap()
    })
}

#[test]
fn what_is_produced_is_read_back() {
    let Some(broker) = shared() else { return };
    let topic = broker.topic("smoke", 3);
    let records: Vec<(String, String)> =
        (0..100).map(|n| (format!("k{n}"), n.to_string())).collect();
    broker.produce(&topic, &records);
    let mut read: Vec<(String, String)> = broker
        .read_until(&topic, PATIENCE, |read| read.len() >= 100)
        .into_iter()
        .map(|record| (record.key.unwrap(), record.value))
        .collect();
    read.sort_by_key(|(_, value)| value.parse::<u32>().unwrap());
    assert_eq!(read, records);
    assert_eq!(broker.ends(&topic).values().sum::<i64>(), 100);
    assert_eq!(broker.committed("nobody", &topic), BTreeMap::new());
}

#[test]
fn an_aborted_transaction_is_invisible() {
    let Some(broker) = shared() else { return };
    let topic = broker.topic("smoke", 1);
    broker.transact(&topic, &[("k", "aborted")], End::Abort);
    broker.transact(&topic, &[("k", "committed")], End::Commit);
    let read = broker.read_all(&topic);
    assert_eq!(read.len(), 1, "{read:?}");
    assert_eq!((read[0].value.as_str(), read[0].partition), ("committed", 0));
    // The aborted record and the two markers have their places all the same.
    assert_eq!(read[0].offset, 2);
}

#[test]
fn committed_offsets_are_told_while_a_transaction_is_open_on_them() {
    let Some(broker) = shared() else { return };
    let (topic, group) = (broker.topic("smoke", 2), unique("group"));
    let mut config = broker.client();
    let producer: BaseProducer =
        config.set("transactional.id", unique("transaction")).create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    let member: BaseConsumer = broker.client().set("group.id", &group).create().unwrap();
    let begin = |offset| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 1, Offset::Offset(offset)).unwrap();
        producer.begin_transaction().unwrap();
        let member = member.group_metadata().unwrap();
        producer.send_offsets_to_transaction(&list, &member, PATIENCE).unwrap();
    };
    begin(7);
    producer.commit_transaction(PATIENCE).unwrap();
    wait("the first is told", || broker.committed(&group, &topic) == BTreeMap::from([(1, 7)]));
    begin(9);
    assert_eq!(broker.committed(&group, &topic), BTreeMap::from([(1, 7)]));
    producer.commit_transaction(PATIENCE).unwrap();
    wait("the second is told", || broker.committed(&group, &topic) == BTreeMap::from([(1, 9)]));
}

#[test]
fn a_broker_that_comes_back_has_kept_its_records() {
    let Some(broker) = private(&[("transaction.partition.verification.enable", "true")]) else {
        return;
    };
    let topic = broker.topic("smoke", 1);
    broker.transact(&topic, &[("k", "before")], End::Commit);
    let address = broker.address().to_owned();
    broker.stop();
    broker.start();
    assert_eq!(broker.address(), address);
    broker.produce(&topic, &[("k", "after")]);
    let read = broker.read_all(&topic);
    assert_eq!(read.iter().map(|r| r.value.as_str()).collect::<Vec<_>>(), ["before", "after"]);
}
