//! Checkers: from the input logs alone, what must have been written.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate::engine::{
    Act, Change, ChangePlace, Effect, Holds, Input, Origin, Outcome, Output, Plan, Seat, State,
    account_key, command_key, step,
};
use tidegate::event::{Canary, Decoder, EventTime, Kind, Reason};
use tidegate::metrics::Metrics;
use tidegate::stream::{Place, Produce, Sink, Source};

use super::broker::{Broker, Entry, SIZE_MAX};

/// What folds over the logs come to, in order.
#[derive(Default)]
struct Expected {
    decisions: Vec<String>,
    commands: Vec<(String, String)>,
    accounts: BTreeMap<String, Vec<Value>>,
    /// Accounts of days.
    reports: Vec<Value>,
    quarantine: Vec<(i32, i64, String, bool)>,
    accepted: u64,
    /// States begun under a rule set.
    begun: usize,
}

/// A record of the journal about one partition: before its record at an offset it took in these
/// changes, or began anew under a rule set, with these holds.
struct Taken {
    offset: i64,
    changes: Vec<(i64, Change)>,
    begun: Option<(String, i64, bool)>,
    holds: Value,
    /// Rules that are judged from here on.
    armed: Vec<String>,
    births: BTreeMap<String, i64>,
    /// The first record that it is folded from.
    from: i64,
    /// The set by whose bounds the others are judged until the next one.
    before: Option<(i64, String)>,
}

impl Taken {
    fn begins(&self) -> bool {
        self.begun.as_ref().is_some_and(|(.., first)| *first)
    }
}

impl Expected {
    fn take(&mut self, output: &mut Output) {
        for effect in output.effects.drain(..) {
            match effect {
                Effect::Decision(decision)
                | Effect::Resolved(decision)
                | Effect::Canary(decision) => {
                    self.decisions.push(decision.id);
                }
                Effect::Command(command) => {
                    self.commands.push((command_key(&command.target), command.id));
                }
                Effect::Daily(decision) => {
                    self.decisions.push(decision.id.clone());
                    self.reports.push(serde_json::to_value(decision.daily).unwrap());
                }
                Effect::Account(account) => {
                    let key = account_key(&account.target);
                    let value = serde_json::to_value(&account).unwrap();
                    self.accounts.entry(key).or_default().push(value);
                }
            }
        }
    }
}

fn expected(seed: u64, broker: &Broker, home: &Plan, max_bytes: usize) -> Expected {
    let mut expected = Expected::default();
    let plans = plans(broker);
    for place in broker.inputs.keys() {
        let taken = taken(broker, *place);
        let begins = (0..taken.len()).filter(|at| taken[*at].begins());
        let bounds: Vec<usize> = begins.chain([taken.len()]).collect();
        let mut fold = Fold {
            broker,
            place: *place,
            taken: &taken,
            plans: &plans,
            max_bytes,
            state: State::new(origin(*place)),
            output: Output::default(),
            newest: home.clone(),
            plan: home.clone(),
            is_warming: false,
            muted: Vec::new(),
            judged_as: None,
            at: -1,
        };
        assert_eq!(bounds.first(), Some(&0), "seed {seed}: {place:?} begins under no rule set");
        let mut holds = None;
        for bounds in bounds.windows(2) {
            holds = Some(fold.reign(seed, (bounds[0], bounds[1]), holds, &mut expected));
            expected.begun += 1;
        }
        expected.accepted += fold.output.counts.accepted;
    }
    expected
}

fn origin(place: Place) -> Origin {
    let topic = if place.source == Source::Events { "events" } else { "partials" };
    Origin { topic: topic.into(), partition: place.partition }
}

/// The rule sets of the control topic that can be used, by name.
fn plans(broker: &Broker) -> BTreeMap<String, Plan> {
    let sets = changes(broker).into_values().filter_map(|change| match change.act {
        Act::Rules(rules) => Some((rules.set.clone(), rules.plan(super::settings()).unwrap())),
        _ => None,
    });
    sets.collect()
}

/// One partition, folded from its beginning for every rule set under which its state began.
struct Fold<'a> {
    broker: &'a Broker,
    place: Place,
    taken: &'a [Taken],
    plans: &'a BTreeMap<String, Plan>,
    max_bytes: usize,
    state: State,
    output: Output,
    /// The newest set, and what the state makes of it.
    newest: Plan,
    plan: Plan,
    is_warming: bool,
    muted: Vec<String>,
    /// Offset and bounds of the set before.
    judged_as: Option<(i64, Plan)>,
    /// Offset of the newest set in the control topic.
    at: i64,
}

impl Fold<'_> {
    /// From the record of the journal at which a state began to the one at which the next did.
    /// What lies before tells the counters alone; holds come from the state before.
    fn reign(
        &mut self,
        seed: u64,
        (first, end): (usize, usize),
        holds: Option<Holds>,
        expected: &mut Expected,
    ) -> Holds {
        let (set, at, _) = self.taken[first].begun.clone().unwrap();
        (self.newest, self.at) = (self.plans[&set].born(&self.taken[first].births), at);
        self.muted.clone_from(&self.taken[first].armed);
        let before = self.taken[first].before.as_ref();
        self.judged_as = before.map(|(at, set)| (*at, self.plans[set].clone()));
        (self.plan, self.is_warming) = (self.muted(), false);
        let from = self.taken[first].from;
        (self.state, self.output) = (State::new(origin(self.place)), Output::default());
        let mut holds = holds;
        let mut next = 0;
        // Where the next reign begins, or never.
        let until = self.taken.get(end).map_or(i64::MAX, |taken| taken.offset);
        let log = &self.broker.inputs[&self.place];
        for (offset, entry) in (0..).zip(log).take_while(|(offset, _)| *offset < until) {
            let Some(entry) = entry.as_ref().filter(|_| offset >= from) else { continue };
            while next < end && self.taken[next].offset <= offset {
                self.turn(seed, (next, first), &mut holds, expected);
                next += 1;
            }
            let quarantined = self.step(offset, entry);
            self.output.partials.clear();
            self.output.daily.trim();
            if next > first {
                expected.quarantine.extend(quarantined);
                expected.take(&mut self.output);
            }
            self.output.effects.clear();
        }
        while next < end {
            self.turn(seed, (next, first), &mut holds, expected);
            next += 1;
        }
        self.state.holds()
    }

    fn muted(&self) -> Plan {
        let judged = self.judged_as.as_ref().map(|(_, before)| self.newest.judged_as(before));
        judged.as_ref().unwrap_or(&self.newest).muted(&self.muted)
    }

    /// A record of the journal.
    fn turn(
        &mut self,
        seed: u64,
        (at, first): (usize, usize),
        holds: &mut Option<Holds>,
        expected: &mut Expected,
    ) {
        let taken = &self.taken[at];
        self.change(taken);
        if at == first
            && let Some(holds) = holds.take()
        {
            let written: Holds = serde_json::from_value(taken.holds.clone()).unwrap();
            assert_eq!(written, holds, "seed {seed}: {:?} at {}", self.place, taken.offset);
            self.state.replace_holds(holds);
        }
        if at > first {
            expected.take(&mut self.output);
        }
        self.output.effects.clear();
        let sets = taken.changes.iter().filter_map(|(at, change)| match &change.act {
            Act::Rules(rules) => Some((*at, &rules.set)),
            _ => None,
        });
        if let Some((before, _)) = &self.judged_as
            && sets.clone().any(|(at, _)| at > *before)
        {
            self.judged_as = None;
            self.plan = self.muted();
        }
        let mut newest = None;
        for (at, set) in sets.filter(|(at, _)| *at > self.at) {
            let (was_at, before) = newest.unwrap_or_else(|| (self.at, self.newest.clone()));
            let plan = &self.plans[set];
            newest = Some((at, plan.born(&plan.births_after(&before, was_at))));
        }
        if let Some((at, plan)) = newest {
            // Under a set that counts otherwise it goes on with what it can, until the next reign.
            self.is_warming |= !plan.counts_as(&self.newest);
            let muted = plan.muted(&self.muted);
            self.plan = if self.is_warming { self.plan.towards(&plan) } else { muted };
            (self.newest, self.at) = (plan, at);
        }
        if at == first && !self.is_warming {
            let armed = std::mem::take(&mut self.muted);
            self.plan = self.newest.clone();
            if self.place.source == Source::Partials {
                self.state.take_up(&self.plan, &armed, &mut self.output);
            }
        }
    }

    /// A record of the log; what has to be quarantined of it.
    fn step(&mut self, offset: i64, entry: &Entry) -> Option<(i32, i64, String, bool)> {
        let (state, output, plan) = (&mut self.state, &mut self.output, &self.plan);
        let value = entry.value.as_deref().unwrap();
        let record_ts = Some(entry.timestamp_ms);
        if let Some(canary) = Canary::read(value) {
            step(state, plan, Input::Canary { canary: &canary, offset }, output);
            return None;
        }
        if self.place.source == Source::Partials {
            let input = Input::Partials { payload: value, offset, record_ts };
            step(state, plan, input, output);
            return None;
        }
        let record_ts = record_ts.map(EventTime);
        match Decoder::default().decode(value, self.max_bytes) {
            Ok(event) => {
                let input = Input::Event { event: &event, offset, record_ts };
                step(state, plan, input, output);
            }
            Err(reason) => step(state, plan, Input::Rejected { reason, offset }, output),
        }
        let reason = match output.outcome {
            Outcome::Late => Reason::Late,
            Outcome::Quarantined(reason) => reason,
            Outcome::Accepted | Outcome::Duplicate | Outcome::Canary => return None,
        };
        let whole = value.len() <= SIZE_MAX;
        Some((self.place.partition, offset, reason.to_string(), whole))
    }

    fn change(&mut self, taken: &Taken) {
        let partition = u32::try_from(self.place.partition).unwrap();
        let seat = match self.place.source {
            Source::Events => Seat::Events(partition),
            Source::Partials => Seat::Partials(partition),
        };
        let partitions = u32::try_from(super::PARTITIONS).unwrap();
        for (offset, change) in &taken.changes {
            let place = ChangePlace { topic: "control", offset: *offset, seat, partitions };
            let input = Input::Change { change, place };
            step(&mut self.state, &self.plan, input, &mut self.output);
        }
    }
}

/// A rule that has just begun to tell has said for each source what all partitions gave out.
pub(super) fn has_counted_all(
    seed: u64,
    rule: &str,
    broker: &Broker,
    plan: &Plan,
    max_bytes: usize,
) {
    let written = broker.outputs.get(&Sink::Decisions).into_iter().flatten().map(json);
    let own = written.filter(|decision| decision["rule"] == rule);
    let told: Vec<(String, i64)> = own
        .map(|decision| (text(&decision["key"]["source"]), decision["value"].as_i64().unwrap()))
        .collect();
    let issued: Vec<(String, i64)> = issued(broker, plan, max_bytes).into_iter().collect();
    assert_eq!(sorted(told), issued, "seed {seed}: what `{rule}` has counted");
}

/// Points that each source has given out, by the events that count.
fn issued(broker: &Broker, plan: &Plan, max_bytes: usize) -> BTreeMap<String, i64> {
    let mut issued = BTreeMap::new();
    let logs = broker.inputs.iter().filter(|(place, _)| place.source == Source::Events);
    for (place, log) in logs {
        let (mut state, mut output) = (State::new(origin(*place)), Output::default());
        for (offset, entry) in (0..).zip(log) {
            let Some(entry) = entry else { continue };
            let value = entry.value.as_deref().unwrap();
            let Ok(event) = Decoder::default().decode(value, max_bytes) else { continue };
            let record_ts = Some(EventTime(entry.timestamp_ms));
            step(&mut state, plan, Input::Event { event: &event, offset, record_ts }, &mut output);
            if let (Outcome::Accepted, Kind::Issue, Some(source)) =
                (output.outcome, event.kind, &event.source)
            {
                *issued.entry(source.to_string()).or_default() += event.points;
            }
        }
    }
    issued
}

/// What the journal says of a partition, in order.
fn taken(broker: &Broker, place: Place) -> Vec<Taken> {
    let topic = if place.source == Source::Events { "events" } else { "partials" };
    let journal = broker.outputs.get(&Sink::Journal).into_iter().flatten().map(json);
    let own =
        journal.filter(|entry| entry["topic"] == topic && entry["partition"] == place.partition);
    own.map(|entry| {
        // Rule sets are named without their texts, which makes them no changes on their own.
        let change = |placed: &Value| {
            let change = serde_json::from_value(placed["change"].clone()).unwrap();
            (placed["at"].as_i64().unwrap(), change)
        };
        let changes = entry["changes"].as_array().unwrap().iter().map(change).collect();
        let begun = entry.get("begun").map(|begun| {
            let first = begun["first"].as_bool().unwrap();
            (text(&begun["set"]), begun["at"].as_i64().unwrap(), first)
        });
        let holds = entry["begun"]["holds"].clone();
        let armed = entry["begun"]["armed"].as_array();
        let armed = armed.into_iter().flatten().map(text).collect();
        let births = entry["begun"]["births"].as_object().into_iter().flatten();
        let births = births.map(|(rule, at)| (rule.clone(), at.as_i64().unwrap())).collect();
        let offset = entry["offset"].as_i64().unwrap();
        let from = entry["begun"]["from"].as_i64().unwrap_or(0);
        let before = entry["begun"].get("before");
        let before = before.map(|before| (before["at"].as_i64().unwrap(), text(&before["set"])));
        Taken { offset, changes, begun, holds, armed, births, from, before }
    })
    .collect()
}

/// The changes of the control topic that are some, by offset.
fn changes(broker: &Broker) -> BTreeMap<i64, Change> {
    let usable = |change: &Change| match &change.act {
        Act::Rules(rules) => rules.plan(super::settings()).is_ok(),
        _ => true,
    };
    let all = (0..).zip(&broker.control);
    let all = all.filter_map(|(at, (_, value))| Some((at, Change::decode(value).ok()?)));
    all.filter(|(_, change)| usable(change)).collect()
}

/// Every partition has taken in the last change that compaction has left: a record that is no
/// change may have replaced one.
pub(super) fn are_changes_applied(broker: &Broker) -> bool {
    let all = changes(broker);
    let Some(last) = all.keys().rev().find(|at| !broker.compacted.contains(*at)) else {
        return true;
    };
    broker.inputs.keys().all(|place| {
        let taken = taken(broker, *place);
        let mut changes = taken.iter().rev().filter_map(|taken| taken.changes.last());
        changes.next().is_some_and(|(at, _)| at >= last)
    })
}

/// Each partition took in every change once and in order, those aside that compaction took
/// from it because a later one replaced them.
fn once_each(seed: u64, broker: &Broker) {
    let mut all = changes(broker);
    for change in all.values_mut() {
        if let Act::Rules(rules) = &mut change.act {
            (rules.files, rules.lists) = (Vec::new(), Vec::new());
        }
    }
    for place in broker.inputs.keys() {
        let taken: Vec<(i64, Change)> =
            taken(broker, *place).into_iter().flat_map(|taken| taken.changes).collect();
        let ascend = taken.windows(2).all(|two| two[0].0 < two[1].0);
        assert!(ascend, "seed {seed}: {place:?} took a change in twice, or out of order");
        let taken: BTreeMap<i64, Change> = taken.into_iter().collect();
        for (at, change) in &all {
            match taken.get(at) {
                Some(own) => assert_eq!(own, change, "seed {seed}: {place:?}"),
                None => assert!(
                    broker.compacted.contains(at),
                    "seed {seed}: {place:?} never took in the change at {at}"
                ),
            }
        }
        assert!(taken.keys().all(|at| all.contains_key(at)), "seed {seed}: {place:?}");
    }
}

fn json(output: &Produce) -> Value {
    serde_json::from_slice(output.value.as_deref().unwrap()).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

pub(super) fn everything(
    seed: u64,
    broker: &Broker,
    plan: &Plan,
    metrics: &Metrics,
    max_bytes: usize,
) -> usize {
    once_each(seed, broker);
    let expected = expected(seed, broker, plan, max_bytes);
    let written = |sink| broker.outputs.get(&sink).map_or(&[][..], Vec::as_slice);

    decisions(seed, written(Sink::Decisions), expected.decisions);

    let command = |output: &Produce| {
        let key = String::from_utf8(output.key.clone().unwrap()).unwrap();
        (key, text(&json(output)["id"]))
    };
    let commands: Vec<(String, String)> = written(Sink::Commands).iter().map(command).collect();
    // A stable sort by key alone: the commands of a target must stand in order.
    let by_key = |mut list: Vec<(String, String)>| {
        list.sort_by(|a, b| a.0.cmp(&b.0));
        list
    };
    assert_eq!(by_key(commands), by_key(expected.commands), "seed {seed}: commands");

    let mut accounts: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for output in written(Sink::Accounts) {
        let key = String::from_utf8(output.key.clone().unwrap()).unwrap();
        accounts.entry(key).or_default().push(json(output));
    }
    assert_eq!(accounts, expected.accounts, "seed {seed}: accounts");
    let reports: Vec<Value> = written(Sink::Daily).iter().map(json).collect();
    assert_eq!(reports, expected.reports, "seed {seed}: accounts of days");
    quarantine(seed, broker, written(Sink::Quarantine), expected.quarantine);
    total(seed, written(Sink::Decisions), broker, expected.accepted);
    holds(seed, written(Sink::Commands), &accounts);
    conservation(seed, metrics);
    expected.begun - broker.inputs.len()
}

/// Drops what came before under the same id, as a consumer does; the same id must say the same.
/// How many there were.
pub(super) fn drop_repeats(seed: u64, broker: &mut Broker) -> u64 {
    let mut repeats = 0;
    for sink in [Sink::Decisions, Sink::Commands] {
        let mut firsts: BTreeMap<String, Produce> = BTreeMap::new();
        broker.outputs.entry(sink).or_default().retain(|output| {
            let id = text(&json(output)["id"]);
            let Some(first) = firsts.get(&id) else {
                firsts.insert(id, output.clone());
                return true;
            };
            assert_eq!(first, output, "seed {seed}: {id} says two things");
            repeats += 1;
            false
        });
    }
    repeats
}

/// How many canaries have come through.
pub(super) fn canaries(broker: &Broker) -> u64 {
    let decisions = broker.outputs.get(&Sink::Decisions).into_iter().flatten().map(json);
    decisions.filter(|decision| decision["rule"] == "tidegate.canary").map(|_| 1).sum()
}

/// Each decision that folds come to is written once, and no other.
fn decisions(seed: u64, written: &[Produce], expected: Vec<String>) {
    let written: Vec<Value> = written.iter().map(json).collect();
    let ids: Vec<String> = written.iter().map(|decision| text(&decision["id"])).collect();
    let more: Vec<&Value> =
        written.iter().filter(|one| !expected.contains(&text(&one["id"]))).collect();
    let fewer: Vec<&String> = expected.iter().filter(|id| !ids.contains(id)).collect();
    assert!(
        more.is_empty() && fewer.is_empty(),
        "seed {seed}: {more:#?} too many, {fewer:?} missing"
    );
    assert_eq!(sorted(ids), sorted(expected), "seed {seed}: decisions");
}

/// What accounts say last is what commands come to: every freeze is held until it is lifted, is
/// replaced or has ended.
fn holds(seed: u64, commands: &[Produce], accounts: &BTreeMap<String, Vec<Value>>) {
    let mut open: BTreeMap<String, BTreeMap<(String, String), Value>> = BTreeMap::new();
    for command in commands.iter().map(json) {
        let target = account_key(command["target"].as_object().unwrap());
        let held = open.entry(target).or_default();
        match command["command"].as_str().unwrap() {
            "freeze" => {
                let of = (text(&command["rule"]), text(&command["scope"]));
                held.insert(of, command);
            }
            "unfreeze" => held.retain(|_, freeze| freeze["decision"] != command["hold"]),
            _ => {}
        }
    }
    for (target, held) in open {
        let last = accounts.get(&target).and_then(|values| values.last());
        let last = last.map_or(&[][..], |account| account["holds"].as_array().unwrap());
        let ids: Vec<&Value> = last.iter().map(|hold| &hold["hold"]).collect();
        // Those for ever cannot have ended.
        for freeze in held.values().filter(|freeze| freeze["until"].is_null()) {
            assert!(ids.contains(&&freeze["decision"]), "seed {seed}: {target} lost a hold");
        }
        for id in ids {
            let known = held.values().any(|freeze| freeze["decision"] == *id);
            assert!(known, "seed {seed}: {target} has a hold that nobody made");
        }
    }
}

/// Every copy once, unchanged, with its four headers; without its value where that is too large.
fn quarantine(
    seed: u64,
    broker: &Broker,
    written: &[Produce],
    expected: Vec<(i32, i64, String, bool)>,
) {
    let header = |output: &Produce, name: &str| {
        let found = output.headers.iter().find(|(known, _)| known == name);
        String::from_utf8(found.unwrap().1.clone().unwrap()).unwrap()
    };
    let copy = |output: &Produce| {
        let partition: i32 = header(output, "partition").parse().unwrap();
        let offset: i64 = header(output, "offset").parse().unwrap();
        let place = Place { source: Source::Events, partition };
        let original = broker.inputs[&place][usize::try_from(offset).unwrap()].as_ref().unwrap();
        assert_eq!(header(output, "topic"), "events");
        assert_eq!(header(output, "trace"), "t", "headers are kept");
        assert_eq!(output.key, original.key);
        assert_eq!(output.timestamp_ms, Some(original.timestamp_ms));
        if output.value.is_some() {
            assert_eq!(output.value, original.value);
        }
        (partition, offset, header(output, "reason"), output.value.is_some())
    };
    let copies: Vec<_> = written.iter().map(copy).collect();
    assert_eq!(sorted(copies), sorted(expected), "seed {seed}: quarantine");
}

/// The counter over all partitions has seen every accepted event exactly once: the levels of
/// `total` stand `STEP` apart.
fn total(seed: u64, decisions: &[Produce], broker: &Broker, accepted: u64) {
    let values = decisions.iter().map(json).filter(|decision| decision["rule"] == "total");
    let highest = values.map(|decision| decision["value"].as_u64().unwrap()).max().unwrap_or(0);
    let due = (accepted.saturating_sub(1) / super::STEP).min(31) * super::STEP;
    assert!(
        highest > due || accepted <= super::STEP,
        "seed {seed}: the total reached {highest}, accepted {accepted}, commits {}",
        broker.commits
    );
    assert!(highest <= accepted, "seed {seed}: the total reached {highest} of {accepted}");
}

/// E7 at the end: what was consumed is accepted, a duplicate, late or quarantined, or a canary.
fn conservation(seed: u64, metrics: &Metrics) {
    for partition in 0..super::PARTITIONS {
        let partition = partition.to_string();
        let consumed = metrics.records_consumed.with_label_values(&[&partition]).get();
        let outcome = |name: &str| metrics.events.with_label_values(&[&*partition, name]).get();
        let all = ["accepted", "duplicate", "late", "quarantined", "canary"];
        let sum: u64 = all.map(outcome).iter().sum();
        assert_eq!(consumed, sum, "seed {seed}: partition {partition}");
    }
}
