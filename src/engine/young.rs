//! Keys that have been counted once: they make room when a state is full.
//!
//! A state holds so many keys ([`Settings::max_keys`](crate::engine::Settings)). A flood of names
//! that come once each (bots, made-up devices) fills it up; then the one of them that came first
//! goes, for each that comes. Keys that have come again stay until their windows are over, however
//! long ago that was: recency would drive out whom a patient fraud depends on. What has fired, what
//! cools down and what waits for a window to close stays, too. When there is none to make room,
//! the newcomer is not counted. Both are counted.
//!
//! Which key goes is a function of the log: keys are numbered as they come, and a snapshot tells
//! the numbers.

use hashbrown::HashMap;

use crate::engine::cell::Body;
use crate::engine::expiry::Slot;
use crate::engine::forget::keep_until;
use crate::engine::keyed::{Ctx, Keyed};
use crate::engine::plan::{Form, Plan};
use crate::engine::queue::Queue;
use crate::engine::space::{Key, Space};
use crate::engine::table::CellRef;

/// The young keys of a state, the first first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Young {
    /// Key form, id, number; some have grown old or are gone, and their places may be others'.
    queue: Queue<(u32, u32, u32)>,
    /// How many of them are young.
    len: usize,
    /// Number of the last key that came; goes round.
    pub(crate) arrivals: u32,
    /// Its value when the step began: whatever came since has to stay, since steps remember places.
    since: u32,
    /// By rule and id: the watermark for which a cell that made room still waits. A new cell
    /// in its place that may expire then or later waits there as well, and is looked at again.
    stale: HashMap<(u32, u32), i64>,
}

impl Young {
    /// A key that has just been made.
    pub(crate) fn has_come(&mut self, spaces: &mut [Space], space: usize, id: u32) {
        self.arrivals = self.arrivals.wrapping_add(1).max(1);
        spaces[space].set_born(id, self.arrivals);
        self.push(spaces, (space, id, self.arrivals));
    }

    fn push(&mut self, spaces: &[Space], (space, id, born): (usize, u32, u32)) {
        // Those that have grown old are left in the queue until they are the half of it.
        if self.queue.len() > 2 * self.len + 1024 {
            self.queue.retain(|(space, id, born)| spaces[*space as usize].born(*id) == *born);
        }
        self.len += 1;
        self.queue.push_back((u32::try_from(space).unwrap_or(u32::MAX), id, born));
    }

    /// A key is young no more: it has come again, or has gone.
    #[inline]
    pub(crate) fn grows_old(&mut self, space: &mut Space, id: u32) {
        if self.len > 0 && space.is_young(id) {
            space.set_born(id, 0);
            self.len = self.len.saturating_sub(1);
        }
    }

    /// Puts keys in order that came in any other: after a snapshot is loaded.
    pub(crate) fn sort(&mut self, spaces: &[Space], arrivals: u32) {
        self.arrivals = arrivals;
        let born = spaces.iter().enumerate().flat_map(|(space, keys)| {
            let ids = 0..u32::try_from(keys.ids()).unwrap_or(u32::MAX);
            let space = u32::try_from(space).unwrap_or(u32::MAX);
            ids.map(move |id| (space, id, keys.born(id))).filter(|(_, _, born)| *born != 0)
        });
        let mut queue: Vec<_> = born.collect();
        queue.sort_unstable_by_key(|(_, _, born)| std::cmp::Reverse(arrivals.wrapping_sub(*born)));
        self.len = queue.len();
        self.queue = queue.into_iter().collect();
    }

    /// Whether a new cell of this rule and id, which may expire at this watermark, waits already.
    pub(crate) fn waits(&self, rule: u32, id: u32, over: i64) -> bool {
        !self.stale.is_empty() && self.stale.get(&(rule, id)).is_some_and(|old| *old <= over)
    }

    /// A cell that may expire at this watermark makes room. One that took a place over waits for an
    /// earlier one than its own.
    fn makes_room(&mut self, rule: u32, id: u32, over: i64) {
        self.stale.entry((rule, id)).and_modify(|old| *old = over.min(*old)).or_insert(over);
    }

    /// A cell's time to expire has come.
    pub(crate) fn is_over(&mut self, rule: u32, id: u32, over: i64) {
        if self.stale.get(&(rule, id)) == Some(&over) {
            self.stale.remove(&(rule, id));
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.queue.bytes() + self.stale.allocation_size()
    }
}

impl Keyed {
    /// A step begins: keys that come during it stay until it is over.
    pub(crate) fn begin_step(&mut self) {
        let young = &mut self.cells.young;
        young.since = young.arrivals;
    }

    /// Whether a rule may count a key: one that is there, or that there is or can be made room
    /// for. A key that comes again to a rule is young no more.
    pub(crate) fn admits(&mut self, rule: usize, key: &mut Key<'_>, ctx: &mut Ctx<'_>) -> bool {
        let plan = ctx.plan;
        let info = &plan.info[rule];
        let space = &mut self.cells.spaces[info.space];
        if plan.settings.max_keys.is_none() && !space.is_full() {
            return true;
        }
        if let Some(id) = space.find(key) {
            if space.is_young(id) && space.has(id, info.column) {
                self.cells.young.grows_old(space, id);
            }
            return true;
        }
        if self.cells.has_room(info.space, plan) {
            return true;
        }
        let is_room = self.make_room(plan);
        ctx.counts.keys_evicted += u64::from(is_room);
        ctx.counts.keys_refused += u64::from(!is_room);
        is_room
    }

    /// Forgets the young key that came first; false when there is none that may go.
    fn make_room(&mut self, plan: &Plan) -> bool {
        let recent = self.cells.young.arrivals.wrapping_sub(self.cells.young.since);
        while let Some((space, id, born)) = self.cells.young.queue.front() {
            let (at, arrivals) = (space as usize, self.cells.young.arrivals);
            if self.cells.spaces[at].born(id) == born {
                if arrivals.wrapping_sub(born) < recent {
                    return false;
                }
                self.cells.young.queue.pop_front();
                if self.may_go(at, id, plan) {
                    self.evict(at, id, plan);
                    return true;
                }
                self.keep_whole(at, id);
                self.cells.young.grows_old(&mut self.cells.spaces[at], id);
            } else {
                self.cells.young.queue.pop_front();
            }
        }
        false
    }

    /// Whether nothing is lost with a key but one count.
    fn may_go(&self, space: usize, id: u32, plan: &Plan) -> bool {
        self.cells_of(space, id, plan).all(|(rule, cell)| {
            let is_calm = match &cell.body {
                Body::Calendar(body) => body.periods.iter().all(|period| period.fired == 0),
                Body::Rolling(_) => cell.fired == 0,
                Body::Match | Body::ZScore(_) => false,
            };
            let waits = matches!(plan.info[rule].form, Form::CalendarBelow | Form::RollingBelow);
            is_calm && !waits && self.cooldowns.latest(rule, id).is_none()
        })
    }

    fn evict(&mut self, space: usize, id: u32, plan: &Plan) {
        let cells = self.cells_of(space, id, plan);
        let slots = cells.map(|(rule, cell)| {
            let until = keep_until(&cell, None, plan, rule);
            (rule, self.cells.slot(until, (rule, id), plan))
        });
        let slots: Vec<(usize, Slot)> = slots.collect();
        for (rule, slot) in slots {
            let named = u32::try_from(rule).unwrap_or(u32::MAX);
            self.cells.young.makes_room(named, id, slot.over());
            self.forget(rule, id, plan);
        }
    }

    /// The cells of a key, each with its rule.
    fn cells_of(
        &self,
        space: usize,
        id: u32,
        plan: &Plan,
    ) -> impl Iterator<Item = (usize, CellRef<'_>)> {
        let rules = plan.info.iter().enumerate().filter(move |(_, info)| info.space == space);
        rules.filter_map(move |(rule, _)| Some((rule, self.cells.held(rule, id, plan)?)))
    }
}
