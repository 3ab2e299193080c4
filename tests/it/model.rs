//! The engine against a naive model that scans the list of all accepted events.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use proptest::prelude::*;
use smallvec::SmallVec;
use tidegate::engine::Decision;
use tidegate::event::{Event, EventTime, Kind};

use crate::naive::{By, Folded, LATENESS, fold};

const ROLLING: i64 = 900_000;
const BOUND: i64 = 4;

/// An event as the model sees it.
#[derive(Debug, Clone)]
struct Row {
    ts: i64,
    user: u8,
    source: u8,
    device: Option<u8>,
    points: i64,
}

const MEASURES: [&str; 4] = ["count", "sum(points)", "max(points)", "distinct(device)"];
const KEYS: [By; 4] = [By::User, By::Source, By::Global, By::UserSource];

fn rules(zone: &str) -> String {
    let mut text = format!("version: 1\ntimezone: {zone}\nrules:\n");
    for measure in MEASURES {
        for by in KEYS {
            let per = by.per();
            for window in ["day", "15m"] {
                let name = format!("{measure} {by:?} {window}").replace(['(', ')'], "-");
                let rule = [
                    format!("  - {{ name: {name:?}, on: issue, per: {per}, measure: {measure}"),
                    format!(", window: {window}, above: {BOUND} }}\n"),
                ];
                text.extend(rule);
            }
        }
    }
    text
}

fn key(by: By, row: &Row) -> String {
    match by {
        By::User => format!("u{}", row.user),
        By::Source => format!("s{}", row.source),
        By::Global => String::new(),
        By::UserSource => format!("u{} s{}", row.user, row.source),
    }
}

fn measured(measure: &str, rows: &[&Row]) -> i64 {
    match measure {
        "count" => i64::try_from(rows.len()).unwrap(),
        "sum(points)" => rows.iter().map(|row| row.points).sum(),
        "max(points)" => rows.iter().map(|row| row.points).max().unwrap_or(0),
        _ => {
            let devices: BTreeSet<u8> = rows.iter().filter_map(|row| row.device).collect();
            i64::try_from(devices.len()).unwrap()
        }
    }
}

/// (line, measure, key form, window) and the value of every firing.
type Firings = BTreeSet<(usize, String, i64)>;

fn model(rows: &[Row], zone: &TimeZone) -> (Firings, u64) {
    let day = |ts: i64| {
        let at = jiff::Timestamp::from_millisecond(ts).unwrap();
        zone.to_datetime(at).date()
    };
    let mut firings = Firings::new();
    let mut late = 0;
    let mut accepted: Vec<&Row> = Vec::new();
    let mut watermark = i64::MIN;
    let mut fired: BTreeMap<(String, String), bool> = BTreeMap::new();
    for (line, row) in rows.iter().enumerate() {
        if watermark != i64::MIN && row.ts < watermark - LATENESS {
            late += 1;
            continue;
        }
        let before = accepted.clone();
        watermark = watermark.max(row.ts);
        accepted.push(row);
        for measure in MEASURES {
            for by in KEYS {
                let same = |other: &&&Row| key(by, other) == key(by, row);
                let own: Vec<&Row> = accepted.iter().filter(same).copied().collect();
                let name = format!("{measure} {by:?} day").replace(['(', ')'], "-");
                let today: Vec<&Row> =
                    own.iter().filter(|other| day(other.ts) == day(row.ts)).copied().collect();
                let slot = (name.clone(), format!("{} {}", key(by, row), day(row.ts)));
                note(&mut firings, &mut fired, slot, line, measured(measure, &today), false);

                let name = format!("{measure} {by:?} 15m").replace(['(', ')'], "-");
                let last = before.iter().filter(same).map(|row| row.ts).max();
                let t = own.iter().map(|row| row.ts).max().unwrap();
                let gap = last.is_some_and(|last| t - last >= ROLLING);
                let window: Vec<&Row> =
                    own.iter().filter(|row| row.ts > t - ROLLING).copied().collect();
                let slot = (name, key(by, row));
                note(&mut firings, &mut fired, slot, line, measured(measure, &window), gap);
            }
        }
    }
    (firings, late)
}

fn note(
    firings: &mut Firings,
    fired: &mut BTreeMap<(String, String), bool>,
    slot: (String, String),
    line: usize,
    value: i64,
    gap: bool,
) {
    let name = slot.0.clone();
    let was = fired.entry(slot).or_default();
    if gap {
        *was = false;
    }
    let breaches = value > BOUND;
    if breaches && !*was {
        firings.insert((line, name, value));
    }
    *was = breaches;
}

fn engine(rows: &[Row], zone: &str) -> (Firings, u64) {
    let folded = engine_flushing(rows, zone, 1);
    let firing = |(line, decision): (usize, Decision)| {
        (line, decision.rule, decision.value.unwrap().as_i64().unwrap())
    };
    (folded.decisions.into_iter().map(firing).collect(), folded.own.late)
}

fn engine_flushing(rows: &[Row], zone: &str, flush_every: usize) -> Folded {
    let event = |(line, row): (usize, &Row)| Event {
        id: format!("e{line}").into(),
        ts: EventTime(row.ts),
        user: format!("u{}", row.user).into(),
        kind: Kind::Issue,
        points: row.points,
        source: Some(format!("s{}", row.source).into()),
        device: row.device.map(|device| format!("d{device}").into()),
        ip: None,
        reverses: None,
        attrs: SmallVec::new(),
    };
    fold(&rules(zone), rows.iter().enumerate().map(event), flush_every)
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (-700_000i64..1_500_000, 0u8..3, 0u8..2, proptest::option::of(0u8..9), 0i64..4);
    proptest::collection::vec(row, 1..120).prop_map(|steps| {
        // Starts before the clocks of Berlin and New York change, and walks across.
        let mut clock = 1_761_430_000_000;
        let to_row = |(by, user, source, device, points): (i64, u8, u8, Option<u8>, i64)| {
            let ts = clock + by;
            clock = clock.max(ts);
            Row { ts, user, source, device, points }
        };
        steps.into_iter().map(to_row).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_agrees_with_a_list_scan(
        rows in rows(),
        zone in prop_oneof![
            Just("UTC"),
            Just("Asia/Shanghai"),
            Just("Europe/Berlin"),
            Just("Australia/Lord_Howe"),
        ],
    ) {
        let expected = model(&rows, &TimeZone::get(zone).unwrap());
        prop_assert_eq!(engine(&rows, zone), expected);
    }

    /// A key that crosses partitions breaches a rising measure of a day or it does not: how its
    /// events were combined must not matter.
    #[test]
    fn flushing_less_often_changes_no_breach_of_a_day(rows in rows(), flush_every in 2usize..40) {
        let breaches = |flush_every| -> BTreeSet<(String, String, String)> {
            let folded = engine_flushing(&rows, "Asia/Shanghai", flush_every);
            let days = folded.decisions.into_iter().filter(|(_, one)| one.rule.ends_with("day"));
            days.map(|(_, one)| {
                (one.rule, format!("{:?}", one.key), one.window.unwrap().label)
            })
            .collect()
        };
        prop_assert_eq!(breaches(flush_every), breaches(1));
    }

    #[test]
    fn the_same_log_gives_the_same_decisions(rows in rows()) {
        prop_assert_eq!(engine_flushing(&rows, "UTC", 1), engine_flushing(&rows, "UTC", 1));
    }
}
