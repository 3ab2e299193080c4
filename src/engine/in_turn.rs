//! Windows that close without a word, each key in its turn: at midnight the days of all members are
//! over at once, and no event waits for that.
//!
//! Most windows of a z-score rule by user say nothing when they close: their value lies within the
//! bound, and enters the baseline. Nobody can tell when that was done, as long as it is done before
//! the key is looked at again. So such a window closes in the hour after its time, or with the next
//! event of its key. The others, few of them, close on time ([`Keyed::close`]).
//!
//! What a window will say is told by the counter alone, so that a replay closes each at the same
//! record, whichever waits were left behind.

use crate::engine::cell::{Body, ZCell};
use crate::engine::closing::close_next;
use crate::engine::keyed::Keyed;
use crate::engine::outbox::number;
use crate::engine::plan::Plan;
use crate::engine::rows::Held;
use crate::engine::score::{exceeds, running_bound};
use crate::engine::space::Key;
use crate::engine::table::Cells;
use crate::engine::view::span;
use crate::rule::{Check, Method, Mode, Rule, ZScore};

/// When the windows of a rule close that say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    OnTime,
    InTurn,
}

/// A look at all counters of rules with other bounds or baselines than before, some as the watermark
/// moves. No part of the state: whoever restores it looks at each.
#[derive(Debug, Clone, Default)]
pub(crate) struct Anew {
    /// Rules to look at, the last one first.
    rules: Vec<usize>,
    /// Id of the next key.
    from: usize,
    /// The watermark at which the next window closes.
    by: i64,
}

/// Keys that are looked at when the watermark moves: a tenth of a millisecond.
const ANEW_AT_ONCE: usize = 1_000;

impl Closing {
    /// In turn where an empty window never says anything, as long as no negative value came, and where
    /// a baseline of values that are not negative is none: `ewma`, with a bound above only.
    pub(crate) fn of(rule: &Rule) -> Closing {
        match &rule.check {
            Check::ZScore(ZScore { below: None, baseline, .. })
                if baseline.method == Method::Ewma
                    && rule.per.has_user()
                    && rule.mode != Mode::Off =>
            {
                Closing::InTurn
            }
            _ => Closing::OnTime,
        }
    }

    /// What decides which windows of a rule by user say nothing; `None` for a rule without such.
    pub(crate) fn basis(rule: &Rule) -> Option<String> {
        let Check::ZScore(check) = &rule.check else { return None };
        let ZScore { above, below, baseline, .. } = check;
        rule.per.has_user().then(|| format!("{} {above:?} {below:?} {baseline:?}", rule.name))
    }
}

impl ZCell {
    /// Whether all windows that there are to close will say nothing, should no event come.
    pub(crate) fn closes_unheard(&self, check: &ZScore) -> bool {
        let (value, fired) = match self.open.as_slice() {
            [] => (0, false),
            [open] if open.span == self.next => (open.sum.value(), open.fired),
            // The baseline of the second will have changed by then.
            _ => return false,
        };
        let stats = self.series.stats(&check.baseline);
        let bound = running_bound(check, fired, self.armed_above);
        let may_fire = bound.zip(stats).is_some_and(|(above, usual)| exceeds(value, usual, above));
        value >= 0 && self.series.mean >= 0.0 && !may_fire
    }

    /// How it stands once what ended by `over` is closed; `None` where it is forgotten then.
    pub(crate) fn closed_by(&self, over: i64, check: &ZScore, plan: &Plan) -> Option<ZCell> {
        let mut cell = self.clone();
        while cell.next.end <= over {
            let closed = close_next(&mut cell, check, plan);
            if !closed.stays {
                return None;
            }
        }
        Some(cell)
    }
}

impl Cells {
    /// When the next window of a z-score ends.
    pub(crate) fn ends_at(&self, rule: usize, id: u32, plan: &Plan) -> Option<i64> {
        let info = &plan.info[rule];
        let table = &self.tables[rule];
        match self.spaces[info.space].held(id, info.column)? {
            Held::Habit(habit) => habit.ends_at(&table.small.periods),
            held => match &table.get(id, held)?.body {
                Body::ZScore(body) => Some(body.next.end),
                _ => None,
            },
        }
    }
}

impl Keyed {
    /// Has a z-score counter wait for its next window to close.
    pub(crate) fn await_close(&mut self, rule: usize, id: u32, plan: &Plan) {
        let Some(end) = self.cells.ends_at(rule, id, plan) else { return };
        let info = &plan.info[rule];
        if info.closing == Closing::InTurn {
            let until = end.saturating_add(info.close_after_ms);
            let slot = self.cells.slot(until, (rule, id), plan);
            self.cells.wait(slot, number(rule), id);
        }
        self.close_on_time(rule, id, plan);
    }

    /// Has the next window of a counter close on time where it may say something.
    pub(crate) fn close_on_time(&mut self, rule: usize, id: u32, plan: &Plan) {
        if self.is_unheard(rule, id, plan) {
            return;
        }
        if let Some(end) = self.cells.ends_at(rule, id, plan) {
            self.schedule(end, rule, id, plan);
        }
    }

    /// Whether a counter waits for its turn alone.
    pub(crate) fn is_unheard(&self, rule: usize, id: u32, plan: &Plan) -> bool {
        let Check::ZScore(check) = &plan.rule(rule).check else { return false };
        let of_body = |body: &Body| match body {
            Body::ZScore(body) => body.closes_unheard(check),
            _ => false,
        };
        plan.info[rule].closing == Closing::InTurn
            && self.cells.held(rule, id, plan).is_some_and(|cell| of_body(&cell.body))
    }

    /// Before an event of a key counts: its windows close that have waited for their turn.
    pub(crate) fn catch_up(&mut self, rule: usize, key: &mut Key<'_>, plan: &Plan, watermark: i64) {
        let info = &plan.info[rule];
        if info.closing == Closing::InTurn
            && let Some(id) = self.cells.spaces[info.space].find(key)
        {
            self.close_unheard(rule, id, plan, watermark.saturating_sub(info.close_after_ms));
        }
    }

    /// It is a counter's turn: its windows close, and it waits for the next.
    pub(crate) fn close_in_turn(&mut self, rule: usize, id: u32, plan: &Plan, watermark: i64) {
        let over = watermark.saturating_sub(plan.info[rule].close_after_ms);
        self.close_unheard(rule, id, plan, over);
        self.await_close(rule, id, plan);
    }

    /// Closes all that waits for its turn; at the end of input also what ended only now.
    pub(crate) fn close_all_unheard(&mut self, plan: &Plan, watermark: i64, at_end: bool) {
        for (rule, info) in plan.info.iter().enumerate() {
            if info.closing == Closing::InTurn {
                let close_after_ms = if at_end { 0 } else { info.close_after_ms };
                let over = watermark.saturating_sub(close_after_ms);
                for id in self.cells.keys_of(rule, plan) {
                    self.close_unheard(rule, id, plan, over);
                }
            }
        }
    }

    /// Closes the windows of a counter that ended by `over`, whatever they would say; one that has
    /// had no event for long is forgotten.
    fn close_unheard(&mut self, rule: usize, id: u32, plan: &Plan, over: i64) {
        let Check::ZScore(check) = &plan.rule(rule).check else { return };
        if self.cells.ends_at(rule, id, plan).is_none_or(|end| end > over) {
            return;
        }
        self.keep_id(rule, id, plan);
        let Some(cell) = self.cells.at(rule, id, plan) else { return };
        let Body::ZScore(body) = &mut cell.body else { return };
        let mut stays = true;
        while stays && body.next.end <= over {
            stays = close_next(body, check, plan).stays;
        }
        if stays {
            self.cells.shrink(rule, id, plan);
        } else {
            self.forget(rule, id, plan);
        }
    }

    /// Other bounds or baselines: of each counter it has to be looked at anew whether it may say
    /// something.
    pub(crate) fn await_anew(&mut self, plan: &Plan, watermark: i64) {
        let closings = plan.info.iter().map(|info| info.closing).collect();
        let before = std::mem::replace(&mut self.closings, closings);
        self.anew = Anew { by: i64::MAX, ..Anew::default() };
        for (rule, info) in plan.info.iter().enumerate() {
            if before.get(rule).is_some_and(|before| *before != info.closing) {
                self.timers.retain(|(_, of), _| *of != rule);
                self.cells.forget_waits(rule);
                for id in self.cells.keys_of(rule, plan) {
                    self.await_close(rule, id, plan);
                }
            } else if info.closing == Closing::InTurn && before.get(rule).is_some() {
                let over = watermark.saturating_sub(info.close_after_ms);
                let closes = span(plan, info.window, over).end.saturating_add(info.close_after_ms);
                self.anew.by = self.anew.by.min(closes);
                self.anew.rules.push(rule);
            }
        }
    }

    /// Whether counters are left to look at anew.
    #[inline]
    pub(crate) fn looks_anew(&self) -> bool {
        !self.anew.rules.is_empty()
    }

    /// Looks at some of them, as they stand at the watermark, before that moves on to `next`; at all
    /// that are left where a window closes then, or where that is the end.
    pub(crate) fn look_anew(&mut self, plan: &Plan, watermark: i64, next: Option<i64>) {
        let is_last = next.is_none_or(|next| next >= self.anew.by);
        let mut left = if is_last { usize::MAX } else { ANEW_AT_ONCE };
        while let (Some(rule), true) = (self.anew.rules.last().copied(), left > 0) {
            let info = &plan.info[rule];
            let over = watermark.saturating_sub(info.close_after_ms);
            let (from, ids) = (self.anew.from, self.cells.spaces[info.space].ids());
            let to = from.saturating_add(left).min(ids);
            for id in from..to {
                self.close_unheard(rule, number(id), plan, over);
                self.close_on_time(rule, number(id), plan);
            }
            left -= to.saturating_sub(from);
            self.anew.from = to;
            if to == ids {
                self.anew.rules.pop();
                self.anew.from = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests;
