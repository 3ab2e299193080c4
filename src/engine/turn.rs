//! One event's turn: which rules it passes, what it adds, and where that goes: to counters here,
//! or as a partial aggregate to the owner of the key.
//!
//! A key is read and hashed once an event and key form, however many rules count by it.

use crate::engine::ahead::Foreseen;
use crate::engine::edits::ListEdits;
use crate::engine::filter::{FilterCtx, Listed, holds};
use crate::engine::forecast::MINUTE_MS;
use crate::engine::keyed::{At, Contribution, Ctx, Keyed};
use crate::engine::partial::{PartialsOutbox, Slot};
use crate::engine::plan::{Form, KeyForm, Plan};
use crate::engine::posting::Posting;
use crate::engine::rolling::Entry;
use crate::engine::routes::{Adds, Route, Sees};
use crate::engine::shared::closes;
use crate::engine::shown::Member;
use crate::engine::space::{Key, write_key};
use crate::engine::tally::{Added, NOTHING, Values};
use crate::engine::view::span;
use crate::event::{Event, EventTime, Kind};
use crate::rule::{Check, Field, Filter, Input as Measured, Measure};

/// A composite key as the event at hand has it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Composed {
    text: String,
    whole: bool,
}

/// Writes the event's composite keys, those of one text being borrowed from it.
pub(crate) fn compose(plan: &Plan, event: &Event<'_>, composed: &mut Vec<Composed>) {
    if !plan.composes {
        return;
    }
    composed.resize_with(plan.spaces.len(), Composed::default);
    for ((spec, form), key) in plan.spaces.iter().zip(&plan.key_forms).zip(composed) {
        if *form == KeyForm::Composite {
            key.whole = write_key(spec, event, &mut key.text);
        }
    }
}

/// The event's keys, by key form, as far as rules have asked for them.
#[derive(Debug)]
pub(crate) struct Keys<'a, 'e, 'o> {
    pub(crate) plan: &'a Plan,
    pub(crate) event: &'a Event<'e>,
    pub(crate) composed: &'a [Composed],
    pub(crate) foreseen: &'a Foreseen,
    pub(crate) known: &'o mut [Known<'a>],
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Known<'a> {
    NotAsked,
    /// The event lacks a field of it.
    Lacking,
    Is(Key<'a>),
}

impl<'a> Keys<'a, '_, '_> {
    /// `None` when the event lacks a field of the key.
    #[inline]
    fn get(&mut self, space: usize) -> Option<&mut Key<'a>> {
        if let Known::NotAsked = self.known[space] {
            self.known[space] = self.read(space);
        }
        match &mut self.known[space] {
            Known::Is(key) => Some(key),
            Known::Lacking | Known::NotAsked => None,
        }
    }

    /// A key as it was found, if it was asked for.
    pub(crate) fn is(&self, space: usize) -> Option<Key<'a>> {
        match self.known[space] {
            Known::Is(key) => Some(key),
            Known::Lacking | Known::NotAsked => None,
        }
    }

    #[inline(never)]
    fn read(&self, space: usize) -> Known<'a> {
        let (form, known) = (self.plan.key_forms[space], self.foreseen);
        let key = match form {
            KeyForm::Composite => {
                let whole = self.composed.get(space).filter(|key| key.whole);
                whole.map(|key| Key::new(&key.text))
            }
            KeyForm::User => Some(known.user_key(self.event)),
            _ => known.hashes.key(form, self.event),
        };
        key.map_or(Known::Lacking, Known::Is)
    }
}

/// Everything that one event's turn needs.
#[derive(Debug)]
pub(crate) struct Turn<'a, 'e, 'o> {
    pub(crate) plan: &'a Plan,
    pub(crate) event: &'a Event<'e>,
    pub(crate) at: &'a At<'a>,
    pub(crate) keys: Keys<'a, 'e, 'o>,
    /// For the text of a field that is no text.
    pub(crate) text: &'a mut String,
    pub(crate) keyed: &'a mut Keyed,
    pub(crate) edits: &'a ListEdits,
    pub(crate) ctx: Ctx<'o>,
    pub(crate) partials: &'a mut PartialsOutbox,
}

impl Turn<'_, '_, '_> {
    pub(crate) fn rule(&mut self, route: Route, late: bool) {
        let Route { rule, of: sees, to: sees_to, number, .. } = route;
        let ts = self.event.ts.0;
        if let Some(number) = number {
            if !late {
                self.number(rule, number);
            }
            return;
        }
        let plan = self.plan;
        match &plan.rule(rule).check {
            Check::Match { filter, .. } => {
                if self.sees(sees, filter) {
                    let (of, to) = (&NOTHING, &NOTHING);
                    self.contribute(rule, &Contribution { ts, of, to, reversal: false });
                }
            }
            _ if late => {}
            Check::Threshold { input, .. } => self.counts(rule, sees, input),
            Check::ZScore(zscore) => self.counts(rule, sees, &zscore.input),
            Check::Ratio { of, to, .. } => {
                let sees = (self.sees(sees, &of.filter), self.sees(sees_to, &to.filter));
                if sees == (false, false) {
                    return;
                }
                let values = (self.value(of), self.value(to));
                let of = if sees.0 { self.added(of, values.0.as_ref()) } else { NOTHING };
                let to = if sees.1 { self.added(to, values.1.as_ref()) } else { NOTHING };
                let what = Contribution { ts, of: &of, to: &to, reversal: false };
                self.contribute(rule, &what);
            }
        }
    }

    /// The event's part in a rule that counts each of its kind by a number.
    #[inline]
    fn number(&mut self, rule: usize, number: Adds) {
        let (ts, points) = (self.event.ts.0, self.event.points);
        let info = &self.plan.info[rule];
        let Some(key) = self.keys.get(info.space) else { return };
        let value = if number == Adds::One { 1 } else { points };
        if !info.shared && self.keyed.add_number(rule, key, Entry { ts, value }, &self.ctx) {
            return;
        }
        let of = match number {
            Adds::One => Added { count: value, ..NOTHING },
            _ => Added { sum: value, ..NOTHING },
        };
        self.contribute(rule, &Contribution { ts, of: &of, to: &NOTHING, reversal: false });
    }

    /// Posts what the event brings to rules whose keys cross partitions.
    pub(crate) fn post(&mut self, posting: &Posting, number: usize) {
        let Some(posts) = &mut self.partials.apart else { return };
        let hashes = &self.keys.foreseen.hashes;
        let has = |space: &usize| hashes.key(self.plan.key_forms[*space], self.event).is_some();
        if posting.spaces.iter().any(has) {
            posts.post(number);
        }
    }

    /// The event's part in a rule of one measure.
    fn counts(&mut self, rule: usize, sees: Sees, input: &Measured) {
        if !self.sees(sees, &input.filter) {
            return;
        }
        let value = self.value(input);
        let of = self.added(input, value.as_ref());
        let ts = self.event.ts.0;
        self.contribute(rule, &Contribution { ts, of: &of, to: &NOTHING, reversal: false });
    }

    /// R10: takes a reversal's points from the windows in which the original counted.
    pub(crate) fn reverse(&mut self) {
        let (plan, event) = (self.plan, self.event);
        let Some(reverses) = &event.reverses else { return };
        let ts = reverses.ts.unwrap_or(event.ts);
        let taken = Added {
            count: if reverses.partial { 0 } else { -1 },
            sum: event.points.saturating_neg(),
            ..Added::default()
        };
        for &rule in &plan.by_reversed[reverses.kind as usize] {
            let mut nets = |input: &Measured| {
                input.on.contains(reverses.kind)
                    && !input.on.contains(Kind::Reverse)
                    && self.passes(&input.filter, reverses.kind, ts)
            };
            let (of, to) = match &plan.rule(rule).check {
                Check::Match { .. } => continue,
                Check::Threshold { input, .. } => (nets(input), false),
                Check::Ratio { of, to, .. } => (nets(of), nets(to)),
                Check::ZScore(zscore) => (nets(&zscore.input), false),
            };
            if !of && !to {
                continue;
            }
            let what = Contribution {
                ts: ts.0,
                of: if of { &taken } else { &NOTHING },
                to: if to { &taken } else { &NOTHING },
                reversal: true,
            };
            self.contribute(rule, &what);
        }
    }

    fn sees(&mut self, sees: Sees, filter: &Filter) -> bool {
        match sees {
            Sees::No => false,
            Sees::Yes => true,
            Sees::Ask => self.passes(filter, self.event.kind, self.event.ts),
        }
    }

    /// The value that a distinct count looks at.
    fn value(&mut self, input: &Measured) -> Option<(u64, i64)> {
        let Measure::Distinct(field) = &input.measure else { return None };
        let hash = self.keys.foreseen.hashes.value(field, self.event, self.text)?;
        Some((hash, self.event.ts.0))
    }

    /// What the event adds to a measure that sees it.
    fn added<'v>(&self, input: &Measured, value: Option<&'v (u64, i64)>) -> Added<'v> {
        let points = self.event.points;
        match input.measure {
            Measure::Count => Added { count: 1, ..NOTHING },
            Measure::SumPoints => Added { sum: points, ..NOTHING },
            Measure::MaxPoints => Added { max: Some(points), ..NOTHING },
            Measure::Distinct(_) => {
                let values = Values::Pairs(value.map_or(&[], std::slice::from_ref));
                Added { values, ..NOTHING }
            }
        }
    }

    fn passes(&mut self, filter: &Filter, kind: Kind, ts: EventTime) -> bool {
        if filter.all.is_empty() {
            return true;
        }
        let (plan, event, known) = (self.plan, self.event, self.keys.foreseen);
        let (cells, watermark) = (&self.keyed.cells, self.ctx.watermark);
        let new = |field: &Field, within_ms: i64| {
            let Some(at) = plan.new_fields.iter().position(|(known, _)| known == field) else {
                return false;
            };
            let mut text = String::new();
            let value = known.hashes.value(field, event, &mut text);
            let hash = known.hashes.member;
            let member = &mut Member { key: &mut known.user_key(event), hash, guess: None };
            let since = ts.0.saturating_sub(within_ms).max(plan.shown_since(at, watermark));
            value.is_some_and(|value| cells.shows_new(plan, at, member, value, since))
        };
        let (calendar, edits) = (&plan.calendar, self.edits);
        let listed = Listed { files: &plan.lists, names: &plan.rules.lists, edits };
        let ctx = FilterCtx { calendar, listed, new: &new, kind, ts };
        holds(filter, event, &ctx)
    }

    /// Brings a contribution to its counters, or to the outbox for their owner.
    #[inline]
    fn contribute(&mut self, rule: usize, what: &Contribution<'_>) {
        let plan = self.plan;
        let info = &plan.info[rule];
        let Some(key) = self.keys.get(info.space) else { return };
        if info.shared {
            if !self.partials.takes(rule, info.gathers()) {
                return;
            }
            share(rule, key, what, self.at, &mut self.ctx, self.partials);
        } else {
            self.keyed.observe(rule, key, what, self.at, &mut self.ctx);
        }
    }
}

/// Adds a contribution to the partial aggregates for the owner of its key.
fn share(
    rule: usize,
    key: &Key<'_>,
    what: &Contribution<'_>,
    at: &At<'_>,
    ctx: &mut Ctx<'_>,
    partials: &mut PartialsOutbox,
) {
    let plan = ctx.plan;
    let info = &plan.info[rule];
    if closes(plan, rule, what.ts, ctx.watermark) {
        ctx.counts.closed_window += u64::from(!what.reversal);
        return;
    }
    if let Some(posts) = &mut partials.apart {
        posts.add(plan, rule, key, what);
        return;
    }
    let step = step_of(plan, rule, what.ts, at.offset);
    let slot = Slot {
        at: rule,
        rule: info.fingerprint,
        key,
        step,
        reversal: what.reversal,
        id: at.id,
        event_ts: at.ts,
        offset: at.offset,
    };
    let saturated = partials.pending.add(&slot, what.ts, (what.of, what.to));
    ctx.counts.saturated += u64::from(saturated);
}

/// Where entries of the rule combine what counts at this time.
pub(crate) fn step_of(plan: &Plan, rule: usize, ts: i64, offset: i64) -> i64 {
    let info = &plan.info[rule];
    match info.form {
        Form::Match => offset,
        Form::Rolling | Form::RollingBelow => ts.div_euclid(info.step_ms) * info.step_ms,
        Form::Calendar | Form::CalendarBelow | Form::ZScore => {
            let start = span(plan, info.window, ts).start;
            // A flow is one of minutes: what a replay takes in at once is no burst.
            if info.has_flow { start.max(ts.div_euclid(MINUTE_MS) * MINUTE_MS) } else { start }
        }
    }
}
