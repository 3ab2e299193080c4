//! One input as one partition, with a flush after each event.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use crate::backtest::summary::{Fired, Summary};
use crate::engine::{
    Decision, Effect, Input, Origin, Outcome, Output, Plan, State, account_key, hand_over, step,
};
use crate::event::{Decoder, Event, Kind};
use crate::rule::{Check, Mode, Window};

mod why;

pub use why::{Asked, Explained};

/// A fold over one finite input.
#[derive(Debug)]
pub struct Backtest {
    plan: Plan,
    decoder: Decoder,
    max_bytes: usize,
    events: State,
    events_out: Output,
    shared: State,
    shared_out: Output,
    /// Rule name → place in the rule set, and whether its window rolls.
    rules: HashMap<String, (usize, bool)>,
    line: i64,
    partials: i64,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    fired: BTreeMap<(usize, String, u32), u64>,
    targets: BTreeSet<String>,
    users: BTreeSet<String>,
    issued: HashMap<String, i64>,
}

impl Backtest {
    /// A fold that has seen nothing. `name` stands as topic in triggers.
    pub fn new(plan: Plan, decoder: Decoder, max_bytes: usize, name: &str) -> Backtest {
        let origin = Origin { topic: name.into(), partition: 0 };
        let rolls = |check: &Check| match check {
            Check::Threshold { window, .. } | Check::Ratio { window, .. } => {
                matches!(window, Window::Duration(_))
            }
            Check::ZScore(_) | Check::Match { .. } => false,
        };
        let rules = plan.rule_set().rules.iter().enumerate();
        let rules = rules.map(|(at, rule)| (rule.name.clone(), (at, rolls(&rule.check))));
        Backtest {
            decoder,
            max_bytes,
            events: State::new(origin),
            events_out: Output::default(),
            shared: State::new(Origin { topic: "partials".into(), partition: 0 }),
            shared_out: Output::default(),
            rules: rules.collect(),
            plan,
            line: 0,
            partials: 0,
            tally: Tally::default(),
        }
    }

    /// Folds one line in; a blank one only counts as a line.
    pub fn feed(&mut self, line: &[u8]) {
        let offset = self.line;
        self.line += 1;
        if line.is_empty() {
            return;
        }
        match self.decoder.decode(line, self.max_bytes) {
            Ok(event) => {
                let input = Input::Event { event: &event, offset, record_ts: None };
                step(&mut self.events, &self.plan, input, &mut self.events_out);
                if self.events_out.outcome == Outcome::Accepted {
                    self.tally.issued(&event);
                }
            }
            Err(reason) => {
                let input = Input::Rejected { reason };
                step(&mut self.events, &self.plan, input, &mut self.events_out);
            }
        }
        self.flush(false);
    }

    /// Closes what the end of input closes.
    pub fn end(&mut self) {
        step(&mut self.events, &self.plan, Input::End, &mut self.events_out);
        self.flush(true);
        step(&mut self.shared, &self.plan, Input::End, &mut self.shared_out);
    }

    fn flush(&mut self, heartbeat: bool) {
        let owner = (&mut self.shared, &self.plan, &mut self.shared_out);
        let outbox = &mut self.events_out.partials;
        if hand_over(outbox, &self.events, heartbeat, owner, self.partials) {
            self.partials += 1;
        }
    }

    /// Hands out the effects of the inputs since the last call: closed windows first, then in
    /// the order of the rules; a decision and its commands stay together.
    ///
    /// # Errors
    /// What `sink` fails with.
    pub fn take(&mut self, sink: &mut dyn FnMut(&Effect) -> io::Result<()>) -> io::Result<()> {
        if self.events_out.effects.is_empty() && self.shared_out.effects.is_empty() {
            return Ok(());
        }
        let mut rank = (0, 0);
        let mut ranked = Vec::new();
        for effects in [&mut self.events_out.effects, &mut self.shared_out.effects] {
            for effect in effects.drain(..) {
                if let Effect::Decision(decision) = &effect {
                    if let Some((at, rolls)) = self.rules.get(&decision.rule) {
                        rank = (u8::from(*rolls || !is_closed(decision)), *at);
                    }
                    self.tally.fired(rank.1, decision);
                }
                ranked.push((rank, effect));
            }
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.iter().try_for_each(|(_, effect)| sink(effect))
    }

    pub fn summary(&self) -> Summary {
        let counts = &self.events_out.counts;
        let points = |user: &String| self.tally.issued.get(user).copied().unwrap_or(0);
        let fired = self.tally.fired.iter();
        let fired = fired.map(|((_, rule, level), count)| Fired {
            rule: rule.clone(),
            level: *level,
            count: *count,
        });
        let shadow = self.plan.rule_set().rules.iter().filter(|rule| rule.mode == Mode::Shadow);
        Summary {
            events: counts.consumed,
            accepted: counts.accepted,
            duplicate: counts.duplicate,
            late: counts.late,
            quarantined: counts.quarantined,
            suppressed: counts.suppressed + self.shared_out.counts.suppressed,
            fired: fired.collect(),
            shadow: shadow.map(|rule| rule.name.clone()).collect(),
            targets: self.tally.targets.len() as u64,
            points_at_stake: self.tally.users.iter().map(points).sum(),
        }
    }
}

/// A window's own decision is dated at its end; a running one lies before it.
fn is_closed(decision: &Decision) -> bool {
    decision.window.as_ref().is_some_and(|window| window.end == decision.ts)
}

impl Tally {
    fn issued(&mut self, event: &Event<'_>) {
        if event.kind == Kind::Issue {
            match self.issued.get_mut(&*event.user) {
                Some(points) => *points = points.saturating_add(event.points),
                None => {
                    self.issued.insert(event.user.to_string(), event.points);
                }
            }
        }
    }

    fn fired(&mut self, rule: usize, decision: &Decision) {
        let key = (rule, decision.rule.clone(), decision.level);
        *self.fired.entry(key).or_default() += 1;
        self.targets.insert(account_key(&decision.key));
        if let Some(user) = decision.key.get("user").and_then(|user| user.as_str()) {
            self.users.insert(user.to_owned());
        }
    }
}
