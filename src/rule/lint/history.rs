//! How far rules look back, and how long their cooldowns are.

use super::site::{Site, branches, spots};
use super::{Lint, Linter};
use crate::rule::duration::write_duration;
use crate::rule::node::Node;
use crate::rule::reach::{longest_ms, window_ms};
use crate::rule::types::{Check, Condition, Filter, Window};

impl Linter<'_> {
    pub(super) fn history(&mut self, site: &Site<'_>) {
        let window = match &site.rule.check {
            Check::Match { .. } => None,
            Check::Threshold { window, .. } | Check::Ratio { window, .. } => Some(*window),
            Check::ZScore(zscore) => Some(zscore.window),
        };
        if let (Some(cooldown), Some(Window::Calendar(period))) = (site.rule.cooldown_ms, window) {
            let length = longest_ms(period);
            if cooldown > length {
                let message = "the cooldown outlasts the window";
                let hint = format!(
                    "it silences a new breach in the next period, with its freeze; {} is the most \
                     that a period lasts",
                    written(length)
                );
                self.warn(Lint::LongCooldown, (site.file, site.at("cooldown")), message, hint);
            }
        }
        let Some(kept) = self.around.retention_ms else { return };
        for (reach, at) in reaches(site, window) {
            if reach > kept {
                let message = format!(
                    "looks back {}, and the events are kept {}",
                    written(reach),
                    written(kept)
                );
                let hint = "what is new or edited begins without the rest; raise `retention.ms` of \
                            the topic of events";
                self.warn(Lint::ShortRetention, (site.file, at), message, hint);
            }
        }
    }
}

fn written(ms: i64) -> String {
    write_duration(u128::try_from(ms).unwrap_or(0))
}

/// How far each part of a rule looks back.
fn reaches<'a>(site: &Site<'a>, window: Option<Window>) -> Vec<(i64, &'a Node)> {
    let mut all = Vec::new();
    match (&site.rule.check, window.map(window_ms)) {
        (Check::ZScore(zscore), Some(ms)) => {
            let history = ms.saturating_mul(i64::from(zscore.baseline.empties_max()));
            let at = site.node.get("baseline").and_then(|baseline| baseline.get("history"));
            all.push((history, at.unwrap_or(site.at("window"))));
        }
        (_, Some(ms)) => all.push((ms, site.at("window"))),
        (_, None) => {}
    }
    all.extend(site.rule.cooldown_ms.map(|ms| (ms, site.at("cooldown"))));
    for input in site.inputs() {
        if let Some(node) = input.node.get("where") {
            new_values(node, input.filter, &mut all);
        }
    }
    all
}

/// R5: how far `new` looks back, at any depth.
fn new_values<'a>(node: &'a Node, filter: &Filter, all: &mut Vec<(i64, &'a Node)>) {
    for (condition, spot) in filter.all.iter().zip(spots(node)) {
        match condition {
            Condition::New { within_ms, .. } => {
                all.push((*within_ms, spot.value.get("within").unwrap_or(spot.at)));
            }
            Condition::Any(filters) => {
                for (node, filter) in branches(spot.value, filters) {
                    new_values(node, filter, all);
                }
            }
            Condition::Not(filter) => new_values(spot.value, filter, all),
            Condition::Field { .. } => {}
        }
    }
}
