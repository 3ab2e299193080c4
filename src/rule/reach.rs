//! How far back a rule looks.

use super::types::{Check, Condition, Filter, Period, Rule, Window};

const DAY_MS: i64 = 86_400_000;
/// A day of the zone may be longer by so much.
const SUMMER_MS: i64 = 3_600_000;

/// Milliseconds before an event within which everything lies that may count for it: window and
/// baseline, `new`, and the cooldown.
pub fn reach_ms(rule: &Rule) -> i64 {
    let (window, filters) = match &rule.check {
        Check::Match { filter, .. } => (0, vec![filter]),
        Check::Threshold { input, window, .. } => (window_ms(*window), vec![&input.filter]),
        Check::Ratio { of, to, window, .. } => (window_ms(*window), vec![&of.filter, &to.filter]),
        Check::ZScore(zscore) => {
            let windows = i64::from(zscore.baseline.empties_max()) + 1;
            (window_ms(zscore.window).saturating_mul(windows), vec![&zscore.input.filter])
        }
    };
    let within = filters.into_iter().map(new_ms).max().unwrap_or(0);
    // A firing that still cools down was tipped by what lay within its own window.
    window.saturating_add(within).saturating_add(rule.cooldown_ms.unwrap_or(0))
}

/// The longest that a window lasts.
pub(crate) fn window_ms(window: Window) -> i64 {
    match window {
        Window::Duration(ms) => ms,
        Window::Calendar(period) => longest_ms(period) + SUMMER_MS,
    }
}

/// The longest that a period lasts, but for an hour of summer time.
pub(super) fn longest_ms(period: Period) -> i64 {
    let days = match period {
        Period::Day => 1,
        Period::Week => 7,
        Period::Month => 31,
        Period::Quarter => 92,
        Period::Year => 366,
    };
    days * DAY_MS
}

/// R5, at any depth.
fn new_ms(filter: &Filter) -> i64 {
    let of = |condition: &Condition| match condition {
        Condition::New { within_ms, .. } => *within_ms,
        Condition::Any(filters) => filters.iter().map(new_ms).max().unwrap_or(0),
        Condition::Not(filter) => new_ms(filter),
        Condition::Field { .. } => 0,
    };
    filter.all.iter().map(of).max().unwrap_or(0)
}
