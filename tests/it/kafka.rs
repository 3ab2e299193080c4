//! The stream against a real Kafka (`TIDEGATE_KAFKA=1`).

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::Registry;
use serde_json::{Value, json};
use tidegate::backtest::{Backtest, run};
use tidegate::engine::{Effect, Lists, Plan, Settings};
use tidegate::event::Decoder;
use tidegate::metrics::Metrics;
use tidegate::rule::{Source, load};
use tidegate::stream::kafka::{KafkaSettings, TopicNames, prepare};
use tidegate::stream::{Delivery, Fleet, PlanCell, RunnerSettings, Start, readiness};

use crate::broker::{self, Broker, End, Record, unique, wait};

const RULES: &str = "
version: 1
timezone: Asia/Shanghai
rules:
  - { name: cap, on: issue, per: user, measure: sum(points), window: day, levels: [
      { above: 300, then: [alert] },
      { above: 900, severity: critical, then: [{ freeze: { scope: issue, for: window } }] } ] }
  - { name: burst, on: issue, per: user, measure: count, window: 10m, above: 5, then: [freeze] }
  - { name: big, on: redeem, where: { points: { gt: 150 } }, then: [review] }
";

const MATCH_RULES: &str = "
version: 1
rules:
  - { name: big, on: redeem, where: { points: { gt: 150 } }, then: [review] }
";

fn plan(rules: &str, max_ahead_ms: Option<i64>) -> Plan {
    let source = Source { path: "rules.yaml".to_owned(), text: rules.to_owned() };
    let set = load(&[source]).unwrap();
    let settings = Settings { max_ahead_ms, ..Settings::default() };
    Plan::new(Arc::new(set), Lists::new(0), settings)
}

/// Names that no other test has.
fn names(base: &str) -> TopicNames {
    let name = |topic: &str| Arc::from(format!("{base}.{topic}"));
    TopicNames {
        standing: name("standing"),
        events: name("events"),
        partials: name("partials"),
        decisions: name("decisions"),
        commands: name("commands"),
        accounts: name("accounts"),
        quarantine: name("quarantine"),
        control: name("control"),
        journal: name("journal"),
        notices_dead: name("dead"),
        told: name("told"),
        daily: name("daily"),
    }
}

fn kafka(broker: &Broker, base: &str) -> KafkaSettings {
    KafkaSettings {
        address: None,
        delivery: Delivery::ExactlyOnce,
        brokers: broker.address().to_owned(),
        group: base.to_owned(),
        properties: BTreeMap::new(),
        topics: names(base),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Topics made, and workers started.
fn start(settings: &KafkaSettings, rules: &str, workers: usize) -> (Fleet, Metrics) {
    let prepared = runtime().block_on(prepare(settings, true, 4)).unwrap();
    let runner = RunnerSettings {
        kafka: settings.clone(),
        leaving: Arc::default(),
        instance: "host-a".to_owned(),
        workers,
        partitions: prepared.0,
        flush_interval_ms: 100,
        max_bytes: 65_536,
        start: Start::Oldest,
        decoder: Decoder::default(),
        snapshots: None,
    };
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let plans = Arc::new(PlanCell::new(plan(rules, Some(300_000))));
    (Fleet::start(&runner, &plans, &metrics).unwrap(), metrics)
}

/// Events of some users, as (key, JSON) in order.
fn events(count: u64) -> Vec<(String, String)> {
    let event = |n: u64| {
        let user = format!("u-{}", n * 7 % 40);
        let kind = if n.is_multiple_of(9) { "redeem" } else { "issue" };
        let value = json!({
            "id": format!("e-{n}"), "ts": 1_763_780_000_000 + n * 1_000, "user": user, "kind": kind,
            "points": n * 31 % 200, "source": format!("s-{}", n % 3), "device": format!("d-{}", n % 50),
        });
        (user, value.to_string())
    };
    (0..count).map(event).collect()
}

/// What a backtest comes to: ids of decisions, and of commands.
fn backtest(rules: &str, events: &[(String, String)]) -> (Vec<String>, Vec<String>) {
    let mut fold = Backtest::new(plan(rules, None), Decoder::default(), 65_536, "events");
    let lines: Vec<&str> = events.iter().map(|(_, value)| value.as_str()).collect();
    let (mut decisions, mut commands) = (Vec::new(), Vec::new());
    let mut sink = |effect: &Effect| {
        match effect {
            Effect::Decision(decision) | Effect::Resolved(decision) => {
                decisions.push(decision.id.clone());
            }
            Effect::Command(command) => commands.push(command.id.clone()),
            Effect::Account(_) | Effect::Canary(_) | Effect::Daily(_) => {}
        }
        Ok(())
    };
    run(&mut fold, lines.join("\n").as_bytes(), &mut sink, &mut |_| {}).unwrap();
    (sorted(decisions), sorted(commands))
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

fn ids(records: &[Record]) -> Vec<String> {
    let id = |record: &Record| {
        let value: Value = serde_json::from_str(&record.value).unwrap();
        value["id"].as_str().unwrap().to_owned()
    };
    sorted(records.iter().map(id).collect())
}

fn caught_up(broker: &Broker, settings: &KafkaSettings) -> bool {
    broker.committed(&settings.group, &settings.topics.events)
        == broker.ends(&settings.topics.events)
}

#[test]
fn decisions_for_users_equal_those_of_a_backtest() {
    let Some(broker) = broker::shared() else { return };
    let settings = kafka(broker, &unique("equal"));
    let (fleet, metrics) = start(&settings, RULES, 2);
    wait("workers are ready", || readiness(&fleet.views(), 0).is_ok());
    let events = events(3_000);
    broker.produce(&settings.topics.events, &events);
    wait("all events are committed", || caught_up(broker, &settings));
    fleet.stop();
    let (decisions, commands) = backtest(RULES, &events);
    assert!(!commands.is_empty());
    assert_eq!(ids(&broker.read_all(&settings.topics.decisions)), decisions);
    assert_eq!(ids(&broker.read_all(&settings.topics.commands)), commands);
    let consumed: u64 = (0..4)
        .map(|p: i32| metrics.records_consumed.with_label_values(&[&p.to_string()]).get())
        .sum();
    assert_eq!(consumed, 3_000);
}

#[test]
fn more_workers_than_partitions_are_ready_with_nothing_to_do() {
    let Some(broker) = broker::shared() else { return };
    let settings = kafka(broker, &unique("crowd"));
    let (fleet, metrics) = start(&settings, RULES, 6);
    wait("each partition has its worker, and all six are ready", || {
        let views = fleet.views();
        let busy = views.iter().filter(|view| view.partitions.len() == 2).count();
        let idle = views.iter().filter(|view| view.partitions.is_empty()).count();
        readiness(&views, 0).is_ok() && (busy, idle) == (4, 2)
    });
    broker.produce(&settings.topics.events, &events(200));
    wait("all events are committed", || {
        broker.committed(&settings.group, &settings.topics.events).values().sum::<i64>() == 200
    });
    fleet.stop();
    assert_eq!(metrics.worker_restarts.get(), 0);
}

#[test]
fn a_quiet_partition_may_lose_its_whole_log_with_the_markers_at_its_end() {
    let Some(broker) = broker::shared() else { return };
    let settings = kafka(broker, &unique("emptied"));
    let (fleet, metrics) = start(&settings, RULES, 1);
    wait("it is ready", || readiness(&fleet.views(), 0).is_ok());
    // Written in transactions: the last offsets of each partition are markers, one of them of
    // records that nobody sees.
    let topic = &settings.topics.events;
    let events = events(900);
    broker.transact(topic, &events[..300], End::Commit);
    broker.transact(topic, &events[..40], End::Abort);
    wait("the markers are committed, too", || caught_up(broker, &settings));
    broker.empty(topic);
    // Under a worker that goes on, ...
    broker.transact(topic, &events[300..600], End::Commit);
    wait("it goes on", || caught_up(broker, &settings));
    assert_eq!(metrics.worker_restarts.get(), 0);
    fleet.stop();
    // ... and while nobody is there.
    broker.empty(topic);
    let (fleet, metrics) = start(&settings, RULES, 1);
    wait("it is ready again", || readiness(&fleet.views(), 0).is_ok());
    let missing = |p: i32| metrics.history_missing.with_label_values(&["events", &p.to_string()]);
    assert_eq!((0..4).map(|p| missing(p).get()).sum::<i64>(), 4);
    broker.transact(topic, &events[600..], End::Commit);
    wait("the rest is committed", || caught_up(broker, &settings));
    fleet.stop();
    assert_eq!(metrics.worker_restarts.get(), 0);
    let consumed =
        (0..4).map(|p: i32| metrics.records_consumed.with_label_values(&[&p.to_string()]).get());
    assert_eq!(consumed.sum::<u64>(), 300);
    // Match rules remember nothing, so that they need no history.
    let (decisions, _) = backtest(MATCH_RULES, &events);
    let written = broker.read_all(&settings.topics.decisions);
    let reviews: Vec<Record> =
        written.into_iter().filter(|record| record.value.contains("\"big\"")).collect();
    assert_eq!(ids(&reviews), decisions);
}
