//! How counters stand in a snapshot. Times are told relative to a `base`, the watermark.

use smallvec::SmallVec;

use crate::engine::baseline::Series;
use crate::engine::bytes::{Rest, put, put_signed, put_text};
use crate::engine::calendar::Span;
use crate::engine::cell::{
    Body, CalendarCell, Cell, More, OpenWindow, PeriodCell, Roll, RollingCell, Sum, ZCell,
};
use crate::engine::distinct::{Distinct, Exact, RANK_MAX, REGISTERS, Sketch};
use crate::engine::firing::{LastFired, Measured};
use crate::engine::forecast::{Flow, KEPT, MINUTE_MS};
use crate::engine::opens::{Open, OpenFiring};
use crate::engine::rolling::{Entry, Many, Rolling};

/// Times beyond are of no event: what follows may add and subtract without care.
const FARTHEST: i64 = 1 << 52;

/// Whether an event, or a record, may be of this time.
pub(super) fn is_a_time(ts: i64) -> bool {
    (-FARTHEST..=FARTHEST).contains(&ts)
}

const MATCH: u8 = 0;
const CALENDAR: u8 = 1;
const ROLLING: u8 = 2;
const ZSCORE: u8 = 3;
const BODY: u8 = 3;
const HAS_COOLDOWN: u8 = 4;
const HAS_TO: u8 = 8;
const HAS_MORE: u8 = 16;
const HAS_FLOW: u8 = 32;
const HAS_OPEN: u8 = 64;

const NUMBER: u8 = 0;
const VALUES: u8 = 1;
const SKETCH: u8 = 2;
const SIDES: u8 = 3;
const FEW: u8 = 4;
const MANY: u8 = 5;
const MERGED: u8 = 6;

/// Writes times relative to a base.
pub(super) struct Writer<'a> {
    pub(super) to: &'a mut Vec<u8>,
    pub(super) base: i64,
}

/// Reads them back; `None` for what no writer has written.
pub(super) struct Reader<'a> {
    pub(super) rest: Rest<'a>,
    pub(super) base: i64,
    /// Of the format.
    pub(super) version: u32,
}

/// A counter as it was told, of no key yet, and what stands apart from it.
pub(super) struct Told {
    pub(super) cell: Cell,
    pub(super) last: LastFired,
    pub(super) flow: Option<Flow>,
    pub(super) open: Option<Open>,
}

impl Writer<'_> {
    pub(super) fn time(&mut self, ts: i64) {
        put_signed(self.to, ts.wrapping_sub(self.base));
    }

    fn len(&mut self, len: usize) {
        put(self.to, len as u64);
    }

    /// A counter with what stands apart from it: the last firings of its cooldown, and its flow.
    /// And what has fired and is not over.
    pub(super) fn cell(
        &mut self,
        cell: &Cell,
        last: &[i64],
        (flow, open): (Option<&Flow>, Option<&Open>),
    ) {
        let body = match &cell.body {
            Body::Match => MATCH,
            Body::Calendar(_) => CALENDAR,
            Body::Rolling(body) => {
                let more = body.more.as_ref();
                let has_to = more.is_some_and(|more| more.to.is_some());
                ROLLING + HAS_MORE * u8::from(more.is_some()) + HAS_TO * u8::from(has_to)
            }
            Body::ZScore(_) => ZSCORE,
        };
        let has_flow = HAS_FLOW * u8::from(flow.is_some());
        let has_open = HAS_OPEN * u8::from(open.is_some());
        self.to.push(body + HAS_COOLDOWN * u8::from(!last.is_empty()) + has_flow + has_open);
        if !last.is_empty() {
            self.len(last.len());
            for ts in last {
                put_signed(self.to, *ts);
            }
        }
        match &cell.body {
            Body::Match => {}
            Body::Calendar(body) => self.calendar(body),
            Body::Rolling(body) => {
                put(self.to, u64::from(cell.fired));
                self.rolling(body);
            }
            Body::ZScore(body) => self.zscore(body),
        }
        if let Some(flow) = flow {
            self.flow(flow);
        }
        if let Some(open) = open {
            self.open(open);
        }
    }

    fn open(&mut self, open: &Open) {
        self.len(open.firings.len());
        for OpenFiring { decision, level, since } in &open.firings {
            put_text(self.to, decision);
            put(self.to, u64::from(*level));
            self.time(*since);
        }
        put(self.to, u64::from(open.period.is_some()));
        self.time(open.period.unwrap_or(self.base));
        match open.peak {
            Measured::Integer(value) => {
                put(self.to, 0);
                put_signed(self.to, value);
            }
            Measured::Float(value) => {
                put(self.to, 1);
                self.to.extend_from_slice(&value.to_le_bytes());
            }
        }
    }

    fn flow(&mut self, flow: &Flow) {
        self.time(flow.first * MINUTE_MS);
        self.time(flow.last * MINUTE_MS);
        for sum in &flow.sums {
            put_signed(self.to, *sum);
        }
    }

    fn calendar(&mut self, body: &CalendarCell) {
        self.time(body.t);
        self.len(body.periods.len());
        for period in &body.periods {
            self.time(period.start);
            put(self.to, u64::from(period.seconds));
            put(self.to, u64::from(period.fired));
            self.sum(&period.of);
        }
    }

    fn sum(&mut self, sum: &Sum) {
        match sum {
            Sum::Number(number) => {
                self.to.push(NUMBER);
                put_signed(self.to, *number);
            }
            Sum::Values(values) => match &**values {
                Distinct::Exact(exact) => self.exact(exact),
                Distinct::Sketch(sketch) => self.sketch(sketch),
            },
            Sum::Sides(sides) => {
                self.to.push(SIDES);
                self.sum(&sides.0);
                self.sum(&sides.1);
            }
        }
    }

    fn exact(&mut self, exact: &Exact) {
        self.to.push(VALUES);
        self.len(exact.0.len());
        for (hash, ts) in &exact.0 {
            self.to.extend_from_slice(&hash.to_le_bytes());
            self.time(*ts);
        }
    }

    fn sketch(&mut self, sketch: &Sketch) {
        self.to.push(SKETCH);
        for register in &sketch.0 {
            self.len(register.len());
            for (ts, rank) in register {
                self.time(*ts);
                self.to.push(*rank);
            }
        }
    }

    fn rolling(&mut self, body: &RollingCell) {
        self.time(body.t);
        self.roll(&body.of);
        if let Some(more) = &body.more {
            self.time(more.first);
            if let Some(to) = &more.to {
                self.roll(to);
            }
        }
    }

    fn roll(&mut self, roll: &Roll) {
        let (kind, entries) = match roll {
            Roll::Values(exact) => return self.exact(exact),
            Roll::Sketch(sketch) => return self.sketch(sketch),
            Roll::Points(points @ Rolling::Many(many)) => {
                (if many.merged { MERGED } else { MANY }, points)
            }
            Roll::Points(points) => (FEW, points),
        };
        self.to.push(kind);
        entries.with(|entries| {
            self.len(entries.len());
            for entry in entries {
                self.time(entry.ts);
                put_signed(self.to, entry.value);
            }
        });
    }

    fn zscore(&mut self, body: &ZCell) {
        let Series { mean, var, values, windows } = &body.series;
        self.to.extend_from_slice(&mean.to_le_bytes());
        self.to.extend_from_slice(&var.to_le_bytes());
        put(self.to, u64::from(*windows));
        // One more than there are, so that none and no list differ.
        self.len(values.as_ref().map_or(0, |values| values.len() + 1));
        for value in values.iter().flat_map(|values| values.iter()) {
            self.value(*value);
        }
        self.span(body.next);
        put(self.to, u64::from(body.empties));
        self.to.push(u8::from(body.armed_above) + 2 * u8::from(body.armed_below));
        self.len(body.open.len());
        for open in &body.open {
            self.span(open.span);
            self.to.push(u8::from(open.events) + 2 * u8::from(open.fired));
            self.sum(&open.sum);
        }
    }

    /// Most are whole and small: those take a byte or two.
    fn value(&mut self, value: f64) {
        #[expect(clippy::cast_possible_truncation, reason = "compared with what it came from")]
        let whole = value as i64;
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        let back = whole as f64;
        if back.to_bits() == value.to_bits() && whole.unsigned_abs() < 1 << 53 {
            put_signed(self.to, whole * 2);
        } else {
            put_signed(self.to, 1);
            self.to.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn span(&mut self, span: Span) {
        self.time(span.start);
        self.time(span.end);
    }
}

impl Reader<'_> {
    pub(super) fn time(&mut self) -> Option<i64> {
        let ts = self.rest.signed()?.wrapping_add(self.base);
        is_a_time(ts).then_some(ts)
    }

    fn word(&mut self) -> Option<u32> {
        u32::try_from(self.rest.number()?).ok()
    }

    /// A length of a list whose items take so many bytes at the least: a damaged one asks for no
    /// memory.
    fn len(&mut self, least: usize) -> Option<usize> {
        let len = usize::try_from(self.rest.number()?).ok()?;
        (len.checked_mul(least)? <= self.rest.0.len()).then_some(len)
    }

    fn float(&mut self) -> Option<f64> {
        Some(f64::from_le_bytes(*self.rest.bytes(8)?.first_chunk()?))
    }

    fn value(&mut self) -> Option<f64> {
        if self.version < 3 {
            return self.float();
        }
        #[expect(clippy::cast_precision_loss, reason = "less than 2^53 was written")]
        match self.rest.signed()? {
            1 => self.float(),
            whole if whole % 2 == 0 => Some((whole / 2) as f64),
            _ => None,
        }
    }

    /// A counter, the last firings of its cooldown and its flow.
    pub(super) fn cell(&mut self) -> Option<Told> {
        let flags = self.rest.byte()?;
        let mut last = LastFired::new();
        if flags & HAS_COOLDOWN != 0 {
            for _ in 0..self.len(1)? {
                last.push(self.rest.signed()?);
            }
        }
        let mut fired = 0;
        let body = match flags & BODY {
            MATCH => Body::Match,
            CALENDAR => Body::Calendar(self.calendar()?),
            ROLLING => {
                fired = self.word()?;
                Body::Rolling(self.rolling(flags)?)
            }
            _ => Body::ZScore(Box::new(self.zscore()?)),
        };
        let flow = if flags & HAS_FLOW == 0 { None } else { Some(self.flow()?) };
        let open = if flags & HAS_OPEN == 0 { None } else { Some(self.open()?) };
        Some(Told { cell: Cell { key: 0, fired, body }, last, flow, open })
    }

    fn open(&mut self) -> Option<Open> {
        let mut firings = SmallVec::new();
        for _ in 0..self.len(3)? {
            let decision = self.rest.text()?.to_owned();
            firings.push(OpenFiring { decision, level: self.word()?, since: self.time()? });
        }
        let has_period = self.rest.number()? != 0;
        let period = Some(self.time()?).filter(|_| has_period);
        let peak = match self.rest.number()? {
            0 => Measured::Integer(self.rest.signed()?),
            1 => Measured::Float(self.float()?),
            _ => return None,
        };
        Some(Open { firings, period, peak })
    }

    fn flow(&mut self) -> Option<Flow> {
        let (first, last) = (self.time()? / MINUTE_MS, self.time()? / MINUTE_MS);
        let mut sums = [0; KEPT];
        for sum in &mut sums {
            *sum = self.rest.signed()?;
        }
        (first <= last).then(|| Flow::of(first, last, sums))
    }

    fn calendar(&mut self) -> Option<CalendarCell> {
        let t = self.time()?;
        let mut periods = SmallVec::new();
        for _ in 0..self.len(5)? {
            let start = self.time()?;
            let (seconds, fired, of) = (self.word()?, self.word()?, self.sum(0)?);
            periods.push(PeriodCell { start, seconds, fired, of });
        }
        Some(CalendarCell { periods, t })
    }

    fn sum(&mut self, depth: u8) -> Option<Sum> {
        let kind = self.rest.byte()?;
        Some(match kind {
            NUMBER => Sum::Number(self.rest.signed()?),
            VALUES => Sum::Values(Box::new(Distinct::Exact(self.exact()?))),
            SKETCH => Sum::Values(Box::new(Distinct::Sketch(Box::new(self.sketch()?)))),
            SIDES if depth == 0 => Sum::Sides(Box::new((self.sum(1)?, self.sum(1)?))),
            _ => return None,
        })
    }

    fn exact(&mut self) -> Option<Exact> {
        let mut values = SmallVec::new();
        for _ in 0..self.len(9)? {
            let hash = u64::from_le_bytes(*self.rest.bytes(8)?.first_chunk()?);
            values.push((hash, self.time()?));
        }
        Some(Exact(values))
    }

    fn sketch(&mut self) -> Option<Sketch> {
        let mut registers = Vec::with_capacity(REGISTERS);
        for _ in 0..REGISTERS {
            let mut register = Vec::new();
            for _ in 0..self.len(2)? {
                let (ts, rank) = (self.time()?, self.rest.byte()?);
                register.push((u32::from(rank) <= RANK_MAX).then_some((ts, rank))?);
            }
            registers.push(register);
        }
        Some(Sketch(registers))
    }

    fn rolling(&mut self, flags: u8) -> Option<RollingCell> {
        let t = self.time()?;
        let of = self.roll()?;
        let more = if flags & HAS_MORE == 0 {
            None
        } else {
            let first = self.time()?;
            let to = if flags & HAS_TO == 0 { None } else { Some(self.roll()?) };
            Some(Box::new(More { to, first }))
        };
        Some(RollingCell { t, of, more })
    }

    fn roll(&mut self) -> Option<Roll> {
        let kind = self.rest.byte()?;
        match kind {
            VALUES => return Some(Roll::Values(self.exact()?)),
            SKETCH => return Some(Roll::Sketch(Box::new(self.sketch()?))),
            FEW | MANY | MERGED => {}
            _ => return None,
        }
        let len = self.len(2)?;
        let mut entries: SmallVec<[Entry; 4]> = SmallVec::with_capacity(len);
        for _ in 0..len {
            entries.push(Entry { ts: self.time()?, value: self.rest.signed()? });
        }
        Some(Roll::Points(match kind {
            FEW => Rolling::few(&entries),
            _ => Rolling::Many(Box::new(Many::of(entries.into_vec(), kind == MERGED))),
        }))
    }

    fn zscore(&mut self) -> Option<ZCell> {
        let (mean, var, windows) = (self.float()?, self.float()?, self.word()?);
        let values = match self.len(1)? {
            0 => None,
            len => {
                let values: Option<_> = (1..len).map(|_| self.value()).collect();
                Some(Box::new(values?))
            }
        };
        let series = Series { mean, var, values, windows };
        let (next, empties, armed) = (self.span()?, self.word()?, self.rest.byte()?);
        let mut open = SmallVec::new();
        for _ in 0..self.len(4)? {
            let (span, flags, sum) = (self.span()?, self.rest.byte()?, self.sum(0)?);
            let (events, fired) = (flags & 1 != 0, flags & 2 != 0);
            open.push(OpenWindow { span, sum, events, fired });
        }
        let (armed_above, armed_below) = (armed & 1 != 0, armed & 2 != 0);
        Some(ZCell { series, next, open, empties, armed_above, armed_below, usual: None })
    }

    fn span(&mut self) -> Option<Span> {
        Some(Span { start: self.time()?, end: self.time()? })
    }
}

#[cfg(test)]
mod tests;
