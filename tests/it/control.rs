//! Changes by people from the command line to a running instance, against a real Kafka
//! (`TIDEGATE_KAFKA=1`): each takes effect once, through a kill and a restart.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::broker::{self, Broker, Record, wait};
use crate::process::Instance;
use crate::run::{Setup, event};

const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn tidegate(setup: &Setup, arguments: &[&str]) -> Output {
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

/// The lines of a dry run, as JSON.
pub(crate) fn rehearse(setup: &Setup, arguments: &[&str]) -> Vec<Value> {
    let by = ["--actor", "ann", "--reason", "a look", "--format", "json", "--dry-run"];
    let output = tidegate(setup, &[arguments, &by].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn targets(values: &[Value]) -> Vec<String> {
    let user = |value: &Value| value["target"]["user"].as_str().unwrap().to_owned();
    let mut users: Vec<String> = values.iter().map(user).collect();
    users.sort();
    users
}

#[test]
fn a_bad_edit_is_undone_and_nothing_else() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "undo", "");
    let good = "version: 1\nrules:\n  - { name: large, on: issue, where: { points: { gt: 900 } }, \
                then: [freeze] }\n";
    setup.write("rules/rules.yaml", good);
    let instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    let (decisions, commands) = (setup.topic("decisions"), setup.topic("commands"));
    let produce = |n: u64, user: &str, points: u64| {
        broker.produce(&setup.topic("events"), &[event(n, user, points)]);
    };
    produce(0, "u-1", 1_000);
    until(broker, &commands, "large", 1);
    setup.write("rules/rules.yaml", &good.replace("900", "9"));
    instance.line("are in force");
    for n in 1..=30 {
        // Whoever is frozen already is frozen anew, by the set that is in force now.
        produce(n, &format!("u-{n}"), 10);
    }
    let placed = until(broker, &decisions, "large", 31);
    let bad = placed.last().unwrap()["ruleset"].as_str().unwrap().to_owned();
    change(&setup, &["freeze", "--user", "u-70", "--scope", "issue"]);
    until(broker, &commands, "tidegate.freeze", 1);
    setup.write("rules/rules.yaml", good);
    wait("it is mended", || instance.log().matches("are in force").count() == 2);
    produce(50, "u-50", 1_000);
    until(broker, &commands, "large", 32);

    let undo = ["unfreeze", "--rule", "large", "--ruleset", &bad];
    let instant = (1_763_780_000_000_i64 + 21 * 20).to_string();
    let since = [&undo[..], &["--since", &instant]].concat();
    let expected: Vec<String> = (21..=30).map(|n| format!("u-{n}")).collect();
    let shown = rehearse(&setup, &since);
    assert_eq!(targets(&shown), expected);
    assert!(shown.iter().all(|held| held["ruleset"] == json!(bad)), "{shown:#?}");
    assert_eq!(rehearse(&setup, &undo).len(), 30);
    assert_eq!(rehearse(&setup, &["unfreeze", "--user", "u-70"]).len(), 1);

    // What was shown is what happens, through a kill.
    let undone = change(&setup, &since);
    let lifted = until(broker, &commands, "tidegate.unfreeze", 10);
    assert_eq!(targets(&lifted), expected);
    assert!(lifted.iter().all(|command| command["decision"] == json!(undone)));
    instance.kill();
    change(&setup, &undo);
    let instance = Instance::start(setup.path());
    let lifted = until(broker, &commands, "tidegate.unfreeze", 30);
    assert_eq!(lifted.len(), 30);
    assert!(instance.stop().0.success());
    assert_eq!(holds(broker, &setup, "user:u-50"), 1);
    assert_eq!(holds(broker, &setup, "user:u-70"), 1, "the one by hand");
    assert_eq!(holds(broker, &setup, "user:u-1"), 0);
}

/// Publishes rules, and returns the decision that will tell of it.
fn publish(setup: &Setup, path: &str) -> String {
    let by = ["--actor", "ann", "--reason", "ticket 42", "--format", "json"];
    let output = tidegate(setup, &[&["rules", "publish", path][..], &by].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    said["decision"].as_str().unwrap().to_owned()
}

/// The version of the rule set that an instance runs.
fn in_force(instance: &Instance) -> String {
    let status: Value = serde_json::from_str(&instance.get("/api/v1/status").1).unwrap();
    status["ruleset"].as_str().unwrap().to_owned()
}

/// One rule that reviews from so many points on.
fn large(points: u32) -> String {
    format!(
        "version: 1\nlists: {{ bad: {{ file: bad.csv, field: user }} }}\nrules:\n  \
         - {{ name: large, on: issue, where: {{ points: {{ gt: {points} }} }}, then: [review] }}\n  \
         - {{ name: listed, where: {{ user: {{ in: bad }} }}, then: [review] }}\n"
    )
}

#[test]
fn a_published_set_is_in_force_on_every_instance_and_a_faulty_one_on_none() {
    let Some(broker) = broker::shared() else { return };
    let a = Setup::new(broker.address(), "sets", "");
    a.write("rules/rules.yaml", &large(900));
    let b = a.second_host();
    let instances = [Instance::start(a.path()), Instance::start(b.path())];
    let [one, two] = &instances;
    wait("both are ready", || one.is_ready() && two.is_ready());
    wait("both have partitions", || one.partitions() > 0 && two.partitions() > 0);
    let (decisions, commands) = (a.topic("decisions"), a.topic("commands"));
    let first = in_force(one);
    assert_eq!(in_force(two), first);
    let mut sent = 0;
    let mut produce = |points: u64| {
        let events: Vec<_> =
            (sent..sent + 40).map(|n| event(n, &format!("u-{n}"), points)).collect();
        broker.produce(&a.topic("events"), &events);
        sent += 40;
        wait("all is committed", || a.caught_up(broker));
    };
    produce(100);

    // By hand, from files that no instance has.
    a.write("other/bad.csv", "value,reason,expires,author\nu-85,bots,,ann\n");
    a.write("other/rules.yaml", &large(50));
    let decision = publish(&a, "other");
    let audit = until(broker, &decisions, "tidegate.rules", 1);
    assert_eq!(audit[0]["id"], json!(decision));
    assert_eq!((&audit[0]["actor"], &audit[0]["reason"]), (&json!("ann"), &json!("ticket 42")));
    let second = audit[0]["ruleset"].as_str().unwrap().to_owned();
    wait("both run it", || in_force(one) == second && in_force(two) == second);
    wait("all is committed", || journaled(broker, &a, &second) == 8);
    produce(100);
    until(broker, &commands, "large", 40);
    produce(1);
    let listed = until(broker, &commands, "listed", 1);
    assert_eq!(targets(&listed), ["u-85"], "the list came with the rules");

    // An edit that one instance sees.
    b.write("rules/rules.yaml", &large(500));
    wait("both run the edit", || {
        let (one, two) = (in_force(one), in_force(two));
        one == two && one != first && one != second
    });
    let third = in_force(one);
    wait("all is committed", || journaled(broker, &a, &third) == 8);
    produce(100);
    produce(600);
    until(broker, &commands, "large", 80);
    let audit = until(broker, &decisions, "tidegate.rules", 2);
    assert!(audit[1]["actor"].as_str().unwrap().starts_with("instance "), "{audit:#?}");

    // A host with files of an older set says so and leaves the newer one alone.
    let [one, two] = instances;
    one.kill();
    let one = Instance::start(a.path());
    one.line("does not come back by itself");
    wait("it is ready", || one.is_ready());
    assert_eq!((in_force(&one), in_force(&two)), (third.clone(), third));
    produce(100);
    produce(600);
    until(broker, &commands, "large", 120);
    // Its edit, once it is down, is news.
    assert!(one.stop().0.success());
    a.write("rules/rules.yaml", &large(50_000));
    let one = Instance::start(a.path());
    wait("both run it", || in_force(&two) == in_force(&one) && one.is_ready());
    until(broker, &decisions, "tidegate.rules", 3);
    wait("all is committed", || journaled(broker, &a, &in_force(&one)) == 8);
    produce(600);
    assert!(one.stop().0.success() && two.stop().0.success());
    assert_eq!(until(broker, &commands, "large", 120).len(), 120);
    assert_eq!(until(broker, &decisions, "tidegate.rules", 3).len(), 3);
}

/// How many partitions have begun, or gone on, under a version of the rule set.
fn journaled(broker: &Broker, setup: &Setup, ruleset: &str) -> usize {
    let records = values(&broker.read_all(&setup.topic("journal")));
    let names = |entry: &&Value| {
        let changes = entry["changes"].as_array().unwrap().iter();
        changes.clone().any(|placed| placed["change"]["ruleset"] == json!(ruleset))
    };
    records.iter().filter(names).count()
}

#[test]
fn a_rule_set_is_checked_before_it_is_published() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "checked", "");
    setup.write("faulty.yaml", "version: 1\nrules: [{ nam: broken }]\n");
    let publish = |path: &str, more: &[&str]| {
        let output =
            tidegate(&setup, &[&["rules", "publish", path, "--actor", "ann"], more].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (status, said) = publish("faulty.yaml", &[]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("`nam`"), "{said}");
    let (status, said) = publish("nowhere.yaml", &[]);
    assert_eq!(status, Some(2), "{said}");
    let (status, said) = publish("rules", &[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("missing topics"), "{said}");
    // What is only shown needs no broker.
    let (status, said) = publish("rules", &["--dry-run", "--brokers", "127.0.0.1:9"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.starts_with("ok: rules 4, lists 1, rule set "), "{said}");
}

#[test]
fn freezes_that_a_budget_held_back_are_listed_released_and_discarded() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "held", "");
    let rules = "version: 1\nbudget: { freezes: 1, per: 1h }\nrules:\n  - { name: large, on: issue, \
                 where: { points: { gt: 900 } }, then: [freeze] }\n";
    setup.write("rules/rules.yaml", rules);
    let instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    let events: Vec<(String, String)> =
        (0..40).map(|n| event(n, &format!("u-{n}"), 1_000)).collect();
    broker.produce(&setup.topic("events"), &events);
    let commands = setup.topic("commands");
    until(broker, &commands, "large", 40);
    let held = |more: &[&str]| -> Vec<Value> {
        let output = tidegate(&setup, &[&["held", "list", "--format", "json"], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let waiting = held(&[]);
    // A budget counts in each partition.
    assert!((36..40).contains(&waiting.len()), "{}", waiting.len());
    let [first, second, ..] = waiting.as_slice() else { unreachable!() };
    let (one, user) =
        (first["decision"].as_str().unwrap(), first["target"]["user"].as_str().unwrap());
    let other = second["decision"].as_str().unwrap();
    let by = ["--actor", "ann", "--reason", "ticket 42"];
    let decide = |arguments: &[&str]| {
        let output = tidegate(&setup, &[&["held"], arguments, &by].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(decide(&["release"]).0, Some(2), "of all it is only asked for by name");
    assert!(
        decide(&["release", "--rule", "large", "--dry-run"]).1.ends_with("nothing is written\n")
    );
    let (status, said) = decide(&["release", "--decision", one]);
    assert_eq!(status, Some(0));
    assert!(said.starts_with("1 held freeze released"), "{said}");
    decide(&["discard", "--decision", other]);
    until(broker, &setup.topic("decisions"), "tidegate.held", 2);
    let released = until(broker, &commands, "large", 41);
    let released = released.iter().find(|command| command["actor"] == "ann").unwrap();
    assert_eq!((&released["command"], &released["decision"]), (&json!("freeze"), &json!(one)));
    assert_eq!(holds(broker, &setup, &format!("user:{user}")), 1);
    assert_eq!(held(&["--rule", "large"]).len(), waiting.len() - 2);
    assert_eq!(held(&["--user", user]).len(), 0);
    assert_eq!(decide(&["release", "--decision", one]).0, Some(1), "it is decided already");
    assert_eq!(decide(&["discard", "--all"]).0, Some(0));
    until(broker, &setup.topic("decisions"), "tidegate.held", waiting.len());
    assert!(held(&[]).is_empty());
    assert!(instance.stop().0.success());
}
