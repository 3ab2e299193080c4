//! What the caps of few keys, sources and all together, had come to at the end of a day.

use crate::engine::cell::Body;
use crate::engine::daily::report::Cap;
use crate::engine::plan::{Form, KeyForm, Plan};
use crate::engine::space::key_object;
use crate::engine::state::State;
use crate::engine::view::{View, span, window_span};
use crate::event::EventTime;
use crate::rule::{Level, Mode, Number, Rule, Side, Window};

/// Caps that one partition tells at most: those that are fullest.
pub(crate) const CAPS_MAX: usize = 100;

/// The caps of a state whose windows hold the last instant before `end`.
pub(crate) fn caps_at(state: &State, plan: &Plan, end: i64) -> Vec<Cap> {
    let mut caps = Vec::new();
    for (at, (info, rule)) in plan.info.iter().zip(&plan.rules.rules).enumerate() {
        let few = matches!(plan.key_forms[info.space], KeyForm::Global | KeyForm::Source);
        let is_cap = few && info.shared && info.form == Form::Calendar && rule.mode != Mode::Off;
        if is_cap && let Window::Calendar(_) = info.window {
            of_rule(state, plan, (at, rule), end, &mut caps);
        }
    }
    fullest(&mut caps);
    caps
}

/// Keeps the fullest ones, the first first.
pub(crate) fn fullest(caps: &mut Vec<Cap>) {
    caps.sort_by(|a, b| {
        let names = || (&a.rule, a.key.to_string()).cmp(&(&b.rule, b.key.to_string()));
        b.percent.total_cmp(&a.percent).then_with(names)
    });
    caps.truncate(CAPS_MAX);
}

fn of_rule(state: &State, plan: &Plan, (at, rule): (usize, &Rule), end: i64, caps: &mut Vec<Cap>) {
    let info = &plan.info[at];
    let view = View::of(&rule.check);
    let Some(levels) = view.levels.filter(|levels| levels.side == Side::Above) else { return };
    let cells = &state.keyed.cells;
    let Some(space) = cells.spaces.get(info.space) else { return };
    let window = span(plan, info.window, end - 1);
    for key in cells.keys_of(at, plan) {
        let cell = cells.held(at, key, plan);
        let Some(Body::Calendar(body)) = cell.as_deref().map(|cell| &cell.body) else { continue };
        let period = body.periods.iter().find(|period| period.start == window.start);
        let Some(value) =
            period.and_then(|period| view.value(period.of.value(), period.of.to_value()))
        else {
            continue;
        };
        let exceeds = |level: &Level| value.breaches(levels.side, level.bound);
        let mut bounds = levels.levels.iter().zip(0_u32..);
        let next = bounds.clone().find(|(level, _)| !exceeds(level));
        let Some((level, number)) = next.or_else(|| bounds.by_ref().last()) else { continue };
        // A window that goes on has a forecast; one that is over has none.
        let outlook = (window.end > end).then(|| state.keyed.outlook(at, key, end, plan)).flatten();
        caps.push(Cap {
            rule: rule.name.clone(),
            key: key_object(&rule.per, space.text(key)).into(),
            window: window_span(plan, info.window, window),
            measure: view.measure_name(),
            value: value.json(),
            bound: match level.bound {
                Number::Integer(bound) => bound.into(),
                Number::Float(bound) => bound.into(),
            },
            level: number,
            exceeded: exceeds(level),
            percent: percent(&value.json(), level.bound),
            forecast: outlook.and_then(|outlook| outlook.at).map(EventTime),
        });
    }
}

/// The value as a share of the bound, rounded to a tenth; a bound of nothing is full at once.
fn percent(value: &serde_json::Value, bound: Number) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share is rounded to a tenth")]
    let bound = match bound {
        Number::Integer(bound) => bound as f64,
        Number::Float(bound) => bound,
    };
    let value = value.as_f64().unwrap_or_default();
    if bound <= 0.0 {
        return 100.0;
    }
    (value / bound * 1000.0).round() / 10.0
}
