//! Cells that no event not late can touch any more are forgotten.

use smallvec::SmallVec;

use crate::engine::LOOK_AHEAD;
use crate::engine::cell::{Body, Cell, PeriodCell};
use crate::engine::forecast::FLOW_MS;
use crate::engine::keyed::Keyed;
use crate::engine::plan::{Form, Plan, RuleInfo};
use crate::engine::rolling::Entry;
use crate::engine::small::Little;
use crate::rule::Window;

impl Keyed {
    /// Forgets cells that no event not late can touch any more.
    #[inline]
    pub(crate) fn expire(&mut self, plan: &Plan, watermark: i64) {
        if self.cells.is_due(watermark) {
            self.forget_due(plan, watermark);
        }
    }

    #[inline(never)]
    fn forget_due(&mut self, plan: &Plan, watermark: i64) {
        while let Some(due) = self.cells.due(watermark) {
            let mut all = due.iter().flat_map(|(rule, keys)| keys.iter().map(|key| (*rule, *key)));
            loop {
                let some: SmallVec<[_; LOOK_AHEAD]> = all.by_ref().take(LOOK_AHEAD).collect();
                if some.is_empty() {
                    break;
                }
                self.forget_some(plan, &some, watermark);
            }
            self.cells.give_back(due);
        }
    }

    /// Forgets cells, each by rule and key, or has them wait for longer.
    fn forget_some(&mut self, plan: &Plan, due: &[(u32, u32)], watermark: i64) {
        self.cells.look_at_due(plan, due.iter().copied());
        let slot = |(rule, key): &(u32, u32)| {
            let of = (*rule as usize, *key);
            let slot = self.cells.slot(self.until(of.0, of.1, plan)?, of, plan);
            self.cells.near_slot(slot, *rule);
            Some(slot)
        };
        let slots: SmallVec<[_; LOOK_AHEAD]> = due.iter().map(slot).collect();
        for ((rule, key), slot) in due.iter().zip(slots) {
            let Some(slot) = slot else { continue };
            if slot.over() > watermark {
                self.cells.wait(slot, *rule, *key);
                self.cells.shrink(*rule as usize, *key, plan);
            } else if plan.info[*rule as usize].form == Form::ZScore {
                self.close_in_turn(*rule as usize, *key, plan, watermark);
            } else {
                self.forget(*rule as usize, *key, plan);
            }
        }
    }

    /// The watermark at which the cell of a rule and key no longer matters.
    fn until(&self, rule: usize, id: u32, plan: &Plan) -> Option<i64> {
        let info = &plan.info[rule];
        if info.form == Form::ZScore {
            let end = self.cells.ends_at(rule, id, plan)?;
            return Some(end.saturating_add(info.close_after_ms));
        }
        let last = self.cooldowns.latest(rule, id);
        let of_whole = || Some(keep_until(&*self.cells.held(rule, id, plan)?, last, plan, rule));
        let Some(little) = self.cells.little(rule, id, plan) else { return of_whole() };
        let body = match little {
            Little::Calendar { span, t, .. } => kept_for_periods(info, span.end, t),
            Little::Rolling(Entry { ts, .. }) | Little::Value { ts, .. } => {
                kept_for_window(info, ts)
            }
        };
        let until = kept(body, last, plan, rule);
        debug_assert_eq!(Some(until), of_whole());
        Some(until)
    }
}

/// The watermark at which a cell no longer matters.
pub(crate) fn keep_until(cell: &Cell, last: Option<i64>, plan: &Plan, rule: usize) -> i64 {
    let info = &plan.info[rule];
    let body = match &cell.body {
        Body::Match => i64::MIN,
        Body::Calendar(body) => {
            let end = body.periods.iter().map(PeriodCell::end).max().unwrap_or(i64::MIN);
            kept_for_periods(info, end, body.t)
        }
        Body::Rolling(body) => kept_for_window(info, body.t),
        Body::ZScore(_) => i64::MAX,
    };
    kept(body, last, plan, rule)
}

/// When the last of a key's periods is over, the latest event being at `t`.
fn kept_for_periods(info: &RuleInfo, end: i64, t: i64) -> i64 {
    end.max(if info.has_flow { t + FLOW_MS } else { i64::MIN })
}

/// When a rolling window is empty, the latest event being at `t`.
fn kept_for_window(info: &RuleInfo, t: i64) -> i64 {
    match info.window {
        Window::Duration(ms) => t.saturating_add(ms),
        Window::Calendar(_) => i64::MIN,
    }
}

/// What counts until `body` may be late, and what fired last cools down.
fn kept(body: i64, last: Option<i64>, plan: &Plan, rule: usize) -> i64 {
    let last = last.unwrap_or(i64::MIN);
    let cool = last.saturating_add(plan.rule(rule).cooldown_ms.unwrap_or(0));
    body.max(cool).saturating_add(plan.settings.allowed_lateness_ms)
}
