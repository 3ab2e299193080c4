//! A backtest straight from a topic of a real Kafka (`TIDEGATE_KAFKA=1`): the decisions of a file
//! with the same events in the same order, with the places of the records in the topic.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};

use crate::broker::{self, Broker, PATIENCE, unique};
use crate::pipeline::RULES;

const START: i64 = 1_763_780_400_000;

/// An event, its user and its time.
fn event(at: i64) -> (String, String, i64) {
    let user = format!("u{}", at * at % 17);
    let ts = START + at * 900 - at % 5 * 2_000;
    let kind = ["issue", "issue", "issue", "redeem"][usize::try_from(at % 4).unwrap()];
    let event = json!({ "id": format!("e{at}"), "ts": ts, "user": user, "kind": kind,
        "points": at % 41, "source": format!("s{}", at % 3), "device": format!("d{}", at % 23) });
    (user, event.to_string(), ts)
}

fn send(producer: &BaseProducer, topic: &str, from: i64, to: i64) {
    for at in from..to {
        let (user, event, ts) = event(at);
        // Some records share a timestamp, so that partition and offset decide.
        let record = BaseRecord::to(topic).key(&user).payload(&event).timestamp(ts - ts % 4_000);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// A topic with events, some of an aborted transaction and some behind one.
fn filled(broker: &Broker) -> String {
    let topic = unique("past");
    broker.create(&topic, 4, &[("retention.ms", "-1")]);
    let producer: BaseProducer = broker.client().create().unwrap();
    send(&producer, &topic, 0, 1_500);
    let mut config = broker.client();
    let aborting: BaseProducer =
        config.set("transactional.id", unique("aborted")).create().unwrap();
    aborting.init_transactions(PATIENCE).unwrap();
    aborting.begin_transaction().unwrap();
    send(&aborting, &topic, 1_480, 1_500);
    aborting.abort_transaction(PATIENCE).unwrap();
    send(&producer, &topic, 1_500, 2_400);
    topic
}

/// Values in the order of the sequence, each with its partition and offset; those of the time.
fn sequence(broker: &Broker, topic: &str, from: i64, to: i64) -> Vec<(String, i32, i64)> {
    let mut all: Vec<(i64, i32, i64, String)> = Vec::new();
    for record in broker.read_all(topic) {
        let value: Value = serde_json::from_str(&record.value).unwrap();
        let ts = value["ts"].as_i64().unwrap();
        all.push((ts - ts % 4_000, record.partition, record.offset, record.value));
    }
    // The partitions one by one, and always the least of their heads.
    let mut parts: BTreeMap<i32, Vec<_>> = BTreeMap::new();
    for one in all {
        parts.entry(one.1).or_default().push(one);
    }
    // Offsets are asked for by time: the first record as young, and all behind it.
    for part in parts.values_mut() {
        part.sort_by_key(|one| one.2);
        let first = |ms: i64| part.iter().position(|one| one.0 >= ms).unwrap_or(part.len());
        let (from, to) = (first(from), first(to));
        *part = part[from..to.max(from)].to_vec();
        part.reverse();
    }
    let mut sequence = Vec::new();
    loop {
        let heads = parts.values_mut().filter(|part| !part.is_empty());
        let Some(part) = heads.min_by_key(|part| part.last().map(|one| (one.0, one.1, one.2)))
        else {
            return sequence;
        };
        let (_, partition, offset, value) = part.pop().unwrap();
        sequence.push((value, partition, offset));
    }
}

fn tidegate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(arguments).output().unwrap()
}

fn decisions(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_stretch_of_a_topic_comes_to_what_a_file_does() {
    let Some(broker) = broker::shared() else { return };
    let topic = filled(broker);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("rules.yaml"), RULES).unwrap();
    let (rules, file) = (path("rules.yaml"), path("events.jsonl"));
    let (middle, late) = (START + 300_000, START + 1_500_000);
    let whole = (i64::MIN, i64::MAX);
    for (from, to) in [whole, (middle, i64::MAX), (middle, late)] {
        let sequence = sequence(broker, &topic, from, to);
        assert!(sequence.len() > 900);
        let lines: Vec<&str> = sequence.iter().map(|(value, ..)| value.as_str()).collect();
        fs::write(&file, lines.join("\n")).unwrap();
        let of_file = tidegate(&["backtest", "--rules", &rules, "--input", &file]);
        let expected: Vec<Value> = decisions(&of_file)
            .into_iter()
            .map(|mut decision| {
                let line = decision["trigger"]["offset"].as_u64().unwrap();
                let (_, partition, offset) = &sequence[usize::try_from(line).unwrap()];
                decision["trigger"]["topic"] = topic.clone().into();
                decision["trigger"]["partition"] = (*partition).into();
                decision["trigger"]["offset"] = (*offset).into();
                decision
            })
            .collect();
        let (from_text, to_text) = (from.to_string(), to.to_string());
        let mut arguments = vec!["backtest", "--rules", &rules, "--topic", &topic];
        arguments.extend(["--brokers", broker.address()]);
        if from != i64::MIN {
            arguments.extend(["--from", &from_text]);
        }
        if to != i64::MAX {
            arguments.extend(["--to", &to_text]);
        }
        let of_topic = tidegate(&arguments);
        let got = decisions(&of_topic);
        assert!(got.len() > 100);
        let differs = got.iter().zip(&expected).find(|(a, b)| a != b);
        assert_eq!((got.len(), differs), (expected.len(), None));
        assert_eq!(of_topic.stderr, of_file.stderr);
    }
    assert!(broker.committed("tidegate", &topic).is_empty());
}

#[test]
fn a_difference_over_a_topic_is_that_over_a_file() {
    let Some(broker) = broker::shared() else { return };
    let topic = filled(broker);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("old.yaml"), RULES).unwrap();
    fs::write(path("new.yaml"), RULES.replace("above: 5 }", "above: 4 }")).unwrap();
    // Where the configuration names brokers and topics, nothing else has to.
    let config = json!({ "kafka": { "brokers": broker.address() }, "topics": { "events": topic } });
    fs::write(path("tidegate.yaml"), config.to_string()).unwrap();
    let lines: Vec<String> =
        sequence(broker, &topic, i64::MIN, i64::MAX).into_iter().map(|one| one.0).collect();
    fs::write(path("events.jsonl"), lines.join("\n")).unwrap();
    let (old, new) = (path("old.yaml"), path("new.yaml"));
    let diff = |more: &[&str]| {
        let output = tidegate(&[&["rules", "diff", &old, &new, "--format", "json"], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let of_file = diff(&["--input", &path("events.jsonl")]);
    assert_eq!(of_file["rules"][0]["rule"], "day");
    assert_eq!(diff(&["--config", &path("tidegate.yaml")]), of_file);
    let recent = diff(&["--config", &path("tidegate.yaml"), "--last", "1h"]);
    assert_eq!(recent["new"]["summary"]["events"], 0);
}

#[test]
fn a_topic_that_is_not_there_and_a_wrong_time_are_told() {
    let Some(broker) = broker::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    fs::write(&rules, RULES).unwrap();
    let run = |more: &[&str]| {
        let rules = rules.to_str().unwrap();
        let fixed = ["backtest", "--rules", rules, "--brokers", broker.address()];
        let output = tidegate(&[&fixed, more].concat());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, message) = run(&["--topic", "nobody.knows"]);
    assert_eq!((status, message.contains("nobody.knows")), (Some(2), true), "{message}");
    let (status, message) = run(&["--from", "yesterday"]);
    assert_eq!((status, message.contains("-7d")), (Some(2), true), "{message}");
    let (status, message) = run(&["--input", "-"]);
    assert_eq!((status, message.contains("not both")), (Some(2), true), "{message}");
}
