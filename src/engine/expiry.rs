//! When counters are forgotten that no event can touch any more: some at a time, so that no event
//! waits for many.
//!
//! A counter goes when the watermark reaches the end of its slot. That is a function of the counter, its key and
//! the watermark alone, so that a replay forgets each at the same record. Rolling windows are over one
//! by one, as their events came; the windows of a calendar are all over at once, and their counters
//! go within an hour from then, each key in its turn.

use std::collections::BTreeMap;

use crate::engine::index::spread;
use crate::engine::outbox::number;
use crate::engine::plan::Form;
use crate::rule::Window;

use ring::Ring;

mod ring;

/// Turns of the keys, and how far apart they are.
const LANES: usize = 512;
const LANE_MS: i64 = 7_000;
/// Slots of a rolling window, and bounds of their width.
const SLOTS: i64 = 5_000;
const WIDTH_MIN_MS: i64 = 2_000;
const WIDTH_MAX_MS: i64 = 300_000;

/// How the counters of a rule are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Width of a slot.
    width_ms: i64,
    /// Keys take turns.
    has_lanes: bool,
}

impl Pace {
    pub(crate) fn of(form: Form, window: Window) -> Pace {
        match window {
            // Windows of a z-score tumble: those of all keys are over at once.
            _ if form == Form::ZScore => Pace { width_ms: LANE_MS, has_lanes: true },
            Window::Calendar(_) => Pace { width_ms: LANE_MS, has_lanes: true },
            Window::Duration(ms) => {
                let width_ms = (ms / SLOTS).clamp(WIDTH_MIN_MS, WIDTH_MAX_MS);
                Pace { width_ms, has_lanes: false }
            }
        }
    }

    /// Where a counter waits that matters until the watermark is beyond `until`: the end of the slot,
    /// turns aside, and the key's turn.
    pub(crate) fn slot(self, until: i64, hash: u64) -> Slot {
        let end = (until.div_euclid(self.width_ms) + 1).saturating_mul(self.width_ms);
        let has_turn = self.has_lanes;
        Slot { end, lane: if has_turn { lane_of(hash) } else { 0 }, has_turn }
    }

    /// The same for a key whose hash is only asked for where it matters.
    #[inline]
    pub(crate) fn slot_of(self, until: i64, hash: impl FnOnce() -> u64) -> Slot {
        self.slot(until, if self.has_lanes { hash() } else { 0 })
    }
}

/// A place to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    end: i64,
    lane: usize,
    has_turn: bool,
}

impl Slot {
    /// The watermark at which whatever waits there may go.
    pub(crate) fn over(self) -> i64 {
        turn(self.end, self.lane)
    }
}

/// Keys and rules of the counters that wait, by slot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expiry {
    /// By rule.
    rings: Vec<Ring>,
    /// What lies too far off, by the watermark at which it may go, and rule.
    later: BTreeMap<(i64, u32), Vec<u32>>,
    /// By rule whose keys take turns: the latest slot that new counters come to, apart from the
    /// others. It is the same for long.
    newest: Vec<Newest>,
    /// The earliest watermark at which one may go.
    first: Option<i64>,
}

#[derive(Debug, Clone, Default)]
struct Newest {
    end: i64,
    /// By lane; those before `from` are empty.
    lanes: Vec<Vec<u32>>,
    from: usize,
}

/// Keys of some rules.
pub(crate) type Due = Vec<(u32, Vec<u32>)>;

impl Expiry {
    /// Makes room for rules with these paces.
    pub(crate) fn prepare(&mut self, paces: impl Iterator<Item = Pace>) {
        let known = self.rings.len();
        self.rings.extend(paces.skip(known).map(|pace| Ring::of(pace.width_ms)));
        self.newest.resize_with(self.rings.len(), Newest::default);
    }

    /// A counter that has just been made.
    pub(crate) fn push(&mut self, slot: Slot, rule: usize, key: u32) {
        let newest = &mut self.newest[rule];
        if !slot.has_turn || slot.end < newest.end {
            // Events of two days mix about midnight: nothing moves for those of the earlier.
            return self.wait(slot, number(rule), key);
        }
        if newest.end != slot.end {
            let before = newest.end;
            for (lane, keys) in newest.lanes.iter_mut().enumerate() {
                if !keys.is_empty() {
                    let waiting = self.later.entry((turn(before, lane), number(rule))).or_default();
                    // As many will come again.
                    let next = Vec::with_capacity(keys.len());
                    let few = std::mem::replace(waiting, std::mem::replace(keys, next));
                    waiting.extend(few);
                }
            }
            (newest.end, newest.from) = (slot.end, usize::MAX);
        }
        if newest.lanes.is_empty() {
            newest.lanes.resize_with(LANES, Vec::new);
        }
        newest.lanes[slot.lane].push(key);
        newest.from = newest.from.min(slot.lane);
        self.is_earlier(slot.over());
    }

    /// Lets go of a rule's keys.
    pub(crate) fn clear(&mut self, rule: usize) {
        let number = number(rule);
        self.later.retain(|(_, of), _| *of != number);
        if let (Some(ring), Some(newest)) = (self.rings.get_mut(rule), self.newest.get_mut(rule)) {
            ring.clear();
            *newest = Newest::default();
        }
        self.first = self.earliest();
    }

    /// The earliest watermark at which one may go.
    fn earliest(&self) -> Option<i64> {
        let newest = self.newest.iter().filter_map(Newest::first);
        let later = self.later.first_key_value().map(|((over, _), _)| *over);
        let rings = self.rings.iter().filter_map(Ring::first);
        later.into_iter().chain(newest).chain(rings).min()
    }

    /// Brings near where a rule's keys wait.
    pub(crate) fn near(&self, slot: Slot, rule: u32) {
        if let Some(ring) = self.rings.get(rule as usize) {
            ring.near(slot.over());
        }
    }

    /// A counter that is to be looked at again.
    pub(crate) fn wait(&mut self, slot: Slot, rule: u32, key: u32) {
        let over = slot.over();
        let ring = self.rings.get_mut(rule as usize);
        if !ring.is_some_and(|ring| ring.push(over, key)) {
            self.later.entry((over, rule)).or_default().push(key);
        }
        self.is_earlier(over);
    }

    fn is_earlier(&mut self, over: i64) {
        self.first = Some(self.first.map_or(over, |first| first.min(over)));
    }

    /// Whether the watermark has reached a slot.
    #[inline]
    pub(crate) fn is_due(&self, watermark: i64) -> bool {
        self.first.is_some_and(|first| first <= watermark)
    }

    /// The keys of the earliest slot that the watermark has reached, and the watermark that they
    /// waited for.
    pub(crate) fn due(&mut self, watermark: i64) -> Option<(i64, Due)> {
        let first = self.first.filter(|first| *first <= watermark)?;
        let mut due = Due::new();
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 == first) {
            let ((_, rule), keys) = entry.remove_entry();
            due.push((rule, keys));
        }
        for (rule, ring) in self.rings.iter_mut().enumerate() {
            due.extend(ring.take(first).map(|keys| (number(rule), keys)));
        }
        for (rule, newest) in self.newest.iter_mut().enumerate() {
            if newest.first() == Some(first)
                && let Some(keys) = newest.lanes.get_mut(newest.from)
            {
                due.push((number(rule), std::mem::take(keys)));
                newest.step();
            }
        }
        self.first = self.earliest();
        Some((first, due))
    }

    /// Takes the lists back in which keys came.
    pub(crate) fn give_back(&mut self, due: Due) {
        for (rule, keys) in due {
            if let Some(ring) = self.rings.get_mut(rule as usize) {
                ring.give_back(keys);
            }
        }
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        let later: usize = self.later.values().map(|keys| keys.capacity() * 4).sum();
        let lanes = self.newest.iter().flat_map(|newest| &newest.lanes);
        let newest: usize = lanes.map(|keys| size_of::<Vec<u32>>() + keys.capacity() * 4).sum();
        later + newest + self.rings.iter().map(Ring::bytes).sum::<usize>()
    }
}

impl Newest {
    /// The watermark at which the first of them may go.
    fn first(&self) -> Option<i64> {
        self.lanes.get(self.from).map(|_| turn(self.end, self.from))
    }

    /// The first lane is empty now.
    fn step(&mut self) {
        let next = self.lanes.iter().skip(self.from).position(|keys| !keys.is_empty());
        self.from = next.map_or(usize::MAX, |behind| self.from + behind);
    }
}

/// When it is the turn of a lane of a slot.
fn turn(end: i64, lane: usize) -> i64 {
    end.saturating_add(i64::try_from(lane).unwrap_or(0) * LANE_MS)
}

fn lane_of(hash: u64) -> usize {
    usize::try_from(spread(hash) >> 32).unwrap_or(0) % LANES
}

#[cfg(test)]
mod tests;
