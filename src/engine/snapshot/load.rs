//! A state made anew from what a snapshot tells.

use std::borrow::Cow;
use std::sync::Arc;

use crate::engine::bytes::Rest;
use crate::engine::calendar::Span;
use crate::engine::dedup::Dedup;
use crate::engine::edits::{Edit, ListEdits};
use crate::engine::ledger::Ledger;
use crate::engine::plan::{Form, Plan};
use crate::engine::seen::user_of;
use crate::engine::shown::Values;
use crate::engine::snapshot::cells::{Reader, is_a_time};
use crate::engine::snapshot::{
    ACCOUNT, Edited, HEAD, Head, IDS, KEY, SHOWN, SNAPSHOT_VERSION, TAIL, Totals, fields, layout,
};
use crate::engine::space::Key;
use crate::engine::state::{Output, State};
use crate::engine::{Account, Origin};
use crate::rule::Window;

/// Room that is made ahead for keys, at most.
const RESERVE_MAX: usize = 1 << 24;

/// Why bytes are no snapshot of this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    #[error("it is of version {0}, not {SNAPSHOT_VERSION}")]
    Version(u32),
    #[error("it is of {topic}[{partition}]")]
    Foreign { topic: String, partition: i32 },
    #[error("record {0} cannot be read")]
    Unreadable(u64),
    #[error("it ends before its end")]
    Short,
}

/// A state and what was with it.
#[derive(Debug)]
pub struct Loaded {
    pub state: State,
    pub output: Output,
    /// Rules that the snapshot has no counters of, since they are new or count otherwise, and
    /// fields of `new` conditions that it has no memory of.
    pub anew: Vec<String>,
}

/// Takes in the records of a snapshot, some at a time.
#[derive(Debug)]
pub struct Loader<'p> {
    plan: Cow<'p, Plan>,
    /// Rules that the state has counters of already, where it has any.
    own: Option<Vec<String>>,
    state: State,
    output: Output,
    base: i64,
    version: u32,
    arrivals: u32,
    /// The key that was told last.
    last: String,
    map: Map,
    records: u64,
    read: Totals,
    told: Option<Totals>,
    /// Windows on silence to be closed, once all keys are there.
    due: Vec<(usize, i64, Vec<String>)>,
}

/// From the places of the snapshot's rule set to those of ours.
#[derive(Debug, Default)]
struct Map {
    /// By key form and column: the rule.
    rules: Vec<Vec<Option<usize>>>,
    /// By `new` field: ours, and how long its values are kept.
    fields: Vec<Option<(usize, i64)>>,
    /// The rule, by place.
    all: Vec<Option<usize>>,
    anew: Vec<String>,
}

impl<'p> Loader<'p> {
    /// A loader of the state of the log `origin` for the rules of `plan`.
    pub fn new(plan: &'p Plan, origin: Origin) -> Loader<'p> {
        Loader::with(Cow::Borrowed(plan), (State::new(origin), Output::default()), None)
    }

    /// A loader of all but `own`, rules that `state` has counted up to the offset of the snapshot.
    /// Everything else that it holds is the snapshot's from here on, but for what the snapshot does
    /// not know of `new`.
    pub(crate) fn onto(
        plan: Plan,
        (mut state, output): (State, Output),
        own: Vec<String>,
    ) -> Loader<'static> {
        state.dedup = Dedup::default();
        state.edits = ListEdits::default();
        state.keyed.ledger = Ledger::default();
        state.day = Span::default();
        state.ahead.clear();
        Loader::with(Cow::Owned(plan), (state, output), Some(own))
    }

    fn with(
        plan: Cow<'p, Plan>,
        (mut state, output): (State, Output),
        own: Option<Vec<String>>,
    ) -> Loader<'p> {
        state.prepare(&plan);
        Loader {
            plan,
            own,
            state,
            output,
            base: 0,
            version: SNAPSHOT_VERSION,
            arrivals: 0,
            last: String::new(),
            map: Map::default(),
            records: 0,
            read: Totals::default(),
            told: None,
            due: Vec::new(),
        }
    }

    /// Takes in whole records, in the order in which they were told.
    ///
    /// # Errors
    /// When they cannot be read, or are of another log.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Damaged> {
        let mut reader = Reader { rest: Rest(bytes), base: self.base, version: self.version };
        while !reader.rest.0.is_empty() {
            let unreadable = Damaged::Unreadable(self.records);
            let kind = reader.rest.byte().ok_or(Damaged::Short)?;
            if (kind == HEAD) != (self.records == 0) || self.told.is_some() {
                return Err(unreadable);
            }
            match kind {
                HEAD => {
                    let json = reader.rest.text().ok_or(Damaged::Short)?;
                    self.head(json, unreadable)?;
                    (reader.base, reader.version) = (self.base, self.version);
                }
                KEY => self.key(&mut reader).ok_or(unreadable)?,
                SHOWN => self.shown(&mut reader).ok_or(unreadable)?,
                ACCOUNT => self.account(&mut reader).ok_or(unreadable)?,
                IDS => self.ids(&mut reader).ok_or(unreadable)?,
                TAIL => {
                    let json = reader.rest.text().ok_or(Damaged::Short)?;
                    self.told = Some(serde_json::from_str(json).map_err(|_| unreadable)?);
                }
                _ => return Err(unreadable),
            }
            self.records += 1;
        }
        Ok(())
    }

    /// The state, when all of it was read.
    ///
    /// # Errors
    /// When something is missing.
    pub fn finish(mut self) -> Result<Loaded, Damaged> {
        if self.told.as_ref() != Some(&self.read) {
            return Err(Damaged::Short);
        }
        for (rule, end, keys) in self.due {
            self.state.keyed.wait(rule, end, &keys, &self.plan);
        }
        let cells = &mut self.state.keyed.cells;
        cells.young.sort(&cells.spaces, self.arrivals);
        Ok(Loaded { state: self.state, output: self.output, anew: self.map.anew })
    }

    fn head(&mut self, json: &str, unreadable: Damaged) -> Result<(), Damaged> {
        #[derive(serde::Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_str(json).map_err(|_| unreadable.clone())?;
        if !(1..=SNAPSHOT_VERSION).contains(&version) {
            return Err(Damaged::Version(version));
        }
        let head: Head = serde_json::from_str(json).map_err(|_| unreadable.clone())?;
        if !head.times().all(is_a_time) {
            return Err(unreadable);
        }
        let state = &mut self.state;
        if *state.origin.topic != *head.topic || state.origin.partition != head.partition {
            return Err(Damaged::Foreign { topic: head.topic, partition: head.partition });
        }
        self.map = map(&head, &self.plan, self.own.as_deref());
        if self.own.is_some() {
            let known = self.map.fields.iter().flatten();
            known.for_each(|(field, _)| state.keyed.cells.clear_shown(*field, &self.plan));
        }
        (self.version, self.arrivals) = (version, head.arrivals);
        self.base = head.watermark.unwrap_or(0);
        state.watermark = state.watermark.max(head.watermark);
        state.inputs = head.inputs;
        state.heard = head.heard;
        (state.intake, state.book) = (head.intake, head.book);
        self.output.daily.forget(state);
        state.mover = head
            .mover
            .map(|(topic, partition, mark)| (Origin { topic: Arc::from(topic), partition }, mark));
        if let Some(mark) = head.own_mover {
            self.output.partials.set_mover(&mark.id, mark.ts, mark.offset);
        }
        for (rule, spent) in head.budgets {
            state.keyed.ledger.restore_budget(rule, spent);
        }
        let mut edited_by = head.edited_by.into_iter();
        for (list, value, edit) in head.edits {
            let edit = match edit {
                Edited::Added(until) => Edit::Added(until),
                Edited::Removed => Edit::Removed,
            };
            state.edits.put(&list, &value, edit, edited_by.next().flatten());
        }
        let rules = &self.map.all;
        let due = head.due.into_iter();
        let due = due.filter_map(|(rule, end, keys)| Some(((*rules.get(rule)?)?, end, keys)));
        self.due = due.collect();
        let (keys, users, _) = head.sizes;
        // What the snapshot says of its size is not believed beyond what costs little.
        for (from, &keys) in keys.iter().enumerate() {
            let space = self.map.rules.get(from).and_then(|rules| rules.iter().flatten().next());
            if let Some(&rule) = space {
                let space = &mut state.keyed.cells.spaces[self.plan.info[rule].space];
                space.reserve(keys.min(RESERVE_MAX));
            }
        }
        for (field, &users) in self.map.fields.iter().zip(&users) {
            if let Some((field, _)) = field {
                state.keyed.cells.seen[*field].reserve(users.min(RESERVE_MAX));
            }
        }
        Ok(())
    }

    fn key(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        self.read.keys += 1;
        let rules = self.map.rules.get(usize::try_from(reader.rest.number()?).ok()?)?;
        let mut key = Key::new(reader.rest.text()?);
        key.text.clone_into(&mut self.last);
        let born = if self.version == 1 { 0 } else { reader.rest.number()? };
        let keyed = &mut self.state.keyed;
        let mut space = None;
        for _ in 0..reader.rest.number()? {
            let rule = *rules.get(usize::try_from(reader.rest.number()?).ok()?)?;
            let told = reader.cell()?;
            if let Some(rule) = rule {
                keyed.restore(rule, &mut key, told, &self.plan)?;
                space = Some(self.plan.info[rule].space);
            }
        }
        if let Some(space) = space.filter(|_| born != 0 || self.own.is_some()) {
            let space = &mut keyed.cells.spaces[space];
            space.set_born(space.find(&mut key)?, u32::try_from(born).ok()?);
        }
        Some(())
    }

    fn shown(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        self.read.shown += 1;
        let field = usize::try_from(reader.rest.number()?).ok()?;
        let user = u128::from_le_bytes(*reader.rest.bytes(16)?.first_chunk()?);
        let mut values = Values::new();
        for _ in 0..reader.rest.number()? {
            let hash = u64::from_le_bytes(*reader.rest.bytes(8)?.first_chunk()?);
            values.push((hash, reader.time()?));
        }
        if values.is_empty() {
            // What follows is of no key.
            self.last.clear();
        }
        let Some((field, keep_ms)) = *self.map.fields.get(field)? else { return Some(()) };
        let cells = &mut self.state.keyed.cells;
        // It follows its key, or stands apart.
        let row = self.plan.user_space.filter(|space| cells.spaces[*space].shows(field));
        let row = row.filter(|_| !self.last.is_empty() && user_of(&self.last) == user);
        let row = row.and_then(|at| Some((at, cells.spaces[at].find(&mut Key::new(&self.last))?)));
        match row {
            Some((space, id)) => cells.set_shown(space, id, field, &values),
            None => {
                cells.seen[field].restore(user, &values, keep_ms, usize::MAX);
            }
        }
        Some(())
    }

    fn account(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        self.read.accounts += 1;
        let account: Account = serde_json::from_str(reader.rest.text()?).ok()?;
        self.state.keyed.ledger.restore(account);
        Some(())
    }

    fn ids(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let expiry = reader.time()?;
        let count = usize::try_from(reader.rest.number()?).ok()?;
        let ids = reader.rest.bytes(count.checked_mul(16)?)?;
        for id in ids.as_chunks().0 {
            self.read.ids += 1;
            if !self.state.dedup.insert(u128::from_le_bytes(*id), expiry) {
                return None;
            }
        }
        Some(())
    }
}

/// `own` are rules, if any, that the snapshot shall tell nothing of.
fn map(head: &Head, plan: &Plan, own: Option<&[String]>) -> Map {
    let ours = layout(plan);
    let same_zone = head.zone == plan.rules.timezone_name;
    let mut all = Vec::new();
    let mut rules = vec![Vec::new(); head.spaces.len()];
    let is_own = |at: usize| own.is_some_and(|own| own.contains(&ours[at].name));
    let mut found: Vec<bool> = (0..ours.len()).map(is_own).collect();
    for theirs in &head.rules {
        let named = plan.named(theirs.fingerprint, all.len()).filter(|&at| !is_own(at));
        let named = named.filter(|&at| {
            let calendar = matches!(plan.info[at].window, Window::Calendar(_));
            let own = &ours[at];
            own.form == theirs.form
                && own.close_after_ms == theirs.close_after_ms
                && (own.off || !theirs.off)
                && (same_zone || !calendar)
                && head.spaces.get(theirs.space).is_some_and(|fields| {
                    let own = &plan.spaces[own.space];
                    own.fields.iter().map(ToString::to_string).eq(fields.iter().cloned())
                })
        });
        if let Some(at) = named {
            found[at] = true;
        }
        if let Some(columns) = rules.get_mut(theirs.space) {
            columns.push(named);
        }
        all.push(named);
    }
    let own_fields = fields(plan);
    let mut missed = vec![true; own_fields.len()];
    let mut known = Vec::new();
    for (field, within_ms) in &head.fields {
        let at = own_fields.iter().position(|(own, _)| own == field);
        if let Some(at) = at {
            missed[at] = own_fields[at].1 > *within_ms;
        }
        let at = at.filter(|at| own.is_none() || !missed[*at]);
        known.push(at.map(|at| (at, own_fields[at].1)));
    }
    let off = |at: usize| ours[at].off || ours[at].form == Form::Match && !cools(plan, at);
    let rules_anew = (0..ours.len()).filter(|at| !found[*at] && !off(*at));
    let mut anew: Vec<String> = rules_anew.map(|at| ours[at].name.clone()).collect();
    let fields_anew = own_fields.iter().zip(missed).filter(|(_, missed)| *missed && own.is_none());
    anew.extend(fields_anew.map(|((field, _), _)| format!("new {field}")));
    Map { rules, all, fields: known, anew }
}

/// Whether a match rule remembers something.
fn cools(plan: &Plan, at: usize) -> bool {
    plan.rule(at).cooldown_ms.is_some()
}
