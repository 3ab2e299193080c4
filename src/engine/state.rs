//! The state of one log, and the step that folds an input into it.

use crate::engine::ahead::{Ahead, Foreseen};
use crate::engine::calendar::Span;
use crate::engine::daily::{Book, DailyOutbox, Intake, is_sheet};
use crate::engine::dedup::Dedup;
use crate::engine::edits::ListEdits;
use crate::engine::gather::Heard;
use crate::engine::inputs::Inputs;
use crate::engine::keyed::{At, Ctx, Keyed};
use crate::engine::partial::{Mark, PartialsOutbox};
use crate::engine::plan::Plan;
use crate::engine::seen::Seen;
use crate::engine::shown::Member;
use crate::engine::snapshot::Point;
use crate::engine::space::Key;
use crate::engine::turn::{Composed, Keys, Known, Turn, compose};
use crate::engine::{Counts, Decision, Effect, Input, Origin, Outcome};
use crate::event::{Event, EventTime, Kind, Reason};

/// Everything remembered of one partition of the input topic, or of the partials topic:
/// a pure function of that log up to the last input.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) origin: Origin,
    /// Greatest accepted event time; of the partials topic: the least over its inputs (R8).
    pub(crate) watermark: Option<i64>,
    pub(crate) keyed: Keyed,
    /// What each input partition said last (partials topic only).
    pub(crate) inputs: Inputs,
    /// The event that moved the watermark last, and its log (partials topic only).
    pub(crate) mover: Option<(Origin, Mark)>,
    /// Which partitions have told their past of new rules (partials topic only).
    pub(crate) heard: Heard,
    pub(crate) dedup: Dedup,
    /// What people did to lists.
    pub(crate) edits: ListEdits,
    /// What became of its records (events topic only).
    pub(crate) intake: Intake,
    /// The account of all partitions, where it is kept.
    pub(crate) book: Option<Box<Book>>,
    /// The day that the watermark is in; of the partials topic that which is open at it. Looked
    /// up, no part of the state.
    pub(crate) day: Span,
    /// The plan's that tables have been made for.
    shape: Option<u64>,
    /// The snapshot under way; no part of the state.
    pub(crate) snapshot: Option<Point>,
    /// What is known of the next events; no part of the state.
    pub(crate) ahead: Ahead,
    /// Composite keys of the event at hand, by key form; no part of the state.
    composed: Vec<Composed>,
    text: String,
}

impl State {
    pub fn new(origin: Origin) -> State {
        State {
            origin,
            watermark: None,
            keyed: Keyed::default(),
            inputs: Inputs::default(),
            mover: None,
            heard: Heard::default(),
            dedup: Dedup::default(),
            edits: ListEdits::default(),
            intake: Intake::default(),
            book: None,
            day: Span::default(),
            shape: None,
            snapshot: None,
            ahead: Ahead::default(),
            composed: Vec::new(),
            text: String::new(),
        }
    }

    /// The log this is the state of.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub fn watermark(&self) -> Option<EventTime> {
        self.watermark.map(EventTime)
    }

    /// Keys held, over all key forms.
    pub fn keys(&self) -> usize {
        self.keyed.cells.keys()
    }

    /// Counters held: one a rule and key.
    pub fn counters(&self) -> usize {
        let cells = &self.keyed.cells;
        cells.count() + cells.seen.iter().map(Seen::len).sum::<usize>()
    }

    /// Targets with a hold.
    pub fn accounts(&self) -> usize {
        self.keyed.ledger.len()
    }

    /// An estimate of the bytes held on the heap, from the sizes of tables: what single keys and
    /// counters keep apart from them (long texts, crowded windows) is not in it.
    pub fn bytes(&self) -> usize {
        self.keyed.bytes() + self.dedup.bytes() + self.keyed.ledger.bytes() + self.edits.bytes()
    }

    /// Event ids remembered against duplicates.
    pub fn remembered_ids(&self) -> usize {
        self.dedup.len()
    }

    /// What of [`State::bytes`] the remembered ids take.
    pub fn bytes_of_ids(&self) -> usize {
        self.dedup.bytes()
    }
}

/// What steps put out. Effects and partials wait here until the caller takes them;
/// counts only rise.
#[derive(Debug, Clone)]
pub struct Output {
    pub effects: Vec<Effect>,
    pub counts: Counts,
    /// What became of the last event.
    pub outcome: Outcome,
    pub partials: PartialsOutbox,
    pub daily: DailyOutbox,
}

impl Default for Output {
    fn default() -> Self {
        Output {
            effects: Vec::new(),
            counts: Counts::default(),
            outcome: Outcome::Accepted,
            partials: PartialsOutbox::default(),
            daily: DailyOutbox::default(),
        }
    }
}

impl Output {
    /// True when a command waits, so that the caller commits at once.
    pub fn has_commands(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Command(_)))
    }
}

/// Folds one input into the state. Never fails: bad input is an outcome and a count.
#[expect(clippy::needless_pass_by_value, reason = "an input is used up by its step")]
pub fn step(state: &mut State, plan: &Plan, input: Input<'_, '_>, out: &mut Output) {
    state.prepare(plan);
    state.keyed.begin_step();
    match input {
        Input::Event { event, offset, record_ts } => {
            let outcome = state.event(plan, event, offset, record_ts, out);
            state.count(plan, outcome, offset, out);
        }
        Input::Duplicate { offset } => state.count(plan, Outcome::Duplicate, offset, out),
        Input::Rejected { reason, offset } => {
            state.count(plan, Outcome::Quarantined(reason), offset, out);
        }
        Input::Partials { payload, record_ts, .. } if is_sheet(payload) => {
            state.sheet(plan, payload, record_ts, out);
        }
        Input::Canary { canary, offset } => {
            out.counts.consumed += 1;
            out.counts.canaries += 1;
            out.outcome = Outcome::Canary;
            let ruleset = &plan.rules.version;
            let answer = Decision::canary(canary, &state.origin, offset, ruleset);
            out.effects.push(Effect::Canary(Box::new(answer)));
        }
        Input::Partials { payload, offset, record_ts } => {
            state.partials(plan, payload, offset, record_ts, out);
        }
        Input::Change { change, place } => state.change(plan, change, &place, out),
        Input::End => state.end(plan, out),
    }
}

impl State {
    /// Makes room for the rules of a plan.
    #[inline]
    pub(crate) fn prepare(&mut self, plan: &Plan) {
        if self.shape != Some(plan.shape) {
            self.take_shape(plan);
        }
    }

    #[cold]
    fn take_shape(&mut self, plan: &Plan) {
        self.abandon_snapshot();
        self.shape = Some(plan.shape);
        self.keyed.cells.prepare(plan);
        self.keyed.await_anew(plan, self.watermark.unwrap_or(i64::MIN));
    }

    /// Counts what became of a record.
    fn count(&mut self, plan: &Plan, outcome: Outcome, offset: i64, out: &mut Output) {
        out.counts.consumed += 1;
        out.outcome = outcome;
        let [accepted, duplicate, late, quarantined] = self.intake.count(offset, &plan.settings);
        match outcome {
            Outcome::Accepted => {
                out.counts.accepted += 1;
                *accepted += 1;
            }
            Outcome::Duplicate => {
                out.counts.duplicate += 1;
                *duplicate += 1;
            }
            Outcome::Late => {
                out.counts.late += 1;
                *late += 1;
            }
            Outcome::Quarantined(_) => {
                out.counts.quarantined += 1;
                *quarantined += 1;
            }
            Outcome::Canary => out.counts.canaries += 1,
        }
    }

    /// An event, with what is known of it ahead.
    fn event(
        &mut self,
        plan: &Plan,
        event: &Event<'_>,
        offset: i64,
        record_ts: Option<EventTime>,
        out: &mut Output,
    ) -> Outcome {
        let mut ahead = std::mem::take(&mut self.ahead);
        let event = (event, offset, record_ts);
        let outcome = match ahead.at(offset) {
            Some(known) => self.known_event(plan, event, known, out),
            None => self.known_event(plan, event, &Foreseen::not(event.0), out),
        };
        self.ahead = ahead;
        outcome
    }

    fn known_event(
        &mut self,
        plan: &Plan,
        (event, offset, record_ts): (&Event<'_>, i64, Option<EventTime>),
        known: &Foreseen,
        out: &mut Output,
    ) -> Outcome {
        let ts = event.ts.0;
        if plan.settings.is_too_far_ahead(event.ts, record_ts) {
            return Outcome::Quarantined(Reason::TooFarAhead);
        }
        let watermark = self.watermark.map_or(ts, |watermark| watermark.max(ts));
        let hashes = &known.hashes;
        if self.has_come(plan, hashes.identity, watermark) {
            return Outcome::Duplicate;
        }
        let late = ts < watermark.saturating_sub(plan.settings.allowed_lateness_ms);
        if !late && self.watermark != Some(watermark) {
            self.advance(plan, watermark, (event, offset), out);
        }
        let at = At::event(event, offset, &self.origin);
        let mut composed = std::mem::take(&mut self.composed);
        let mut text = std::mem::take(&mut self.text);
        compose(plan, event, &mut composed);
        let user;
        {
            let spaces = plan.spaces.len();
            let (mut few, mut many) = ([Known::NotAsked; 8], Vec::new());
            let keys = few.get_mut(..spaces).unwrap_or_else(|| {
                many.resize(spaces, Known::NotAsked);
                &mut many
            });
            let ways = plan.routes.of(event, hashes.source);
            let is_plain = !late && ts == watermark && out.partials.posts();
            let posting = plan.postings.get(ways.number).filter(|_| is_plain);
            let mut turn = Turn {
                plan,
                event,
                at: &at,
                keys: Keys { plan, event, composed: &composed, foreseen: known, known: keys },
                text: &mut text,
                keyed: &mut self.keyed,
                edits: &self.edits,
                ctx: Ctx { plan, watermark, effects: &mut out.effects, counts: &mut out.counts },
                partials: &mut out.partials,
            };
            for route in posting.map_or(&ways.routes, |posting| &posting.rest) {
                turn.rule(*route, late);
            }
            if let Some(posting) = posting {
                turn.post(posting, ways.number);
            }
            if !late && event.kind == Kind::Reverse && event.reverses.is_some() {
                turn.reverse();
            }
            let is_known = plan.user_space.and_then(|space| turn.keys.is(space));
            user = is_known.map(|key| key.found_for(&event.user));
        }
        if !late && !plan.new_fields.is_empty() {
            let key = user.unwrap_or_else(|| known.user_key(event));
            self.remember(plan, (event, known, key), &mut text, out);
        }
        (self.composed, self.text) = (composed, text);
        if late {
            return Outcome::Late;
        }
        self.intake.enter(event);
        out.counts.saturated += u64::from(out.daily.book(plan, event, hashes.source));
        Outcome::Accepted
    }

    /// Whether the event has come before; if not, it has now.
    fn has_come(&mut self, plan: &Plan, identity: u128, watermark: i64) -> bool {
        let Some(dedup_ms) = plan.settings.dedup_ms else { return false };
        !self.dedup.insert(identity, watermark.saturating_add(dedup_ms))
    }

    /// Moves the watermark: what is over closes and expires before the event counts.
    fn advance(
        &mut self,
        plan: &Plan,
        watermark: i64,
        (event, offset): (&Event<'_>, i64),
        out: &mut Output,
    ) {
        if let (Some(before), Some(max_ahead)) = (self.watermark, plan.settings.max_ahead_ms)
            && watermark - before > max_ahead
        {
            out.counts.watermark_jumps += 1;
        }
        if watermark >= self.day.end {
            self.turn_day(plan, watermark, out);
        }
        if self.keyed.looks_anew() {
            self.keyed.look_anew(plan, self.watermark.unwrap_or(watermark), Some(watermark));
        }
        self.watermark = Some(watermark);
        out.partials.set_mover(&event.id, event.ts.0, offset);
        if self.keyed.has_due(watermark) {
            let at = At::event(event, offset, &self.origin);
            let (effects, counts) = (&mut out.effects, &mut out.counts);
            self.keyed.close(&at, false, &mut Ctx { plan, watermark, effects, counts });
        }
        self.settle(plan, watermark, out);
    }

    /// Lets go of everything that event time has passed.
    fn settle(&mut self, plan: &Plan, watermark: i64, out: &mut Output) {
        self.keyed.expire(plan, watermark);
        self.tell_over(plan, watermark, out);
    }

    /// The same, but for the counters.
    #[inline]
    pub(crate) fn tell_over(&mut self, plan: &Plan, watermark: i64, out: &mut Output) {
        self.dedup.expire(watermark);
        let Keyed { cells, ledger, opens, .. } = &self.keyed;
        let passed = watermark.saturating_sub(plan.settings.allowed_lateness_ms);
        let is_over = |seen: &Seen| seen.is_over(passed);
        if ledger.is_over(watermark) || opens.has_over() || cells.seen.iter().any(is_over) {
            self.let_go(plan, watermark, out);
        }
    }

    #[inline(never)]
    fn let_go(&mut self, plan: &Plan, watermark: i64, out: &mut Output) {
        let Keyed { cells, ledger, opens, .. } = &mut self.keyed;
        ledger.expire(watermark, &mut out.effects);
        let (effects, counts) = (&mut out.effects, &mut out.counts);
        opens.tell_over(&mut Ctx { plan, watermark, effects, counts });
        for (at, (seen, (_, within_ms))) in cells.seen.iter_mut().zip(&plan.new_fields).enumerate()
        {
            seen.expire(plan.shown_since(at, watermark), *within_ms);
        }
    }

    fn remember(
        &mut self,
        plan: &Plan,
        (event, known, mut key): (&Event<'_>, &Foreseen, Key<'_>),
        text: &mut String,
        out: &mut Output,
    ) {
        let guesses = known.shown.into_iter().chain(std::iter::repeat(None));
        let watermark = self.watermark.unwrap_or(event.ts.0);
        for (at, ((field, _), guess)) in plan.new_fields.iter().zip(guesses).enumerate() {
            let Some(value) = known.hashes.value(field, event, text) else { continue };
            let member = &mut Member { key: &mut key, hash: known.hashes.member, guess };
            let value = (value, event.ts.0);
            if !self.keyed.remember(plan, at, member, (value, watermark)) {
                out.counts.values_dropped += 1;
            }
        }
        out.counts.values_dropped += std::mem::take(&mut self.keyed.cells.dropped);
    }

    fn end(&mut self, plan: &Plan, out: &mut Output) {
        let Some(watermark) = self.watermark else { return };
        let own = || out.partials.mover().map(|mark| (self.origin.clone(), mark.clone()));
        let Some((origin, mark)) = self.mover.clone().or_else(own) else { return };
        let at = At::mover(&origin, &mark);
        let mut ctx = Ctx { plan, watermark, effects: &mut out.effects, counts: &mut out.counts };
        self.keyed.look_anew(plan, watermark, None);
        self.keyed.close(&at, true, &mut ctx);
        self.end_book(plan, out);
    }
}
