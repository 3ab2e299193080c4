//! Where the keys of a rule stand: what an edited bound would meet (R18).
//!
//! Reads a state and changes nothing. Speaks of rules that are judged at each event alone:
//! thresholds and ratios that are not evaluated at the end of a window.

use serde_json::{Map, Value};

use crate::engine::cell::{Body, Cell};
use crate::engine::firing::Measured;
use crate::engine::plan::Form;
use crate::engine::space::key_object;
use crate::engine::state::State;
use crate::engine::view::{View, rolling_span, span, window_span};
use crate::engine::{Plan, WindowSpan};
use crate::rule::{Levels, Window};

/// One key of a rule, and the value that an event at the watermark would be added to.
#[derive(Debug, Clone)]
pub struct Standing {
    pub key: Map<String, Value>,
    pub window: WindowSpan,
    value: Measured,
    /// Which levels count as fired; one bit a level.
    fired: u32,
}

/// What levels, other than those a key was judged by, make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// No level is breached.
    Within,
    /// The highest level that is breached counts as fired: nothing happens before it re-arms.
    Fired(usize),
    /// The next event of the key fires this level.
    Fires(usize),
}

impl Standing {
    pub fn value(&self) -> Value {
        self.value.json()
    }

    /// Whether the value breaches a level of these.
    pub fn breaches(&self, levels: &Levels, level: usize) -> bool {
        levels.levels.get(level).is_some_and(|one| self.value.breaches(levels.side, one.bound))
    }

    /// What the next event meets under `levels`, when whether a level counts as fired is kept as
    /// it was judged.
    pub fn outlook(&self, levels: &Levels) -> Outlook {
        let is_fired =
            |level: usize| u32::try_from(level).is_ok_and(|at| self.fired & (1 << at) != 0);
        let breached = || (0..levels.levels.len()).rev().filter(|at| self.breaches(levels, *at));
        if let Some(level) = breached().find(|at| !is_fired(*at)) {
            return Outlook::Fires(level);
        }
        breached().next().map_or(Outlook::Within, Outlook::Fired)
    }
}

impl State {
    /// Every key that a rule counts now, in order of keys; none for rules that are not judged at
    /// each event, and for those whose counters stand elsewhere.
    pub fn standings(&self, plan: &Plan, rule: &str) -> Vec<Standing> {
        let Some(at) = plan.rules.rules.iter().position(|other| other.name == rule) else {
            return Vec::new();
        };
        let Some(watermark) = self.watermark else { return Vec::new() };
        let info = &plan.info[at];
        if !matches!(info.form, Form::Calendar | Form::Rolling) {
            return Vec::new();
        }
        let (Some(table), Some(space)) =
            (self.keyed.cells.tables.get(at), self.keyed.cells.spaces.get(info.space))
        else {
            return Vec::new();
        };
        let mut keys = table.keys();
        keys.sort_by(|a, b| space.text(*a).cmp(space.text(*b)));
        let standing = |key: u32| {
            let cell = table.get(space.place(key, info.column))?;
            let (value, fired, window) = stands(plan, at, cell, watermark)?;
            let key = key_object(&plan.rule(at).per, space.text(key));
            Some(Standing { key, window, value, fired })
        };
        keys.into_iter().filter_map(standing).collect()
    }
}

/// Value, fired levels and window of a cell at the watermark; `None` where it counts nothing.
fn stands(
    plan: &Plan,
    rule: usize,
    cell: &Cell,
    watermark: i64,
) -> Option<(Measured, u32, WindowSpan)> {
    let view = View::of(&plan.rule(rule).check);
    match (&cell.body, view.window) {
        (Body::Calendar(body), Window::Calendar(_)) => {
            let span = span(plan, view.window, watermark);
            let period = body.periods.iter().find(|period| period.start == span.start)?;
            let value = view.value(period.of.value(), period.of.to_value())?;
            Some((value, period.fired, window_span(plan, view.window, span)))
        }
        (Body::Rolling(body), Window::Duration(window_ms)) => {
            let now = body.t.max(watermark);
            if now.saturating_sub(body.t) >= window_ms {
                return None;
            }
            let other = body.more.as_ref().and_then(|more| more.to.as_ref());
            let to = other.zip(view.to).map(|(roll, measure)| roll.value(measure, now, window_ms));
            let value = view.value(body.of.value(view.of, now, window_ms), to)?;
            Some((value, cell.fired, rolling_span(now, window_ms)))
        }
        _ => None,
    }
}
