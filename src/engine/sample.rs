//! What a decision of a rule would look like, made up: for previews of notices.

use crate::engine::act::{Desk, Finding, Firing, Seed, number_json};
use crate::engine::ledger::Ledger;
use crate::engine::score::whole;
use crate::engine::space::PART;
use crate::engine::view::{View, rolling_span, span, window_span};
use crate::engine::{Counts, Decision, Effect, Plan, Trigger};
use crate::event::EventTime;
use crate::rule::{Action, Check, Field, Number, Severity, Side, Window};

impl Decision {
    /// The highest level of the rule `name`, fired at `at` by a value a little beyond its bound,
    /// with what it would do to a target without holds. `None` when there is no such rule.
    pub fn sample(plan: &Plan, name: &str, at: EventTime) -> Option<Decision> {
        let index = plan.rules.rules.iter().position(|rule| rule.name == name)?;
        let rule = plan.rule(index);
        let (level, severity, then) = outcome(&rule.check);
        let values = rule.per.fields.iter().map(|field| match field {
            Field::User => "u-1001".to_owned(),
            Field::Device => "d-9f3a12".to_owned(),
            Field::Ip => "203.0.113.7".to_owned(),
            Field::Source => "lottery".to_owned(),
            other => format!("a-{other}"),
        });
        let key = values.collect::<Vec<_>>().join(&PART.to_string());
        let event = "01JD8Z6W3X5T0000000000000A";
        let firing = Firing {
            rule: index,
            key: &key,
            level,
            ts: at.0,
            seed: Seed::Event(event),
            trigger: Some(Trigger {
                id: event.to_owned(),
                topic: "points.events".to_owned(),
                partition: 0,
                offset: 0,
            }),
            source: None,
            severity,
            then,
            finding: finding(plan, &rule.check, level, at),
        };
        let (mut effects, mut counts) = (Vec::new(), Counts::default());
        let ledger = &mut Ledger::default();
        Desk { plan, ledger, watermark: at.0, effects: &mut effects, counts: &mut counts }
            .fire(&firing);
        effects.into_iter().find_map(|effect| match effect {
            Effect::Decision(decision) => Some(*decision),
            _ => None,
        })
    }
}

fn outcome(check: &Check) -> (usize, Severity, &[Action]) {
    match check {
        Check::Match { severity, then, .. } => (0, *severity, then),
        Check::ZScore(check) => (0, check.severity, &check.then),
        Check::Threshold { levels, .. } | Check::Ratio { levels, .. } => {
            let highest = levels.levels.len().saturating_sub(1);
            let level = levels.levels.get(highest);
            level.map_or((0, Severity::Warning, &[]), |level| {
                (highest, level.severity, level.then.as_slice())
            })
        }
    }
}

fn finding(plan: &Plan, check: &Check, level: usize, at: EventTime) -> Option<Finding> {
    let (bound, above, stats) = match check {
        Check::Match { .. } => return None,
        Check::Threshold { levels, .. } | Check::Ratio { levels, .. } => {
            (levels.levels.get(level)?.bound, levels.side == Side::Above, None)
        }
        Check::ZScore(check) => {
            let bound = check.above.or(check.below)?;
            (whole(bound), bound > 0.0, Some((bound * 1.25, 1_000.0, 120.0)))
        }
    };
    let view = View::of(check);
    let value = match (stats, bound) {
        (Some((zscore, mean, sd)), _) => Number::Integer(rounded(zscore * sd + mean)),
        (None, Number::Integer(bound)) => {
            let step = (bound / 40).abs().max(1);
            Number::Integer(if above {
                bound.saturating_add(step)
            } else {
                bound.saturating_sub(step)
            })
        }
        (None, Number::Float(bound)) => {
            Number::Float(if above { bound * 1.025 } else { bound * 0.975 })
        }
    };
    let rolls = stats.is_none();
    let window = match view.window {
        Window::Duration(ms) if rolls => rolling_span(at.0, ms),
        window => window_span(plan, window, span(plan, window, at.0)),
    };
    Some(Finding {
        measure: view.measure_name(),
        value: number_json(value),
        bound,
        above,
        stats,
        forecast: None,
        window,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
fn rounded(value: f64) -> i64 {
    value.round() as i64
}

#[cfg(test)]
mod tests;
