//! The parts of a check that windows need, and the spans of its windows.

use crate::engine::act::measure_name;
use crate::engine::calendar::{Span, duration_label, fixed};
use crate::engine::cell::ratio;
use crate::engine::firing::Measured;
use crate::engine::{Plan, WindowSpan};
use crate::event::EventTime;
use crate::rule::{Check, Levels, Measure, Window};

/// The parts of a check that windows need, whatever its kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) of: &'a Measure,
    pub(crate) to: Option<&'a Measure>,
    pub(crate) min_to: f64,
    pub(crate) window: Window,
    pub(crate) levels: Option<&'a Levels>,
}

impl<'a> View<'a> {
    pub(crate) fn of(check: &'a Check) -> View<'a> {
        match check {
            Check::Threshold { input, window, levels } => View {
                of: &input.measure,
                to: None,
                min_to: 0.0,
                window: *window,
                levels: Some(levels),
            },
            Check::Ratio { of, to, min_to, window, levels } => View {
                of: &of.measure,
                to: Some(&to.measure),
                min_to: *min_to,
                window: *window,
                levels: Some(levels),
            },
            Check::ZScore(zscore) => View {
                of: &zscore.input.measure,
                to: None,
                min_to: 0.0,
                window: zscore.window,
                levels: None,
            },
            Check::Match { .. } => View {
                of: &Measure::Count,
                to: None,
                min_to: 0.0,
                window: Window::Duration(1),
                levels: None,
            },
        }
    }

    /// The value to judge; `None` = no verdict (R12).
    pub(crate) fn value(&self, of: i64, to: Option<i64>) -> Option<Measured> {
        match to {
            Some(to) => ratio(of, to, self.min_to),
            None => Some(Measured::Integer(of)),
        }
    }

    pub(crate) fn measure_name(&self) -> String {
        match self.to {
            Some(to) => format!("{} / {}", measure_name(self.of), measure_name(to)),
            None => measure_name(self.of),
        }
    }
}

/// R7, R8: the steps in which crowded rolling windows move.
pub(crate) fn step_ms(shared: bool, window_ms: i64) -> i64 {
    if shared { (window_ms / 60).max(1000) } else { (window_ms / 128).max(1) }
}

pub(crate) fn span(plan: &Plan, window: Window, ts: i64) -> Span {
    match window {
        Window::Calendar(period) => plan.calendar.span(period, EventTime(ts)),
        Window::Duration(ms) => fixed(ms, EventTime(ts)),
    }
}

pub(crate) fn next_span(plan: &Plan, window: Window, span: Span) -> Span {
    match window {
        Window::Calendar(period) => plan.calendar.next(period, span),
        Window::Duration(ms) => fixed(ms, EventTime(span.end)),
    }
}

pub(crate) fn window_span(plan: &Plan, window: Window, span: Span) -> WindowSpan {
    let label = match window {
        Window::Calendar(period) => plan.calendar.label(period, span),
        Window::Duration(ms) => duration_label(ms),
    };
    WindowSpan { start: EventTime(span.start), end: EventTime(span.end), label }
}

pub(crate) fn rolling_span(t: i64, window_ms: i64) -> WindowSpan {
    WindowSpan {
        start: EventTime(t.saturating_sub(window_ms)),
        end: EventTime(t),
        label: duration_label(window_ms),
    }
}
