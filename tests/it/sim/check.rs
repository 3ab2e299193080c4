//! Checkers: from the input logs alone, what must have been written.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate::engine::{
    Change, ChangePlace, Effect, Input, Origin, Outcome, Output, Plan, Seat, State, account_key,
    command_key, step,
};
use tidegate::event::{Decoder, EventTime, Reason};
use tidegate::metrics::Metrics;
use tidegate::stream::{Place, Produce, Sink, Source};

use super::broker::{Broker, SIZE_MAX};

/// What folds over the logs come to, in order.
#[derive(Default)]
struct Expected {
    decisions: Vec<String>,
    commands: Vec<(String, String)>,
    accounts: BTreeMap<String, Vec<Value>>,
    quarantine: Vec<(i32, i64, String, bool)>,
    accepted: u64,
}

/// Changes that a partition took in before its record at an offset, as the journal has them.
struct Taken {
    offset: i64,
    changes: Vec<(i64, Change)>,
}

impl Expected {
    fn take(&mut self, output: &mut Output) {
        for effect in output.effects.drain(..) {
            match effect {
                Effect::Decision(decision) => self.decisions.push(decision.id),
                Effect::Command(command) => {
                    self.commands.push((command_key(&command.target), command.id));
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

fn expected(broker: &Broker, plan: &Plan, max_bytes: usize) -> Expected {
    let mut expected = Expected::default();
    let decoder = Decoder::default();
    for (place, log) in &broker.inputs {
        let topic = if place.source == Source::Events { "events" } else { "partials" };
        let origin = Origin { topic: topic.into(), partition: place.partition };
        let (mut state, mut output) = (State::new(origin), Output::default());
        let mut taken = taken(broker, *place).into_iter().peekable();
        for (offset, entry) in (0..).zip(log) {
            let Some(entry) = entry else { continue };
            while let Some(taken) = taken.next_if(|taken| taken.offset <= offset) {
                change(plan, *place, &taken, (&mut state, &mut output));
                expected.take(&mut output);
            }
            let value = entry.value.as_deref().unwrap();
            let record_ts = Some(entry.timestamp_ms);
            if place.source == Source::Partials {
                let input = Input::Partials { payload: value, offset, record_ts };
                step(&mut state, plan, input, &mut output);
                expected.take(&mut output);
                continue;
            }
            let record_ts = record_ts.map(EventTime);
            match decoder.decode(value, max_bytes) {
                Ok(event) => {
                    let input = Input::Event { event: &event, offset, record_ts };
                    step(&mut state, plan, input, &mut output);
                }
                Err(reason) => step(&mut state, plan, Input::Rejected { reason }, &mut output),
            }
            output.partials.clear();
            let reason = match output.outcome {
                Outcome::Late => Some(Reason::Late),
                Outcome::Quarantined(reason) => Some(reason),
                Outcome::Accepted | Outcome::Duplicate => None,
            };
            if let Some(reason) = reason {
                let whole = value.len() <= SIZE_MAX;
                expected.quarantine.push((place.partition, offset, reason.to_string(), whole));
            }
            expected.take(&mut output);
        }
        for taken in taken {
            change(plan, *place, &taken, (&mut state, &mut output));
            expected.take(&mut output);
        }
        expected.accepted += output.counts.accepted;
    }
    expected
}

/// What the journal says of a partition, in order.
fn taken(broker: &Broker, place: Place) -> Vec<Taken> {
    let topic = if place.source == Source::Events { "events" } else { "partials" };
    let journal = broker.outputs.get(&Sink::Journal).into_iter().flatten().map(json);
    let own =
        journal.filter(|entry| entry["topic"] == topic && entry["partition"] == place.partition);
    own.map(|entry| {
        let change = |placed: &Value| {
            let change = Change::decode(placed["change"].to_string().as_bytes()).unwrap();
            (placed["at"].as_i64().unwrap(), change)
        };
        let changes = entry["changes"].as_array().unwrap().iter().map(change).collect();
        Taken { offset: entry["offset"].as_i64().unwrap(), changes }
    })
    .collect()
}

fn change(plan: &Plan, of: Place, taken: &Taken, (state, output): (&mut State, &mut Output)) {
    let partition = u32::try_from(of.partition).unwrap();
    let seat = match of.source {
        Source::Events => Seat::Events(partition),
        Source::Partials => Seat::Partials(partition),
    };
    let partitions = u32::try_from(super::PARTITIONS).unwrap();
    for (offset, change) in &taken.changes {
        let place = ChangePlace { topic: "control", offset: *offset, seat, partitions };
        step(state, plan, Input::Change { change, place }, output);
    }
}

/// The changes of the control topic that are some, by offset.
fn changes(broker: &Broker) -> BTreeMap<i64, Change> {
    let all = (0..).zip(&broker.control);
    all.filter_map(|(at, (_, value))| Some((at, Change::decode(value).ok()?))).collect()
}

/// Every partition has taken in the last change there is.
pub(super) fn are_changes_applied(broker: &Broker) -> bool {
    let Some((last, _)) = changes(broker).pop_last() else { return true };
    broker.inputs.keys().all(|place| {
        let taken = taken(broker, *place);
        taken.last().and_then(|taken| taken.changes.last()).is_some_and(|(at, _)| *at == last)
    })
}

/// Each partition took in every change once and in order, those aside that compaction took
/// from it because a later one replaced them.
fn once_each(seed: u64, broker: &Broker) {
    let all = changes(broker);
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
) {
    once_each(seed, broker);
    let expected = expected(broker, plan, max_bytes);
    let written = |sink| broker.outputs.get(&sink).map_or(&[][..], Vec::as_slice);

    let decisions = written(Sink::Decisions).iter().map(|output| text(&json(output)["id"]));
    let decisions: Vec<String> = decisions.collect();
    assert_eq!(sorted(decisions), sorted(expected.decisions), "seed {seed}: decisions");

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
    quarantine(seed, broker, written(Sink::Quarantine), expected.quarantine);
    total(seed, written(Sink::Decisions), broker, expected.accepted);
    holds(seed, written(Sink::Commands), &accounts);
    conservation(seed, metrics);
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

/// E7 at the end: what was consumed is accepted, a duplicate, late or quarantined.
fn conservation(seed: u64, metrics: &Metrics) {
    for partition in 0..super::PARTITIONS {
        let partition = partition.to_string();
        let consumed = metrics.records_consumed.with_label_values(&[&partition]).get();
        let outcome = |name: &str| metrics.events.with_label_values(&[&*partition, name]).get();
        let sum: u64 = ["accepted", "duplicate", "late", "quarantined"].map(outcome).iter().sum();
        assert_eq!(consumed, sum, "seed {seed}: partition {partition}");
    }
}
