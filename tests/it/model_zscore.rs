//! Z-scores (R11) against a naive model that keeps every closed window of a key and works the
//! baseline out from scratch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use tidegate::engine::Decision;
use tidegate::event::{Decoder, Kind};

use crate::naive::{By, LATENESS, Pace, Row, fold, fold_rows, history, id, key_of};

const KEYS: [By; 4] = [By::User, By::Source, By::Global, By::UserSource];
const HISTORY: usize = 6;
const MINUTES_5: i64 = 300_000;
const HOURS_6: i64 = 21_600_000;
const DAY: i64 = 86_400_000;

// Bounds that no z-score of small integers meets exactly: a tie would be a matter of rounding.
const MIN_SD: f64 = 0.703_1;
const FORMS: [Form; 7] = [
    Form { name: "mean", measure: "sum(points)", above: Some(2.137), ..PLAIN },
    Form { name: "both", measure: "count", above: Some(1.237), below: Some(-0.837), ..PLAIN },
    Form {
        name: "quick",
        above: Some(1.831),
        below: Some(-1.131),
        close_after: Some(60_000),
        ..PLAIN
    },
    Form {
        name: "hushed",
        above: Some(0.931),
        below: Some(-0.531),
        cooldown: Some(720_000),
        ..PLAIN
    },
    Form {
        name: "ewma",
        method: Method::Ewma,
        min_windows: 8,
        below: Some(-0.637),
        above: Some(1.337),
        ..PLAIN
    },
    Form {
        name: "robust",
        method: Method::Robust,
        measure: "distinct(device)",
        above: Some(1.117),
        below: Some(-1.019),
        ..PLAIN
    },
    Form {
        name: "seasonal",
        method: Method::Seasonal,
        above: Some(1.217),
        below: Some(-1.031),
        ..PLAIN
    },
];
const PLAIN: Form = Form {
    name: "",
    method: Method::Mean,
    measure: "sum(points)",
    above: None,
    below: None,
    close_after: None,
    cooldown: None,
    min_windows: 3,
};

#[derive(Debug, Clone, Copy)]
struct Form {
    name: &'static str,
    method: Method,
    measure: &'static str,
    above: Option<f64>,
    below: Option<f64>,
    close_after: Option<i64>,
    cooldown: Option<i64>,
    min_windows: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Method {
    Mean,
    Robust,
    Ewma,
    /// Of `HISTORY` seasons, with a neighbour on each side.
    Seasonal,
}

impl Form {
    fn keys(self) -> impl Iterator<Item = By> {
        let seasonal = self.method == Method::Seasonal;
        let many = |by: &By| matches!(by, By::User | By::UserSource);
        KEYS.into_iter().filter(move |by| !(seasonal && many(by)))
    }

    /// A key with so many windows without an event is forgotten.
    fn empties_max(self, windows: &Windows) -> usize {
        let season = if self.method == Method::Seasonal { windows.season().1 } else { 1 };
        HISTORY * season
    }
}

#[derive(Debug, Clone)]
enum Windows {
    Fixed(i64, TimeZone),
    Days(TimeZone),
}

impl Windows {
    fn zone(&self) -> &TimeZone {
        let (Windows::Fixed(_, zone) | Windows::Days(zone)) = self;
        zone
    }

    /// Length of a season, and how many windows it has.
    fn season(&self) -> (i64, usize) {
        match self {
            Windows::Fixed(MINUTES_5, _) => (6 * MINUTES_5, 6),
            Windows::Fixed(..) => (4 * HOURS_6, 4),
            Windows::Days(_) => (3 * DAY, 3),
        }
    }

    /// Starts of the windows with the slot of another, in the seasons before.
    fn slots(&self, start: i64) -> BTreeSet<i64> {
        let at = |ts: i64| {
            let at = Timestamp::from_millisecond(ts).unwrap();
            at.to_zoned_datetime(self.zone().clone())
        };
        let season = self.season().0;
        let mut starts = BTreeSet::new();
        for ago in (1..).take(HISTORY) {
            let then = match self {
                Windows::Fixed(MINUTES_5, _) => start - ago * season,
                Windows::Fixed(length, _) => {
                    let then = at(start + length / 2).checked_sub((ago * season / DAY).days());
                    then.unwrap().timestamp().as_millisecond()
                }
                Windows::Days(_) => {
                    let noon =
                        at(start).date().at(12, 0, 0, 0).to_zoned_datetime(self.zone().clone());
                    let then = noon.unwrap().checked_sub((ago * season / DAY).days());
                    then.unwrap().timestamp().as_millisecond()
                }
            };
            let slot = self.span(then);
            starts.extend([self.span(slot.0 - 1).0, slot.0, slot.1]);
        }
        starts
    }

    fn span(&self, ts: i64) -> (i64, i64) {
        match self {
            Windows::Fixed(length, _) => {
                let start = ts.div_euclid(*length) * length;
                (start, start + length)
            }
            Windows::Days(zone) => {
                let date = zone.to_datetime(Timestamp::from_millisecond(ts).unwrap()).date();
                let start = date.to_zoned_datetime(zone.clone()).unwrap();
                let end =
                    date.checked_add(1.day()).unwrap().to_zoned_datetime(zone.clone()).unwrap();
                (start.timestamp().as_millisecond(), end.timestamp().as_millisecond())
            }
        }
    }
}

fn rules(windows: &Windows) -> String {
    let zone = windows.zone().iana_name().unwrap();
    let window = match windows {
        Windows::Fixed(length, _) => format!("{length}ms"),
        Windows::Days(_) => "day".to_owned(),
    };
    let mut text = format!("version: 1\ntimezone: {zone}\nrules:\n");
    for form in FORMS {
        for by in form.keys() {
            let mut zscore = Vec::new();
            zscore.extend(form.above.map(|bound| format!("above: {bound}")));
            zscore.extend(form.below.map(|bound| format!("below: {bound}")));
            let mut method = format!("{:?}", form.method).to_lowercase();
            if form.method == Method::Seasonal {
                write!(method, ", season: {}ms, neighbours: 1", windows.season().0).unwrap();
            }
            write!(
                text,
                "  - {{ name: {}, on: issue, per: {}, measure: {}, window: {window}, zscore: {{ {} }}, \
                 baseline: {{ method: {method}, history: {HISTORY}, min_windows: {}, min_sd: {MIN_SD} }}",
                name(form, by), by.per(), form.measure, zscore.join(", "), form.min_windows,
            )
            .unwrap();
            if let Some(close_after) = form.close_after {
                write!(text, ", close_after: {close_after}ms").unwrap();
            }
            if let Some(cooldown) = form.cooldown {
                write!(text, ", cooldown: {cooldown}ms").unwrap();
            }
            text.push_str(" }\n");
        }
    }
    text
}

fn name(form: Form, by: By) -> String {
    format!("{}-{by:?}", form.name)
}

fn measured(form: Form, rows: &[&Row]) -> i32 {
    let plain = rows.iter().filter(|row| row.reverses.is_none());
    let value: i64 = match form.measure {
        "count" => rows
            .iter()
            .map(|row| row.reverses.map_or(1, |original| if original.partial { 0 } else { -1 }))
            .sum(),
        "sum(points)" => rows
            .iter()
            .map(|row| if row.reverses.is_some() { -row.points } else { row.points })
            .sum(),
        _ => plain.filter_map(|row| row.device).collect::<BTreeSet<_>>().len().try_into().unwrap(),
    };
    i32::try_from(value).unwrap()
}

/// Mean and standard deviation of the closed windows, each with its start, that one is held
/// against; `None` = no verdict.
#[expect(clippy::cast_precision_loss, reason = "few windows")]
fn baseline(
    form: Form,
    closed: &[(i64, f64)],
    (windows, start): (&Windows, i64),
) -> Option<(f64, f64)> {
    let all: Vec<f64> = closed.iter().map(|(_, value)| *value).collect();
    let windows = match form.method {
        Method::Ewma => all,
        Method::Mean | Method::Robust => all[all.len().saturating_sub(HISTORY)..].to_vec(),
        Method::Seasonal => {
            let slots = windows.slots(start);
            let same = closed.iter().filter(|(start, _)| slots.contains(start));
            same.map(|(_, value)| *value).collect()
        }
    };
    if windows.len() < form.min_windows {
        return None;
    }
    let (mean, sd) = match form.method {
        Method::Mean => {
            let count = windows.len() as f64;
            let mean = windows.iter().sum::<f64>() / count;
            let squares: f64 = windows.iter().map(|x| (x - mean).powi(2)).sum();
            (mean, (squares / (count - 1.0)).sqrt())
        }
        Method::Robust | Method::Seasonal => {
            let middle = median(windows.clone());
            let off = windows.iter().map(|x| (x - middle).abs()).collect();
            (middle, 1.4826 * median(off))
        }
        Method::Ewma => {
            let alpha = 2.0 / (HISTORY as f64 + 1.0);
            let (mut mean, mut var) = (windows[0], 0.0);
            for x in &windows[1..] {
                let d = x - mean;
                mean += alpha * d;
                var = (1.0 - alpha) * (var + alpha * d * d);
            }
            (mean, f64::sqrt(var))
        }
    };
    Some((mean, sd.max(MIN_SD)))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) }
}

/// What is told of a decision that no rounding can move.
type Fact = (usize, String, String, i64, i64, String, (i64, i64), String);

/// z-score, mean and sd of each.
type Firings = BTreeMap<Fact, (f64, f64, f64)>;

/// One rule and key.
#[derive(Debug, Default)]
struct Series<'a> {
    /// Rows of windows not closed, by start.
    open: BTreeMap<i64, Vec<&'a Row>>,
    /// Start of the next window to close; `None` = the key is not known.
    next: Option<i64>,
    /// With their starts.
    closed: Vec<(i64, f64)>,
    empty: usize,
    fired_above: bool,
    fired_below: bool,
    /// Windows whose running value fired.
    fired_running: BTreeSet<i64>,
    last: Option<i64>,
}

#[derive(Debug, Default)]
struct Model {
    firings: Firings,
    suppressed: u64,
    /// Events of windows that their rule had closed.
    left_out: u64,
}

/// Where and about what a firing is.
#[derive(Debug)]
struct Firing {
    line: usize,
    rule: String,
    key: String,
    ts: i64,
    span: (i64, i64),
    trigger: String,
}

impl Model {
    /// A breach of an armed bound.
    fn fire(
        &mut self,
        form: Form,
        last: &mut Option<i64>,
        firing: Firing,
        value: i32,
        bound: f64,
        (mean, sd): (f64, f64),
    ) {
        let Firing { line, rule, key, ts, span, trigger } = firing;
        if form.cooldown.zip(*last).is_some_and(|(cooldown, last)| ts < last + cooldown) {
            self.suppressed += 1;
            return;
        }
        *last = Some(ts);
        let bound = format!("{bound}");
        let fact = (line, rule, key, ts, value.into(), bound, span, trigger);
        self.firings.insert(fact, ((f64::from(value) - mean) / sd, mean, sd));
    }

    /// Closes what the watermark lets close of one key, oldest first.
    fn close(
        &mut self,
        (form, by, key): (Form, By, &str),
        series: &mut Series<'_>,
        windows: &Windows,
        (line, watermark): (usize, i64),
    ) {
        let close_after = form.close_after.unwrap_or(LATENESS);
        while let Some(start) = series.next {
            let span = windows.span(start);
            if span.1 + close_after > watermark {
                return;
            }
            let rows = series.open.remove(&start).unwrap_or_default();
            let value = measured(form, &rows);
            let mut entering = f64::from(value);
            if matches!(windows, Windows::Days(_)) {
                (series.fired_above, series.fired_below) = (false, false);
            }
            if let Some((mean, sd)) = baseline(form, &series.closed, (windows, start)) {
                let z = (f64::from(value) - mean) / sd;
                let ran = series.fired_running.remove(&start);
                let firing = || Firing {
                    line,
                    rule: name(form, by),
                    key: key.to_owned(),
                    ts: span.1,
                    span,
                    trigger: id(line),
                };
                let above = form.above.filter(|above| z > *above);
                if let Some(above) = above {
                    entering = mean + above * sd;
                    if !series.fired_above && !ran {
                        self.fire(form, &mut series.last, firing(), value, above, (mean, sd));
                    }
                }
                series.fired_above = above.is_some();
                let below = form.below.filter(|below| z < *below);
                if let Some(below) = below {
                    entering = mean + below * sd;
                    if !series.fired_below {
                        self.fire(form, &mut series.last, firing(), value, below, (mean, sd));
                    }
                }
                series.fired_below = below.is_some();
            }
            series.closed.push((start, entering));
            let seen = rows.iter().any(|row| row.reverses.is_none());
            series.empty = if seen { 0 } else { series.empty + 1 };
            series.next = Some(span.1);
            if series.empty == form.empties_max(windows) {
                // What has not closed is all that is left, beside the cooldown.
                let Series { open, fired_running, last, .. } = std::mem::take(series);
                let next = open.keys().next().copied();
                *series = Series { open, next, fired_running, last, ..Series::default() };
            }
        }
    }

    /// Counts a row in its window, and judges the running value.
    fn count<'a>(
        &mut self,
        (form, by, key): (Form, By, &str),
        series: &mut Series<'a>,
        windows: &Windows,
        (line, row, watermark): (usize, &'a Row, i64),
    ) {
        let span = windows.span(row.counts_at());
        if span.1 + form.close_after.unwrap_or(LATENESS) <= watermark {
            self.left_out += u64::from(row.reverses.is_none());
            return;
        }
        series.open.entry(span.0).or_default().push(row);
        series.next = Some(series.next.map_or(span.0, |next| next.min(span.0)));
        if row.reverses.is_some() {
            return;
        }
        let value = measured(form, &series.open[&span.0]);
        let usual = baseline(form, &series.closed, (windows, span.0));
        let Some((mean, sd)) = usual else { return };
        let Some(above) = form.above.filter(|above| (f64::from(value) - mean) / sd > *above) else {
            return;
        };
        let armed = matches!(windows, Windows::Days(_)) || !series.fired_above;
        if armed && series.fired_running.insert(span.0) {
            series.fired_above = true;
            let (rule, key, trigger) = (name(form, by), key.to_owned(), id(line));
            let firing = Firing { line, rule, key, ts: row.ts, span, trigger };
            self.fire(form, &mut series.last, firing, value, above, (mean, sd));
        }
    }
}

fn model(rows: &[Row], windows: &Windows) -> Model {
    let mut model = Model::default();
    let mut all: BTreeMap<(String, String), (Form, By, Series<'_>)> = BTreeMap::new();
    let mut watermark = i64::MIN;
    for (line, row) in rows.iter().enumerate() {
        if watermark != i64::MIN && row.ts < watermark - LATENESS {
            continue;
        }
        watermark = watermark.max(row.ts);
        for ((_, key), (form, by, series)) in &mut all {
            model.close((*form, *by, key), series, windows, (line, watermark));
        }
        if row.counts_as() != Kind::Issue {
            continue;
        }
        for form in FORMS {
            for by in form.keys() {
                let Some(key) = by.key(row) else { continue };
                let slot = (name(form, by), key.clone());
                let (_, _, series) =
                    all.entry(slot).or_insert_with(|| (form, by, Series::default()));
                model.count((form, by, &key), series, windows, (line, row, watermark));
            }
        }
    }
    model
}

fn fact((line, decision): (usize, Decision)) -> (Fact, (f64, f64, f64)) {
    let key = key_of(&decision);
    let value = decision.value.unwrap().as_i64().unwrap();
    let bound = decision.bound.unwrap().as_f64().unwrap();
    let window = decision.window.unwrap();
    let span = (window.start.0, window.end.0);
    let trigger = decision.trigger.unwrap().id;
    let fact = (line, decision.rule, key, decision.ts.0, value, format!("{bound}"), span, trigger);
    (fact, (decision.zscore.unwrap(), decision.mean.unwrap(), decision.sd.unwrap()))
}

fn near(left: f64, right: f64) -> bool {
    (left - right).abs() <= 1e-6 * left.abs().max(1.0)
}

fn check(rows: &[Row], windows: &Windows) -> Result<(), TestCaseError> {
    let expected = model(rows, windows);
    let folded = fold_rows(&rules(windows), rows);
    let count = folded.decisions.len();
    let found: Firings = folded.decisions.into_iter().map(fact).collect();
    prop_assert_eq!(found.len(), count, "a decision came twice");
    let missed: Vec<_> =
        expected.firings.iter().filter(|(fact, _)| !found.contains_key(*fact)).collect();
    let extra: Vec<_> =
        found.iter().filter(|(fact, _)| !expected.firings.contains_key(*fact)).collect();
    prop_assert!(missed.is_empty() && extra.is_empty(), "missed {missed:#?}\nextra {extra:#?}");
    for (fact, (z, mean, sd)) in &expected.firings {
        let (other_z, other_mean, other_sd) = found[fact];
        let same = near(*z, other_z) && near(*mean, other_mean) && near(*sd, other_sd);
        prop_assert!(same, "{fact:?}: {:?} and not {:?}", found[fact], (z, mean, sd));
    }
    prop_assert_eq!(folded.own.suppressed + folded.shared.suppressed, expected.suppressed);
    let left_out = [&folded.own, &folded.shared].map(|one| one.closed_window + one.partials_late);
    prop_assert_eq!(left_out[0] + left_out[1], expected.left_out);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn zscores_of_fixed_windows_agree(
        rows in history(Pace { back_ms: 700_000, ahead_ms: 600_000, most: 160 }),
    ) {
        check(&rows, &Windows::Fixed(MINUTES_5, TimeZone::UTC))?;
    }

    #[test]
    fn zscores_of_quarters_of_a_day_agree(
        rows in history(Pace { back_ms: 1_200_000, ahead_ms: 15_000_000, most: 160 }),
        zone in prop_oneof![Just("UTC"), Just("Europe/Berlin"), Just("America/New_York")],
    ) {
        check(&rows, &Windows::Fixed(HOURS_6, TimeZone::get(zone).unwrap()))?;
    }

    #[test]
    fn zscores_of_days_agree(
        rows in history(Pace { back_ms: 1_200_000, ahead_ms: 40_000_000, most: 160 }),
        zone in prop_oneof![Just("UTC"), Just("Europe/Berlin"), Just("Asia/Shanghai")],
    ) {
        check(&rows, &Windows::Days(TimeZone::get(zone).unwrap()))?;
    }
}

/// R11: the greatest `close_after` is the allowed lateness, for what comes later counts nowhere.
#[test]
fn no_window_waits_longer_than_the_allowed_lateness() {
    let told = |close_after: &str| -> Vec<(usize, i64)> {
        let rules = format!(
            "version: 1\nrules:\n  - {{ name: r, on: issue, per: global, measure: count, window: 1m, \
             zscore: {{ below: -1 }}, baseline: {{ history: 5, min_windows: 2, min_sd: 0.1 }}{close_after} }}\n"
        );
        // Three events a minute for six minutes, a minute without, and then one a minute.
        let minutes = (0..6).flat_map(|minute| [minute; 3]).chain(7..40);
        let lines: Vec<String> = minutes
            .enumerate()
            .map(|(at, minute): (usize, i64)| {
                let ts = 1_763_780_040_000 + minute * 60_000;
                format!(r#"{{"id":"e{at}","ts":{ts},"user":"u","kind":"issue","points":1}}"#)
            })
            .collect();
        let decoder = Decoder::default();
        let events = lines.iter().map(|line| decoder.decode(line.as_bytes(), 65_536).unwrap());
        let folded = fold(&rules, events, 1);
        folded.decisions.iter().map(|(line, decision)| (*line, decision.ts.0)).collect()
    };
    let (long, short) = (told(", close_after: 1h"), told(", close_after: 10m"));
    assert!(!short.is_empty());
    assert_eq!(long, short);
    assert_eq!(told(""), short);
    assert_ne!(told(", close_after: 1m"), short);
}
