//! Baselines of a series of closed windows (R11).

use std::collections::VecDeque;

use crate::engine::calendar::Span;
use crate::engine::season::{Slots, kept};
use crate::rule::{Baseline, Method};

/// The closed windows of one key, as far as its method remembers them.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(super) mean: f64,
    pub(super) var: f64,
    /// The last `history` values, of a seasonal baseline those of all its seasons; none for
    /// `ewma`.
    #[expect(clippy::box_collection, reason = "most series are of users and have none")]
    pub(super) values: Option<Box<VecDeque<f64>>>,
    /// Closed windows so far; for `mean` and `robust` at most `history`, for a seasonal baseline
    /// none.
    pub(super) windows: u32,
}

impl Series {
    pub(crate) fn new() -> Series {
        Series { mean: 0.0, var: 0.0, values: None, windows: 0 }
    }

    /// Adds the value of a closed window.
    pub(crate) fn push(&mut self, baseline: &Baseline, value: f64) {
        if let Method::Seasonal(season) = baseline.method {
            let values = self.values.get_or_insert_default();
            values.push_back(value);
            while values.len() > kept(baseline, season) {
                values.pop_front();
            }
            // Another method, should the rule be edited, has no verdict before it has begun.
            (self.mean, self.var, self.windows) = (0.0, 0.0, 0);
            return;
        }
        self.windows = self.windows.saturating_add(1);
        if baseline.method == Method::Ewma {
            self.values = None;
            self.push_ewma(baseline, value);
            return;
        }
        let values = self.values.get_or_insert_default();
        values.push_back(value);
        while values.len() > baseline.history as usize {
            values.pop_front();
        }
        self.windows = u32::try_from(values.len()).unwrap_or(u32::MAX);
        let values: Vec<f64> = values.iter().copied().collect();
        (self.mean, self.var) = match baseline.method {
            Method::Robust => robust(values),
            _ => moments(&values),
        };
    }

    /// Exponentially weighted mean and variance (Finch 2009, "Incremental calculation of
    /// weighted mean and variance", section 9), with α = 2 / (history + 1).
    fn push_ewma(&mut self, baseline: &Baseline, value: f64) {
        if self.windows == 1 {
            self.mean = value;
            return;
        }
        let alpha = 2.0 / (f64::from(baseline.history) + 1.0);
        let d = value - self.mean;
        self.mean += alpha * d;
        self.var = (1.0 - alpha) * (self.var + alpha * d * d);
    }

    /// Median and scaled median absolute deviation (at least `min_sd`) of the windows that share
    /// a slot with `span` in past seasons, and how many these are; the last of the closed windows
    /// ended at `end`.
    pub(crate) fn seasonal(
        &self,
        baseline: &Baseline,
        slots: &Slots<'_>,
        (span, end): (Span, i64),
    ) -> (usize, Option<(f64, f64)>) {
        let Some(values) = &self.values else { return (0, None) };
        let places = slots.places(baseline.history, span, end, values.len());
        let known = places.len();
        if known < baseline.min_windows.max(1) as usize {
            return (known, None);
        }
        let values = places.into_iter().filter_map(|place| values.get(place).copied());
        let (center, var) = robust(values.collect());
        (known, Some((center, var.sqrt().max(baseline.min_sd))))
    }

    /// Mean and standard deviation (at least `min_sd`) of the windows before; `None` = no
    /// verdict, fewer than `min_windows`. Not of seasonal baselines.
    pub(crate) fn stats(&self, baseline: &Baseline) -> Option<(f64, f64)> {
        let enough = self.windows >= baseline.min_windows.max(1);
        enough.then(|| (self.mean, self.var.sqrt().max(baseline.min_sd)))
    }

    /// The value as it may enter the baseline: within mean ± bound·sd on the side it breached.
    pub(crate) fn clip(
        value: f64,
        (mean, sd): (f64, f64),
        above: Option<f64>,
        below: Option<f64>,
    ) -> f64 {
        let high = above.map_or(f64::INFINITY, |bound| mean + bound * sd);
        let low = below.map_or(f64::NEG_INFINITY, |bound| mean + bound * sd);
        value.min(high).max(low)
    }
}

/// Mean and sample variance, two passes in order of time.
#[expect(clippy::cast_precision_loss, reason = "a history is far shorter than 2^53")]
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (mean, squares / (n - 1.0))
}

/// Median, and the square of 1.4826 · MAD: the factor makes the median absolute deviation
/// estimate the standard deviation of a normal distribution (Hampel 1974).
fn robust(values: Vec<f64>) -> (f64, f64) {
    let center = median(values.clone());
    let spread = 1.4826 * median(values.into_iter().map(|value| (value - center).abs()).collect());
    (center, spread * spread)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle) {
        None => 0.0,
        Some(high) if values.len() % 2 == 1 => *high,
        Some(high) => f64::midpoint(values[middle - 1], *high),
    }
}
