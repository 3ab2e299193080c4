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
use crate::engine::space::Key;
use crate::engine::state::{Output, State};
use crate::engine::view::span;
use crate::engine::{LOOK_AHEAD, Origin};
use crate::rule::Check;

/// How a batch came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Where it stands in the log of partial aggregates.
    pub(crate) offset: i64,
    pub(crate) record_ts: Option<i64>,
    /// The cells of its entries have been brought near.
    pub(crate) is_near: bool,
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
        let arrival = Arrival { offset, record_ts, is_near: false };
        self.merge_batch(plan, (&batch, &batch.entries), arrival, out);
    }

    /// Merges what `batch` says, with these entries.
    pub(crate) fn merge_batch(
        &mut self,
        plan: &Plan,
        (batch, entries): (&Batch<'_>, &[Entry<'_>]),
        Arrival { offset, record_ts, is_near }: Arrival,
        out: &mut Output,
    ) {
        let before = self.watermark;
        let told = Told { watermark: batch.watermark, idle: batch.idle };
        let idle_after_ms = plan.settings.idle_after_ms;
        let all =
            self.inputs.tell(batch.partition, told, batch.partitions, record_ts, idle_after_ms);
        // It never falls.
        let watermark = self.watermark.max(all);
        let from = self.origin_of(batch);
        let place = self.origin.partition;
        let mut rest: SmallVec<[(usize, usize); 8]> = SmallVec::with_capacity(entries.len());
        for (at, entry) in entries.iter().enumerate() {
            let Some(rule) = named(plan, batch, entry) else { continue };
            if closes(plan, rule, entry, watermark) {
                let mark = mark_of((place, offset, at), entry, &from);
                let before = before.unwrap_or(i64::MIN);
                self.merge(plan, rule, entry, &mark, before, out);
            } else {
                rest.push((rule, at));
            }
        }
        let mover = batch.mover;
        let seed = Seed::Place(place, offset, usize::MAX);
        let (id, ts) = mover.map_or(("", watermark.unwrap_or(0)), |mark| (mark.id, mark.ts));
        let mark = At {
            ts,
            seed,
            id,
            topic: &from.topic,
            partition: from.partition,
            offset: mover.map_or(-1, |mark| mark.offset),
        };
        if let Some(mover) = mover {
            self.note_mover(&from, &mover);
        }
        let moved = watermark != before;
        if let Some(watermark) = watermark.filter(|_| moved) {
            self.watermark = Some(watermark);
            let mut ctx =
                Ctx { plan, watermark, effects: &mut out.effects, counts: &mut out.counts };
            self.keyed.close(&mark, false, &mut ctx);
            self.settle(plan, watermark, out);
        }
        let now = watermark.unwrap_or(i64::MIN);
        for some in rest.chunks(LOOK_AHEAD) {
            if !is_near {
                let keys = some.iter().map(|(rule, at)| {
                    let space = plan.info[*rule].space;
                    (entries[*at].key_hash, space, std::slice::from_ref(rule))
                });
                self.keyed.cells.look_at(plan, keys);
            }
            for (rule, at) in some {
                let mark = mark_of((place, offset, *at), &entries[*at], &from);
                self.merge(plan, *rule, &entries[*at], &mark, now, out);
            }
        }
        if watermark.is_some() && (moved || !entries.is_empty()) && !plan.silence.is_empty() {
            let seen = self.seen_by_silence(plan, batch, entries);
            let last = rest.last().map(|(_, at)| (*at, &entries[*at]));
            let last = last.map(|(at, entry)| mark_of((place, offset, at), entry, &from));
            let mark = last.filter(|_| !moved).unwrap_or(mark);
            let mut ctx =
                Ctx { plan, watermark: now, effects: &mut out.effects, counts: &mut out.counts };
            self.keyed.silence(&mark, moved, &seen, &mut ctx);
        }
    }

    fn merge(
        &mut self,
        plan: &Plan,
        rule: usize,
        entry: &Entry<'_>,
        at: &At<'_>,
        watermark: i64,
        out: &mut Output,
    ) {
        if closes(plan, rule, entry, Some(watermark)) {
            out.counts.partials_late += u64::from(!entry.reversal);
            return;
        }
        let what =
            Contribution { ts: entry.ts, of: &entry.of, to: &entry.to, reversal: entry.reversal };
        let mut ctx = Ctx { plan, watermark, effects: &mut out.effects, counts: &mut out.counts };
        self.keyed.observe(rule, &mut Key::hashed(entry.key, entry.key_hash), &what, at, &mut ctx);
    }

    /// The topic and partition of a batch, as triggers name them.
    fn origin_of(&self, batch: &Batch<'_>) -> Origin {
        let partition = batch.partition;
        match &self.mover {
            Some((known, _)) if *known.topic == *batch.topic => {
                Origin { topic: known.topic.clone(), partition }
            }
            _ => Origin { topic: Arc::from(batch.topic), partition },
        }
    }

    fn note_mover(&mut self, from: &Origin, mover: &EntryMark<'_>) {
        if let Some((origin, mark)) = &mut self.mover {
            origin.clone_from(from);
            mover.id.clone_into(&mut mark.id);
            (mark.ts, mark.offset) = (mover.ts, mover.offset);
        } else {
            let EntryMark { id, ts, offset } = *mover;
            self.mover = Some((from.clone(), Mark { id: id.to_owned(), ts, offset }));
        }
    }

    /// Keys of silence rules that this batch touched, each once.
    fn seen_by_silence(
        &self,
        plan: &Plan,
        batch: &Batch<'_>,
        entries: &[Entry<'_>],
    ) -> BTreeMap<(usize, u32), MayFire> {
        let mut seen = BTreeMap::new();
        for entry in entries {
            let Some(rule) = named(plan, batch, entry) else { continue };
            let space = &self.keyed.cells.spaces[plan.info[rule].space];
            if plan.silence.contains(&rule)
                && let Some(id) = space.find(&mut Key::hashed(entry.key, entry.key_hash))
            {
                let may_fire = seen.entry((rule, id)).or_insert(MayFire::No);
                if !entry.reversal {
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
    entry: &Entry<'a>,
    from: &'a Origin,
) -> At<'a> {
    At {
        ts: entry.mark.ts,
        seed: Seed::Place(partition, offset, at),
        id: entry.mark.id,
        topic: &from.topic,
        partition: from.partition,
        offset: entry.mark.offset,
    }
}

/// The place of an entry's rule, as long as there is such a rule.
fn named(plan: &Plan, batch: &Batch<'_>, entry: &Entry<'_>) -> Option<usize> {
    plan.named(*batch.rules.get(entry.rule as usize)?, entry.rule as usize)
}

/// True when the entry's window has closed at the watermark.
fn closes(plan: &Plan, rule: usize, entry: &Entry<'_>, watermark: Option<i64>) -> bool {
    let info = &plan.info[rule];
    let window = match (&plan.rule(rule).check, info.form) {
        (Check::ZScore(zscore), _) => zscore.window,
        (Check::Threshold { window, .. }, Form::CalendarBelow) => *window,
        _ => return false,
    };
    let Some(watermark) = watermark else { return false };
    span(plan, window, entry.ts).end.saturating_add(info.close_after_ms) <= watermark
}
