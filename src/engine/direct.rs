//! The straightest way of all: one number for one counter that stands there already, in the order of
//! events. It is the [short way](crate::engine::quiet) without what only some rules and events need;
//! what it does not take, it leaves untouched for that.

use crate::engine::cell::{Body, Cell, Roll, RollingCell};
use crate::engine::keyed::{Ctx, Keyed};
use crate::engine::plan::{Quiet, Short};
use crate::engine::rolling::{Entry, Rolling};
use crate::engine::space::{Key, NONE};
use crate::engine::tally::NOTHING;
use crate::rule::Check;

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
        let space = &self.cells.spaces[info.space];
        let id = space.find(key).unwrap_or(NONE);
        let place = if id == NONE { NONE } else { space.place(id, info.column) };
        let table = &mut self.cells.tables[rule];
        let is_done = match short {
            Short::Bound(quiet) if quiet.values => false,
            Short::Bound(quiet) if place == NONE => {
                return self.begin_quietly(rule, key, *quiet, (one, &NOTHING), ctx);
            }
            Short::Bound(quiet) => {
                if let Some((small, sizes)) = table.small_mut(place) {
                    sizes.add_within(small, one, quiet.most)
                } else {
                    let cell = table.get_mut(place);
                    cell.is_some_and(|cell| cell.slide(quiet, one, has_open))
                }
            }
            Short::Score { .. } => {
                let over = ctx.watermark.saturating_sub(info.close_after_ms);
                match (&ctx.plan.rule(rule).check, table.habit_mut(place)) {
                    (Check::ZScore(check), Some((habit, periods))) => {
                        habit.add(periods, check, one, over)
                    }
                    _ => false,
                }
            }
            Short::Flow { .. } | Short::Silence { .. } | Short::Sides { .. } => false,
        };
        if is_done {
            // A key that comes again grows old.
            let cells = &mut self.cells;
            cells.young.grows_old(&mut cells.spaces[info.space], id);
        }
        is_done
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
