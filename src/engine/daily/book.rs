//! The owner's side of the account: open days, sums to date, and what each partition says of its
//! records.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::engine::calendar::date_of;
use crate::engine::daily::caps::fullest;
use crate::engine::daily::report::{Cap, CommandCount, RuleCount};
use crate::engine::daily::sheet::Sheet;
use crate::engine::daily::sums::{Intake, Row, Stretch, Sums, add_outcomes, add_row};
use crate::engine::daily::{SOURCES_MAX, WAIT_MS};
use crate::engine::inputs::{Inputs, Told};
use crate::engine::plan::Plan;
use crate::event::EventTime;

/// Days that one report corrects at most; what is older counts with the oldest of them.
const CORRECTIONS_MAX: usize = 31;
/// Days in a row without a record that have a report each. Beyond that the stream has jumped.
const QUIET_DAYS_MAX: i32 = 40;
/// Faults kept of one partition until a report tells them.
const FAULTS_MAX: usize = 5;

/// The account of all partitions. A function of the partials log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Book {
    /// What each partition said of its watermark: of the events by number, of the partials by
    /// −1 − number.
    inputs: Inputs,
    /// The watermark of the account, which never falls.
    pub(super) watermark: Option<i64>,
    pub(super) partitions: u32,
    /// No day is over before this instant, lateness and all.
    #[serde(skip)]
    pub(super) day_end: i64,
    /// The last day that has its report.
    pub(super) issued: Option<i32>,
    /// The first day of all.
    pub(super) since: Option<i32>,
    /// Sources that are kept by name, of the year that `issued` is in, and of those behind it.
    pub(super) sources: BTreeSet<String>,
    #[serde(default)]
    pub(super) newer: BTreeSet<String>,
    pub(super) days: BTreeMap<i32, Day>,
    /// Of the periods that `issued` is in, up to it.
    pub(super) month: Sums,
    pub(super) quarter: Sums,
    pub(super) year: Sums,
    pub(super) corrections: BTreeMap<i32, Row>,
    /// Partitions of the events topic.
    pub(super) parts: BTreeMap<i32, Part>,
    /// By partition of the partials topic: the last day that it has closed.
    pub(super) owners: BTreeMap<i32, i32>,
}

/// A day without its report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Day {
    pub(super) sums: Sums,
    pub(super) decisions: Vec<RuleCount>,
    pub(super) commands: Vec<CommandCount>,
    pub(super) caps: Vec<Cap>,
    /// By partition of the events topic.
    pub(super) stretches: BTreeMap<i32, Stretch>,
}

/// What is known of a partition of the events topic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// As it told them last.
    totals: Intake,
    pub(super) watermark: Option<i64>,
    pub(super) idle: bool,
    /// Records before its first event.
    undated: Stretch,
    pub(super) faults: Vec<String>,
}

/// The year, quarter and month of a day.
pub(super) fn periods_of(day: i32) -> [(i16, i8); 3] {
    let date = date_of(day);
    let (year, month) = (date.year(), date.month());
    [(year, 0), (year, (month - 1) / 3), (year, month)]
}

impl Book {
    /// Takes in what a partition tells. True when a sum saturated.
    pub(crate) fn take(&mut self, sheet: Sheet, record_ts: Option<i64>) -> bool {
        self.tell(&sheet, record_ts);
        let mut saturated = false;
        if !sheet.is_owner {
            let part = self.parts.entry(sheet.partition).or_default();
            part.check(&sheet);
            (part.totals, part.idle) = (sheet.totals, sheet.idle);
            part.watermark = part.watermark.max(sheet.watermark);
            self.stretch(&sheet);
        }
        for (day, sums) in sheet.days {
            let sums = self.known(day, sums);
            saturated |= self.add(day, &sums);
        }
        for (day, row) in sheet.more.decisions {
            let rows = &mut self.open(day).decisions;
            let same = |known: &&mut RuleCount| {
                let names = |one: &RuleCount| (one.level, one.severity);
                known.rule == row.rule && names(known) == names(&row) && known.mode == row.mode
            };
            match rows.iter_mut().find(same) {
                Some(known) => known.decisions += row.decisions,
                None => rows.push(row),
            }
        }
        for (day, row) in sheet.more.commands {
            let rows = &mut self.open(day).commands;
            let same = |one: &&mut CommandCount| one.rule == row.rule && one.command == row.command;
            match rows.iter_mut().find(same) {
                Some(known) => known.count += row.count,
                None => rows.push(row),
            }
        }
        if let Some(day) = sheet.more.closed {
            let last = self.owners.entry(sheet.partition).or_insert(day);
            *last = day.max(*last);
            // A month has a value on days before the account begins, too.
            let is_open = self.since.is_some_and(|since| since <= day)
                && self.issued.is_none_or(|issued| issued < day);
            if is_open && !sheet.more.caps.is_empty() {
                let caps = &mut self.open(day).caps;
                caps.extend(sheet.more.caps);
                fullest(caps);
            }
        }
        saturated
    }

    fn tell(&mut self, sheet: &Sheet, record_ts: Option<i64>) {
        self.partitions = self.partitions.max(sheet.partitions);
        let from = if sheet.is_owner { -1 - sheet.partition } else { sheet.partition };
        let told = Told { watermark: sheet.watermark, idle: sheet.idle };
        // Both topics have as many.
        let all = self.partitions.saturating_mul(2);
        let watermark = self.inputs.tell(from, told, all, record_ts, WAIT_MS);
        self.watermark = self.watermark.max(watermark);
    }

    /// The days whose time has come, `closed` being the last that is over: each has its report,
    /// but of a long time without any record only those with something in them.
    pub(crate) fn due(&self, closed: i32) -> Vec<i32> {
        let first = match self.issued {
            Some(issued) => issued + 1,
            None => self.days.keys().next().copied().unwrap_or(i32::MAX),
        };
        if first > closed {
            return Vec::new();
        }
        if closed - first < QUIET_DAYS_MAX {
            return (first..=closed).collect();
        }
        self.days.range(first..=closed).map(|(day, _)| *day).collect()
    }

    /// Days that have no report, whether they are over or not.
    pub(crate) fn rest(&self) -> Vec<i32> {
        self.days.keys().copied().collect()
    }

    /// Times that stand in it.
    pub(crate) fn times(&self) -> impl Iterator<Item = i64> {
        let parts = self.parts.values().filter_map(|part| part.watermark);
        self.inputs.times().chain(self.watermark).chain(parts)
    }

    fn stretch(&mut self, sheet: &Sheet) {
        for (day, stretch) in &sheet.stretches {
            let part = self.parts.entry(sheet.partition).or_default();
            let Some(day) = day else {
                part.undated.extend(stretch);
                continue;
            };
            let undated = std::mem::take(&mut part.undated);
            let own = self.open(*day).stretches.entry(sheet.partition).or_default();
            for some in [&undated, stretch] {
                if some.consumed > 0 {
                    own.extend(some);
                }
            }
        }
    }

    /// The day, or the next without a report where it has one.
    fn open(&mut self, day: i32) -> &mut Day {
        let day = self.issued.map_or(day, |issued| day.max(issued + 1));
        self.since = Some(self.since.map_or(day, |since| since.min(day)));
        self.days.entry(day).or_default()
    }

    fn add(&mut self, day: i32, sums: &Sums) -> bool {
        if sums.is_empty() {
            return false;
        }
        let Some(issued) = self.issued.filter(|issued| day <= *issued) else {
            return self.open(day).sums.merge(sums);
        };
        let mut saturated = false;
        let [year, quarter, month] = periods_of(day);
        let last = periods_of(issued);
        for (period, same) in [
            (&mut self.year, year == last[0]),
            (&mut self.quarter, quarter == last[1]),
            (&mut self.month, month == last[2]),
        ] {
            saturated |= same && period.merge(sums);
        }
        let is_new = !self.corrections.contains_key(&day);
        let day = match self.corrections.first_key_value() {
            Some((oldest, _)) if is_new && self.corrections.len() >= CORRECTIONS_MAX => *oldest,
            _ => day,
        };
        saturated | add_row(self.corrections.entry(day).or_default(), &sums.total())
    }

    /// The same under the names that stand.
    fn known(&mut self, day: i32, sums: Sums) -> Sums {
        let year = |day| periods_of(day)[0];
        let is_newer = self.issued.or(self.since).is_some_and(|last| year(day) > year(last));
        let sources = if is_newer { &mut self.newer } else { &mut self.sources };
        let mut known = Sums { other: sums.other, ..Sums::default() };
        for (source, row) in sums.named {
            if sources.len() < SOURCES_MAX {
                sources.insert(source.clone());
            }
            let stands = sources.contains(&source);
            known.add(stands.then_some(source.as_str()), &row);
        }
        known
    }
}

impl Part {
    /// Holds what is new against what the partition has counted in all.
    fn check(&mut self, sheet: &Sheet) {
        let (before, now) = (self.totals, &sheet.totals);
        if before.consumed == 0 {
            return;
        }
        let mut new = Stretch::default();
        let mut faults = Vec::new();
        for (_, stretch) in sheet.stretches.iter().filter(|(_, stretch)| stretch.consumed > 0) {
            new.extend(stretch);
        }
        if new.consumed > 0 && new.from < before.next {
            faults.push(format!("offsets {} to {} came twice", new.from, before.next - 1));
        }
        if before.counts_as(now) {
            let told = before.consumed + new.consumed;
            if told != now.consumed {
                let read = now.consumed;
                faults.push(format!("{told} records were told, {read} were read"));
            }
            let mut outcomes = before.outcomes;
            add_outcomes(&mut outcomes, new.outcomes);
            if outcomes != now.outcomes {
                faults.push("what became of records does not add up".to_owned());
            }
            let mut columns = before.columns;
            sheet.days.iter().for_each(|(_, sums)| {
                add_row(&mut columns, &sums.total());
            });
            if columns != now.columns {
                faults.push("events or points that were told are not those accepted".to_owned());
            }
        }
        let room = FAULTS_MAX.saturating_sub(self.faults.len());
        self.faults.extend(faults.into_iter().take(room));
    }
}

/// Whether a stretch of records adds up by itself; what is wrong where it does not.
pub(super) fn fault_of(stretch: &Stretch) -> Option<String> {
    let [accepted, duplicate, late, quarantined] = stretch.outcomes;
    let sum = accepted + duplicate + late + quarantined;
    if stretch.consumed != sum {
        return Some(format!("{} records came in, {sum} are accounted for", stretch.consumed));
    }
    if stretch.booked != accepted {
        return Some(format!("{accepted} events were accepted, {} entered", stretch.booked));
    }
    let offsets = stretch.next.saturating_sub(stretch.from);
    (i64::try_from(stretch.consumed).unwrap_or(i64::MAX) > offsets)
        .then(|| format!("{} records came from {offsets} offsets", stretch.consumed))
}

/// Whether a partition is past an instant, or has nothing to say about it.
pub(super) fn is_past(part: Option<&Part>, at: EventTime) -> bool {
    part.is_some_and(|part| part.idle || part.watermark.is_some_and(|own| own >= at.0))
}

/// The last day that is over at a watermark.
pub(crate) fn closed_at(plan: &Plan, watermark: i64) -> i32 {
    let over = watermark.saturating_sub(plan.settings.allowed_lateness_ms);
    plan.calendar.day_of(EventTime(over)).saturating_sub(1)
}
