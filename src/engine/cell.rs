//! Counters of one rule and key, one form for each kind of window.
//!
//! A cell is kept small, for there are as many as users times rules: it holds the one number
//! that its rule measures, and what few rules need stands in a box or in a table beside.

use smallvec::SmallVec;

use crate::engine::baseline::Series;
use crate::engine::calendar::{Calendar, Span};
use crate::engine::distinct::{Distinct, Exact, Sketch};
use crate::engine::firing::{Fired, Measured};
use crate::engine::rolling::{Entry, Join, NO_MAX, Rolling};
use crate::engine::season::Slots;
use crate::engine::tally::Added;
use crate::engine::view::View;
use crate::near::{near, near_all};
use crate::rule::{Baseline, Measure, Method, ZScore};

/// All state of one rule and key but its cooldown: one line of the cache.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(crate) struct Cell {
    pub(crate) key: u32,
    /// Of rolling windows; calendar periods have their own.
    pub(crate) fired: Fired,
    pub(crate) body: Body,
}

const _: () = assert!(size_of::<Option<Cell>>() == 64);

#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// Match rules remember their cooldown only.
    Match,
    Calendar(CalendarCell),
    Rolling(RollingCell),
    ZScore(Box<ZCell>),
}

impl Body {
    /// Brings near what the next event is likely to read on the heap.
    pub(crate) fn near_heap(&self) {
        match self {
            Body::Calendar(body) if body.periods.spilled() => near_all(&body.periods),
            Body::Calendar(CalendarCell { periods, .. }) => {
                if let Some(PeriodCell { of: Sum::Values(values), .. }) = periods.first() {
                    near(&**values);
                }
            }
            Body::Rolling(RollingCell { of: Roll::Points(points), .. }) => points.near(),
            Body::Rolling(RollingCell { of: Roll::Values(values), .. }) => values.near(),
            Body::ZScore(body) => near(&**body),
            Body::Match | Body::Rolling(RollingCell { of: Roll::Sketch(_), .. }) => {}
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

/// A calendar period. Periods begin and end at whole seconds.
#[derive(Debug, Clone)]
pub(crate) struct PeriodCell {
    pub(crate) start: i64,
    pub(super) seconds: u32,
    pub(crate) fired: Fired,
    pub(crate) of: Sum,
}

impl PeriodCell {
    pub(crate) fn new(span: Span, of: Sum) -> PeriodCell {
        let seconds = u32::try_from((span.end - span.start) / 1000).unwrap_or(u32::MAX);
        PeriodCell { start: span.start, seconds, fired: 0, of }
    }

    pub(crate) fn end(&self) -> i64 {
        self.start + i64::from(self.seconds) * 1000
    }

    /// Whether this instant lies in it.
    pub(crate) fn holds(&self, ts: i64) -> bool {
        self.start <= ts && ts < self.end()
    }
}

/// A measure over one fixed window.
#[derive(Debug, Clone)]
pub(crate) enum Sum {
    /// Of count, sum or maximum the one that is measured.
    Number(i64),
    Values(Box<Distinct>),
    /// Both sides of a ratio (R12).
    Sides(Box<(Sum, Sum)>),
}

impl Sum {
    pub(crate) fn new(measure: &Measure) -> Sum {
        match measure {
            Measure::Count | Measure::SumPoints => Sum::Number(0),
            Measure::MaxPoints => Sum::Number(NO_MAX),
            Measure::Distinct(_) => Sum::Values(Box::default()),
        }
    }

    pub(crate) fn of(view: &View<'_>) -> Sum {
        match view.to {
            Some(to) => Sum::Sides(Box::new((Sum::new(view.of), Sum::new(to)))),
            None => Sum::new(view.of),
        }
    }

    /// Adds to one side or to both; true when a sum saturated.
    pub(crate) fn add_to(&mut self, view: &View<'_>, of: &Added<'_>, to: &Added<'_>) -> bool {
        match (self, view.to) {
            (Sum::Sides(sides), Some(measure)) => {
                let saturated = sides.0.add(view.of, of);
                sides.1.add(measure, to) || saturated
            }
            (sum, _) => sum.add(view.of, of),
        }
    }

    /// The value of the other side of a ratio.
    pub(crate) fn to_value(&self) -> Option<i64> {
        match self {
            Sum::Sides(sides) => Some(sides.1.value()),
            Sum::Number(_) | Sum::Values(_) => None,
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
            (Sum::Sides(sides), measure) => saturated = sides.0.add(measure, added),
        }
        saturated
    }

    pub(crate) fn value(&self) -> i64 {
        match self {
            Sum::Sides(sides) => sides.0.value(),
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
    pub(crate) of: Roll,
    pub(crate) more: Option<Box<More>>,
}

impl RollingCell {
    /// The value of the window at T; of a ratio both sides.
    pub(crate) fn values(&self, view: &View<'_>, t: i64, window_ms: i64) -> (i64, Option<i64>) {
        let other = self.more.as_ref().and_then(|more| more.to.as_ref());
        let to = other.zip(view.to).map(|(roll, measure)| roll.value(measure, t, window_ms));
        (self.of.value(view.of, t, window_ms), to)
    }
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
    Values(Exact),
    Sketch(Box<Sketch>),
}

impl Roll {
    pub(crate) fn new(measure: &Measure) -> Roll {
        match measure {
            Measure::Distinct(_) => Roll::Values(Exact::default()),
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
            Roll::Values(_) | Roll::Sketch(_) => {
                added.values.iter().for_each(|(hash, ts)| self.insert(hash, ts));
                false
            }
        }
    }

    fn insert(&mut self, hash: u64, ts: i64) {
        match self {
            Roll::Points(_) => {}
            Roll::Values(exact) => {
                if let Some(sketch) = exact.insert(hash, ts) {
                    *self = Roll::Sketch(Box::new(sketch));
                }
            }
            Roll::Sketch(sketch) => sketch.insert(hash, ts),
        }
    }

    pub(crate) fn advance(&mut self, t: i64, window_ms: i64) {
        match self {
            Roll::Points(points) => points.advance(t, window_ms),
            Roll::Values(exact) => exact.expire(t.saturating_sub(window_ms)),
            Roll::Sketch(sketch) => {
                if sketch.expire(t.saturating_sub(window_ms)) {
                    *self = Roll::Values(Exact::default());
                }
            }
        }
    }

    pub(crate) fn value(&self, measure: &Measure, t: i64, window_ms: i64) -> i64 {
        match (self, measure) {
            (Roll::Values(exact), _) => {
                let from = t.saturating_sub(window_ms);
                i64::try_from(exact.count(from, t)).unwrap_or(i64::MAX)
            }
            (Roll::Sketch(sketch), _) => {
                let from = t.saturating_sub(window_ms);
                i64::try_from(sketch.count(from, t)).unwrap_or(i64::MAX)
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
    /// What was last worked out of a seasonal baseline, until a window closes. Follows from the
    /// rest.
    pub(crate) usual: Option<Box<Usual>>,
}

/// What is usual in the window that starts at `start`, by this baseline.
#[derive(Debug, Clone)]
pub(crate) struct Usual {
    pub(super) start: i64,
    pub(super) baseline: Baseline,
    pub(super) stats: Option<(f64, f64)>,
}

impl Usual {
    /// Whether it is what this baseline says of a window.
    pub(crate) fn is(&self, span: &Span, baseline: &Baseline) -> bool {
        self.start == span.start && self.baseline == *baseline
    }
}

impl ZCell {
    /// Mean and standard deviation that a window is judged by; `None` = no verdict.
    pub(crate) fn usual(
        &mut self,
        calendar: &Calendar,
        check: &ZScore,
        span: Span,
    ) -> Option<(f64, f64)> {
        let baseline = check.baseline;
        if !matches!(baseline.method, Method::Seasonal(_)) {
            return self.series.stats(&baseline);
        }
        if let Some(known) = &self.usual
            && known.is(&span, &baseline)
        {
            return known.stats;
        }
        let (_, stats) = self.basis(calendar, check, span);
        self.usual = Some(Box::new(Usual { start: span.start, baseline, stats }));
        stats
    }

    /// How many closed windows a window is held against, and what comes of them.
    pub(crate) fn basis(
        &self,
        calendar: &Calendar,
        check: &ZScore,
        span: Span,
    ) -> (usize, Option<(f64, f64)>) {
        let baseline = &check.baseline;
        let Method::Seasonal(season) = baseline.method else {
            return (self.series.windows as usize, self.series.stats(baseline));
        };
        let slots = Slots { calendar, window: check.window, season };
        self.series.seasonal(baseline, &slots, (span, self.next.start))
    }
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
