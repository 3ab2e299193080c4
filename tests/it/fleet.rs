//! Several instances under a steady load (`TIDEGATE_KAFKA=1`): they come, go, are killed and
//! fall asleep, and every effect is written once.
//!
//! `TIDEGATE_KILLS` and `TIDEGATE_PAUSES` set how often.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::broker::{self, Broker, PATIENCE, tell, wait};
use crate::load::Load;
use crate::process::Instance;
use crate::run::{RULES, Setup, assert_once, event, wait_for_all};

/// Events a second.
const RATE: u64 = 5_000;
const USERS: u64 = 20_000;

/// Events whose fate is committed.
fn committed(broker: &Broker, setup: &Setup) -> u64 {
    let done = broker.committed(setup.group(), &setup.topic("events"));
    done.values().sum::<i64>().try_into().unwrap()
}

/// How long it took until what had been sent before was committed.
struct CatchUp {
    took: Duration,
    /// The longest time that a partition, which always has more to come, went without a commit.
    still: Duration,
}

impl std::fmt::Display for CatchUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, longest without a commit {:?}", self.took, self.still)
    }
}

/// Waits until what had been sent before is committed. A machine that is too slow for the load
/// takes its time; one whose partitions stand still does not get there.
fn catch_up(broker: &Broker, setup: &Setup, load: &Load) -> CatchUp {
    let (asked, sent) = (Instant::now(), load.sent());
    let (mut moved, mut still): (BTreeMap<i32, (Instant, i64)>, _) = Default::default();
    let onlooker = broker.onlooker(setup.group());
    loop {
        let done = broker::offsets(&onlooker, &setup.topic("events"));
        for (partition, (offset, _)) in &done {
            let (at, last) = moved.entry(*partition).or_insert((asked, *offset));
            still = at.elapsed().max(still);
            if last != offset {
                (*at, *last) = (Instant::now(), *offset);
            }
        }
        let sum: i64 = done.values().map(|(offset, _)| *offset).sum();
        if sum >= i64::try_from(sent).unwrap() {
            return CatchUp { took: asked.elapsed(), still };
        }
        assert!(still < PATIENCE, "{done:?} of {sent} are committed, and one stands still");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The counter of the whole system has come to the number of events: one more event tells, once
/// the bound of its rule is edited.
fn total(broker: &Broker, setup: &Setup, instance: &Instance, events: &mut Vec<(String, String)>) {
    let n = events.len() as u64;
    // Levels that have fired stay; two more are beyond them.
    let list = |bounds: &[u64]| {
        let levels: Vec<String> = bounds.iter().map(|b| format!("{{ above: {b} }}")).collect();
        levels.join(", ")
    };
    let bounds = [99, 999, 9_999, 99_999, 999_999];
    let passed = bounds.iter().copied().filter(|bound| *bound < n);
    let edited: Vec<u64> = passed.chain([n, n + 1]).collect();
    let rules = RULES.replace(&list(&bounds), &list(&edited));
    assert_ne!(rules, RULES);
    setup.write("rules/rules.yaml", &rules);
    instance.line("are in force");
    events.push(event(n, "u-1", 0));
    broker.produce(&setup.topic("events"), &events[events.len() - 1..]);
    let mut told = Vec::new();
    wait("the total is told", || {
        let decisions = broker.read_all(&setup.topic("decisions"));
        told = decisions
            .iter()
            .map(|record| serde_json::from_str::<Value>(&record.value).unwrap())
            .filter(|one| one["rule"] == "total" && one["bound"].as_u64().unwrap() >= n)
            .collect();
        !told.is_empty()
    });
    let [told] = told.as_slice() else { unreachable!("{told:#?}") };
    assert_eq!(told["value"].as_u64(), Some(events.len() as u64), "each event counts once");
}

/// All is committed, counted once and written once, and everybody ends well.
fn assert_all(
    broker: &Broker,
    setup: &Setup,
    instances: Vec<Instance>,
    mut events: Vec<(String, String)>,
) {
    wait_for_all(broker, setup);
    total(broker, setup, &instances[0], &mut events);
    wait_for_all(broker, setup);
    for instance in instances {
        assert!(instance.stop().0.success());
    }
    assert_once(broker, setup, &events);
    assert!(broker.read_all(&setup.topic("quarantine")).is_empty());
}

/// Configuration for instances that find each other's snapshots.
fn setup(broker: &Broker, name: &str, session_ms: u32) -> Setup {
    let setup = Setup::new(broker.address(), name, "engine: { workers: 1 }");
    let config = std::fs::read_to_string(setup.path().join("tidegate.yaml")).unwrap();
    let properties = format!("kafka: {{ properties: {{ session.timeout.ms: {session_ms} }},");
    let state =
        format!("state: {{ snapshots: 'file:{}/shared', interval: 2s }}\n", setup.path().display());
    setup.write("tidegate.yaml", &(config.replace("kafka: {", &properties) + &state));
    setup
}

/// Every partition of both input topics has one owner, and nobody more than a fair share.
fn shared(instances: &[Instance]) -> bool {
    let owned: Vec<usize> = instances.iter().map(Instance::partitions).collect();
    let fair = 2 * 4_usize.div_ceil(instances.len());
    instances.iter().all(Instance::is_ready)
        && owned.iter().sum::<usize>() == 8
        && owned.iter().all(|owned| *owned <= fair)
}

#[test]
fn instances_come_and_go_under_load_and_nobody_waits_for_a_session() {
    let Some(broker) = broker::shared() else { return };
    // Longer than the test waits for anything: who stops must say so.
    let setup = setup(broker, "fleet", 300_000);
    let hosts: Vec<Setup> =
        ["host-a", "host-b", "host-c", "host-d"].map(|name| setup.host(name)).into();
    let mut instances = vec![Instance::start(hosts[0].path())];
    wait("the first is ready", || instances[0].is_ready());
    let (began, load) = (Instant::now(), Load::start(broker, &setup.topic("events"), RATE, USERS));
    for count in [2, 4] {
        let asked = Instant::now();
        for host in &hosts[instances.len()..count] {
            instances.push(Instance::start(host.path()));
        }
        wait("the partitions are shared", || shared(&instances));
        let took = asked.elapsed();
        let caught_up = catch_up(broker, &setup, &load);
        tell(&format!("{count} instances after {took:?}, caught up after another {caught_up}"));
    }
    while instances.len() > 1 {
        let asked = Instant::now();
        assert!(instances.pop().unwrap().leave().0.success());
        let gone = asked.elapsed();
        wait("the partitions are shared", || shared(&instances));
        let took = asked.elapsed();
        let caught_up = catch_up(broker, &setup, &load);
        tell(&format!(
            "one has left in {gone:?}, taken over after {took:?}, caught up after another \
            {caught_up}"
        ));
    }
    let (events, took) = (load.stop(), began.elapsed());
    tell(&format!("{} events in {took:?}", events.len()));
    assert_all(broker, &hosts[0], instances, events);
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn killed_and_paused_under_load_every_effect_is_written_once() {
    let Some(broker) = broker::shared() else { return };
    let setup = setup(broker, "chaos", 6_000);
    let hosts = [setup.host("host-a"), setup.host("host-b")];
    let mut instances: Vec<Instance> =
        hosts.iter().map(|host| Instance::start(host.path())).collect();
    wait("both share the partitions", || shared(&instances));
    let (kills, pauses) = (number("TIDEGATE_KILLS", 6), number("TIDEGATE_PAUSES", 1));
    let (began, load) = (Instant::now(), Load::start(broker, &setup.topic("events"), RATE, USERS));
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut faults: Vec<bool> = (0..kills + pauses).map(|n| n < pauses).collect();
    rand::seq::SliceRandom::shuffle(faults.as_mut_slice(), &mut rng);
    let mut slowest = Duration::ZERO;
    for is_pause in faults {
        let victim = usize::from(rng.random_bool(0.5));
        let more = rng.random_range(0..RATE);
        let at = committed(broker, &setup) + more;
        wait("it has come so far", || committed(broker, &setup) >= at);
        let began = Instant::now();
        if is_pause {
            instances[victim].signal("STOP");
            wait("the other has taken over", || instances[1 - victim].partitions() == 8);
            catch_up(broker, &setup, &load);
            instances[victim].signal("CONT");
            wait("both share the partitions", || shared(&instances));
        } else {
            instances.remove(victim).kill();
            // At times it stays away for longer than its session.
            if rng.random_range(0..6) == 0 {
                wait("the other has taken over", || instances[0].partitions() == 8);
            }
            instances.insert(victim, Instance::start(hosts[victim].path()));
        }
        catch_up(broker, &setup, &load);
        slowest = slowest.max(began.elapsed());
    }
    tell(&format!("{kills} kills and {pauses} pauses, caught up after {slowest:?} at the most"));
    wait("both share the partitions", || shared(&instances));
    let (events, took) = (load.stop(), began.elapsed());
    tell(&format!("{} events in {took:?}", events.len()));
    assert_all(broker, &hosts[0], instances, events);
}
