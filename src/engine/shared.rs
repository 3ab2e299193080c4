//! Keys that cross partitions: the owner's side of partial aggregates (R8, architecture 5).

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::engine::act::Seed;
use crate::engine::closing::MayFire;
use crate::engine::inputs::Told;
use crate::engine::keyed::{At, Contribution, Ctx};
use crate::engine::partial::{Batch, Entry, EntryMark, Mark};
use crate::engine::plan::{Form, Plan};
use crate::engine::routes::Seat;
use crate::engine::space::Key;
use crate::engine::state::{Output, State};
use crate::engine::view::span;
use crate::engine::{LOOK_AHEAD, Origin};

/// What one input says beside its entries.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    /// Partition of events that it is of.
    pub(crate) from: &'a Origin,
    /// Over all partitions, once this one has spoken.
    pub(crate) watermark: Option<i64>,
    /// The event that moved the partition's watermark last.
    pub(crate) mover: Option<EntryMark<'a>>,
    /// The cells of its entries have been brought near.
    pub(crate) is_near: bool,
}

impl Head<'_> {
    /// The event behind what its watermark brings about.
    fn mover_at<'a>(&'a self, seed: Seed<'a>, watermark: Option<i64>) -> At<'a> {
        let (id, ts) = self.mover.map_or(("", watermark.unwrap_or(0)), |mark| (mark.id, mark.ts));
        At {
            ts,
            seed,
            id,
            topic: &self.from.topic,
            partition: self.from.partition,
            offset: self.mover.map_or(-1, |mark| mark.offset),
            source: None,
        }
    }
}

/// The entries of one input, by place.
pub(crate) trait Brings<'a> {
    fn len(&self) -> usize;
    /// The place of an entry's rule, as long as there is such a rule.
    fn rule(&self, plan: &Plan, at: usize) -> Option<usize>;
    /// Event time at which it counts.
    fn ts(&self, at: usize) -> i64;
    fn is_reversal(&self, at: usize) -> bool;
    fn mark(&self, at: usize) -> EntryMark<'a>;
    /// Its place among all that the input brought.
    fn place(&self, at: usize) -> usize {
        at
    }
    /// The one distinct value that it brings, which has its time; a reversal brings none.
    fn value(&self, at: usize) -> Option<u64>;
    /// Hands out its key.
    fn with_key<R>(&mut self, at: usize, taker: impl FnOnce(&mut Key<'a>) -> R) -> R;
    /// Hands out its key and what it brings.
    fn take<R>(&mut self, at: usize, taker: impl FnOnce(&mut Key<'a>, &Contribution<'_>) -> R)
    -> R;
    /// True when the owner has closed the window in which a rule counts an entry.
    #[inline]
    fn is_over(&self, plan: &Plan, (rule, at): (usize, usize), watermark: i64) -> bool {
        let ts = self.ts(at);
        ts < watermark && !plan.info[rule].gathers() && closes(plan, rule, ts, watermark)
    }
}

impl<'a> Brings<'a> for &Batch<'a> {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn rule(&self, plan: &Plan, at: usize) -> Option<usize> {
        let rule = self.entries[at].rule as usize;
        plan.named(*self.rules.get(rule)?, rule)
    }

    fn ts(&self, at: usize) -> i64 {
        self.entries[at].ts
    }

    fn is_reversal(&self, at: usize) -> bool {
        self.entries[at].reversal
    }

    fn mark(&self, at: usize) -> EntryMark<'a> {
        self.entries[at].mark
    }

    fn take<R>(
        &mut self,
        at: usize,
        taker: impl FnOnce(&mut Key<'a>, &Contribution<'_>) -> R,
    ) -> R {
        let Entry { ts, of, to, reversal, .. } = &self.entries[at];
        let what = Contribution { ts: *ts, of, to, reversal: *reversal };
        self.with_key(at, |key| taker(key, &what))
    }

    fn value(&self, at: usize) -> Option<u64> {
        let Entry { ts, of, reversal, .. } = &self.entries[at];
        if *reversal { None } else { of.only(*ts) }
    }

    fn with_key<R>(&mut self, at: usize, taker: impl FnOnce(&mut Key<'a>) -> R) -> R {
        let Entry { key, key_hash, .. } = self.entries[at];
        taker(&mut Key::hashed(key, key_hash))
    }
}

impl State {
    /// Merges one record of the partials topic: first what belongs to windows that its
    /// watermark closes, then the watermark, then the rest.
    pub(crate) fn partials(
        &mut self,
        plan: &Plan,
        payload: &[u8],
        offset: i64,
        record_ts: Option<i64>,
        out: &mut Output,
    ) {
        let Some(batch) = Batch::decode(payload).filter(Batch::is_sound) else {
            out.counts.partials_unreadable += 1;
            return;
        };
        let told = Told { watermark: batch.watermark, idle: batch.idle };
        let all = self.inputs.tell(
            batch.partition,
            told,
            batch.partitions,
            record_ts,
            plan.settings.idle_after_ms,
        );
        let from = self.origin_of(batch.topic, batch.partition);
        let head = Head { from: &from, watermark: all, mover: batch.mover, is_near: false };
        self.merge_batch(plan, (&head, &mut &batch), offset, out);
        if let Some(mover) = batch.mover {
            self.note_mover(&from, &mover);
        }
        if batch.tells {
            self.heard.note(&batch.rules, batch.partition);
        }
    }

    /// Merges what stands at an offset of the log of partial aggregates.
    pub(crate) fn merge_batch<'a>(
        &mut self,
        plan: &Plan,
        (head, entries): (&Head<'_>, &mut impl Brings<'a>),
        offset: i64,
        out: &mut Output,
    ) {
        let before = self.watermark;
        // It never falls.
        let watermark = before.max(head.watermark);
        let (now, place) = (watermark.unwrap_or(i64::MIN), self.origin.partition);
        let has_over = (0..entries.len()).any(|at| entries.ts(at) < now);
        if has_over {
            self.merge_over(plan, (head, entries), (offset, before, now), out);
        }
        let moved = watermark != before;
        let mover = || head.mover_at(Seed::Place(place, offset, usize::MAX), watermark);
        if let Some(watermark) = watermark.filter(|_| moved) {
            self.close_day(plan, watermark, out);
            self.watermark = Some(watermark);
            if self.keyed.has_due(watermark) {
                let (effects, counts) = (&mut out.effects, &mut out.counts);
                let mut ctx = Ctx { plan, watermark, effects, counts };
                self.keyed.close(&mover(), false, &mut ctx);
            }
            self.tell_over(plan, watermark, out);
        }
        let mut last = None;
        for at in 0..entries.len() {
            if !head.is_near && at.is_multiple_of(LOOK_AHEAD) {
                self.look_at_entries(plan, entries, at, now);
            }
            if let Some(rule) = entries.rule(plan, at)
                && !(has_over && entries.is_over(plan, (rule, at), now))
            {
                self.merge(plan, rule, (entries, at), (head, offset, now), out);
                last = Some(at);
            }
        }
        // The rest may lie far behind the watermark, where windows go on.
        if let Some(watermark) = watermark.filter(|_| moved) {
            self.keyed.expire(plan, watermark);
        }
        if watermark.is_some() && (moved || entries.len() > 0) && !plan.silence.is_empty() {
            let seen = self.seen_by_silence(plan, entries);
            let last = last
                .map(|at| mark_of((place, offset, entries.place(at)), entries.mark(at), head.from));
            let mark = last.filter(|_| !moved).unwrap_or_else(mover);
            let mut ctx =
                Ctx { plan, watermark: now, effects: &mut out.effects, counts: &mut out.counts };
            self.keyed.silence(&mark, moved, &seen, &mut ctx);
        }
    }

    /// Merges what counts in windows that are over `now`, as far as they were not `before`.
    #[inline(never)]
    fn merge_over<'a>(
        &mut self,
        plan: &Plan,
        (head, entries): (&Head<'_>, &mut impl Brings<'a>),
        (offset, before, now): (i64, Option<i64>, i64),
        out: &mut Output,
    ) {
        let before = before.unwrap_or(i64::MIN);
        for at in 0..entries.len() {
            let Some(rule) = entries.rule(plan, at) else { continue };
            if !entries.is_over(plan, (rule, at), now) {
                continue;
            }
            // Of a window that closes now, or one that closed before.
            if entries.is_over(plan, (rule, at), before) {
                out.counts.partials_late += u64::from(!entries.is_reversal(at));
            } else {
                self.merge(plan, rule, (entries, at), (head, offset, before), out);
            }
        }
    }

    /// Brings near the cells of the next entries that count, from one on.
    fn look_at_entries<'a>(
        &self,
        plan: &Plan,
        entries: &mut impl Brings<'a>,
        begin: usize,
        watermark: i64,
    ) {
        let mut keys: SmallVec<[(u64, usize, [Seat; 1]); LOOK_AHEAD]> = SmallVec::new();
        for at in begin..entries.len().min(begin + LOOK_AHEAD) {
            if let Some(rule) =
                entries.rule(plan, at).filter(|rule| !entries.is_over(plan, (*rule, at), watermark))
            {
                let hash = entries.take(at, |key, _| key.hash);
                keys.push((hash, plan.info[rule].space, [plan.seat(rule)]));
            }
        }
        let keys = keys.iter().map(|(hash, space, seat)| (*hash, *space, seat.as_slice()));
        self.keyed.cells.look_at(keys);
    }

    fn merge<'a>(
        &mut self,
        plan: &Plan,
        rule: usize,
        (entries, at): (&mut impl Brings<'a>, usize),
        (head, offset, watermark): (&Head<'_>, i64, i64),
        out: &mut Output,
    ) {
        let mut ctx = Ctx { plan, watermark, effects: &mut out.effects, counts: &mut out.counts };
        let ts = entries.ts(at);
        let is_done = entries.value(at).is_some_and(|value| {
            entries.with_key(at, |key| self.keyed.add_value(rule, key, (value, ts), &mut ctx))
        });
        if !is_done {
            let place = (self.origin.partition, offset, entries.place(at));
            let mark = &mark_of(place, entries.mark(at), head.from);
            entries.take(at, |key, what| self.keyed.observe(rule, key, what, mark, &mut ctx));
        }
    }

    /// A topic and partition of events, as triggers name them.
    pub(crate) fn origin_of(&self, topic: &str, partition: i32) -> Origin {
        match &self.mover {
            Some((known, _)) if *known.topic == *topic => {
                Origin { topic: known.topic.clone(), partition }
            }
            _ => Origin { topic: Arc::from(topic), partition },
        }
    }

    pub(crate) fn note_mover(&mut self, from: &Origin, mover: &EntryMark<'_>) {
        if let Some((origin, mark)) = &mut self.mover {
            origin.clone_from(from);
            mover.id.clone_into(&mut mark.id);
            (mark.ts, mark.offset) = (mover.ts, mover.offset);
        } else {
            let EntryMark { id, ts, offset } = *mover;
            self.mover = Some((from.clone(), Mark { id: id.to_owned(), ts, offset }));
        }
    }

    /// Keys of silence rules that these entries touched, each once.
    fn seen_by_silence<'a>(
        &self,
        plan: &Plan,
        entries: &mut impl Brings<'a>,
    ) -> BTreeMap<(usize, u32), MayFire> {
        let mut seen = BTreeMap::new();
        for at in 0..entries.len() {
            let Some(rule) = entries.rule(plan, at) else { continue };
            if !plan.silence.contains(&rule) {
                continue;
            }
            let space = &self.keyed.cells.spaces[plan.info[rule].space];
            if let Some(id) = entries.take(at, |key, _| space.find(key)) {
                let may_fire = seen.entry((rule, id)).or_insert(MayFire::No);
                if !entries.is_reversal(at) {
                    *may_fire = MayFire::Yes;
                }
            }
        }
        seen
    }
}

/// The event behind an entry, in this place: partition, offset and entry in the log of partials.
fn mark_of<'a>(
    (partition, offset, at): (i32, i64, usize),
    mark: EntryMark<'a>,
    from: &'a Origin,
) -> At<'a> {
    At {
        ts: mark.ts,
        seed: Seed::Place(partition, offset, at),
        id: mark.id,
        topic: &from.topic,
        partition: from.partition,
        offset: mark.offset,
        source: None,
    }
}

/// True when the window in which a rule counts what happens at `ts` has closed at the watermark.
pub(crate) fn closes(plan: &Plan, rule: usize, ts: i64, watermark: i64) -> bool {
    let info = &plan.info[rule];
    // A window ends later than what happens in it.
    matches!(info.form, Form::ZScore | Form::CalendarBelow)
        && ts.saturating_add(info.close_after_ms) < watermark
        && span(plan, info.window, ts).end.saturating_add(info.close_after_ms) <= watermark
}

#[cfg(test)]
mod tests;
