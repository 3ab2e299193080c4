//! A record of the partials topic that is for the account: what a partition has to tell.

use serde::{Deserialize, Serialize};

use crate::engine::bytes::{Rest, put, put_signed, put_text};
use crate::engine::daily::report::{Cap, CommandCount, RuleCount};
use crate::engine::daily::sums::{Amount, COLUMNS, Intake, Row, Stretch, Sums};
use crate::event::EventTime;

/// Tells a sheet from partial aggregates, whose version is there.
const SHEET: u8 = 0xd1;

const HAS_WATERMARK: u8 = 1;
const IDLE: u8 = 2;
const IS_OWNER: u8 = 4;
const HAS_MORE: u8 = 8;

/// Whether a record of the partials topic is one.
pub(crate) fn is_sheet(payload: &[u8]) -> bool {
    payload.first() == Some(&SHEET)
}

/// What one partition tells at a flush.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sheet {
    pub(crate) partition: i32,
    /// Of the partials topic, and not of the events.
    pub(crate) is_owner: bool,
    pub(crate) partitions: u32,
    pub(crate) watermark: Option<i64>,
    pub(crate) idle: bool,
    /// As they are behind what this sheet tells.
    pub(crate) totals: Intake,
    /// Records by the day of the watermark; none before it is known.
    pub(crate) stretches: Vec<(Option<i32>, Stretch)>,
    pub(crate) days: Vec<(i32, Sums)>,
    pub(crate) more: More,
}

/// What comes seldom, each with its day.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct More {
    pub(crate) decisions: Vec<(i32, RuleCount)>,
    pub(crate) commands: Vec<(i32, CommandCount)>,
    /// The day that caps were closed for.
    pub(crate) closed: Option<i32>,
    pub(crate) caps: Vec<Cap>,
}

impl Sheet {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let has_more = self.more != More::default();
        let mut to = Vec::with_capacity(256);
        to.push(SHEET);
        put_signed(&mut to, self.partition.into());
        put(&mut to, self.partitions.into());
        to.push(
            HAS_WATERMARK * u8::from(self.watermark.is_some())
                + IDLE * u8::from(self.idle)
                + IS_OWNER * u8::from(self.is_owner)
                + HAS_MORE * u8::from(has_more),
        );
        if let Some(watermark) = self.watermark {
            put_signed(&mut to, watermark);
        }
        put_signed(&mut to, self.totals.since);
        put(&mut to, self.totals.by);
        put_signed(&mut to, self.totals.next);
        put(&mut to, self.totals.consumed);
        self.totals.outcomes.iter().for_each(|count| put(&mut to, *count));
        put_row(&mut to, &self.totals.columns);
        put(&mut to, self.stretches.len() as u64);
        for (day, stretch) in &self.stretches {
            put_signed(&mut to, day.map_or(i64::MIN, i64::from));
            put_signed(&mut to, stretch.from);
            put_signed(&mut to, stretch.next);
            put(&mut to, stretch.consumed);
            stretch.outcomes.iter().for_each(|count| put(&mut to, *count));
            put(&mut to, stretch.booked);
        }
        put(&mut to, self.days.len() as u64);
        for (day, sums) in &self.days {
            put_signed(&mut to, (*day).into());
            put_row(&mut to, &sums.other);
            put(&mut to, sums.named.len() as u64);
            for (source, row) in &sums.named {
                put_text(&mut to, source);
                put_row(&mut to, row);
            }
        }
        if has_more {
            // Plain data: there is nothing to refuse.
            put_text(&mut to, &serde_json::to_string(&self.more).unwrap_or_default());
        }
        to
    }

    /// `None` for what is damaged.
    pub(crate) fn decode(payload: &[u8]) -> Option<Sheet> {
        let mut rest = Rest(payload);
        if rest.byte()? != SHEET {
            return None;
        }
        let partition = i32::try_from(rest.signed()?).ok()?;
        let partitions = u32::try_from(rest.number()?).ok()?;
        let flags = rest.byte()?;
        let watermark = match flags & HAS_WATERMARK {
            0 => None,
            _ => Some(rest.signed()?),
        };
        let (since, by) = (rest.signed()?, rest.number()?);
        let (next, consumed, outcomes) = (rest.signed()?, rest.number()?, rest.outcomes()?);
        let totals = Intake { since, by, next, consumed, outcomes, columns: rest.row()? };
        let mut sheet = Sheet {
            partition,
            is_owner: flags & IS_OWNER != 0,
            partitions,
            watermark,
            idle: flags & IDLE != 0,
            totals,
            ..Sheet::default()
        };
        for _ in 0..rest.number()? {
            let day = match rest.signed()? {
                i64::MIN => None,
                day => Some(a_day(day)?),
            };
            let (from, next, consumed) = (rest.signed()?, rest.signed()?, rest.number()?);
            let (outcomes, booked) = (rest.outcomes()?, rest.number()?);
            sheet.stretches.push((day, Stretch { from, next, consumed, outcomes, booked }));
        }
        for _ in 0..rest.number()? {
            let day = a_day(rest.signed()?)?;
            let mut sums = Sums { other: rest.row()?, ..Sums::default() };
            for _ in 0..rest.number()? {
                let source = rest.text()?.to_owned();
                sums.named.insert(source, rest.row()?);
            }
            sheet.days.push((day, sums));
        }
        if flags & HAS_MORE != 0 {
            sheet.more = serde_json::from_str(rest.text()?).ok()?;
        }
        (rest.0.is_empty() && sheet.is_sound()).then_some(sheet)
    }

    /// Whether its times may be times of events: a record that somebody else has written must not
    /// end the worker.
    fn is_sound(&self) -> bool {
        let more = &self.more;
        let days = more.decisions.iter().map(|(day, _)| day);
        let days = days.chain(more.commands.iter().map(|(day, _)| day)).chain(&more.closed);
        self.watermark.is_none_or(|ts| (0..=EventTime::MAX.0).contains(&ts))
            && days.copied().all(|day| a_day(day.into()).is_some())
    }
}

/// Days of E1's times, and one more on either side for zones.
fn a_day(day: i64) -> Option<i32> {
    let last = EventTime::MAX.0 / 86_400_000 + 1;
    i32::try_from(day).ok().filter(|_| (-1..=last).contains(&day))
}

fn put_row(to: &mut Vec<u8>, row: &Row) {
    let some = row.iter().enumerate().filter(|(_, amount)| !amount.is_nothing());
    put(to, some.clone().count() as u64);
    for (column, amount) in some {
        put(to, column as u64);
        put(to, amount.events);
        put_signed(to, amount.points);
    }
}

impl Rest<'_> {
    fn outcomes(&mut self) -> Option<[u64; 4]> {
        Some([self.number()?, self.number()?, self.number()?, self.number()?])
    }

    fn row(&mut self) -> Option<Row> {
        let mut row = [Amount::default(); COLUMNS];
        for _ in 0..self.number()? {
            let column = usize::try_from(self.number()?).ok()?;
            *row.get_mut(column)? = Amount { events: self.number()?, points: self.signed()? };
        }
        Some(row)
    }
}
