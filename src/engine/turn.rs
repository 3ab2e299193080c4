//! One event's turn: which rules it passes, what it adds, and where that goes: to counters here,
//! or as a partial aggregate to the owner of the key.
//!
//! A key is read and hashed once an event and key form, however many rules count by it.

use smallvec::SmallVec;

use crate::engine::filter::{FilterCtx, holds};
use crate::engine::keyed::{At, Contribution, Ctx, Keyed};
use crate::engine::partial::{PartialsOutbox, Slot, Tally};
use crate::engine::plan::{Form, Plan};
use crate::engine::seen::Seen;
use crate::engine::space::{Key, field_of, hash_of, is_composite, simple_key, write_key};
use crate::engine::view::{span, step_ms};
use crate::event::{Event, EventTime, Kind};
use crate::rule::{Check, Field, Filter, Input as Measured, Measure, Window, ZScore};

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
    for (spec, key) in plan.spaces.iter().zip(composed) {
        if is_composite(spec) {
            key.whole = write_key(spec, event, &mut key.text);
        }
    }
}

/// The event's keys, by key form, as far as rules have asked for them.
#[derive(Debug)]
pub(crate) struct Keys<'a, 'e> {
    pub(crate) plan: &'a Plan,
    pub(crate) event: &'a Event<'e>,
    pub(crate) composed: &'a [Composed],
    pub(crate) known: SmallVec<[Known<'a>; 6]>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Known<'a> {
    NotAsked,
    /// The event lacks a field of it.
    Lacking,
    Is(Key<'a>),
}

impl<'a> Keys<'a, '_> {
    /// `None` when the event lacks a field of the key.
    fn get(&mut self, space: usize) -> Option<&mut Key<'a>> {
        if self.known.len() <= space {
            self.known.resize(space + 1, Known::NotAsked);
        }
        let (plan, event, composed) = (self.plan, self.event, self.composed);
        let known = &mut self.known[space];
        if let Known::NotAsked = known {
            let spec = &plan.spaces[space];
            let text = if is_composite(spec) {
                composed.get(space).filter(|key| key.whole).map(|key| key.text.as_str())
            } else {
                simple_key(spec, event)
            };
            *known = text.map_or(Known::Lacking, |text| Known::Is(Key::new(text)));
        }
        match known {
            Known::Is(key) => Some(key),
            Known::Lacking | Known::NotAsked => None,
        }
    }
}

/// Everything that one event's turn needs.
#[derive(Debug)]
pub(crate) struct Turn<'a, 'e, 'o> {
    pub(crate) plan: &'a Plan,
    pub(crate) event: &'a Event<'e>,
    pub(crate) at: &'a At<'a>,
    pub(crate) keys: Keys<'a, 'e>,
    /// For the text of a field that is no text.
    pub(crate) text: &'a mut String,
    pub(crate) keyed: &'a mut Keyed,
    pub(crate) seen: &'a [Seen],
    pub(crate) ctx: Ctx<'o>,
    pub(crate) partials: &'a mut PartialsOutbox,
}

impl Turn<'_, '_, '_> {
    pub(crate) fn rule(&mut self, rule: usize, late: bool) {
        let (kind, ts) = (self.event.kind, self.event.ts);
        let none = Tally::default();
        let plan = self.plan;
        let (of, to) = match &plan.rule(rule).check {
            Check::Match { on, filter, .. } => {
                if on.contains(kind) && self.passes(filter, kind, ts) {
                    let what = Contribution { ts: ts.0, of: &none, to: &none, reversal: false };
                    self.contribute(rule, &what);
                }
                return;
            }
            _ if late => return,
            Check::Threshold { input, .. } => (self.input(input), None),
            Check::Ratio { of, to, .. } => (self.input(of), self.input(to)),
            Check::ZScore(zscore) => (self.input(&zscore.input), None),
        };
        if of.is_none() && to.is_none() {
            return;
        }
        let (of, to) = (of.as_ref().unwrap_or(&none), to.as_ref().unwrap_or(&none));
        self.contribute(rule, &Contribution { ts: ts.0, of, to, reversal: false });
    }

    /// R10: takes a reversal's points from the windows in which the original counted.
    pub(crate) fn reverse(&mut self) {
        let (plan, event) = (self.plan, self.event);
        let Some(reverses) = &event.reverses else { return };
        let ts = reverses.ts.unwrap_or(event.ts);
        let taken = Tally {
            count: if reverses.partial { 0 } else { -1 },
            sum: event.points.saturating_neg(),
            ..Tally::default()
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
            let none = Tally::default();
            let what = Contribution {
                ts: ts.0,
                of: if of { &taken } else { &none },
                to: if to { &taken } else { &none },
                reversal: true,
            };
            self.contribute(rule, &what);
        }
    }

    /// What the event adds to a measure; `None` when the measure does not see it.
    fn input(&mut self, input: &Measured) -> Option<Tally> {
        let event = self.event;
        if !input.on.contains(event.kind) || !self.passes(&input.filter, event.kind, event.ts) {
            return None;
        }
        let mut tally =
            Tally { count: 1, sum: event.points, max: Some(event.points), values: SmallVec::new() };
        if let Measure::Distinct(field) = &input.measure
            && let Some(value) = field_of(field, event, self.text)
        {
            tally.values.push((hash_of(value), event.ts.0));
        }
        Some(tally)
    }

    fn passes(&mut self, filter: &Filter, kind: Kind, ts: EventTime) -> bool {
        if filter.all.is_empty() {
            return true;
        }
        let (plan, event, seen) = (self.plan, self.event, self.seen);
        let new = |field: &Field, within_ms: i64| {
            let Some(at) = plan.new_fields.iter().position(|(known, _)| known == field) else {
                return false;
            };
            let mut text = String::new();
            field_of(field, event, &mut text)
                .is_some_and(|value| seen[at].is_new(&event.user, value, ts.0, within_ms))
        };
        let ctx = FilterCtx { calendar: &plan.calendar, lists: &plan.lists, new: &new, kind, ts };
        holds(filter, event, &ctx)
    }

    /// Brings a contribution to its counters, or to the outbox for their owner.
    fn contribute(&mut self, rule: usize, what: &Contribution<'_>) {
        let plan = self.plan;
        let info = &plan.info[rule];
        let Some(key) = self.keys.get(info.space) else { return };
        if info.shared {
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
    let step = match &plan.rule(rule).check {
        Check::Match { .. } => at.offset,
        Check::Threshold { window, .. }
        | Check::Ratio { window, .. }
        | Check::ZScore(ZScore { window, .. }) => match window {
            Window::Duration(ms) if info.form != Form::ZScore => {
                let step = step_ms(true, *ms);
                what.ts.div_euclid(step) * step
            }
            window => {
                let span = span(plan, *window, what.ts);
                let closes = matches!(info.form, Form::ZScore | Form::CalendarBelow);
                if closes && span.end.saturating_add(info.close_after_ms) <= ctx.watermark {
                    ctx.counts.closed_window += u64::from(!what.reversal);
                    return;
                }
                span.start
            }
        },
    };
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
