//! Keys and their counters in a snapshot.

use crate::engine::bytes::{put, put_text};
use crate::engine::cell::Body;
use crate::engine::firing::Cooldowns;
use crate::engine::forecast::Flows;
use crate::engine::forget::keep_until;
use crate::engine::keyed::Keyed;
use crate::engine::opens::Opens;
use crate::engine::plan::{Form, Plan};
use crate::engine::seen::user_of;
use crate::engine::snapshot::cells::{Told, Writer};
use crate::engine::snapshot::{KEY, Marks, put_shown};
use crate::engine::space::Key;
use crate::engine::table::Cells;

/// Keys and counters of a snapshot under way.
#[derive(Debug, Clone)]
pub(crate) struct Capture {
    /// Keys said, by key form.
    marks: Vec<Marks>,
    space: usize,
    /// Rules of each key form, by column.
    rules: Vec<Vec<usize>>,
    /// Rules that had a cooldown to tell, by place.
    cooled: Vec<bool>,
    base: i64,
    /// The key form whose keys have what members have shown, and since when that matters, by field.
    shown_in: Option<usize>,
    horizons: Vec<i64>,
    /// Keys that have changed, as they were.
    saved: Vec<u8>,
    keys: u64,
    shown: u64,
}

impl Capture {
    /// A key that has come since.
    pub(crate) fn pass_over(&mut self, space: usize, id: u32) {
        if let Some(marks) = self.marks.get_mut(space) {
            marks.take(id as usize);
        }
    }

    fn write(
        &mut self,
        cells: &Cells,
        beside: (&Cooldowns, &Flows, &Opens),
        (space, id): (usize, u32),
    ) {
        let (cooldowns, flows, opens) = beside;
        let keys = &cells.spaces[space];
        let count = keys.cells(id);
        if count == 0 {
            return;
        }
        self.keys += 1;
        let to = &mut self.saved;
        to.push(KEY);
        put(to, space as u64);
        put_text(to, keys.text(id));
        put(to, u64::from(keys.born(id)));
        put(to, u64::from(count));
        let mut writer = Writer { to, base: self.base };
        for (column, &rule) in self.rules[space].iter().enumerate() {
            let held = keys.held(id, column);
            if let Some(cell) = held.and_then(|held| cells.tables[rule].get(id, held)) {
                put(writer.to, column as u64);
                let last = if self.cooled[rule] { cooldowns.of(rule, id) } else { &[] };
                writer.cell(&cell, last, (flows.of(rule, id), opens.get(rule, id)));
            }
        }
        if self.shown_in == Some(space) {
            self.write_shown(cells, (space, id));
        }
    }

    /// What the member of a key has shown, as far as it still matters.
    fn write_shown(&mut self, cells: &Cells, (space, id): (usize, u32)) {
        for (field, horizon) in self.horizons.iter().enumerate() {
            let Some(mut values) = cells.shown(space, id, field) else { continue };
            values.retain(|(_, last)| *last >= *horizon);
            values.sort_unstable();
            if !values.is_empty() {
                self.shown += 1;
                let user = user_of(cells.spaces[space].text(id));
                put_shown(&mut self.saved, (field, user), &values, self.base);
            }
        }
    }
}

impl Keyed {
    pub(super) fn begin(&mut self, plan: &Plan, base: i64) {
        let mut rules = vec![Vec::new(); plan.spaces.len()];
        for (rule, info) in plan.info.iter().enumerate() {
            rules[info.space].push(rule);
        }
        let mut cooled = vec![false; plan.info.len()];
        for rule in self.cooldowns.rules() {
            cooled[rule] = true;
        }
        let fields = 0..plan.new_fields.len();
        let marks = self.cells.spaces.iter().map(|space| Marks::new(space.ids())).collect();
        self.cells.capture = Some(Box::new(Capture {
            marks,
            space: 0,
            rules,
            cooled,
            base,
            shown_in: plan.user_space,
            horizons: fields.map(|at| plan.shown_since(at, base)).collect(),
            saved: Vec::new(),
            keys: 0,
            shown: 0,
        }));
    }

    /// Appends keys until `to` is full; false when there are none left.
    pub(super) fn say(
        &mut self,
        full: usize,
        to: &mut Vec<u8>,
        (keys, shown): (&mut u64, &mut u64),
    ) -> bool {
        let Some(mut capture) = self.cells.capture.take() else { return false };
        to.append(&mut capture.saved);
        std::mem::swap(to, &mut capture.saved);
        let mut more = true;
        while more && capture.saved.len() < full {
            match capture.marks.get_mut(capture.space).map(Marks::advance) {
                Some(Some(at)) => {
                    let key = (capture.space, u32::try_from(at).unwrap_or(u32::MAX));
                    capture.write(&self.cells, (&self.cooldowns, &self.flows, &self.opens), key);
                }
                Some(None) => capture.space += 1,
                None => more = false,
            }
        }
        std::mem::swap(to, &mut capture.saved);
        (*keys, *shown) = (capture.keys, capture.shown);
        self.cells.capture = Some(capture);
        more
    }

    /// A key is about to change for a rule.
    pub(crate) fn keep(&mut self, rule: usize, key: &mut Key<'_>, plan: &Plan) {
        if self.cells.capture.is_some()
            && let Some(id) = self.cells.spaces[plan.info[rule].space].find(key)
        {
            self.keep_id(rule, id, plan);
        }
    }

    pub(crate) fn keep_id(&mut self, rule: usize, id: u32, plan: &Plan) {
        self.keep_whole(plan.info[rule].space, id);
    }

    pub(crate) fn keep_whole(&mut self, space: usize, id: u32) {
        let Some(capture) = &mut self.cells.capture else { return };
        if capture.marks[space].take(id as usize)
            && let Some(mut capture) = self.cells.capture.take()
        {
            capture.write(&self.cells, (&self.cooldowns, &self.flows, &self.opens), (space, id));
            self.cells.capture = Some(capture);
        }
    }

    /// A counter as a snapshot tells it. `None` for one that this rule cannot have.
    pub(super) fn restore(
        &mut self,
        rule: usize,
        key: &mut Key<'_>,
        told: Told,
        plan: &Plan,
    ) -> Option<()> {
        let Told { cell, last, flow, open } = told;
        let info = &plan.info[rule];
        let form = match (&cell.body, info.form) {
            (Body::Match, Form::Match)
            | (Body::Calendar(_), Form::Calendar | Form::CalendarBelow)
            | (Body::Rolling(_), Form::Rolling | Form::RollingBelow)
            | (Body::ZScore(_), Form::ZScore) => info.form,
            _ => return None,
        };
        let id = self.cells.restore(rule, key, cell, plan)?;
        self.cooldowns.put(rule, id, last);
        self.flows.put(rule, id, flow);
        if let Some(open) = open.filter(|_| info.resolves) {
            self.opens.put(rule, id, open);
        }
        if form == Form::ZScore {
            self.await_close(rule, id, plan);
        } else if matches!(form, Form::Match | Form::Calendar | Form::Rolling) {
            let last = self.cooldowns.latest(rule, id);
            let cell = self.cells.held(rule, id, plan)?;
            let until = keep_until(&cell, last, plan, rule);
            let slot = self.cells.slot(until, (rule, id), plan);
            self.cells.wait(slot, u32::try_from(rule).ok()?, id);
        }
        Some(())
    }

    /// Keys of a rule on silence whose window at `end` is to be closed.
    pub(super) fn wait(&mut self, rule: usize, end: i64, keys: &[String], plan: &Plan) {
        for key in keys {
            let id = self.cells.spaces[plan.info[rule].space].find(&mut Key::new(key));
            if let Some(id) = id.filter(|id| self.cells.held(rule, *id, plan).is_some()) {
                self.schedule(end, rule, id, plan);
            }
        }
    }

    /// Windows of rules on silence that wait to be closed: rule, end, keys.
    pub(super) fn silent(&self, plan: &Plan) -> Vec<(usize, i64, Vec<String>)> {
        let waiting = self.timers.iter();
        let silent = waiting.filter(|((_, rule), _)| plan.info[*rule].form == Form::CalendarBelow);
        let named = silent.map(|((end, rule), keys)| {
            let space = &self.cells.spaces[plan.info[*rule].space];
            let column = plan.info[*rule].column;
            let held = |key: &&u32| space.has(**key, column);
            let keys = keys.iter().filter(held);
            let mut keys: Vec<String> = keys.map(|key| space.text(*key).to_owned()).collect();
            keys.sort_unstable();
            keys.dedup();
            (*rule, *end, keys)
        });
        named.collect()
    }
}
