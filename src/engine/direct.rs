//! The straightest way of all: one number for one counter that stands there already, in the order of
//! events. It is the [short way](crate::engine::quiet) without what only some rules and events need;
//! what it does not take, it leaves untouched for that.

use crate::engine::cell::{Body, Cell, Roll, RollingCell};
use crate::engine::keyed::{Ctx, Keyed};
use crate::engine::plan::{Plan, Quiet, Short};
use crate::engine::rolling::{Entry, Rolling};
use crate::engine::rows::{At, Spot};
use crate::engine::space::{Key, NONE};
use crate::engine::table::Cells;
use crate::engine::tally::NOTHING;
use crate::rule::{Check, ZScore};

impl Keyed {
    /// Adds a number to the counter of a rule and key; false, and nothing is done, where there may
    /// be more to it. A new counter is begun.
    pub(crate) fn add_number(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        one: Entry,
        ctx: &Ctx<'_>,
    ) -> bool {
        let info = &ctx.plan.info[rule];
        let Some(short) = &info.quiet else { return false };
        if !self.is_plain() {
            return false;
        }
        let has_open = !self.opens.is_empty();
        let space = &mut self.cells.spaces[info.space];
        let id = space.find(key).unwrap_or(NONE);
        let at = space.seek(id, info.column);
        let is_done = match (short, at) {
            (Short::Bound(quiet), _) if quiet.values => false,
            (Short::Bound(quiet), At::Nowhere) => {
                return self.begin_quietly(rule, key, *quiet, (one, &NOTHING), ctx);
            }
            (Short::Bound(quiet), At::Small(spot)) => {
                self.cells.add_within((rule, spot), one, quiet.most, ctx.plan)
            }
            (Short::Bound(quiet), At::Whole(place)) => {
                let cell = self.cells.tables[rule].get_mut(place);
                cell.is_some_and(|cell| cell.slide(quiet, one, has_open))
            }
            (Short::Score { .. }, At::Habit(spot)) => match &ctx.plan.rule(rule).check {
                Check::ZScore(check) => {
                    let over = ctx.watermark.saturating_sub(info.close_after_ms);
                    self.cells.add_habit((rule, spot), (check, over), one, ctx.plan)
                }
                _ => false,
            },
            _ => false,
        };
        if is_done {
            self.cells.comes_again(info.space, id);
        }
        is_done
    }
}

impl Cells {
    /// Adds to the number of a small counter of a period that holds the time, up to `most`; false, and
    /// nothing is done, where there is more to it.
    #[inline]
    pub(crate) fn add_within(
        &mut self,
        (rule, spot): (usize, Spot),
        one: Entry,
        most: i64,
        plan: &Plan,
    ) -> bool {
        let space = &mut self.spaces[plan.info[rule].space];
        let sizes = &self.tables[rule].small.sizes;
        space.change_small(spot, |small| sizes.add_within(small, one, most))
    }

    /// Adds to the open window of a small counter what brings it to no verdict; false, and nothing is
    /// done, where there may be more to it. `over`: what ended by then is closed.
    #[inline]
    pub(crate) fn add_habit(
        &mut self,
        (rule, spot): (usize, Spot),
        (check, over): (&ZScore, i64),
        one: Entry,
        plan: &Plan,
    ) -> bool {
        let space = &mut self.spaces[plan.info[rule].space];
        let periods = &self.tables[rule].small.periods;
        space.change_habit(spot, |habit| habit.add(periods, check, one, over))
    }
}

impl Cell {
    /// Adds a number to a rolling window of few entries, of which none is later.
    #[inline]
    fn slide(&mut self, quiet: &Quiet, one: Entry, has_open: bool) -> bool {
        let Cell { fired: 0, body: Body::Rolling(body), .. } = self else { return false };
        let RollingCell { t, of: Roll::Points(Rolling::Tight(tight)), .. } = body else {
            return false;
        };
        let since = one.ts.saturating_sub(quiet.window_ms);
        // Of a window that has emptied some firing may be over.
        if one.ts < *t || *t <= since && has_open || !tight.slide(one, since, quiet.most) {
            return false;
        }
        *t = one.ts;
        true
    }
}
