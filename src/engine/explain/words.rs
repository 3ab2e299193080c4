//! The answer in a sentence.

use crate::engine::Plan;
use crate::engine::calendar::instant_label;
use crate::engine::explain::conditions::all_hold;
use crate::engine::explain::{ConditionAnswer, LevelAnswer, RuleAnswer};
use crate::rule::{Check, Mode, Rule};

/// Why the rule stands as it does, most telling reason first.
pub(super) fn verdict(plan: &Plan, rule: &Rule, answer: &RuleAnswer, is_event: bool) -> String {
    if rule.mode == Mode::Off {
        return "the rule is off".to_owned();
    }
    let mut said = Vec::new();
    if is_event && all_hold(&answer.conditions) == Some(false) {
        said.push(match failing(&answer.conditions) {
            Some(condition) => format!("does not see the event: {}", told(condition)),
            None => "does not see the event".to_owned(),
        });
    }
    said.push(match &rule.check {
        Check::Match { .. } => matched(answer, is_event),
        Check::ZScore(_) => scored(answer),
        Check::Threshold { .. } | Check::Ratio { .. } => measured(plan, rule, answer),
    });
    said.extend(answer.forecast.as_ref().map(|forecast| forecast.told.clone()));
    if rule.mode == Mode::Shadow {
        said.push("in shadow: no commands, no notices".to_owned());
    }
    for budget in answer.budgets.iter().filter(|budget| budget.exhausted) {
        let whose = if budget.shared { "the shared budget" } else { "its budget" };
        said.push(format!(
            "{whose} of {} freezes per {} is exhausted: freezes become reviews",
            budget.freezes, budget.per
        ));
    }
    said.retain(|part| !part.is_empty());
    said.join("; ")
}

/// The first condition that does not hold, as deep as it says something.
fn failing(all: &[ConditionAnswer]) -> Option<&ConditionAnswer> {
    let found = all.iter().find(|one| one.holds == Some(false))?;
    match found.within.as_slice() {
        [] => Some(found),
        within if found.condition == "all of" => failing(within).or(Some(found)),
        _ => Some(found),
    }
}

fn told(condition: &ConditionAnswer) -> String {
    let value = match &condition.value {
        Some(value) => format!(", but it is {}", plain(value)),
        None if condition.within.is_empty() => ", but it has none".to_owned(),
        None => String::new(),
    };
    let within: Vec<String> = condition.within.iter().map(|one| one.condition.clone()).collect();
    let within =
        if within.is_empty() { String::new() } else { format!(" ({})", within.join("; ")) };
    format!("{}{within}{value}", condition.condition)
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn matched(answer: &RuleAnswer, is_event: bool) -> String {
    let waits = answer.levels.iter().find_map(|level| level.cooldown_until);
    if let Some(until) = waits {
        return format!("has fired for this key; silent until {}", instant_label(until.0));
    }
    if is_event && all_hold(&answer.conditions) == Some(true) {
        return "fires at this event".to_owned();
    }
    if is_event {
        String::new()
    } else {
        "fires at each event that meets its conditions".to_owned()
    }
}

fn scored(answer: &RuleAnswer) -> String {
    let (Some(baseline), Some(level)) = (&answer.baseline, answer.levels.first()) else {
        return String::new();
    };
    let Some(z) = baseline.zscore else {
        return format!(
            "no verdict yet: {} of the {} closed windows that one needs",
            baseline.windows, baseline.min_windows
        );
    };
    let z = format!("z-score {z:.2}");
    if level.breached && level.fired {
        return format!("{z}: has fired, and waits for a window within its bound");
    }
    if level.breached {
        return format!("{z} is beyond its bound");
    }
    format!("{z} is within its bound{}", bound(level))
}

fn measured(plan: &Plan, rule: &Rule, answer: &RuleAnswer) -> String {
    if !answer.counted {
        return "has counted no event of this key lately".to_owned();
    }
    let Some(value) = &answer.value else {
        return "no verdict: too little on the other side of the ratio".to_owned();
    };
    let beyond = answer.levels.iter().rev().find(|level| level.breached);
    let measure = answer.measure.as_deref().unwrap_or("value");
    let Some(level) = beyond else {
        let waits = answer.levels.iter().rev().find(|level| level.fired);
        if let Some(level) = waits {
            return format!(
                "{measure} {value}: level {} has fired and waits until the value is back within `clear`",
                level.level
            );
        }
        let next = answer.levels.first();
        let next = next.map(bound).unwrap_or_default();
        return format!("{measure} {value} is within every bound{next}");
    };
    let (number, bound) = (level.level, bound(level));
    let head = match level.forecast_at {
        Some(at) => {
            let at = instant_label(at.0);
            format!("{measure} {value} will be beyond level {number}{bound} at {at}")
        }
        None => format!("{measure} {value} is beyond level {number}{bound}"),
    };
    if let Some(until) = level.cooldown_until {
        return format!("{head}: fired, silent until {}", instant_label(until.0));
    }
    if level.fired {
        return format!(
            "{head}: has fired, and does not again before the value is back within bounds"
        );
    }
    let closes = matches!(
        plan.info.iter().zip(&plan.rules.rules).find(|(_, known)| known.name == rule.name),
        Some((info, _)) if info.form == crate::engine::plan::Form::CalendarBelow
    );
    if closes {
        format!("{head}; judged when the window closes")
    } else {
        format!("{head}: judged at the next event")
    }
}

fn bound(level: &LevelAnswer) -> String {
    match (&level.above, &level.below) {
        (Some(above), None) => format!(" (> {above})"),
        (None, Some(below)) => format!(" (< {below})"),
        (Some(above), Some(below)) => format!(" (> {above} or < {below})"),
        (None, None) => String::new(),
    }
}
