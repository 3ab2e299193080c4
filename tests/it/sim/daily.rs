//! The account of the points over workers that crash, move and lose their states, across two
//! midnights: each day has one report, and the reports are the sums of what was accepted.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tidegate::engine::daily::{DailyReport, Figures};
use tidegate::engine::{Input, Origin, Outcome, Output, State, step};
use tidegate::event::{Decoder, EventTime, Kind};
use tidegate::stream::{Sink, Source};

use super::store::SimStore;
use super::{Broker, MAX_BYTES, World, check, plan, publication};

/// The end of 2025-11-22 in Shanghai.
const MIDNIGHT_MS: i64 = 1_763_827_200_000;
const DAY_MS: i64 = 86_400_000;

/// Day (0 before the first midnight), source, kind, points.
type Accepted = Vec<(i64, String, Kind, i64)>;

/// What was accepted, and how many records there were.
fn accepted(broker: &Broker) -> (Accepted, u64) {
    let plan = plan();
    let (mut all, mut consumed) = (Vec::new(), 0);
    for (place, log) in broker.inputs.iter().filter(|(place, _)| place.source == Source::Events) {
        let origin = Origin { topic: "events".into(), partition: place.partition };
        let (mut state, mut out) = (State::new(origin), Output::default());
        for (offset, entry) in (0..).zip(log) {
            let Some(entry) = entry else { continue };
            consumed += 1;
            let value = entry.value.as_deref().unwrap();
            let record_ts = Some(EventTime(entry.timestamp_ms));
            let Ok(event) = Decoder::default().decode(value, MAX_BYTES) else { continue };
            step(&mut state, &plan, Input::Event { event: &event, offset, record_ts }, &mut out);
            if out.outcome == Outcome::Accepted {
                let day = (event.ts.0 - MIDNIGHT_MS).div_euclid(DAY_MS) + 1;
                let source = event.source.as_deref().unwrap_or_default().to_owned();
                all.push((day, source, event.kind, event.points));
            }
            out.effects.clear();
            out.partials.clear();
        }
    }
    (all, consumed)
}

fn sum(accepted: &Accepted, wanted: impl Fn(i64, &str) -> bool) -> Figures {
    let mut figures = Figures::default();
    for (_, _, kind, points) in accepted.iter().filter(|(day, source, ..)| wanted(*day, source)) {
        let (amount, sign) = match kind {
            Kind::Issue => (&mut figures.issued, 1),
            Kind::Redeem => (&mut figures.redeemed, -1),
            Kind::Expire => (&mut figures.expired, -1),
            other => unreachable!("{other}"),
        };
        amount.events += 1;
        amount.points += points;
        figures.net += sign * points;
    }
    figures
}

fn plus(a: &Figures, b: &Figures) -> Vec<(u64, i64)> {
    let amounts = |one: &Figures| [one.issued, one.redeemed, one.expired];
    let both = amounts(a).into_iter().zip(amounts(b));
    both.map(|(a, b)| (a.events + b.events, a.points + b.points)).collect()
}

fn simulate(seed: u64) -> u64 {
    let mut world = World::new(seed);
    world.store = Some(Arc::new(SimStore::new(seed, 0)));
    world.clock.0.set((MIDNIGHT_MS - 3_000) * 1000);
    let first = publication(0, "first", MIDNIGHT_MS - 3_000);
    world.broker.borrow_mut().control.push((first.key(), first.encode()));
    world.run(700);
    world.clock.0.set((MIDNIGHT_MS + DAY_MS - 3_000) * 1000);
    world.run(700);
    world.settle();
    // Nothing comes any more, and the second day is over all the same.
    world.clock.0.set((MIDNIGHT_MS + DAY_MS + 60_000) * 1000);
    for _ in 0..400 {
        for slot in 0..world.slots {
            world.turn(&format!("w-{slot}"));
        }
    }
    world.compare();
    let broker = world.broker.borrow();
    check::everything(seed, &broker, &plan(), &world.metrics, MAX_BYTES);
    let written = broker.outputs.get(&Sink::Daily).map_or(&[][..], Vec::as_slice);
    let reports: Vec<DailyReport> = written
        .iter()
        .map(|output| serde_json::from_slice(output.value.as_deref().unwrap()).unwrap())
        .collect();
    reports_add_up(seed, &reports, &broker);
    broker.crashes
}

fn reports_add_up(seed: u64, reports: &[DailyReport], broker: &Broker) {
    let dates: Vec<&str> = reports.iter().map(|report| report.date.as_str()).collect();
    assert_eq!(dates, ["2025-11-22", "2025-11-23"], "seed {seed}");
    let (all, consumed) = accepted(broker);
    let mut corrected: BTreeMap<String, Figures> = BTreeMap::new();
    for correction in reports.iter().flat_map(|report| &report.corrections) {
        assert!(corrected.insert(correction.date.clone(), correction.figures).is_none());
    }
    for (day, report) in (0..).zip(reports) {
        let own = &report.conservation;
        assert!(own.ok, "seed {seed}: {:?}", own.faults);
        let more = corrected.get(&report.date).copied().unwrap_or_default();
        let expected = sum(&all, |on, _| on == day);
        let told = plus(&report.total.day, &more);
        assert_eq!(told, plus(&expected, &Figures::default()), "seed {seed}: {}", report.date);
        assert_eq!(report.sources.len(), 2, "seed {seed}");
    }
    let last = &reports[1];
    for periods in [last.total.month, last.total.quarter, last.total.year] {
        assert_eq!(periods, sum(&all, |on, _| on < 2), "seed {seed}");
    }
    for one in &last.sources {
        let expected = sum(&all, |on, source| on < 2 && source == one.source);
        assert_eq!(one.figures.year, expected, "seed {seed}: {}", one.source);
    }
    // But for those that came when the last day was over, every record is in one of the two.
    let told: u64 = reports.iter().map(|report| report.conservation.total.consumed).sum();
    assert!(told <= consumed && told * 4 > consumed, "seed {seed}: {told} of {consumed}");
    let dates: Vec<Value> = broker.outputs[&Sink::Decisions]
        .iter()
        .filter_map(|output| serde_json::from_slice::<Value>(output.value.as_deref()?).ok())
        .filter(|decision| decision["rule"] == "tidegate.daily")
        .map(|decision| decision["key"]["date"].clone())
        .collect();
    assert_eq!(dates, ["2025-11-22", "2025-11-23"], "seed {seed}: notices");
}

#[test]
fn accounts_of_days_are_issued_once_and_add_up_whatever_fails() {
    let crashes: u64 = (0..12).map(simulate).sum();
    assert!(crashes > 12, "the faults do not happen");
}
