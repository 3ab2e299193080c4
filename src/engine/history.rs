//! What a rule that is new would have told the owners of its keys, had it been there from the
//! beginning: kept while the log is read for it, and told at once when it comes into force (R18).
//!
//! The records are those of any flush, so that an owner counts them as it counts what comes later.
//! With the last one to each owner the partition says that the past of these rules is told.

use std::collections::BTreeMap;

use crate::engine::closing::SILENT_MS;
use crate::engine::inputs::Told;
use crate::engine::outbox::Pending;
use crate::engine::partial::{Batch, PartialsOutbox, RECORD_MAX, apart, owner_of, size};
use crate::engine::plan::{Form, Plan};
use crate::engine::tally::PACKED;
use crate::engine::view::span;
use crate::engine::wire::Letter;
use crate::engine::{Origin, forecast::FLOW_MS};
use crate::event::EventTime;
use crate::rule::{Check, Window};

/// Bytes that the past of the rules of one partition may take, about: it is told in one
/// transaction. What is kept is some 150 bytes a key and step.
const BYTES_MAX: usize = 64 << 20;
/// So many entries are not looked through for those that are over.
const FEW: usize = 10_000;
/// A baseline is made of the windows of so many times its `history`: of an average that never
/// forgets all but e⁻⁸ lies within, and each window that counts has been judged by a whole baseline.
pub(crate) const BASELINES: i64 = 4;

/// Kept by an outbox that puts nothing out.
#[derive(Debug, Clone)]
pub(crate) struct History {
    /// Looked through when there are so many entries, and has room for so many bytes.
    due: usize,
    room: usize,
    /// Rules that brought too much, by place.
    given_up: Vec<usize>,
}

impl PartialsOutbox {
    /// From here on keeps what rules that are not judged bring, and nothing else.
    pub(crate) fn collect(&mut self) {
        self.pending.clear();
        let history = History { due: FEW, room: BYTES_MAX, given_up: Vec::new() };
        self.history = Some(Box::new(history));
    }

    pub(crate) fn collects(&self) -> bool {
        self.history.is_some()
    }

    /// Whether it takes what a rule brings.
    pub(crate) fn takes(&self, rule: usize, gathers: bool) -> bool {
        match &self.history {
            None => !gathers,
            Some(history) => gathers && !history.given_up.contains(&rule),
        }
    }

    /// Lets go of what no window counts any more, now and then, and of rules that bring too much.
    pub(crate) fn keep_small(&mut self, plan: &Plan, watermark: Option<EventTime>) {
        let Some(History { due, room, .. }) = self.history.as_deref() else { return };
        let (due, room) = (*due, *room);
        if self.pending.len() < due {
            return;
        }
        self.prune(plan, watermark);
        while self.pending.bytes() > room {
            let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
            for entry in self.pending.entries() {
                *counts.entry(entry.rule).or_default() += 1;
            }
            let Some((most, _)) = counts.into_iter().max_by_key(|(_, count)| *count) else { break };
            self.pending.retain(|entry| entry.rule != most);
            if let Some(history) = &mut self.history {
                history.given_up.push(most as usize);
            }
        }
        if let Some(history) = &mut self.history {
            history.due = (self.pending.len() * 2).max(due);
        }
    }

    fn prune(&mut self, plan: &Plan, watermark: Option<EventTime>) {
        let Some(EventTime(watermark)) = watermark else { return };
        self.pending.retain(|entry| counts_until(plan, entry.rule as usize, entry.ts) > watermark);
    }

    /// Encoded records of what was kept, if anything was, with the partition of each; nothing is
    /// kept from here on. They say that the past of all rules of the plan is told. The watermark is still the one that the owners of keys were `told` last.
    pub(crate) fn tell_history(
        &mut self,
        plan: &Plan,
        (from, watermark, idle): (&Origin, Option<EventTime>, bool),
        partitions: u32,
    ) -> Vec<(u32, Vec<u8>)> {
        let mut kept = Pending::default();
        if self.history.is_some() {
            self.prune(plan, watermark);
            kept = std::mem::take(&mut self.pending);
            self.history = None;
        }
        let told_rules = plan.told_rules();
        let mut records = Vec::new();
        if told_rules.is_empty() {
            return records;
        }
        let head = self.batch(from, partitions, Told { watermark: self.told, idle });
        let mut letters: Vec<Letter> = (0..partitions).map(|_| Letter::default()).collect();
        for entry in kept.entries() {
            let to = owner_of(entry.key_hash, partitions);
            let letter = &mut letters[to as usize];
            for piece in apart(&entry, RECORD_MAX / PACKED / 2) {
                if letter.len() + size(&piece) > RECORD_MAX && !letter.is_empty() {
                    records.push((to, letter.seal(&head)));
                }
                letter.push(&piece, kept.rules());
            }
        }
        let last = Batch { tells: true, ..head.clone() };
        for (to, mut letter) in (0..).zip(letters) {
            letter.mention(&told_rules);
            records.push((to, letter.seal(&last)));
        }
        records
    }

    /// Rules whose past was too much to keep, by place.
    pub(crate) fn given_up(&self) -> &[usize] {
        self.history.as_ref().map_or(&[], |history| &history.given_up)
    }

    /// Owners have been told what another outbox has told them.
    pub(crate) fn has_told_as(&mut self, other: &PartialsOutbox) {
        self.told = other.told;
    }
}

/// The watermark up to which what counts at `ts` may matter.
fn counts_until(plan: &Plan, rule: usize, ts: i64) -> i64 {
    let info = &plan.info[rule];
    let (window, length) = match info.window {
        Window::Duration(ms) => (ts.saturating_add(ms), ms),
        Window::Calendar(_) => {
            let span = span(plan, info.window, ts);
            (span.end, span.end.saturating_sub(span.start))
        }
    };
    let until = match info.form {
        Form::Match => ts,
        Form::Calendar if info.has_flow => window.max(ts.saturating_add(FLOW_MS)),
        Form::Calendar | Form::Rolling => window,
        // The key is known for so long.
        Form::CalendarBelow | Form::RollingBelow => window.saturating_add(length.max(SILENT_MS)),
        Form::ZScore => match &plan.rule(rule).check {
            Check::ZScore(zscore) => {
                let windows = i64::from(zscore.baseline.empties_max()) + 1;
                window.saturating_add(length.saturating_mul(BASELINES * windows))
            }
            _ => window,
        },
    };
    // Other partitions may be behind.
    let slack = plan.settings.allowed_lateness_ms.saturating_add(plan.settings.idle_after_ms);
    until.saturating_add(slack)
}

#[cfg(test)]
mod tests;
