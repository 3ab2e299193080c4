//! The two halves of a fold: events and members' keys in one state, keys that cross partitions in
//! another. The first tells the second after each event, so that each may run in a thread of its
//! own and neither comes to anything else than it would in one.

use std::sync::Arc;

use crate::engine::daily::Sender;
use crate::engine::{
    Effect, Events, Input, Origin, Outcome, Output, PartialsOutbox, Plan, PostedEvent, Posts,
    State, step,
};
use crate::event::{Event, EventTime, Reason};

/// Effects, each with the tag of the input that they came of.
pub(crate) type Tagged = Vec<(u32, Effect)>;

/// The tag of the end of the input.
pub(crate) const END: u32 = u32::MAX;

/// One input of the first half.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'a, 'e> {
    pub(crate) record: Record<'a, 'e>,
    /// Its number in the whole input, which stands as offset in triggers.
    pub(crate) number: i64,
    pub(crate) record_ts: Option<EventTime>,
    pub(crate) tag: u32,
}

/// What is known of a record before it is stepped over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Record<'a, 'e> {
    Event(&'a Event<'e>),
    Duplicate,
    Rejected(Reason),
}

/// What one half tells the other.
#[derive(Debug, Default)]
pub(crate) struct Told {
    posts: Posts,
    /// For the account.
    sheets: Vec<Vec<u8>>,
}

/// The half that sees events.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) plan: Arc<Plan>,
    pub(crate) state: State,
    pub(crate) out: Output,
    effects: Tagged,
    /// Event time of the first event that counted.
    pub(crate) begin: Option<i64>,
}

impl Own {
    /// One behind a [`Gate`](crate::engine::Gate).
    pub(crate) fn new(plan: &Plan, name: &str) -> Own {
        let plan = Arc::new(plan.clone().behind_gate());
        let origin = Origin { topic: name.into(), partition: 0 };
        let out = Output { partials: PartialsOutbox::apart(), ..Output::default() };
        let effects = Vec::new();
        Own { plan, state: State::new(origin), out, effects, begin: None }
    }

    /// Asks for the first of what steps over these events will read.
    pub(crate) fn foresee<'a, 'e: 'a>(
        &mut self,
        events: impl Iterator<Item = PostedEvent<'a, 'e>>,
    ) {
        for PostedEvent { event, hashes, offset } in events {
            let event = (offset, event, hashes);
            self.state.foresee_hashed(&self.plan, event, &self.out.partials);
        }
    }

    /// Asks for the keys of the events foreseen since the last call.
    pub(crate) fn look_at_keys(&mut self) {
        self.state.look_at_keys(&self.plan);
    }

    /// Asks for the cells of the events whose keys were asked for since the last call.
    pub(crate) fn look_at_cells(&mut self) {
        self.state.look_at_cells(&self.plan);
    }

    pub(crate) fn step(&mut self, one: Step<'_, '_>) -> Outcome {
        let offset = one.number;
        let input = match one.record {
            Record::Event(event) => Input::Event { event, offset, record_ts: one.record_ts },
            Record::Duplicate => Input::Duplicate { offset },
            Record::Rejected(reason) => Input::Rejected { reason, offset },
        };
        step(&mut self.state, &self.plan, input, &mut self.out);
        if self.begin.is_none() {
            self.begin = self.state.watermark().map(|first| first.0);
        }
        self.seal(one.tag, false);
        self.out.outcome
    }

    /// Closes what the end of the input closes.
    pub(crate) fn end(&mut self) {
        step(&mut self.state, &self.plan, Input::End, &mut self.out);
        self.seal(END, true);
    }

    fn seal(&mut self, tag: u32, heartbeat: bool) {
        self.out.partials.seal(self.state.watermark(), heartbeat, tag);
        self.effects.extend(self.out.effects.drain(..).map(|effect| (tag, effect)));
    }

    /// What has come of the steps since the last call, and what the other half is to be told.
    pub(crate) fn take(&mut self) -> (Tagged, Told) {
        let posts = self.out.partials.take_posts(self.state.origin());
        let effects = std::mem::take(&mut self.effects);
        for (_, effect) in &effects {
            self.out.daily.note(&self.plan, effect);
        }
        let sheets = seal(&self.state, &self.plan, &mut self.out, false);
        (effects, Told { posts, sheets })
    }
}

/// The half that owns all keys that cross partitions.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plan: Arc<Plan>,
    pub(crate) state: State,
    pub(crate) out: Output,
    /// Records of the partials topic, if there were one.
    merged: i64,
}

impl Shared {
    pub(crate) fn new(plan: Arc<Plan>) -> Shared {
        let state = State::new(Origin { topic: "partials".into(), partition: 0 });
        Shared { plan, state, out: Output::default(), merged: 0 }
    }

    pub(crate) fn merge<'e>(
        &mut self,
        Told { posts, sheets }: &Told,
        events: &impl Events<'e>,
    ) -> Tagged {
        let mut effects = Vec::new();
        let Shared { plan, state, out, merged } = self;
        state.merge_posts(plan, (posts, events), *merged, out, &mut |tag, out| {
            effects.extend(out.effects.drain(..).map(|effect| (tag, effect)));
        });
        *merged += i64::try_from(posts.len()).unwrap_or(i64::MAX);
        let last = effects.last().map_or(0, |(tag, _)| *tag);
        for (_, effect) in &effects {
            out.daily.note(plan, effect);
        }
        let own = seal(state, plan, out, true);
        // The account is told by piece: what it says is said by day, whatever came together.
        for payload in own.iter().chain(sheets) {
            let input = Input::Partials { payload, offset: *merged, record_ts: None };
            step(state, plan, input, out);
        }
        effects.extend(out.effects.drain(..).map(|effect| (last, effect)));
        effects
    }

    pub(crate) fn end(&mut self) -> Tagged {
        step(&mut self.state, &self.plan, Input::End, &mut self.out);
        self.out.effects.drain(..).map(|effect| (END, effect)).collect()
    }
}

/// What a half has to tell the account.
fn seal(state: &State, plan: &Plan, out: &mut Output, is_owner: bool) -> Vec<Vec<u8>> {
    let by = Sender {
        origin: state.origin(),
        is_owner,
        partitions: 1,
        watermark: state.watermark(),
        idle: false,
        beat: false,
    };
    out.daily.seal(state, plan, by)
}
