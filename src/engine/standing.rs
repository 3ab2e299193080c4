//! Where the keys of a rule stand: what an edited bound would meet (R18).
//!
//! Reads a state and changes nothing. Speaks of rules that are judged at each event alone:
//! thresholds and ratios that are not evaluated at the end of a window.

use serde_json::{Map, Value};

use crate::engine::cell::{Body, Cell};
use crate::engine::firing::{Fired, Measured, Reading};
use crate::engine::forecast::Rise;
use crate::engine::plan::Form;
use crate::engine::space::key_object;
use crate::engine::state::State;
use crate::engine::view::{View, rolling_span, span, window_span};
use crate::engine::{Plan, WindowSpan};
use crate::rule::{Levels, Window};

/// The value of one key that an event at the watermark would be added to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stand {
    value: Measured,
    /// Which levels count as fired; one bit a level.
    fired: Fired,
    /// How fast it rises, where that is known.
    rise: Option<Rise>,
}

/// One key of a rule, where it stands, and in which window.
#[derive(Debug, Clone)]
pub struct Standing {
    pub key: Map<String, Value>,
    pub window: WindowSpan,
    stand: Stand,
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
        self.stand.value()
    }

    /// Whether the value breaches a level of these.
    pub fn breaches(&self, levels: &Levels, level: usize) -> bool {
        self.stand.breaches(levels, level)
    }

    /// What the next event meets under `levels`, when whether a level counts as fired is kept as
    /// it was judged.
    pub fn outlook(&self, levels: &Levels) -> Outlook {
        self.stand.outlook(levels)
    }
}

impl Stand {
    pub(crate) fn value(&self) -> Value {
        self.value.json()
    }

    pub(crate) fn rising(self, rise: Option<Rise>) -> Stand {
        Stand { rise, ..self }
    }

    /// At the present rate, where a level looks ahead.
    fn meets(&self, levels: &Levels, level: usize) -> bool {
        let reading = Reading { value: self.value, rise: self.rise };
        levels.levels.get(level).is_some_and(|level| reading.breaches(levels, level))
    }

    fn breaches(&self, levels: &Levels, level: usize) -> bool {
        levels.levels.get(level).is_some_and(|one| self.value.breaches(levels.side, one.bound))
    }

    pub(crate) fn outlook(&self, levels: &Levels) -> Outlook {
        let is_fired =
            |level: usize| u32::try_from(level).is_ok_and(|at| self.fired & (1 << at) != 0);
        let breached = || (0..levels.levels.len()).rev().filter(|at| self.meets(levels, *at));
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
        let cells = &self.keyed.cells;
        let Some(space) = cells.spaces.get(info.space) else { return Vec::new() };
        let mut keys = cells.keys_of(at, plan);
        keys.sort_by(|a, b| space.text(*a).cmp(space.text(*b)));
        let standing = |key: u32| {
            let cell = cells.held(at, key, plan)?;
            let (stand, t) = stand_of(plan, at, &cell, watermark)?;
            let stand = stand.rising(self.keyed.rise(at, key, watermark, plan));
            let window = match info.window {
                window @ Window::Calendar(_) => window_span(plan, window, span(plan, window, t)),
                Window::Duration(window_ms) => rolling_span(t, window_ms),
            };
            let key = key_object(&plan.rule(at).per, space.text(key));
            Some(Standing { key, window, stand })
        };
        keys.into_iter().filter_map(standing).collect()
    }
}

/// Where the key of a cell stands at the watermark, and the instant at which its window is read;
/// `None` where it counts nothing.
pub(crate) fn stand_of(
    plan: &Plan,
    rule: usize,
    cell: &Cell,
    watermark: i64,
) -> Option<(Stand, i64)> {
    let view = View::of(&plan.rule(rule).check);
    match (&cell.body, view.window) {
        (Body::Calendar(body), Window::Calendar(_)) => {
            let span = span(plan, view.window, watermark);
            let period = body.periods.iter().find(|period| period.start == span.start)?;
            let value = view.value(period.of.value(), period.of.to_value())?;
            Some((Stand { value, fired: period.fired, rise: None }, watermark))
        }
        (Body::Rolling(body), Window::Duration(window_ms)) => {
            // One that has emptied since begins again with the next event.
            let now = body.t.max(watermark);
            if now.saturating_sub(body.t) >= window_ms {
                return None;
            }
            let (of, to) = body.values(&view, now, window_ms);
            Some((Stand { value: view.value(of, to)?, fired: cell.fired, rise: None }, now))
        }
        _ => None,
    }
}
