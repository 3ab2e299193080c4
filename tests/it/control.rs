//! Changes by people from the command line to a running instance, against a real Kafka
//! (`TIDEGATE_KAFKA=1`): each takes effect once, through a kill and a restart.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::broker::{self, Broker, Record, wait};
use crate::process::Instance;
use crate::run::{Setup, event};

const PATIENCE: Duration = Duration::from_mins(1);

fn tidegate(setup: &Setup, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).current_dir(setup.path()).env_remove("TIDEGATE_ACTOR");
    command.output().unwrap()
}

/// Makes a change; the decision that will tell of it.
fn change(setup: &Setup, arguments: &[&str]) -> String {
    let by = ["--actor", "ann", "--reason", "ticket 42", "--format", "json"];
    let output = tidegate(setup, &[arguments, &by].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    said["decision"].as_str().unwrap().to_owned()
}

fn values(records: &[Record]) -> Vec<Value> {
    records.iter().map(|record| serde_json::from_str(&record.value).unwrap()).collect()
}

/// Waits until a topic has so many records of a rule.
fn until(broker: &Broker, topic: &str, rule: &str, count: usize) -> Vec<Value> {
    let of_rule = |records: &[Record]| -> Vec<Value> {
        values(records).into_iter().filter(|value| value["rule"] == rule).collect()
    };
    let all = broker.read_until(topic, PATIENCE, |records| of_rule(records).len() >= count);
    of_rule(&all)
}

/// The account of a target as its last record has it.
fn holds(broker: &Broker, setup: &Setup, key: &str) -> usize {
    let records = broker.read_all(&setup.topic("accounts"));
    let own = records.iter().rev().find(|record| record.key.as_deref() == Some(key));
    own.map_or(0, |record| {
        let value: Value = serde_json::from_str(&record.value).unwrap();
        value["holds"].as_array().unwrap().len()
    })
}

#[test]
fn a_user_frozen_by_hand_stays_so_through_a_kill_until_he_is_released() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "hand", "");
    let instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    let (decisions, commands) = (setup.topic("decisions"), setup.topic("commands"));
    broker.produce(&setup.topic("events"), &[event(0, "u-1", 10)]);

    let frozen = change(&setup, &["freeze", "--user", "u-1", "--scope", "issue"]);
    let device = change(&setup, &["freeze", "--device", "d-1", "--for", "365d"]);
    let command = until(broker, &commands, "tidegate.freeze", 2);
    let own = command.iter().find(|command| command["target"] == json!({ "user": "u-1" }));
    let own = own.unwrap();
    assert_eq!(own["decision"], json!(frozen));
    assert_eq!((&own["scope"], &own["until"]), (&json!("issue"), &Value::Null));
    assert_eq!((&own["actor"], &own["reason"]), (&json!("ann"), &json!("ticket 42")));
    let audit = until(broker, &decisions, "tidegate.freeze", 2);
    let own = audit.iter().find(|decision| decision["id"] == json!(frozen)).unwrap();
    assert_eq!((&own["actor"], &own["reason"]), (&json!("ann"), &json!("ticket 42")));
    assert!(audit.iter().any(|decision| decision["id"] == json!(device)));
    assert_eq!(holds(broker, &setup, "user:u-1"), 1);
    assert_eq!(holds(broker, &setup, "device:d-1"), 1);

    // A list entry counts for the very next event.
    change(&setup, &["list", "add", "bad", "u-2", "--for", "365d"]);
    until(broker, &decisions, "tidegate.lists", 1);
    wait("every partition knows", || instance.metric("tidegate_decisions_total", "lists") == 1);
    let journal = setup.topic("journal");
    let known = |records: &[Record]| {
        records.iter().filter(|record| record.value.contains("list_add")).count() == 8
    };
    broker.read_until(&journal, PATIENCE, known);
    broker.produce(&setup.topic("events"), &[event(1, "u-2", 10)]);
    until(broker, &commands, "listed", 1);

    instance.kill();
    // While nobody is there.
    let released = change(&setup, &["unfreeze", "--hold", &frozen]);
    change(&setup, &["list", "remove", "bad", "u-2"]);
    let instance = Instance::start(setup.path());
    wait("it is ready again", || instance.is_ready());
    let command = until(broker, &commands, "tidegate.unfreeze", 1);
    assert_eq!(command[0]["decision"], json!(released));
    assert_eq!((&command[0]["hold"], &command[0]["scope"]), (&json!(frozen), &json!("issue")));
    until(broker, &decisions, "tidegate.lists", 2);
    broker.read_until(&journal, PATIENCE, |records| {
        records.iter().filter(|record| record.value.contains("list_remove")).count() == 8
    });
    broker.produce(&setup.topic("events"), &[event(2, "u-2", 10), event(3, "u-1", 10)]);
    wait("all is committed", || {
        broker.committed(setup.group(), &setup.topic("events")).values().sum::<i64>() >= 4
    });
    change(&setup, &["unfreeze", "--device", "d-1"]);
    until(broker, &commands, "tidegate.unfreeze", 2);
    assert!(instance.stop().0.success());

    // Everything once.
    let rules = |topic: &str| -> Vec<String> {
        let all = values(&broker.read_all(topic));
        let mut rules: Vec<String> =
            all.iter().map(|value| value["rule"].as_str().unwrap().to_owned()).collect();
        rules.sort();
        rules
    };
    let (freeze, unfreeze, lists) = ("tidegate.freeze", "tidegate.unfreeze", "tidegate.lists");
    assert_eq!(rules(&commands), ["listed", freeze, freeze, unfreeze, unfreeze]);
    let audits = ["listed", freeze, freeze, lists, lists, unfreeze, unfreeze];
    assert_eq!(rules(&decisions), audits);
    assert_eq!(holds(broker, &setup, "user:u-1"), 0);
    assert_eq!(holds(broker, &setup, "device:d-1"), 0);
}

#[test]
fn a_change_that_cannot_be_written_says_why() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "unmade", "");
    let by = ["--actor", "ann", "--reason", "ticket 42"];
    let fails = |arguments: &[&str], expected: &str| {
        let output = tidegate(&setup, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(expected), "{arguments:?}: {said}");
    };
    let user = ["freeze", "--user", "u-1"];
    fails(&[&user[..], &by].concat(), "missing topics");
    fails(&user, "--actor");
    fails(&[&["freeze"], &by[..]].concat(), "say whom to freeze");
    fails(&[&["unfreeze"], &by[..]].concat(), "say what to unfreeze");
    fails(&[&["freeze", "--target", "name=x"], &by[..]].concat(), "no target has the field `name`");
    fails(&[&user[..], &["--for", "long"], &by].concat(), "--for `long`");
    fails(&[&user[..], &["--until", "2020-01-01"], &by].concat(), "lies in the past");
    fails(&[&user[..], &["--device", "d"], &by].concat(), "one target at a time");
    let nobody = ["--brokers", "127.0.0.1:9"];
    fails(&[&user[..], &by, &nobody].concat(), "cannot reach the broker");
    // A change that is only shown needs no broker.
    let output = tidegate(&setup, &[&user[..], &["--dry-run"], &by, &nobody].concat());
    assert!(output.status.success());
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&shown["change"], &shown["target"]), (&json!("freeze"), &json!({ "user": "u-1" })));
}
