//! A difference in words, for the analyst who made it.

use std::fmt;

use serde_json::Value;

use crate::backtest::diff::{
    AboveLevel, Change, Difference, Gate, Overlap, RuleDifference, Side, Stands,
};
use crate::backtest::text::{LISTED, counted, grouped, number, table};
use crate::backtest::{Targets, TopTarget};

/// Indent of what belongs to a rule.
const RULE: &str = "  ";

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.old.head("old", f)?;
        self.new.head("new", f)?;
        let events = &self.new.summary;
        writeln!(
            f,
            "events {}: accepted {}, duplicate {}, late {}, quarantined {}\n",
            grouped(events.events),
            grouped(events.accepted),
            grouped(events.duplicate),
            grouped(events.late),
            grouped(events.quarantined)
        )?;
        for rule in &self.rules {
            writeln!(f, "{rule}")?;
        }
        writeln!(f, "unchanged: {}", counted(self.unchanged as u64, "rule"))?;
        writeln!(
            f,
            "in all: {} newly fired on by any rule ({} points at stake), {} no longer; {} newly \
             frozen, {} no longer",
            counted(self.newly_fired, "target"),
            grouped(self.points_at_stake),
            grouped(self.no_longer_fired),
            grouped(self.newly_frozen),
            grouped(self.no_longer_frozen)
        )?;
        self.gate.as_ref().map_or(Ok(()), |gate| writeln!(f, "{gate}"))
    }
}

impl Side {
    fn head(&self, which: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fired: u64 = self.summary.fired.iter().map(|fired| fired.count).sum();
        let (rules, ruleset) = (&self.rules, &self.ruleset);
        writeln!(f, "{which}: {rules} (rule set {ruleset}), {}", counted(fired, "firing"))
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max = counted(self.max_new, "target");
        if self.exceeded_by.is_empty() {
            return write!(f, "gate: passed, no rule newly fires on more than {max}");
        }
        let over = |over: &Overlap| format!("{} on {}", over.rule, grouped(over.targets));
        let over: Vec<String> = self.exceeded_by.iter().map(over).collect();
        write!(f, "gate: stopped, these newly fire on more than {max}: {}", over.join(", "))
    }
}

impl fmt::Display for RuleDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = match self.change {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed => "changed",
            Change::Affected => "reads the same, did otherwise",
        };
        writeln!(f, "{}: {change}", self.rule)?;
        let pair = |old: u64, new: u64| format!("{} -> {}", grouped(old), grouped(new));
        row(f, "firings", &pair(self.firings.old, self.firings.new))?;
        row(f, "targets", &pair(self.targets.old, self.targets.new))?;
        if self.newly.count > 0 {
            row(f, "newly fired", &self.newly.in_short())?;
            row(f, "overlap", &self.overlap_in_short())?;
        }
        if self.no_longer.count > 0 {
            row(f, "no longer fired", &self.no_longer.in_short())?;
        }
        let freezes = self.freezes;
        if freezes.newly + freezes.no_longer > 0 {
            let (newly, no_longer) = (grouped(freezes.newly), grouped(freezes.no_longer));
            row(f, "freezes", &format!("{newly} newly issued, {no_longer} no longer"))?;
        }
        for level in &self.already_above {
            row(f, "already above", &level.in_short())?;
            level.list(f)?;
        }
        self.newly.list("newly fired", f)?;
        self.no_longer.list("no longer fired", f)
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    writeln!(f, "{RULE}{name:<17}{value}")
}

impl RuleDifference {
    fn overlap_in_short(&self) -> String {
        let other = |one: &Overlap| format!("{} {}", one.rule, grouped(one.targets));
        let alone = format!("on no other rule {}", grouped(self.alone));
        self.overlap.iter().map(other).chain([alone]).collect::<Vec<_>>().join(", ")
    }
}

impl AboveLevel {
    fn in_short(&self) -> String {
        let bound = match &self.old_bound {
            Some(old) => format!("{} -> {}", number(old), number(&self.new_bound)),
            None => format!("new, {}", number(&self.new_bound)),
        };
        let targets = counted(self.targets, "target");
        format!("level {}, {bound}: {targets} at the end of the input", self.level)
    }

    fn list(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let then = format!("at the next event of each: {}", self.then.join(", "));
        let what = [
            (self.fire_next, then.as_str()),
            (self.higher, "at the next event of each a higher level fires"),
            (self.fired, "nothing: the level has fired, and has to re-arm first"),
        ];
        for (count, what) in what.iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "{LISTED}{:>5}  {what}", grouped(*count))?;
        }
        let line = |one: &Stands| {
            vec![
                one.target.clone(),
                number(&one.value),
                number(&self.new_bound),
                one.window.clone(),
            ]
        };
        let head = ["target", "value", "bound", "window"];
        table(f, &head, &self.top.iter().map(line).collect::<Vec<_>>())?;
        more(f, self.rest)
    }
}

impl Targets {
    fn in_short(&self) -> String {
        let points = grouped(self.points_at_stake);
        format!("{}, {points} points at stake", counted(self.count, "target"))
    }

    fn list(&self, what: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.top.is_empty() {
            return Ok(());
        }
        writeln!(f, "{RULE}{what}, those furthest beyond the bound first:")?;
        let dash = || "-".to_owned();
        let shown = |value: &Option<Value>| value.as_ref().map_or_else(dash, number);
        let line = |one: &TopTarget| {
            vec![
                one.target.clone(),
                one.level.to_string(),
                shown(&one.value),
                shown(&one.bound),
                grouped(one.firings),
                one.points.map_or_else(dash, grouped),
                one.also.join(", "),
            ]
        };
        let head =
            ["target", "level", "value", "bound", "firings", "points issued", "also fired on by"];
        table(f, &head, &self.top.iter().map(line).collect::<Vec<_>>())?;
        more(f, self.rest)
    }
}

fn more(f: &mut fmt::Formatter<'_>, rest: u64) -> fmt::Result {
    if rest == 0 { Ok(()) } else { writeln!(f, "{LISTED}and {} more", grouped(rest)) }
}
