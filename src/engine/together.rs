//! What several events in a row bring to one counter of a key that has many, added in one go where
//! none of them comes near a bound: then it is what adding them one after the other comes to.
//!
//! All that they add is positive, so that no value on the way is beyond the last one. They come in the
//! order of their times, none before what has been counted, so that they all lie in a period, window or
//! minute that has begun and holds the last of them: nothing begins or ends on the way.

use crate::engine::keyed::{Contribution, Ctx, Keyed};
use crate::engine::plan::{Form, RuleInfo, Short};
use crate::engine::routes::Adds;
use crate::engine::rows::At;
use crate::engine::space::Key;
use crate::engine::tally::{Added, NOTHING};

/// Events in a row, none earlier than those before.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Alike {
    events: i64,
    points: i64,
    /// Event time of the last.
    last: i64,
    /// One has fewer points than none, or there are more than a sum holds.
    is_mixed: bool,
}

/// What events in a row bring to a rule and key.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Together {
    pub(crate) has_some: bool,
    /// Event time of the last.
    last: i64,
    /// What they add on either side.
    of: i64,
    to: i64,
    /// One takes something away, or there is more than a sum holds.
    is_mixed: bool,
    /// It has been added.
    pub(crate) is_done: bool,
}

impl Alike {
    #[inline]
    pub(crate) fn add(&mut self, ts: i64, points: i64) {
        self.events += 1;
        self.last = ts;
        let sum = self.points.checked_add(points);
        self.is_mixed |= points < 0 || sum.is_none();
        self.points = sum.unwrap_or_default();
    }

    /// What they add to a side; `None` where it is not to be added in one go.
    fn number(&self, adds: Option<Adds>) -> Option<i64> {
        match adds {
            Some(Adds::One) => Some(self.events),
            Some(Adds::Points) => Some(self.points).filter(|_| !self.is_mixed),
            Some(Adds::User) | None => Some(0),
        }
    }
}

impl Together {
    /// Some events more.
    #[inline]
    pub(crate) fn join(&mut self, some: &Alike, (of, to): (Option<Adds>, Option<Adds>)) {
        self.last = if self.has_some { self.last.max(some.last) } else { some.last };
        self.has_some = true;
        let sum = |sum: i64, adds| sum.checked_add(some.number(adds)?);
        let sums = sum(self.of, of).zip(sum(self.to, to));
        self.is_mixed |= sums.is_none();
        (self.of, self.to) = sums.unwrap_or_default();
    }
}

impl RuleInfo {
    /// Whether what comes to one of its counters may be added in one go.
    pub(crate) fn takes_together(&self) -> bool {
        match self.quiet {
            Some(Short::Bound(_)) => self.form == Form::Calendar,
            quiet => quiet.is_some(),
        }
    }
}

impl Keyed {
    /// Adds all of it, as if the last event brought everything; false, and nothing is done, where there
    /// may be more to it. No window of the rule closes before the watermark of `ctx`.
    pub(crate) fn add_together(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        all: &Together,
        ctx: &mut Ctx<'_>,
    ) -> bool {
        let plan = ctx.plan;
        let info = &plan.info[rule];
        let space = &mut self.cells.spaces[info.space];
        let Some((id, short)) = space.find(key).zip(info.quiet) else { return false };
        let at = space.seek(id, info.column);
        let is_young = space.is_young(id);
        if all.is_mixed || !self.is_plain() || at == At::Nowhere || is_young {
            return false;
        }
        // The measure takes the one that it looks at.
        let [of, to] = [all.of, all.to].map(|n| Added { count: n, sum: n, ..NOTHING });
        let what = &Contribution { ts: all.last, of: &of, to: &to, reversal: false };
        let cell = (rule, id, at);
        match short {
            Short::Bound(quiet) => {
                // A small one might begin another period.
                let Some(cell) = self.cells.whole_at(rule, (id, at), plan) else { return false };
                let value = what.one(quiet.counts).value;
                cell.add_quietly((quiet, info.step_ms), (what, value), false, ctx.counts)
            }
            Short::Flow { most, ahead, counts } => {
                self.add_flow(cell, (most, ahead), what.one(counts), plan)
            }
            Short::Silence { counts } => self.add_silence(cell, what.one(counts), plan),
            Short::Sides { count } => self.add_sides(cell, count, (what, true), plan),
            Short::Score { counts } => self.add_score((rule, at), what.one(counts), ctx),
        }
    }
}
