//! The real worker over a broker in memory, from one seed: crashes at any call, aborts, fenced
//! and paused workers, rebalances, slow commits, duplicates, disorder, broken records, changes by
//! people, canaries, rule sets that keep the counters or do not, and a control topic that is compacted and
//! away at times, clocks that are set. Checkers that know only the logs compare what was written with what had to be.
//!
//! More seeds: `TIDEGATE_SIM_SEEDS=2000`, from `TIDEGATE_SIM_FIRST=5000` on. One seed again:
//! `TIDEGATE_SIM_SEED=17`.

mod at_once;
mod broker;
mod check;
mod daily;
mod direct;
mod flight;
mod reach;
mod shell;
mod store;
mod warming;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use prometheus::Registry;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tidegate::engine::{Act, Change, Lists, NamedText, Plan, PublishedRules, Seat, Settings};
use tidegate::event::{Canary, Decoder, EventTime};
use tidegate::metrics::Metrics;
use tidegate::rule::{Source as Text, load, parse_list};
use tidegate::snapshot::{Keeper, Shelf};
use tidegate::stream::{
    Delivery, Failure, Place, PlanCell, Recent, Side, SnapshotSettings, Source, Start, Worker,
    WorkerSettings, WorkerView,
};

use broker::{Broker, Entry, Faults, SimClock, SimLog};
use store::SimStore;

const START_MS: i64 = 1_763_780_000_000;
const MAX_BYTES: usize = 6_000;
const PARTITIONS: i32 = 3;
/// A member that is not heard of keeps its partitions for so long.
const SESSION_US: i64 = 5_000_000;
/// Levels of the rule `total` stand so far apart; there are 31.
const STEP: u64 = 40;

const RULES: &str = "
version: 1
timezone: Asia/Shanghai
lists:
  bad: { file: bad.csv, field: user }
rules:
  - { name: cap, on: issue, per: user, measure: sum(points), window: day, levels: [
      { above: 300, then: [alert] },
      { above: 900, severity: critical, then: [{ freeze: { scope: issue, for: window } }] } ] }
  - { name: burst, on: issue, per: user, measure: count, window: 2s, above: 3,
      then: [{ freeze: { scope: account, for: 4s } }] }
  - { name: free, on: expire, per: user, then: [unfreeze] }
  - { name: listed, on: redeem, where: { user: { in: bad } }, then: [{ freeze: { scope: redeem } }] }
  - { name: big, on: redeem, where: { points: { gt: 150 } }, then: [review] }
  - { name: ring, on: issue, per: device, measure: distinct(user), window: 3s, above: 3,
      then: [{ freeze: { for: 5s } }, alert] }
  - { name: campaign, on: issue, per: source, measure: sum(points), window: day, levels: [
      { above: 2000, forecast: 1h },
      { above: 2000, then: [{ freeze: { scope: issue, for: window } }] } ] }
  - { name: odd, on: issue, per: global, measure: count, window: 1s,
      zscore: { above: 3 }, baseline: { history: 10, min_windows: 4 }, close_after: 1s }
  - { name: slot, on: issue, per: source, measure: count, window: 1s, zscore: { above: 2 },
      baseline: { method: seasonal, season: 4s, history: 5, min_windows: 3 }, close_after: 1s }
  - { name: total, on: [issue, redeem, expire], per: global, measure: count, window: year, levels: [LEVELS] }
";

/// Rules that come and go whose keys cross partitions.
const FRESH: &str = "
  - { name: fresh, on: issue, per: source, measure: sum(points), window: year, above: 1000000 }
  - { name: crowd, on: issue, per: device, measure: distinct(user), window: 2s, above: 2,
      then: [{ freeze: { for: 5s } }] }
  - { name: still, on: redeem, per: source, measure: count, window: 2s, below: 1 }
  - { name: spike, on: redeem, per: global, measure: count, window: 1s, close_after: 1s,
      zscore: { above: 2, below: -3 }, baseline: { history: 8, min_windows: 4 } }
";

fn rules() -> String {
    let levels: Vec<String> = (1..32).map(|n| format!("{{ above: {} }}", n * STEP)).collect();
    RULES.replace("LEVELS", &levels.join(", "))
}

fn plan() -> Plan {
    plan_of(&rules())
}

fn plan_of(rules: &str) -> Plan {
    let source = Text { path: "sim.yaml".to_owned(), text: rules.to_owned() };
    let set = load(&[source]).unwrap();
    Plan::new(Arc::new(set), Lists::new(1), settings())
}

fn settings() -> Settings {
    Settings {
        allowed_lateness_ms: 5_000,
        dedup_ms: Some(6_000),
        max_ahead_ms: Some(20_000),
        idle_after_ms: 2_000,
        max_keys: Some(20),
    }
}

/// Rule sets that are published, with the values of the list: the counters are kept from some to
/// some.
fn edited(number: u32) -> (String, &'static str) {
    let burst = "  - { name: burst,";
    let extra = "  - { name: extra, on: redeem, per: user, measure: count, window: 3s, above: 2,
      then: [{ freeze: { scope: activity, for: 6s } }] }\n  - { name: total,";
    match number {
        0 => (rules(), ""),
        1 => (rules().replace("above: 300", "above: 200"), ""),
        2 => (rules(), "u2\nu5\n"),
        3 => (rules().replace("for: 4s", "for: 6s").replace("above: 900", "above: 700"), "u2\n"),
        4 => (rules().replace("  - { name: total,", extra) + FRESH, ""),
        5 => (rules().replace(burst, "  - { mode: shadow, name: burst,") + FRESH, ""),
        6 => (rules().replace(burst, "  - { mode: off, name: burst,"), "u1\n"),
        7 => (rules().replace("window: 2s, above: 3", "window: 1s, above: 2"), "u2\nu5\n"),
        // The rule `ring` counts otherwise.
        _ => (rules().replace("window: 3s, above: 3", "window: 4s, above: 3") + FRESH, "u2\n"),
    }
}

/// Rule sets that there are.
const SETS: u32 = 9;

/// The last of them, with a rule that now tells what it has counted.
fn telling() -> (String, &'static str) {
    let (text, list) = edited(SETS - 1);
    (text.replace("above: 1000000", "above: 0"), list)
}

/// A header that every record has.
fn trace() -> (String, Option<Vec<u8>>) {
    ("trace".to_owned(), Some(b"t".to_vec()))
}

/// The change that publishes one of them.
fn publication(number: u32, id: &str, now_ms: i64) -> Change {
    let (text, values) = edited(number);
    publication_of(&text, values, id, now_ms)
}

fn publication_of(text: &str, values: &str, id: &str, now_ms: i64) -> Change {
    let set = load(&[Text { path: "sim.yaml".to_owned(), text: text.to_owned() }]).unwrap();
    let list = format!("value\n{values}");
    let entries = parse_list(&list, "bad.csv", &set.timezone).unwrap();
    let named = |name: &str, text: &str| NamedText { name: name.to_owned(), text: text.to_owned() };
    let published = PublishedRules {
        files: vec![named("sim.yaml", text)],
        lists: vec![named(&set.lists[0].name, &list)],
        ..PublishedRules::named(&set, &[entries])
    };
    let who = json!({ "v": 1, "id": id, "ts": now_ms, "actor": "ann", "reason": "a test",
        "change": "list_remove", "list": "x", "value": "x" });
    let mut change = Change::decode(who.to_string().as_bytes()).unwrap();
    change.act = Act::Rules(published);
    change
}

/// Where Kafka's own partitioner puts the events of a user: the engine must think the same.
fn partition_of(user: &str) -> i32 {
    let text = json!({ "v": 1, "id": "x", "ts": 0, "actor": "x", "reason": "x",
        "change": "unfreeze", "target": { "user": user } });
    let change = Change::decode(text.to_string().as_bytes()).unwrap();
    match change.seat(u32::try_from(PARTITIONS).unwrap()) {
        Seat::Events(partition) => i32::try_from(partition).unwrap(),
        Seat::Partials(_) => unreachable!("a user sits with the events"),
    }
}

/// One simulated world.
struct World {
    rng: Rc<RefCell<ChaCha8Rng>>,
    clock: SimClock,
    broker: Rc<RefCell<Broker>>,
    faults: Faults,
    plans: Arc<PlanCell>,
    metrics: Metrics,
    workers: BTreeMap<String, Worker<SimLog, SimClock>>,
    views: BTreeMap<String, Arc<Mutex<WorkerView>>>,
    begin: Start,
    delivery: Delivery,
    /// Where snapshots are kept, when they are.
    store: Option<Arc<SimStore>>,
    slots: usize,
    made: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut odds = |most: u32| rng.random_range(0..=most);
        let faults = Faults { crash: odds(12), abort: odds(100), ask: odds(200), slow: odds(60) };
        let slots = rng.random_range(1..=3);
        World::of(rng, faults, slots)
    }

    fn of(rng: ChaCha8Rng, faults: Faults, slots: usize) -> World {
        World {
            rng: Rc::new(RefCell::new(rng)),
            clock: SimClock(Rc::new(Cell::new(START_MS * 1000)), Rc::default()),
            broker: Rc::new(RefCell::new(Broker::new(PARTITIONS))),
            faults,
            plans: Arc::new(PlanCell::new(plan())),
            metrics: Metrics::new(&Registry::new()).unwrap(),
            workers: BTreeMap::new(),
            views: BTreeMap::new(),
            begin: Start::Oldest,
            delivery: Delivery::ExactlyOnce,
            store: None,
            slots,
            made: 0,
        }
    }

    fn random(&self, below: u32) -> u32 {
        self.rng.borrow_mut().random_range(0..below)
    }

    fn start(&mut self, slot: &str) {
        let log = SimLog::open(&self.broker, &self.clock, &self.rng, self.faults, slot);
        let settings = WorkerSettings {
            slot: slot.to_owned(),
            events_topic: "events".into(),
            partials_topic: "partials".into(),
            control_topic: "control".into(),
            partitions: u32::try_from(PARTITIONS).unwrap(),
            flush_interval_ms: 20,
            max_bytes: MAX_BYTES,
            start: self.begin,
            delivery: self.delivery,
        };
        let view = Arc::new(Mutex::new(WorkerView::default()));
        self.views.insert(slot.to_owned(), view.clone());
        let outside = (self.metrics.clone(), view, Arc::new(Recent::default()));
        let (clock, plans) = (self.clock.clone(), self.plans.clone());
        let mut worker = Worker::new(log, clock, settings, Decoder::default(), plans, outside);
        if let Some(store) = &self.store {
            let keeper = Keeper::inline(Shelf::new(store.clone(), "sim", 2));
            let settings = SnapshotSettings { interval_ms: 700, accept_gap: false };
            worker = worker.with_snapshots(keeper, settings);
        }
        self.workers.insert(slot.to_owned(), worker);
    }

    /// Some records for the events topic: mostly in order, now and then late, again, or broken.
    fn produce(&mut self) {
        let now_ms = self.clock.0.get() / 1000;
        for _ in 0..self.random(6) {
            self.made += 1;
            if self.made.is_multiple_of(15) {
                self.sing(now_ms);
            }
            let user = format!("u{}", self.random(7));
            let back = [0, 0, 0, 300, 2_000, 7_000][self.random(6) as usize];
            let kind = ["issue", "issue", "issue", "redeem", "expire"][self.random(5) as usize];
            let mut value = json!({
                "id": format!("e{}", self.made), "ts": now_ms - back, "user": user, "kind": kind,
                "points": self.random(200), "source": format!("s{}", self.random(2)),
                "device": format!("d{}", self.random(3)),
            })
            .to_string()
            .into_bytes();
            match self.random(40) {
                0 => value.truncate(20),
                1 => value = value.repeat(60),
                2 => value = br#"{"id":"x","ts":5,"user":"u","kind":"issue","points":1}"#.to_vec(),
                _ => {}
            }
            let partition = partition_of(&user);
            let place = Place { source: Source::Events, partition };
            let headers = vec![trace()];
            let key = Some(user.into_bytes());
            let entry = Entry { timestamp_ms: now_ms, key, value: Some(value), headers };
            let again = self.random(12) == 0;
            let mut broker = self.broker.borrow_mut();
            if again {
                broker.append(place, entry.clone());
            }
            broker.append(place, entry);
        }
    }

    /// A canary, among the events or among the partial aggregates; some say what is none.
    fn sing(&self, now_ms: i64) {
        let number = self.made / 15;
        let mut value = Canary::new(format!("c{number}"), "host-a", EventTime(now_ms)).encode();
        if number.is_multiple_of(7) {
            value.truncate(30);
        }
        let source = if number.is_multiple_of(2) { Source::Partials } else { Source::Events };
        let source = if number.is_multiple_of(7) { Source::Events } else { source };
        let partition = i32::try_from(number / 2).unwrap() % PARTITIONS;
        let headers = vec![("trace".to_owned(), Some(b"t".to_vec()))];
        let entry = Entry { timestamp_ms: now_ms, key: None, value: Some(value), headers };
        self.broker.borrow_mut().append(Place { source, partition }, entry);
    }

    /// A change by people, or something that is none.
    fn intervene(&mut self) {
        self.made += 1;
        let now_ms = self.clock.0.get() / 1000;
        let user = format!("u{}", self.random(7));
        let target = match self.random(6) {
            0 => json!({ "device": format!("d{}", self.random(3)) }),
            1 => json!({ "source": format!("s{}", self.random(2)) }),
            2 => json!({ "global": true }),
            _ => json!({ "user": user }),
        };
        let until = [None, Some(now_ms + 3_000), Some(now_ms - 20_000)][self.random(3) as usize];
        let scope = ["account", "issue", "redeem"][self.random(3) as usize];
        let act = match self.random(8) {
            0 | 1 => {
                json!({ "change": "freeze", "target": target, "scope": scope, "until": until })
            }
            2 => json!({ "change": "unfreeze", "target": target }),
            3 => json!({ "change": "unfreeze", "target": target, "rule": "cap" }),
            4 => json!({ "change": "unfreeze", "rule": "listed" }),
            5 | 6 => json!({ "change": "list_add", "list": "bad", "value": user, "until": until }),
            _ => json!({ "change": "list_remove", "list": "bad", "value": user }),
        };
        let mut change = json!({ "v": 1, "id": format!("c{}", self.made), "ts": now_ms,
            "actor": "ann", "reason": "a test" });
        change.as_object_mut().unwrap().extend(act.as_object().unwrap().clone());
        let change = Change::decode(change.to_string().as_bytes()).unwrap();
        let (key, mut value) = (change.key(), change.encode());
        if self.random(10) == 0 {
            value.truncate(20);
        }
        self.broker.borrow_mut().control.push((key, value));
    }

    /// Another rule set; now and then one with faults.
    fn publish(&mut self) {
        self.made += 1;
        let now_ms = self.clock.0.get() / 1000;
        let mut change = publication(self.random(SETS), &format!("c{}", self.made), now_ms);
        if let (Act::Rules(rules), 0) = (&mut change.act, self.random(8)) {
            rules.set.push_str("-faulty");
            rules.files[0].text.push_str("  - { nam: x }\n");
        }
        self.broker.borrow_mut().control.push((change.key(), change.encode()));
    }

    /// The same, with outputs that leave before the transaction.
    fn at_least_once(self) -> World {
        self.broker.borrow_mut().may_send = true;
        World { delivery: Delivery::AtLeastOnce, ..self }
    }

    /// A session ends: some seconds after the last sign of life.
    fn throw_out(&self, slot: &str) {
        if self.delivery == Delivery::AtLeastOnce {
            self.clock.0.set(self.clock.0.get() + SESSION_US);
        }
        self.broker.borrow_mut().throw_out(slot);
    }

    fn turn(&mut self, slot: &str) {
        let Some(worker) = self.workers.get_mut(slot) else { return };
        match worker.turn() {
            Ok(()) => {}
            // Everything in memory is gone.
            Err(Failure::Fatal(_)) => drop(self.workers.remove(slot)),
            Err(other) => unreachable!("{other}"),
        }
    }

    fn run(&mut self, rounds: u32) {
        for round in 0..rounds {
            if round % 3 == 0 {
                self.produce();
            }
            let slot = format!("w-{}", self.random(u32::try_from(self.slots).unwrap()));
            if !self.workers.contains_key(&slot) {
                match self.random(4) {
                    0 => self.start(&slot),
                    1 => self.throw_out(&slot),
                    _ => {}
                }
            }
            self.turn(&slot);
            match self.random(400) {
                0 => self.broker.borrow_mut().rebalance(),
                3..=14 => self.intervene(),
                22 | 23 => self.publish(),
                15 | 16 => self.broker.borrow_mut().compact(),
                17 => {
                    self.broker.borrow_mut().away.insert(Side::Control);
                }
                18..=21 => self.broker.borrow_mut().away.clear(),
                // A pause beyond the session: it goes on as a zombie.
                1 => self.throw_out(&slot),
                2 => {
                    let pause = i64::from(self.random(4_000)) * 1000;
                    self.clock.0.set(self.clock.0.get() + pause);
                }
                // The machines' clock is set, back or forward, by hours.
                24 => {
                    let off = i64::from(self.random(100_000)) - 50_000;
                    self.clock.1.set(off * 1_000_000);
                }
                _ => {}
            }
        }
    }

    /// No more faults and no more input: everything must come to rest.
    fn settle(&mut self) {
        self.faults = Faults { crash: 0, abort: 0, ask: 0, slow: 0 };
        self.broker.borrow_mut().away.clear();
        if let Some(store) = &self.store {
            store.mend();
        }
        self.workers.clear();
        for n in 0..self.slots {
            self.start(&format!("w-{n}"));
        }
        self.come_to_rest(1_000);
    }

    /// Goes on for so many rounds, and until all is committed and in force.
    fn come_to_rest(&mut self, rounds: u32) {
        for round in 0..6_000 {
            for n in 0..self.slots {
                self.turn(&format!("w-{n}"));
            }
            let broker = self.broker.borrow();
            let is_warm = self.workers.values().all(|worker| worker.warming() == 0);
            if round > rounds
                && is_warm
                && broker.is_drained()
                && check::are_changes_applied(&broker)
            {
                return;
            }
        }
        unreachable!("the workers do not come to rest: {:?}", self.broker.borrow().committed);
    }
}

/// What the states of a world are: by partition the offset, and what a snapshot would tell.
type States = BTreeMap<Place, (i64, Vec<Vec<u8>>)>;

impl World {
    /// A rule that is new at last has counted all that the logs hold, whatever went before.
    fn ask_what_is_new(&mut self, seed: u64) {
        let sets = [edited(SETS - 1), telling()];
        for (n, (text, list)) in sets.into_iter().enumerate() {
            let now_ms = self.clock.0.get() / 1000;
            let change = publication_of(&text, list, &format!("last-{n}"), now_ms);
            self.broker.borrow_mut().control.push((change.key(), change.encode()));
            self.come_to_rest(20);
        }
        self.clock.0.set(self.clock.0.get() + 1_000_000);
        let now_ms = self.clock.0.get() / 1000;
        for source in ["s0", "s1"] {
            let value = json!({ "id": format!("last-{source}"), "ts": now_ms, "user": "u1",
                "kind": "issue", "points": 7, "source": source });
            let place = Place { source: Source::Events, partition: partition_of("u1") };
            let value = Some(value.to_string().into_bytes());
            let key = Some(b"u1".to_vec());
            let entry = Entry { timestamp_ms: now_ms, key, value, headers: vec![trace()] };
            self.broker.borrow_mut().append(place, entry);
        }
        self.come_to_rest(20);
        check::has_counted_all(seed, "fresh", &self.broker.borrow(), &plan(), MAX_BYTES);
    }

    /// The states of all workers, once all is committed.
    fn states(&mut self) -> States {
        for _ in 0..6_000 {
            for n in 0..self.slots {
                self.turn(&format!("w-{n}"));
            }
            let states: States = self.workers.values().flat_map(Worker::canonical).collect();
            let broker = self.broker.borrow();
            let is_whole = |(place, log): (&Place, &Vec<_>)| {
                let end = i64::try_from(log.len()).unwrap();
                states.get(place).is_some_and(|(next, _)| *next == end)
            };
            if broker.inputs.iter().all(is_whole) {
                return states;
            }
        }
        unreachable!("the workers do not come to rest")
    }

    /// States that came about through crashes, moves and snapshots are those of the logs alone.
    fn compare(&mut self) {
        let states = self.states();
        self.broker.borrow_mut().is_frozen = true;
        self.workers.clear();
        self.store = None;
        for n in 0..self.slots {
            self.start(&format!("w-{n}"));
        }
        for (place, (next, records)) in self.states() {
            let (at, told) = &states[&place];
            assert_eq!(*at, next, "{place:?}");
            let only = |a: &[Vec<u8>], b: &[Vec<u8>]| -> Vec<String> {
                let records = a.iter().filter(|record| !b.contains(record));
                records.map(|record| String::from_utf8_lossy(record).into_owned()).collect()
            };
            let (a, b) = (only(told, &records), only(&records, told));
            assert!(*told == records, "{place:?} at {next}: {a:#?} against {b:#?}");
        }
        self.broker.borrow_mut().is_frozen = false;
    }
}

/// What a world has been through.
#[derive(Default)]
struct Happened {
    crashes: u64,
    rebalances: u64,
    changes: usize,
    /// States that began anew under another rule set.
    begun: usize,
    canaries: u64,
    /// States that began with a snapshot.
    restored: u64,
    /// Partitions that came with something to tell the owners of keys that was left for later.
    left: u64,
    /// Outputs that left before the transaction, and of all those that came once more.
    sent: u64,
    repeats: u64,
}

fn simulate(seed: u64, delivery: Delivery) -> Happened {
    let mut world = World::new(seed);
    if delivery == Delivery::AtLeastOnce {
        world = world.at_least_once();
    }
    // Every third world does without snapshots; every other store of the rest can be trusted.
    if !seed.is_multiple_of(3) {
        let fault = if seed.is_multiple_of(2) { 0 } else { 30 };
        world.store = Some(Arc::new(SimStore::new(seed, fault)));
    }
    world.broker.borrow_mut().late_news = 900;
    // As an instance does before its workers start.
    let first = publication(world.random(SETS), "first", START_MS);
    world.broker.borrow_mut().control.push((first.key(), first.encode()));
    world.run(1_500);
    world.settle();
    if seed.is_multiple_of(2) {
        world.ask_what_is_new(seed);
    }
    world.compare();
    let repeats = match delivery {
        Delivery::ExactlyOnce => 0,
        Delivery::AtLeastOnce => check::drop_repeats(seed, &mut world.broker.borrow_mut()),
    };
    let broker = world.broker.borrow();
    let begun = check::everything(seed, &broker, &plan(), &world.metrics, MAX_BYTES);
    Happened {
        crashes: broker.crashes,
        rebalances: broker.rebalances,
        changes: broker.control.len(),
        begun,
        canaries: check::canaries(&broker),
        restored: world.metrics.snapshots.with_label_values(&["restored"]).get(),
        left: broker.left_to_tell,
        sent: broker.sent_at_once,
        repeats,
    }
}

impl Happened {
    fn add(&mut self, other: &Happened) {
        self.crashes += other.crashes;
        self.rebalances += other.rebalances;
        self.changes += other.changes;
        self.begun += other.begun;
        self.canaries += other.canaries;
        self.restored += other.restored;
        self.left += other.left;
        self.sent += other.sent;
        self.repeats += other.repeats;
    }
}

/// Says the seed of a world that came to a bad end, and lets no other begin.
struct Told<'a> {
    seed: u64,
    next: &'a AtomicU64,
    is_well: bool,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if !self.is_well {
            self.next.store(u64::MAX / 2, Ordering::Relaxed);
            let again = "cargo test --locked sim::every";
            let line = format!("to see it again: TIDEGATE_SIM_SEED={} {again}\n", self.seed);
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
    }
}

/// Many worlds, some at a time.
fn simulate_all(delivery: Delivery, most: u64) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("TIDEGATE_SIM_SEED") {
        simulate(seed, delivery);
        return;
    }
    let first = number("TIDEGATE_SIM_FIRST").unwrap_or(0);
    let seeds = number("TIDEGATE_SIM_SEEDS").unwrap_or(most);
    let next = AtomicU64::new(first);
    let all = Mutex::new(Happened::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                break;
            }
            let mut told = Told { seed, next: &next, is_well: false };
            let one = simulate(seed, delivery);
            told.is_well = true;
            all.lock().unwrap().add(&one);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        // The first panic is the test's own.
        for thread in threads {
            thread.join().unwrap();
        }
    });
    let all = all.into_inner().unwrap();
    let Happened { crashes, rebalances, changes, begun, canaries, restored, left, sent, repeats } =
        all;
    crate::broker::tell(&format!(
        "{seeds} seeds, {crashes} crashes, {rebalances} rebalances, {changes} changes, {begun} \
         states anew, {canaries} canaries, {restored} from snapshots, {left} with more to tell, {sent} sent at once, \
         {repeats} repeats"
    ));
    let at_least = usize::try_from(seeds).unwrap();
    assert!(crashes > seeds && rebalances > seeds, "the faults do not happen");
    assert!(changes > 10 * at_least, "nobody changes anything");
    assert!(begun > 5 * at_least, "no rule set counts otherwise");
    assert!(restored > 5 * seeds, "no snapshot is used");
    assert!(canaries > 5 * seeds, "no canary comes through");
    let is_at_once = delivery == Delivery::AtLeastOnce;
    assert!(left > seeds || is_at_once, "all is told at once");
    assert_eq!(sent > 20 * seeds, is_at_once, "{sent} left before the transaction");
    assert_eq!(repeats > seeds, is_at_once, "{repeats} came once more");
}

#[test]
fn every_effect_is_written_exactly_once_whatever_fails() {
    simulate_all(Delivery::ExactlyOnce, 60);
}

/// The repeats aside, which are the same to the last byte, it is what is written exactly once.
#[test]
fn every_effect_that_leaves_at_once_is_written_at_least_once_whatever_fails() {
    simulate_all(Delivery::AtLeastOnce, 40);
}
