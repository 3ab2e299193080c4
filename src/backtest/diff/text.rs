//! A difference in words, for the analyst who made it.

use std::fmt;

use serde_json::Value;

use crate::backtest::diff::{
    AboveLevel, Change, Difference, Gate, Overlap, RuleDifference, Side, Stands, Targets, TopTarget,
};

/// Indent of what belongs to a rule, and of what is listed there.
const RULE: &str = "  ";
const LISTED: &str = "    ";

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

/// Columns as wide as what stands in them: texts to the left, numbers to the right.
fn table(f: &mut fmt::Formatter<'_>, head: &[&str], lines: &[Vec<String>]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let width = |column: usize| {
        let cells = lines.iter().chain([&head]).filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let is_number = |column: usize| {
        let mut cells = lines.iter().filter_map(|line| line.get(column));
        cells.all(|cell| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-'))
    };
    for line in [&head].into_iter().chain(lines) {
        let mut text = String::new();
        for (column, cell) in line.iter().enumerate() {
            let (width, gap) = (width(column), if column == 0 { "" } else { "  " });
            let cell = if is_number(column) {
                format!("{gap}{cell:>width$}")
            } else {
                format!("{gap}{cell:<width$}")
            };
            text.push_str(&cell);
        }
        writeln!(f, "{LISTED}{}", text.trim_end())?;
    }
    Ok(())
}

/// A JSON number as people read it.
fn number(value: &Value) -> String {
    match (value.as_i64(), value.as_f64()) {
        (Some(value), _) => grouped(value),
        (None, Some(value)) => format!("{value:.3}"),
        (None, None) => value.to_string(),
    }
}

/// Digits in groups of three.
fn grouped(value: impl Into<i128>) -> String {
    let value: i128 = value.into();
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}
