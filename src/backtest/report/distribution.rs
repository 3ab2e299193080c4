//! How far the keys of a rule came, against its bounds: what other bounds would have fired on.

use serde::Serialize;

use crate::rule::{Check, Levels, Number, Rule, Side};

/// Bins up to a quarter beyond the last bound.
const BINS: u32 = 25;

/// Other bounds to reckon with, as shares of the first one.
const SHARES: [f64; 7] = [0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5];

/// The furthest value of each key, in bins. Keys that saw no event of the rule are not in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Distribution {
    pub keys: u64,
    /// The bounds of the levels in force.
    pub bounds: Vec<f64>,
    /// True where values above a bound breach it.
    pub above: bool,
    pub bins: Vec<Bin>,
    /// Keys beyond the last bin.
    pub beyond: u64,
    /// How many keys some other first bound would have fired on.
    pub reach: Vec<Reach>,
}

/// Keys whose furthest value lies in `(from, to]`; the first bin takes in all that is less.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    pub from: f64,
    pub to: f64,
    pub keys: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Reach {
    pub bound: f64,
    /// Keys that came beyond it.
    pub keys: u64,
}

#[expect(clippy::cast_precision_loss, reason = "for a plot")]
fn as_f64(number: Number) -> f64 {
    match number {
        Number::Integer(value) => value as f64,
        Number::Float(value) => value,
    }
}

fn levels(rule: &Rule) -> Option<&Levels> {
    match &rule.check {
        Check::Threshold { levels, .. } | Check::Ratio { levels, .. } => Some(levels),
        Check::Match { .. } | Check::ZScore(_) => None,
    }
}

impl Distribution {
    /// Of the furthest values of all keys, in ascending order; `None` for rules without bounds
    /// that are judged at each event, and where no key was counted.
    pub(crate) fn of(rule: &Rule, reached: &[f64]) -> Option<Distribution> {
        let levels = levels(rule)?;
        let bounds: Vec<f64> = levels.levels.iter().map(|level| as_f64(level.bound)).collect();
        let (first, greatest) = (*bounds.first()?, bounds.iter().copied().fold(0.0, f64::max));
        if reached.is_empty() {
            return None;
        }
        let up_to = |value: f64| reached.partition_point(|one| *one <= value);
        let is_above = levels.side == Side::Above;
        let beyond = |bound: f64| {
            if is_above {
                reached.len() - up_to(bound)
            } else {
                reached.partition_point(|one| *one < bound)
            }
        };
        let width = (greatest * 1.25).max(f64::MIN_POSITIVE) / f64::from(BINS);
        let edge = |at: u32| width * f64::from(at);
        let bin = |at: u32| {
            let less = if at == 0 { 0 } else { up_to(edge(at)) };
            Bin { from: edge(at), to: edge(at + 1), keys: (up_to(edge(at + 1)) - less) as u64 }
        };
        let mut shares: Vec<f64> = SHARES.iter().map(|share| first * share).collect();
        if levels.levels.iter().all(|level| matches!(level.bound, Number::Integer(_))) {
            for bound in &mut shares {
                *bound = bound.round();
            }
        }
        shares.dedup();
        let reach = |bound: f64| Reach { bound, keys: beyond(bound) as u64 };
        Some(Distribution {
            keys: reached.len() as u64,
            above: is_above,
            bins: (0..BINS).map(bin).collect(),
            beyond: (reached.len() - up_to(edge(BINS))) as u64,
            reach: shares.into_iter().map(reach).collect(),
            bounds,
        })
    }
}
