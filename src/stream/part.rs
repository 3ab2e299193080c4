//! One partition of an input topic at one worker: its engine state and what it has put out.

use std::collections::VecDeque;

use crate::engine::{
    ChangePlace, Counts, Effect, Input, LOOK_AHEAD, Loaded, Origin, Outcome, Output, Seat, State,
    step,
};
use crate::event::{Canary, Event, EventTime, Reason};
use crate::snapshot::{Landmark, Manifest, Subject};
use crate::stream::bench::Workbench;
use crate::stream::control::{
    Applied, Begun, Journaled, Placed, begin, journal, newest, rule_sets,
};
use crate::stream::emit::{Note, quarantined};
use crate::stream::plans::Sets;
use crate::stream::reign::Reign;
use crate::stream::{Place, Polled, Progress, Record, Source};

mod graft;
mod outgoing;
mod successor;

pub(crate) use graft::Graft;
use outgoing::Cause;
pub(crate) use outgoing::REACH;

/// What a record of the events topic says; `None` for what is no such record.
type Decoded<'a> = Option<Result<Event<'a>, Reason>>;

/// The canary that a record is. What is an event is not looked at.
fn canary(record: &Record<'_>, decoded: Option<&Result<Event<'_>, Reason>>) -> Option<Canary> {
    match decoded {
        Some(Ok(_)) => None,
        _ => Canary::read(record.value?),
    }
}

/// State, place in the log and counts of one partition.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) place: Place,
    pub(crate) reign: Reign,
    pub(crate) state: State,
    pub(crate) output: Output,
    /// Offset at which the state was begun empty; beyond 0 the log had lost its beginning.
    pub(crate) begun_at: i64,
    /// Offset of the next record to apply.
    pub(crate) next: i64,
    /// Records before this offset were committed before: they rebuild state and emit nothing.
    pub(crate) emit_from: i64,
    /// Offset of the snapshot that the state began with.
    pub(crate) snapshot: Option<i64>,
    /// The last record applied, of some together, and its fingerprint.
    pub(crate) landmark: Option<Landmark>,
    /// What the group has committed; -1 when nothing.
    pub(crate) committed: i64,
    /// What came of records before this offset has left for the owners of keys that cross
    /// partitions, or leaves with the next transaction; what the group knows of it.
    told: i64,
    pub(crate) told_committed: i64,
    /// All that came of records before this offset is committed, or goes with the transaction under
    /// way.
    handed: i64,
    /// Changes that restoring takes in again, the first first.
    history: VecDeque<Journaled>,
    /// The plans of rule sets among them.
    sets: Sets,
    /// What is taken in at an offset that is still to come.
    graft: Option<Box<Graft>>,
    /// Offset in the control topic up to which changes are taken in.
    pub(crate) controlled: i64,
    /// Changes taken in that are not committed.
    pub(crate) changes_open: usize,
    /// Offset from which on changes are taken in.
    settles_at: i64,
    /// While another state is made for a set that counts otherwise: what was taken in since.
    since: Vec<Journaled>,
    /// The plans of rule sets among it.
    since_sets: Sets,
    /// The last accounts of days that were made without output.
    reports: Vec<Effect>,
    /// Since when it tells the owners of keys what rules count in their old form, too.
    old_forms_us: Option<i64>,
    pub(crate) at_end: bool,
    pub(crate) last_input_us: i64,
    pub(crate) assigned_us: i64,
    pub(crate) restored: bool,
    told_idle: bool,
    told_us: i64,
    /// Counts as of the last export.
    reported: Counts,
}

impl Part {
    /// An empty one, of a log that begins at `low`. Where its rules do not look back so far, nothing
    /// is missing though it begins later.
    pub(crate) fn new(place: Place, origin: Origin, low: i64, reign: Reign) -> Part {
        let start = low.max(reign.from);
        let begun_at = if start > low { 0 } else { low };
        let state = (State::new(origin), Output::default());
        Part { begun_at, ..Part::with(state, place, start, reign) }
    }

    fn with((state, output): (State, Output), place: Place, start: i64, reign: Reign) -> Part {
        Part {
            place,
            reign,
            state,
            output,
            begun_at: start,
            next: start,
            emit_from: start,
            snapshot: None,
            landmark: None,
            committed: start,
            told: start,
            told_committed: start,
            handed: i64::MIN,
            history: VecDeque::new(),
            sets: Sets::new(),
            graft: None,
            controlled: 0,
            changes_open: 0,
            settles_at: i64::MIN,
            since: Vec::new(),
            since_sets: Sets::new(),
            reports: Vec::new(),
            old_forms_us: None,
            at_end: false,
            last_input_us: 0,
            assigned_us: 0,
            restored: false,
            told_idle: false,
            told_us: i64::MIN,
            reported: Counts::default(),
        }
    }

    /// A part as a snapshot has it.
    pub(crate) fn of(place: Place, loaded: Loaded, manifest: &Manifest, reign: Reign) -> Part {
        Part {
            begun_at: manifest.begun_at,
            snapshot: Some(manifest.offset),
            landmark: manifest.landmark,
            controlled: manifest.control,
            ..Part::with((loaded.state, loaded.output), place, manifest.offset, reign)
        }
    }

    /// A transaction takes all that came of it so far.
    pub(crate) fn hand_over(&mut self) {
        if self.restored {
            self.handed = self.next;
        }
    }

    /// Whether a transaction has taken all that it has put out, what went into the outbox since
    /// aside: the state is that of an offset of the log and of nothing else.
    pub(crate) fn is_whole(&self) -> bool {
        self.restored
            && self.next == self.handed
            && self.output.effects.is_empty()
            && self.output.partials.is_empty()
            && !self.output.daily.has_news(&self.state)
    }

    /// Whether everything that it has taken in and put out is committed.
    pub(crate) fn is_even(&self) -> bool {
        self.is_whole() && self.next == self.committed && self.changes_open == 0
    }

    /// Owned anew: what lies before `from.next` is rebuilt without output, and what came of it from
    /// `from.told` on is told. `committed`: the group has committed that; else it is to be committed
    /// at once, so that it stays the same for whoever comes next.
    /// Changes are taken in from `settles_at` on.
    pub(crate) fn resume(
        &mut self,
        (from, committed): (Progress, bool),
        settles_at: i64,
        now_us: i64,
    ) {
        let Progress { next: from, told } = from;
        self.settles_at = settles_at;
        self.emit_from = from;
        self.committed = if committed { from } else { -1 };
        (self.told, self.told_committed) = (told, told);
        self.at_end = false;
        self.restored = self.next >= from;
        self.assigned_us = now_us;
        self.last_input_us = now_us;
        self.told_us = i64::MIN;
        self.reported = self.output.counts.clone();
        self.output.daily.forget(&self.state);
    }

    /// Folds in what came for this partition, in order: events are decoded and their keys looked
    /// up ahead, some at a time.
    pub(crate) fn take(&mut self, polled: &[Polled<'_>], bench: &mut Workbench, now_us: i64) {
        for some in polled.chunks(LOOK_AHEAD) {
            // On the heap, where events stay in place: they are large.
            let mut decoded: Vec<Decoded<'_>> = Vec::with_capacity(some.len());
            for one in some {
                decoded.push(self.decode(one, bench));
                if let (Polled::Record(record), Some(Some(Ok(event)))) = (one, decoded.last()) {
                    let event = (record.offset, event);
                    self.state.foresee(&self.reign.plan, event, &self.output.partials);
                }
            }
            if self.place.source == Source::Events {
                self.state.look_ahead(&self.reign.plan, &self.output.partials);
            }
            for (one, decoded) in some.iter().zip(&decoded) {
                match one {
                    Polled::Record(record) => self.apply(record, decoded.as_ref(), bench, now_us),
                    Polled::End(_, at) => self.ended(*at, bench),
                }
            }
        }
        let last = polled.iter().rev().find_map(|one| match one {
            Polled::Record(record) => Some(record),
            Polled::End(..) => None,
        });
        if let Some(record) = last.filter(|record| record.offset + 1 == self.next) {
            let (offset, hash) = (record.offset, record.fingerprint());
            self.landmark = Some(Landmark { offset, hash });
        }
    }

    /// The event of a record that is new to this partition.
    fn decode<'a>(&self, polled: &Polled<'a>, bench: &mut Workbench) -> Decoded<'a> {
        match polled {
            Polled::Record(record)
                if self.place.source == Source::Events && record.offset >= self.next =>
            {
                let payload = record.value.unwrap_or_default();
                Some(bench.decoder.decode_alike(&mut bench.layouts, payload, bench.max_bytes))
            }
            _ => None,
        }
    }

    /// Folds one record in. Its outputs wait in `bench` and `output` until the next flush.
    fn apply(
        &mut self,
        record: &Record<'_>,
        decoded: Option<&Result<Event<'_>, Reason>>,
        bench: &mut Workbench,
        now_us: i64,
    ) {
        if record.offset < self.next {
            return;
        }
        self.join_before(record.offset);
        while self.history.front().is_some_and(|entry| entry.offset <= record.offset) {
            self.repeat(&bench.control_topic);
        }
        self.goes_beyond(record.offset);
        let live = record.offset >= self.emit_from;
        if live && !self.restored {
            self.come_back();
        }
        let rejected = if let Some(canary) = canary(record, decoded) {
            let input = Input::Canary { canary: &canary, offset: record.offset };
            step(&mut self.state, &self.reign.plan, input, &mut self.output);
            self.next = record.offset + 1;
            if live {
                self.put_out(bench, None);
            } else {
                self.hold_back(record.offset);
            }
            // Nobody has done anything: an idle partition stays idle.
            return;
        } else if let Some(decoded) = decoded {
            self.event(record, decoded, bench, live)
        } else {
            let payload = record.value.unwrap_or_default();
            let input =
                Input::Partials { payload, offset: record.offset, record_ts: record.timestamp_ms };
            step(&mut self.state, &self.reign.plan, input, &mut self.output);
            None
        };
        self.next = record.offset + 1;
        self.last_input_us = now_us;
        self.at_end = false;
        if !live {
            self.hold_back(record.offset);
            return;
        }
        if let Some(reason) = rejected {
            let topic = &self.state.origin().topic;
            bench.outbox.push(quarantined(record, topic, self.place, reason));
            bench.outbox.notes.push(Note::Quarantined(reason));
        }
        self.put_out(bench, Some(Cause::Record(record.timestamp_ms.unwrap_or(bench.wall_ms))));
    }

    /// Steps over one record of the events topic; the reason when it belongs in quarantine.
    fn event(
        &mut self,
        record: &Record<'_>,
        decoded: &Result<Event<'_>, Reason>,
        bench: &mut Workbench,
        live: bool,
    ) -> Option<Reason> {
        match decoded {
            Ok(event) => {
                if live && record.key != Some(event.user.as_bytes()) {
                    bench.key_mismatches += 1;
                }
                let input = Input::Event {
                    event,
                    offset: record.offset,
                    record_ts: record.timestamp_ms.map(EventTime),
                };
                step(&mut self.state, &self.reign.plan, input, &mut self.output);
            }
            Err(reason) => {
                let input = Input::Rejected { reason: *reason, offset: record.offset };
                step(&mut self.state, &self.reign.plan, input, &mut self.output);
            }
        }
        match self.output.outcome {
            Outcome::Accepted | Outcome::Duplicate | Outcome::Canary => None,
            Outcome::Late => Some(Reason::Late),
            Outcome::Quarantined(reason) => Some(reason),
        }
    }

    /// The partition is read to its end, at this offset: transaction markers may lie before it.
    fn ended(&mut self, at: i64, bench: &Workbench) {
        self.at_end = true;
        let at = at.max(self.emit_from);
        self.goes_beyond(at);
        self.next = self.next.max(at);
        self.settles_at = self.settles_at.min(self.next);
        self.join_before(self.next);
        self.catch_up(bench);
        if !self.restored {
            self.come_back();
        }
    }

    /// What the journal says of this partition, up to the committed offset, and the plans of the
    /// rule sets it names.
    pub(crate) fn remember(&mut self, history: Vec<Journaled>, sets: Sets) {
        let new = |entry: &Journaled| {
            (entry.control > self.controlled || self.begins_with(entry))
                && entry.offset <= self.emit_from
        };
        self.history = history.into_iter().filter(new).collect();
        self.sets = sets;
    }

    /// Whether the journal says there that this state takes over.
    fn begins_with(&self, entry: &Journaled) -> bool {
        let is_own = |begun: &Begun| begun.at == self.reign.begun_at;
        self.reign.is_behind() && entry.begun.as_ref().is_some_and(is_own)
    }

    /// Takes in again, without output, the changes that stand before the next record.
    pub(crate) fn catch_up(&mut self, bench: &Workbench) {
        while self.history.front().is_some_and(|entry| entry.offset <= self.next) {
            self.repeat(&bench.control_topic);
        }
    }

    /// The first change of the history, as it was taken in before.
    fn repeat(&mut self, control_topic: &str) {
        let Some(entry) = self.history.pop_front() else { return };
        let before = self.output.effects.len();
        self.step_over(&entry.changes, (control_topic, entry.partitions));
        self.reign.go_on(&entry.changes, &self.sets);
        if self.graft.is_some() {
            self.reign.part();
        }
        if let Some(Begun { at, first, holds, .. }) = entry.begun {
            match holds {
                Some(holds) if first => self.state.replace_holds(holds),
                Some(holds) => self.state.add_holds(holds),
                None => {}
            }
            if first && at == self.reign.begun_at {
                self.begin_to_judge();
            }
        }
        self.controlled = entry.control;
        self.output.effects.truncate(before);
        if self.history.is_empty() {
            self.sets.clear();
        }
    }

    /// Takes in new changes; they are noted for the journal of the next transaction. Under a rule
    /// set that counts otherwise the state goes on with what it has in common with it.
    pub(crate) fn change(&mut self, changes: &[Placed], sets: &Sets, bench: &mut Workbench) {
        let Some(last) = changes.last() else { return };
        let partitions = bench.partitions;
        self.step_over(changes, (&bench.control_topic, partitions));
        self.controlled = last.at + 1;
        self.changes_open += changes.len();
        let applied = Applied::at(self.state.origin(), self.next, partitions);
        bench.outbox.extend(journal(&applied, changes));
        if self.reign.ends_by(newest(changes), sets)
            && let Some((at, set, plan)) = self.reign.next(changes, sets)
        {
            let begun = Reign::begun((at, &set, &plan), Some(self.state.holds()), &[]);
            bench.outbox.extend(begin(&applied, self.controlled, begun));
            self.tell_history(&plan, bench);
            self.reign.is_over = true;
        }
        self.reign.go_on(changes, sets);
        if self.reign.is_warming {
            let applied = Applied::at(self.state.origin(), self.next, partitions);
            self.since.push(applied.entry(self.controlled, changes.to_vec(), None));
            let known = rule_sets(changes).filter_map(|(_, set)| sets.get_key_value(set));
            self.since_sets.extend(known.map(|(set, plan)| (set.clone(), plan.clone())));
        }
        self.put_out(bench, Some(Cause::Change));
    }

    fn step_over(&mut self, changes: &[Placed], (topic, partitions): (&str, u32)) {
        let number = u32::try_from(self.place.partition).unwrap_or(0);
        let seat = match self.place.source {
            Source::Events => Seat::Events(number),
            Source::Partials => Seat::Partials(number),
        };
        for Placed { at, change } in changes {
            let place = ChangePlace { topic, offset: *at, seat, partitions };
            let input = Input::Change { change, place };
            step(&mut self.state, &self.reign.plan, input, &mut self.output);
        }
    }

    /// Notes for the journal under which rule set the state began.
    fn begin(&mut self, bench: &mut Workbench) {
        if self.reign.is_written || !self.restored {
            return;
        }
        let applied = Applied::at(self.state.origin(), self.emit_from, bench.partitions);
        let (plan, set) = (self.reign.newest.clone(), self.reign.set.as_str());
        let begun = Reign::begun((self.reign.at, set, &plan), None, &[]);
        bench.outbox.extend(begin(&applied, self.controlled, begun));
        self.tell_history(&plan, bench);
        self.reign.is_written = true;
        // An offset goes with it, so that nobody notes it whose partition this is not.
        self.changes_open += 1;
    }

    /// What the next transaction should commit; where that is committed already only to prove whose
    /// the partition is.
    pub(crate) fn due_progress(&self, proves: bool) -> Option<Progress> {
        let next = if self.restored { self.next } else { self.emit_from };
        let is_news = next > self.committed || self.told > self.told_committed;
        // Always where changes were taken in: the offset proves that the partition is still ours.
        let is_due = is_news || self.changes_open > 0 || proves;
        is_due.then_some(Progress { next, told: self.told })
    }

    fn finish_restore(&mut self) {
        self.restored = true;
        self.reports.clear();
        self.reported = self.output.counts.clone();
    }

    /// Counts that came since the last call, for the metrics.
    pub(crate) fn new_counts(&mut self) -> (Counts, Counts) {
        let now = self.output.counts.clone();
        (std::mem::replace(&mut self.reported, now.clone()), now)
    }
}

/// How snapshots name the log of a state.
pub(crate) fn subject_of(origin: &Origin) -> Subject {
    Subject { topic: origin.topic.to_string(), partition: origin.partition }
}
