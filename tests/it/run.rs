//! `tidegate run` from the outside, against a real Kafka (`TIDEGATE_KAFKA=1`): kills, bad
//! input, brokers that come and go, changed rules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::{self, Broker, Record, unique, wait};
use crate::process::Instance;

pub(crate) const RULES: &str = "
version: 1
timezone: Asia/Shanghai
lists:
  bad: { file: bad.csv, field: user }
rules:
  - { name: cap, on: issue, per: user, measure: sum(points), window: day, levels: [
      { above: 300, then: [alert] },
      { above: 900, severity: critical, then: [{ freeze: { scope: issue, for: window } }] } ] }
  - { name: burst, on: issue, per: user, measure: count, window: 10m, above: 5, cooldown: 1m,
      then: [{ freeze: { for: 5m } }] }
  - { name: listed, where: { user: { in: bad } }, then: [review] }
  - { name: total, on: issue, per: global, measure: count, window: year, levels: [
      { above: 99 }, { above: 999 }, { above: 9999 }, { above: 99999 }, { above: 999999 } ] }
";

/// A folder with configuration, rules and a list, and the names of its topics.
pub(crate) struct Setup {
    folder: TempDir,
    base: String,
}

impl Setup {
    pub(crate) fn new(brokers: &str, name: &str, more: &str) -> Setup {
        let setup = Setup { folder: tempfile::tempdir().unwrap(), base: unique(name) };
        let base = &setup.base;
        let config = format!(
            "kafka: {{ brokers: '{brokers}', group: {base} }}\n\
             topics: {{ events: {base}.events, commands: {base}.commands, \
             decisions: {base}.decisions, quarantine: {base}.quarantine, \
             accounts: {base}.accounts, control: {base}.control, notices_dead: {base}.dead, daily: {base}.daily }}\n\
             {more}\n"
        );
        setup.write("tidegate.yaml", &config);
        setup.write("rules/rules.yaml", RULES);
        setup.write("rules/bad.csv", "value,reason,expires,author\n");
        setup
    }

    /// Another host with the same configuration, instance name aside, and rules of its own.
    pub(crate) fn second_host(&self) -> Setup {
        self.host("host-b")
    }

    /// The same under a name of the caller's choice.
    pub(crate) fn host(&self, name: &str) -> Setup {
        let setup = Setup { folder: tempfile::tempdir().unwrap(), base: self.base.clone() };
        for file in ["tidegate.yaml", "rules/rules.yaml", "rules/bad.csv"] {
            setup.write(file, &std::fs::read_to_string(self.path().join(file)).unwrap());
        }
        let config = std::fs::read_to_string(self.path().join("tidegate.yaml")).unwrap();
        setup.write(
            "tidegate.yaml",
            &config.replace("kafka: {", &format!("kafka: {{ instance: {name},")),
        );
        setup
    }

    /// The same in another place, with the snapshots, on another broker.
    pub(crate) fn moved(&self, from: &Broker, to: &Broker) -> Setup {
        let setup = Setup { folder: tempfile::tempdir().unwrap(), base: self.base.clone() };
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.path().join(".")).arg(setup.path());
        assert!(copy.status().unwrap().success());
        let config = std::fs::read_to_string(setup.path().join("tidegate.yaml")).unwrap();
        setup.write("tidegate.yaml", &config.replace(from.address(), to.address()));
        setup
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        // Renamed into place, as editors do, so that no half of a file is read.
        let place = self.path().join(file);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place.with_extension("new"), text).unwrap();
        std::fs::rename(place.with_extension("new"), place).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn group(&self) -> &str {
        &self.base
    }

    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.base)
    }

    pub(crate) fn caught_up(&self, broker: &Broker) -> bool {
        let done = broker.committed(&self.base, &self.topic("events"));
        // A partition that never had a record has no committed offset.
        let ends = broker.ends(&self.topic("events"));
        ends.iter().all(|(partition, end)| *end == 0 || done.get(partition) == Some(end))
    }
}

/// An event of the pipeline: (key, JSON).
pub(crate) fn event(n: u64, user: &str, points: u64) -> (String, String) {
    let value = json!({ "id": format!("e-{n}"), "ts": 1_763_780_000_000 + n * 20, "user": user,
        "kind": "issue", "points": points, "source": "signin" });
    (user.to_owned(), value.to_string())
}

fn ids(records: &[Record]) -> Vec<String> {
    let id = |record: &Record| {
        let value: Value = serde_json::from_str(&record.value).unwrap();
        value["id"].as_str().unwrap().to_owned()
    };
    let mut ids: Vec<String> = records.iter().map(id).collect();
    ids.sort();
    ids
}

/// The binary's own backtest: JSON lines of decisions and of commands.
fn backtest(setup: &Setup, events: &[(String, String)]) -> (Vec<Value>, Vec<Value>) {
    let lines: Vec<&str> = events.iter().map(|(_, value)| value.as_str()).collect();
    setup.write("events.jsonl", &lines.join("\n"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["backtest", "--rules", "rules", "--input", "events.jsonl"]);
    command.args(["--decisions", "d.jsonl", "--commands", "c.jsonl"]);
    let output = command.current_dir(setup.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |file: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(setup.path().join(file)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    (read("d.jsonl"), read("c.jsonl"))
}

fn of_users(values: &[Value], key: &str) -> Vec<String> {
    let own = values.iter().filter(|value| value[key].get("user").is_some());
    let mut ids: Vec<String> = own.map(|value| value["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

/// Decisions and commands leave before the transaction.
const AT_ONCE: &str = "engine: { workers: 1, delivery: at_least_once }";

#[test]
fn killed_ten_times_every_effect_is_written_once() {
    killed_ten_times("killed", "", assert_once);
}

#[test]
fn killed_ten_times_every_effect_that_leaves_at_once_is_written_at_least_once() {
    killed_ten_times("killed-at-once", AT_ONCE, assert_at_least_once);
}

fn killed_ten_times(name: &str, more: &str, holds: fn(&Broker, &Setup, &[(String, String)])) {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), name, more);
    let count: u64 =
        std::env::var("TIDEGATE_KILL_EVENTS").map_or(40_000, |text| text.parse().unwrap());
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let events: Vec<(String, String)> = (0..count)
        .map(|n| event(n, &format!("u-{}", rng.random_range(0..count / 20)), 31 * n % 200))
        .collect();
    let chunk = events.len().div_ceil(11);
    let mut instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    for (kill, events) in (0..).zip(events.chunks(chunk)) {
        broker.produce(&setup.topic("events"), events);
        if kill < 10 {
            // Somewhere in the middle of what was just written.
            let before: i64 = broker.ends(&setup.topic("events")).values().sum();
            let at = before - i64::try_from(events.len()).unwrap() * rng.random_range(0..10) / 10;
            wait("it has come so far", || {
                let done = broker.committed(&setup.base, &setup.topic("events"));
                done.values().sum::<i64>() >= at
            });
            instance.kill();
            instance = Instance::start(setup.path());
        }
    }
    wait_for_all(broker, &setup);
    // The day is over with the first event of the next.
    let later = json!({ "id": "later", "ts": 1_763_780_000_000_i64 + 86_400_000, "user": "u-later",
        "kind": "issue", "points": 1, "source": "signin" });
    let later = ("u-later".to_owned(), later.to_string());
    broker.produce(&setup.topic("events"), std::slice::from_ref(&later));
    wait("the day has its account", || !broker.read_all(&setup.topic("daily")).is_empty());
    account_of_the_day(broker, &setup, &events, &instance);
    assert!(instance.stop().0.success());
    holds(broker, &setup, &[events, vec![later]].concat());
}

/// One report, of every event once.
fn account_of_the_day(
    broker: &Broker,
    setup: &Setup,
    events: &[(String, String)],
    instance: &Instance,
) {
    let written = broker.read_all(&setup.topic("daily"));
    assert_eq!(written.len(), 1);
    let report: Value = serde_json::from_str(&written[0].value).unwrap();
    let points = |(_, event): &(String, String)| {
        serde_json::from_str::<Value>(event).unwrap()["points"].as_u64().unwrap()
    };
    let sum: u64 = events.iter().map(points).sum();
    let expected = json!({ "events": events.len(), "points": sum });
    assert_eq!(report["total"]["day"]["issued"], expected, "{report:#}");
    assert_eq!(report["conservation"]["faults"], json!([]));
    assert_eq!(report["conservation"]["total"]["consumed"], events.len());
    let path = format!("/api/v1/daily?date={}", report["date"].as_str().unwrap());
    let answer: Value = serde_json::from_str(&instance.get(&path).1).unwrap();
    assert_eq!(answer, report);
}

/// Decisions and commands are those of a backtest, each once.
pub(crate) fn assert_once(broker: &Broker, setup: &Setup, events: &[(String, String)]) {
    assert_all(broker, setup, events, &mut |written| written);
}

/// The same once repeats are dropped, which say the same to the last byte.
fn assert_at_least_once(broker: &Broker, setup: &Setup, events: &[(String, String)]) {
    let mut repeats = 0;
    assert_all(broker, setup, events, &mut |mut written| {
        let mut firsts: BTreeMap<String, Record> = BTreeMap::new();
        written.retain(|record| {
            let value: Value = serde_json::from_str(&record.value).unwrap();
            let id = value["id"].as_str().unwrap().to_owned();
            let Some(first) = firsts.get(&id) else {
                firsts.insert(id, record.clone());
                return true;
            };
            assert_eq!((&first.key, &first.value), (&record.key, &record.value));
            repeats += 1;
            false
        });
        written
    });
    broker::tell(&format!("{repeats} repeats"));
}

/// Decisions and commands, of which `taken` has dropped what does not count, are those of a
/// backtest, each once.
fn assert_all(
    broker: &Broker,
    setup: &Setup,
    events: &[(String, String)],
    taken: &mut dyn FnMut(Vec<Record>) -> Vec<Record>,
) {
    let (decisions, commands) = backtest(setup, events);
    assert!(commands.len() > 100, "the rules fire");
    for outputs in ["commands", "decisions"] {
        broker.decided(&setup.topic(outputs));
    }
    let written = taken(broker.read_all(&setup.topic("commands")));
    let texts: Vec<Value> =
        written.iter().map(|record| serde_json::from_str(&record.value).unwrap()).collect();
    let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
    let differ = |some: &[Value], others: &[Value]| -> Vec<String> {
        let others: BTreeSet<String> = others.iter().map(id).collect();
        let more = some.iter().filter(|one| one["target"].get("user").is_some());
        more.filter(|one| !others.contains(&id(one))).map(Value::to_string).collect()
    };
    let (more, fewer) = (differ(&texts, &commands), differ(&commands, &texts));
    assert!(
        more.is_empty() && fewer.is_empty(),
        "commands: {more:#?} too many, {fewer:#?} missing"
    );
    assert_eq!(ids(&written), of_users(&commands, "target"), "commands");
    let written = taken(broker.read_all(&setup.topic("decisions")));
    let values: Vec<Value> =
        written.iter().map(|record| serde_json::from_str(&record.value).unwrap()).collect();
    assert_eq!(of_users(&values, "key"), of_users(&decisions, "key"), "decisions");
    // The counter over all partitions: each level once, at the value of the batch that tipped it.
    let totals: Vec<&Value> = values.iter().filter(|value| value["rule"] == "total").collect();
    let levels: BTreeSet<u64> =
        totals.iter().map(|total| total["level"].as_u64().unwrap()).collect();
    assert_eq!(levels.len(), totals.len(), "no level of the total fires twice");
    let highest = totals.iter().map(|total| total["value"].as_u64().unwrap()).max().unwrap();
    let count = u64::try_from(events.len()).unwrap();
    assert!(highest <= count && levels.contains(&2), "the total reached {highest} of {count}");
}

/// Waits until the events are committed, and what their partitions told the shared counter.
pub(crate) fn wait_for_all(broker: &Broker, setup: &Setup) {
    wait("all events are committed", || setup.caught_up(broker));
    wait("the shared counter has caught up", || {
        let topic = format!("{}.partials", setup.base);
        // The last records may be markers of transactions.
        let ends = broker.ends(&topic);
        let done = broker.committed(&setup.base, &topic);
        ends.iter().all(|(partition, end)| done.get(partition).is_some_and(|at| at + 2 >= *end))
    });
}

#[test]
fn an_instance_that_sleeps_beyond_its_session_writes_nothing_once_it_wakes() {
    sleeps_beyond_its_session("zombie", "engine: { workers: 1 }", assert_once);
}

#[test]
fn an_instance_that_sleeps_beyond_its_session_says_nothing_new_once_it_wakes() {
    sleeps_beyond_its_session("zombie-at-once", AT_ONCE, assert_at_least_once);
}

fn sleeps_beyond_its_session(
    name: &str,
    more: &str,
    holds: fn(&Broker, &Setup, &[(String, String)]),
) {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), name, more);
    let start = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.env("TIDEGATE_KAFKA__INSTANCE", name);
        Instance::spawn(command, setup.path())
    };
    let (sleeper, other) = (start("host-a"), start("host-b"));
    // Each has its half of the four partitions of both topics.
    let shared = || [&sleeper, &other].iter().all(|one| one.is_ready() && one.partitions() == 4);
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let events: Vec<(String, String)> = (0..30_000)
        .map(|n| event(n, &format!("u-{}", rng.random_range(0..1_500)), 31 * n % 200))
        .collect();
    let mut chunks = events.chunks(6_000);
    let mut produce = || broker.produce(&setup.topic("events"), chunks.next().unwrap());
    for _ in 0..2 {
        wait("both are ready and share the partitions", shared);
        let before: i64 = broker.committed(&setup.base, &setup.topic("events")).values().sum();
        produce();
        // In the middle of its work.
        wait("it has come so far", || {
            let done = broker.committed(&setup.base, &setup.topic("events"));
            done.values().sum::<i64>() > before
        });
        sleeper.signal("STOP");
        produce();
        wait("the other has taken over", || other.partitions() == 8);
        wait_for_all(broker, &setup);
        sleeper.signal("CONT");
    }
    wait("both are ready and share the partitions", shared);
    produce();
    wait_for_all(broker, &setup);
    assert!(sleeper.stop().0.success());
    assert!(other.stop().0.success());
    holds(broker, &setup, &events);
}

#[test]
fn each_kind_of_bad_input_is_quarantined_and_the_stream_goes_on() {
    let Some(broker) = broker::shared() else { return };
    let more = "input: { max_ahead: 5m }\nengine: { allowed_lateness: 1m, dedup: 1m }";
    let setup = Setup::new(broker.address(), "bad", more);
    // A copy that this topic refuses for its size is written without its value.
    broker.create(&setup.topic("quarantine"), 1, &[("max.message.bytes", "40000")]);
    let instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let at = |id: &str, ts: i64| {
        json!({ "id": id, "ts": ts, "user": "u-1", "kind": "issue", "points": 1 }).to_string()
    };
    // Of a kind that does not compress.
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let huge: String = (0..70_000).map(|_| char::from(rng.random_range(b' '..b'~'))).collect();
    let rows = [
        ("u-1", at("a", now_ms), None),
        ("u-1", "{".to_owned(), Some("not_json")),
        ("u-1", at("", now_ms), Some("bad_id")),
        ("u-1", at("b", now_ms).replace("issue", "steal"), Some("bad_kind")),
        ("u-1", at("c", 7), Some("bad_ts")),
        ("u-1", huge, Some("too_large")),
        ("u-1", at("d", now_ms + 3_600_000), Some("too_far_ahead")),
        ("u-1", at("e", now_ms - 120_000), Some("late")),
        ("u-1", at("a", now_ms), None),
        ("other-key", at("f", now_ms), None),
        ("u-1", at("g", now_ms), None),
    ];
    let records: Vec<(&str, &str)> =
        rows.iter().map(|(key, text, _)| (*key, text.as_str())).collect();
    broker.produce(&setup.topic("events"), &records);
    wait("all events are committed", || setup.caught_up(broker));
    let copies = broker.read_all(&setup.topic("quarantine"));
    let expected: BTreeMap<&str, &str> =
        rows.iter().filter_map(|(_, text, reason)| Some(((*reason)?, text.as_str()))).collect();
    assert_eq!(copies.len(), expected.len());
    for copy in &copies {
        let reason = copy.headers["reason"].as_str();
        let whole = if reason == "too_large" { "" } else { expected[reason] };
        assert_eq!(copy.value, whole, "{reason}");
        assert_eq!(copy.key.as_deref(), Some("u-1"));
        assert_eq!(copy.headers["topic"], setup.topic("events"));
        assert!(copy.headers["offset"].parse::<u64>().is_ok());
        assert!(copy.headers["partition"].parse::<u64>().is_ok());
    }
    // "f" may lie in another partition than "a", and counts all the same.
    let outcome = |name: &str| instance.metric("tidegate_events_total", name);
    wait("the counts are exported", || outcome("accepted") >= 3);
    assert_eq!([outcome("duplicate"), outcome("late"), outcome("quarantined")], [1, 1, 6]);
    assert_eq!(instance.metric("tidegate_records_consumed_total", ""), 11);
    assert_eq!(instance.metric("tidegate_key_mismatch_total", ""), 1);
    assert!(instance.stop().0.success());
}

/// What waits for the broker is neither given up nor written twice.
#[test]
fn outputs_that_leave_at_once_outlast_a_broker_that_is_away() {
    let Some(broker) = broker::private(&[]) else { return };
    let setup = Setup::new(broker.address(), "away-at-once", AT_ONCE);
    let instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    let mut rng = ChaCha8Rng::seed_from_u64(23);
    let events: Vec<(String, String)> = (0..12_000)
        .map(|n| event(n, &format!("u-{}", rng.random_range(0..300)), 31 * n % 200))
        .collect();
    let commands = || instance.metric("tidegate_commands_total", "\"freeze\"");
    broker.produce(&setup.topic("events"), &events[..4_000]);
    wait("the first part is committed", || setup.caught_up(&broker) && commands() > 0);
    broker.produce(&setup.topic("events"), &events[4_000..8_000]);
    broker.stop();
    // Longer than a transaction may wait.
    wait("it says that the broker is gone", || !instance.is_ready());
    broker.start();
    broker.produce(&setup.topic("events"), &events[8_000..]);
    wait_for_all(&broker, &setup);
    wait("it is ready again", || instance.is_ready());
    assert!(instance.stop().0.success());
    assert_at_least_once(&broker, &setup, &events);
}

#[test]
fn an_output_too_large_for_its_topic_is_told_and_written_once_that_takes_it() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "large-at-once", AT_ONCE);
    let decisions = setup.topic("decisions");
    broker.create(&decisions, 1, &[]);
    let instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    let events: Vec<(String, String)> =
        (0..400).map(|n| event(n, &format!("u-{}", n % 40), 150)).collect();
    broker.produce(&setup.topic("events"), &events[..200]);
    wait("the first half is committed", || setup.caught_up(broker));
    broker.alter(&decisions, "max.message.bytes", "200");
    broker.produce(&setup.topic("events"), &events[200..]);
    instance.line("raise the topic's max.message.bytes");
    assert_eq!(instance.get("/healthz").0, 200, "the process lives on");
    broker.alter(&decisions, "max.message.bytes", "1000000");
    wait_for_all(broker, &setup);
    assert!(instance.stop().0.success());
    let (expected, _) = backtest(&setup, &events);
    let written: Vec<Value> = broker.read_all(&decisions).iter().map(json_of).collect();
    let mut found = of_users(&written, "key");
    found.dedup();
    assert_eq!(found, of_users(&expected, "key"));
}

fn json_of(record: &Record) -> Value {
    serde_json::from_str(&record.value).unwrap()
}

#[test]
fn a_broker_that_comes_and_goes_is_waited_for() {
    let Some(broker) = broker::private(&[]) else { return };
    broker.stop();
    let setup = Setup::new(broker.address(), "away", "");
    let instance = Instance::start(setup.path());
    assert_eq!(instance.get("/healthz").0, 200);
    let (status, reason) = instance.get("/readyz");
    assert_eq!(status, 503);
    assert!(!reason.is_empty());
    instance.line("no broker answers");
    broker.start();
    wait("it is ready", || instance.is_ready());
    let events: Vec<(String, String)> = (0..40).map(|n| event(n, "u-1", 30)).collect();
    broker.produce(&setup.topic("events"), &events[..20]);
    wait("the first half is committed", || setup.caught_up(&broker));
    broker.stop();
    wait("it says that the broker is gone", || !instance.is_ready());
    assert_eq!(instance.get("/healthz").0, 200, "the process lives on");
    broker.start();
    wait("it is ready again", || instance.is_ready());
    broker.produce(&setup.topic("events"), &events[20..]);
    wait("the second half is committed", || setup.caught_up(&broker));
    assert!(instance.stop().0.success());
    let (decisions, _) = backtest(&setup, &events);
    assert_eq!(ids(&broker.read_all(&setup.topic("decisions"))), of_users(&decisions, "key"));
}

#[test]
fn changed_lists_and_bounds_take_effect_and_faulty_ones_do_not() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "changed", "");
    let instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    let fired = |rule: &str| instance.metric("tidegate_decisions_total", &format!("\"{rule}\""));
    let produce = |n: u64, points: u64| {
        broker.produce(&setup.topic("events"), &[event(n, "u-1", points)]);
        wait("it is committed", || setup.caught_up(broker));
    };
    produce(0, 200);
    assert_eq!([fired("cap"), fired("listed")], [0, 0]);
    let (_, text) = instance.get("/metrics");
    let rarest = r#"tidegate_decisions_total{level="4",mode="live",rule="total"} 0"#;
    assert!(text.contains(rarest), "counted from 0 on");
    setup.write("rules/bad.csv", "value,reason,expires,author\nu-1,bots,,ann\n");
    instance.line("are in force");
    produce(1, 0);
    wait("the list counts", || fired("listed") >= 1);
    // The bound is edited below the sum of the day: its counters are kept, the next event tells.
    setup.write("rules/rules.yaml", &RULES.replace("above: 300", "above: 150"));
    wait("the rules are reloaded", || {
        instance.metric("tidegate_rules_info", "") == 1
            && instance.get("/metrics").1.matches("tidegate_rules_info{").count() == 2
    });
    produce(2, 0);
    wait("the edited bound counts", || fired("cap") >= 1);
    setup.write("rules/rules.yaml", "version: 1\nrules: [{ nam: broken }]\n");
    instance.line("the last good ones stay");
    assert_eq!(instance.metric("tidegate_rules_reload_success", ""), 0);
    let about_rules = |record: &Record| record.value.contains("\"tidegate.rules\"");
    let told = broker.read_until(&setup.topic("decisions"), Duration::from_mins(1), |records| {
        records.iter().any(about_rules)
    });
    assert_eq!(told.iter().filter(|record| about_rules(record)).count(), 1);
    produce(3, 900);
    wait("the last good rules go on", || fired("cap") >= 2);
    assert!(instance.stop().0.success());
}

#[test]
fn partition_counts_that_disagree_are_told_before_the_start() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "uneven", "");
    broker.create(&setup.topic("events"), 3, &[]);
    broker.create(&setup.topic("partials"), 2, &[]);
    let instance = Instance::start(setup.path());
    let line = instance.line("must be equal");
    assert!(line.contains("has 3 partitions") && line.contains("has 2"), "{line}");
    assert_eq!(instance.end().code(), Some(2));
}

#[test]
fn rules_that_look_back_further_than_the_events_are_kept_are_told_at_the_start() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "kept", "");
    let two_days = ("retention.ms", "172800000");
    broker.create(
        &setup.topic("events"),
        1,
        &[("message.timestamp.type", "LogAppendTime"), two_days],
    );
    let instance = Instance::start(setup.path());
    let line = instance.line("short-retention");
    assert!(line.contains("looks back 8785h, and the events are kept 2d: `year`"), "{line}");
    wait("it is ready all the same", || instance.is_ready());
    assert_eq!(instance.log().matches("short-retention").count(), 1, "{}", instance.log());
    assert!(instance.stop().0.success());
}

#[test]
fn a_name_is_taken_once_and_a_stop_never_waits_for_a_broker() {
    // Nobody listens there; no broker is needed.
    let setup = Setup::new("127.0.0.1:9", "twice", "");
    let instance = Instance::start(setup.path());
    let mut second = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    second.args(["run", "--listen", "127.0.0.1:0"]).current_dir(setup.path());
    let second = second.output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another instance named"), "{said}");
    let (status, took) = instance.stop();
    assert!(status.success());
    assert!(took < Duration::from_secs(10), "C7: {took:?}");
}

#[test]
fn of_two_machines_with_one_name_one_ends_and_says_why() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "twins", "");
    let first = Instance::start(setup.path());
    wait("the first is ready", || first.is_ready());
    // Another spelling of the address gets round the lock of this machine, as another machine's.
    let address = broker.address().replace("127.0.0.1", "localhost");
    let config = std::fs::read_to_string(setup.path().join("tidegate.yaml")).unwrap();
    setup.write("tidegate.yaml", &config.replace(broker.address(), &address));
    let second = Instance::start(setup.path());
    // Each fences the other until one gives up.
    wait("one of them ends", || first.has_ended() || second.has_ended());
    let (ended, other) = if first.has_ended() { (first, second) } else { (second, first) };
    ended.line("another instance named");
    assert_eq!(ended.end().code(), Some(2));
    wait("the other goes on", || other.is_ready());
    assert!(other.stop().0.success());
}

#[test]
fn a_property_that_kafka_does_not_know_ends_the_start_without_its_value() {
    // No broker is needed.
    let setup = Setup::new("127.0.0.1:9", "typo", "");
    let config = std::fs::read_to_string(setup.path().join("tidegate.yaml")).unwrap();
    let config = config.replace("kafka: {", "kafka: { properties: { sasl.passwrod: hunter2 },");
    setup.write("tidegate.yaml", &config);
    let mut run = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    run.args(["run", "--listen", "127.0.0.1:0"]).current_dir(setup.path());
    let run = run.output().unwrap();
    assert_eq!(run.status.code(), Some(2));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("sasl.passwrod") && !said.contains("hunter2"), "{said}");
}
