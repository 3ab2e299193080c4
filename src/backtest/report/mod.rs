//! What a run found, for people who decide on it: as figures, and as one page that needs nothing
//! else.

mod distribution;
mod page;
mod plot;

pub use distribution::{Bin, Distribution, Reach};
pub use page::{PageError, page};

use std::collections::BTreeMap;

use serde::Serialize;

use crate::backtest::findings::Target;
use crate::backtest::timeline::Axis;
use crate::backtest::{Backtest, Summary, Targets};
use crate::rule::{Mode, Rule};

/// Figures of one run, rule by rule.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where the rules came from, and the events.
    pub rules: String,
    pub input: String,
    pub ruleset: String,
    pub timezone: String,
    pub summary: Summary,
    /// Event times of the first event that counted and of the latest one, milliseconds.
    pub first: i64,
    pub last: i64,
    /// The slots of all timelines.
    pub slots: Slots,
    /// In the order of the set, without those that are off.
    pub by_rule: Vec<RuleReport>,
    /// Rules that fired, and for each how many of its targets each of them fired on.
    pub overlap: Vec<OverlapRow>,
}

/// Slots of time, of one width and one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Slots {
    pub width_ms: i64,
    /// Where the first one begins and the last one ends.
    pub begin: i64,
    pub end: i64,
}

#[derive(Debug, Clone, Serialize)]
pub struct RuleReport {
    pub rule: String,
    pub description: Option<String>,
    pub mode: Mode,
    pub firings: u64,
    /// Firings by slots of time.
    pub timeline: Vec<u64>,
    /// What was fired on, and the points at stake.
    pub targets: Targets,
    /// Targets that were frozen, each scope by itself.
    pub freezes: u64,
    /// How far keys came; of thresholds and ratios that are judged at each event.
    pub reached: Option<Distribution>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OverlapRow {
    pub rule: String,
    /// In the order of the rows; its own place holds all its targets.
    pub targets: Vec<u64>,
}

/// Tells what a run that has ended, and has kept findings and peaks, came to; so many targets of
/// a rule are listed. `rules` and `input` are where they came from.
pub fn report(run: &Backtest, rules: String, input: String, top: usize) -> Report {
    let set = run.rule_set();
    let (first, last) = run.time().unwrap_or_default();
    let found = set.rules.iter().map(|rule| run.findings().of(&rule.name));
    let axis = Axis::of(found.map(|found| &found.when), (first, last));
    let (begin, end) = axis.ends();
    let on = set.rules.iter().enumerate().filter(|(_, rule)| rule.mode != Mode::Off);
    Report {
        rules,
        input,
        ruleset: set.version.clone(),
        timezone: set.timezone_name.clone(),
        summary: run.summary(),
        first,
        last,
        slots: Slots { width_ms: axis.width_ms, begin, end },
        by_rule: on.map(|(place, rule)| of_rule(run, (place, rule), axis, top)).collect(),
        overlap: overlap(run),
    }
}

fn of_rule(run: &Backtest, (place, rule): (usize, &Rule), axis: Axis, top: usize) -> RuleReport {
    let found = run.findings().of(&rule.name);
    let targets: BTreeMap<&str, &Target> =
        found.targets.iter().map(|(key, target)| (key.as_str(), target)).collect();
    let issued = |user: &str| Some(run.issued(user));
    RuleReport {
        rule: rule.name.clone(),
        description: rule.description.clone(),
        mode: rule.mode,
        firings: found.firings,
        timeline: found.when.counts(axis),
        targets: Targets::of(&rule.name, &targets, run.findings(), &issued, top),
        freezes: found.freezes.len() as u64,
        reached: Distribution::of(rule, &run.peaks(rule, place)),
    }
}

fn overlap(run: &Backtest) -> Vec<OverlapRow> {
    let rules = run.rule_set().rules.iter();
    let fired: Vec<_> = rules
        .map(|rule| (rule.name.clone(), run.findings().of(&rule.name)))
        .filter(|(_, found)| found.firings > 0)
        .collect();
    let row = |(rule, found): &(String, &crate::backtest::findings::Found)| OverlapRow {
        rule: rule.clone(),
        targets: fired
            .iter()
            .map(|(_, other)| {
                let both = found.targets.keys().filter(|key| other.targets.contains_key(*key));
                both.count() as u64
            })
            .collect(),
    };
    fired.iter().map(row).collect()
}
