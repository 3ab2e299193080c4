//! Some targets of a rule, those furthest beyond the bound first.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::backtest::findings::{Findings, Target};

/// Some targets of a rule: all counted, the first listed.
#[derive(Debug, Clone, Serialize)]
pub struct Targets {
    pub count: u64,
    /// Issued points of the members among them, over the whole input.
    pub points_at_stake: i64,
    /// Those furthest beyond the bound.
    pub top: Vec<TopTarget>,
    /// How many are not listed.
    pub rest: u64,
}

/// A target with its firing furthest beyond the bound.
#[derive(Debug, Clone, Serialize)]
pub struct TopTarget {
    pub target: String,
    pub firings: u64,
    pub level: u32,
    pub value: Option<Value>,
    pub bound: Option<Value>,
    pub window: Option<String>,
    /// Issued points of the member over the whole input.
    pub points: Option<i64>,
    /// First and last firing.
    pub first: i64,
    pub last: i64,
    /// Other rules of the same set that fire on it.
    pub also: Vec<String>,
}

impl Targets {
    /// Lists so many of the targets of a rule. `findings` are those of its run; `issued` tells the
    /// points issued to a member, where they are known.
    pub(crate) fn of(
        rule: &str,
        targets: &BTreeMap<&str, &Target>,
        findings: &Findings,
        issued: &dyn Fn(&str) -> Option<i64>,
        top: usize,
    ) -> Targets {
        let mut order: Vec<(&str, &Target)> =
            targets.iter().map(|(key, target)| (*key, *target)).collect();
        let rank = |target: &Target| (target.furthest.level, target.furthest.beyond);
        // They come in order of keys, and the sort keeps it.
        order.sort_by(|(_, a), (_, b)| {
            let ((a_level, a_beyond), (b_level, b_beyond)) = (rank(a), rank(b));
            let by_value = b_level.cmp(&a_level).then(b_beyond.total_cmp(&a_beyond));
            by_value.then(b.firings.cmp(&a.firings))
        });
        let listed = order.iter().take(top).map(|(key, target)| TopTarget {
            target: target.shown.clone(),
            firings: target.firings,
            level: target.furthest.level,
            value: target.furthest.value.clone(),
            bound: target.furthest.bound.clone(),
            window: target.furthest.window.clone(),
            points: target.user.as_deref().and_then(issued),
            first: target.first.0,
            last: target.last.0,
            also: findings.others(rule, key).map(str::to_owned).collect(),
        });
        let users: BTreeSet<&str> =
            targets.values().filter_map(|target| target.user.as_deref()).collect();
        Targets {
            count: targets.len() as u64,
            points_at_stake: users.into_iter().filter_map(issued).sum(),
            top: listed.collect(),
            rest: targets.len().saturating_sub(top) as u64,
        }
    }
}
