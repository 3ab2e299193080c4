//! `tidegate run` over the filled topic, from its oldest record until all is committed.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;
use serde::Serialize;
use tempfile::TempDir;

use crate::baseline::{Pass, per_event};
use crate::bed::{Bed, Input};
use crate::broker::PATIENCE;
use crate::process::Instance;
use crate::report::{cpu_seconds, memory_bytes};

/// The five rules that other engines were measured with.
const FIVE: &str = "
version: 1
timezone: Asia/Shanghai
rules:
  - { name: r1-points-a-day, on: issue, per: user, measure: sum(points), window: day,
      above: 5000, severity: critical, then: [{ freeze: { for: window } }, alert] }
  - { name: r2-events-in-10m, on: [issue, redeem, expire, adjust, reverse], per: user,
      measure: count, window: 10m, above: 20, then: [review] }
  - { name: r3-redeemed-an-hour, on: redeem, per: user, measure: sum(points), window: 1h,
      above: 3000, then: [review] }
  - { name: r4-total-a-minute, on: issue, per: global, measure: sum(points), window: 1m,
      zscore: { above: 4 } }
  - { name: r5-users-of-a-device, on: [issue, redeem], per: device, measure: distinct(user),
      window: 1h, above: 5 }
";

/// Partial aggregates of the last events are evaluated within so long.
const SETTLE: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(10);

/// Which rules run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rules {
    /// Five rules: two sums and a count per user, a z-score of all, distinct users a device.
    Five,
    /// Those that ship in `rules/`.
    Shipped,
}

impl Rules {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Rules::Five => "tidegate, five rules",
            Rules::Shipped => "tidegate, shipped rules",
        }
    }
}

/// What a run over the whole topic took and brought.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Detected {
    #[serde(flatten)]
    pub(crate) pass: Pass,
    /// Resident at the start and at the end.
    pub(crate) rss_bytes: [u64; 2],
    /// Growth of the resident memory by distinct user.
    pub(crate) rss_bytes_per_user: f64,
    /// State by its own account, by distinct user.
    pub(crate) state_bytes_per_user: f64,
    pub(crate) decisions: f64,
    pub(crate) commands: f64,
    pub(crate) transactions: f64,
    /// Records that were no accepted events.
    pub(crate) refused: f64,
}

/// A folder with configuration and rules for a group and topics of its own.
pub(crate) fn folder(bed: &Bed, base: &str, events: &str, rules: Rules, more: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let path = match rules {
        Rules::Five => "five.yaml".into(),
        Rules::Shipped => shipped.display().to_string(),
    };
    let config = format!(
        "kafka: {{ brokers: '{}', group: {base}, instance: bench }}\n\
         topics: {{ events: {events}, commands: {base}.commands, decisions: {base}.decisions, \
         quarantine: {base}.quarantine, accounts: {base}.accounts, control: {base}.control, \
         notices_dead: {base}.dead }}\n\
         engine: {{ workers: 1 }}\n\
         rules: '{path}'\n{more}\n",
        bed.address
    );
    std::fs::write(folder.path().join("five.yaml"), FIVE).unwrap();
    std::fs::write(folder.path().join("tidegate.yaml"), config).unwrap();
    folder
}

/// Creates the topics beforehand, so that this is not part of what is measured.
pub(crate) fn create_topics(binary: &Path, folder: &Path) {
    let mut create = Command::new(binary);
    let output = create.args(["topics", "create"]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn measure(bed: &Bed, input: &Input, rules: Rules, binary: &Path) -> Detected {
    let base = bed.name("run");
    // Snapshots are measured apart.
    let folder = folder(bed, &base, &input.topic, rules, "state: { snapshots: off }");
    create_topics(binary, folder.path());
    let progress = Progress::new(bed, input, &base);
    progress.committed();

    let instance = Instance::spawn(Command::new(binary), folder.path());
    let id = instance.id().to_string();
    let (cpu, memory) = (cpu_seconds(&id), memory_bytes(&id));
    let (began, first) = progress.wait(1);
    let (ended, _) = progress.wait(input.events);
    std::thread::sleep(SETTLE);
    let (cpu, memory_after) = (cpu_seconds(&id) - cpu, memory_bytes(&id));

    let rest = per_event(input.events - first, (ended - began).as_secs_f64(), cpu);
    let whole = per_event(input.events, 1.0, cpu);
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let metric =
        |name: &str, label: &str| instance.metric(&format!("tidegate_{name}"), label) as f64;
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let per_user = |bytes: f64| bytes / input.users as f64;
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let detected = Detected {
        pass: Pass {
            events_per_second: rest.events_per_second,
            peak_bytes: memory_after.peak,
            ..whole
        },
        rss_bytes: [memory.resident, memory_after.resident],
        rss_bytes_per_user: per_user(memory_after.resident.saturating_sub(memory.resident) as f64),
        state_bytes_per_user: per_user(metric("state_bytes", "")),
        decisions: metric("decisions_total", ""),
        commands: metric("commands_total", ""),
        transactions: metric("transactions_total", "committed"),
        refused: metric("events_total", "") - metric("events_total", "\"accepted\""),
    };
    let (status, _) = instance.stop();
    assert!(status.success(), "tidegate ended with {status}");
    detected
}

/// Looks at the offsets of the group from the outside, at no cost to the process.
pub(crate) struct Progress {
    consumer: BaseConsumer,
    asked: TopicPartitionList,
}

impl Progress {
    pub(crate) fn new(bed: &Bed, input: &Input, group: &str) -> Progress {
        let mut config = bed.client();
        // Else the answer waits for transactions that are open on these offsets.
        config.set("group.id", group).set("isolation.level", "read_uncommitted");
        let mut asked = TopicPartitionList::new();
        for (partition, _) in (0..).zip(&input.ends) {
            asked.add_partition(&input.topic, partition);
        }
        Progress { consumer: config.create().unwrap(), asked }
    }

    /// Records that are committed; 0 while there is no answer.
    pub(crate) fn committed(&self) -> u64 {
        let Ok(told) = self.consumer.committed_offsets(self.asked.clone(), PATIENCE) else {
            return 0;
        };
        let offset = |at: Offset| if let Offset::Offset(at) = at { at.cast_unsigned() } else { 0 };
        told.elements().iter().map(|at| offset(at.offset())).sum()
    }

    /// When at least so many were committed, and how many it were.
    pub(crate) fn wait(&self, records: u64) -> (Instant, u64) {
        let until = Instant::now() + PATIENCE * 30;
        loop {
            let committed = self.committed();
            if committed >= records {
                return (Instant::now(), committed);
            }
            assert!(Instant::now() < until, "only {committed} of {records} committed");
            std::thread::sleep(POLL);
        }
    }
}
