//! What is usual for a key, in few bytes of its row: a baseline that keeps no values, and at most one
//! window that is open. Members have such a one each, for as long as they act now and then. It is
//! made whole as soon as there is more to it.
//!
//! Which form a counter has is no part of the state: both say the same of it.

use smallvec::SmallVec;

use crate::engine::baseline::Series;
use crate::engine::calendar::Span;
use crate::engine::cell::{Body, Cell, OpenWindow, Sum, ZCell};
use crate::engine::rolling::Entry;
use crate::engine::score::{exceeds, running_bound};
use crate::engine::small::Periods;
use crate::rule::{Method, ZScore};

/// No window is open.
const NONE: u16 = u16::MAX;

/// Marks beside the number of windows without an event.
const ARMED_ABOVE: u16 = 1;
const ARMED_BELOW: u16 = 1 << 1;
const EVENTS: u16 = 1 << 2;
const FIRED: u16 = 1 << 3;
const MARKS: u32 = 4;
const EMPTIES_MAX: u32 = (1 << (16 - MARKS)) - 1;

/// A z-score rule's counter in 28 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habit {
    mean: f64,
    var: f64,
    /// Of the open window.
    value: i32,
    /// How many have closed.
    windows: u16,
    /// Numbers of the next window to close, and of the open one.
    next: u16,
    open: u16,
    marks: u16,
}

impl Habit {
    /// How many bytes it takes.
    pub(crate) const BYTES: usize = 28;

    /// As it stands in a row.
    #[inline]
    pub(crate) fn of_bytes(bytes: &[u8; Habit::BYTES]) -> Habit {
        let (words, _) = bytes.as_chunks();
        let word = |at: usize| u32::from_le_bytes(words[at]);
        let float = |at: usize| f64::from_bits(u64::from(word(at)) | u64::from(word(at + 1)) << 32);
        let ([windows, next], [open, marks]) = (halves(word(5)), halves(word(6)));
        let (mean, var, value) = (float(0), float(2), word(4).cast_signed());
        Habit { mean, var, value, windows, next, open, marks }
    }

    #[inline]
    pub(crate) fn to_bytes(self) -> [u8; Habit::BYTES] {
        let Habit { mean, var, value, windows, next, open, marks } = self;
        let mut bytes = [0; Habit::BYTES];
        let (words, _) = bytes.as_chunks_mut::<4>();
        for (at, float) in [mean, var].into_iter().enumerate() {
            words[2 * at..2 * at + 2].copy_from_slice(float.to_le_bytes().as_chunks().0);
        }
        words[4] = value.to_le_bytes();
        words[5] = both(windows, next);
        words[6] = both(open, marks);
        bytes
    }

    /// `None` for a counter with more to it.
    pub(crate) fn pack(cell: &Cell, periods: &mut Periods) -> Option<Habit> {
        let (Body::ZScore(body), 0) = (&cell.body, cell.fired) else { return None };
        let ZCell { series, next, open, empties, armed_above, armed_below, usual: None } = &**body
        else {
            return None;
        };
        if series.values.is_some() || open.len() > 1 || *empties > EMPTIES_MAX {
            return None;
        }
        let mark = |is: bool, mark: u16| if is { mark } else { 0 };
        let mut marks = u16::try_from(*empties << MARKS).ok()?;
        marks |= mark(*armed_above, ARMED_ABOVE) | mark(*armed_below, ARMED_BELOW);
        let windows = u16::try_from(series.windows).ok()?;
        let (mut value, mut of_open) = (0, None);
        if let Some(OpenWindow { span, sum, events, fired }) = open.first() {
            let Sum::Number(number) = sum else { return None };
            value = i32::try_from(*number).ok()?;
            marks |= mark(*events, EVENTS) | mark(*fired, FIRED);
            of_open = Some(*span);
        }
        let next = number(periods.enter(*next)?);
        let open = match of_open.map(|span| periods.enter(span)) {
            Some(Some(open)) => number(open),
            Some(None) => {
                periods.leave(next.into());
                return None;
            }
            None => NONE,
        };
        let (mean, var) = (series.mean, series.var);
        Some(Habit { mean, var, value, windows, next, open, marks })
    }

    /// What it says; `None` of one that is not of this rule.
    pub(crate) fn cell(&self, key: u32, periods: &Periods) -> Option<Cell> {
        let has = |mark: u16| self.marks & mark != 0;
        let mut open = SmallVec::new();
        if let Some(span) = periods.get(self.open.into()) {
            let sum = Sum::Number(self.value.into());
            open.push(OpenWindow { span, sum, events: has(EVENTS), fired: has(FIRED) });
        }
        let body = Body::ZScore(Box::new(ZCell {
            series: self.series(),
            next: periods.get(self.next.into())?,
            open,
            empties: (self.marks >> MARKS).into(),
            armed_above: has(ARMED_ABOVE),
            armed_below: has(ARMED_BELOW),
            usual: None,
        }));
        Some(Cell { key, fired: 0, body })
    }

    /// When the next window to close ends; `None` of one that is not of this rule.
    pub(crate) fn ends_at(&self, periods: &Periods) -> Option<i64> {
        periods.get(self.next.into()).map(|span| span.end)
    }

    /// It goes, or becomes whole.
    pub(crate) fn leave(&self, periods: &mut Periods) {
        periods.leave(self.next.into());
        periods.leave(self.open.into());
    }

    /// Adds to the open window what brings it to no verdict; false, and nothing is done, where there
    /// may be more to it. `over`: what ended by then is closed.
    pub(crate) fn add(&mut self, periods: &Periods, check: &ZScore, one: Entry, over: i64) -> bool {
        let holds = |span: &Span| span.start <= one.ts && one.ts < span.end && span.end > over;
        let open = periods.get(self.open.into());
        let value = i64::from(self.value).checked_add(one.value);
        let value = value.and_then(|value| i32::try_from(value).ok());
        let (Some(value), true) = (value, open.as_ref().is_some_and(holds)) else { return false };
        if value < 0 && self.value >= 0 {
            // It may say something when it closes.
            return false;
        }
        let (fired, armed) = (self.marks & FIRED != 0, self.marks & ARMED_ABOVE != 0);
        if let Some(above) = running_bound(check, fired, armed)
            && !matches!(check.baseline.method, Method::Seasonal(_))
            && let Some(stats) = self.series().stats(&check.baseline)
            && exceeds(value.into(), stats, above)
        {
            return false;
        }
        self.value = value;
        true
    }

    fn series(&self) -> Series {
        Series { mean: self.mean, var: self.var, values: None, windows: self.windows.into() }
    }
}

fn halves(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_le_bytes();
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}

fn both(one: u16, two: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (one.to_le_bytes(), two.to_le_bytes());
    [a, b, c, d]
}

/// There are fewer than 65,535 periods.
fn number(period: u32) -> u16 {
    u16::try_from(period).unwrap_or(NONE)
}

#[cfg(test)]
mod tests;
