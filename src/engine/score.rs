//! Keyed state of z-score rules: running values and what a verdict becomes (R11).

use crate::engine::act::{Finding, Firing, measure_name};
use crate::engine::calendar::Span;
use crate::engine::cell::{Body, OpenWindow, Sum};
use crate::engine::firing::Cooldown;
use crate::engine::in_turn::Closing;
use crate::engine::keyed::{At, Contribution, Ctx, Keyed};
use crate::engine::space::Key;
use crate::engine::view::{span, window_span};
use crate::rule::{Check, Number, Window, ZScore};

/// One z-score verdict.
#[derive(Debug)]
pub(crate) struct Score {
    pub(crate) value: i64,
    pub(crate) z: f64,
    pub(crate) mean: f64,
    pub(crate) sd: f64,
    pub(crate) bound: f64,
    pub(crate) is_above: bool,
    pub(crate) span: Span,
}

impl Keyed {
    pub(crate) fn zscore(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        what: &Contribution<'_>,
        at: &At<'_>,
        ctx: &mut Ctx<'_>,
    ) {
        self.zscore_whole(rule, key, what, at, ctx);
        let space = &self.cells.spaces[ctx.plan.info[rule].space];
        if let Some(id) = space.find(key) {
            self.cells.shrink(rule, id, ctx.plan);
            if ctx.plan.info[rule].closing == Closing::InTurn {
                self.close_on_time(rule, id, ctx.plan);
            }
        }
    }

    fn zscore_whole(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        what: &Contribution<'_>,
        at: &At<'_>,
        ctx: &mut Ctx<'_>,
    ) {
        let plan = ctx.plan;
        let Check::ZScore(check) = &plan.rule(rule).check else { return };
        let span = span(plan, check.window, what.ts);
        let gathers = plan.info[rule].gathers();
        if !gathers && span.end.saturating_add(plan.info[rule].close_after_ms) <= ctx.watermark {
            if !what.reversal {
                ctx.counts.closed_window += 1;
            }
            return;
        }
        let (cell, first) = self.cells.cell(rule, key, (what.ts, span.end), plan);
        let id = cell.key;
        let Body::ZScore(body) = &mut cell.body else { return };
        if first || (!what.reversal && span.start < body.next.start) {
            body.next = span;
            if plan.info[rule].closing == Closing::OnTime {
                self.schedule(span.end, rule, id, plan);
            }
        }
        let Some(cell) = self.cells.at(rule, id, plan) else { return };
        let Body::ZScore(body) = &mut cell.body else { return };
        let place = match body.open.iter().position(|open| open.span == span) {
            Some(place) => place,
            None if what.reversal => return,
            None => {
                let place = body.open.partition_point(|open| open.span.start < span.start);
                let sum = Sum::new(&check.input.measure);
                body.open.insert(place, OpenWindow { span, sum, events: true, fired: false });
                place
            }
        };
        let open = &mut body.open[place];
        ctx.counts.saturated += u64::from(open.sum.add(&check.input.measure, what.of));
        let (value, ran) = (open.sum.value(), open.fired);
        if gathers || what.reversal {
            return;
        }
        let Some(above) = running_bound(check, ran, body.armed_above) else { return };
        let Some((mean, sd)) = body.usual(&plan.calendar, check, span) else { return };
        if !exceeds(value, (mean, sd), above) {
            return;
        }
        let z = zscore_of(value, mean, sd);
        body.open[place].fired = true;
        body.armed_above = false;
        let length_ms = plan.rule(rule).cooldown_ms;
        let all = &mut self.cooldowns;
        let mut cooldown = Cooldown { all, rule, key: id, length_ms, now: at.ts };
        if cooldown.holds_back(0) {
            ctx.counts.suppressed += 1;
            return;
        }
        cooldown.start(1);
        let score = Score { value, z, mean, sd, bound: above, is_above: true, span };
        self.score(rule, key.text, check, &score, at, ctx);
    }

    /// Writes the decision of a z-score rule.
    pub(crate) fn score(
        &mut self,
        rule: usize,
        key: &str,
        check: &ZScore,
        score: &Score,
        at: &At<'_>,
        ctx: &mut Ctx<'_>,
    ) {
        let finding = Finding {
            measure: measure_name(&check.input.measure),
            value: score.value.into(),
            bound: whole(score.bound),
            above: score.is_above,
            stats: Some((score.z, score.mean, score.sd)),
            forecast: None,
            window: window_span(ctx.plan, check.window, score.span),
        };
        let firing = Firing {
            rule,
            key,
            level: 0,
            ts: at.ts,
            seed: at.seed,
            trigger: Some(at.trigger()),
            source: at.source,
            severity: check.severity,
            then: &check.then,
            finding: Some(finding),
        };
        self.desk(ctx).fire(&firing);
    }
}

/// The bound that the running value of a window is held against, if it is judged.
pub(crate) fn running_bound(check: &ZScore, fired: bool, armed_above: bool) -> Option<f64> {
    let is_judged = !fired && (matches!(check.window, Window::Calendar(_)) || armed_above);
    check.above.filter(|_| is_judged)
}

/// Whether a value is beyond a bound, by mean and standard deviation; one that cannot be told is.
pub(crate) fn exceeds(value: i64, (mean, sd): (f64, f64), above: f64) -> bool {
    let z = zscore_of(value, mean, sd);
    z > above || z.is_nan()
}

pub(crate) fn zscore_of(value: i64, mean: f64, sd: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a z-score is a float by contract")]
    let value = value as f64;
    (value - mean) / sd
}

/// A bound as it was written: `4` stays `4`.
#[expect(clippy::cast_possible_truncation, reason = "tested to be a whole number in range")]
pub(crate) fn whole(bound: f64) -> Number {
    if bound.fract() == 0.0 && bound.abs() < 9e15 {
        Number::Integer(bound as i64)
    } else {
        Number::Float(bound)
    }
}
