//! Snapshots against a real Kafka (`TIDEGATE_KAFKA=1`): a killed instance goes on from them
//! although the log has lost its beginning; gaps are refused; damaged files are passed over.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::broker::{self, Broker, wait};
use crate::process::Instance;
use crate::run::{Setup, event};

/// Files below a folder whose name ends so.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The greatest offset that a snapshot of each partition of a topic is of, added up.
pub(crate) fn covered(setup: &Setup, topic: &str) -> i64 {
    let folder = setup.path().join("data/snapshots").join(setup.group()).join(topic);
    let Ok(partitions) = std::fs::read_dir(folder) else { return 0 };
    let newest = partitions.map(|partition| {
        let names = files(&partition.unwrap().path(), ".manifest");
        let offset = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<i64>().ok();
        names.iter().filter_map(offset).max().unwrap_or(0)
    });
    newest.sum()
}

fn start(setup: &Setup, variables: &[(&str, &str)]) -> Instance {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.envs(variables.iter().copied());
    Instance::spawn(command, setup.path())
}

/// Decisions of a rule so far, in order.
fn decisions(broker: &Broker, setup: &Setup, rule: &str) -> Vec<Value> {
    let records = broker.read_all(&setup.topic("decisions"));
    let values = records.iter().map(|record| serde_json::from_str(&record.value).unwrap());
    values.filter(|value: &Value| value["rule"] == rule).collect()
}

#[test]
fn a_killed_instance_goes_on_from_snapshots_although_the_log_lost_its_beginning() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "restore", "state: { interval: 1s }");
    let events = setup.topic("events");
    let partials = format!("{}.partials", setup.group());
    let total = |topic: &str| broker.ends(topic).values().sum::<i64>();
    let instance = start(&setup, &[]);
    wait("it is ready", || instance.is_ready());
    // Not enough for any level of the sums, and 99 for the count over all partitions.
    let first: Vec<(String, String)> = (0..99).map(|n| event(n, &format!("u-{n}"), 250)).collect();
    broker.produce(&events, &first);
    wait("all events are committed", || setup.caught_up(broker));
    wait("a snapshot covers all events", || covered(&setup, &events) == total(&events));
    // Heartbeats go on; a snapshot that knows all counts will do.
    let counted = total(&partials);
    wait("one covers what the partitions told", || covered(&setup, &partials) >= counted);
    instance.kill();
    broker.empty(&events);
    let instance = start(&setup, &[]);
    wait("it is ready again", || instance.is_ready());
    assert!(instance.metric("tidegate_snapshots_total", "\"restored\"") >= 4);
    assert_eq!(decisions(broker, &setup, "cap").len(), 0);
    broker.produce(&events, &[event(200, "u-7", 100)]);
    wait("the sum of before counts", || decisions(broker, &setup, "cap").len() == 1);
    wait("and the count over all", || decisions(broker, &setup, "total").len() == 1);
    let [cap, all] =
        ["cap", "total"].map(|rule| decisions(broker, &setup, rule).remove(0)["value"].clone());
    assert_eq!((cap, all), (350.into(), 100.into()));
    assert!(instance.stop().0.success());
}

#[test]
fn a_gap_after_the_snapshots_is_refused_with_the_ways_out() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "gap", "state: { interval: 1h }");
    let events = setup.topic("events");
    let total = || broker.ends(&events).values().sum::<i64>();
    let instance = start(&setup, &[]);
    wait("it is ready", || instance.is_ready());
    let some: Vec<(String, String)> = (0..40).map(|n| event(n, &format!("u-{n}"), 250)).collect();
    broker.produce(&events, &some);
    wait("all events are committed", || setup.caught_up(broker));
    // C7: a stop leaves a snapshot of all.
    assert!(instance.stop().0.success());
    assert_eq!(covered(&setup, &events), total());
    let instance = start(&setup, &[]);
    wait("it is ready", || instance.is_ready());
    let more: Vec<(String, String)> = (40..80).map(|n| event(n, &format!("u-{n}"), 250)).collect();
    broker.produce(&events, &more);
    wait("all events are committed", || setup.caught_up(broker));
    instance.kill();
    broker.empty(&events);
    let instance = start(&setup, &[]);
    wait("it says why it does not go on", || {
        let (status, text) = instance.get("/readyz");
        status == 503 && text.contains("state.accept_gap") && text.contains("begins at")
    });
    assert_eq!(instance.get("/healthz").0, 200);
    assert!(instance.stop().0.success());
    let instance = start(&setup, &[("TIDEGATE_STATE__ACCEPT_GAP", "true")]);
    wait("it goes on", || instance.is_ready());
    instance.line("going on without the records between");
    broker.produce(&events, &[event(100, "u-7", 100), event(101, "u-47", 100)]);
    wait("what the snapshot had counts", || decisions(broker, &setup, "cap").len() == 1);
    assert_eq!(decisions(broker, &setup, "cap")[0]["key"]["user"], "u-7");
    assert!(instance.stop().0.success());
}

#[test]
fn damaged_snapshots_are_named_and_passed_over() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "damaged", "state: { interval: 1h }");
    let events = setup.topic("events");
    for (round, at) in [(0, 0), (1, 40)] {
        let instance = start(&setup, &[]);
        wait("it is ready", || instance.is_ready());
        let some: Vec<(String, String)> =
            (at..at + 40).map(|n| event(n, &format!("u-{}", n % 40), 140)).collect();
        broker.produce(&events, &some);
        wait("all events are committed", || setup.caught_up(broker));
        assert!(instance.stop().0.success(), "round {round}");
    }
    let folder = setup.path().join("data/snapshots").join(setup.group()).join(&events);
    for partition in 0..4 {
        let manifests = files(&folder.join(partition.to_string()), ".manifest");
        let [.., newest] = manifests.as_slice() else { continue };
        let mut bytes = std::fs::read(newest).unwrap();
        let middle = bytes.len() / 2;
        match partition {
            0 => bytes.truncate(middle),
            1 => bytes[middle] ^= 4,
            2 => bytes = b"not ours".to_vec(),
            _ => bytes.clear(),
        }
        std::fs::write(newest, bytes).unwrap();
    }
    let instance = start(&setup, &[]);
    wait("it is ready", || instance.is_ready());
    instance.line(".manifest: its checksum does not fit");
    assert_eq!(instance.metric("tidegate_snapshots_total", "\"skipped\""), 4);
    broker.produce(&events, &[event(100, "u-7", 30)]);
    wait("the sum is whole", || decisions(broker, &setup, "cap").len() == 1);
    assert_eq!(decisions(broker, &setup, "cap")[0]["value"], 310);
    assert!(instance.stop().0.success());
}

#[test]
fn what_a_hastened_transaction_leaves_to_tell_is_told_by_whoever_comes_next() {
    let Some(broker) = broker::shared() else { return };
    let more = "engine: { flush_interval: 10s }\nstate: { snapshots: off }";
    let setup = Setup::new(broker.address(), "untold", more);
    let (events, partials) = (setup.topic("events"), format!("{}.partials", setup.group()));
    let told = || broker.ends(&partials).values().sum::<i64>();
    let instance = start(&setup, &[]);
    wait("it is ready", || instance.is_ready());
    // With the first interval the rules are noted, with the second they are as ever.
    for n in 0..2 {
        let before = told();
        broker.produce(&events, &[event(n, "u-first", 1)]);
        wait("the interval is over", || told() > before);
    }

    // Within the next ten seconds, the last of them hastens the transaction.
    let before = told();
    let few: Vec<_> = (2..99).map(|n| event(n, &format!("u-{n}"), 1)).collect();
    broker.produce(&events, &few);
    broker.produce(&events, &[event(99, "u-last", 1_000)]);
    wait("all is committed", || setup.caught_up(broker));
    assert_eq!(decisions(broker, &setup, "cap").len(), 1);
    assert_eq!(told(), before, "the owners of keys wait for the interval");
    instance.kill();

    let instance = start(&setup, &[]);
    wait("the total is told", || !decisions(broker, &setup, "total").is_empty());
    let total = decisions(broker, &setup, "total");
    assert_eq!((total.len(), &total[0]["value"]), (1, &Value::from(100)));
    assert_eq!(decisions(broker, &setup, "cap").len(), 1, "what was written is not written again");
    assert!(instance.stop().0.success());
}
