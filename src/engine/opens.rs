//! What has fired and is not over: of live rules that alert and say when they are `clear` (R9).
//!
//! Few keys fire, so this stands apart from the counters. It is part of the state: who was told
//! that something began is told when it is over, through restarts and moves.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::engine::act::{hex, number_json, subject};
use crate::engine::firing::{Fired, Measured};
use crate::engine::keyed::{Ctx, Judged};
use crate::engine::space::key_object;
use crate::engine::view::View;
use crate::engine::{Decision, Effect, Plan, Resolved};
use crate::event::EventTime;
use crate::rule::{Action, Levels, Mode, Side, Window};

/// One firing that is not over.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OpenFiring {
    /// Id of its decision.
    pub(crate) decision: String,
    pub(crate) level: u32,
    pub(crate) since: i64,
}

/// The firings of one rule and key, and the farthest value since the first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Open {
    pub(crate) firings: SmallVec<[OpenFiring; 1]>,
    /// Start of the calendar period; of a rolling window none.
    pub(crate) period: Option<i64>,
    pub(crate) peak: Measured,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Opens {
    all: BTreeMap<(usize, u32), Open>,
    /// Over since the last look: rule, key, when.
    over: Vec<(usize, String, Open, i64)>,
}

impl Opens {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn get(&self, rule: usize, key: u32) -> Option<&Open> {
        self.all.get(&(rule, key))
    }

    pub(crate) fn put(&mut self, rule: usize, key: u32, open: Open) {
        self.all.insert((rule, key), open);
    }

    pub(crate) fn take(&mut self, rule: usize, key: u32) -> Option<Open> {
        self.all.remove(&(rule, key))
    }

    pub(crate) fn reaches(&mut self, rule: usize, key: u32, value: Measured, side: Side) {
        let Some(open) = self.all.get_mut(&(rule, key)) else { return };
        let farther = match side {
            Side::Above => value.as_f64() > open.peak.as_f64(),
            Side::Below => value.as_f64() < open.peak.as_f64(),
        };
        if farther {
            open.peak = value;
        }
    }

    /// It is over because nothing of it is left.
    pub(crate) fn ends(&mut self, rule: usize, key: (u32, &str), at: i64) {
        if let Some(open) = self.take(rule, key.0) {
            self.over.push((rule, key.1.to_owned(), open, at));
        }
    }

    /// When the oldest of all firings began.
    pub(crate) fn since(&self) -> Option<i64> {
        self.all.values().flat_map(|open| &open.firings).map(|firing| firing.since).min()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.all.len() * 200
    }
}

/// Whether the end of what a rule says is told.
pub(crate) fn resolves(levels: Option<&Levels>, mode: Mode) -> bool {
    mode == Mode::Live && levels.is_some_and(|levels| levels.clear.is_some())
}

/// What a value is of: rule and key, by number and by name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'a> {
    pub(crate) rule: usize,
    pub(crate) id: u32,
    pub(crate) key: &'a str,
}

impl Open {
    /// When nothing of it is left: at the end of its period, or when its window has emptied since
    /// the last firing.
    pub(crate) fn over_at(&self, plan: &Plan, rule: usize) -> i64 {
        let last = self.firings.iter().map(|firing| firing.since).max().unwrap_or(0);
        match (self.period, plan.info[rule].window) {
            (Some(start), window) => crate::engine::view::span(plan, window, start).end,
            (None, Window::Duration(ms)) => last.saturating_add(ms),
            (None, Window::Calendar(_)) => last,
        }
    }
}

impl Opens {
    /// A firing of a rule and key.
    pub(crate) fn begin(&mut self, judged: &Judged<'_>, firing: OpenFiring) {
        let Judged { of, reading, period, .. } = judged;
        let new = || Open { firings: SmallVec::new(), period: *period, peak: reading.value };
        let open = self.all.entry((of.rule, of.id)).or_insert_with(new);
        open.firings.push(firing);
    }

    /// An evaluation, with the levels that counted as fired before it and after.
    pub(crate) fn judged(
        &mut self,
        of: Of<'_>,
        (value, side): (Measured, Side),
        (before, after): (Fired, Fired),
        ts: i64,
        ctx: &mut Ctx<'_>,
    ) {
        if before == 0 || !ctx.plan.info[of.rule].resolves {
            return;
        }
        self.reaches(of.rule, of.id, value, side);
        if after == 0
            && let Some(open) = self.take(of.rule, of.id)
        {
            tell(ctx, (of.rule, of.key), &open, (ts, Some(value)));
        }
    }

    /// A key counts in a later period than the one that it fired in.
    pub(crate) fn enters(&mut self, of: Of<'_>, period: i64, ctx: &mut Ctx<'_>) {
        let Some(open) = self.get(of.rule, of.id) else { return };
        let Some(start) = open.period.filter(|start| *start < period) else { return };
        let window = View::of(&ctx.plan.rule(of.rule).check).window;
        let end = crate::engine::view::span(ctx.plan, window, start).end;
        if let Some(open) = self.take(of.rule, of.id) {
            tell(ctx, (of.rule, of.key), &open, (end, None));
        }
    }

    /// A rolling window that has emptied.
    pub(crate) fn empties(&mut self, of: Of<'_>, at: i64, ctx: &mut Ctx<'_>) {
        if let Some(open) = self.take(of.rule, of.id) {
            tell(ctx, (of.rule, of.key), &open, (at, None));
        }
    }

    /// Whether something was over when its counters were forgotten.
    #[inline]
    pub(crate) fn has_over(&self) -> bool {
        !self.over.is_empty()
    }

    /// Tells of that.
    pub(crate) fn tell_over(&mut self, ctx: &mut Ctx<'_>) {
        for (rule, key, open, at) in std::mem::take(&mut self.over) {
            tell(ctx, (rule, &key), &open, (at, None));
        }
    }
}

fn tell(
    ctx: &mut Ctx<'_>,
    (rule, key): (usize, &str),
    open: &Open,
    (ts, value): (i64, Option<Measured>),
) {
    let plan = ctx.plan;
    let rule = plan.rule(rule);
    let view = View::of(&rule.check);
    let Some(levels) = view.levels.filter(|_| resolves(view.levels, rule.mode)) else { return };
    let key = key_object(&rule.per, key);
    for firing in &open.firings {
        // Fewer levels than there were: the highest speaks for it.
        let at = (firing.level as usize).min(levels.levels.len().saturating_sub(1));
        let Some(level) = levels.levels.get(at) else { continue };
        let receivers = level.then.iter().filter_map(|action| match action {
            Action::Alert { to } => Some(to.clone()),
            _ => None,
        });
        let receivers: Vec<Option<String>> = receivers.collect();
        let since = firing.since.min(ts);
        let back = match (value, levels.clear) {
            (Some(value), _) => format!("is {}", value.json()),
            _ => "is over".to_owned(),
        };
        let measure = view.measure_name();
        let lasted = words(ts.saturating_sub(since));
        let peak = open.peak.json();
        let who = subject(&rule.per, &key);
        ctx.effects.push(Effect::Resolved(Box::new(Decision {
            id: hex(&format!("tidegate.resolved\u{1f}{}", firing.decision)),
            level: firing.level,
            severity: level.severity,
            key: key.clone(),
            value: value.map(Measured::json),
            bound: levels.clear.map(number_json),
            summary: format!(
                "{who}: resolved after {lasted}: {measure} {back}, {} {peak}",
                if levels.side == Side::Above { "peak" } else { "least" }
            ),
            measure: Some(measure),
            alert: (!receivers.is_empty()).then(|| receivers.into_iter().flatten().collect()),
            description: rule.description.clone(),
            labels: rule.labels.clone(),
            resolved: Some(Resolved {
                rule: rule.name.clone(),
                decision: firing.decision.clone(),
                since: EventTime(since),
                peak,
            }),
            ..Decision::about("tidegate.resolved", &rule.name, ruleset(plan), EventTime(ts))
        })));
    }
}

fn ruleset(plan: &Plan) -> &str {
    &plan.rules.version
}

/// `2h 3m`: two units, the greatest first.
fn words(ms: i64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let mut rest = ms / 1_000;
    let mut words: Vec<String> = Vec::new();
    for (unit, seconds) in units {
        let count = rest / seconds;
        rest %= seconds;
        if count > 0 {
            words.push(format!("{count}{unit}"));
        } else if !words.is_empty() {
            break;
        }
        if words.len() == 2 {
            break;
        }
    }
    if words.is_empty() { format!("{ms}ms") } else { words.join(" ") }
}

#[cfg(test)]
mod tests;
