//! How near each key of a rule has come to its bounds: the greatest value it reached, or the least
//! where the rule looks below. Kept where a report asks for it, and no part of the state.

use hashbrown::HashMap;

use crate::engine::firing::Measured;
use crate::engine::state::State;
use crate::rule::Side;

/// By rule and hash of the key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peaks {
    reached: HashMap<(u32, u64), f64>,
}

impl Peaks {
    pub(crate) fn note(&mut self, rule: usize, key: u64, value: Measured, side: Side) {
        let value = value.as_f64();
        let rule = u32::try_from(rule).unwrap_or(u32::MAX);
        let reached = self.reached.entry((rule, key)).or_insert(value);
        *reached = match side {
            Side::Above => reached.max(value),
            Side::Below => reached.min(value),
        };
    }
}

impl State {
    /// From now on keeps how near keys come to their bounds: a number for each rule and key.
    pub fn keep_peaks(&mut self) {
        self.keyed.peaks = Some(Box::default());
    }

    /// What the keys of a rule, by its place in the set, have reached; in ascending order.
    pub fn peaks(&self, rule: usize) -> Vec<f64> {
        let all = self.keyed.peaks.iter().flat_map(|peaks| &peaks.reached);
        let own = all.filter(|((of, _), _)| usize::try_from(*of) == Ok(rule));
        let mut reached: Vec<f64> = own.map(|(_, value)| *value).collect();
        reached.sort_by(f64::total_cmp);
        reached
    }
}
