//! Windows that close as the watermark moves: z-scores (R11) and silence (R13).

use std::collections::BTreeMap;

use crate::engine::act::Seed;
use crate::engine::baseline::Series;
use crate::engine::calendar::{Calendar, Span};
use crate::engine::cell::{Body, Cell, ZCell};
use crate::engine::firing::{Cooldown, Measured, Reading, evaluate};
use crate::engine::keyed::{At, Ctx, Judged, Keyed};
use crate::engine::opens::Of;
use crate::engine::plan::{Form, Plan};
use crate::engine::score::{Score, zscore_of};
use crate::engine::view::{View, next_span, rolling_span, window_span};
use crate::rule::{Check, Window, ZScore};

/// Whether an event touched a key, or reversals alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MayFire {
    Yes,
    No,
}

/// R13: a key without events for so long is forgotten, after it has been judged.
pub(crate) const SILENT_MS: i64 = 7 * 86_400_000;

impl Keyed {
    /// Whether a window may be due to close.
    #[inline]
    pub(crate) fn has_due(&self, watermark: i64) -> bool {
        self.next_due.is_some_and(|due| due <= watermark)
    }

    /// Closes every window that is due at the watermark, oldest first, then by rule and key.
    /// At the end of input (`lateness` off) windows with end ≤ watermark are due.
    /// Those that say nothing wait for the turns of their keys, where they do.
    pub(crate) fn close(&mut self, at: &At<'_>, at_end: bool, ctx: &mut Ctx<'_>) {
        while let Some((end, rule)) = self.first_due(at_end, ctx) {
            let mut keys = self.timers.remove(&(end, rule)).unwrap_or_default();
            let space = &self.cells.spaces[ctx.plan.info[rule].space];
            let column = ctx.plan.info[rule].column;
            keys.retain(|key| space.has(*key, column));
            keys.sort_by(|a, b| space.text(*a).cmp(space.text(*b)));
            keys.dedup();
            for key in keys {
                if ctx.plan.info[rule].form == Form::ZScore {
                    self.close_score(rule, key, end, at, ctx);
                } else {
                    self.close_silence(rule, key, end, at, ctx);
                }
            }
        }
        if at_end {
            self.close_all_unheard(ctx.plan, ctx.watermark, true);
        }
        let due =
            |(end, rule): &(i64, usize)| end.saturating_add(ctx.plan.info[*rule].close_after_ms);
        // Those of rules that gather wait until these are taken up; those of rules that are off, for
        // the state that comes after this one.
        let judged = self.timers.keys().filter(|(_, rule)| ctx.plan.judges(*rule));
        self.next_due = judged.map(due).min();
    }

    /// Has the next close look at all windows.
    pub(crate) fn look_again(&mut self) {
        self.next_due = self.timers.keys().next().map(|_| i64::MIN);
    }

    fn first_due(&self, at_end: bool, ctx: &Ctx<'_>) -> Option<(i64, usize)> {
        let ended = self.timers.range(..=(ctx.watermark, usize::MAX)).map(|(at, _)| *at);
        let mut ended = ended.filter(|(end, rule)| {
            let close_after = if at_end { 0 } else { ctx.plan.info[*rule].close_after_ms };
            ctx.plan.judges(*rule) && end.saturating_add(close_after) <= ctx.watermark
        });
        ended.next()
    }

    fn close_score(&mut self, rule: usize, id: u32, end: i64, at: &At<'_>, ctx: &mut Ctx<'_>) {
        let plan = ctx.plan;
        let Check::ZScore(check) = &plan.rule(rule).check else { return };
        if self.cells.ends_at(rule, id, plan) != Some(end) || self.is_unheard(rule, id, plan) {
            return;
        }
        self.keep_id(rule, id, plan);
        let Some(cell) = self.cells.at(rule, id, plan) else { return };
        let Body::ZScore(body) = &mut cell.body else { return };
        let span = body.next;
        let Closed { score, mut fires, stays } = close_next(body, check, plan);
        if fires {
            let length_ms = plan.rule(rule).cooldown_ms;
            let all = &mut self.cooldowns;
            let mut cooldown = Cooldown { all, rule, key: id, length_ms, now: span.end };
            if cooldown.holds_back(0) {
                ctx.counts.suppressed += 1;
                fires = false;
            } else {
                cooldown.start(1);
            }
        }
        let space = &self.cells.spaces[plan.info[rule].space];
        let score = score.filter(|_| fires).map(|score| (score, space.text(id).to_owned()));
        if stays {
            self.cells.shrink(rule, id, plan);
            self.close_on_time(rule, id, plan);
        } else {
            self.forget(rule, id, plan);
        }
        if let Some((score, key)) = score {
            let at = At { ts: span.end, seed: Seed::Closed(span.start), source: None, ..*at };
            self.score(rule, &key, check, &score, &at, ctx);
        }
    }

    fn close_silence(&mut self, rule: usize, id: u32, end: i64, at: &At<'_>, ctx: &mut Ctx<'_>) {
        let plan = ctx.plan;
        let view = View::of(&plan.rule(rule).check);
        let Some(levels) = view.levels else { return };
        let span = crate::engine::view::span(plan, view.window, end - 1);
        self.keep_id(rule, id, plan);
        let Some(cell) = self.cells.at(rule, id, plan) else { return };
        let Body::Calendar(body) = &mut cell.body else { return };
        let period = body.periods.iter().find(|period| period.start == span.start);
        let reading: Reading =
            Measured::Integer(period.map_or(0, |period| period.of.value())).into();
        body.periods.retain(|period| period.end() > span.end);
        let last_event = body.t;
        let length_ms = plan.rule(rule).cooldown_ms;
        let all = &mut self.cooldowns;
        let mut cooldown = Cooldown { all, rule, key: id, length_ms, now: span.end };
        let verdict = evaluate(levels, reading, &mut 0, true, &mut cooldown);
        let key = self.cells.spaces[plan.info[rule].space].text(id).to_owned();
        let long = span.end - span.start > SILENT_MS;
        let forgotten =
            if long { last_event < span.start } else { span.end - last_event >= SILENT_MS };
        if forgotten {
            self.forget(rule, id, plan);
        } else {
            let next = next_span(plan, view.window, span);
            self.schedule(next.end, rule, id, plan);
        }
        let at = At { ts: span.end, seed: Seed::Closed(span.start), source: None, ..*at };
        let window = window_span(plan, view.window, span);
        let of = Of { rule, id, key: &key };
        if plan.info[rule].resolves
            && levels.clear.is_some_and(|clear| !reading.value.breaches(levels.side, clear))
        {
            self.opens.judged(of, (reading.value, levels.side), (1, 0), span.end, ctx);
        }
        let judged = Judged { of, view: &view, reading, window, period: None };
        self.verdict(verdict, &judged, &at, ctx);
    }

    /// Judges the keys of the rules that alarm on silence in a rolling window, with T = the
    /// watermark: every key when that has `moved`, else those `seen`. May (rule, key) not fire,
    /// only a reversal touched it.
    pub(crate) fn silence(
        &mut self,
        at: &At<'_>,
        moved: bool,
        seen: &BTreeMap<(usize, u32), MayFire>,
        ctx: &mut Ctx<'_>,
    ) {
        let plan = ctx.plan;
        for &rule in &plan.silence {
            let view = View::of(&plan.rule(rule).check);
            let (Window::Duration(window_ms), Some(levels)) = (view.window, view.levels) else {
                continue;
            };
            let space = &self.cells.spaces[plan.info[rule].space];
            let mut keys = if moved {
                self.cells.keys_of(rule, plan)
            } else {
                seen.range((rule, 0)..=(rule, u32::MAX)).map(|((_, key), _)| *key).collect()
            };
            keys.sort_by(|a, b| space.text(*a).cmp(space.text(*b)));
            for id in keys {
                let now = ctx.watermark;
                self.keep_id(rule, id, plan);
                let Some(cell) = self.cells.at(rule, id, plan) else { continue };
                let Cell { fired, body: Body::Rolling(body), .. } = cell else { continue };
                let first = body.more.as_ref().map_or(body.t, |more| more.first);
                if now.saturating_sub(first) < window_ms {
                    continue;
                }
                body.of.advance(now, window_ms);
                let reading: Reading =
                    Measured::Integer(body.of.value(view.of, now, window_ms)).into();
                let length_ms = plan.rule(rule).cooldown_ms;
                let all = &mut self.cooldowns;
                let mut cooldown = Cooldown { all, rule, key: id, length_ms, now: at.ts };
                let may_fire = seen.get(&(rule, id)) != Some(&MayFire::No);
                let before = *fired;
                let verdict = evaluate(levels, reading, fired, may_fire, &mut cooldown);
                let after = *fired;
                let forgotten = now.saturating_sub(body.t) >= SILENT_MS.max(window_ms);
                let key = self.cells.spaces[plan.info[rule].space].text(id).to_owned();
                if forgotten {
                    self.forget(rule, id, plan);
                }
                let window = rolling_span(now, window_ms);
                let of = Of { rule, id, key: &key };
                let value = (reading.value, levels.side);
                self.opens.judged(of, value, (before, after), at.ts, ctx);
                let judged = Judged { of, view: &view, reading, window, period: None };
                self.verdict(verdict, &judged, at, ctx);
            }
        }
    }
}

/// What became of a key whose next window has closed.
#[derive(Debug)]
pub(crate) struct Closed {
    /// The window breaches.
    score: Option<Score>,
    fires: bool,
    /// The key is not forgotten.
    pub(crate) stays: bool,
}

/// Closes the next window of a key, and names the one after it.
pub(crate) fn close_next(body: &mut ZCell, check: &ZScore, plan: &Plan) -> Closed {
    let span = body.next;
    let (score, fires) = close_window(body, check, &plan.calendar, span);
    let forgotten = body.empties >= check.baseline.empties_max();
    let next = if forgotten {
        // The key begins again with the first window that has not closed, if there is one.
        (body.series, body.usual) = (Series::new(), None);
        (body.armed_above, body.armed_below, body.empties) = (true, true, 0);
        body.open.first().map(|open| open.span)
    } else {
        Some(next_span(plan, check.window, span))
    };
    body.next = next.unwrap_or(span);
    Closed { score, fires, stays: next.is_some() }
}

/// Closes one window of a series: its verdict by the windows before it, then its value, clipped
/// where it breaches, enters the baseline. Returns the breach, and whether it fires.
fn close_window(
    body: &mut ZCell,
    check: &ZScore,
    calendar: &Calendar,
    span: Span,
) -> (Option<Score>, bool) {
    let open = match body.open.first() {
        Some(open) if open.span == span => Some(body.open.remove(0)),
        _ => None,
    };
    let value = open.as_ref().map_or(0, |open| open.sum.value());
    let ran = open.as_ref().is_some_and(|open| open.fired);
    body.empties =
        if open.is_some_and(|open| open.events) { 0 } else { body.empties.saturating_add(1) };
    #[expect(clippy::cast_precision_loss, reason = "baselines are floats by contract")]
    let mut entering = value as f64;
    let stats = body.usual(calendar, check, span);
    body.usual = None;
    let Some((mean, sd)) = stats else {
        body.series.push(&check.baseline, entering);
        return (None, false);
    };
    if matches!(check.window, Window::Calendar(_)) {
        (body.armed_above, body.armed_below) = (true, true);
    }
    let z = zscore_of(value, mean, sd);
    let above = check.above.filter(|bound| z > *bound);
    let below = check.below.filter(|bound| z < *bound);
    let mut fires = false;
    if above.is_some() {
        fires = body.armed_above && !ran;
        body.armed_above = false;
    } else {
        body.armed_above = true;
    }
    if below.is_some() {
        fires |= body.armed_below;
        body.armed_below = false;
    } else {
        body.armed_below = true;
    }
    let bound = above.or(below);
    if bound.is_some() {
        entering = Series::clip(entering, (mean, sd), check.above, check.below);
    }
    body.series.push(&check.baseline, entering);
    let score = |bound| Score { value, z, mean, sd, bound, is_above: above.is_some(), span };
    (bound.map(score), fires)
}
