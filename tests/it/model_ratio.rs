//! Ratios (R12) against a naive model that scans the list of all accepted events.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use tidegate::event::Kind;

use crate::naive::{By, LATENESS, Pace, Row, fold_rows, history, key_of};

const ROLLING: i64 = 900_000;
const COOLDOWN: i64 = 1_200_000;
const KEYS: [By; 4] = [By::User, By::Source, By::Global, By::UserSource];
const SIDES: [Sides; 4] = [
    Sides { name: "spent", of: Side::SumRedeem, to: Side::SumIssue, min_to: 3.0 },
    Sides { name: "events", of: Side::CountRedeem, to: Side::CountIssue, min_to: 1.0 },
    // One event stands on both sides.
    Sides { name: "share", of: Side::SumFirstSource, to: Side::SumIssue, min_to: 0.5 },
    Sides { name: "devices", of: Side::DistinctIssue, to: Side::MaxIssue, min_to: 2.0 },
];
const LEVELS: [Levels; 3] = [
    Levels { name: "above", above: true, bounds: &[0.4, 1.25], clear: None, cooldown: None },
    Levels {
        name: "hushed",
        above: true,
        bounds: &[0.6, 2.0],
        clear: Some(0.3),
        cooldown: Some(COOLDOWN),
    },
    Levels { name: "below", above: false, bounds: &[0.7, 0.2], clear: Some(0.9), cooldown: None },
];

#[derive(Debug, Clone, Copy)]
struct Sides {
    name: &'static str,
    of: Side,
    to: Side,
    min_to: f64,
}

#[derive(Debug, Clone, Copy)]
enum Side {
    SumRedeem,
    SumIssue,
    CountRedeem,
    CountIssue,
    SumFirstSource,
    DistinctIssue,
    MaxIssue,
}

#[derive(Debug, Clone, Copy)]
struct Levels {
    name: &'static str,
    above: bool,
    bounds: &'static [f64],
    clear: Option<f64>,
    cooldown: Option<i64>,
}

impl Side {
    fn text(self) -> &'static str {
        match self {
            Side::SumRedeem => "{ on: redeem, measure: sum(points) }",
            Side::SumIssue => "{ on: issue, measure: sum(points) }",
            Side::CountRedeem => "{ on: redeem, measure: count }",
            Side::CountIssue => "{ on: issue, measure: count }",
            Side::SumFirstSource => "{ on: issue, where: { source: s0 }, measure: sum(points) }",
            Side::DistinctIssue => "{ on: issue, measure: distinct(device) }",
            Side::MaxIssue => "{ on: issue, measure: max(points) }",
        }
    }

    fn sees(self, row: &Row) -> bool {
        match self {
            Side::SumRedeem | Side::CountRedeem => row.counts_as() == Kind::Redeem,
            Side::SumFirstSource => row.counts_as() == Kind::Issue && row.source == Some(0),
            _ => row.counts_as() == Kind::Issue,
        }
    }

    /// Of rows that count; a reversal takes away from counts and sums and from nothing else.
    fn measure(self, rows: &[&Row]) -> i64 {
        let rows = rows.iter().filter(|row| self.sees(row));
        let plain = rows.clone().filter(|row| row.reverses.is_none());
        match self {
            Side::CountRedeem | Side::CountIssue => rows
                .map(|row| row.reverses.map_or(1, |original| if original.partial { 0 } else { -1 }))
                .sum(),
            Side::SumRedeem | Side::SumIssue | Side::SumFirstSource => {
                rows.map(|row| if row.reverses.is_some() { -row.points } else { row.points }).sum()
            }
            Side::MaxIssue => plain.map(|row| row.points).max().unwrap_or(0),
            Side::DistinctIssue => {
                let devices: BTreeSet<u8> = plain.filter_map(|row| row.device).collect();
                i64::try_from(devices.len()).unwrap()
            }
        }
    }
}

fn rules(zone: &str) -> String {
    let mut text = format!("version: 1\ntimezone: {zone}\nrules:\n");
    for (sides, by, levels, window) in forms() {
        let name = name(sides, by, levels, window);
        let side = if levels.above { "above" } else { "below" };
        let bounds: Vec<String> =
            levels.bounds.iter().map(|bound| format!("{{ {side}: {bound} }}")).collect();
        write!(
            text,
            "  - {{ name: {name}, per: {}, window: {window}, ratio: {{ of: {}, to: {}, min_to: {} }}, levels: [{}]",
            by.per(), sides.of.text(), sides.to.text(), sides.min_to, bounds.join(", "),
        )
        .unwrap();
        if let Some(clear) = levels.clear {
            write!(text, ", clear: {clear}").unwrap();
        }
        if let Some(cooldown) = levels.cooldown {
            write!(text, ", cooldown: {cooldown}ms").unwrap();
        }
        text.push_str(" }\n");
    }
    text
}

fn forms() -> impl Iterator<Item = (Sides, By, Levels, &'static str)> {
    SIDES.into_iter().flat_map(|sides| {
        KEYS.into_iter().flat_map(move |by| {
            LEVELS.into_iter().flat_map(move |levels| {
                ["day", "15m"].into_iter().map(move |window| (sides, by, levels, window))
            })
        })
    })
}

fn name(sides: Sides, by: By, levels: Levels, window: &str) -> String {
    format!("{}-{by:?}-{}-{window}", sides.name, levels.name)
}

/// Line, rule, key, level, and the value as text.
type Firings = BTreeSet<(usize, String, String, usize, String)>;

#[derive(Debug, Default)]
struct Model {
    firings: Firings,
    /// By rule, key and period.
    fired: BTreeMap<(String, String, String), Vec<bool>>,
    /// By rule, key and level.
    last: BTreeMap<(String, String, usize), i64>,
    suppressed: u64,
}

impl Model {
    /// One evaluation. `re_arm` = the window had emptied before; `quiet` = of a reversal.
    fn evaluate(
        &mut self,
        (line, row): (usize, &Row),
        (rule, key, period): (String, String, String),
        levels: Levels,
        value: Option<f64>,
        (re_arm, quiet): (bool, bool),
    ) {
        let slot = (rule.clone(), key.clone(), period);
        let fired = self.fired.entry(slot).or_insert_with(|| vec![false; levels.bounds.len()]);
        if re_arm {
            fired.fill(false);
        }
        let Some(value) = value else { return };
        let beyond = |bound: f64| if levels.above { value > bound } else { value < bound };
        let mut newly = Vec::new();
        for (level, bound) in levels.bounds.iter().enumerate() {
            if !beyond(levels.clear.unwrap_or(*bound)) {
                fired[level] = false;
            }
            if beyond(*bound) && !fired[level] && !quiet {
                newly.push(level);
                fired[level] = true;
            }
        }
        let Some(highest) = newly.last().copied() else { return };
        let last = self.last.get(&(rule.clone(), key.clone(), highest));
        let cold =
            levels.cooldown.zip(last).is_some_and(|(cooldown, last)| row.ts < last + cooldown);
        if cold {
            self.suppressed += 1;
            return;
        }
        for level in newly {
            self.last.insert((rule.clone(), key.clone(), level), row.ts);
        }
        self.firings.insert((line, rule, key, highest, format!("{value}")));
    }
}

#[expect(clippy::cast_precision_loss, reason = "the values of the model are small")]
fn ratio(sides: Sides, rows: &[&Row]) -> Option<f64> {
    let (of, to) = (sides.of.measure(rows) as f64, sides.to.measure(rows) as f64);
    (to >= sides.min_to).then(|| of / to)
}

fn model(rows: &[Row], zone: &TimeZone) -> (Firings, u64) {
    let day = |ts: i64| {
        let at = jiff::Timestamp::from_millisecond(ts).unwrap();
        zone.to_datetime(at).date().to_string()
    };
    let mut model = Model::default();
    let mut accepted: Vec<&Row> = Vec::new();
    let mut watermark = i64::MIN;
    for (line, row) in rows.iter().enumerate() {
        if watermark != i64::MIN && row.ts < watermark - LATENESS {
            continue;
        }
        watermark = watermark.max(row.ts);
        accepted.push(row);
        for (sides, by, levels, window) in forms() {
            let Some(key) = by.key(row) else { continue };
            if !sides.of.sees(row) && !sides.to.sees(row) {
                continue;
            }
            let sees = |other: &&Row| {
                by.key(other).as_ref() == Some(&key)
                    && (sides.of.sees(other) || sides.to.sees(other))
            };
            let own: Vec<&Row> = accepted.iter().copied().filter(sees).collect();
            let quiet = row.reverses.is_some();
            let plain = |rows: &[&Row]| {
                rows.iter().filter(|row| row.reverses.is_none()).map(|row| row.ts).max()
            };
            // Where nothing is held nothing happens (R10).
            let Some(t) = plain(&own) else { continue };
            let rule = name(sides, by, levels, window);
            let mut re_arm = false;
            let (period, held): (String, Vec<&Row>) = if window == "day" {
                let day_of = day(row.counts_at());
                let held = own.into_iter().filter(|other| day(other.counts_at()) == day_of);
                (day_of.clone(), held.collect())
            } else {
                let before = plain(&own[..own.len() - 1]);
                re_arm = !quiet && before.is_some_and(|before| t - before >= ROLLING);
                let within = |other: &&Row| (t - ROLLING + 1..=t).contains(&other.counts_at());
                (String::new(), own.into_iter().filter(within).collect())
            };
            let value = ratio(sides, &held);
            model.evaluate((line, row), (rule, key, period), levels, value, (re_arm, quiet));
        }
    }
    (model.firings, model.suppressed)
}

fn engine(rows: &[Row], zone: &str) -> (Firings, u64) {
    let folded = fold_rows(&rules(zone), rows);
    let firings = folded.decisions.into_iter().map(|(line, decision)| {
        let value = decision.value.as_ref().unwrap().as_f64().unwrap();
        let level = usize::try_from(decision.level).unwrap();
        let key = key_of(&decision);
        (line, decision.rule, key, level, format!("{value}"))
    });
    (firings.collect(), folded.own.suppressed + folded.shared.suppressed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn ratios_agree_with_a_list_scan(
        rows in history(Pace { back_ms: 700_000, ahead_ms: 1_200_000, most: 90 }),
        zone in prop_oneof![Just("UTC"), Just("Europe/Berlin")],
    ) {
        let (firings, suppressed) = model(&rows, &TimeZone::get(zone).unwrap());
        let (found, held_back) = engine(&rows, zone);
        let missed: Vec<_> = firings.difference(&found).collect();
        let extra: Vec<_> = found.difference(&firings).collect();
        prop_assert!(missed.is_empty() && extra.is_empty(), "missed {missed:#?}\nextra {extra:#?}");
        prop_assert_eq!(held_back, suppressed);
    }
}
