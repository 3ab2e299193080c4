//! Distinct values, by the short way.

use crate::engine::cell::{Body, Roll, RollingCell};
use crate::engine::distinct::Exact;
use crate::engine::keyed::{Contribution, Ctx, Keyed};
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
        ctx: &mut Ctx<'_>,
    ) -> bool {
        let info = &ctx.plan.info[rule];
        let Some(Short::Bound(quiet)) = info.quiet else { return false };
        if !quiet.values || quiet.most < 1 || !self.is_plain() {
            return false;
        }
        let has_open = !self.opens.is_empty();
        let of = &Added { values: Values::Pairs(&[(hash, ts)]), ..NOTHING };
        let space = &mut self.cells.spaces[info.space];
        let id = space.find(key).unwrap_or(NONE);
        let is_done = match space.seek(id, info.column) {
            At::Nowhere => {
                return self.begin_quietly(rule, key, quiet, (Entry { ts, value: 0 }, of), ctx);
            }
            At::Small(spot) => {
                let sizes = &self.cells.tables[rule].small.sizes;
                space
                    .change_small(spot, |small| sizes.see_again(small, (hash, ts), quiet.window_ms))
            }
            At::Whole(place) => {
                let what = &Contribution { ts, of, to: &NOTHING, reversal: false };
                self.cells.tables[rule].get_mut(place).is_some_and(|cell| {
                    cell.add_quietly((quiet, info.step_ms), (what, 0), has_open, ctx.counts)
                })
            }
            At::Habit(_) | At::Value(_) => false,
        };
        if is_done {
            self.cells.comes_again(info.space, id);
        }
        is_done
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
