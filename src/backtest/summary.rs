//! What a backtest came to.

use std::fmt;

use serde::Serialize;

/// Figures of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Lines that are not blank.
    pub events: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub late: u64,
    pub quarantined: u64,
    /// Firings held back by a cooldown.
    pub suppressed: u64,
    /// In the order of the rules.
    pub fired: Vec<Fired>,
    /// Rules that run in shadow mode.
    pub shadow: Vec<String>,
    /// Distinct keys fired on.
    pub targets: u64,
    /// Issued points of the users fired on.
    pub points_at_stake: i64,
}

/// Firings of one level of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fired {
    pub rule: String,
    pub level: u32,
    pub count: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "events {}: accepted {}, duplicate {}, late {}, quarantined {}",
            self.events, self.accepted, self.duplicate, self.late, self.quarantined
        )?;
        for fired in &self.fired {
            let shadow = if self.shadow.contains(&fired.rule) { " (shadow)" } else { "" };
            writeln!(f, "fired {:>8}  {} level {}{shadow}", fired.count, fired.rule, fired.level)?;
        }
        if self.fired.is_empty() {
            writeln!(f, "fired        0")?;
        }
        writeln!(f, "suppressed by cooldown {}", self.suppressed)?;
        write!(f, "targets {}, points at stake {}", self.targets, self.points_at_stake)
    }
}
