//! What is added up: events and points by column, and what became of records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::Settings;
use crate::event::{Event, Kind};

/// Issues, redemptions, expiries, adjustments; reversals of each of these; other reversals.
pub(crate) const COLUMNS: usize = 9;

/// How many events, and their points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    pub events: u64,
    pub points: i64,
}

impl Amount {
    /// Adds one event; true when the sum saturated (R19).
    #[inline]
    pub(crate) fn add(&mut self, points: i64) -> bool {
        self.events += 1;
        self.add_points(points)
    }

    /// Adds another amount; true when the sum saturated.
    pub(crate) fn plus(&mut self, other: Amount) -> bool {
        self.events = self.events.saturating_add(other.events);
        self.add_points(other.points)
    }

    #[inline]
    fn add_points(&mut self, points: i64) -> bool {
        let (sum, over) = self.points.overflowing_add(points);
        self.points = if over { self.points.saturating_add(points) } else { sum };
        over
    }

    pub(crate) fn is_nothing(&self) -> bool {
        *self == Amount::default()
    }
}

/// One amount a column.
pub(crate) type Row = [Amount; COLUMNS];

/// The column that an event belongs to.
#[inline]
pub(crate) fn column_of(event: &Event<'_>) -> usize {
    match (event.kind, &event.reverses) {
        (Kind::Reverse, Some(reverses)) => 4 + reverses.kind as usize,
        (Kind::Reverse, None) => 8,
        (kind, _) => kind as usize,
    }
}

/// Adds a row to another; true when a sum saturated.
pub(crate) fn add_row(to: &mut Row, row: &Row) -> bool {
    to.iter_mut().zip(row).fold(false, |over, (to, amount)| to.plus(*amount) || over)
}

/// Adds what became of some records to what became of others.
pub(super) fn add_outcomes(to: &mut [u64; 4], more: [u64; 4]) {
    to.iter_mut().zip(more).for_each(|(own, more)| *own += more);
}

/// Rows by source: the empty name is that of events without one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sums {
    pub(crate) named: BTreeMap<String, Row>,
    /// Of sources beyond those that stand by name.
    pub(crate) other: Row,
}

impl Sums {
    pub(crate) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.other.iter().all(Amount::is_nothing)
    }

    /// `None` is the rest.
    pub(crate) fn add(&mut self, source: Option<&str>, row: &Row) -> bool {
        match source {
            None => add_row(&mut self.other, row),
            Some(source) => match self.named.get_mut(source) {
                Some(known) => add_row(known, row),
                None => self.named.insert(source.to_owned(), *row).is_some(),
            },
        }
    }

    pub(crate) fn merge(&mut self, other: &Sums) -> bool {
        let named = other.named.iter().map(|(source, row)| (Some(source.as_str()), row));
        let all = named.chain([(None, &other.other)]);
        all.fold(false, |over, (source, row)| self.add(source, row) || over)
    }

    pub(crate) fn total(&self) -> Row {
        let mut total = self.other;
        self.named.values().for_each(|row| {
            add_row(&mut total, row);
        });
        total
    }
}

/// What became of the records of one partition since its state began: a function of its log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intake {
    /// Offset of the first record.
    pub(crate) since: i64,
    /// The [identity](crate::engine::Settings::identity) of the settings that it was judged by.
    pub(crate) by: u64,
    /// Offset behind the last record.
    pub(crate) next: i64,
    pub(crate) consumed: u64,
    /// Accepted, duplicate, late, quarantined.
    pub(crate) outcomes: [u64; 4],
    /// Of all that were accepted.
    pub(crate) columns: Row,
}

impl Intake {
    /// Enters an accepted event.
    #[inline]
    pub(crate) fn enter(&mut self, event: &Event<'_>) {
        self.columns[column_of(event)].add(event.points);
    }

    /// Counts a record; the outcomes are handed out, for that of the record to be counted.
    #[inline]
    pub(crate) fn count(&mut self, offset: i64, settings: &Settings) -> &mut [u64; 4] {
        if self.consumed == 0 {
            (self.since, self.by) = (offset, settings.identity());
        }
        self.next = offset + 1;
        self.consumed += 1;
        &mut self.outcomes
    }

    /// Whether both count the same records, judged alike. A state that is made again from the same
    /// first record under other settings comes to other numbers, and nothing is wrong with them.
    pub(super) fn counts_as(&self, other: &Intake) -> bool {
        (self.since, self.by) == (other.since, other.by)
    }
}

/// Records of a partition while its watermark lay in one day. Half-open in offsets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stretch {
    pub(crate) from: i64,
    pub(crate) next: i64,
    pub(crate) consumed: u64,
    pub(crate) outcomes: [u64; 4],
    /// Events entered under some source and column meanwhile.
    pub(crate) booked: u64,
}

impl Stretch {
    /// What came between two looks at the totals.
    pub(crate) fn between(before: &Intake, now: &Intake) -> Stretch {
        let events = |totals: &Intake| totals.columns.iter().map(|amount| amount.events).sum();
        let booked: u64 = events(now);
        let mut outcomes = now.outcomes;
        outcomes.iter_mut().zip(before.outcomes).for_each(|(now, before)| *now -= before);
        Stretch {
            from: if before.consumed == 0 { now.since } else { before.next },
            next: now.next,
            consumed: now.consumed - before.consumed,
            outcomes,
            booked: booked - events(before),
        }
    }

    /// Adds what came after it.
    pub(crate) fn extend(&mut self, other: &Stretch) {
        if self.consumed == 0 {
            self.from = other.from;
        }
        self.next = self.next.max(other.next);
        self.consumed += other.consumed;
        add_outcomes(&mut self.outcomes, other.outcomes);
        self.booked += other.booked;
    }
}
