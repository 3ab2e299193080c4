//! Silence (R13) against a naive model that scans the list of all accepted events.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use tidegate::event::Kind;

use crate::naive::{By, LATENESS, Pace, Row, fold_rows, history, key_of};

const WEEK: i64 = 7 * 86_400_000;
const KEYS: [By; 2] = [By::Source, By::Global];
const FORMS: [Form; 4] = [
    Form { name: "day", measure: "count", window: "day", bounds: &[3, 1], ..PLAIN },
    Form { name: "tired", window: "day", bounds: &[6], cooldown: Some(200_000_000), ..PLAIN },
    Form { name: "rolling", measure: "count", bounds: &[3, 1], ..PLAIN },
    Form { name: "hushed", clear: Some(9), cooldown: Some(2_400_000), ..PLAIN },
];
const PLAIN: Form = Form {
    name: "",
    measure: "sum(points)",
    window: "30m",
    bounds: &[5],
    clear: None,
    cooldown: None,
};
/// The rolling window of all that have one.
const ROLLING: i64 = 1_800_000;

#[derive(Debug, Clone, Copy)]
struct Form {
    name: &'static str,
    measure: &'static str,
    window: &'static str,
    bounds: &'static [i64],
    clear: Option<i64>,
    cooldown: Option<i64>,
}

impl Form {
    fn is_day(self) -> bool {
        self.window == "day"
    }

    fn measured<'a>(self, rows: impl Iterator<Item = &'a Row>) -> i64 {
        let sign = |row: &Row| if row.reverses.is_some() { -1 } else { 1 };
        let count = |row: &Row| match row.reverses {
            Some(original) if original.partial => 0,
            _ => sign(row),
        };
        let one = |row: &Row| {
            if self.measure == "count" { count(row) } else { sign(row) * row.points }
        };
        rows.map(one).sum()
    }
}

fn name(form: Form, by: By) -> String {
    format!("{}-{by:?}", form.name)
}

fn rules(zone: &str) -> String {
    let mut text = format!("version: 1\ntimezone: {zone}\nrules:\n");
    for form in FORMS {
        for by in KEYS {
            let bounds: Vec<String> =
                form.bounds.iter().map(|bound| format!("{{ below: {bound} }}")).collect();
            write!(
                text,
                "  - {{ name: {}, on: issue, per: {}, measure: {}, window: {}, levels: [{}]",
                name(form, by),
                by.per(),
                form.measure,
                form.window,
                bounds.join(", "),
            )
            .unwrap();
            if let Some(clear) = form.clear {
                write!(text, ", clear: {clear}").unwrap();
            }
            if let Some(cooldown) = form.cooldown {
                write!(text, ", cooldown: {cooldown}ms").unwrap();
            }
            text.push_str(" }\n");
        }
    }
    text
}

fn day(zone: &TimeZone, ts: i64) -> (i64, i64) {
    let date = zone.to_datetime(Timestamp::from_millisecond(ts).unwrap()).date();
    let start = date.to_zoned_datetime(zone.clone()).unwrap();
    let end = date.checked_add(1.day()).unwrap().to_zoned_datetime(zone.clone()).unwrap();
    (start.timestamp().as_millisecond(), end.timestamp().as_millisecond())
}

/// Line, rule, key, level, value and window.
type Firings = BTreeSet<(usize, String, String, usize, i64, (i64, i64))>;

/// One rule and key. With it its cooldown is forgotten.
#[derive(Debug)]
struct Known<'a> {
    form: Form,
    by: By,
    key: String,
    rows: Vec<&'a Row>,
    /// Event time of the first event that came.
    first: i64,
    last_event: i64,
    /// Start of the next day to close.
    next: i64,
    fired: Vec<bool>,
}

#[derive(Debug, Default)]
struct Model {
    firings: Firings,
    last: BTreeMap<(String, String, usize), i64>,
    suppressed: u64,
}

impl Model {
    /// One evaluation of levels of which `fired` have fired.
    fn evaluate(
        &mut self,
        (form, rule, key): (Form, String, String),
        fired: &mut [bool],
        (line, ts, span): (usize, i64, (i64, i64)),
        value: i64,
        quiet: bool,
    ) {
        let mut newly = Vec::new();
        for (level, bound) in form.bounds.iter().enumerate() {
            if value >= form.clear.unwrap_or(*bound) {
                fired[level] = false;
            }
            if value < *bound && !fired[level] && !quiet {
                fired[level] = true;
                newly.push(level);
            }
        }
        let Some(highest) = newly.last().copied() else { return };
        let last = self.last.get(&(rule.clone(), key.clone(), highest));
        if form.cooldown.zip(last).is_some_and(|(cooldown, last)| ts < last + cooldown) {
            self.suppressed += 1;
            return;
        }
        for level in newly {
            self.last.insert((rule.clone(), key.clone(), level), ts);
        }
        self.firings.insert((line, rule, key, highest, value, span));
    }

    /// False, for `retain`.
    fn forget(&mut self, (rule, key): &(String, String)) -> bool {
        self.last.retain(|slot, _| (&slot.0, &slot.1) != (rule, key));
        false
    }

    /// Closes days that are due; false when the key is forgotten.
    fn close(
        &mut self,
        known: &mut Known<'_>,
        zone: &TimeZone,
        line: usize,
        watermark: i64,
    ) -> bool {
        loop {
            let span = day(zone, known.next);
            if span.1 + LATENESS > watermark {
                return true;
            }
            let rows = known.rows.iter().filter(|row| (span.0..span.1).contains(&row.counts_at()));
            let value = known.form.measured(rows.copied());
            let what = (known.form, name(known.form, known.by), known.key.clone());
            let mut fired = vec![false; known.form.bounds.len()];
            self.evaluate(what, &mut fired, (line, span.1, span), value, false);
            if span.1 - known.last_event >= WEEK {
                return false;
            }
            known.next = span.1;
        }
    }

    /// Judges a rolling window at the watermark; false when the key is forgotten.
    fn judge(
        &mut self,
        known: &mut Known<'_>,
        (line, ts): (usize, i64),
        watermark: i64,
        quiet: bool,
    ) -> bool {
        if watermark - known.first < ROLLING {
            return true;
        }
        let span = (watermark - ROLLING, watermark);
        let within = |row: &&&Row| span.0 < row.counts_at() && row.counts_at() <= span.1;
        let value = known.form.measured(known.rows.iter().filter(within).copied());
        let what = (known.form, name(known.form, known.by), known.key.clone());
        self.evaluate(what, &mut known.fired, (line, ts, span), value, quiet);
        watermark - known.last_event < WEEK
    }
}

fn model(rows: &[Row], zone: &TimeZone) -> (Firings, u64) {
    let mut model = Model::default();
    let mut all: BTreeMap<(String, String), Known<'_>> = BTreeMap::new();
    let mut watermark = i64::MIN;
    for (line, row) in rows.iter().enumerate() {
        if watermark != i64::MIN && row.ts < watermark - LATENESS {
            continue;
        }
        let moved = row.ts > watermark;
        watermark = watermark.max(row.ts);
        all.retain(|slot, known| {
            let kept = !known.form.is_day() || model.close(known, zone, line, watermark);
            kept || model.forget(slot)
        });
        let mut seen = BTreeSet::new();
        for (form, by) in FORMS.into_iter().flat_map(|form| KEYS.map(|by| (form, by))) {
            let Some(key) = by.key(row).filter(|_| row.counts_as() == Kind::Issue) else {
                continue;
            };
            let slot = (name(form, by), key.clone());
            if row.reverses.is_none() {
                let start = day(zone, row.ts).0;
                let known = all.entry(slot.clone()).or_insert_with(|| Known {
                    form,
                    by,
                    key,
                    rows: Vec::new(),
                    first: row.ts,
                    last_event: row.ts,
                    next: start,
                    fired: vec![false; form.bounds.len()],
                });
                known.last_event = known.last_event.max(row.ts);
                known.next = known.next.min(start).max(closed_until(zone, watermark));
            }
            if let Some(known) = all.get_mut(&slot) {
                known.rows.push(row);
                seen.insert(slot);
            }
        }
        let quiet = row.reverses.is_some();
        all.retain(|slot, known| {
            let seen = seen.contains(slot);
            let judged = !known.form.is_day() && (moved || seen);
            let kept = !judged || model.judge(known, (line, row.ts), watermark, quiet && seen);
            kept || model.forget(slot)
        });
    }
    (model.firings, model.suppressed)
}

/// Start of the first day that has not closed.
fn closed_until(zone: &TimeZone, watermark: i64) -> i64 {
    day(zone, watermark - LATENESS).0
}

fn engine(rows: &[Row], zone: &str) -> (Firings, u64) {
    let folded = fold_rows(&rules(zone), rows);
    let firings = folded.decisions.into_iter().map(|(line, decision)| {
        let value = decision.value.as_ref().unwrap().as_i64().unwrap();
        let level = usize::try_from(decision.level).unwrap();
        let window = decision.window.as_ref().unwrap();
        let span = (window.start.0, window.end.0);
        let key = key_of(&decision);
        (line, decision.rule, key, level, value, span)
    });
    (firings.collect(), folded.own.suppressed + folded.shared.suppressed)
}

fn check(rows: &[Row], zone: &str) -> Result<(), TestCaseError> {
    let (firings, suppressed) = model(rows, &TimeZone::get(zone).unwrap());
    let (found, held_back) = engine(rows, zone);
    let missed: Vec<_> = firings.difference(&found).collect();
    let extra: Vec<_> = found.difference(&firings).collect();
    prop_assert!(missed.is_empty() && extra.is_empty(), "missed {missed:#?}\nextra {extra:#?}");
    prop_assert_eq!(held_back, suppressed);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn silence_within_days_agrees_with_a_list_scan(
        rows in history(Pace { back_ms: 700_000, ahead_ms: 1_200_000, most: 120 }),
        zone in prop_oneof![Just("UTC"), Just("Europe/Berlin")],
    ) {
        check(&rows, zone)?;
    }

    #[test]
    fn silence_over_weeks_agrees_with_a_list_scan(
        rows in history(Pace { back_ms: 20_000_000, ahead_ms: 250_000_000, most: 120 }),
        zone in prop_oneof![Just("UTC"), Just("Europe/Berlin")],
    ) {
        check(&rows, zone)?;
    }
}
