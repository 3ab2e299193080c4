//! The shortest way through: what most events bring adds to a counter that is there already and
//! stays far from its bounds. Such a contribution is counted here, exactly as
//! [`observe`](crate::engine::keyed::Keyed) would count it; anything else is left to it untouched.

use crate::engine::Counts;
use crate::engine::cell::{Body, Cell, Roll, RollingCell, Sum};
use crate::engine::distinct::Exact;
use crate::engine::keyed::{Contribution, Ctx, Keyed};
use crate::engine::plan::{Calm, Form, Quiet, Short};
use crate::engine::rolling::{Entry, Join};
use crate::engine::small::Little;
use crate::engine::space::{Key, NONE};
use crate::engine::table::First;
use crate::engine::tally::Added;
use crate::engine::view::span;
use crate::rule::{Check, Measure, Window};

impl Short {
    /// `None` for rules of which each contribution has to be looked at.
    pub(crate) fn of(check: &Check, form: Form, calm: Option<Calm>, flows: bool) -> Option<Short> {
        if let Check::ZScore(check) = check {
            return match check.input.measure {
                Measure::Count => Some(Short::Habit { counts: true }),
                Measure::SumPoints => Some(Short::Habit { counts: false }),
                Measure::MaxPoints | Measure::Distinct(_) => None,
            };
        }
        let Check::Threshold { input, window, .. } = check else { return None };
        let Some(Calm::UpTo(most)) = calm.filter(|_| !flows) else { return None };
        let window_ms = match (form, window) {
            (Form::Calendar, Window::Calendar(_)) => 0,
            (Form::Rolling, Window::Duration(window_ms)) => *window_ms,
            _ => return None,
        };
        match (&input.measure, form) {
            (Measure::MaxPoints, _) | (Measure::Distinct(_), Form::Calendar) => None,
            (measure, _) => Some(Short::Bound(Quiet {
                most,
                window_ms,
                counts: *measure == Measure::Count,
                values: matches!(measure, Measure::Distinct(_)),
            })),
        }
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
        if what.reversal || self.cells.capture.is_some() || self.peaks.is_some() {
            return false;
        }
        let (Short::Bound(Quiet { counts, .. }) | Short::Habit { counts }) = short;
        let value = if counts { what.of.count } else { what.of.sum };
        let one = Entry { ts: what.ts, value };
        let space = &self.cells.spaces[info.space];
        let id = space.find(key);
        let place = id.map_or(NONE, |id| space.place(id, info.column));
        let id = id.filter(|_| self.cells.tables[rule].has(place));
        let is_done = match (short, id) {
            (Short::Bound(quiet), None) => {
                return self.begin_quietly(rule, key, (quiet, one, what.of), ctx);
            }
            (Short::Bound(quiet), Some(id)) => {
                self.add_bound((rule, id, place), (quiet, one), what, ctx)
            }
            (Short::Habit { .. }, _) => self.add_habit((rule, place), one, ctx),
        };
        if let Some(id) = id.filter(|_| is_done) {
            // A key that comes again grows old.
            let cells = &mut self.cells;
            cells.young.grows_old(&mut cells.spaces[info.space], id);
        }
        is_done
    }

    /// Adds to the counter of a threshold.
    #[inline]
    fn add_bound(
        &mut self,
        (rule, id, place): (usize, u32, u32),
        (quiet, one): (Quiet, Entry),
        what: &Contribution<'_>,
        ctx: &mut Ctx<'_>,
    ) -> bool {
        match self.add_small((rule, place), (quiet, one, what.of), ctx) {
            Some(Took::It) => true,
            Some(Took::Nothing) => false,
            None => {
                let Some(cell) = self.cells.whole_at(rule, (id, place), ctx.plan) else {
                    return false;
                };
                let is_open = !self.opens.is_empty();
                let step_ms = ctx.plan.info[rule].step_ms;
                cell.add_quietly((quiet, step_ms), (what, one.value), is_open, ctx.counts)
            }
        }
    }

    /// Adds to the counter of a z-score, if it is a small one.
    #[inline]
    fn add_habit(&mut self, (rule, place): (usize, u32), one: Entry, ctx: &Ctx<'_>) -> bool {
        let Check::ZScore(check) = &ctx.plan.rule(rule).check else { return false };
        let over = ctx.watermark.saturating_sub(ctx.plan.info[rule].close_after_ms);
        let habit = self.cells.tables[rule].habit_mut(place);
        habit.is_some_and(|(habit, periods)| habit.add(periods, check, one, over))
    }

    /// The first that a key brings to a rule.
    fn begin_quietly(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        (quiet, one, of): (Quiet, Entry, &Added<'_>),
        ctx: &Ctx<'_>,
    ) -> bool {
        let plan = ctx.plan;
        let info = &plan.info[rule];
        let most = plan.settings.max_keys.unwrap_or(usize::MAX);
        let is_known = self.cells.spaces[info.space].find(key).is_some();
        if !self.opens.is_empty() || !is_known && self.cells.keys() >= most {
            return false;
        }
        let ts = one.ts;
        let (first, end) = match info.window {
            Window::Duration(window_ms) if quiet.values => {
                let mut exact = Exact::default();
                if !exact.add_quietly(of, quiet.most, ts.saturating_sub(window_ms)) {
                    return false;
                }
                let body = RollingCell { t: ts, of: Roll::Values(exact), more: None };
                (First::Body(Body::Rolling(body)), ts.saturating_add(window_ms))
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
        (rule, place): (usize, u32),
        (quiet, one, of): (Quiet, Entry, &Added<'_>),
        ctx: &Ctx<'_>,
    ) -> Option<Took> {
        let (small, sizes) = self.cells.tables[rule].small_mut(place)?;
        let little = match sizes.unpack(small)? {
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
                let value = only(of, one.ts).filter(|value| *value == hash || emptied)?;
                let is_late = t.saturating_sub(one.ts) >= quiet.window_ms;
                if quiet.most < 1 || is_late || emptied && !self.opens.is_empty() {
                    return Some(Took::Nothing);
                }
                Little::Value { hash: value, ts: t.max(one.ts) }
            }
        };
        sizes.repack(small, little).then_some(Took::It)
    }
}

/// The distinct value that is added, where that is one, of this event time.
fn only(of: &Added<'_>, ts: i64) -> Option<u64> {
    let (hash, of_value) = of.values.iter().next()?;
    (of.values.len() == 1 && of_value == ts).then_some(hash)
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
    fn add_quietly(
        &mut self,
        (quiet, step_ms): (Quiet, i64),
        (what, value): (&Contribution<'_>, i64),
        is_open: bool,
        counts: &mut Counts,
    ) -> bool {
        let ts = what.ts;
        match &mut self.body {
            Body::Calendar(body) => {
                let [period] = body.periods.as_mut_slice() else { return false };
                let fits = period.fired == 0 && period.holds(ts);
                let Sum::Number(number) = &mut period.of else { return false };
                let sum = number.checked_add(value).filter(|sum| *sum <= quiet.most);
                let (true, Some(sum)) = (fits, sum) else {
                    return false;
                };
                *number = sum;
                body.t = body.t.max(ts);
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

impl Exact {
    /// Adds values, and forgets those not later than `since`; false, and nothing is done, where they
    /// could become more than `most`.
    #[inline]
    fn add_quietly(&mut self, of: &Added<'_>, most: i64, since: i64) -> bool {
        if !self.takes(of.values.len(), most) {
            return false;
        }
        for (hash, ts) in of.values.iter() {
            let sketch = self.insert(hash, ts);
            debug_assert!(sketch.is_none(), "few values need none");
        }
        self.expire(since);
        true
    }
}

#[cfg(test)]
pub(crate) mod tests;
