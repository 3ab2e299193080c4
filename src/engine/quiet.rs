//! The shortest way through: what most events bring adds to a counter that is there already and
//! stays far from its bounds. Such a contribution is counted here, exactly as
//! [`observe`](crate::engine::keyed::Keyed) would count it; anything else is left to it untouched.

use crate::engine::cell::{Body, Roll, Sum};
use crate::engine::keyed::{Contribution, Ctx, Keyed};
use crate::engine::plan::{Calm, Form, Quiet};
use crate::engine::rolling::{Entry, Join};
use crate::engine::space::Key;
use crate::rule::{Check, Measure, Window};

impl Quiet {
    /// `None` for rules of which each contribution has to be looked at.
    pub(crate) fn of(check: &Check, form: Form, calm: Option<Calm>, flows: bool) -> Option<Quiet> {
        let Check::Threshold { input, window, .. } = check else { return None };
        let Some(Calm::UpTo(most)) = calm.filter(|_| !flows) else { return None };
        let window_ms = match (form, window) {
            (Form::Calendar, Window::Calendar(_)) => 0,
            (Form::Rolling, Window::Duration(window_ms)) => *window_ms,
            _ => return None,
        };
        match (&input.measure, form) {
            (Measure::MaxPoints, _) | (Measure::Distinct(_), Form::Calendar) => None,
            (measure, _) => Some(Quiet { most, window_ms, counts: *measure == Measure::Count }),
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
        let Some(quiet) = info.quiet else { return false };
        if what.reversal || self.cells.capture.is_some() || self.peaks.is_some() {
            return false;
        }
        let space = &self.cells.spaces[info.space];
        let Some(id) = space.find(key) else { return false };
        // A key that comes again grows old.
        if space.is_young(id) {
            return false;
        }
        let place = space.place(id, info.column);
        let Some(cell) = self.cells.tables[rule].get_mut(place) else { return false };
        let ts = what.ts;
        let value = if quiet.counts { what.of.count } else { what.of.sum };
        match &mut cell.body {
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
                if cell.fired != 0 || ts <= since || emptied && !self.opens.is_empty() {
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
                        let entry = Entry { ts, value };
                        let saturated = points.insert(entry, Join::Add, info.step_ms, now);
                        ctx.counts.saturated += u64::from(saturated);
                        points.advance(now, quiet.window_ms);
                    }
                    Roll::Values(exact) => {
                        if !exact.takes(what.of.values.len(), quiet.most) {
                            return false;
                        }
                        for (hash, ts) in what.of.values.iter() {
                            let sketch = exact.insert(hash, ts);
                            debug_assert!(sketch.is_none(), "few values need none");
                        }
                        exact.expire(since);
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

#[cfg(test)]
mod tests;
