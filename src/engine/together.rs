//! What several events in a row bring to one counter of a key that has many, added in one go where
//! none of them comes near a bound: then it is what adding them one after the other comes to.
//!
//! All that they add is positive, so that no value on the way is beyond the last one, and all lies in
//! one period or window, so that nothing begins or ends on the way.

use crate::engine::cell::{Body, CalendarCell, Cell, Sum, ratio};
use crate::engine::firing::Measured;
use crate::engine::keyed::{Ctx, Keyed};
use crate::engine::plan::{Form, Plan, RuleInfo, Short};
use crate::engine::rolling::Entry;
use crate::engine::space::{Key, NONE};
use crate::rule::{Check, Side};

/// What events in a row bring to a rule and key.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Together {
    /// How many there are.
    pub(crate) events: u32,
    /// Event times of the first and the last.
    first: i64,
    last: i64,
    /// What they add on either side.
    of: i64,
    to: i64,
    /// One takes something away, or there is more than a sum holds.
    is_mixed: bool,
    /// It has been added.
    pub(crate) is_done: bool,
}

impl Together {
    /// One event more, not earlier than those before.
    #[inline]
    pub(crate) fn add(&mut self, ts: i64, (of, to): (i64, i64)) {
        if self.events == 0 {
            self.first = ts;
        }
        self.events += 1;
        self.last = ts;
        let sums = self.of.checked_add(of).zip(self.to.checked_add(to));
        self.is_mixed |= of < 0 || to < 0 || sums.is_none();
        (self.of, self.to) = sums.unwrap_or_default();
    }

    /// The last of them, as if it brought everything.
    fn one(&self) -> Entry {
        Entry { ts: self.last, value: self.of }
    }
}

impl RuleInfo {
    /// Whether what comes to one of its counters may be added in one go.
    pub(crate) fn takes_together(&self) -> bool {
        match self.quiet {
            Some(Short::Bound(_)) => self.form == Form::Calendar,
            Some(
                Short::Flow { .. }
                | Short::Silence { .. }
                | Short::Sides { .. }
                | Short::Score { .. },
            ) => true,
            None => false,
        }
    }
}

impl Keyed {
    /// Whether nothing is watched at each event, or told as it was.
    pub(crate) fn is_plain(&self) -> bool {
        self.cells.capture.is_none() && self.peaks.is_none()
    }

    /// Adds all of it; false, and nothing is done, where there may be more to it. No window of the rule
    /// closes before the watermark of `ctx`.
    pub(crate) fn add_together(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        all: &Together,
        ctx: &Ctx<'_>,
    ) -> bool {
        let plan = ctx.plan;
        let info = &plan.info[rule];
        let space = &self.cells.spaces[info.space];
        let (Some(id), Some(short)) = (space.find(key), info.quiet) else { return false };
        let place = space.place(id, info.column);
        if all.is_mixed || !self.is_plain() || place == NONE || space.is_young(id) {
            return false;
        }
        let at = (id, place);
        match short {
            Short::Bound(quiet) => self.cells.whole_at(rule, at, plan).is_some_and(|cell| {
                let body = only(cell, all);
                body.is_some_and(|(number, t)| add(number, t, all, |sum| sum <= quiet.most))
            }),
            Short::Flow { most, ahead, .. } => {
                let cell = self.cells.whole_at(rule, at, plan);
                let flow = self.flows.get_mut(rule, id);
                let (Some(cell), Some(flow)) = (cell, flow) else { return false };
                let Some((number, t)) = only(cell, all) else { return false };
                let now = (*t).max(all.last);
                add(number, t, all, |sum| {
                    let far = ahead.map(|far| (sum, far));
                    sum <= most
                        && flow.is_of(all.first)
                        && flow.add_far_from((all.last, all.of), now, far)
                })
            }
            Short::Silence { .. } => self.cells.whole_at(rule, at, plan).is_some_and(|cell| {
                let Body::Calendar(CalendarCell { periods, t }) = &mut cell.body else {
                    return false;
                };
                let period = periods
                    .iter_mut()
                    .find(|period| period.holds(all.first) && period.holds(all.last));
                let Some(Sum::Number(number)) = period.map(|period| &mut period.of) else {
                    return false;
                };
                add(number, t, all, |_| true)
            }),
            Short::Sides { .. } => self.add_sides_together(rule, at, all, plan),
            Short::Score { .. } => self.add_score_together((rule, place), all, ctx),
        }
    }

    fn add_sides_together(
        &mut self,
        rule: usize,
        at: (u32, u32),
        all: &Together,
        plan: &Plan,
    ) -> bool {
        let Check::Ratio { min_to, levels, .. } = &plan.rule(rule).check else { return false };
        let cell = self.cells.whole_at(rule, at, plan);
        let Some(Cell { body: Body::Calendar(body), .. }) = cell else { return false };
        let Some((period, t)) = body.only(all.first) else { return false };
        let holds_all = period.holds(all.last);
        let Sum::Sides(sides) = &mut period.of else { return false };
        let (Sum::Number(of), Sum::Number(to)) = &mut **sides else { return false };
        let sums = of.checked_add(all.of).zip(to.checked_add(all.to));
        let Some(sums) = sums.filter(|sums| holds_all && sums.0 >= 0 && levels.side == Side::Above)
        else {
            return false;
        };
        // None on the way has more above and less below.
        let breaches = |value: Measured| {
            levels.levels.iter().any(|level| value.breaches(levels.side, level.bound))
        };
        if ratio(sums.0, *to, *min_to).is_none_or(breaches) {
            return false;
        }
        (*of, *to, *t) = (sums.0, sums.1, (*t).max(all.last));
        true
    }

    fn add_score_together(
        &mut self,
        (rule, place): (usize, u32),
        all: &Together,
        ctx: &Ctx<'_>,
    ) -> bool {
        let Check::ZScore(check) = &ctx.plan.rule(rule).check else { return false };
        let over = ctx.watermark.saturating_sub(ctx.plan.info[rule].close_after_ms);
        let Some(Cell { body: Body::ZScore(body), .. }) = self.cells.tables[rule].get_mut(place)
        else {
            return false;
        };
        let holds_all = body.open.iter().any(|open| {
            let holds = |ts: i64| open.span.start <= ts && ts < open.span.end;
            holds(all.first) && holds(all.last)
        });
        holds_all && body.add_quietly(check, all.one(), over)
    }
}

/// The number of the only period, where all lies in it and no level has fired, and the time of the
/// latest event.
fn only<'a>(cell: &'a mut Cell, all: &Together) -> Option<(&'a mut i64, &'a mut i64)> {
    let Body::Calendar(body) = &mut cell.body else { return None };
    let (period, t) = body.only(all.first)?;
    match (period.holds(all.last), &mut period.of) {
        (true, Sum::Number(number)) => Some((number, t)),
        _ => None,
    }
}

/// Adds to a number where what it comes to is quiet.
fn add(number: &mut i64, t: &mut i64, all: &Together, quiet: impl FnOnce(i64) -> bool) -> bool {
    let Some(sum) = number.checked_add(all.of) else { return false };
    if !quiet(sum) {
        return false;
    }
    (*number, *t) = (sum, (*t).max(all.last));
    true
}
