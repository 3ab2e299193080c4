//! What templates can say of the account of a day.

use serde::Serialize;
use serde_json::{Value, json};

use super::markup::tame;
use super::words::{self, Words};
use crate::engine::DailyReport;
use crate::engine::daily::{Amount, Cap, Figures, PartitionRecords, Periods};
use crate::notify::receivers::Language;

/// Sources, caps, rules and partitions that a mail lists; the report has all of them.
const LISTED_MAX: usize = 20;

/// `daily` in templates. Numbers are written out.
#[derive(Debug, Serialize)]
pub(super) struct Account {
    date: String,
    zone: String,
    since: String,
    ok: bool,
    verdict: &'static str,
    colour: &'static str,
    complete: bool,
    waiting: Vec<String>,
    /// Points issued, redeemed, expired and so on: those that there are.
    totals: Vec<Line>,
    sources: Vec<SourceLine>,
    more_sources: usize,
    corrections: Vec<(String, String)>,
    caps: Vec<CapLine>,
    more_caps: usize,
    rules: Vec<RuleLine>,
    more_rules: usize,
    records: RecordsLine,
    partitions: Vec<RecordsLine>,
    more_partitions: usize,
    faults: Vec<String>,
}

/// Points of one column.
#[derive(Debug, Serialize)]
struct Line {
    /// A word of `t`.
    name: &'static str,
    day: String,
    events: String,
    month: String,
    quarter: String,
    year: String,
}

#[derive(Debug, Serialize)]
struct SourceLine {
    /// Empty for events without a source.
    name: String,
    is_rest: bool,
    /// A word of `t`, and points.
    day: Vec<(&'static str, String)>,
    month: Vec<(&'static str, String)>,
    year: Vec<(&'static str, String)>,
}

#[derive(Debug, Serialize)]
struct CapLine {
    rule: String,
    who: String,
    value: String,
    bound: String,
    percent: String,
    /// For a bar: 0 to 100.
    width: u8,
    colour: &'static str,
    window: String,
    forecast: Option<String>,
}

#[derive(Debug, Serialize)]
struct RuleLine {
    rule: String,
    level: u32,
    severity_word: &'static str,
    colour: &'static str,
    shadow: bool,
    count: String,
    /// Command and how often; of a rule, with its first level.
    commands: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
struct RecordsLine {
    partition: Option<i32>,
    offsets: Option<String>,
    consumed: String,
    accepted: String,
    duplicate: String,
    late: String,
    quarantined: String,
    ok: bool,
}

impl Account {
    pub(super) fn of(report: &DailyReport, words: &Words) -> Account {
        let ok = report.conservation.ok;
        let all = report.conservation.total;
        let numbers = [all.consumed, all.accepted, all.duplicate, all.late, all.quarantined];
        let sources = sources(report);
        let shown = |len: usize| len.saturating_sub(LISTED_MAX);
        Account {
            date: tame(&report.date),
            zone: tame(&report.zone),
            since: tame(&report.since),
            ok,
            verdict: if ok { "OK" } else { "MISMATCH" },
            colour: if ok { "#1b6e3c" } else { "#b3261e" },
            complete: report.complete,
            waiting: report.waiting.iter().map(|one| tame(one)).collect(),
            totals: totals(&report.total),
            more_sources: shown(sources.len()),
            sources: sources.into_iter().take(LISTED_MAX).collect(),
            corrections: report
                .corrections
                .iter()
                .map(|one| (tame(&one.date), signed(one.figures.net)))
                .collect(),
            caps: report.caps.iter().take(LISTED_MAX).map(|one| cap(one, words)).collect(),
            more_caps: shown(report.caps.len()),
            rules: rules(report, words),
            more_rules: shown(report.decisions.len()),
            records: line(None, None, numbers, ok),
            partitions: report.conservation.partitions.iter().take(LISTED_MAX).map(own).collect(),
            more_partitions: shown(report.conservation.partitions.len()),
            faults: report.conservation.faults.iter().map(|fault| tame(fault)).collect(),
        }
    }
}

/// The account in one line.
pub(super) fn headline(report: &DailyReport, language: Language) -> String {
    let Figures { issued, redeemed, expired, .. } = &report.total.day;
    let [issued, redeemed, expired] = [issued, redeemed, expired].map(|one| points(one.points));
    match (language, report.conservation.ok) {
        (Language::En, ok) => {
            let verdict = if ok { "all records accounted for" } else { "records do NOT add up" };
            format!("issued {issued}, redeemed {redeemed}, expired {expired}; {verdict}")
        }
        (Language::Zh, ok) => {
            let verdict = if ok { "记录核对一致" } else { "记录核对不一致" };
            format!("发放 {issued}，兑换 {redeemed}，过期 {expired}；{verdict}")
        }
    }
}

/// The columns of figures, each a word of `t`.
fn columns(figures: &Figures) -> [(&'static str, Amount); 9] {
    let back = &figures.reversed;
    [
        ("issued", figures.issued),
        ("redeemed", figures.redeemed),
        ("expired", figures.expired),
        ("adjusted", figures.adjusted),
        ("back_issued", back.issued),
        ("back_redeemed", back.redeemed),
        ("back_expired", back.expired),
        ("back_adjusted", back.adjusted),
        ("back_other", back.other),
    ]
}

fn totals(total: &Periods) -> Vec<Line> {
    let all = columns(&total.day).into_iter().zip(columns(&total.month));
    let all = all.zip(columns(&total.quarter)).zip(columns(&total.year));
    let mut lines = Vec::new();
    for (nth, (((day, month), quarter), year)) in all.enumerate() {
        // Issued, redeemed and expired always, the others where there are any.
        if nth < 3 || year.1.events > 0 || day.1.events > 0 {
            lines.push(Line {
                name: day.0,
                day: points(day.1.points),
                events: count(day.1.events),
                month: points(month.1.points),
                quarter: points(quarter.1.points),
                year: points(year.1.points),
            });
        }
    }
    lines.push(Line {
        name: "net",
        day: signed(total.day.net),
        events: String::new(),
        month: signed(total.month.net),
        quarter: signed(total.quarter.net),
        year: signed(total.year.net),
    });
    lines
}

/// Those with something on the day, the largest first; then those without.
fn sources(report: &DailyReport) -> Vec<SourceLine> {
    let some = |figures: &Figures| {
        let some = columns(figures).into_iter().filter(|(_, amount)| amount.events > 0);
        some.map(|(name, amount)| (name, points(amount.points))).collect()
    };
    let volume = |periods: &Periods| -> u128 {
        let all = columns(&periods.day).map(|(_, amount)| u128::from(amount.points.unsigned_abs()));
        all.iter().sum()
    };
    let mut all: Vec<(&str, bool, &Periods)> =
        report.sources.iter().map(|one| (one.source.as_str(), false, &one.figures)).collect();
    all.extend(report.other_sources.iter().map(|periods| ("", true, periods)));
    all.sort_by_key(|(.., periods)| std::cmp::Reverse(volume(periods)));
    let line = |(name, is_rest, periods): (&str, bool, &Periods)| SourceLine {
        name: tame(name),
        is_rest,
        day: some(&periods.day),
        month: some(&periods.month),
        year: some(&periods.year),
    };
    all.into_iter().map(line).collect()
}

fn cap(cap: &Cap, words: &Words) -> CapLine {
    let (window, _) = words.window(&tame(&cap.window.label));
    let zone = words.zone_of(Some(&cap.window.label));
    let who = cap.key.as_object().map(|key| words.who(key)).unwrap_or_default();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 100"
    )]
    let width = cap.percent.clamp(0.0, 100.0) as u8;
    CapLine {
        rule: tame(&cap.rule),
        who: tame(&who),
        value: words::number(&cap.value),
        bound: words::number(&cap.bound),
        percent: words::number(&json!(cap.percent)),
        width,
        colour: if cap.percent >= 100.0 {
            "#b3261e"
        } else if cap.percent >= 80.0 {
            "#8a5a00"
        } else {
            "#1a5fb4"
        },
        window,
        forecast: cap.forecast.map(|at| words::short(at.0, &zone, false)),
    }
}

fn rules(report: &DailyReport, words: &Words) -> Vec<RuleLine> {
    let mut lines: Vec<RuleLine> = Vec::new();
    for one in report.decisions.iter().take(LISTED_MAX) {
        let is_first = lines.last().is_none_or(|last| last.rule != tame(&one.rule));
        let commands = report.commands.iter().filter(|command| command.rule == one.rule);
        let commands = commands.filter(|_| is_first && one.mode != "shadow");
        lines.push(RuleLine {
            rule: tame(&one.rule),
            level: one.level,
            severity_word: words.severity(one.severity),
            colour: super::facts::colour(one.severity),
            shadow: one.mode == "shadow",
            count: count(one.decisions),
            commands: commands.map(|one| (tame(&one.command), count(one.count))).collect(),
        });
    }
    lines
}

fn own(one: &PartitionRecords) -> RecordsLine {
    let all = one.records;
    let numbers = [all.consumed, all.accepted, all.duplicate, all.late, all.quarantined];
    let offsets = one.first_offset.zip(one.last_offset);
    let offsets = offsets.map(|(first, last)| format!("{first}–{last}"));
    line(Some(one.partition), offsets, numbers, one.ok)
}

fn line(
    partition: Option<i32>,
    offsets: Option<String>,
    numbers: [u64; 5],
    ok: bool,
) -> RecordsLine {
    let [consumed, accepted, duplicate, late, quarantined] = numbers.map(count);
    RecordsLine { partition, offsets, consumed, accepted, duplicate, late, quarantined, ok }
}

fn points(points: i64) -> String {
    words::number(&Value::from(points))
}

fn signed(points: i64) -> String {
    let sign = if points > 0 { "+" } else { "" };
    format!("{sign}{}", self::points(points))
}

fn count(count: u64) -> String {
    words::number(&Value::from(count))
}
