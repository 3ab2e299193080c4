//! Counters of one rule and key, one form for each kind of window.

use smallvec::SmallVec;

use crate::engine::baseline::Series;
use crate::engine::calendar::Span;
use crate::engine::distinct::Distinct;
use crate::engine::firing::{Fired, LastFired, Measured};
use crate::engine::partial::Tally;
use crate::engine::rolling::{Entry, Rolling};
use crate::rule::Measure;

/// All state of one rule and key.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) key: u32,
    pub(crate) last: LastFired,
    pub(crate) body: Body,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// Match rules remember their cooldown only.
    Match,
    Calendar(CalendarCell),
    Rolling(RollingCell),
    ZScore(Box<ZCell>),
}

/// Periods not yet beyond lateness, by start; most keys have one.
#[derive(Debug, Clone, Default)]
pub(crate) struct CalendarCell {
    pub(crate) periods: SmallVec<[PeriodCell; 1]>,
    /// Event time of the key's latest event.
    pub(crate) t: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct PeriodCell {
    pub(crate) span: Span,
    pub(crate) fired: Fired,
    pub(crate) of: Sum,
    pub(crate) to: Option<Box<Sum>>,
}

/// A measure over one fixed window.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sum {
    count: i64,
    total: i64,
    max: Option<i64>,
    distinct: Option<Box<Distinct>>,
}

impl Sum {
    /// True when the sum saturated (R19).
    pub(crate) fn add(&mut self, tally: &Tally) -> bool {
        let saturated = self.total.checked_add(tally.sum).is_none();
        self.total = self.total.saturating_add(tally.sum);
        self.count += tally.count;
        self.max = self.max.max(tally.max);
        if !tally.values.is_empty() {
            let distinct = self.distinct.get_or_insert_default();
            for (hash, ts) in &tally.values {
                distinct.insert(*hash, *ts);
            }
        }
        saturated
    }

    pub(crate) fn value(&self, measure: &Measure) -> i64 {
        match measure {
            Measure::Count => self.count,
            Measure::SumPoints => self.total,
            Measure::MaxPoints => self.max.unwrap_or(0),
            Measure::Distinct(_) => self.distinct.as_ref().map_or(0, |distinct| {
                i64::try_from(distinct.count(i64::MIN, i64::MAX)).unwrap_or(i64::MAX)
            }),
        }
    }
}

/// A rolling window (T − W, T].
#[derive(Debug, Clone)]
pub(crate) struct RollingCell {
    /// Greatest event time seen for the key (R7).
    pub(crate) t: i64,
    /// First event time in order of arrival, for silence (R13).
    pub(crate) first: i64,
    pub(crate) fired: Fired,
    pub(crate) of: Roll,
    pub(crate) to: Option<Box<Roll>>,
}

/// A measure over a rolling window.
#[derive(Debug, Clone)]
pub(crate) enum Roll {
    Points(Rolling),
    Values(Box<Distinct>),
}

impl Roll {
    pub(crate) fn new(measure: &Measure) -> Roll {
        match measure {
            Measure::Distinct(_) => Roll::Values(Box::default()),
            _ => Roll::Points(Rolling::default()),
        }
    }

    /// True when a sum saturated.
    pub(crate) fn add(&mut self, ts: i64, tally: &Tally, (step_ms, t): (i64, i64)) -> bool {
        match self {
            Roll::Points(points) => {
                let max = tally.max.unwrap_or(i64::MIN);
                let entry = Entry { ts, count: tally.count, sum: tally.sum, max };
                points.insert(entry, step_ms, t)
            }
            Roll::Values(distinct) => {
                tally.values.iter().for_each(|(hash, ts)| distinct.insert(*hash, *ts));
                false
            }
        }
    }

    pub(crate) fn advance(&mut self, t: i64, window_ms: i64) {
        match self {
            Roll::Points(points) => points.advance(t, window_ms),
            Roll::Values(distinct) => distinct.expire(t.saturating_sub(window_ms)),
        }
    }

    pub(crate) fn value(&self, measure: &Measure, t: i64, window_ms: i64) -> i64 {
        match (self, measure) {
            (Roll::Values(distinct), _) => {
                let from = t.saturating_sub(window_ms);
                i64::try_from(distinct.count(from, t)).unwrap_or(i64::MAX)
            }
            (Roll::Points(points), Measure::Count) => points.count(t, window_ms),
            (Roll::Points(points), Measure::MaxPoints) => points.max(t, window_ms).unwrap_or(0),
            (Roll::Points(points), _) => points.sum(t, window_ms),
        }
    }
}

/// A series of tumbling windows and its baseline (R11).
#[derive(Debug, Clone)]
pub(crate) struct ZCell {
    pub(crate) series: Series,
    /// The next window to close.
    pub(crate) next: Span,
    /// Windows with events that have not closed, by start.
    pub(crate) open: SmallVec<[OpenWindow; 2]>,
    pub(crate) armed_above: bool,
    pub(crate) armed_below: bool,
    /// Consecutive closed windows without an event.
    pub(crate) empties: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct OpenWindow {
    pub(crate) span: Span,
    pub(crate) sum: Sum,
    pub(crate) events: bool,
    /// Its running value has fired.
    pub(crate) fired: bool,
}

/// `of / to`, or no verdict while `to` is below `min_to` (R12).
pub(crate) fn ratio(of: i64, to: i64, min_to: f64) -> Option<Measured> {
    #[expect(clippy::cast_precision_loss, reason = "a ratio is a float by contract")]
    let (of, to) = (of as f64, to as f64);
    (to >= min_to && to != 0.0).then(|| Measured::Float(of / to))
}

/// Cells of one rule, found by key id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// Cell by key id; `u32::MAX` = none.
    index: Vec<u32>,
    cells: Vec<Option<Cell>>,
    free: Vec<u32>,
}

impl Table {
    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut Cell> {
        let at = *self.index.get(key as usize)?;
        self.cells.get_mut(at as usize)?.as_mut()
    }

    pub(crate) fn get(&self, key: u32) -> Option<&Cell> {
        let at = *self.index.get(key as usize)?;
        self.cells.get(at as usize)?.as_ref()
    }

    pub(crate) fn insert(&mut self, cell: Cell) {
        let key = cell.key as usize;
        if self.index.len() <= key {
            self.index.resize(key + 1, u32::MAX);
        }
        if let Some(at) = self.free.pop() {
            self.cells[at as usize] = Some(cell);
            self.index[key] = at;
        } else {
            self.index[key] = u32::try_from(self.cells.len()).unwrap_or(u32::MAX);
            self.cells.push(Some(cell));
        }
    }

    /// True when there was a cell.
    pub(crate) fn remove(&mut self, key: u32) -> bool {
        let Some(slot) = self.index.get_mut(key as usize) else { return false };
        let at = std::mem::replace(slot, u32::MAX);
        match self.cells.get_mut(at as usize) {
            Some(cell) => {
                *cell = None;
                self.free.push(at);
                true
            }
            None => false,
        }
    }

    /// Key ids with a cell, in the order of their making.
    pub(crate) fn keys(&self) -> Vec<u32> {
        self.cells.iter().flatten().map(|cell| cell.key).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len() - self.free.len()
    }
}
