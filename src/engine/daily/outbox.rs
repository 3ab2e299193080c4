//! What the account of a partition has to tell at the next flush.

use std::collections::BTreeMap;

use hashbrown::HashTable;

use crate::engine::calendar::Span;
use crate::engine::daily::pieces::{Before, pieces};
use crate::engine::daily::report::{Cap, CommandCount, RuleCount};
use crate::engine::daily::sheet::{More, Sheet};
use crate::engine::daily::sums::{Amount, COLUMNS, Intake, Stretch, Sums, column_of};
use crate::engine::plan::Plan;
use crate::engine::{Effect, Origin, State};
use crate::event::{Event, EventTime};
use crate::rule::Severity;

/// Sources that one flush tells apart; what more there are is told together.
const SOURCES_A_FLUSH: usize = 1024;
/// Rows by day and source that wait for one flush, 2.4 MB of them; beyond that a source is told with
/// the others of its day.
const ROWS_MAX: usize = 16_384;
/// Days that are closed between two flushes with what their caps had come to; of those before only
/// that they are over.
const CLOSINGS_MAX: usize = 64;
/// Between two flushes the names of so many are kept.
const KEPT: usize = 256;
/// Sources found by a look at one place.
const NEAR: usize = 64;
/// Days that a replay keeps, though nobody will be told of them.
const REPLAYED_MAX: usize = 8;
/// The place of events without a source, and of sources beyond the limit.
const WITHOUT: u32 = 0;
const OTHER: u32 = 1;

/// Who tells, and what it knows of its log.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    pub origin: &'a Origin,
    /// Whether it is a partition of the partials topic.
    pub is_owner: bool,
    /// How many partitions there are of each topic.
    pub partitions: u32,
    pub watermark: Option<EventTime>,
    pub idle: bool,
    /// It is to be told although nothing is new.
    pub beat: bool,
}

/// What is new since the last flush. No part of the state.
#[derive(Debug, Clone)]
pub struct DailyOutbox {
    /// The totals as they were when the watermark came to its day, or at the last flush.
    base: Intake,
    /// As they were told last.
    told: Before,
    days: Vec<Day>,
    /// Of all days.
    rows: usize,
    /// The day of the last event, and its place.
    span: Span,
    current: usize,
    /// By place, from the third on: hash and name of a source.
    names: Vec<(u64, String)>,
    index: HashTable<u32>,
    /// By the lowest bits of the hash: a source, and its place.
    near: Box<[(u64, u32); NEAR]>,
    /// Days that the watermark has left; the day it is in stands in none.
    stretches: Vec<(Option<i32>, Stretch)>,
    /// By day, rule, level, severity and mode.
    decisions: BTreeMap<(i32, String, u32, Severity, String), u64>,
    /// By day, rule and command.
    commands: BTreeMap<(i32, String, String), u64>,
    /// Days that a partition of the partials topic has closed, in order.
    closings: Vec<(i32, Vec<Cap>)>,
}

/// Amounts of one day, by source and column.
#[derive(Debug, Clone, Default)]
struct Day {
    day: i32,
    cells: Vec<Amount>,
}

impl Default for DailyOutbox {
    fn default() -> Self {
        DailyOutbox {
            base: Intake::default(),
            told: Before::default(),
            days: Vec::new(),
            rows: 0,
            span: Span::default(),
            current: 0,
            names: Vec::new(),
            index: HashTable::new(),
            near: Box::new([(0, WITHOUT); NEAR]),
            stretches: Vec::new(),
            decisions: BTreeMap::new(),
            commands: BTreeMap::new(),
            closings: Vec::new(),
        }
    }
}

impl DailyOutbox {
    /// Enters an accepted event; `source` is the hash of its source. True when a sum saturated.
    #[inline]
    pub(crate) fn book(&mut self, plan: &Plan, event: &Event<'_>, source: Option<u64>) -> bool {
        let ts = event.ts;
        if ts.0 < self.span.start || self.span.end <= ts.0 {
            self.turn_to(plan, ts);
        }
        let place = match (&event.source, source) {
            (Some(name), Some(hash)) => self.place(name, hash),
            _ => WITHOUT,
        };
        let mut at = place as usize * COLUMNS + column_of(event);
        if at >= self.days[self.current].cells.len() {
            at = self.grow(place) as usize * COLUMNS + column_of(event);
        }
        self.days[self.current].cells[at].add(event.points)
    }

    /// Makes room for a place in the current day, or says whose row it shares.
    #[cold]
    fn grow(&mut self, place: u32) -> u32 {
        let cells = &mut self.days[self.current].cells;
        let has = cells.len() / COLUMNS;
        let more = (place as usize + 1).saturating_sub(has);
        let place = if place > OTHER && self.rows + more > ROWS_MAX { OTHER } else { place };
        let needs = place as usize + 1;
        if needs > has {
            self.rows += needs - has;
            cells.resize(needs * COLUMNS, Amount::default());
        }
        place
    }

    /// The place of a source, which its hash names.
    #[inline]
    fn place(&mut self, name: &str, hash: u64) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits matter")]
        let near = hash as usize % NEAR;
        let (known, place) = self.near[near];
        if known == hash && place > OTHER {
            return place;
        }
        let place = self.look_up(name, hash);
        self.near[near] = (hash, place);
        place
    }

    fn look_up(&mut self, name: &str, hash: u64) -> u32 {
        let names = &self.names;
        let at = |place: u32| (place - OTHER - 1) as usize;
        let found = self.index.find(hash, |place| names[at(*place)].0 == hash);
        if let Some(place) = found {
            return *place;
        }
        if self.names.len() >= SOURCES_A_FLUSH {
            return OTHER;
        }
        let place = OTHER + 1 + u32::try_from(self.names.len()).unwrap_or(0);
        self.names.push((hash, name.to_owned()));
        let names = &self.names;
        self.index.insert_unique(hash, place, |place| names[at(*place)].0);
        place
    }

    #[cold]
    fn turn_to(&mut self, plan: &Plan, ts: EventTime) {
        let day = plan.calendar.day_of(ts);
        self.span = plan.calendar.day_span(day);
        self.current = self.days.iter().position(|known| known.day == day).unwrap_or_else(|| {
            self.days.push(Day { day, cells: Vec::new() });
            self.days.len() - 1
        });
    }

    /// The watermark leaves a day.
    pub(crate) fn leave(&mut self, day: i32, totals: &Intake) {
        self.stretches.push((Some(day), Stretch::between(&self.base, totals)));
        self.base = *totals;
    }

    /// A partition of the partials topic has closed a day, with what its caps had come to.
    pub(crate) fn close(&mut self, day: i32, caps: Vec<Cap>) {
        self.closings.push((day, caps));
        if self.closings.len() > CLOSINGS_MAX {
            self.closings.remove(0);
        }
    }

    /// Counts decisions and commands on their way out.
    pub fn note(&mut self, plan: &Plan, effect: &Effect) {
        match effect {
            Effect::Decision(one) => {
                let day = plan.calendar.day_of(one.ts);
                let key = (day, one.rule.clone(), one.level, one.severity, one.mode.clone());
                *self.decisions.entry(key).or_default() += 1;
            }
            Effect::Command(one) => {
                let key = (plan.calendar.day_of(one.ts), one.rule.clone(), one.command.clone());
                *self.commands.entry(key).or_default() += 1;
            }
            Effect::Resolved(_) | Effect::Account(_) | Effect::Canary(_) | Effect::Daily(_) => {}
        }
    }

    /// Lets go of everything that waits: a replay has told it before.
    pub fn forget(&mut self, state: &State) {
        let told = Before { totals: state.intake, watermark: None };
        *self = DailyOutbox { base: state.intake, told, ..DailyOutbox::default() };
    }

    /// Keeps what a replay leaves behind small.
    pub fn trim(&mut self) {
        if self.stretches.len() > REPLAYED_MAX || self.days.len() > REPLAYED_MAX {
            self.stretches.clear();
            self.take_days();
        }
        self.closings.clear();
    }

    /// Rows that wait, for tests.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether something waits to be told.
    pub fn has_news(&self, state: &State) -> bool {
        self.base.next != state.intake.next
            || !self.stretches.is_empty()
            || !self.decisions.is_empty()
            || !self.commands.is_empty()
            || !self.closings.is_empty()
    }

    /// The records for the owner of the account, in their order, leaving nothing behind; none where
    /// there is nothing to tell.
    pub fn seal(&mut self, state: &State, plan: &Plan, by: Sender<'_>) -> Vec<Vec<u8>> {
        if !by.beat && !self.has_news(state) {
            return Vec::new();
        }
        let totals = state.intake;
        if self.base.next != totals.next {
            let day = by.watermark.map(|watermark| plan.calendar.day_of(watermark));
            self.stretches.push((day, Stretch::between(&self.base, &totals)));
            self.base = totals;
        }
        let decisions = std::mem::take(&mut self.decisions).into_iter();
        let decisions = decisions.map(|((day, rule, level, severity, mode), decisions)| {
            (day, RuleCount { rule, level, severity, mode, decisions })
        });
        let commands = std::mem::take(&mut self.commands).into_iter();
        let commands = commands
            .map(|((day, rule, command), count)| (day, CommandCount { rule, command, count }));
        let more = More {
            decisions: decisions.collect(),
            commands: commands.collect(),
            ..More::default()
        };
        let sheet = Sheet {
            partition: by.origin.partition,
            is_owner: by.is_owner,
            partitions: by.partitions,
            watermark: by.watermark.map(|watermark| watermark.0),
            idle: by.idle,
            totals,
            stretches: std::mem::take(&mut self.stretches),
            days: self.take_days(),
            more,
        };
        let now = Before { totals, watermark: sheet.watermark };
        let before = std::mem::replace(&mut self.told, now);
        pieces(sheet, std::mem::take(&mut self.closings), before)
    }

    fn take_days(&mut self) -> Vec<(i32, Sums)> {
        let mut days = Vec::new();
        for Day { day, cells } in std::mem::take(&mut self.days) {
            let mut sums = Sums::default();
            for (place, row) in (0..).zip(cells.as_chunks::<COLUMNS>().0) {
                if row.iter().all(Amount::is_nothing) {
                    continue;
                }
                let source = match place {
                    WITHOUT => Some(""),
                    OTHER => None,
                    place => {
                        let name = self.names.get((place - OTHER - 1) as usize);
                        name.map(|(_, name)| name.as_str())
                    }
                };
                sums.add(source, row);
            }
            days.push((day, sums));
        }
        (self.span, self.current, self.rows) = (Span::default(), 0, 0);
        if self.names.len() > KEPT {
            self.names.clear();
            self.index.clear();
            self.near.fill((0, WITHOUT));
        }
        days
    }
}
