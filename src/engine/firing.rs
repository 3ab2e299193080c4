//! When a rule fires: edges, levels, re-arming and cooldown (R9).

use std::collections::BTreeSet;

use crate::engine::by_rule::ByRule;
use crate::engine::forecast::Rise;
use crate::rule::{Level, Levels, Number, Side};

/// Which levels count as fired; one bit a level.
pub(crate) type Fired = u32;

/// Event time of the last firing that was not suppressed, per level.
pub(super) type LastFired = smallvec::SmallVec<[i64; 1]>;

/// The last firings of rules with a cooldown, by key. Apart from the cells, because few keys
/// ever fire.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cooldowns {
    last: ByRule<LastFired>,
}

impl Cooldowns {
    /// Event time of the latest firing of a rule and key.
    pub(crate) fn latest(&self, rule: usize, key: u32) -> Option<i64> {
        self.last.get(rule, key)?.iter().copied().max()
    }

    /// Event time of the last firing of each level; none where no level has fired.
    pub(super) fn of(&self, rule: usize, key: u32) -> &[i64] {
        self.last.get(rule, key).map_or(&[], |last| last.as_slice())
    }

    pub(super) fn put(&mut self, rule: usize, key: u32, last: LastFired) {
        if !last.is_empty() {
            self.last.insert(rule, key, last);
        }
    }

    /// Rules with a firing to remember.
    pub(super) fn rules(&self) -> BTreeSet<usize> {
        self.last.rules().collect()
    }

    pub(crate) fn forget(&mut self, rule: usize, key: u32) {
        self.last.remove(rule, key);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.last.bytes()
    }
}

/// A measured value: exact where it is an integer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Measured {
    Integer(i64),
    Float(f64),
}

impl Measured {
    pub(crate) fn breaches(self, side: Side, bound: Number) -> bool {
        match side {
            Side::Above => cmp(self, bound) == Some(std::cmp::Ordering::Greater),
            Side::Below => cmp(self, bound) == Some(std::cmp::Ordering::Less),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "for plots: verdicts compare exactly")]
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Measured::Integer(value) => value as f64,
            Measured::Float(value) => value,
        }
    }

    pub(crate) fn json(self) -> serde_json::Value {
        match self {
            Measured::Integer(value) => value.into(),
            Measured::Float(value) => value.into(),
        }
    }
}

/// What the levels of a rule are held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    pub(crate) value: Measured,
    /// How fast it rises, of rules that look ahead.
    pub(crate) rise: Option<Rise>,
}

impl From<Measured> for Reading {
    fn from(value: Measured) -> Reading {
        Reading { value, rise: None }
    }
}

impl Reading {
    /// When a level that looks ahead sees its bound exceeded; `None` once it is.
    pub(crate) fn forecast(&self, levels: &Levels, level: &Level) -> Option<i64> {
        let (Some(within_ms), Some(rise)) = (level.forecast_ms, self.rise) else { return None };
        let Measured::Integer(value) = self.value else { return None };
        if self.value.breaches(levels.side, level.bound) {
            return None;
        }
        let at = rise.reaches(value, level.bound)?;
        (at.saturating_sub(rise.now) <= within_ms).then_some(at)
    }

    pub(crate) fn breaches(&self, levels: &Levels, level: &Level) -> bool {
        self.value.breaches(levels.side, level.bound) || self.forecast(levels, level).is_some()
    }

    /// Whether a level that has fired is armed again. `clear` is a bound of what is, not of what
    /// is to come.
    fn clears(&self, levels: &Levels, level: &Level) -> bool {
        match levels.clear {
            Some(clear) if level.forecast_ms.is_none() => !self.value.breaches(levels.side, clear),
            _ => !self.breaches(levels, level),
        }
    }
}

/// Exact comparison with a bound: no rounding of large integers.
pub(crate) fn cmp(value: Measured, bound: Number) -> Option<std::cmp::Ordering> {
    let value = match value {
        Measured::Integer(value) => Number::Integer(value),
        Measured::Float(value) => Number::Float(value),
    };
    value.compare(bound)
}

/// What an evaluation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Quiet,
    Suppressed,
    /// Index of the level that fires.
    Fires(usize),
}

/// One evaluation of a threshold rule. `may_fire` is false for reversals, which leave the
/// edge to the next event.
pub(crate) fn evaluate(
    levels: &Levels,
    reading: Reading,
    fired: &mut Fired,
    may_fire: bool,
    cooldown: &mut Cooldown<'_>,
) -> Verdict {
    // Levels that an edit took away are over: another in their place starts armed.
    let levels_max = Fired::BITS.saturating_sub(u32::try_from(levels.levels.len()).unwrap_or(0));
    *fired &= Fired::MAX.checked_shr(levels_max).unwrap_or(0);
    let mut newly: Fired = 0;
    for (at, level) in levels.levels.iter().enumerate() {
        let bit = 1 << at;
        if *fired & bit != 0 {
            if reading.clears(levels, level) {
                *fired &= !bit;
            }
        } else if reading.breaches(levels, level) {
            newly |= bit;
        }
    }
    if newly == 0 || !may_fire {
        return Verdict::Quiet;
    }
    *fired |= newly;
    let top = (Fired::BITS - 1 - newly.leading_zeros()) as usize;
    if cooldown.holds_back(top) {
        return Verdict::Suppressed;
    }
    cooldown.start(newly);
    Verdict::Fires(top)
}

/// The cooldown of one rule and key at one instant of event time.
#[derive(Debug)]
pub(crate) struct Cooldown<'a> {
    pub(crate) all: &'a mut Cooldowns,
    pub(crate) rule: usize,
    pub(crate) key: u32,
    pub(crate) length_ms: Option<i64>,
    pub(crate) now: i64,
}

impl Cooldown<'_> {
    pub(crate) fn holds_back(&self, level: usize) -> bool {
        let Some(cooldown) = self.length_ms else { return false };
        let last = self.all.last.get(self.rule, self.key);
        match last.and_then(|last| last.get(level)) {
            Some(last) if *last != i64::MIN => self.now < last.saturating_add(cooldown),
            _ => false,
        }
    }

    pub(crate) fn start(&mut self, levels: Fired) {
        if self.length_ms.is_none() {
            return;
        }
        let last = self.all.last.entry(self.rule, self.key).or_default();
        let needed = (Fired::BITS - levels.leading_zeros()) as usize;
        if last.len() < needed {
            last.resize(needed, i64::MIN);
        }
        for (at, last) in last.iter_mut().enumerate() {
            if levels & (1 << at) != 0 {
                *last = self.now;
            }
        }
    }
}

#[cfg(test)]
mod tests;
