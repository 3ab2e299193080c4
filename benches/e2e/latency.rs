//! Event to freeze: a paced stock producer, `tidegate run` between, a `read_committed` consumer of
//! the commands; beside it, at the same time, one of the events themselves.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Serialize;

use crate::bed::{Bed, send};
use crate::broker::{PATIENCE, wait};
use crate::detector::{Rules, create_topics, folder};
use crate::process::Instance;
use crate::{Delivery, Edits, Options};

/// What is under way at the end arrives within so long.
const REST: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);
const EDIT_EVERY: Duration = Duration::from_secs(1);
/// Enough for the rules of the edit before to come into force.
const WARM_EVERY: Duration = Duration::from_secs(5);

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) samples: usize,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// What a worker does instead of taking events, as `tidegate_worker_pause_seconds` has it.
pub(crate) const CAUSES: [&str; 7] =
    ["changes", "rebalance", "restore", "commit", "rules", "snapshot", "answers"];

/// Pauses of a worker of more than 1, 20, 50 and 100 milliseconds.
pub(crate) type Pauses = [u64; 4];

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Latency {
    pub(crate) delivery: Delivery,
    /// To the command.
    pub(crate) command: Spread,
    /// To the event itself, with nothing in between.
    pub(crate) bare: Spread,
    /// Commands that came more than once, or never.
    pub(crate) not_once: usize,
    /// CPU time of the process for each second.
    pub(crate) cpu_seconds: f64,
    /// Edited rule sets that came into force.
    pub(crate) reloads: u64,
    /// By [`CAUSES`].
    pub(crate) pauses: [Pauses; 7],
}

/// Arrivals of the triggers by number: when first, and how often.
type Arrivals = BTreeMap<usize, (Instant, u32)>;

pub(crate) fn measure(bed: &Bed, options: &Options, delivery: Delivery) -> Latency {
    let base = bed.name("latency");
    let events = format!("{base}.events");
    bed.create(&events, options.partitions);
    let folder = folder(bed, &base, &events, Rules::Five, "state: { snapshots: off }");
    let path = folder.path().join("tidegate.yaml");
    let config = std::fs::read_to_string(&path).unwrap();
    let engine = format!("engine: {{ delivery: {}, ", delivery.name());
    let chosen = config.replace("engine: { ", &engine);
    assert_ne!(chosen, config, "the section to add to");
    std::fs::write(&path, chosen).unwrap();
    create_topics(&options.binary, folder.path());
    Latency { delivery, ..measure_at(bed, options, &base, folder.path()) }
}

fn measure_at(bed: &Bed, options: &Options, base: &str, folder: &Path) -> Latency {
    let instance = Instance::spawn(Command::new(&options.binary), folder);
    wait("tidegate is ready", || instance.is_ready());
    let commands = Probe::new(bed, &format!("{base}.commands"));
    let events = Probe::new(bed, &format!("{base}.events"));
    let id = instance.id().to_string();
    let done = AtomicBool::new(false);
    let pauses_before = pauses(&instance);
    let (sent, commands, events, cpu) = std::thread::scope(|scope| {
        let commands = scope.spawn(|| commands.listen(&done));
        let events = scope.spawn(|| events.listen(&done));
        let edits = options.edits.map(|edits| {
            let (rules, done) = (folder.join("five.yaml"), &done);
            scope.spawn(move || edit(&rules, edits, done))
        });
        let before = crate::report::cpu_seconds(&id);
        let began = Instant::now();
        let sent = produce(bed, options, &format!("{base}.events"));
        let cpu = (crate::report::cpu_seconds(&id) - before) / began.elapsed().as_secs_f64();
        let freezes = u64::try_from(sent.len()).unwrap();
        let until = Instant::now() + REST;
        while instance.metric("tidegate_commands_total", "freeze") < freezes
            && Instant::now() < until
        {
            std::thread::sleep(Duration::from_millis(100));
        }
        // The last ones are committed and may still be on their way; so would repeats be.
        std::thread::sleep(Duration::from_secs(1));
        done.store(true, Ordering::Release);
        if let Some(edits) = edits {
            edits.join().unwrap();
        }
        (sent, commands.join().unwrap(), events.join().unwrap(), cpu)
    });
    let reloads = instance.metric("tidegate_decisions_total", "\"tidegate.rules\"");
    let mut pauses = pauses(&instance);
    for (of, before) in pauses.iter_mut().zip(pauses_before) {
        of.iter_mut().zip(before).for_each(|(of, before)| *of -= before);
    }
    let (status, _) = instance.stop();
    assert!(status.success(), "tidegate ended with {status}");
    let warm_up = Duration::from_secs(options.warm_up_seconds);
    let once = (0..sent.len()).filter(|n| commands.get(n).is_some_and(|(_, times)| *times == 1));
    Latency {
        delivery: Delivery::ExactlyOnce,
        not_once: sent.len() - once.count(),
        command: spread(&sent, &commands, warm_up),
        bare: spread(&sent, &events, warm_up),
        cpu_seconds: cpu,
        reloads,
        pauses,
    }
}

fn pauses(instance: &Instance) -> [Pauses; 7] {
    CAUSES.map(|cause| {
        let of = |what: &str, bound: &str| {
            let label = format!("cause=\"{cause}\"{bound}");
            instance.metric(&format!("tidegate_worker_pause_seconds_{what}"), &label)
        };
        let up_to = ["0.02", "0.05", "0.1"];
        let up_to = up_to.map(|bound| of("bucket", &format!(",le=\"{bound}\"")));
        // Asked last, so that it is not less.
        let all = of("count", "");
        let [over_20, over_50, over_100] = up_to.map(|within| all - within);
        [all, over_20, over_50, over_100]
    })
}

/// Raises a bound that nobody comes near, and lowers it again, or adds rules that have to be made
/// ready and takes them away, until all is done.
fn edit(rules: &Path, edits: Edits, done: &AtomicBool) {
    let text = std::fs::read_to_string(rules).unwrap();
    let (edited, every) = match edits {
        Edits::Bounds => (text.replace("above: 3000", "above: 3001"), EDIT_EVERY),
        Edits::Rules => (format!("{text}{NEW_RULES}"), WARM_EVERY),
    };
    assert_ne!(text, edited, "the bound to edit");
    for text in [edited, text].iter().cycle() {
        if done.load(Ordering::Acquire) {
            return;
        }
        // Renamed into place, as editors do, so that no half of a file is read.
        std::fs::write(rules.with_extension("new"), text).unwrap();
        std::fs::rename(rules.with_extension("new"), rules).unwrap();
        std::thread::sleep(every);
    }
}

/// One by member, one whose keys cross partitions.
const NEW_RULES: &str = "
  - { name: new-sum, on: issue, measure: sum(points), window: 1h, above: 1000000000 }
  - { name: new-total, on: issue, per: source, measure: count, window: 1h, above: 1000000000 }
";

/// Sends at a steady pace; the moment of each trigger's record.
fn produce(bed: &Bed, options: &Options, topic: &str) -> Vec<Instant> {
    let mut config = bed.client();
    config.set("acks", "1").set("partitioner", "murmur2_random");
    config.set("linger.ms", options.linger_ms.to_string());
    // As the Java client has it. With librdkafka's million a slow broker gets a queue of requests
    // of one record each, and that queue is all that is measured.
    config.set("max.in.flight.requests.per.connection", "5");
    let producer: BaseProducer = config.create().unwrap();
    let every = (options.latency_rate / options.freezes.max(1)).max(1);
    let length = Duration::from_secs(options.latency_seconds + options.warm_up_seconds);
    let count = length.as_secs() * options.latency_rate;
    let mut sent = Vec::new();
    let began = Instant::now();
    for n in 0..count {
        let due = began
            + Duration::from_secs(1) * u32::try_from(n).unwrap()
                / u32::try_from(options.latency_rate).unwrap();
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let ts = jiff::Timestamp::now().as_millisecond();
        let trigger = n % every == every - 1;
        // Ten thousand members with little each; a trigger is one event of a new member.
        let (user, points) = if trigger {
            (format!("t-{}", sent.len()), 6000)
        } else {
            (format!("u-{}", n % 10_000), 1)
        };
        let text = format!(
            r#"{{"id":"e-{n}","ts":{ts},"user":"{user}","kind":"issue","points":{points},"source":"signin","device":"d-{user}","ip":"10.0.0.1","attrs":{{"tier":"gold"}}}}"#
        );
        if trigger {
            sent.push(Instant::now());
        }
        let record = BaseRecord::to(topic).key(user.as_str()).payload(text.as_bytes());
        send(&producer, record.timestamp(ts));
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
    sent
}

/// A `read_committed` consumer that waits at the end of a topic.
struct Probe {
    consumer: BaseConsumer,
}

impl Probe {
    fn new(bed: &Bed, topic: &str) -> Probe {
        let mut config = bed.client();
        config.set("group.id", "tidegate-e2e").set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        let mut all = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            all.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        let mut unread = metadata.topics()[0].partitions().len();
        wait("the consumer waits at the end", || {
            if let Some(Err(KafkaError::PartitionEOF(_))) = consumer.poll(POLL) {
                unread -= 1;
            }
            unread == 0
        });
        Probe { consumer }
    }

    fn listen(&self, done: &AtomicBool) -> Arrivals {
        let mut arrivals = Arrivals::new();
        while !done.load(Ordering::Acquire) {
            let Some(Ok(message)) = self.consumer.poll(POLL) else { continue };
            let now = Instant::now();
            let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
            if let Some(Ok(n)) = key.and_then(|key| key.strip_prefix("t-")).map(str::parse) {
                arrivals.entry(n).or_insert((now, 0)).1 += 1;
            }
        }
        arrivals
    }
}

/// Of triggers sent once the warm-up was over.
fn spread(sent: &[Instant], arrivals: &Arrivals, warm_up: Duration) -> Spread {
    let Some(first) = sent.first() else { return Spread::default() };
    let counted = |(n, (at, _)): (&usize, &(Instant, u32))| {
        let sent = sent[*n];
        (sent - *first >= warm_up).then(|| (*at - sent).as_secs_f64() * 1e3)
    };
    let mut waits: Vec<f64> = arrivals.iter().filter_map(counted).collect();
    waits.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let rank = (waits.len() * percent).div_ceil(100).max(1) - 1;
        waits.get(rank).copied().unwrap_or(f64::NAN)
    };
    Spread { samples: waits.len(), p50: at(50), p90: at(90), p99: at(99), max: at(100) }
}
