//! The state of one log, and the step that folds an input into it.

use crate::engine::act::Seed;
use crate::engine::dedup::{Dedup, identity};
use crate::engine::filter::{FilterCtx, holds};
use crate::engine::inputs::Inputs;
use crate::engine::keyed::{At, Contribution, Ctx, Keyed};
use crate::engine::partial::{Mark, PartialsOutbox, Slot, Tally};
use crate::engine::plan::{Form, Plan};
use crate::engine::seen::Seen;
use crate::engine::space::{write_field, write_key};
use crate::engine::view::{span, step_ms};
use crate::engine::{Counts, Effect, Input, Origin, Outcome};
use crate::event::{Event, EventTime, Kind, Reason};
use crate::rule::{Check, Filter, Input as Measured, Measure, Window};

/// Everything remembered of one partition of the input topic, or of the partials topic:
/// a pure function of that log up to the last input.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) origin: Origin,
    /// Greatest accepted event time; of the partials topic: the least over its inputs (R8).
    pub(crate) watermark: Option<i64>,
    pub(crate) keyed: Keyed,
    /// What each input partition said last (partials topic only).
    pub(crate) inputs: Inputs,
    /// The event that moved the watermark last, and its log (partials topic only).
    pub(crate) mover: Option<(Origin, Mark)>,
    dedup: Dedup,
    seen: Vec<Seen>,
    key: String,
}

impl State {
    pub fn new(origin: Origin) -> State {
        State {
            origin,
            watermark: None,
            keyed: Keyed::default(),
            inputs: Inputs::default(),
            mover: None,
            dedup: Dedup::default(),
            seen: Vec::new(),
            key: String::new(),
        }
    }

    /// The log this is the state of.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub fn watermark(&self) -> Option<EventTime> {
        self.watermark.map(EventTime)
    }

    /// Keys held, over all key forms.
    pub fn keys(&self) -> usize {
        self.keyed.keys()
    }

    /// Counters held: one a rule and key.
    pub fn counters(&self) -> usize {
        self.keyed.cells() + self.seen.iter().map(Seen::len).sum::<usize>()
    }

    /// Heap bytes held, estimated from the number of keys and counters.
    pub fn bytes(&self) -> usize {
        const KEY: usize = 64;
        const COUNTER: usize = 96;
        const ID: usize = 34;
        self.keys() * KEY + self.counters() * COUNTER + self.remembered_ids() * ID
    }

    /// Targets with a hold.
    pub fn accounts(&self) -> usize {
        self.keyed.ledger.len()
    }

    /// Event ids remembered against duplicates.
    pub fn remembered_ids(&self) -> usize {
        self.dedup.len()
    }
}

/// What steps put out. Effects and partials wait here until the caller takes them;
/// counts only rise.
#[derive(Debug, Clone)]
pub struct Output {
    pub effects: Vec<Effect>,
    pub counts: Counts,
    /// What became of the last event.
    pub outcome: Outcome,
    pub partials: PartialsOutbox,
}

impl Default for Output {
    fn default() -> Self {
        Output {
            effects: Vec::new(),
            counts: Counts::default(),
            outcome: Outcome::Accepted,
            partials: PartialsOutbox::default(),
        }
    }
}

impl Output {
    /// True when a command waits, so that the caller commits at once.
    pub fn has_commands(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Command(_)))
    }
}

/// Folds one input into the state. Never fails: bad input is an outcome and a count.
#[expect(clippy::needless_pass_by_value, reason = "an input is used up by its step")]
pub fn step(state: &mut State, plan: &Plan, input: Input<'_, '_>, out: &mut Output) {
    state.keyed.prepare(plan);
    state.seen.resize_with(plan.new_fields.len(), Seen::default);
    match input {
        Input::Event { event, offset, record_ts } => {
            out.counts.consumed += 1;
            out.outcome = state.event(plan, event, offset, record_ts, out);
            match out.outcome {
                Outcome::Accepted => out.counts.accepted += 1,
                Outcome::Duplicate => out.counts.duplicate += 1,
                Outcome::Late => out.counts.late += 1,
                Outcome::Quarantined(_) => out.counts.quarantined += 1,
            }
        }
        Input::Rejected { reason } => {
            out.counts.consumed += 1;
            out.counts.quarantined += 1;
            out.outcome = Outcome::Quarantined(reason);
        }
        Input::Partials { payload, offset, record_ts } => {
            state.partials(plan, payload, offset, record_ts, out);
        }
        Input::End => state.end(plan, out),
    }
}

impl State {
    fn event(
        &mut self,
        plan: &Plan,
        event: &Event<'_>,
        offset: i64,
        record_ts: Option<EventTime>,
        out: &mut Output,
    ) -> Outcome {
        let ts = event.ts.0;
        let settings = &plan.settings;
        if let (Some(record_ts), Some(max_ahead)) = (record_ts, settings.max_ahead_ms)
            && ts.saturating_sub(record_ts.0) > max_ahead
        {
            return Outcome::Quarantined(Reason::TooFarAhead);
        }
        let watermark = self.watermark.map_or(ts, |watermark| watermark.max(ts));
        if let Some(dedup_ms) = settings.dedup_ms {
            let id = identity(&event.user, &event.id);
            if self.dedup.contains(id) {
                return Outcome::Duplicate;
            }
            self.dedup.insert(id, watermark.saturating_add(dedup_ms));
        }
        let late = ts < watermark.saturating_sub(settings.allowed_lateness_ms);
        let topic = self.origin.topic.clone();
        let at = At {
            ts,
            seed: Seed::Event(&event.id),
            id: &event.id,
            topic: &topic,
            partition: self.origin.partition,
            offset,
        };
        if !late && self.watermark != Some(watermark) {
            self.advance(plan, watermark, &at, out);
        }
        let mut ctx = Ctx { plan, watermark, effects: &mut out.effects, counts: &mut out.counts };
        for &rule in &plan.by_kind[event.kind as usize] {
            self.rule(rule, event, &at, late, &mut ctx, &mut out.partials);
        }
        if late {
            return Outcome::Late;
        }
        if event.kind == Kind::Reverse && event.reverses.is_some() {
            self.reverse(event, &at, &mut ctx, &mut out.partials);
        }
        self.remember(plan, event, out);
        Outcome::Accepted
    }

    /// Moves the watermark: what is over closes and expires before the event counts.
    fn advance(&mut self, plan: &Plan, watermark: i64, at: &At<'_>, out: &mut Output) {
        if let (Some(before), Some(max_ahead)) = (self.watermark, plan.settings.max_ahead_ms)
            && watermark - before > max_ahead
        {
            out.counts.watermark_jumps += 1;
        }
        self.watermark = Some(watermark);
        out.partials.set_mover(at.id, at.ts, at.offset);
        let mut ctx = Ctx { plan, watermark, effects: &mut out.effects, counts: &mut out.counts };
        self.keyed.close(at, false, &mut ctx);
        self.settle(plan, watermark, out);
    }

    /// Lets go of everything that event time has passed.
    pub(crate) fn settle(&mut self, plan: &Plan, watermark: i64, out: &mut Output) {
        self.keyed.ledger.expire(watermark, &mut out.effects);
        self.keyed.expire(plan, watermark);
        self.dedup.expire(watermark);
        for (seen, (_, within_ms)) in self.seen.iter_mut().zip(&plan.new_fields) {
            let horizon = watermark - plan.settings.allowed_lateness_ms - within_ms;
            seen.expire(horizon, *within_ms);
        }
    }

    fn rule(
        &mut self,
        rule: usize,
        event: &Event<'_>,
        at: &At<'_>,
        late: bool,
        ctx: &mut Ctx<'_>,
        partials: &mut PartialsOutbox,
    ) {
        let plan = ctx.plan;
        let passes = |filter: &Filter| self.passes(plan, filter, event, event.kind, event.ts);
        let input = |input: &Measured| {
            (input.on.contains(event.kind) && passes(&input.filter))
                .then(|| tally(&input.measure, event))
        };
        let (of, to) = match &plan.rule(rule).check {
            Check::Match { on, filter, .. } => {
                if on.contains(event.kind) && passes(filter) {
                    self.match_event(rule, event, at, ctx, partials);
                }
                return;
            }
            _ if late => return,
            Check::Threshold { input: of, .. } => (input(of), None),
            Check::Ratio { of, to, .. } => (input(of), input(to)),
            Check::ZScore(zscore) => (input(&zscore.input), None),
        };
        if of.is_none() && to.is_none() {
            return;
        }
        let (of, to) = (of.unwrap_or_default(), to.unwrap_or_default());
        let what = Contribution { ts: event.ts.0, of: &of, to: &to, reversal: false };
        self.contribute(rule, event, &what, at, ctx, partials);
    }

    fn match_event(
        &mut self,
        rule: usize,
        event: &Event<'_>,
        at: &At<'_>,
        ctx: &mut Ctx<'_>,
        partials: &mut PartialsOutbox,
    ) {
        let none = Tally::default();
        let what = Contribution { ts: event.ts.0, of: &none, to: &none, reversal: false };
        self.contribute(rule, event, &what, at, ctx, partials);
    }

    /// Brings a contribution to its counters: here, or as a partial aggregate to their owner.
    fn contribute(
        &mut self,
        rule: usize,
        event: &Event<'_>,
        what: &Contribution<'_>,
        at: &At<'_>,
        ctx: &mut Ctx<'_>,
        partials: &mut PartialsOutbox,
    ) {
        let plan = ctx.plan;
        let mut key = std::mem::take(&mut self.key);
        if write_key(&plan.rule(rule).per, event, &mut key) {
            if plan.info[rule].shared {
                share(rule, &key, what, at, ctx, partials);
            } else {
                self.keyed.observe(rule, &key, what, at, ctx);
            }
        }
        self.key = key;
    }

    /// R10: takes a reversal's points from the windows in which the original counted.
    fn reverse(
        &mut self,
        event: &Event<'_>,
        at: &At<'_>,
        ctx: &mut Ctx<'_>,
        partials: &mut PartialsOutbox,
    ) {
        let plan = ctx.plan;
        let Some(reverses) = &event.reverses else { return };
        let ts = reverses.ts.unwrap_or(event.ts);
        let taken = Tally {
            count: if reverses.partial { 0 } else { -1 },
            sum: event.points.saturating_neg(),
            max: None,
            values: Vec::new(),
        };
        for &rule in &plan.by_reversed[reverses.kind as usize] {
            let nets = |input: &Measured| {
                input.on.contains(reverses.kind)
                    && !input.on.contains(Kind::Reverse)
                    && self.passes(plan, &input.filter, event, reverses.kind, ts)
            };
            let (of, to) = match &plan.rule(rule).check {
                Check::Match { .. } => continue,
                Check::Threshold { input, .. } => (nets(input), false),
                Check::Ratio { of, to, .. } => (nets(of), nets(to)),
                Check::ZScore(zscore) => (nets(&zscore.input), false),
            };
            if !of && !to {
                continue;
            }
            let none = Tally::default();
            let what = Contribution {
                ts: ts.0,
                of: if of { &taken } else { &none },
                to: if to { &taken } else { &none },
                reversal: true,
            };
            self.contribute(rule, event, &what, at, ctx, partials);
        }
    }

    fn passes(
        &self,
        plan: &Plan,
        filter: &Filter,
        event: &Event<'_>,
        kind: Kind,
        ts: EventTime,
    ) -> bool {
        let new = |field: &crate::rule::Field, within_ms: i64| {
            let Some(at) = plan.new_fields.iter().position(|(known, _)| known == field) else {
                return false;
            };
            let mut value = String::new();
            write_field(field, event, &mut value)
                && self.seen[at].is_new(&event.user, &value, ts.0, within_ms)
        };
        let ctx = FilterCtx { calendar: &plan.calendar, lists: &plan.lists, new: &new, kind, ts };
        holds(filter, event, &ctx)
    }

    fn remember(&mut self, plan: &Plan, event: &Event<'_>, out: &mut Output) {
        for (seen, (field, within_ms)) in self.seen.iter_mut().zip(&plan.new_fields) {
            let mut value = String::new();
            if write_field(field, event, &mut value) {
                let keep = within_ms + plan.settings.allowed_lateness_ms;
                if !seen.record(&event.user, &value, event.ts.0, keep) {
                    out.counts.values_dropped += 1;
                }
            }
        }
    }

    fn end(&mut self, plan: &Plan, out: &mut Output) {
        let Some(watermark) = self.watermark else { return };
        let own = || out.partials.mover().map(|mark| (self.origin.clone(), mark.clone()));
        let Some((origin, mark)) = self.mover.clone().or_else(own) else { return };
        let at = At {
            ts: mark.ts,
            seed: Seed::Event(&mark.id),
            id: &mark.id,
            topic: &origin.topic,
            partition: origin.partition,
            offset: mark.offset,
        };
        let mut ctx = Ctx { plan, watermark, effects: &mut out.effects, counts: &mut out.counts };
        self.keyed.close(&at, true, &mut ctx);
    }
}

/// What an event adds to a measure.
fn tally(measure: &Measure, event: &Event<'_>) -> Tally {
    let mut values = Vec::new();
    if let Measure::Distinct(field) = measure {
        let mut value = String::new();
        if write_field(field, event, &mut value) {
            values.push((xxhash_rust::xxh3::xxh3_64(value.as_bytes()), event.ts.0));
        }
    }
    Tally { count: 1, sum: event.points, max: Some(event.points), values }
}

/// Adds a contribution to the partial aggregates for the owner of its key.
fn share(
    rule: usize,
    key: &str,
    what: &Contribution<'_>,
    at: &At<'_>,
    ctx: &mut Ctx<'_>,
    partials: &mut PartialsOutbox,
) {
    let plan = ctx.plan;
    let info = &plan.info[rule];
    let step = match &plan.rule(rule).check {
        Check::Match { .. } => at.offset,
        Check::Threshold { window, .. } | Check::Ratio { window, .. } => match window {
            Window::Calendar(_) => span(plan, *window, what.ts).start,
            Window::Duration(ms) => {
                let step = step_ms(true, *ms);
                what.ts.div_euclid(step) * step
            }
        },
        Check::ZScore(zscore) => span(plan, zscore.window, what.ts).start,
    };
    if matches!(info.form, Form::ZScore | Form::CalendarBelow) {
        let (Check::ZScore(crate::rule::ZScore { window, .. }) | Check::Threshold { window, .. }) =
            &plan.rule(rule).check
        else {
            return;
        };
        let end = span(plan, *window, what.ts).end;
        if end.saturating_add(info.close_after_ms) <= ctx.watermark {
            ctx.counts.closed_window += u64::from(!what.reversal);
            return;
        }
    }
    let slot = Slot {
        rule: info.fingerprint,
        key,
        step,
        reversal: what.reversal,
        id: at.id,
        event_ts: at.ts,
        offset: at.offset,
    };
    let saturated = partials.add(&slot, what.ts, (what.of, what.to));
    ctx.counts.saturated += u64::from(saturated);
}
