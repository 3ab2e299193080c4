//! Keyed state: what one contribution does to the counters of one rule and key.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::act::{Desk, Finding, Firing, Seed};
use crate::engine::cell::{Body, Cell, PeriodCell, Sum};
use crate::engine::firing::{Cooldown, Cooldowns, Reading, Verdict, evaluate};
use crate::engine::forecast::{FLOW_MS, Flows};
use crate::engine::in_turn::{Anew, Closing};
use crate::engine::ledger::Ledger;
use crate::engine::opens::{Of, OpenFiring, Opens};
use crate::engine::partial::Mark;
use crate::engine::peaks::Peaks;
use crate::engine::plan::Form;
use crate::engine::space::Key;
use crate::engine::table::Cells;
use crate::engine::tally::Added;
use crate::engine::view::{View, rolling_span, span, window_span};
use crate::engine::{Counts, Effect, Origin, Plan, Trigger, WindowSpan};
use crate::event::Event;
use crate::rule::{Check, Measure, Side, Window};

/// Counters of all rules for the keys of one log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keyed {
    pub(crate) cells: Cells,
    pub(crate) ledger: Ledger,
    pub(crate) cooldowns: Cooldowns,
    pub(crate) flows: Flows,
    pub(crate) opens: Opens,
    /// Keys by end of the window to close next, and rule.
    pub(crate) timers: BTreeMap<(i64, usize), Vec<u32>>,
    /// No timer is due before the watermark reaches this.
    pub(crate) next_due: Option<i64>,
    /// By rule: when its windows close.
    pub(crate) closings: Vec<Closing>,
    pub(crate) anew: Anew,
    /// Where a report asks for it; no part of the state.
    pub(crate) peaks: Option<Box<Peaks>>,
}

/// What an event, or several, bring to one rule and key.
#[derive(Debug, Clone)]
pub(crate) struct Contribution<'a> {
    /// Event time at which it counts.
    pub(crate) ts: i64,
    pub(crate) of: &'a Added<'a>,
    pub(crate) to: &'a Added<'a>,
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
    /// Of the event, where it is one that is judged.
    pub(crate) source: Option<&'a str>,
}

impl<'a> At<'a> {
    /// An event of a log of events.
    pub(crate) fn event(event: &'a Event<'_>, offset: i64, origin: &'a Origin) -> At<'a> {
        At {
            ts: event.ts.0,
            seed: Seed::Event(&event.id),
            id: &event.id,
            topic: &origin.topic,
            partition: origin.partition,
            offset,
            source: event.source.as_deref(),
        }
    }

    /// The event that moved a watermark.
    pub(crate) fn mover(origin: &'a Origin, mover: &'a Mark) -> At<'a> {
        At {
            ts: mover.ts,
            seed: Seed::Event(&mover.id),
            id: &mover.id,
            topic: &origin.topic,
            partition: origin.partition,
            offset: mover.offset,
            source: None,
        }
    }

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
    /// One matching event of a match rule (R3).
    pub(crate) fn matched(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        at: &At<'_>,
        ctx: &mut Ctx<'_>,
    ) {
        let Check::Match { severity, then, .. } = &ctx.plan.rule(rule).check else { return };
        // Without room for the key it fires without a cooldown: rather too often than not at all.
        if let Some(cooldown_ms) = ctx.plan.rule(rule).cooldown_ms
            && self.admits(rule, key, ctx)
        {
            let id = self.cells.cell(rule, key, (at.ts, at.ts), ctx.plan).0.key;
            let mut cooldown = Cooldown {
                all: &mut self.cooldowns,
                rule,
                key: id,
                length_ms: Some(cooldown_ms),
                now: at.ts,
            };
            if cooldown.holds_back(0) {
                ctx.counts.suppressed += 1;
                return;
            }
            cooldown.start(1);
        }
        let firing = Firing {
            rule,
            key: key.text,
            level: 0,
            ts: at.ts,
            seed: at.seed,
            trigger: Some(at.trigger()),
            source: at.source,
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
        key: &mut Key<'_>,
        what: &Contribution<'_>,
        at: &At<'_>,
        ctx: &mut Ctx<'_>,
    ) {
        if self.quietly(rule, key, what, ctx) {
            return;
        }
        self.keep(rule, key, ctx.plan);
        self.catch_up(rule, key, ctx.plan, ctx.watermark);
        if what.reversal && !self.cells.has(rule, key, ctx.plan) {
            return;
        }
        let form = ctx.plan.info[rule].form;
        if form != Form::Match && !self.admits(rule, key, ctx) {
            return;
        }
        match form {
            Form::Match => self.matched(rule, key, at, ctx),
            Form::Calendar | Form::CalendarBelow => self.calendar(rule, key, what, at, ctx),
            Form::Rolling | Form::RollingBelow => self.rolling(rule, key, what, at, ctx),
            Form::ZScore => self.zscore(rule, key, what, at, ctx),
        }
    }

    fn calendar(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        what: &Contribution<'_>,
        at: &At<'_>,
        ctx: &mut Ctx<'_>,
    ) {
        let plan = ctx.plan;
        let view = View::of(&plan.rule(rule).check);
        let span = span(plan, view.window, what.ts);
        let lateness = plan.settings.allowed_lateness_ms;
        let below = plan.info[rule].form == Form::CalendarBelow;
        let end = if plan.info[rule].has_flow { span.end.max(what.ts + FLOW_MS) } else { span.end };
        let (cell, first) = self.cells.cell(rule, key, (what.ts, end), plan);
        let id = cell.key;
        let Body::Calendar(body) = &mut cell.body else { return };
        self.opens.enters(Of { rule, id, key: key.text }, span.start, ctx);
        if !what.reversal {
            body.t = if first { what.ts } else { body.t.max(what.ts) };
        }
        let mut flow = None;
        if plan.info[rule].has_flow {
            let amount = if *view.of == Measure::Count { what.of.count } else { what.of.sum };
            flow = self.flows.add(rule, id, (what.ts, amount), what.reversal);
        }
        let alone = body.periods.len() == 1 && body.periods[0].start == span.start;
        if !below && !alone {
            let open = |period: &PeriodCell| {
                period.end().saturating_add(lateness) > ctx.watermark || period.start == span.start
            };
            body.periods.retain(|period| open(period));
        }
        let found = body.periods.iter_mut().position(|period| period.start == span.start);
        let place = match found {
            Some(place) => place,
            None if what.reversal => return,
            None => {
                body.periods.push(PeriodCell::new(span, Sum::of(&view)));
                body.periods.len() - 1
            }
        };
        let period = &mut body.periods[place];
        let saturated = period.of.add_to(&view, what.of, what.to);
        ctx.counts.saturated += u64::from(saturated);
        if below || plan.info[rule].gathers() {
            if below && found.is_none() {
                self.schedule(span.end, rule, id, plan);
            }
            return;
        }
        let of = period.of.value();
        if let (Some(peaks), Some(levels)) = (&mut self.peaks, view.levels)
            && let Some(value) = view.value(of, period.of.to_value())
        {
            peaks.note(rule, key.hash, value, levels.side);
        }
        if period.fired == 0 && plan.info[rule].calm.is_some_and(|calm| calm.holds(of)) {
            return;
        }
        let Some(value) = view.value(of, period.of.to_value()) else { return };
        let Some(levels) = view.levels else { return };
        let flow = flow.filter(|_| levels.has_forecast());
        let rise = flow.and_then(|flow| flow.rise(body.t, span.end));
        let reading = Reading { value, rise };
        let length_ms = plan.rule(rule).cooldown_ms;
        let all = &mut self.cooldowns;
        let mut cooldown = Cooldown { all, rule, key: id, length_ms, now: at.ts };
        let before = period.fired;
        let verdict = evaluate(levels, reading, &mut period.fired, !what.reversal, &mut cooldown);
        let of = Of { rule, id, key: key.text };
        self.opens.judged(of, (value, levels.side), (before, period.fired), at.ts, ctx);
        if verdict != Verdict::Quiet {
            let window = window_span(plan, view.window, span);
            let period = Some(span.start);
            self.verdict(verdict, &Judged { of, view: &view, reading, window, period }, at, ctx);
        }
    }

    fn rolling(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        what: &Contribution<'_>,
        at: &At<'_>,
        ctx: &mut Ctx<'_>,
    ) {
        let plan = ctx.plan;
        let view = View::of(&plan.rule(rule).check);
        let Window::Duration(window_ms) = plan.info[rule].window else { return };
        let at_watermark = plan.info[rule].form == Form::RollingBelow;
        let gathers = plan.info[rule].gathers();
        let end = what.ts.saturating_add(window_ms);
        let (cell, first) = self.cells.cell(rule, key, (what.ts, end), plan);
        let id = cell.key;
        let Cell { fired, body: Body::Rolling(body), .. } = cell else { return };
        if !what.reversal && !first && what.ts > body.t {
            // R9: a window that emptied between two events is an evaluation without breach.
            if !at_watermark && what.ts - body.t >= window_ms {
                *fired = 0;
                let emptied_at = body.t.saturating_add(window_ms);
                self.opens.empties(Of { rule, id, key: key.text }, emptied_at, ctx);
            }
            body.t = what.ts;
        }
        let step = plan.info[rule].step_ms;
        let now = if at_watermark { body.t.max(ctx.watermark) } else { body.t };
        let counts = what.ts > now.saturating_sub(window_ms);
        let mut saturated = counts && body.of.add(view.of, what.ts, what.of, (step, now));
        body.of.advance(now, window_ms);
        let of = body.of.value(view.of, now, window_ms);
        let mut to = None;
        let other = body.more.as_mut().and_then(|more| more.to.as_mut());
        if let (Some(roll), Some(measure)) = (other, view.to) {
            saturated |= counts && roll.add(measure, what.ts, what.to, (step, now));
            roll.advance(now, window_ms);
            to = Some(roll.value(measure, now, window_ms));
        }
        ctx.counts.saturated += u64::from(saturated);
        if let (Some(peaks), Some(levels)) = (&mut self.peaks, view.levels)
            && !at_watermark
            && let Some(value) = view.value(of, to)
        {
            peaks.note(rule, key.hash, value, levels.side);
        }
        if let (true, Some(more)) = (gathers && !what.reversal, &mut body.more) {
            // Partitions tell their past one after the other.
            more.first = more.first.min(what.ts);
        }
        if gathers
            || at_watermark
            || *fired == 0 && plan.info[rule].calm.is_some_and(|calm| calm.holds(of))
        {
            return;
        }
        let Some(value) = view.value(of, to) else { return };
        let Some(levels) = view.levels else { return };
        let length_ms = plan.rule(rule).cooldown_ms;
        let all = &mut self.cooldowns;
        let mut cooldown = Cooldown { all, rule, key: id, length_ms, now: at.ts };
        let reading = Reading::from(value);
        let before = *fired;
        let verdict = evaluate(levels, reading, fired, !what.reversal, &mut cooldown);
        let of = Of { rule, id, key: key.text };
        self.opens.judged(of, (value, levels.side), (before, *fired), at.ts, ctx);
        if verdict != Verdict::Quiet {
            let window = rolling_span(now, window_ms);
            let judged = Judged { of, view: &view, reading, window, period: None };
            self.verdict(verdict, &judged, at, ctx);
        }
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
        let reading = &judged.reading;
        let forecast = reading.forecast(levels, fired).zip(reading.rise);
        let finding = Finding {
            measure: judged.view.measure_name(),
            value: reading.value.json(),
            bound: fired.bound,
            above: levels.side == Side::Above,
            stats: None,
            forecast: forecast.map(|(at, rise)| (at, rise.told(at, &ctx.plan.calendar))),
            window: judged.window.clone(),
        };
        let firing = Firing {
            rule: judged.of.rule,
            key: judged.of.key,
            level,
            ts: at.ts,
            seed: at.seed,
            trigger: Some(at.trigger()),
            source: at.source,
            severity: fired.severity,
            then: &fired.then,
            finding: Some(finding),
        };
        let place = ctx.effects.len();
        self.desk(ctx).fire(&firing);
        if ctx.plan.info[judged.of.rule].resolves
            && let Some(Effect::Decision(decision)) = ctx.effects.get(place)
            && decision.alert.is_some()
        {
            let level = decision.level;
            let open = OpenFiring { decision: decision.id.clone(), level, since: at.ts };
            self.opens.begin(judged, open);
        }
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

    pub(crate) fn forget(&mut self, rule: usize, key: u32, plan: &Plan) {
        self.keep_id(rule, key, plan);
        if let Some(open) = self.opens.get(rule, key) {
            let over_at = open.over_at(plan, rule);
            let text = self.cells.spaces[plan.info[rule].space].text(key);
            self.opens.ends(rule, (key, text), over_at);
        }
        self.cells.remove(rule, key, plan);
        self.cooldowns.forget(rule, key);
        self.flows.forget(rule, key);
    }

    pub(crate) fn schedule(&mut self, end: i64, rule: usize, key: u32, plan: &Plan) {
        self.timers.entry((end, rule)).or_default().push(key);
        let due = end.saturating_add(plan.info[rule].close_after_ms);
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
    }

    /// Bytes on the heap, as far as tables know; what single cells keep there is not counted.
    pub(crate) fn bytes(&self) -> usize {
        let timers: usize = self.timers.values().map(|keys| keys.capacity() * 4).sum();
        self.cells.bytes()
            + self.cooldowns.bytes()
            + self.flows.bytes()
            + self.opens.bytes()
            + timers
    }
}

/// A threshold or ratio verdict with all it was judged by.
#[derive(Debug)]
pub(crate) struct Judged<'a> {
    pub(crate) of: Of<'a>,
    pub(crate) view: &'a View<'a>,
    pub(crate) reading: Reading,
    pub(crate) window: WindowSpan,
    /// Start of the calendar period.
    pub(crate) period: Option<i64>,
}
