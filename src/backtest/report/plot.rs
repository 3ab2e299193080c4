//! Bars and lines as places on a canvas; the page draws them.

use serde::Serialize;

use crate::backtest::report::{Distribution, Report};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 96.0;

/// Bars over a common base line, with lines across.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Plot {
    width: f64,
    height: f64,
    bars: Vec<Bar>,
    lines: Vec<Line>,
    /// The greatest count, which the highest bar stands for.
    most: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Bar {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    /// What it stands for, on pointing at it.
    label: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Line {
    x: f64,
    label: String,
}

/// How high a bar is for a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    Linear,
    /// A few count beside very many.
    Logarithmic,
}

impl Plot {
    fn new(counts: &[(u64, String)], scale: Scale, lines: Vec<Line>) -> Plot {
        let most = counts.iter().map(|(count, _)| *count).max().unwrap_or(0);
        let part = |count: u64| -> f64 {
            let (count, most) = (as_f64(count), as_f64(most.max(1)));
            match scale {
                Scale::Linear => count / most,
                Scale::Logarithmic => count.ln_1p() / most.ln_1p(),
            }
        };
        let step = WIDTH / as_f64(counts.len().max(1) as u64);
        let bar = |(at, (count, label)): (usize, &(u64, String))| {
            // What counts at all is seen.
            let height = if *count == 0 { 0.0 } else { (part(*count) * HEIGHT).max(1.5) };
            Bar {
                x: rounded(step * as_f64(at as u64)),
                y: rounded(HEIGHT - height),
                width: rounded((step - 1.0).max(0.5)),
                height: rounded(height),
                label: label.clone(),
            }
        };
        let bars = counts.iter().enumerate().filter(|(_, (count, _))| *count > 0).map(bar);
        Plot { width: WIDTH, height: HEIGHT, bars: bars.collect(), lines, most }
    }

    /// Firings of a rule over time; `when` puts an instant in words.
    pub(super) fn of_time(report: &Report, counts: &[u64], when: &dyn Fn(i64) -> String) -> Plot {
        let slots = report.slots;
        let begin = |at: usize| slots.begin + slots.width_ms * i64::try_from(at).unwrap_or(0);
        let counts: Vec<(u64, String)> = counts
            .iter()
            .enumerate()
            .map(|(at, count)| (*count, format!("{count} from {}", when(begin(at)))))
            .collect();
        Plot::new(&counts, Scale::Linear, Vec::new())
    }

    /// How far keys came, with the bounds as lines; the last bar is of those beyond the others.
    pub(super) fn of_reach(reached: &Distribution) -> Plot {
        let mut counts: Vec<(u64, String)> = reached
            .bins
            .iter()
            .map(|bin| {
                let label = format!("{} up to {}", bin.keys, number(bin.to));
                (bin.keys, label)
            })
            .collect();
        let end = reached.bins.last().map_or(1.0, |bin| bin.to);
        counts.push((reached.beyond, format!("{} above {}", reached.beyond, number(end))));
        let of_bins = WIDTH * as_f64(reached.bins.len() as u64) / as_f64(counts.len() as u64);
        let line = |bound: &f64| Line { x: rounded(of_bins * bound / end), label: number(*bound) };
        Plot::new(&counts, Scale::Logarithmic, reached.bounds.iter().map(line).collect())
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a plot")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// A tenth of a pixel is enough.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A bound or value in words.
pub(super) fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        format!("{value:.0}")
    } else {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}
