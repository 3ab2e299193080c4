//! Distinct values, by the short way.

use crate::engine::cell::{Body, Roll, RollingCell};
use crate::engine::distinct::Exact;
use crate::engine::plan::Quiet;
use crate::engine::small::Little;
use crate::engine::table::First;
use crate::engine::tally::Added;

/// The counter of the first distinct values that a key brings; `None` where they may be too many to
/// stay far from a bound.
pub(super) fn first_values(of: &Added<'_>, ts: i64, quiet: Quiet) -> Option<First> {
    if let Some(hash) = only(of, ts).filter(|_| quiet.most > 0) {
        return Some(First::Little(Little::Value { hash, ts }));
    }
    let mut exact = Exact::default();
    if !exact.add_quietly(of, quiet.most, ts.saturating_sub(quiet.window_ms)) {
        return None;
    }
    let body = RollingCell { t: ts, of: Roll::Values(exact), more: None };
    Some(First::Body(Body::Rolling(body)))
}

/// The distinct value that is added, where that is one, of this event time.
pub(super) fn only(of: &Added<'_>, ts: i64) -> Option<u64> {
    let (hash, of_value) = of.values.iter().next()?;
    (of.values.len() == 1 && of_value == ts).then_some(hash)
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
