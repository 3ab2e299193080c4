//! Faults around a running instance, against a real Kafka (`TIDEGATE_KAFKA=1`): a control topic
//! that is gone, a store that is full, a sleep beyond the time-out of a transaction.

use std::process::Command;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::broker::{self, Record, tell, wait};
use crate::process::Instance;
use crate::restore::{covered, files};
use crate::run::{Setup, assert_once, event, wait_for_all};

fn some_events(count: u64, seed: u64) -> Vec<(String, String)> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let user = |rng: &mut ChaCha8Rng| format!("u-{}", rng.random_range(0..count / 20));
    (0..count).map(|n| event(n, &user(&mut rng), 31 * n % 200)).collect()
}

#[test]
fn a_control_topic_that_is_deleted_holds_nothing_up_and_comes_back_with_its_records() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "no-control", "");
    let control = setup.topic("control");
    let instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    let events = some_events(20_000, 5);
    broker.produce(&setup.topic("events"), &events[..10_000]);
    wait("the first half is committed", || setup.caught_up(broker));
    let kept = broker.read_all(&control);
    assert!((0..).zip(&kept).all(|(offset, record)| record.offset == offset) && !kept.is_empty());
    broker.delete(&control);
    let gone = Instant::now();
    wait("it counts that the topic is gone", || {
        instance.metric("tidegate_control_unavailable", "") >= 1
    });
    instance.line("changes by people cannot be read");
    tell(&format!("control topic deleted: told after {:.1} s", gone.elapsed().as_secs_f64()));
    broker.produce(&setup.topic("events"), &events[10_000..]);
    wait("the second half is committed", || setup.caught_up(broker));
    wait("it says why it is not ready", || {
        let (status, reason) = instance.get("/readyz");
        status == 503
            && reason.contains("cannot read changes by people")
            && reason.contains(&control)
    });
    assert_eq!(instance.get("/healthz").0, 200);
    // Made anew without them it is another topic.
    broker.create(&control, 1, &[("cleanup.policy", "compact")]);
    wait("it says that records are missing", || {
        instance.get("/readyz").1.contains("were its records deleted, or was it made anew?")
    });
    let pair = |record: &Record| (record.key.clone().unwrap(), record.value.clone());
    broker.produce(&control, &kept.iter().map(pair).collect::<Vec<_>>());
    let back = Instant::now();
    wait("it is ready again", || instance.is_ready());
    tell(&format!("control topic back: read after {:.1} s", back.elapsed().as_secs_f64()));
    instance.line("the control topic answers again");
    assert_eq!(instance.metric("tidegate_control_unavailable", ""), 0);
    let freezes = || instance.metric("tidegate_commands_total", "\"freeze\"");
    let before = freezes();
    let mut freeze = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    freeze.args(["freeze", "--user", "u-x", "--actor", "ann", "--reason", "a test"]);
    assert!(freeze.current_dir(setup.path()).output().unwrap().status.success());
    wait("a change takes effect", || freezes() == before + 1);
    assert!(instance.stop().0.success());
    // The effect of the change aside.
    let freeze = |record: &Record| record.value.contains("tidegate.freeze");
    assert_eq!(
        broker.read_all(&setup.topic("commands")).iter().filter(|one| freeze(one)).count(),
        1
    );
}

/// An instance that may write no file beyond so many blocks of 512 bytes: what a full disk says
/// with other words.
fn limited(setup: &Setup, blocks: u32) -> Instance {
    let mut command = Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f $0; exec \"$@\"";
    command.args(["-c", script, &blocks.to_string(), env!("CARGO_BIN_EXE_tidegate")]);
    Instance::spawn(command, setup.path())
}

#[test]
fn snapshots_that_find_no_room_fail_alone_and_those_before_are_used() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "full", "state: { interval: 1s }");
    let topic = setup.topic("events");
    let events = some_events(12_000, 3);
    let total = || broker.ends(&topic).values().sum::<i64>();
    let instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    broker.produce(&topic, &events[..4_000]);
    wait("all events are committed", || setup.caught_up(broker));
    wait("a snapshot covers all events", || covered(&setup, &topic) == total());
    let covered_before = total();
    instance.kill();
    let folder = setup.path().join("data/snapshots");
    let whole = files(&folder, ".manifest");

    let instance = limited(&setup, 2);
    wait("it is ready", || instance.is_ready());
    assert!(instance.metric("tidegate_snapshots_total", "\"restored\"") >= 4);
    broker.produce(&topic, &events[4_000..8_000]);
    wait("all events are committed", || setup.caught_up(broker));
    wait("snapshots fail", || instance.metric("tidegate_snapshots_total", "\"failed\"") >= 4);
    let line = instance.line("a snapshot could not be written; the last one before stays in use");
    tell(&line);
    assert!(line.contains("reason"), "{line}");
    assert!(instance.is_ready(), "detection goes on");
    instance.kill();
    let left = files(&folder, ".manifest");
    assert!(
        whole
            .iter()
            .filter(|path| path.to_str().unwrap().contains(&topic))
            .all(|path| left.contains(path))
    );
    assert_eq!(covered(&setup, &topic), covered_before);

    let instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    assert!(instance.metric("tidegate_snapshots_total", "\"restored\"") >= 4);
    broker.produce(&topic, &events[8_000..]);
    wait_for_all(broker, &setup);
    wait("snapshots are written again", || covered(&setup, &topic) == total());
    assert!(instance.stop().0.success());
    assert_once(broker, &setup, &events);
}

#[test]
fn a_sleep_beyond_the_time_out_of_a_transaction_loses_and_doubles_nothing() {
    // The broker looks for such transactions every second, not every ten.
    let often = [("transaction.abort.timed.out.transaction.cleanup.interval.ms", "1000")];
    let Some(broker) = broker::private(&often) else { return };
    // Its session lasts, so that nobody takes its partitions.
    let setup = Setup::new(broker.address(), "asleep", "engine: { workers: 1 }");
    let config = std::fs::read_to_string(setup.path().join("tidegate.yaml")).unwrap();
    let config =
        config.replace("kafka: {", "kafka: { properties: { session.timeout.ms: '45000' },");
    setup.write("tidegate.yaml", &config);
    let topic = setup.topic("events");
    let instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    let events = some_events(60_000, 17);
    let consumer: BaseConsumer = broker.client().set("group.id", setup.group()).create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range(&topic, 0, 3);
    // Offsets within a transaction are not told before its end.
    let is_open = || consumer.committed_offsets(asked.clone(), Duration::from_millis(700)).is_err();
    wait("the group has a coordinator", || !is_open());
    let mut chunks = events.chunks(1_000);
    let (mut is_asleep, mut asleep_at) = (false, Instant::now());
    for chunk in chunks.by_ref() {
        broker.produce(&topic, chunk);
        instance.signal("STOP");
        asleep_at = Instant::now();
        is_asleep = is_open();
        if is_asleep {
            break;
        }
        instance.signal("CONT");
    }
    assert!(is_asleep, "no transaction was met");
    let committed = || broker.committed(setup.group(), &topic).values().sum::<i64>();
    // The broker aborts it after transaction.timeout.ms, 10 s, and tells offsets again.
    wait("the transaction is void", || !is_open());
    let before = committed();
    tell(&format!("offsets told again {:.1} s after", asleep_at.elapsed().as_secs_f64()));
    let awake = Instant::now();
    instance.signal("CONT");
    wait("its work goes on", || committed() > before);
    tell(&format!("commits again {:.1} s after it woke", awake.elapsed().as_secs_f64()));
    chunks.for_each(|chunk| broker.produce(&topic, chunk));
    wait_for_all(&broker, &setup);
    assert!(instance.metric("tidegate_worker_restarts_total", "") >= 1, "it was fenced");
    assert!(instance.stop().0.success());
    assert_once(&broker, &setup, &events);
}
