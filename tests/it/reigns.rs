//! Rule sets that change while instances are killed, against a real Kafka (`TIDEGATE_KAFKA=1`):
//! every effect once, and what accounts hold is what commands come to.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::broker::{self, Broker, wait};
use crate::control::{rehearse, tidegate};
use crate::process::Instance;
use crate::run::{Setup, event};

const ROUNDS: u64 = 8;
const EVENTS: u64 = 1_500;

/// Edited bounds and actions keep the counters, a rule that comes or goes does not.
fn rules(round: u64) -> String {
    let burst = |above: u64, scope: &str| {
        format!(
            "  - {{ name: burst, on: issue, per: user, measure: count, window: 10m, above: {above}, \
             cooldown: 1s, then: [{{ freeze: {{ scope: {scope} }} }}] }}\n"
        )
    };
    let sum = "  - { name: sum, on: issue, per: user, measure: sum(points), window: day, above: 900, \
               then: [{ freeze: { scope: redeem } }, review] }\n";
    let ring = "  - { name: ring, on: issue, per: source, measure: count, window: 10m, above: 300, \
                cooldown: 1s, then: [{ freeze: { scope: issue } }] }\n";
    let some = match round % 5 {
        0 => [burst(5, "account"), ring.to_owned()].concat(),
        1 => [burst(4, "account"), ring.to_owned()].concat(),
        2 => [burst(4, "activity"), ring.to_owned(), sum.to_owned()].concat(),
        3 => [ring, sum].concat(),
        _ => [burst(6, "account"), sum.to_owned()].concat(),
    };
    // No two rounds have the same set, so that each is news.
    format!("version: 1\nrules:\n{some}  - {{ name: r{round}, on: adjust, then: [review] }}\n")
}

fn values(broker: &Broker, topic: &str) -> Vec<Value> {
    let records = broker.read_all(topic);
    records.iter().map(|record| serde_json::from_str(&record.value).unwrap()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Holds by target: what commands come to.
fn commanded(commands: &[Value]) -> BTreeMap<String, BTreeSet<String>> {
    let mut held: BTreeMap<String, BTreeMap<(String, String), String>> = BTreeMap::new();
    for command in commands {
        let of = held.entry(command["target"].to_string()).or_default();
        match command["command"].as_str().unwrap() {
            "freeze" => {
                let slot = (text(&command["rule"]), text(&command["scope"]));
                of.insert(slot, text(&command["decision"]));
            }
            "unfreeze" => of.retain(|_, hold| command["hold"] != **hold),
            _ => {}
        }
    }
    let ids = held.into_iter().map(|(target, of)| (target, of.into_values().collect()));
    ids.filter(|(_, ids): &(String, BTreeSet<String>)| !ids.is_empty()).collect()
}

/// Holds by target: what accounts say last.
fn accounts(broker: &Broker, setup: &Setup) -> BTreeMap<String, BTreeSet<String>> {
    let mut last = BTreeMap::new();
    for account in values(broker, &setup.topic("accounts")) {
        let holds = account["holds"].as_array().unwrap().iter().map(|hold| text(&hold["hold"]));
        last.insert(account["target"].to_string(), holds.collect::<BTreeSet<String>>());
    }
    last.retain(|_, ids| !ids.is_empty());
    last
}

fn assert_unique(values: &[Value], what: &str) {
    let ids: BTreeSet<String> = values.iter().map(|value| text(&value["id"])).collect();
    assert_eq!(ids.len(), values.len(), "{what} stand twice");
}

#[test]
fn killed_while_rule_sets_change_nothing_is_lost_or_written_twice() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "reigns", "");
    setup.write("rules/rules.yaml", &rules(0));
    let host_b = setup.second_host();
    let mut instances = vec![Instance::start(setup.path()), Instance::start(host_b.path())];
    wait("both are ready", || instances.iter().all(Instance::is_ready));
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let events = setup.topic("events");
    for round in 1..=ROUNDS {
        let first = round * EVENTS;
        let some: Vec<(String, String)> = (first..first + EVENTS)
            .map(|n| event(n, &format!("u-{}", rng.random_range(0..300)), 31 * n % 200))
            .collect();
        let before: i64 = broker.ends(&events).values().sum();
        // Some of the events come before the edit is seen, some after.
        broker.produce(&events, &some[..500]);
        let (edited, other) = if round % 2 == 0 { (&setup, 1) } else { (&host_b, 0) };
        edited.write("rules/rules.yaml", &rules(round));
        broker.produce(&events, &some[500..]);
        let at = before + i64::try_from(EVENTS).unwrap() * rng.random_range(0..10) / 10;
        wait("it has come so far", || {
            broker.committed(setup.group(), &events).values().sum::<i64>() >= at
        });
        // The one that sees the edit, or the one that hears of it.
        let victim = if rng.random_bool(0.5) { other } else { 1 - other };
        let host = if victim == 0 { &setup } else { &host_b };
        instances.remove(victim).kill();
        instances.insert(victim, Instance::start(host.path()));
        if round % 3 == 0 {
            wait("both are ready", || instances.iter().all(Instance::is_ready));
        }
    }
    wait("all is committed", || {
        setup.caught_up(broker) && instances.iter().all(Instance::is_ready)
    });
    assert_once(broker, &setup, instances);
    assert_undone(broker, &setup);
}

/// Ends the instances once all is told of, and checks what they have written.
fn assert_once(broker: &Broker, setup: &Setup, instances: Vec<Instance>) {
    let control = values(broker, &setup.topic("control"));
    // Instances that start side by side may both publish the first.
    let is_edit = |change: &&Value| change["change"] == "rules" && change.get("initial").is_none();
    let sets = control.iter().filter(is_edit).count();
    let told = |decisions: &[Value]| {
        decisions.iter().filter(|decision| decision["rule"] == "tidegate.rules").count()
    };
    wait("every publication is told of", || {
        told(&values(broker, &setup.topic("decisions"))) >= sets
    });
    for instance in instances {
        assert!(instance.stop().0.success());
    }
    let decisions = values(broker, &setup.topic("decisions"));
    let commands = values(broker, &setup.topic("commands"));
    assert_unique(&decisions, "decisions");
    assert_unique(&commands, "commands");
    assert_eq!(told(&decisions), sets, "each publication once, the first not at all");
    assert!(sets > 4 && commands.len() > 200, "{sets} sets, {} commands", commands.len());
    assert_eq!(commanded(&commands), accounts(broker, setup));
}

/// The state has the same holds: what a dry run finds on the topics is what is lifted.
fn assert_undone(broker: &Broker, setup: &Setup) {
    let decisions = values(broker, &setup.topic("decisions"));
    let version =
        text(&decisions.iter().rev().find(|one| one["rule"] == "burst").unwrap()["ruleset"]);
    let undo = ["unfreeze", "--rule", "burst", "--ruleset", &version];
    let mut shown: Vec<String> =
        rehearse(setup, &undo).iter().map(|held| text(&held["hold"])).collect();
    assert!(!shown.is_empty());
    let instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    let by = ["--actor", "ann", "--reason", "ticket 42"];
    assert!(tidegate(setup, &[&undo[..], &by].concat()).status.success());
    let lifted = || -> Vec<String> {
        let commands = values(broker, &setup.topic("commands"));
        let lifted = commands.iter().filter(|command| command["rule"] == "tidegate.unfreeze");
        lifted.map(|command| text(&command["hold"])).collect()
    };
    wait("they are lifted", || lifted().len() >= shown.len());
    assert!(instance.stop().0.success());
    let mut lifted = lifted();
    lifted.sort();
    shown.sort();
    assert_eq!(lifted, shown);
    let commands = values(broker, &setup.topic("commands"));
    assert_eq!(commanded(&commands), accounts(broker, setup));
}

/// The rules are published when the log holds 100 events of each user, and every sum is beyond the
/// first. The other one counts what comes from all partitions, and tells once its bound is edited.
#[test]
fn a_new_rule_counts_what_the_log_holds_and_fires_with_the_next_event() {
    const USERS: u64 = 20;
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "warm", "");
    let kept = "version: 1\nrules:\n  - { name: big, on: adjust, then: [review] }\n";
    setup.write("rules/rules.yaml", kept);
    let instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    let events = setup.topic("events");
    // By event: its user, and all that this user was given up to it.
    let mut sums: BTreeMap<String, (String, u64)> = BTreeMap::new();
    let mut given: BTreeMap<String, u64> = BTreeMap::new();
    let mut made = 0;
    let mut produce = |count: u64, points: &dyn Fn(u64) -> u64| {
        let some = (made..made + count).map(|n| {
            let user = format!("u-{}", n % USERS);
            let sum = given.entry(user.clone()).or_default();
            *sum += points(n);
            sums.insert(format!("e-{n}"), (user.clone(), *sum));
            event(n, &user, points(n))
        });
        let some: Vec<(String, String)> = some.collect();
        made += count;
        broker.produce(&events, &some);
        sums.clone()
    };
    produce(100 * USERS, &|n| 31 * n % 200);
    wait("all is committed", || setup.caught_up(broker));
    let sum =
        "  - { name: sum, on: issue, per: user, measure: sum(points), window: year, above: 900 }\n";
    let shared = |above: u64| {
        format!(
            "{kept}{sum}  - {{ name: all, on: issue, per: source, measure: sum(points), window: year, \
             above: {above} }}\n"
        )
    };
    setup.write("rules/rules.yaml", &shared(1_000_000_000));
    let told = || -> BTreeMap<String, Value> {
        let decisions = values(broker, &setup.topic("decisions")).into_iter();
        let own = decisions.filter(|decision| decision["rule"] == "sum");
        own.map(|decision| (text(&decision["key"]["user"]), decision)).collect()
    };
    let mut sums = BTreeMap::new();
    wait("every user is told of", || {
        sums = produce(USERS, &|_| 1);
        told().len() == usize::try_from(USERS).unwrap()
    });
    wait("all partitions have told their past", || {
        instance.metric("tidegate_rules_warming", "") == 0
    });
    wait("all is committed", || setup.caught_up(broker));
    setup.write("rules/rules.yaml", &shared(1));
    let decided = || {
        let all = values(broker, &setup.topic("decisions")).into_iter();
        all.filter(|one| one["rule"] == "all").collect::<Vec<Value>>()
    };
    let mut totals = BTreeSet::new();
    wait("what is new at last is told of", || {
        totals.insert(produce(1, &|_| 1).len());
        !decided().is_empty()
    });
    wait("all is committed", || setup.caught_up(broker));
    assert!(instance.stop().0.success());
    let [all] = &decided()[..] else { unreachable!("one source and one level") };
    // Every event has come in, the last ones one by one: 100 rounds of sums, and a point for each.
    let first: u64 = (0..100 * USERS).map(|n| 31 * n % 200).sum();
    let totals: Vec<u64> = totals.iter().map(|n| first + *n as u64 - 100 * USERS).collect();
    let value = all["value"].as_u64().unwrap();
    assert!(totals.contains(&value), "{value} is none of {totals:?}");
    assert_exact(&told(), &sums);
    let all = values(broker, &setup.topic("decisions"));
    assert_eq!(all.iter().filter(|one| one["rule"] == "sum").count(), told().len());
}

/// What was told of each user is what that user had been given up to the event that tipped it.
fn assert_exact(told: &BTreeMap<String, Value>, sums: &BTreeMap<String, (String, u64)>) {
    for (user, decision) in told {
        let (of, sum) = &sums[&text(&decision["trigger"]["id"])];
        assert_eq!((user, decision["value"].as_u64()), (of, Some(*sum)), "{decision}");
        assert!(*sum > 900);
    }
}
