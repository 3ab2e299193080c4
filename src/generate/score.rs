//! What of the labelled episodes a rule set found: labels and decisions to a table.
//!
//! Pure: it neither runs rules nor reads files, and knows a decision by what D says of it.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::engine::Decision;
use crate::generate::Label;

/// What came of one episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Abuse, found by a rule that ought to.
    Caught,
    /// Abuse, found by no rule that ought to.
    Missed,
    /// Legitimate, not frozen.
    Spared,
    /// Legitimate, and frozen all the same.
    Frozen,
}

/// One episode and the decisions on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub label: String,
    pub abuse: bool,
    pub verdict: Verdict,
    pub events: u64,
    pub users: usize,
    pub expect: Vec<String>,
    /// Every rule with a decision on it.
    pub rules: BTreeSet<String>,
    /// Milliseconds of event time from its start to the first decision of a rule that ought to
    /// find it.
    pub after_ms: Option<i64>,
    pub freezes: u64,
}

/// The table: a row for each episode in the order of the labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    pub rows: Vec<Row>,
    /// Freezes of targets that belong to no episode.
    pub other_freezes: u64,
    /// Other decisions on them.
    pub other_decisions: u64,
}

/// Counts decisions on episodes as they come.
#[derive(Debug, Clone)]
pub struct Score {
    labels: Vec<Label>,
    table: Table,
}

impl Score {
    pub fn new(labels: Vec<Label>) -> Score {
        let rows = labels.iter().map(|label| Row {
            label: label.label.clone(),
            abuse: label.abuse,
            verdict: if label.abuse { Verdict::Missed } else { Verdict::Spared },
            events: label.events,
            users: label.users.len(),
            expect: label.expect.clone(),
            rules: BTreeSet::new(),
            after_ms: None,
            freezes: 0,
        });
        let table = Table { rows: rows.collect(), other_freezes: 0, other_decisions: 0 };
        Score { labels, table }
    }

    /// Takes one decision in; shadow decisions and those of `tidegate.*` do not count.
    pub fn add(&mut self, decision: &Decision) {
        if decision.mode != "live" || decision.rule.starts_with("tidegate.") {
            return;
        }
        let freezes = decision.actions.iter().any(|action| action.starts_with("freeze"));
        let mut known = false;
        for (label, row) in self.labels.iter().zip(&mut self.table.rows) {
            if !concerns(decision, label) {
                continue;
            }
            known = true;
            row.rules.insert(decision.rule.clone());
            row.freezes += u64::from(freezes);
            if label.expect.contains(&decision.rule) {
                row.verdict = Verdict::Caught;
                let after = decision.ts.0.saturating_sub(label.from).max(0);
                row.after_ms = Some(row.after_ms.map_or(after, |first| first.min(after)));
            }
            if freezes && !label.abuse {
                row.verdict = Verdict::Frozen;
            }
        }
        if !known {
            let other = &mut self.table;
            *if freezes { &mut other.other_freezes } else { &mut other.other_decisions } += 1;
        }
    }

    pub fn table(&self) -> &Table {
        &self.table
    }
}

/// Whether the decision's key is the label's, at its time: the episode runs when it is made, or
/// its window has part of the episode. The whole system's figures concern an episode only by the
/// rules that ought to find it there.
fn concerns(decision: &Decision, label: &Label) -> bool {
    let begun = decision.ts.0 >= label.from;
    let in_window = decision.window.as_ref().is_some_and(|window| window.start.0 <= label.to);
    if !begun || !(decision.ts.0 <= label.to || in_window) {
        return false;
    }
    if decision.key.contains_key("global") {
        return label.global && label.expect.contains(&decision.rule);
    }
    decision.key.iter().any(|(field, value)| {
        let own = match field.as_str() {
            "user" => &label.users,
            "device" => &label.devices,
            "ip" => &label.ips,
            "source" => &label.sources,
            _ => return false,
        };
        value.as_str().is_some_and(|value| own.iter().any(|other| other == value))
    })
}

impl Table {
    /// Episodes of abuse.
    pub fn injected(&self) -> usize {
        self.rows.iter().filter(|row| row.abuse).count()
    }

    pub fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Caught => "caught",
            Verdict::Missed => "MISSED",
            Verdict::Spared => "spared",
            Verdict::Frozen => "FROZEN",
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = |row: &Row| {
            let rules = if row.abuse { &row.expect } else { &Vec::new() };
            let found = rules.iter().filter(|rule| row.rules.contains(*rule));
            let also = row.rules.iter().filter(|rule| !rules.contains(rule));
            let names: Vec<&str> = found.chain(also).map(String::as_str).collect();
            names.join(", ")
        };
        writeln!(
            f,
            "{:<18}{:<8}{:>6}{:>7}{:>9}  rules",
            "episode", "result", "users", "events", "after"
        )?;
        for row in &self.rows {
            let after = row.after_ms.map_or_else(String::new, seconds);
            let Row { label, verdict, users, events, .. } = row;
            writeln!(f, "{label:<18}{verdict:<8}{users:>6}{events:>7}{after:>9}  {}", rule(row))?;
        }
        let legitimate = self.rows.len() - self.injected();
        writeln!(
            f,
            "abuse: {} injected, {} caught, {} missed; legitimate look-alikes: {legitimate}, {} frozen",
            self.injected(),
            self.count(Verdict::Caught),
            self.count(Verdict::Missed),
            self.count(Verdict::Frozen),
        )?;
        write!(
            f,
            "everyone else: {} freezes, {} other decisions",
            self.other_freezes, self.other_decisions
        )
    }
}

/// To a tenth of a second, from ten minutes on in minutes.
fn seconds(ms: i64) -> String {
    match ms / 1000 {
        0..600 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        seconds => format!("{} min", seconds / 60),
    }
}
