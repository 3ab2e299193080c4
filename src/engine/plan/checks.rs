//! What follows from the check of a rule.

use smallvec::{SmallVec, smallvec};
use xxhash_rust::xxh3::xxh3_64;

use crate::engine::plan::Form;
use crate::rule::{Check, Field, Input, ListDecl, Measure, Rule, Side, Window};

/// What a check measures; match rules measure nothing.
pub(super) fn inputs(check: &Check) -> SmallVec<[&Input; 2]> {
    match check {
        Check::Match { .. } => SmallVec::new(),
        Check::Threshold { input, .. } => smallvec![input],
        Check::Ratio { of, to, .. } => smallvec![of, to],
        Check::ZScore(zscore) => smallvec![&zscore.input],
    }
}

/// Caps with few keys, and those that ask for it.
pub(super) fn has_flow(rule: &Rule) -> bool {
    let Check::Threshold { input, window: Window::Calendar(_), levels } = &rule.check else {
        return false;
    };
    let few = rule.per.fields.iter().all(|field| *field == Field::Source);
    levels.side == Side::Above
        && matches!(input.measure, Measure::Count | Measure::SumPoints)
        && (few || levels.has_forecast())
}

pub(super) fn form(rule: &Rule) -> Form {
    match &rule.check {
        Check::Match { .. } => Form::Match,
        Check::ZScore(_) => Form::ZScore,
        Check::Ratio { window: Window::Calendar(_), .. } => Form::Calendar,
        Check::Ratio { .. } => Form::Rolling,
        Check::Threshold { window, levels, .. } => match (window, levels.side) {
            (Window::Calendar(_), Side::Above) => Form::Calendar,
            (Window::Calendar(_), Side::Below) => Form::CalendarBelow,
            (Window::Duration(_), Side::Above) => Form::Rolling,
            (Window::Duration(_), Side::Below) => Form::RollingBelow,
        },
    }
}

/// Names a rule and how it counts, whatever place its lists have.
pub(super) fn fingerprint(rule: &Rule, lists: &[ListDecl]) -> u64 {
    let mut check = rule.check.clone();
    let named = |list: usize| {
        let name = lists.get(list).map_or("", |list| list.name.as_str());
        usize::try_from(xxh3_64(name.as_bytes()) >> 1).unwrap_or(list)
    };
    check.filters_mut().for_each(|filter| filter.map_lists(&named));
    let what = match &check {
        Check::Match { on, filter, .. } => format!("match {on:?} {filter:?}"),
        Check::Threshold { input, window, .. } => format!("{input:?} {window:?}"),
        Check::Ratio { of, to, window, .. } => format!("ratio {of:?} {to:?} {window:?}"),
        Check::ZScore(zscore) => format!("zscore {:?} {:?}", zscore.input, zscore.window),
    };
    xxh3_64(format!("{}|{:?}|{what}", rule.name, rule.per).as_bytes())
}
