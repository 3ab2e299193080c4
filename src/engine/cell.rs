//! Counters of one rule and key, one form for each kind of window.
//!
//! A cell is kept small, for there are as many as users times rules: it holds the one number
//! that its rule measures, and what few rules need stands in a box or in a table beside.

use smallvec::SmallVec;

use crate::engine::baseline::Series;
use crate::engine::calendar::Span;
use crate::engine::distinct::Distinct;
use crate::engine::firing::{Fired, Measured};
use crate::engine::rolling::{Entry, Join, NO_MAX, Rolling};
use crate::engine::tally::Added;
use crate::rule::Measure;

/// All state of one rule and key but its cooldown.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) key: u32,
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

impl Body {
    /// Event time of the key's latest event, where it is kept.
    pub(crate) fn t(&self) -> i64 {
        match self {
            Body::Calendar(body) => body.t,
            Body::Rolling(body) => body.t,
            Body::Match | Body::ZScore(_) => 0,
        }
    }

    /// Times at both ends of what it keeps, wherever that stands.
    pub(crate) fn ends(&self) -> Option<(i64, i64)> {
        match self {
            Body::Calendar(body) => {
                let (first, last) = (body.periods.first()?, body.periods.last()?);
                Some((first.span.start, last.span.start))
            }
            Body::Rolling(RollingCell { of: Roll::Points(points), .. }) => points.ends(),
            Body::Rolling(RollingCell { of: Roll::Values(values), .. }) => {
                values.some_ts().map(|ts| (ts, ts))
            }
            Body::Match | Body::ZScore(_) => None,
        }
    }
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
#[derive(Debug, Clone)]
pub(crate) enum Sum {
    /// Of count, sum or maximum the one that is measured.
    Number(i64),
    Values(Box<Distinct>),
}

impl Sum {
    pub(crate) fn new(measure: &Measure) -> Sum {
        match measure {
            Measure::Count | Measure::SumPoints => Sum::Number(0),
            Measure::MaxPoints => Sum::Number(NO_MAX),
            Measure::Distinct(_) => Sum::Values(Box::default()),
        }
    }

    /// True when the sum saturated (R19).
    pub(crate) fn add(&mut self, measure: &Measure, added: &Added<'_>) -> bool {
        let mut saturated = false;
        match (self, measure) {
            (Sum::Number(number), Measure::MaxPoints) => {
                *number = (*number).max(added.max.unwrap_or(NO_MAX));
            }
            (Sum::Number(number), measure) => {
                let by = if *measure == Measure::Count { added.count } else { added.sum };
                saturated = number.checked_add(by).is_none();
                *number = number.saturating_add(by);
            }
            (Sum::Values(distinct), _) => {
                added.values.iter().for_each(|(hash, ts)| distinct.insert(hash, ts));
            }
        }
        saturated
    }

    pub(crate) fn value(&self) -> i64 {
        match self {
            Sum::Number(NO_MAX) => 0,
            Sum::Number(number) => *number,
            Sum::Values(distinct) => {
                i64::try_from(distinct.count(i64::MIN, i64::MAX)).unwrap_or(i64::MAX)
            }
        }
    }
}

/// A rolling window (T − W, T].
#[derive(Debug, Clone)]
pub(crate) struct RollingCell {
    /// Greatest event time seen for the key (R7).
    pub(crate) t: i64,
    pub(crate) fired: Fired,
    pub(crate) of: Roll,
    pub(crate) more: Option<Box<More>>,
}

/// What only some rolling rules need.
#[derive(Debug, Clone)]
pub(crate) struct More {
    /// The other side of a ratio (R12).
    pub(crate) to: Option<Roll>,
    /// First event time in order of arrival, for silence (R13).
    pub(crate) first: i64,
}

/// A measure over a rolling window.
#[derive(Debug, Clone)]
pub(crate) enum Roll {
    Points(Rolling),
    Values(Distinct),
}

impl Roll {
    pub(crate) fn new(measure: &Measure) -> Roll {
        match measure {
            Measure::Distinct(_) => Roll::Values(Distinct::default()),
            _ => Roll::Points(Rolling::default()),
        }
    }

    /// True when a sum saturated.
    pub(crate) fn add(
        &mut self,
        measure: &Measure,
        ts: i64,
        added: &Added<'_>,
        (step_ms, t): (i64, i64),
    ) -> bool {
        match self {
            Roll::Points(points) => {
                let (value, join) = match measure {
                    Measure::MaxPoints => (added.max.unwrap_or(NO_MAX), Join::Max),
                    Measure::SumPoints => (added.sum, Join::Add),
                    Measure::Count | Measure::Distinct(_) => (added.count, Join::Add),
                };
                points.insert(Entry { ts, value }, join, step_ms, t)
            }
            Roll::Values(distinct) => {
                added.values.iter().for_each(|(hash, ts)| distinct.insert(hash, ts));
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
    pub(crate) open: SmallVec<[OpenWindow; 1]>,
    /// Consecutive closed windows without an event.
    pub(crate) empties: u32,
    pub(crate) armed_above: bool,
    pub(crate) armed_below: bool,
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
