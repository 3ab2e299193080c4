//! When something happened: counts by slots of time, few however long it went on.

use std::collections::BTreeMap;

/// The narrowest slot.
const NARROW_MS: i64 = 1_000;

/// Beyond so many slots they are made twice as wide.
const SLOTS_MAX: usize = 120;

/// Counts by slots of one width, which begin at its multiples.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    width_ms: i64,
    slots: BTreeMap<i64, u64>,
}

impl Default for Timeline {
    fn default() -> Self {
        Timeline::new()
    }
}

impl Timeline {
    pub(crate) const fn new() -> Timeline {
        Timeline { width_ms: NARROW_MS, slots: BTreeMap::new() }
    }

    pub(crate) fn note(&mut self, ts: i64) {
        *self.slots.entry(ts.div_euclid(self.width_ms)).or_default() += 1;
        while self.span() > SLOTS_MAX {
            *self = self.widened(self.width_ms * 2);
        }
    }

    /// Where the first slot and the last one begin.
    fn ends(&self) -> Option<(i64, i64)> {
        let (first, last) = (self.slots.first_key_value()?, self.slots.last_key_value()?);
        Some((first.0 * self.width_ms, last.0 * self.width_ms))
    }

    /// How many slots lie between the first and the last, both counted.
    fn span(&self) -> usize {
        let slots = self.ends().map_or(0, |(first, last)| (last - first) / self.width_ms + 1);
        usize::try_from(slots).unwrap_or(0)
    }

    fn widened(&self, width_ms: i64) -> Timeline {
        let mut slots = BTreeMap::new();
        for (slot, count) in &self.slots {
            *slots.entry((slot * self.width_ms).div_euclid(width_ms)).or_default() += count;
        }
        Timeline { width_ms, slots }
    }

    /// Counts of the slots of this width, at least its own, that a time from `first` to `last`
    /// touches.
    pub(crate) fn counts(&self, axis: Axis) -> Vec<u64> {
        let wide = self.widened(axis.width_ms);
        (0..axis.slots).map(|at| wide.slots.get(&(axis.first + at)).copied().unwrap_or(0)).collect()
    }
}

/// Slots that several timelines have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) width_ms: i64,
    /// Number of the first slot.
    first: i64,
    slots: i64,
}

impl Axis {
    /// The narrowest slots that all timelines have, and that few of make up the time between two
    /// instants, both counted, and all that the timelines tell: what comes out of order may lie
    /// before the first instant.
    pub(crate) fn of<'a>(
        timelines: impl Iterator<Item = &'a Timeline> + Clone,
        (from, to): (i64, i64),
    ) -> Axis {
        let ends = timelines.clone().filter_map(Timeline::ends);
        let (from, to) = ends.fold((from, to), |all, one| (all.0.min(one.0), all.1.max(one.1)));
        let mut width_ms = timelines.map(|one| one.width_ms).max().unwrap_or(NARROW_MS);
        let slot = |ts: i64, width_ms: i64| ts.div_euclid(width_ms);
        let most = i64::try_from(SLOTS_MAX).unwrap_or(i64::MAX);
        while slot(to, width_ms) - slot(from, width_ms) >= most {
            width_ms *= 2;
        }
        let first = slot(from, width_ms);
        Axis { width_ms, first, slots: slot(to, width_ms) - first + 1 }
    }

    /// Event time at which the first slot begins, and at which the last one ends.
    pub(crate) fn ends(self) -> (i64, i64) {
        (self.first * self.width_ms, (self.first + self.slots) * self.width_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_get_wider_and_lose_nothing() {
        let mut timeline = Timeline::new();
        for at in 0..10_000 {
            timeline.note(1_763_780_400_000 + at * 7_000);
        }
        assert!(timeline.span() <= SLOTS_MAX);
        let ends = (1_763_780_400_000, 1_763_780_400_000 + 9_999 * 7_000);
        let axis = Axis::of([&timeline].into_iter(), ends);
        let counts = timeline.counts(axis);
        assert_eq!(counts.iter().sum::<u64>(), 10_000);
        assert!(counts.len() > SLOTS_MAX / 2 && counts.len() <= SLOTS_MAX);
        // Evenly spread, but for the ends.
        let inner = &counts[1..counts.len() - 1];
        assert!(inner.iter().max().unwrap() - inner.iter().min().unwrap() <= 1);
    }
    #[test]
    fn what_comes_before_the_first_instant_has_its_slot() {
        let mut timeline = Timeline::new();
        timeline.note(1_763_780_399_996);
        let axis = Axis::of([&timeline].into_iter(), (1_763_780_400_000, 1_763_780_400_000));
        assert_eq!(timeline.counts(axis), [1, 0]);
        assert_eq!(axis.ends(), (1_763_780_399_000, 1_763_780_401_000));
    }
}
