//! The shortest way through: what most events bring adds to a counter that is there already and
//! stays far from its bounds. Such a contribution is counted here, exactly as
//! [`observe`](crate::engine::keyed::Keyed) would count it; anything else is left to it untouched.

use crate::engine::Counts;
use crate::engine::calendar::Span;
use crate::engine::cell::{Body, CalendarCell, Cell, PeriodCell, Roll, Sum, ZCell, ratio};
use crate::engine::firing::Measured;
use crate::engine::keyed::{Contribution, Ctx, Keyed};
use crate::engine::plan::{Calm, Form, Plan, Quiet, Short};
use crate::engine::rolling::{Entry, Join};
use crate::engine::rows::{At, Held};
use crate::engine::score::{exceeds, running_bound};
use crate::engine::small::Little;
use crate::engine::space::{Key, NONE};
use crate::engine::table::{Cells, First};
use crate::engine::tally::Added;
use crate::engine::view::span;
use crate::rule::{Check, Levels, Measure, Method, Number, Side, Window, ZScore};

use values::first_values;

mod values;

impl Short {
    /// `None` for rules of which each contribution has to be looked at.
    pub(crate) fn of(check: &Check, form: Form, calm: Option<Calm>, flows: bool) -> Option<Short> {
        match check {
            Check::ZScore(check) => Some(Short::Score { counts: counts(&check.input.measure)? }),
            Check::Ratio { of, to, .. } if form == Form::Calendar => {
                Some(Short::Sides { count: [counts(&of.measure)?, counts(&to.measure)?] })
            }
            Check::Match { .. } | Check::Ratio { .. } => None,
            Check::Threshold { input, .. } if form == Form::CalendarBelow => {
                Some(Short::Silence { counts: counts(&input.measure)? })
            }
            Check::Threshold { input, levels, .. } if flows => {
                Short::of_flow(levels, counts(&input.measure)?)
            }
            Check::Threshold { input, window, .. } => {
                Short::of_bound(&input.measure, (form, *window), calm)
            }
        }
    }

    fn of_bound(
        measure: &Measure,
        (form, window): (Form, Window),
        calm: Option<Calm>,
    ) -> Option<Short> {
        let Some(Calm::UpTo(most)) = calm else { return None };
        let window_ms = match (form, window) {
            (Form::Calendar, Window::Calendar(_)) => 0,
            (Form::Rolling, Window::Duration(window_ms)) => window_ms,
            _ => return None,
        };
        match (measure, form) {
            (Measure::MaxPoints, _) | (Measure::Distinct(_), Form::Calendar) => None,
            _ => Some(Short::Bound(Quiet {
                most,
                window_ms,
                counts: *measure == Measure::Count,
                values: matches!(measure, Measure::Distinct(_)),
            })),
        }
    }

    fn of_flow(levels: &Levels, counts: bool) -> Option<Short> {
        let (mut most, mut ahead) = (i64::MAX, None);
        for level in &levels.levels {
            let Number::Integer(bound) = level.bound else { return None };
            most = most.min(bound);
            if let Some(within_ms) = level.forecast_ms {
                let (least, longest) = ahead.unwrap_or((bound, within_ms));
                ahead = Some((least.min(bound), longest.max(within_ms)));
            }
        }
        Some(Short::Flow { most, ahead, counts })
    }
}

/// Whether a measure is the number of events; `None` for one that is neither that nor of points.
fn counts(measure: &Measure) -> Option<bool> {
    match measure {
        Measure::Count => Some(true),
        Measure::SumPoints => Some(false),
        Measure::MaxPoints | Measure::Distinct(_) => None,
    }
}

impl Keyed {
    /// Counts a contribution that brings a counter nowhere near a bound; false, and nothing is
    /// done, where there may be more to it.
    #[inline]
    pub(crate) fn quietly(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        what: &Contribution<'_>,
        ctx: &mut Ctx<'_>,
    ) -> bool {
        let info = &ctx.plan.info[rule];
        let Some(short) = info.quiet else { return false };
        if what.reversal || !self.is_plain() {
            return false;
        }
        let space = &mut self.cells.spaces[info.space];
        let id = space.find(key).unwrap_or(NONE);
        let at = space.seek(id, info.column);
        if at == At::Nowhere {
            return match short {
                Short::Bound(quiet) => {
                    let one = what.one(quiet.counts);
                    self.begin_quietly(rule, key, quiet, (one, what.of), ctx)
                }
                _ => false,
            };
        }
        let cell = (rule, id, at);
        let is_done = match short {
            Short::Bound(quiet) => self.add_bound(cell, (quiet, what.one(quiet.counts)), what, ctx),
            Short::Flow { most, ahead, counts } => {
                self.add_flow(cell, (most, ahead), what.one(counts), ctx.plan)
            }
            Short::Silence { counts } => self.add_silence(cell, what.one(counts), ctx.plan),
            Short::Sides { count } => self.add_sides(cell, count, (what, false), ctx.plan),
            Short::Score { counts } => self.add_score((rule, at), what.one(counts), ctx),
        };
        if is_done {
            self.cells.comes_again(info.space, id);
        }
        is_done
    }

    /// Adds to the counter of a threshold.
    #[inline]
    fn add_bound(
        &mut self,
        (rule, id, at): (usize, u32, At),
        (quiet, one): (Quiet, Entry),
        what: &Contribution<'_>,
        ctx: &mut Ctx<'_>,
    ) -> bool {
        match self.add_small((rule, id, at), (quiet, one, what.of), ctx) {
            Some(Took::It) => true,
            Some(Took::Nothing) => false,
            None => {
                let Some(cell) = self.cells.whole_at(rule, (id, at), ctx.plan) else {
                    return false;
                };
                let is_open = !self.opens.is_empty();
                let step_ms = ctx.plan.info[rule].step_ms;
                cell.add_quietly((quiet, step_ms), (what, one.value), is_open, ctx.counts)
            }
        }
    }

    /// Adds to the counter of a cap whose flow is kept.
    pub(crate) fn add_flow(
        &mut self,
        (rule, id, at): (usize, u32, At),
        (most, ahead): (i64, Option<(i64, i64)>),
        one: Entry,
        plan: &Plan,
    ) -> bool {
        let body = self.cells.calendar_at(rule, (id, at), plan);
        let Some((period, t)) = body.and_then(|body| body.only(one.ts)) else { return false };
        let Sum::Number(number) = &mut period.of else { return false };
        let sum = number.checked_add(one.value).filter(|sum| *sum <= most);
        let (Some(sum), Some(flow)) = (sum, self.flows.get_mut(rule, id)) else { return false };
        let now = (*t).max(one.ts);
        if !flow.add_far_from((one.ts, one.value), now, ahead.map(|far| (sum, far))) {
            return false;
        }
        (*number, *t) = (sum, now);
        true
    }

    /// Adds to the counter of a period that is judged when it is over.
    pub(crate) fn add_silence(
        &mut self,
        (rule, id, at): (usize, u32, At),
        one: Entry,
        plan: &Plan,
    ) -> bool {
        let body = self.cells.calendar_at(rule, (id, at), plan);
        let Some(CalendarCell { periods, t }) = body else { return false };
        let period = periods.iter_mut().find(|period| period.holds(one.ts));
        let Some(Sum::Number(number)) = period.map(|period| &mut period.of) else { return false };
        let Some(sum) = number.checked_add(one.value) else { return false };
        (*number, *t) = (sum, (*t).max(one.ts));
        true
    }

    /// Whether nothing looks at each contribution, or has to be told what was there before it.
    pub(crate) fn is_plain(&self) -> bool {
        self.cells.capture.is_none() && self.peaks.is_none()
    }

    /// Adds to both sides of a ratio what one event brings, or what several do `together`.
    pub(crate) fn add_sides(
        &mut self,
        (rule, id, at): (usize, u32, At),
        count: [bool; 2],
        (what, together): (&Contribution<'_>, bool),
        plan: &Plan,
    ) -> bool {
        let Check::Ratio { min_to, levels, .. } = &plan.rule(rule).check else { return false };
        let body = self.cells.calendar_at(rule, (id, at), plan);
        let Some((period, t)) = body.and_then(|body| body.only(what.ts)) else { return false };
        let Sum::Sides(sides) = &mut period.of else { return false };
        let (Sum::Number(of), Sum::Number(to)) = &mut **sides else { return false };
        let add = |to: i64, added: &Added<'_>, counts: bool| {
            to.checked_add(if counts { added.count } else { added.sum })
        };
        let sums = add(*of, what.of, count[0]).zip(add(*to, what.to, count[1]));
        let Some(sums) = sums else { return false };
        let is_calm = |value: Measured| {
            !levels.levels.iter().any(|level| value.breaches(levels.side, level.bound))
        };
        let stays = if together {
            // Whatever their order, none on the way has more above and less below.
            let worst = ratio(sums.0, *to, *min_to);
            levels.side == Side::Above && sums.0 >= 0 && worst.is_some_and(is_calm)
        } else {
            ratio(sums.0, sums.1, *min_to).is_none_or(is_calm)
        };
        if !stays {
            return false;
        }
        (*of, *to, *t) = (sums.0, sums.1, (*t).max(what.ts));
        true
    }

    /// Adds to the open window of a z-score.
    #[inline]
    pub(crate) fn add_score(&mut self, (rule, at): (usize, At), one: Entry, ctx: &Ctx<'_>) -> bool {
        let Check::ZScore(check) = &ctx.plan.rule(rule).check else { return false };
        let over = ctx.watermark.saturating_sub(ctx.plan.info[rule].close_after_ms);
        match at {
            At::Habit(spot) => self.cells.add_habit((rule, spot), (check, over), one, ctx.plan),
            At::Whole(place) => {
                let cell = self.cells.tables[rule].get_mut(place);
                match cell.map(|cell| &mut cell.body) {
                    Some(Body::ZScore(body)) => body.add_quietly(check, one, over),
                    _ => false,
                }
            }
            At::Small(_) | At::Value(_) | At::Nowhere => false,
        }
    }

    /// The first that a key brings to a rule.
    pub(crate) fn begin_quietly(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        quiet: Quiet,
        (one, of): (Entry, &Added<'_>),
        ctx: &Ctx<'_>,
    ) -> bool {
        let plan = ctx.plan;
        let info = &plan.info[rule];
        let is_known = self.cells.spaces[info.space].find(key).is_some();
        if !self.opens.is_empty() || !is_known && !self.cells.has_room(info.space, plan) {
            return false;
        }
        let ts = one.ts;
        let (first, end) = match info.window {
            Window::Duration(window_ms) if quiet.values => {
                let Some(first) = first_values(of, ts, quiet) else { return false };
                (first, ts.saturating_add(window_ms))
            }
            _ if one.value > quiet.most => return false,
            Window::Duration(window_ms) if info.form == Form::Rolling => {
                (First::Little(Little::Rolling(one)), ts.saturating_add(window_ms))
            }
            window => {
                let span = span(plan, window, ts);
                (First::Little(Little::Calendar { span, number: one.value, t: ts }), span.end)
            }
        };
        self.cells.begin(rule, key, (first, end), plan);
        true
    }

    /// Adds to a small counter; `None`, and nothing is done, for one that is whole or has to be.
    #[inline]
    fn add_small(
        &mut self,
        (rule, id, at): (usize, u32, At),
        (quiet, one, of): (Quiet, Entry, &Added<'_>),
        ctx: &Ctx<'_>,
    ) -> Option<Took> {
        let At::Small(spot) = at else { return None };
        if self.cells.add_within((rule, spot), one, quiet.most, ctx.plan) {
            return Some(Took::It);
        }
        let space = &mut self.cells.spaces[ctx.plan.info[rule].space];
        let sizes = &mut self.cells.tables[rule].small.sizes;
        let mut small = space.small(spot)?;
        let little = match sizes.unpack(&small)? {
            Little::Calendar { span, number, t } if span.start <= one.ts && one.ts < span.end => {
                let number = number.checked_add(one.value)?;
                if number > quiet.most {
                    return Some(Took::Nothing);
                }
                Little::Calendar { span, number, t: t.max(one.ts) }
            }
            Little::Calendar { span: before, t, .. } => {
                // Another period: small if nobody needs the one before any more.
                let plan = ctx.plan;
                let over = before.end.saturating_add(plan.settings.allowed_lateness_ms);
                if over > ctx.watermark || one.value > quiet.most || !self.opens.is_empty() {
                    return Some(Took::Nothing);
                }
                let span = span(plan, plan.info[rule].window, one.ts);
                Little::Calendar { span, number: one.value, t: t.max(one.ts) }
            }
            Little::Rolling(Entry { ts: t, .. }) => {
                let emptied = one.ts.saturating_sub(t) >= quiet.window_ms;
                if !emptied {
                    return None;
                }
                if one.value > quiet.most || !self.opens.is_empty() {
                    return Some(Took::Nothing);
                }
                Little::Rolling(one)
            }
            Little::Value { hash, ts: t } => {
                let emptied = one.ts.saturating_sub(t) >= quiet.window_ms;
                let value = of.only(one.ts).filter(|value| *value == hash || emptied)?;
                let is_late = t.saturating_sub(one.ts) >= quiet.window_ms;
                if quiet.most < 1 || is_late || emptied && !self.opens.is_empty() {
                    return Some(Took::Nothing);
                }
                Little::Value { hash: value, ts: t.max(one.ts) }
            }
        };
        let was_odd = small.is_odd;
        if !sizes.repack(&mut small, little) {
            return None;
        }
        if small.is_odd == was_odd {
            space.set_small(spot, small);
        } else {
            space.set(id, ctx.plan.info[rule].column, Held::Small(small));
        }
        Some(Took::It)
    }
}

/// What a small counter took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Took {
    It,
    /// There may be more to it.
    Nothing,
}

impl Cell {
    /// Adds to a whole counter; false, and nothing is done, where there may be more to it.
    #[inline]
    pub(crate) fn add_quietly(
        &mut self,
        (quiet, step_ms): (Quiet, i64),
        (what, value): (&Contribution<'_>, i64),
        is_open: bool,
        counts: &mut Counts,
    ) -> bool {
        let ts = what.ts;
        match &mut self.body {
            Body::Calendar(body) => {
                let Some((period, t)) = body.only(ts) else { return false };
                let Sum::Number(number) = &mut period.of else { return false };
                let sum = number.checked_add(value).filter(|sum| *sum <= quiet.most);
                let Some(sum) = sum else { return false };
                (*number, *t) = (sum, (*t).max(ts));
                true
            }
            Body::Rolling(body) => {
                let now = body.t.max(ts);
                let since = now.saturating_sub(quiet.window_ms);
                // Of a window that has emptied some firing may be over.
                let emptied = ts.saturating_sub(body.t) >= quiet.window_ms;
                if self.fired != 0 || ts <= since || emptied && is_open {
                    return false;
                }
                match &mut body.of {
                    Roll::Points(points) => {
                        let sum = points
                            .would_sum(since, (ts, now))
                            .and_then(|sum| sum.checked_add(value));
                        if sum.is_none_or(|sum| sum > quiet.most) {
                            return false;
                        }
                        let saturated = points.insert(Entry { ts, value }, Join::Add, step_ms, now);
                        counts.saturated += u64::from(saturated);
                        points.advance(now, quiet.window_ms);
                    }
                    Roll::Values(exact) => {
                        if !exact.add_quietly(what.of, quiet.most, since) {
                            return false;
                        }
                    }
                    Roll::Sketch(_) => return false,
                }
                body.t = now;
                true
            }
            Body::Match | Body::ZScore(_) => false,
        }
    }
}

impl Contribution<'_> {
    /// What it brings to the side of a single measure: the number of events, or points.
    #[inline]
    pub(crate) fn one(&self, counts: bool) -> Entry {
        Entry { ts: self.ts, value: if counts { self.of.count } else { self.of.sum } }
    }
}

impl Cells {
    /// A counter of a calendar window, made whole.
    fn calendar_at(
        &mut self,
        rule: usize,
        at: (u32, At),
        plan: &Plan,
    ) -> Option<&mut CalendarCell> {
        match &mut self.whole_at(rule, at, plan)?.body {
            Body::Calendar(body) => Some(body),
            _ => None,
        }
    }
}

impl CalendarCell {
    /// The period of an instant, where it is the only one and no level has fired in it, and the time of
    /// the latest event.
    fn only(&mut self, ts: i64) -> Option<(&mut PeriodCell, &mut i64)> {
        match self.periods.as_mut_slice() {
            [period] if period.fired == 0 && period.holds(ts) => Some((period, &mut self.t)),
            _ => None,
        }
    }
}

impl ZCell {
    /// Adds to the open window what brings it to no verdict; false, and nothing is done, where there
    /// may be more to it. `over`: what ended by then is closed.
    fn add_quietly(&mut self, check: &ZScore, one: Entry, over: i64) -> bool {
        let ZCell { series, next, open, armed_above, usual, .. } = self;
        let holds = |span: &Span| span.start <= one.ts && one.ts < span.end && span.end > over;
        let open = open.iter_mut().find(|open| holds(&open.span));
        let Some(open) = open.filter(|open| open.span.start >= next.start) else { return false };
        let Sum::Number(number) = &mut open.sum else { return false };
        let Some(value) = number.checked_add(one.value) else { return false };
        if value < 0 && *number >= 0 {
            return false;
        }
        if let Some(above) = running_bound(check, open.fired, *armed_above) {
            let baseline = check.baseline;
            let stats = match (baseline.method, usual) {
                (Method::Seasonal(_), Some(known)) if known.is(&open.span, &baseline) => {
                    known.stats
                }
                (Method::Seasonal(_), _) => return false,
                _ => series.stats(&baseline),
            };
            if stats.is_some_and(|stats| exceeds(value, stats, above)) {
                return false;
            }
        }
        *number = value;
        true
    }
}

#[cfg(test)]
pub(crate) mod tests;
