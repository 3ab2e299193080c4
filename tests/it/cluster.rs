//! Three brokers under a steady load (`TIDEGATE_KAFKA=1`): killed, started again and shut down one
//! after the other. No effect is lost or doubled, every record is accounted for, and how long it
//! takes until all is caught up is told.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::broker::{self, Broker, PATIENCE, Standing, tell, wait};
use crate::load::Load;
use crate::process::Instance;
use crate::run::{Setup, assert_once, wait_for_all};

const PARTITIONS: i32 = 4;

fn per_second() -> u64 {
    std::env::var("TIDEGATE_CLUSTER_RATE").map_or(1_000, |text| text.parse().unwrap())
}

/// Offsets by partition.
type Offsets = BTreeMap<i32, i64>;

/// What was committed when, as far as it was seen.
type Seen = Vec<(Instant, Offsets)>;

fn is_reached(offsets: &Offsets, ends: &Offsets) -> bool {
    ends.iter().all(|(at, end)| offsets[at] >= *end)
}

/// Looks at what the group has committed, again and again.
struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn start(consumer: BaseConsumer, topic: String) -> Watch {
        let (stop, seen): (Arc<AtomicBool>, Arc<Mutex<Seen>>) = Default::default();
        let (stopping, told) = (stop.clone(), seen.clone());
        let thread = std::thread::spawn(move || {
            let mut asked = TopicPartitionList::new();
            asked.add_partition_range(&topic, 0, PARTITIONS - 1);
            while !stopping.load(Ordering::Acquire) {
                let found = consumer.committed_offsets(asked.clone(), Duration::from_millis(500));
                let offsets: Offsets = found.map_or_else(
                    |_| Offsets::new(),
                    |found| {
                        let offset = |offset| match offset {
                            Offset::Offset(offset) => offset,
                            _ => 0,
                        };
                        let elements = found.elements();
                        elements.iter().map(|at| (at.partition(), offset(at.offset()))).collect()
                    },
                );
                let mut told = told.lock().unwrap();
                if !offsets.is_empty() && told.last().is_none_or(|(_, last)| *last != offsets) {
                    told.push((Instant::now(), offsets));
                }
                drop(told);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Watch { stop, seen, thread: Some(thread) }
    }

    fn has_reached(&self, ends: &Offsets) -> bool {
        self.seen.lock().unwrap().last().is_some_and(|(_, offsets)| is_reached(offsets, ends))
    }

    /// Waits until all of `ends` is committed. When that was, and the longest time without a
    /// commit since `from`.
    fn reached(&self, from: Instant, ends: &Offsets) -> (Duration, Duration) {
        while !self.has_reached(ends) {
            // A machine that is busy with other things takes its time; one that stands still does
            // not get there.
            let still = self.seen.lock().unwrap().last().map_or(from, |(at, _)| from.max(*at));
            assert!(still.elapsed() < PATIENCE, "never came: all of {ends:?} is committed");
            std::thread::sleep(Duration::from_millis(50));
        }
        let (mut last, mut gap) = (from, Duration::ZERO);
        for (at, offsets) in self.seen.lock().unwrap().iter().filter(|(at, _)| *at > from) {
            gap = gap.max(*at - last);
            last = *at;
            if is_reached(offsets, ends) {
                break;
            }
        }
        (last - from, gap)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
    }
}

/// The partition of `topic` where a group or a transactional id is kept: its leader coordinates,
/// and after that the next of its nodes.
fn home(broker: &Broker, topic: &str, name: &str) -> Standing {
    // As Java hashes texts.
    let hash = name
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let mut partitions = broker.metadata().unwrap().remove(topic).unwrap();
    let at = hash.unsigned_abs() % u32::try_from(partitions.len()).unwrap();
    partitions.remove(&i32::try_from(at).unwrap()).unwrap()
}

/// Three brokers, two instances on them, and a look at what they commit.
struct Scene {
    broker: Broker,
    setup: Setup,
    instances: [Instance; 2],
    watch: Watch,
    /// Coordinates the group.
    first: i32,
    /// Has the only copy of the control topic; does not coordinate the group after the first.
    second: i32,
    third: i32,
}

impl Scene {
    fn new(broker: Broker) -> Scene {
        let setup = Setup::new(broker.address(), "cluster", "engine: { workers: 1 }");
        let (events, group) = (setup.topic("events"), setup.group());
        broker.create(&events, PARTITIONS, &[("message.timestamp.type", "LogAppendTime")]);
        // Makes the topic of offsets.
        assert_eq!(broker.committed(group, &events), Offsets::new());
        let [first, third, second] = home(&broker, "__consumer_offsets", group).replicas[..] else {
            unreachable!("three copies of everything")
        };
        let alone = [("cleanup.policy", "compact"), ("min.insync.replicas", "1")];
        broker.create_at(&setup.topic("control"), second, &alone);
        let instances = ["host-a", "host-b"].map(|name| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
            command.env("TIDEGATE_KAFKA__INSTANCE", name);
            Instance::spawn(command, setup.path())
        });
        let watch = Watch::start(broker.onlooker(group), events);
        let scene = Scene { broker, setup, instances, watch, first, second, third };
        scene.wait_for_both();
        scene
    }

    fn wait_for_both(&self) {
        wait("both are ready and share the partitions", || {
            self.instances.iter().all(|one| one.is_ready() && one.partitions() == 4)
        });
    }

    /// A metric over both instances.
    fn sum(&self, name: &str, label: &str) -> u64 {
        self.instances.iter().map(|one| one.metric(name, label)).sum()
    }

    /// What a node does for the others.
    fn duties(&self, node: i32) -> String {
        let standings = self.broker.metadata().unwrap();
        let led = standings[&self.setup.topic("events")].values().filter(|at| at.leader == node);
        let mut duties = vec![format!("leads {} of {PARTITIONS} partitions", led.count())];
        let group = self.setup.group();
        if home(&self.broker, "__consumer_offsets", group).leader == node {
            duties.push("coordinates the group".to_owned());
        }
        for name in ["host-a-0", "host-b-0"] {
            let id = format!("{group}-{name}");
            if home(&self.broker, "__transaction_state", &id).leader == node {
                duties.push(format!("coordinates transactions of {name}"));
            }
        }
        duties.join(", ")
    }

    /// Waits until all that there is now is committed, and tells how long that took.
    fn catch_up(&self, what: &str, end: impl FnOnce()) {
        let (ends, from) = (self.broker.ends(&self.setup.topic("events")), Instant::now());
        end();
        let patience = Instant::now() + PATIENCE / 2;
        while !self.watch.has_reached(&ends) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(50));
        }
        if !self.watch.has_reached(&ends) {
            for one in &self.instances {
                tell(&format!("{:?} {}", one.get("/readyz"), one.get("/api/v1/status").1));
            }
        }
        let (took, gap) = self.watch.reached(from, &ends);
        let (took, gap) = (took.as_secs_f64(), gap.as_secs_f64());
        tell(&format!("{what}: caught up after {took:.1} s, longest without a commit {gap:.1} s"));
    }

    /// The same after the end of a node that leads some of the events.
    fn catch_up_without(&self, node: i32, how: &str, end: impl FnOnce()) {
        let duties = self.duties(node);
        assert!(!duties.starts_with("leads 0"), "{duties}");
        self.catch_up(&format!("{how} ({duties})"), end);
    }

    /// Every event is accounted for, once.
    fn assert_conserved(&self, count: u64) {
        let ends = self.broker.ends(&self.setup.topic("events"));
        assert_eq!(ends.values().sum::<i64>().unsigned_abs(), count, "the load itself");
        let outcomes = ["accepted", "duplicate", "late", "quarantined"];
        let outcomes = outcomes.map(|outcome| self.sum("tidegate_events_total", outcome));
        assert_eq!(self.sum("tidegate_records_consumed_total", ""), count);
        assert_eq!(outcomes, [count, 0, 0, 0]);
        tell(&format!(
            "{count} events; {} transactions, {} aborted; {} workers built anew",
            self.sum("tidegate_transactions_total", "committed"),
            self.sum("tidegate_transactions_total", "aborted"),
            self.sum("tidegate_worker_restarts_total", "")
        ));
    }
}

#[test]
fn brokers_that_go_one_after_the_other_under_load_lose_and_double_nothing() {
    let Some(broker) = broker::cluster() else { return };
    let scene = Scene::new(broker);
    let Scene { broker, setup, first, second, third, .. } = &scene;
    let load = Load::start(broker, &setup.topic("events"), per_second(), 4_000);
    scene.watch.reached(Instant::now(), &(0..PARTITIONS).map(|at| (at, 1_000)).collect());
    scene.catch_up("nothing happens", || ());

    scene.catch_up_without(*first, "killed", || broker.kill_node(*first));
    broker.start_node(*first);

    scene.catch_up_without(*second, "killed", || broker.kill_node(*second));
    wait("both say that the control topic is away", || {
        scene.sum("tidegate_control_unavailable", "") == 2
    });
    for one in &scene.instances {
        one.line("changes by people cannot be read");
    }
    scene.catch_up("without the control topic", || ());
    broker.start_node(*second);
    wait("it is back", || scene.sum("tidegate_control_unavailable", "") == 0);

    scene.catch_up_without(*third, "shut down", || broker.shut_down_node(*third));
    broker.start_node(*third);

    let written = load.stop();
    wait_for_all(broker, setup);
    scene.wait_for_both();
    scene.assert_conserved(written.len() as u64);
    let Scene { broker, setup, instances, watch, .. } = scene;
    drop(watch);
    for one in instances {
        assert!(one.stop().0.success());
    }
    assert_once(&broker, &setup, &written);
}
