//! Distinct values, by the short way.

use crate::engine::cell::{Body, Cell, Roll, RollingCell};
use crate::engine::distinct::Exact;
use crate::engine::keyed::{Ctx, Keyed};
use crate::engine::plan::{Quiet, Short};
use crate::engine::rolling::Entry;
use crate::engine::rows::At;
use crate::engine::small::Little;
use crate::engine::space::{Key, NONE};
use crate::engine::table::First;
use crate::engine::tally::{Added, NOTHING, Values};

impl Keyed {
    /// Adds one distinct value to the counter of a rule and key; false, and nothing is done, where
    /// there may be more to it. A new counter is begun.
    pub(crate) fn add_value(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        (hash, ts): (u64, i64),
        ctx: &Ctx<'_>,
    ) -> bool {
        let info = &ctx.plan.info[rule];
        let Some(Short::Bound(quiet)) = info.quiet else { return false };
        if !quiet.values || quiet.most < 1 || !self.is_plain() {
            return false;
        }
        let has_open = !self.opens.is_empty();
        let space = &mut self.cells.spaces[info.space];
        let id = space.find(key).unwrap_or(NONE);
        let is_done = match space.seek(id, info.column) {
            At::Nowhere => {
                let of = &Added { values: Values::Pairs(&[(hash, ts)]), ..NOTHING };
                return self.begin_quietly(rule, key, quiet, (Entry { ts, value: 0 }, of), ctx);
            }
            At::Small(spot) => {
                let sizes = &self.cells.tables[rule].small.sizes;
                space
                    .change_small(spot, |small| sizes.see_again(small, (hash, ts), quiet.window_ms))
            }
            At::Whole(place) => {
                let cell = self.cells.tables[rule].get_mut(place);
                cell.is_some_and(|cell| cell.see(quiet, (hash, ts), has_open))
            }
            At::Habit(_) | At::Value(_) => false,
        };
        if is_done {
            self.cells.comes_again(info.space, id);
        }
        is_done
    }
}

impl Cell {
    /// Adds a value to a rolling window of few of them.
    #[inline]
    fn see(&mut self, quiet: Quiet, (hash, ts): (u64, i64), has_open: bool) -> bool {
        let Cell { fired: 0, body: Body::Rolling(body), .. } = self else { return false };
        let RollingCell { t, of: Roll::Values(exact), .. } = body else { return false };
        let now = (*t).max(ts);
        let since = now.saturating_sub(quiet.window_ms);
        // Of a window that has emptied some firing may be over.
        let emptied = ts.saturating_sub(*t) >= quiet.window_ms;
        let of = &Added { values: Values::Pairs(&[(hash, ts)]), ..NOTHING };
        if ts <= since || emptied && has_open || !exact.add_quietly(of, quiet.most, since) {
            return false;
        }
        *t = now;
        true
    }
}

/// The counter of the first distinct values that a key brings; `None` where they may be too many to
/// stay far from a bound.
pub(super) fn first_values(of: &Added<'_>, ts: i64, quiet: Quiet) -> Option<First> {
    if let Some(hash) = of.only(ts).filter(|_| quiet.most > 0) {
        return Some(First::Little(Little::Value { hash, ts }));
    }
    let mut exact = Exact::default();
    if !exact.add_quietly(of, quiet.most, ts.saturating_sub(quiet.window_ms)) {
        return None;
    }
    let body = RollingCell { t: ts, of: Roll::Values(exact), more: None };
    Some(First::Body(Body::Rolling(body)))
}

impl Exact {
    /// Adds values, and forgets those not later than `since`; false, and nothing is done, where they
    /// could become more than `most`.
    #[inline]
    pub(super) fn add_quietly(&mut self, of: &Added<'_>, most: i64, since: i64) -> bool {
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
