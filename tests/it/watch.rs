//! Watching the watcher: canaries come through a real Kafka (`TIDEGATE_KAFKA=1`) and count nowhere;
//! when they do not, people are told without a broker, and the heartbeat stops.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tidegate::backtest::{Backtest, run};
use tidegate::engine::{Lists, Plan, Settings};
use tidegate::event::{Canary, Decoder, EventTime};
use tidegate::rule::{Source, load};

use crate::broker::{self, Record, wait};
use crate::notify::Endpoint;
use crate::process::Instance;
use crate::receivers::alertmanager::{Alertmanager, port, there_is_one};
use crate::run::{RULES, Setup, event};

fn summary(lines: &[String]) -> (Vec<(String, i64)>, u64, u64) {
    let rules = RULES.replace("  - { name: listed", "  - { mode: off, name: listed");
    let source = Source { path: "rules.yaml".to_owned(), text: rules };
    let set = load(&[source]).unwrap();
    let plan = Plan::new(Arc::new(set), Lists::new(1), Settings::default());
    let mut fold = Backtest::new(plan, Decoder::default(), 65_536, "events");
    let mut decisions = Vec::new();
    run(
        &mut fold,
        lines.join("\n").as_bytes(),
        &mut |effect| {
            if let tidegate::engine::Effect::Decision(decision) = effect {
                let offset = decision.trigger.as_ref().unwrap().offset;
                decisions.push((decision.id.clone(), offset));
            }
            Ok(())
        },
        &mut |_| {},
    )
    .unwrap();
    let summary = fold.summary();
    (decisions, summary.events, summary.quarantined)
}

#[test]
fn a_backtest_passes_over_canaries_as_over_blank_lines() {
    let canary = String::from_utf8(
        Canary::new("host-a-1-1-0", "host-a", EventTime(1_763_780_000_000)).encode(),
    )
    .unwrap();
    let mut blank: Vec<String> = (0..20).map(|n| event(n, "u-1", 200).1).collect();
    blank.insert(3, String::new());
    blank.insert(12, String::new());
    let with: Vec<String> = blank
        .iter()
        .map(|line| if line.is_empty() { canary.clone() } else { line.clone() })
        .collect();
    let expected = summary(&blank);
    assert!(!expected.0.is_empty());
    assert_eq!(expected.1, 20);
    assert_eq!(summary(&with), expected);
    // One that is cut is a bad record like any other.
    let cut = [canary.split_at(40).0.to_owned()];
    assert_eq!(summary(&cut), (Vec::new(), 1, 1));
}

fn values(records: &[Record]) -> Vec<Value> {
    records.iter().map(|record| serde_json::from_str(&record.value).unwrap()).collect()
}

/// The decisions about the instance that a webhook was sent: rule, and the decision that it is about.
fn told(endpoint: &Endpoint) -> Vec<(String, String)> {
    let about = |body: &[u8]| {
        let body: Value = serde_json::from_slice(body).unwrap();
        let id = body["resolved"]["decision"].as_str().or(body["id"].as_str()).unwrap();
        (body["rule"].as_str().unwrap().to_owned(), id.to_owned())
    };
    endpoint.seen().iter().map(|(_, _, body)| about(body)).collect()
}

/// What stands at a real Alertmanager, by name.
fn standing(runtime: &tokio::runtime::Runtime, far: &Alertmanager) -> BTreeSet<String> {
    let alerts = runtime.block_on(far.alerts());
    let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap().to_owned();
    alerts.iter().map(name).collect()
}

#[test]
fn a_canary_that_does_not_come_through_is_told_without_a_broker_and_stops_the_heartbeat() {
    let Some(broker) = broker::private(&[]) else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (hook, hook_at) = runtime.block_on(Endpoint::start(&[]));
    let (pings, pings_at) = runtime.block_on(Endpoint::start(&[]));
    let folder = tempfile::tempdir().unwrap();
    let far = there_is_one().map(|()| runtime.block_on(Alertmanager::start(folder.path(), port())));
    let (am, to) = far.as_ref().map_or((String::new(), ""), |far| {
        (format!(", am: {{ alertmanager: {{ url: '{}' }} }}", far.url), "am")
    });
    let more = format!(
        "watch: {{ canary: events, canary_interval: 1s, canary_lost_after: 4s }}\n\
         notify:\n  receivers: {{ hook: {{ webhook: {{ url: 'http://{hook_at}/x' }} }}{am} }}\n  \
         routes: [{{ match: {{ rule: ['tidegate.*'] }}, to: [hook, {to}] }}]\n  \
         heartbeat: {{ every: 1s, to: [{to}], url: 'http://{pings_at}/ping/secret' }}"
    );
    let setup = Setup::new(broker.address(), "canary", &more.replace(", ]", "]"));
    let instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    let events: Vec<(String, String)> =
        (0..40).map(|n| event(n, &format!("u-{}", n % 4), 200)).collect();
    broker.produce(&setup.topic("events"), &events);
    wait("canaries come through", || {
        instance.metric("tidegate_canaries_total", "\"returned\"") >= 8
    });
    wait("somebody outside hears of it", || !pings.seen().is_empty());
    if let Some(far) = &far {
        wait("the Alertmanager, too", || standing(&runtime, far).contains("TidegateHeartbeat"));
    }
    wait("all is read", || instance.metric("tidegate_events_total", "\"accepted\"") == 40);
    assert!(told(&hook).is_empty(), "{:?}", told(&hook));

    // The pipeline stands still.
    broker.stop();
    wait("people are told", || !told(&hook).is_empty());
    let first = told(&hook).remove(0);
    assert_eq!(first.0, "tidegate.canary_lost");
    assert_eq!(instance.metric("tidegate_watch_alerts", "\"canary\""), 1);
    wait("heartbeats are withheld", || {
        instance.metric("tidegate_heartbeats_total", "\"withheld\"") >= 2
    });
    let silent = pings.seen().len();
    if let Some(far) = &far {
        wait("the heartbeat has ended and the alert is there", || {
            standing(&runtime, far) == BTreeSet::from(["tidegate.canary_lost".to_owned()])
        });
    }
    assert_eq!(pings.seen().len(), silent, "not a beat more");

    broker.start();
    wait("it is over", || told(&hook).iter().any(|(rule, _)| rule == "tidegate.resolved"));
    wait("the heartbeat is back", || pings.seen().len() > silent);
    if let Some(far) = &far {
        wait("at the Alertmanager, too", || {
            standing(&runtime, far) == BTreeSet::from(["TidegateHeartbeat".to_owned()])
        });
    }
    let about: Vec<(String, String)> =
        told(&hook).into_iter().filter(|(_, id)| *id == first.1).collect();
    let resolved = ("tidegate.resolved".to_owned(), first.1.clone());
    assert_eq!(about, [first, resolved], "each once");
    assert!(pings.seen().iter().all(|(path, ..)| path == "/ping/secret"));
    assert!(!instance.log().contains("ping/secret"), "the address is a secret");

    counts_nowhere(&broker, &setup, &instance);
    a_fault_outlives_a_kill((&broker, &setup), instance, &hook);
    if let Some(far) = &far {
        wait("the alert has ended at the Alertmanager", || {
            standing(&runtime, far) == BTreeSet::from(["TidegateHeartbeat".to_owned()])
        });
    }
}

/// What is told before a kill is not told after it; that a restart has mended it is.
fn a_fault_outlives_a_kill(
    (broker, setup): (&broker::Broker, &Setup),
    instance: Instance,
    hook: &Endpoint,
) {
    setup.write("rules/rules.yaml", "version: 1\nrules: [{ nam: broken }]\n");
    let faults = || told(hook).into_iter().filter(|(rule, _)| rule == "tidegate.rules");
    wait("the fault is told", || faults().count() == 1);
    let first = faults().next().unwrap();
    wait("it is written down", || {
        let words = broker.read_all(&setup.topic("standing"));
        words.iter().any(|word| word.value.contains(&first.1) && word.value.contains("\"hook\":"))
    });
    instance.kill();
    setup.write("rules/rules.yaml", RULES);
    let instance = Instance::start(setup.path());
    let resolved = ("tidegate.resolved".to_owned(), first.1.clone());
    wait("its end is told", || told(hook).contains(&resolved));
    let about: Vec<(String, String)> =
        told(hook).into_iter().filter(|(_, id)| *id == first.1).collect();
    assert_eq!(about, [first, resolved], "each once");
    assert!(instance.stop().0.success());
}

/// Canaries are decisions once each, and nothing else.
fn counts_nowhere(broker: &broker::Broker, setup: &Setup, instance: &Instance) {
    assert_eq!(instance.metric("tidegate_events_total", "\"accepted\""), 40);
    assert_eq!(instance.metric("tidegate_events_total", "\"quarantined\""), 0);
    assert_eq!(instance.metric("tidegate_key_mismatch_total", ""), 0);
    assert_eq!(instance.metric("tidegate_decisions_total", "tidegate.canary"), 0);
    let consumed = || instance.metric("tidegate_records_consumed_total", "");
    wait("the balance closes", || consumed() == instance.metric("tidegate_events_total", ""));
    assert!(instance.metric("tidegate_events_total", "\"canary\"") > 0);
    assert!(!instance.get("/api/v1/status").1.contains("tidegate.canary\""));
    assert!(broker.read_all(&setup.topic("quarantine")).is_empty());
    let decisions = broker.read_all(&setup.topic("decisions"));
    let all = values(&decisions);
    let is_canary = |value: &&Value| value["rule"] == "tidegate.canary";
    let canaries: Vec<&Value> = all.iter().filter(is_canary).collect();
    let ids: BTreeSet<&str> =
        canaries.iter().map(|value| value["trigger"]["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), canaries.len(), "each comes through once");
    assert!(canaries.iter().all(|value| value.get("alert").is_none()));
    // Both ways others can tell by the header.
    let marked =
        |record: &&Record| record.headers.get("tidegate").is_some_and(|value| value == "canary");
    assert_eq!(decisions.iter().filter(marked).count(), canaries.len());
    let events = broker.read_all(&setup.topic("events"));
    assert_eq!(events.iter().filter(|record| !marked(record)).count(), 40);
}
