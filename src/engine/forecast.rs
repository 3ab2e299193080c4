//! How fast a cap fills up, and when it will be reached at that rate.
//!
//! The present rate of a key is what came in the last 30 whole minutes of its event time, without
//! the busiest of them: one batch is no rate. It is counted from the key's first event on, or the
//! first after 30 minutes without any, and there is none before five whole minutes have passed.
//! All of it is whole numbers: a pure function of the log.

use std::collections::btree_map::Entry;

use crate::engine::Plan;
use crate::engine::by_rule::ByRule;
use crate::engine::calendar::Calendar;
use crate::engine::cell::Body;
use crate::engine::firing::Measured;
use crate::engine::keyed::Keyed;
use crate::engine::state::State;
use crate::engine::view::{View, span};
use crate::event::EventTime;
use crate::rule::{Level, Mode, Number};

pub(crate) const MINUTE_MS: i64 = 60_000;
/// Whole minutes that the present rate is of, at most and at least.
const MINUTES_MAX: i64 = 30;
const MINUTES_MIN: i64 = 5;
/// Those, and the minute that has begun.
pub(super) const KEPT: usize = 31;

/// A flow matters for so long after its last event.
pub(crate) const FLOW_MS: i64 = (MINUTES_MAX + 1) * MINUTE_MS;

/// What a rule counted of one key in each of the last minutes.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    /// Numbers of minutes since the epoch: the first that counts, and the last with an event.
    pub(super) first: i64,
    pub(super) last: i64,
    /// By number modulo their count.
    pub(super) sums: [i64; KEPT],
    /// The rate in the minute `last`: amount and minutes. Follows from the rest.
    rate: Option<(i64, i64)>,
}

impl Flow {
    fn new(minute: i64) -> Flow {
        Flow::of(minute, minute, [0; KEPT])
    }

    pub(super) fn of(first: i64, last: i64, sums: [i64; KEPT]) -> Flow {
        let flow = Flow { first, last, sums, rate: None };
        Flow { rate: flow.rate_at(last), ..flow }
    }

    /// Takes in what counts at `ts`. A reversal moves no time (R10): what it takes away from a
    /// minute that has not come, or is too long ago, is nothing.
    fn add(&mut self, ts: i64, amount: i64, reversal: bool) {
        let minute = ts.div_euclid(MINUTE_MS);
        if minute > self.last {
            if reversal {
                return;
            }
            if minute - self.last > MINUTES_MAX {
                *self = Flow::new(minute);
            }
            for minute in self.last + 1..=minute {
                self.sums[place(minute)] = 0;
            }
            self.last = minute;
            self.rate = self.rate_at(minute);
        } else if self.last - minute > MINUTES_MAX {
            return;
        }
        let sum = &mut self.sums[place(minute)];
        *sum = sum.saturating_add(amount);
        // The minute that has begun is no part of the rate.
        if minute < self.last {
            if !reversal {
                self.first = self.first.min(minute);
            }
            self.rate = self.rate_at(self.last);
        }
    }

    /// Takes in what counts in the minute that has begun, and so leaves the rate as it is; false, and
    /// nothing is done, where it counts in another, or where a bound may be near: `far` is what the
    /// measure comes to, the bound, and within how many milliseconds from `now` it is not reached.
    pub(crate) fn add_far_from(
        &mut self,
        (ts, amount): (i64, i64),
        now: i64,
        far: Option<(i64, (i64, i64))>,
    ) -> bool {
        if [ts, now].iter().any(|ts| ts.div_euclid(MINUTE_MS) != self.last) {
            return false;
        }
        if let (Some((value, (bound, within_ms))), Some((rises, minutes))) = (far, self.rate) {
            let missing = i128::from(bound) + 1 - i128::from(value);
            let step_ms = i128::from(minutes) * i128::from(MINUTE_MS);
            if missing * step_ms <= i128::from(within_ms) * i128::from(rises) {
                return false;
            }
        }
        let sum = &mut self.sums[place(self.last)];
        *sum = sum.saturating_add(amount);
        true
    }

    /// How fast it rises at an instant in a window that ends at `end`; `None` where it does not.
    pub(crate) fn rise(&self, now: i64, end: i64) -> Option<Rise> {
        let minute = now.div_euclid(MINUTE_MS);
        let rate = if minute == self.last { self.rate } else { self.rate_at(minute) };
        rate.map(|(amount, minutes)| Rise { now, end, amount, minutes })
    }

    /// What came in how many minutes before this one; `None` where it is nothing, or unknown.
    fn rate_at(&self, minute: i64) -> Option<(i64, i64)> {
        let from = self.first.max(minute - MINUTES_MAX);
        if minute - from < MINUTES_MIN {
            return None;
        }
        let (mut total, mut busiest) = (0, 0);
        for minute in from..minute {
            let is_kept = minute <= self.last && self.last - minute <= MINUTES_MAX;
            let sum = if is_kept { i128::from(self.sums[place(minute)]) } else { 0 };
            total += sum;
            busiest = busiest.max(sum);
        }
        let amount = i64::try_from((total - busiest).max(0)).unwrap_or(i64::MAX);
        (amount > 0).then_some((amount, minute - from - 1))
    }
}

fn place(minute: i64) -> usize {
    usize::try_from(minute.rem_euclid(MINUTES_MAX + 1)).unwrap_or(0)
}

/// How fast a measure rises at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rise {
    pub(crate) now: i64,
    /// End of the window.
    end: i64,
    /// What came in so many minutes; more than 0.
    pub(crate) amount: i64,
    pub(crate) minutes: i64,
}

impl Rise {
    /// When a measure that is `value` now will exceed a bound, if it does so before its window
    /// ends.
    pub(crate) fn reaches(&self, value: i64, bound: Number) -> Option<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
        let bound = match bound {
            Number::Integer(bound) => i128::from(bound),
            Number::Float(bound) => bound.floor() as i128,
        };
        let missing = bound.saturating_add(1).saturating_sub(value.into());
        let step_ms = i128::from(self.minutes) * i128::from(MINUTE_MS);
        let amount = i128::from(self.amount);
        let wait_ms = missing.max(0).saturating_mul(step_ms).saturating_add(amount - 1) / amount;
        let at = i64::try_from(i128::from(self.now).saturating_add(wait_ms)).ok()?;
        (at < self.end).then_some(at)
    }

    /// `at 14:20 (in 1h 52m) at 24300 a minute`.
    pub(crate) fn told(&self, at: i64, calendar: &Calendar) -> String {
        let when = calendar.clock(EventTime(at), EventTime(self.now));
        let wait = length(at.saturating_sub(self.now));
        format!("at {when} ({wait}) at {} a minute", self.per_minute())
    }

    /// What comes in a minute, for people.
    pub(crate) fn per_minute(&self) -> String {
        if self.amount / self.minutes >= 10 {
            return (self.amount.saturating_add(self.minutes / 2) / self.minutes).to_string();
        }
        #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
        let rate = self.amount as f64 / self.minutes as f64;
        format!("{rate:.2}")
    }
}

/// `in 1h 52m`: the two largest units.
fn length(ms: i64) -> String {
    let minutes = ms / MINUTE_MS;
    let (days, hours) = (minutes / 1440, minutes / 60 % 24);
    match (days, hours, minutes % 60) {
        (0, 0, 0) => "within a minute".to_owned(),
        (0, 0, minutes) => format!("in {minutes}m"),
        (0, hours, minutes) => format!("in {hours}h {minutes}m"),
        (days, hours, _) => format!("in {days}d {hours}h"),
    }
}

/// What is to come of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outlook {
    /// The next bound of its rule, not yet exceeded.
    pub(crate) bound: Number,
    /// How fast the key goes there, if it does.
    pub(crate) rise: Option<Rise>,
    /// When it exceeds the bound, if that is before the window ends.
    pub(crate) at: Option<i64>,
}

impl Keyed {
    /// How fast a rule and key rise, as seen at `now`; `None` where no flow is kept.
    pub(crate) fn rise(&self, rule: usize, key: u32, now: i64, plan: &Plan) -> Option<Rise> {
        let span = span(plan, plan.info.get(rule)?.window, now);
        self.flows.of(rule, key)?.rise(now, span.end)
    }

    /// What is to come of a rule and key, as seen at `now` or at the key's latest event, whichever
    /// is later. `None` where no flow is kept, and when every bound is exceeded.
    pub(crate) fn outlook(&self, rule: usize, key: u32, now: i64, plan: &Plan) -> Option<Outlook> {
        let flow = self.flows.of(rule, key)?;
        let info = plan.info.get(rule)?;
        let cell = self.cells.held(rule, key, plan)?;
        let Body::Calendar(body) = &cell.body else {
            return None;
        };
        let now = now.max(body.t);
        let span = span(plan, info.window, now);
        let period = body.periods.iter().find(|period| period.start == span.start);
        let value = period.map_or(0, |period| period.of.value());
        let levels = View::of(&plan.rule(rule).check).levels?;
        let exceeds = |level: &&Level| Measured::Integer(value).breaches(levels.side, level.bound);
        let bound = levels.levels.iter().find(|level| !exceeds(level))?.bound;
        let rise = flow.rise(now, span.end);
        Some(Outlook { bound, rise, at: rise.and_then(|rise| rise.reaches(value, bound)) })
    }
}

impl State {
    /// Milliseconds of event time until the first key of a rule reaches its next bound at the
    /// present rate, for each rule with keys that have one; `None` where no key does so before its
    /// window ends.
    pub fn forecasts<'p>(&self, plan: &'p Plan) -> Vec<(&'p str, Option<i64>)> {
        let Some(watermark) = self.watermark else { return Vec::new() };
        let rules = plan.info.iter().zip(&plan.rules.rules).enumerate();
        let rules = rules
            .filter(|(_, (info, rule))| info.has_flow && !info.gathers() && rule.mode != Mode::Off);
        let soonest = rules.map(|(at, (_, rule))| {
            let waits = self.keyed.flows.keys(at).filter_map(|key| {
                let outlook = self.keyed.outlook(at, key, watermark, plan)?;
                Some(outlook.at? - outlook.rise?.now)
            });
            (rule.name.as_str(), waits.min())
        });
        soonest.collect()
    }
}

/// The flows of caps that forecast, by rule and key. Apart from the cells, because few rules and
/// few keys have one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flows {
    of: ByRule<Box<Flow>>,
}

impl Flows {
    /// Takes in what counts at `ts`; the flow it belongs to.
    pub(crate) fn add(
        &mut self,
        rule: usize,
        key: u32,
        (ts, amount): (i64, i64),
        reversal: bool,
    ) -> Option<&Flow> {
        let flow = match self.of.entry(rule, key) {
            Entry::Occupied(flow) => flow.into_mut(),
            Entry::Vacant(_) if reversal => return None,
            Entry::Vacant(place) => place.insert(Box::new(Flow::new(ts.div_euclid(MINUTE_MS)))),
        };
        flow.add(ts, amount, reversal);
        Some(flow)
    }

    pub(crate) fn of(&self, rule: usize, key: u32) -> Option<&Flow> {
        self.of.get(rule, key).map(|flow| &**flow)
    }

    pub(crate) fn get_mut(&mut self, rule: usize, key: u32) -> Option<&mut Flow> {
        self.of.get_mut(rule, key).map(|flow| &mut **flow)
    }

    /// Keys of a rule that have one.
    fn keys(&self, rule: usize) -> impl Iterator<Item = u32> {
        self.of.keys(rule)
    }

    pub(super) fn put(&mut self, rule: usize, key: u32, flow: Option<Flow>) {
        if let Some(flow) = flow {
            self.of.insert(rule, key, Box::new(flow));
        }
    }

    pub(crate) fn forget(&mut self, rule: usize, key: u32) {
        self.of.remove(rule, key);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.of.bytes() + self.of.len() * size_of::<Flow>()
    }
}

#[cfg(test)]
mod tests;
