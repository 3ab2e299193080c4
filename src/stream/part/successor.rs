//! A state that is made from the log for a rule set that counts otherwise, and takes the place of
//! the one that went on meanwhile (R18).

use std::sync::Arc;

use crate::engine::{Effect, Plan};
use crate::stream::Source;
use crate::stream::bench::Workbench;
use crate::stream::control::{Applied, Journaled, begin};
use crate::stream::emit::partial;
use crate::stream::part::Part;
use crate::stream::plans::Sets;

/// Accounts of days that are kept: zones lie 26 hours apart at the most, so that at one instant the
/// last day that is over differs by two.
const REPORTS_MAX: usize = 2;

impl Part {
    /// Folds the log alone, without output, until it takes over.
    pub(crate) fn prepare(&mut self, history: Vec<Journaled>, sets: Sets) {
        (self.emit_from, self.told) = (i64::MAX, i64::MAX);
        if self.place.source == Source::Events {
            self.output.partials.collect();
        }
        self.restored = false;
        self.remember(history, sets);
    }

    /// What this state took in since the last call.
    pub(crate) fn news(&mut self) -> (Vec<Journaled>, Sets) {
        (std::mem::take(&mut self.since), std::mem::take(&mut self.since_sets))
    }

    /// What another state of the partition has taken in since. The journal may have told some of
    /// it already.
    pub(crate) fn hear(&mut self, (mut entries, sets): (Vec<Journaled>, Sets)) {
        let told = self.history.back().map_or(i64::MIN, |last| last.control);
        entries.retain(|entry| entry.control > told);
        self.history.extend(entries);
        self.sets.extend(sets);
    }

    /// Whether it can take over from a state whose outputs are all committed.
    pub(crate) fn is_in_step_with(&self, other: &Part) -> bool {
        let is_taken_in = |entry: &Journaled| entry.offset <= self.next;
        self.next == other.next && self.history.iter().all(is_taken_in)
    }

    /// Tells the owners of keys what the log held for rules that are new, as far as it was kept.
    pub(super) fn tell_history(&mut self, plan: &Plan, bench: &mut Workbench) {
        if self.place.source == Source::Partials {
            return;
        }
        let origin = self.state.origin().clone();
        let from = (&origin, self.state.watermark(), self.told_idle);
        let records = self.output.partials.tell_history(plan, from, bench.partitions);
        bench.outbox.extend(records.into_iter().map(|(to, payload)| partial(to, payload)));
    }

    /// Of what a record of the past has put out nothing is written; a state that takes over may
    /// have to tell the last accounts.
    fn keep_reports(&mut self) {
        let made = self.output.effects.drain(..);
        self.reports.extend(made.filter(|effect| matches!(effect, Effect::Daily(_))));
        let over = self.reports.len().saturating_sub(REPORTS_MAX);
        self.reports.drain(..over);
    }

    /// What a record of the past has put out is not written. The owners of keys were told of it as
    /// well, unless that was left for later.
    pub(super) fn hold_back(&mut self, offset: i64) {
        if offset >= self.told {
            for effect in self.output.effects.drain(..) {
                self.output.daily.note(&self.reign.plan, &effect);
            }
            return;
        }
        self.keep_reports();
        self.output.daily.trim();
        let partials = &mut self.output.partials;
        if partials.collects() {
            partials.keep_small(&self.reign.plan, self.state.watermark());
        } else {
            partials.clear();
        }
    }

    /// The state is that of the place where it takes over: rules that are new are judged from
    /// here on.
    pub(super) fn begin_to_judge(&mut self) {
        let armed = self.reign.armed().to_vec();
        self.reign.take_over();
        if self.place.source == Source::Partials {
            self.state.take_up(&self.reign.plan, &armed, &mut self.output);
        }
    }

    /// Owners of keys go on with the old form of rules that have changed until all partitions have
    /// told their past of the new one. Nothing of the state depends on it.
    pub(crate) fn keep_old_forms(&mut self, other: &Part, now_us: i64) {
        if let (Source::Events, Some(plan)) =
            (self.place.source, self.reign.newest.beside(&other.reign.plan))
        {
            self.reign.plan = Arc::new(plan);
            self.old_forms_us = Some(now_us);
        }
    }

    /// Goes on with what it told before the state was rebuilt.
    pub(super) fn come_back(&mut self) {
        self.finish_restore();
        self.resume_old_forms();
    }

    pub(crate) fn resume_old_forms(&mut self) {
        if self.place.source == Source::Events
            && self.old_forms_us.is_none()
            && let Some(plan) = self.reign.with_old_forms()
        {
            self.reign.plan = Arc::new(plan);
            self.old_forms_us = Some(self.assigned_us);
        }
    }

    /// Ends that where it began before.
    pub(crate) fn end_old_forms(&mut self, before_us: i64) {
        if self.old_forms_us.take_if(|since_us| *since_us < before_us).is_some()
            && !self.reign.is_warming
        {
            self.reign.plan = self.reign.newest.clone();
        }
    }

    /// Whether all partitions have told their past of the rules that are new to this state.
    pub(crate) fn has_heard(&self, partitions: u32) -> bool {
        let (told, all) = self.heard(partitions);
        told >= all
    }

    /// How many partitions have done so, and of how many.
    pub(crate) fn heard(&self, partitions: u32) -> (usize, usize) {
        let rules = match self.place.source {
            Source::Events => Vec::new(),
            Source::Partials => self.reign.awaited(),
        };
        self.state.heard(&rules, partitions)
    }

    /// Rules whose past was too much to keep, by name.
    pub(crate) fn given_up(&self) -> Vec<&str> {
        let rules = &self.reign.newest.rule_set().rules;
        let places = self.output.partials.given_up().iter();
        places.filter_map(|at| Some(rules.get(*at)?.name.as_str())).collect()
    }

    /// Takes the place of a state with which it is in step. The next transaction says so.
    pub(crate) fn take_over(&mut self, other: &Part, bench: &mut Workbench) {
        self.catch_up(bench);
        let holds = other.state.holds();
        let applied = Applied::at(self.state.origin(), self.next, bench.partitions);
        let begun = self.reign.takes_over(holds.clone());
        bench.outbox.extend(begin(&applied, other.controlled, begun));
        self.state.replace_holds(holds);
        let reports = std::mem::take(&mut self.reports);
        let reports = self.state.go_on_from(&other.state, &self.reign.newest, reports);
        self.output.effects.extend(reports);
        self.output.partials.has_told_as(&other.output.partials);
        self.told_idle = other.told_idle;
        self.tell_history(&self.reign.newest.clone(), bench);
        self.begin_to_judge();
        self.controlled = other.controlled;
        // Those of the other may be on their way.
        self.changes_open = other.changes_open + 1;
        (self.emit_from, self.committed) = (self.next, other.committed);
        (self.told, self.told_committed) = (self.next, other.told_committed);
        self.output.daily.forget(&self.state);
        (self.at_end, self.last_input_us) = (other.at_end, other.last_input_us);
        self.settles_at = other.settles_at;
        self.told_us = other.told_us;
        self.finish_restore();
    }
}
