//! Levels that look ahead, against a naive model that keeps all amounts of a key in a list and
//! works out rate, instant and levels from scratch.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use tidegate::event::Kind;

use crate::naive::{By, LATENESS, Pace, Row, fold_rows, history, key_of};

const KEYS: [By; 2] = [By::Source, By::Global];
const MEASURES: [&str; 2] = ["count", "sum(points)"];
const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;

/// Bound and how far ahead.
type Level = (i64, Option<i64>);

#[derive(Debug, Clone, Copy)]
struct Form {
    name: &'static str,
    levels: &'static [Level],
    clear: Option<i64>,
    cooldown: Option<i64>,
}

const FORMS: [Form; 2] = [
    Form {
        name: "ladder",
        levels: &[
            (50, None),
            (150, Some(6 * HOUR)),
            (150, Some(HOUR)),
            (150, None),
            (400, Some(HOUR)),
        ],
        clear: None,
        cooldown: None,
    },
    Form {
        name: "hushed",
        levels: &[(100, Some(2 * HOUR)), (100, None), (250, None)],
        clear: Some(40),
        cooldown: Some(15 * MINUTE),
    },
];

fn name(form: Form, measure: &str, by: By) -> String {
    format!("{}-{}-{by:?}", form.name, measure.replace(['(', ')'], "-"))
}

fn rules(zone: &str) -> String {
    let mut text = format!("version: 1\ntimezone: {zone}\nrules:\n");
    for form in FORMS {
        for measure in MEASURES {
            for by in KEYS {
                let levels = form.levels.iter().map(|(bound, ahead)| {
                    let ahead = ahead.map_or(String::new(), |ms| format!(", forecast: {ms}ms"));
                    format!("{{ above: {bound}{ahead} }}")
                });
                let levels: Vec<String> = levels.collect();
                let more = [
                    form.clear.map_or(String::new(), |clear| format!(", clear: {clear}")),
                    form.cooldown.map_or(String::new(), |ms| format!(", cooldown: {ms}ms")),
                ];
                let line = format!(
                    "  - {{ name: {}, on: issue, per: {}, measure: {measure}, window: day, levels: [{}]{} }}\n",
                    name(form, measure, by),
                    by.per(),
                    levels.join(", "),
                    more.concat(),
                );
                text.push_str(&line);
            }
        }
    }
    text
}

fn amount(measure: &str, row: &Row) -> i64 {
    match (measure, row.reverses) {
        ("count", None) => 1,
        ("count", Some(original)) => -i64::from(!original.partial),
        (_, None) => row.points,
        (_, Some(_)) => -row.points,
    }
}

/// One rule and key.
#[derive(Debug, Default)]
struct Known {
    /// Where each amount counts.
    amounts: Vec<(i64, i64)>,
    /// Amounts that are of the present rate, with their minutes.
    recent: Vec<(i64, i64)>,
    first: i64,
    t: Option<i64>,
    /// Levels that count as fired, by start of the day.
    fired: BTreeMap<i64, BTreeSet<usize>>,
    last: BTreeMap<usize, i64>,
}

impl Known {
    fn take(&mut self, measure: &str, row: &Row) {
        let (at, amount) = (row.counts_at(), amount(measure, row));
        let minute = at.div_euclid(MINUTE);
        let last = self.t.map(|t| t.div_euclid(MINUTE));
        self.amounts.push((at, amount));
        if row.reverses.is_some() {
            if last.is_some_and(|last| (last - 30..=last).contains(&minute)) {
                self.recent.push((minute, amount));
            }
            return;
        }
        if last.is_none_or(|last| minute > last + 30) {
            self.recent.clear();
            self.first = minute;
        }
        self.first = self.first.min(minute);
        self.recent.push((minute, amount));
        self.t = Some(self.t.map_or(at, |t| t.max(at)));
    }

    /// What came in how many whole minutes.
    fn rate(&self) -> Option<(i64, i64)> {
        let now = self.t?.div_euclid(MINUTE);
        let from = self.first.max(now - 30);
        let minutes: Vec<i64> = (from..now)
            .map(|minute| {
                let same = self.recent.iter().filter(|(other, _)| *other == minute);
                same.map(|(_, amount)| amount).sum()
            })
            .collect();
        let busiest = minutes.iter().copied().max()?.max(0);
        let sum = minutes.iter().sum::<i64>() - busiest;
        (minutes.len() >= 5 && sum > 0).then(|| (sum, i64::try_from(minutes.len()).unwrap() - 1))
    }

    /// When `value` exceeds a bound, if that is within `ahead` and before `end`.
    fn reaches(&self, value: i64, (bound, ahead): Level, end: i64) -> Option<i64> {
        let (ahead, now, (sum, minutes)) = (ahead?, self.t?, self.rate()?);
        // The first millisecond at which more has come than is missing to the bound.
        let missing = bound + 1 - value;
        let wait = (missing * minutes * MINUTE + sum - 1) / sum;
        (value <= bound && wait <= ahead && now + wait < end).then_some(now + wait)
    }
}

/// Line, rule, key, level, value, forecast.
type Firings = BTreeSet<(usize, String, String, usize, i64, Option<i64>)>;

fn model(rows: &[Row], zone: &TimeZone) -> (Firings, u64) {
    let day = |ts: i64| {
        let date = zone.to_datetime(Timestamp::from_millisecond(ts).unwrap()).date();
        let start = |date: jiff::civil::Date| {
            date.to_zoned_datetime(zone.clone()).unwrap().timestamp().as_millisecond()
        };
        (start(date), start(date.checked_add(1.day()).unwrap()))
    };
    let (mut firings, mut suppressed) = (Firings::new(), 0);
    let mut all: BTreeMap<(String, String), Known> = BTreeMap::new();
    let mut watermark = i64::MIN;
    for (line, row) in rows.iter().enumerate() {
        if watermark != i64::MIN && row.ts < watermark - LATENESS {
            continue;
        }
        watermark = watermark.max(row.ts);
        if row.counts_as() != Kind::Issue {
            continue;
        }
        for form in FORMS {
            for (measure, by) in MEASURES.iter().flat_map(|one| KEYS.map(|by| (*one, by))) {
                let Some(key) = by.key(row) else { continue };
                let rule = name(form, measure, by);
                let known = all.entry((rule.clone(), key.clone())).or_default();
                known.take(measure, row);
                let (start, end) = day(row.counts_at());
                let today = known.amounts.iter().filter(|(at, _)| (start..end).contains(at));
                let value: i64 = today.map(|(_, amount)| amount).sum();
                let ahead = |level: &Level| known.reaches(value, *level, end);
                let breaches = |level: &Level| value > level.0 || ahead(level).is_some();
                let mut newly = Vec::new();
                let mut fired = known.fired.get(&start).cloned().unwrap_or_default();
                for (at, level) in form.levels.iter().enumerate() {
                    let clear = form.clear.filter(|_| level.1.is_none());
                    let holds = clear.map_or_else(|| breaches(level), |clear| value > clear);
                    if fired.contains(&at) && !holds {
                        fired.remove(&at);
                    } else if !fired.contains(&at) && breaches(level) {
                        newly.push(at);
                    }
                }
                let highest = newly.last().copied().filter(|_| row.reverses.is_none());
                let forecast = highest.and_then(|level| ahead(&form.levels[level]));
                if let Some(level) = highest {
                    fired.extend(&newly);
                    let last = known.last.get(&level);
                    let cold = form
                        .cooldown
                        .zip(last)
                        .is_some_and(|(length, last)| row.ts < last + length);
                    if cold {
                        suppressed += 1;
                    } else {
                        known.last.extend(newly.iter().map(|level| (*level, row.ts)));
                        firings.insert((line, rule, key, level, value, forecast));
                    }
                }
                known.fired.insert(start, fired);
            }
        }
    }
    (firings, suppressed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn forecasts_agree_with_a_list_scan(
        rows in history(Pace { back_ms: 300_000, ahead_ms: 260_000, most: 240 }),
        zone in prop_oneof![Just("UTC"), Just("Europe/Berlin"), Just("Asia/Shanghai")],
    ) {
        let (firings, suppressed) = model(&rows, &TimeZone::get(zone).unwrap());
        let folded = fold_rows(&rules(zone), &rows);
        let found: Firings = folded
            .decisions
            .into_iter()
            .map(|(line, decision)| {
                let value = decision.value.as_ref().unwrap().as_i64().unwrap();
                let level = usize::try_from(decision.level).unwrap();
                let (key, forecast) = (key_of(&decision), decision.forecast.map(|at| at.0));
                (line, decision.rule, key, level, value, forecast)
            })
            .collect();
        let missed: Vec<_> = firings.difference(&found).collect();
        let extra: Vec<_> = found.difference(&firings).collect();
        prop_assert!(missed.is_empty() && extra.is_empty(), "missed {missed:#?}\nextra {extra:#?}");
        prop_assert_eq!(folded.own.suppressed + folded.shared.suppressed, suppressed);
    }
}

/// Rows of one source, one a minute: the model and the engine are not both blind.
#[test]
fn a_steady_source_is_told_ahead_and_again_at_its_bound() {
    let row = |minute: i64| Row {
        ts: 1_761_470_000_000 + minute * MINUTE,
        user: 0,
        source: Some(0),
        device: None,
        kind: Kind::Issue,
        points: 1,
        reverses: None,
    };
    let rows: Vec<Row> = (0..160).map(row).collect();
    let (firings, _) = model(&rows, &TimeZone::UTC);
    let of = |rule: &str| -> Vec<(usize, usize, bool)> {
        let own = firings.iter().filter(|firing| firing.1 == rule);
        own.map(|firing| (firing.0, firing.3, firing.5.is_some())).collect()
    };
    // One a minute: six hours before 150 is at once, one hour before it at 91.
    let ladder = [(5, 1, true), (50, 0, false), (90, 2, true), (150, 3, false)];
    assert_eq!(of("ladder-count-Source"), ladder);
    assert_eq!(of("hushed-count-Global"), [(5, 0, true), (100, 1, false)]);
}
