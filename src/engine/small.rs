//! Counters of few bytes: what most keys have is one number of one period, one entry of a rolling
//! window or one distinct value in it, far from every bound. Such a counter stands in the row of its
//! key; it is made whole as soon as there is more to it, and small again when little is left.
//!
//! Which form a counter has is no part of the state: both say the same of it.

use smallvec::smallvec;

use crate::engine::calendar::Span;
use crate::engine::cell::{Body, CalendarCell, Cell, PeriodCell, Roll, RollingCell, Sum};
use crate::engine::distinct::Exact;
use crate::engine::rolling::{Entry, Rolling};

/// Periods that small counters of one rule may lie in at a time.
const PERIODS_MAX: usize = 1024;

/// A counter in 12 bytes and a mark; what they mean depends on [`Kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Small {
    /// Of a distinct value: the epoch of its event time is odd.
    pub(crate) is_odd: bool,
    /// The number; of a distinct value the lower half of its event time.
    value: i32,
    /// Event time of a rolling window's entry; of a calendar period its number and the
    /// milliseconds from its start to the latest event; the hash of a distinct value.
    words: [u32; 2],
}

/// What the small counters of a rule are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Calendar,
    Rolling,
    Value,
}

/// A counter's content, as far as small ones go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Little {
    /// One period with its number, and the event time of the key's latest event.
    Calendar { span: Span, number: i64, t: i64 },
    /// One entry, which is the key's latest event.
    Rolling(Entry),
    /// One distinct value of a rolling window, which the key's latest event had.
    Value { hash: u64, ts: i64 },
}

impl Little {
    /// `None` for a counter with more to it.
    pub(crate) fn of(cell: &Cell) -> Option<Little> {
        if cell.fired != 0 {
            return None;
        }
        match &cell.body {
            Body::Calendar(CalendarCell { periods, t }) => {
                let [period] = periods.as_slice() else { return None };
                let PeriodCell { fired: 0, of: Sum::Number(number), .. } = period else {
                    return None;
                };
                let span = Span { start: period.start, end: period.end() };
                Some(Little::Calendar { span, number: *number, t: *t })
            }
            Body::Rolling(RollingCell { t, of: Roll::Points(points), more: None }) => {
                if matches!(points, Rolling::Many(_)) {
                    return None;
                }
                points.with(|entries| match entries {
                    [entry] if entry.ts == *t => Some(Little::Rolling(*entry)),
                    _ => None,
                })
            }
            Body::Rolling(RollingCell { t, of: Roll::Values(exact), more: None }) => {
                exact.only().filter(|(_, ts)| ts == t).map(|(hash, ts)| Little::Value { hash, ts })
            }
            Body::Match | Body::Rolling(_) | Body::ZScore(_) => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Little::Calendar { .. } => Kind::Calendar,
            Little::Rolling(_) => Kind::Rolling,
            Little::Value { .. } => Kind::Value,
        }
    }

    pub(crate) fn cell(self, key: u32) -> Cell {
        let body = match self {
            Little::Calendar { span, number, t } => {
                let period = PeriodCell::new(span, Sum::Number(number));
                Body::Calendar(CalendarCell { periods: smallvec![period], t })
            }
            Little::Rolling(entry) => {
                let of = Roll::Points(Rolling::few(&[entry]));
                Body::Rolling(RollingCell { t: entry.ts, of, more: None })
            }
            Little::Value { hash, ts } => {
                let of = Roll::Values(Exact::one(hash, ts));
                Body::Rolling(RollingCell { t: ts, of, more: None })
            }
        };
        Cell { key, fired: 0, body }
    }
}

impl Small {
    /// How many bytes it takes, without the mark.
    pub(crate) const BYTES: usize = 12;

    /// As it stands in a row.
    #[inline]
    pub(crate) fn of_bytes(bytes: &[u8; Small::BYTES], is_odd: bool) -> Small {
        let (words, _) = bytes.as_chunks();
        let word = |at: usize| u32::from_le_bytes(words[at]);
        Small { is_odd, value: word(0).cast_signed(), words: [word(1), word(2)] }
    }

    #[inline]
    pub(crate) fn to_bytes(self) -> [u8; Small::BYTES] {
        let mut bytes = [0; Small::BYTES];
        let (words, _) = bytes.as_chunks_mut::<4>();
        words[0] = self.value.to_le_bytes();
        words[1] = self.words[0].to_le_bytes();
        words[2] = self.words[1].to_le_bytes();
        bytes
    }

    /// Which of the epochs its value lies in.
    fn epoch(self) -> usize {
        usize::from(self.is_odd)
    }
}

/// The halves of an event time: its epoch of 2^32 ms, which is 50 days, and where in that.
fn halves(ts: i64) -> Option<(i32, u32)> {
    Some((i32::try_from(ts >> 32).ok()?, u32::try_from(ts & 0xffff_ffff).ok()?))
}

fn whole(epoch: i32, within: u32) -> i64 {
    i64::from(epoch) << 32 | i64::from(within)
}

/// The small counters of one rule, beside where they stand: their kind, and their periods.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sizes {
    kind: Option<Kind>,
    periods: Periods,
    /// The epochs that distinct values lie in, an even and an odd one, each with the number of
    /// counters in it.
    epochs: [(i32, u32); 2],
}

impl Sizes {
    /// `None` where it does not fit, or the rule's other small counters are of another kind.
    pub(crate) fn pack(&mut self, little: Little) -> Option<Small> {
        if *self.kind.get_or_insert(little.kind()) != little.kind() {
            return None;
        }
        match little {
            Little::Rolling(Entry { ts, value }) => {
                let value = i32::try_from(value).ok()?;
                let (epoch, within) = halves(ts)?;
                Some(Small { is_odd: false, value, words: [epoch.cast_unsigned(), within] })
            }
            Little::Value { hash, ts } => {
                let (epoch, within) = halves(ts)?;
                let [high, low] = [hash >> 32, hash & 0xffff_ffff].map(u32::try_from);
                let words = [high.ok()?, low.ok()?];
                let is_odd = epoch & 1 != 0;
                let small = Small { is_odd, value: within.cast_signed(), words };
                let (own, counters) = &mut self.epochs[small.epoch()];
                if *counters > 0 && *own != epoch {
                    return None;
                }
                (*own, *counters) = (epoch, counters.checked_add(1)?);
                Some(small)
            }
            Little::Calendar { span, number, t } => {
                let value = i32::try_from(number).ok()?;
                let since = u32::try_from(t.checked_sub(span.start)?).ok()?;
                let period = self.periods.enter(span)?;
                Some(Small { is_odd: false, value, words: [period, since] })
            }
        }
    }

    /// What a counter says; `None` of one that is not of this rule.
    #[inline]
    pub(crate) fn unpack(&self, small: &Small) -> Option<Little> {
        let Small { value, words: [one, two], .. } = *small;
        match self.kind? {
            Kind::Rolling => {
                let ts = whole(one.cast_signed(), two);
                Some(Little::Rolling(Entry { ts, value: value.into() }))
            }
            Kind::Value => {
                let ts = whole(self.epochs[small.epoch()].0, value.cast_unsigned());
                Some(Little::Value { hash: u64::from(one) << 32 | u64::from(two), ts })
            }
            Kind::Calendar => {
                let span = self.periods.get(one)?;
                let t = span.start + i64::from(two);
                Some(Little::Calendar { span, number: value.into(), t })
            }
        }
    }

    /// Adds to the number of a period that holds the time, up to `most`; false, and nothing is done,
    /// where there is more to it.
    #[inline]
    pub(crate) fn add_within(&self, small: &mut Small, one: Entry, most: i64) -> bool {
        let period = match self.kind {
            Some(Kind::Calendar) => self.periods.get(small.words[0]),
            _ => None,
        };
        let Some(span) = period.filter(|span| span.start <= one.ts && one.ts < span.end) else {
            return false;
        };
        let sum = i64::from(small.value).checked_add(one.value).filter(|sum| *sum <= most);
        let value = sum.and_then(|sum| i32::try_from(sum).ok());
        let since = u32::try_from(one.ts - span.start).ok();
        let Some((value, since)) = value.zip(since) else { return false };
        (small.value, small.words[1]) = (value, small.words[1].max(since));
        true
    }

    /// Notes that the value of a counter has come again; false, and nothing is done, where it is another
    /// one, or lies a window or more from it.
    #[inline]
    pub(crate) fn see_again(
        &self,
        small: &mut Small,
        (hash, ts): (u64, i64),
        window_ms: i64,
    ) -> bool {
        let Small { value, words: [one, two], .. } = *small;
        let own = u64::from(one) << 32 | u64::from(two);
        if self.kind != Some(Kind::Value) || own != hash {
            return false;
        }
        let epoch = self.epochs[small.epoch()].0;
        let last = whole(epoch, value.cast_unsigned());
        match halves(ts) {
            Some((of_ts, within))
                if of_ts == epoch && ts.abs_diff(last) < window_ms.unsigned_abs() =>
            {
                small.value = value.cast_unsigned().max(within).cast_signed();
                true
            }
            _ => false,
        }
    }

    /// The same with other content; false, and nothing is done, where it does not fit.
    #[inline]
    pub(crate) fn repack(&mut self, small: &mut Small, little: Little) -> bool {
        if let Little::Calendar { span, number, t } = little
            && self.periods.get(small.words[0]) == Some(span)
            && let Ok(value) = i32::try_from(number)
            && let Ok(since) = u32::try_from(t - span.start)
        {
            (small.value, small.words[1]) = (value, since);
            return true;
        }
        let Some(packed) = self.pack(little) else { return false };
        self.leave(small);
        *small = packed;
        true
    }

    /// A counter goes, or becomes whole.
    pub(crate) fn leave(&mut self, small: &Small) {
        match self.kind {
            Some(Kind::Calendar) => self.periods.leave(small.words[0]),
            Some(Kind::Value) => {
                let counters = &mut self.epochs[small.epoch()].1;
                *counters = counters.saturating_sub(1);
            }
            Some(Kind::Rolling) | None => {}
        }
    }

    pub(crate) fn cell(&self, key: u32, small: &Small) -> Option<Cell> {
        Some(self.unpack(small)?.cell(key))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.periods.bytes()
    }
}

/// Periods by number, each with how many counters lie in it; one without any makes room.
#[derive(Debug, Clone, Default)]
pub(crate) struct Periods(Vec<(Span, u32)>);

impl Periods {
    pub(crate) fn get(&self, number: u32) -> Option<Span> {
        self.0.get(number as usize).map(|(span, _)| *span)
    }

    /// The number of a period, which is most likely the one that was asked for last, for one counter
    /// more. `None` where there are too many.
    pub(crate) fn enter(&mut self, span: Span) -> Option<u32> {
        let periods = &mut self.0;
        let known = periods.iter().rposition(|(other, _)| *other == span);
        let free = || periods.iter().position(|(_, counters)| *counters == 0);
        let at = known.or_else(free).unwrap_or(periods.len());
        match periods.get_mut(at) {
            Some((own, counters)) => (*own, *counters) = (span, counters.checked_add(1)?),
            None if at < PERIODS_MAX => periods.push((span, 1)),
            None => return None,
        }
        u32::try_from(at).ok()
    }

    /// One counter fewer lies there.
    pub(crate) fn leave(&mut self, number: u32) {
        if let Some((_, counters)) = self.0.get_mut(number as usize) {
            *counters = counters.saturating_sub(1);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<(Span, u32)>()
    }
}

#[cfg(test)]
mod tests;
