//! How a state is made for a rule set that counts otherwise, while the one there is goes on with
//! what it has in common with the set (R18): from the log, some of it between each two polls, and
//! without output. When it is in step, it takes over between two records.

use crate::rule::reach_ms;
use crate::stream::bench::Workbench;
use crate::stream::part::Part;
use crate::stream::restore::{self, Basis, Begins, Seen};
use crate::stream::shared::let_go;
use crate::stream::worker::commit::Extent;
use crate::stream::worker::report::{labels, seconds};
use crate::stream::worker::{RETRY_US, Worker};
use crate::stream::{Aside, Clock, Failure, Log, Polled, Record, Source, lock, shared};

/// A round of the loop spends so long on it.
const SLICE_US: i64 = 4_000;
/// So near the end of the log it is brought in step: what comes in waits meanwhile.
const NEAR: i64 = 4_000;
/// For so long at most, or in so many steps.
const HOLD_US: i64 = 30_000;
const STEPS: usize = 1_000;
/// Events of rules that have changed are told in the old form for so long after the last of this
/// worker's partitions has taken over: others take about as long.
const OLD_FORMS_US: i64 = 60_000_000;
/// After a hold that did not bring it in step.
const PAUSE_US: i64 = 200_000;

/// A state that is needed. One at a time.
#[derive(Debug)]
pub(super) enum Making {
    /// The log is asked where it begins, which takes tenths of a second.
    Asked(Aside<Begins>),
    Begun(Box<Warming>),
}

/// A state being made.
#[derive(Debug)]
pub(super) struct Warming {
    part: Part,
    /// Apart from that of the partitions: nothing comes of it.
    bench: Workbench,
    /// Where it began, whether the log had lost what lies before, and the times of the first and the
    /// last record that it read.
    from: i64,
    is_cut: bool,
    span_ms: Option<(i64, i64)>,
    began_us: i64,
    /// Not brought in step before.
    not_before_us: i64,
    /// How far the owners of keys have seen the control topic.
    seen: Seen,
    /// It is asked anew.
    asked: Option<Aside<Seen>>,
}

impl<L: Log, C: Clock> Worker<L, C> {
    /// Partitions whose rules are not all in force yet. For tests.
    pub fn warming(&self) -> usize {
        self.parts.values().filter(|part| part.reign.is_warming).count()
    }

    /// Makes some more of the state that is being made, or begins one that is needed.
    pub(super) fn warm(&mut self, now_us: i64) -> Result<(), Failure> {
        if self.pending.is_some() || self.is_renewing || now_us < self.warm_not_before_us {
            return Ok(());
        }
        let result = match self.warming.take() {
            Some(Making::Asked(begins)) => self.hear_where(begins, now_us),
            Some(Making::Begun(warming)) => self.go_on_warming(warming, now_us),
            None => {
                self.begin_warming(now_us);
                Ok(())
            }
        };
        match result {
            Err(Failure::Retriable(reason)) => {
                tracing::warn!(slot = %self.settings.slot, reason,
                    "the log cannot be read for new rules yet, trying again");
                // The state itself was taken out to be gone on with.
                self.log.rest();
                self.warm_not_before_us = now_us + RETRY_US;
                Ok(())
            }
            result => result,
        }
    }

    /// Gives up the state that is being made.
    pub(super) fn stop_warming(&mut self) {
        if self.warming.take().is_some() {
            self.log.rest();
        }
    }

    /// Rules that do not act yet in a partition, and how far they are.
    pub(super) fn progress(&self, part: &Part) -> Option<shared::Warming> {
        if !part.reign.is_warming {
            return None;
        }
        let rules = part.reign.news();
        let own = self.warming.as_ref().and_then(|making| match making {
            Making::Begun(own) if own.part.place == part.place => Some(own),
            Making::Begun(_) | Making::Asked(..) => None,
        });
        let (told, all) = part.heard(self.settings.partitions);
        let (done, whole) = match own {
            Some(own) => (own.part.next - own.from, part.next - own.from),
            // What others tell takes longer than what is to be read then.
            None if told < all => (count(told), count(all)),
            None => (0, 1),
        };
        let percent = u8::try_from(done * 100 / whole.max(1)).unwrap_or(0);
        Some(shared::Warming { rules, percent })
    }

    fn begin_warming(&mut self, now_us: i64) {
        // The others tell their past first, and this worker may be one of them.
        let partitions = self.settings.partitions;
        let needs = |part: &&mut Part| {
            part.may_change() && part.reign.is_warming && part.has_heard(partitions)
        };
        let Some(part) = self.parts.values_mut().find(needs) else {
            self.end_old_forms(now_us);
            return;
        };
        if part.changes_open > 0 {
            // The journal shall say all that it has taken in.
            return;
        }
        // The journal has it.
        drop(part.news());
        // Until the next report.
        lock(&self.view).loading = Some(0);
        let basis = Basis::of(part);
        let (origins, wall_ms) = (self.origins(), self.clock.wall_us() / 1000);
        let begins = self.log.aside(move |log| restore::successor(log, &basis, &origins, wall_ms));
        self.warming = Some(Making::Asked(begins));
    }

    /// Begins a state once it is known where.
    fn hear_where(&mut self, begins: Aside<Begins>, now_us: i64) -> Result<(), Failure> {
        let Some(begun) = begins.take() else {
            self.warming = Some(Making::Asked(begins));
            return Ok(());
        };
        let Begins { part: successor, seen, is_cut } = begun?;
        let place = successor.place;
        let Some(part) = self.parts.get(&place) else { return Ok(()) };
        tracing::info!(topic = %successor.state.origin().topic,
            partition = place.partition, from = successor.next, to = part.next,
            rules = successor.reign.armed().join(", "),
            "new rules are made ready from the log; they do not act before");
        self.warming = Some(Making::Begun(Box::new(Warming {
            from: successor.next,
            is_cut,
            span_ms: None,
            part: successor,
            bench: self.bench.spare(),
            began_us: now_us,
            not_before_us: i64::MIN,
            seen,
            asked: None,
        })));
        Ok(())
    }

    fn end_old_forms(&mut self, now_us: i64) {
        if self.parts.values().any(|part| part.reign.is_warming) {
            self.ready_us = now_us;
        }
        let before_us = now_us - OLD_FORMS_US;
        if self.ready_us < before_us {
            self.parts.values_mut().for_each(|part| part.end_old_forms(before_us));
        }
    }

    fn go_on_warming(&mut self, mut own: Box<Warming>, now_us: i64) -> Result<(), Failure> {
        let place = own.part.place;
        let Some(part) = self.parts.get_mut(&place).filter(|part| part.reign.is_warming) else {
            self.log.rest();
            return Ok(());
        };
        if part.reign.at > own.part.reign.at && !part.reign.newest.counts_as(&own.part.reign.newest)
        {
            // Another set has come: one for that is begun.
            self.log.rest();
            return Ok(());
        }
        own.part.hear(part.news());
        if own.join()? {
            self.warming = Some(Making::Begun(own));
            return Ok(());
        }
        for _ in 0..STEPS {
            let is_over = self.clock.now_us() - now_us >= SLICE_US;
            if own.part.next >= part.next
                || is_over
                || !own.read(&mut self.log, part.next, now_us)?
            {
                break;
            }
        }
        let is_near = part.next - own.part.next <= NEAR
            && own.part.joins_at().is_none()
            && now_us >= own.not_before_us;
        if is_near && self.is_awaited(&mut own, now_us)? {
            if self.is_whole(place) {
                return self.bring_in_step(own);
            }
            // A transaction comes soon enough: none is made for it.
            self.next_extent = Extent::Whole;
        }
        self.warming = Some(Making::Begun(own));
        Ok(())
    }

    /// Whether the owners of keys know the rules of which the state has to tell the past: who hears
    /// of them before could make nothing of it.
    fn is_awaited(&mut self, own: &mut Warming, now_us: i64) -> Result<bool, Failure> {
        let partitions = i32::try_from(self.settings.partitions).unwrap_or(i32::MAX);
        if own.is_known(partitions) {
            return Ok(true);
        }
        let Some(asked) = own.asked.take() else {
            let origins = self.origins();
            own.asked = Some(self.log.aside(move |log| restore::seen(log, &origins)));
            return Ok(false);
        };
        match asked.take() {
            Some(seen) => {
                own.seen = seen?;
                own.not_before_us = now_us + PAUSE_US;
            }
            None => own.asked = Some(asked),
        }
        Ok(own.is_known(partitions))
    }

    /// Lets the state take over once it has read what the other has, of which nothing is still to be
    /// put out.
    fn bring_in_step(&mut self, mut own: Box<Warming>) -> Result<(), Failure> {
        let place = own.part.place;
        let began_us = self.clock.now_us();
        let Some(part) = self.parts.get(&place) else { return Ok(()) };
        for _ in 0..STEPS {
            if own.part.next >= part.next || self.clock.now_us() - began_us >= HOLD_US {
                break;
            }
            own.read(&mut self.log, part.next, began_us)?;
        }
        if own.part.reign.is_warming {
            // Sets came and went that count otherwise: what it has kept is not all of it.
            self.log.rest();
            return Ok(());
        }
        let partitions = self.settings.partitions;
        let has_heard = own.part.has_heard(partitions);
        if !has_heard || !own.part.is_in_step_with(part) {
            own.not_before_us = self.clock.now_us() + PAUSE_US;
            self.warming = Some(Making::Begun(own));
            return Ok(());
        }
        self.drop_snapshot();
        self.log.rest();
        let Some(part) = self.parts.remove(&place) else { return Ok(()) };
        self.say_what_is_missing(&own);
        let Warming { part: mut successor, from, began_us, .. } = *own;
        successor.take_over(&part, &mut self.bench);
        successor.keep_old_forms(&part, self.clock.now_us());
        let took_us = self.clock.now_us() - began_us;
        tracing::info!(topic = %successor.state.origin().topic, partition = place.partition,
            records = successor.next - from, seconds = took_us / 1_000_000,
            "new rules are ready and in force");
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.has_changed(place);
        }
        self.parts.insert(place, successor);
        let_go("state", part);
        self.tell_plans();
        Ok(())
    }

    /// Where the log had lost its beginning, new rules may have missed some of what they look back
    /// on.
    fn say_what_is_missing(&self, own: &Warming) {
        let mut missing = own.missing_ms();
        for rule in own.part.given_up() {
            let rules = own.part.reign.newest.rule_set().rules.iter();
            let reach = rules.filter(|known| known.name == rule).map(reach_ms).max();
            missing.push((rule, reach.unwrap_or(0)));
        }
        let longest = missing.iter().map(|(_, ms)| *ms).max().unwrap_or(0);
        let labels = labels(own.part.place);
        let gauge = self.metrics.history_missing_seconds.with_label_values(&labels);
        gauge.set(seconds(longest * 1000));
        for (rule, ms) in missing {
            tracing::warn!(topic = %own.part.state.origin().topic,
                partition = own.part.place.partition, rule, seconds = ms / 1000,
                "the log does not reach back as far as the rule does: so much is missing");
        }
    }
}

fn count(partitions: usize) -> i64 {
    i64::try_from(partitions).unwrap_or(i64::MAX)
}

impl Warming {
    /// Whether all owners of keys know the rules that are new to it.
    fn is_known(&self, partitions: i32) -> bool {
        let reign = &self.part.reign;
        let tells = self.part.place.source == Source::Events;
        let at = reign.begun_at;
        !tells
            || reign.newest.awaited(reign.armed()).is_empty()
            || (0..partitions).all(|owner| self.seen.get(&owner).is_some_and(|seen| *seen >= at))
    }

    /// Of rules that look further back than what was read: by how much, in milliseconds.
    fn missing_ms(&self) -> Vec<(&str, i64)> {
        if !self.is_cut {
            // Nothing was ever before it, or nothing that they look back on.
            return Vec::new();
        }
        let read_ms = self.span_ms.map_or(0, |(first, last)| last - first);
        let (reign, place) = (&self.part.reign, self.part.place);
        // What others have told is not missing.
        let mut told = reign.newest.births();
        told.retain(|_, _| place.source == Source::Partials);
        let rules = reign.newest.rule_set().rules.iter();
        let new = rules
            .filter(|rule| reign.armed().contains(&rule.name) && !told.contains_key(&rule.name));
        let missing = new.map(|rule| (rule.name.as_str(), reach_ms(rule) - read_ms));
        missing.filter(|(_, ms)| *ms > 0).collect()
    }

    /// Takes in some more of a snapshot; false when it is not time.
    fn join(&mut self) -> Result<bool, Failure> {
        if self.part.joins_at().is_none_or(|at| self.part.next < at) {
            return Ok(false);
        }
        let taken = self.part.join_some();
        taken.map_err(|error| Failure::Retriable(error.to_string())).map(|()| true)
    }

    /// Reads some more; false when nothing has arrived.
    fn read(&mut self, log: &mut impl Log, until: i64, now_us: i64) -> Result<bool, Failure> {
        let (part, bench, span_ms) = (&mut self.part, &mut self.bench, &mut self.span_ms);
        let (place, from) = (part.place, part.next);
        let until = until.min(part.joins_at().unwrap_or(until));
        if from >= until {
            return Ok(false);
        }
        let reached = log.earlier(place, (from, until), &mut |polled| {
            part.take(polled, bench, now_us);
            for one in polled {
                if let Polled::Record(Record { timestamp_ms: Some(ms), .. }) = one {
                    span_ms.get_or_insert((*ms, *ms)).1 = *ms;
                }
            }
        })?;
        part.next = part.next.max(reached);
        Ok(reached > from)
    }
}
