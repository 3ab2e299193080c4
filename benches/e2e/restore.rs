//! What snapshots cost, and how soon a killed instance goes on.

use std::process::Command;
use std::time::Instant;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::Options;
use crate::bed::{Bed, Input};
use crate::broker::{PATIENCE, wait};
use crate::detector::{Progress, create_topics, folder};
use crate::process::Instance;
use crate::report::cpu_seconds;

/// Much more often than anybody would, so that one run sees many.
const OFTEN: &str = "state: { interval: 1s }";
const NEVER: &str = "state: { snapshots: off }";

/// Runs over the whole input without and with snapshots; then kills and starts again.
pub(crate) fn measure(bed: &Bed, input: &Input, options: &Options) {
    // Event time at the end of the input: a later one would let go of everything.
    let seconds = i64::try_from(options.events / options.rate).unwrap();
    let end = tidegate::generate::Options::default().start + seconds * 1000;
    // Events that were sent in addition.
    let mut more_events = 0;
    let each = input.ends.len() as u64;
    for rules in &options.rules {
        println!("\n{}, snapshots", rules.title());
        for (title, more) in [("none", NEVER), ("each second", OFTEN)] {
            let base = bed.name("restore");
            let folder = folder(bed, &base, &input.topic, *rules, more);
            create_topics(&options.binary, folder.path());
            let progress = Progress::new(bed, input, &base);
            progress.committed();
            let start = || Instance::spawn(Command::new(&options.binary), folder.path());
            let instance = start();
            let id = instance.id().to_string();
            let cpu = cpu_seconds(&id);
            let (began, first) = progress.wait(1);
            let all = input.events + more_events;
            let (ended, _) = progress.wait(all);
            #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
            let (rate, cpu) = (
                (input.events - first) as f64 / (ended - began).as_secs_f64(),
                (cpu_seconds(&id) - cpu) / input.events as f64 * 1e6,
            );
            println!("  {title:<12} {rate:>9.0} events/s {cpu:>6.3} CPU-s/M");
            if more == NEVER {
                assert!(instance.stop().0.success());
                continue;
            }
            let written = || instance.metric("tidegate_snapshots_total", "\"written\"");
            println!("  written meanwhile: {}, pauses: {}", written(), pauses(&instance));
            // Each partition of both topics once more: they cover all.
            let until = written() + 2 * u64::try_from(input.ends.len()).unwrap();
            send(bed, input, end, "warm");
            wait("snapshots cover the end", || written() >= until);
            let bytes = instance.metric("tidegate_snapshot_bytes", "");
            let keys = instance.metric("tidegate_state_keys", "");
            println!("  {bytes} bytes stored, {keys} keys, pauses: {}", pauses(&instance));
            progress.wait(all + each);
            instance.kill();
            send(bed, input, end, "after");
            let began = Instant::now();
            let instance = start();
            more_events += 2 * each;
            let (ended, _) = progress.wait(all + 2 * each);
            let took = (ended - began).as_secs_f64();
            let restored = instance.metric("tidegate_snapshots_total", "\"restored\"");
            println!("  killed, started again, next events committed: {took:.2} s");
            println!("  states from snapshots: {restored}");
            assert!(instance.stop().0.success());
        }
    }
}

/// One more event to each partition.
fn send(bed: &Bed, input: &Input, ts: i64, name: &str) {
    let producer: BaseProducer = bed.client().create().unwrap();
    for (partition, _) in (0..).zip(&input.ends) {
        let (id, user) = (format!("{name}-{partition}"), format!("u-{partition}"));
        let event =
            format!(r#"{{"id":"{id}","ts":{ts},"user":"{user}","kind":"issue","points":1}}"#);
        let record = BaseRecord::to(&input.topic).partition(partition).key(&user).payload(&event);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// Pauses that were longer than each of some bounds.
fn pauses(instance: &Instance) -> String {
    let (_, text) = instance.get("/metrics");
    let count = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    let find = |what: &str| text.lines().find(|line| line.starts_with(what)).map(count);
    let name = "tidegate_snapshot_pause_seconds";
    let all = find(&format!("{name}_count")).unwrap_or(0);
    let beyond = ["0.0025", "0.005", "0.01", "0.02", "0.05"].map(|bound| {
        let within = find(&format!("{name}_bucket{{le=\"{bound}\"}}")).unwrap_or(all);
        format!("{} over {bound} s", all - within)
    });
    format!("{all}, {}", beyond.join(", "))
}
