//! Keyed state: what one contribution does to the counters of one rule and key.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::engine::act::{Desk, Finding, Firing, Ledger, Seed};
use crate::engine::baseline::Series;
use crate::engine::calendar::Span;
use crate::engine::cell::{
    Body, CalendarCell, Cell, PeriodCell, Roll, RollingCell, Sum, Table, ZCell,
};
use crate::engine::firing::{Cooldown, Measured, Verdict, evaluate};
use crate::engine::partial::Tally;
use crate::engine::plan::Form;
use crate::engine::space::Space;
use crate::engine::view::{View, rolling_span, span, step_ms, window_span};
use crate::engine::{Counts, Effect, Plan, Trigger, WindowSpan};
use crate::rule::{Check, Side, Window};

/// Counters of all rules for the keys of one log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keyed {
    pub(crate) spaces: Vec<Space>,
    pub(crate) tables: Vec<Table>,
    pub(crate) ledger: Ledger,
    /// Keys by end of the window to close next, and rule.
    pub(crate) timers: BTreeMap<(i64, usize), Vec<u32>>,
    /// No timer is due before the watermark reaches this.
    pub(crate) next_due: Option<i64>,
    /// (rule, key) by the slot of event time in which they may be forgotten.
    expiry: BTreeMap<i64, Vec<(usize, u32)>>,
}

/// Width of an expiry slot.
const SLOT_MS: i64 = 300_000;

/// What an event, or several, bring to one rule and key.
#[derive(Debug, Clone)]
pub(crate) struct Contribution<'a> {
    /// Event time at which it counts.
    pub(crate) ts: i64,
    pub(crate) of: &'a Tally,
    pub(crate) to: &'a Tally,
    pub(crate) reversal: bool,
}

/// The event behind an evaluation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) ts: i64,
    pub(crate) seed: Seed<'a>,
    pub(crate) id: &'a str,
    pub(crate) topic: &'a Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl At<'_> {
    pub(crate) fn trigger(&self) -> Trigger {
        Trigger {
            id: self.id.to_owned(),
            topic: self.topic.to_string(),
            partition: self.partition,
            offset: self.offset,
        }
    }
}

/// What stays the same through one input.
#[derive(Debug)]
pub(crate) struct Ctx<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) watermark: i64,
    pub(crate) effects: &'a mut Vec<Effect>,
    pub(crate) counts: &'a mut Counts,
}

impl Keyed {
    pub(crate) fn prepare(&mut self, plan: &Plan) {
        self.spaces.resize_with(plan.spaces.len(), Space::default);
        self.tables.resize_with(plan.info.len(), Table::default);
    }

    pub(crate) fn keys(&self) -> usize {
        self.spaces.iter().map(Space::len).sum()
    }

    pub(crate) fn cells(&self) -> usize {
        self.tables.iter().map(Table::len).sum()
    }

    /// One matching event of a match rule (R3).
    pub(crate) fn matched(&mut self, rule: usize, key: &str, at: &At<'_>, ctx: &mut Ctx<'_>) {
        let Check::Match { severity, then, .. } = &ctx.plan.rule(rule).check else { return };
        if let Some(cooldown_ms) = ctx.plan.rule(rule).cooldown_ms {
            let cell = self.cell(rule, key, at.ts, ctx.plan);
            let mut cooldown =
                Cooldown { last: &mut cell.last, length_ms: Some(cooldown_ms), now: at.ts };
            if cooldown.holds_back(0) {
                ctx.counts.suppressed += 1;
                return;
            }
            cooldown.start(1);
        }
        let firing = Firing {
            rule,
            key,
            level: 0,
            ts: at.ts,
            seed: at.seed,
            trigger: Some(at.trigger()),
            severity: *severity,
            then,
            finding: None,
        };
        self.desk(ctx).fire(&firing);
    }

    /// Counts a contribution and evaluates the rule, as its form demands.
    pub(crate) fn observe(
        &mut self,
        rule: usize,
        key: &str,
        what: &Contribution<'_>,
        at: &At<'_>,
        ctx: &mut Ctx<'_>,
    ) {
        if what.reversal && self.find(rule, key, ctx.plan).is_none() {
            return;
        }
        match ctx.plan.info[rule].form {
            Form::Match => self.matched(rule, key, at, ctx),
            Form::Calendar | Form::CalendarBelow => self.calendar(rule, key, what, at, ctx),
            Form::Rolling | Form::RollingBelow => self.rolling(rule, key, what, at, ctx),
            Form::ZScore => self.zscore(rule, key, what, at, ctx),
        }
    }

    fn calendar(
        &mut self,
        rule: usize,
        key: &str,
        what: &Contribution<'_>,
        at: &At<'_>,
        ctx: &mut Ctx<'_>,
    ) {
        let plan = ctx.plan;
        let view = View::of(&plan.rule(rule).check);
        let span = span(plan, view.window, what.ts);
        let lateness = plan.settings.allowed_lateness_ms;
        let below = plan.info[rule].form == Form::CalendarBelow;
        let first = self.find(rule, key, plan).is_none();
        let cell = self.cell(rule, key, what.ts, plan);
        let Body::Calendar(body) = &mut cell.body else { return };
        if !what.reversal {
            body.t = if first { what.ts } else { body.t.max(what.ts) };
        }
        if !below {
            let open = |period: &PeriodCell| {
                period.span.end.saturating_add(lateness) > ctx.watermark || period.span == span
            };
            body.periods.retain(|period| open(period));
        }
        let found = body.periods.iter_mut().position(|period| period.span == span);
        let place = match found {
            Some(place) => place,
            None if what.reversal => return,
            None => {
                let to = view.to.map(|_| Box::default());
                body.periods.push(PeriodCell { span, fired: 0, of: Sum::default(), to });
                body.periods.len() - 1
            }
        };
        let period = &mut body.periods[place];
        let mut saturated = period.of.add(what.of);
        if let Some(to) = &mut period.to {
            saturated |= to.add(what.to);
        }
        ctx.counts.saturated += u64::from(saturated);
        if below {
            if found.is_none() {
                let id = cell.key;
                self.schedule(span.end, rule, id, plan);
            }
            return;
        }
        let of = period.of.value(view.of);
        let to = view.to.and_then(|to| period.to.as_ref().map(|sum| sum.value(to)));
        let Some(value) = view.value(of, to) else { return };
        let mut cooldown =
            Cooldown { last: &mut cell.last, length_ms: plan.rule(rule).cooldown_ms, now: at.ts };
        let Some(levels) = view.levels else { return };
        let verdict = evaluate(levels, value, &mut period.fired, !what.reversal, &mut cooldown);
        let window = window_span(plan, view.window, span);
        self.verdict(verdict, &Judged { rule, key, view: &view, value, window }, at, ctx);
    }

    fn rolling(
        &mut self,
        rule: usize,
        key: &str,
        what: &Contribution<'_>,
        at: &At<'_>,
        ctx: &mut Ctx<'_>,
    ) {
        let plan = ctx.plan;
        let view = View::of(&plan.rule(rule).check);
        let Window::Duration(window_ms) = view.window else { return };
        let at_watermark = plan.info[rule].form == Form::RollingBelow;
        let first = self.find(rule, key, plan).is_none();
        let cell = self.cell(rule, key, what.ts, plan);
        let Body::Rolling(body) = &mut cell.body else { return };
        if !what.reversal {
            if first {
                (body.t, body.first) = (what.ts, what.ts);
            } else if what.ts > body.t {
                // R9: a window that emptied between two events is an evaluation without breach.
                if !at_watermark && what.ts - body.t >= window_ms {
                    body.fired = 0;
                }
                body.t = what.ts;
            }
        }
        let step = step_ms(plan.info[rule].shared, window_ms);
        let now = if at_watermark { body.t.max(ctx.watermark) } else { body.t };
        let counts = what.ts > now.saturating_sub(window_ms);
        let mut saturated = counts && body.of.add(what.ts, what.of, (step, now));
        body.of.advance(now, window_ms);
        let of = body.of.value(view.of, now, window_ms);
        let mut to = None;
        if let (Some(roll), Some(measure)) = (&mut body.to, view.to) {
            saturated |= counts && roll.add(what.ts, what.to, (step, now));
            roll.advance(now, window_ms);
            to = Some(roll.value(measure, now, window_ms));
        }
        ctx.counts.saturated += u64::from(saturated);
        if at_watermark {
            return;
        }
        let Some(value) = view.value(of, to) else { return };
        let mut cooldown =
            Cooldown { last: &mut cell.last, length_ms: plan.rule(rule).cooldown_ms, now: at.ts };
        let Some(levels) = view.levels else { return };
        let verdict = evaluate(levels, value, &mut body.fired, !what.reversal, &mut cooldown);
        let window = rolling_span(now, window_ms);
        self.verdict(verdict, &Judged { rule, key, view: &view, value, window }, at, ctx);
    }

    /// Carries out the verdict of an evaluation.
    pub(crate) fn verdict(
        &mut self,
        verdict: Verdict,
        judged: &Judged<'_>,
        at: &At<'_>,
        ctx: &mut Ctx<'_>,
    ) {
        let level = match verdict {
            Verdict::Quiet => return,
            Verdict::Suppressed => {
                ctx.counts.suppressed += 1;
                return;
            }
            Verdict::Fires(level) => level,
        };
        let Some(levels) = judged.view.levels else { return };
        let fired = &levels.levels[level];
        let finding = Finding {
            measure: judged.view.measure_name(),
            value: judged.value.json(),
            bound: fired.bound,
            above: levels.side == Side::Above,
            stats: None,
            window: judged.window.clone(),
        };
        let firing = Firing {
            rule: judged.rule,
            key: judged.key,
            level,
            ts: at.ts,
            seed: at.seed,
            trigger: Some(at.trigger()),
            severity: fired.severity,
            then: &fired.then,
            finding: Some(finding),
        };
        self.desk(ctx).fire(&firing);
    }

    pub(crate) fn desk<'a>(&'a mut self, ctx: &'a mut Ctx<'_>) -> Desk<'a> {
        Desk {
            plan: ctx.plan,
            ledger: &mut self.ledger,
            watermark: ctx.watermark,
            effects: ctx.effects,
            counts: ctx.counts,
        }
    }

    pub(crate) fn find(&mut self, rule: usize, key: &str, plan: &Plan) -> Option<&mut Cell> {
        let id = self.spaces[plan.info[rule].space].find(key)?;
        self.tables[rule].get_mut(id)
    }

    /// The cell of a rule and key, made when there is none.
    pub(crate) fn cell(&mut self, rule: usize, key: &str, ts: i64, plan: &Plan) -> &mut Cell {
        let info = &plan.info[rule];
        let space = &mut self.spaces[info.space];
        let id = space.intern(key);
        if self.tables[rule].get_mut(id).is_none() {
            space.hold(id);
            let body = new_body(&plan.rule(rule).check, info.form, ts);
            self.tables[rule].insert(Cell { key: id, last: SmallVec::new(), body });
            if matches!(info.form, Form::Match | Form::Calendar | Form::Rolling) {
                let slot = ts.div_euclid(SLOT_MS) + 1;
                self.expiry.entry(slot).or_default().push((rule, id));
            }
        }
        match self.tables[rule].get_mut(id) {
            Some(cell) => cell,
            None => unreachable!("the cell was inserted above"),
        }
    }

    pub(crate) fn forget(&mut self, rule: usize, key: u32, plan: &Plan) {
        if self.tables[rule].remove(key) {
            self.spaces[plan.info[rule].space].release(key);
        }
    }

    pub(crate) fn schedule(&mut self, end: i64, rule: usize, key: u32, plan: &Plan) {
        self.timers.entry((end, rule)).or_default().push(key);
        let due = end.saturating_add(plan.info[rule].close_after_ms);
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
    }

    /// Forgets cells that no event not late can touch any more.
    pub(crate) fn expire(&mut self, plan: &Plan, watermark: i64) {
        while let Some(entry) = self.expiry.first_entry() {
            if entry.key().saturating_mul(SLOT_MS) > watermark {
                break;
            }
            for (rule, key) in entry.remove() {
                let Some(cell) = self.tables[rule].get_mut(key) else { continue };
                let until = keep_until(cell, plan, rule);
                if until <= watermark {
                    self.forget(rule, key, plan);
                } else {
                    let slot = until.div_euclid(SLOT_MS) + 1;
                    self.expiry.entry(slot).or_default().push((rule, key));
                }
            }
        }
    }
}

/// The watermark at which a cell no longer matters.
fn keep_until(cell: &Cell, plan: &Plan, rule: usize) -> i64 {
    let lateness = plan.settings.allowed_lateness_ms;
    let body = match &cell.body {
        Body::Match => i64::MIN,
        Body::Calendar(body) => {
            let end = body.periods.iter().map(|period| period.span.end).max();
            end.unwrap_or(i64::MIN).saturating_add(lateness)
        }
        Body::Rolling(body) => match View::of(&plan.rule(rule).check).window {
            Window::Duration(ms) => body.t.saturating_add(ms).saturating_add(lateness),
            Window::Calendar(_) => i64::MIN,
        },
        Body::ZScore(_) => i64::MAX,
    };
    let cooldown = plan.rule(rule).cooldown_ms.unwrap_or(0);
    let last = cell.last.iter().copied().max().unwrap_or(i64::MIN);
    body.max(last.saturating_add(cooldown).saturating_add(lateness))
}

fn new_body(check: &Check, form: Form, ts: i64) -> Body {
    let view = View::of(check);
    match form {
        Form::Match => Body::Match,
        Form::Calendar | Form::CalendarBelow => {
            Body::Calendar(CalendarCell { periods: SmallVec::new(), t: ts })
        }
        Form::Rolling | Form::RollingBelow => Body::Rolling(RollingCell {
            t: ts,
            first: ts,
            fired: 0,
            of: Roll::new(view.of),
            to: view.to.map(|to| Box::new(Roll::new(to))),
        }),
        Form::ZScore => {
            let Check::ZScore(zscore) = check else { return Body::Match };
            Body::ZScore(Box::new(ZCell {
                series: Series::new(zscore.baseline),
                next: Span::default(),
                open: SmallVec::new(),
                armed_above: true,
                armed_below: true,
                empties: 0,
            }))
        }
    }
}

/// A threshold or ratio verdict with all it was judged by.
#[derive(Debug)]
pub(crate) struct Judged<'a> {
    pub(crate) rule: usize,
    pub(crate) key: &'a str,
    pub(crate) view: &'a View<'a>,
    pub(crate) value: Measured,
    pub(crate) window: WindowSpan,
}
