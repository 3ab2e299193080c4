//! A real Apache Kafka for tests: one node in a process of its own, without containers.
//!
//! [`shared`] is one broker for the whole test binary, [`private`] one that a test may stop and
//! start again on the same ports and log folder. Both answer `None`, and say so loudly, unless
//! `TIDEGATE_KAFKA=1` is set; they need `java` and `mvn`. All helpers block: a test that serves
//! something beside them wants `#[tokio::test(flavor = "multi_thread")]`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::metadata::MetadataPartition;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use tempfile::TempDir;

const VERSION: &str = "4.1.0";
/// For anything a healthy broker does; generous, since the cores may be shared.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
const STEP: Duration = Duration::from_millis(50);

/// Java's flags for a broker that starts soon and does little.
const QUICK: [&str; 3] = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>test</groupId><artifactId>broker</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.1.0</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version>
    </dependency>
  </dependencies>
</project>
"#;

/// Ends the broker and removes its folder once this process is gone, however it went: the pipe
/// that `read` waits on closes by itself.
const WATCH: &str = r#"read _
kill -9 "$1"
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$1" 2>/dev/null || break; sleep 0.1; done
rm -rf -- "$2""#;

/// One record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    pub(crate) headers: BTreeMap<String, String>,
}

/// A broker; its process ends with it.
#[derive(Debug)]
pub(crate) struct Broker {
    folder: TempDir,
    flags: &'static [&'static str],
    class_path: String,
    cluster: String,
    address: String,
    /// Of a second listener, for those whose properties ask for one.
    secure_address: String,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    java: Child,
    watch: Child,
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
    wanted().then(|| Broker::with_format(properties, &QUICK, format))
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
    let able = runs("java", "-version") && (jars().join("ready").exists() || runs("mvn", "-v"));
    if !able {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "in CI there must be java and mvn");
        skipped("it needs a real Kafka, and there is no java, or no mvn");
    }
    able
}

/// Past the capture of test output, so that nobody takes a skipped test for a passed one.
pub(crate) fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("SKIPPED: {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

fn jars() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join(format!("kafka-{VERSION}"))
}

/// The class path of the broker, fetched once per target folder.
fn class_path() -> String {
    let folder = jars();
    std::fs::create_dir_all(&folder).unwrap();
    // Held until the end: test binaries may run side by side.
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    if !folder.join("ready").exists() {
        std::fs::write(folder.join("pom.xml"), POM).unwrap();
        let mut fetch = Command::new("mvn");
        fetch.args(["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]);
        succeed(fetch.current_dir(&folder));
        File::create(folder.join("ready")).unwrap();
    }
    format!("{}/*", folder.join("lib").display())
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}

/// `{port}`, `{controller}` and `{secure}` in the values stand for the ports.
fn server_properties(data: &Path, ports: [u16; 3], more: &[(&str, &str)]) -> String {
    let [port, controller, secure] = ports;
    let mut text = format!(
        "process.roles=broker,controller\nnode.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\ncontroller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         log.dirs={}\nauto.create.topics.enable=false\n\
         offsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=4\ngroup.initial.rebalance.delay.ms=0\n\
         broker.heartbeat.interval.ms=500\nbroker.session.timeout.ms=3000\n",
        data.display(),
    );
    for (key, value) in more {
        let value = value.replace("{port}", &port.to_string());
        let value = value.replace("{controller}", &controller.to_string());
        writeln!(text, "{key}={}", value.replace("{secure}", &secure.to_string())).unwrap();
    }
    text
}

impl Broker {
    pub(crate) fn new(properties: &[(&str, &str)], flags: &'static [&'static str]) -> Broker {
        Broker::with_format(properties, flags, &[])
    }

    #[expect(clippy::panic, reason = "a test helper that cannot go on should stop the test")]
    fn with_format(
        properties: &[(&str, &str)],
        flags: &'static [&'static str],
        words: &[&str],
    ) -> Broker {
        let place =
            tempfile::Builder::new().prefix("kafka-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let mut broker = Broker {
            folder: place.unwrap(),
            flags,
            class_path: class_path(),
            cluster: String::new(),
            address: String::new(),
            secure_address: String::new(),
            running: Mutex::new(None),
        };
        // Another process may take a port between here and the broker's start, hence the tries.
        for _ in 0..5 {
            // Both held at once, so that they differ.
            let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
            let ports = held.map(|held| held.local_addr().unwrap().port());
            broker.address = format!("127.0.0.1:{}", ports[0]);
            broker.secure_address = format!("127.0.0.1:{}", ports[2]);
            // The form of a UUID in base 64: 22 characters.
            broker.cluster = format!("{:A>22}", unique("A"));
            let data = broker.folder.path().join("data");
            std::fs::remove_dir_all(&data).unwrap_or_default();
            let text = server_properties(&data, ports, properties);
            std::fs::write(broker.settings(), text).unwrap();
            let mut format = broker.java();
            format.args(["kafka.tools.StorageTool", "format", "-t", &broker.cluster, "-c"]);
            succeed(format.arg(broker.settings()).args(words));
            if broker.try_start() {
                return broker;
            }
        }
        panic!("no broker came up: {}", broker.log());
    }

    /// For `bootstrap.servers`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The same for the port that `{secure}` stands for in properties.
    pub(crate) fn secure_address(&self) -> &str {
        &self.secure_address
    }

    /// A client configuration that names this broker and nothing else.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        // Tests that stop a broker want its return noticed soon.
        config.set("reconnect.backoff.max.ms", "500");
        config
    }

    /// Ends the process at once, as a crash would; ports and log stay for [`Broker::start`].
    pub(crate) fn stop(&self) {
        if let Some(mut running) = self.running.lock().unwrap().take() {
            // The watch first, so that it never ends a process that has inherited the number.
            for child in [&mut running.watch, &mut running.java] {
                child.kill().unwrap();
                child.wait().unwrap();
            }
        }
    }

    /// Starts it again after [`Broker::stop`], and waits until it answers.
    pub(crate) fn start(&self) {
        assert!(self.try_start(), "the broker did not come back: {}", self.log());
    }

    /// A new topic with a name of its own.
    pub(crate) fn topic(&self, name: &str, partitions: i32) -> String {
        let name = unique(name);
        self.create(&name, partitions, &[]);
        name
    }

    /// A new topic, with topic settings such as `("cleanup.policy", "compact")`.
    pub(crate) fn create(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
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
        let producer: BaseProducer = self.client().create().unwrap();
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

    /// The offsets a group has committed, by partition; without those that have none.
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
        let consumer: BaseConsumer = self.client().set("group.id", group).create().unwrap();
        let mut asked = TopicPartitionList::new();
        for partition in partitions(&consumer, topic) {
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

    /// The offsets behind the last record of each partition.
    pub(crate) fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let end = |partition| consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap().1;
        partitions(&consumer, topic)
            .into_iter()
            .map(|partition| (partition, end(partition)))
            .collect()
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

    fn settings(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("broker.log")).unwrap_or_default()
    }

    fn java(&self) -> Command {
        let mut java = Command::new("java");
        java.args(self.flags);
        java.args(["-Dorg.apache.logging.log4j.level=WARN", "-cp", &self.class_path]);
        java
    }

    /// False when the process ended before it answered, or never did.
    fn try_start(&self) -> bool {
        let log = File::create(self.folder.path().join("broker.log")).unwrap();
        let mut java = self.java();
        java.arg("kafka.Kafka").arg(self.settings()).process_group(0);
        java.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let java = java.spawn().unwrap();
        let mut watch = Command::new("sh");
        watch.args(["-c", WATCH, "sh", &java.id().to_string()]).arg(self.folder.path());
        watch.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        *self.running.lock().unwrap() = Some(Running { java, watch: watch.spawn().unwrap() });
        let consumer: BaseConsumer = self.client().create().unwrap();
        let give_up_at = Instant::now() + PATIENCE;
        while Instant::now() < give_up_at {
            let ended = |running: &mut Running| running.java.try_wait().unwrap().is_some();
            if self.running.lock().unwrap().as_mut().is_none_or(ended) {
                break;
            }
            // Another process on our port has another cluster.
            let answered = consumer.fetch_metadata(None, STEP * 10).is_ok()
                && consumer.client().fetch_cluster_id(STEP * 10).as_ref() == Some(&self.cluster);
            if answered {
                return true;
            }
        }
        self.stop();
        false
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
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

fn partitions(consumer: &BaseConsumer, topic: &str) -> BTreeSet<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    metadata.topics()[0].partitions().iter().map(MetadataPartition::id).collect()
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
