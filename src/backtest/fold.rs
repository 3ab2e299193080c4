//! One input as one partition, with a flush after each event.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use crate::backtest::findings::{Findings, Names};
use crate::backtest::summary::{Fired, Summary};
use crate::backtest::tally::Issued;
use crate::engine::{
    Decision, Effect, Input, Origin, Outcome, Output, Plan, Standing, State, account_key,
    hand_over, step,
};
use crate::event::{Decoder, Event, Reason};
use crate::rule::{Check, Mode, RuleSet, Window};

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
    issued: Issued,
    findings: Findings,
}

#[derive(Debug, Default)]
struct Tally {
    fired: BTreeMap<(usize, String, u32), u64>,
    targets: BTreeSet<String>,
    users: BTreeSet<String>,
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
            issued: Issued::default(),
            findings: Findings::default(),
        }
    }

    /// Keeps what rules fire on, target by target, for differences and reports.
    #[must_use]
    pub fn keeping(mut self, names: Names) -> Backtest {
        self.findings = Findings::kept(names);
        self
    }

    /// Folds one line in; a blank one only counts as a line.
    pub fn feed(&mut self, line: &[u8]) {
        if line.is_empty() {
            self.pass();
        } else {
            self.fold(self.decode(line).as_ref());
        }
    }

    /// The event of a line, or why it is none.
    pub(crate) fn decode<'a>(&self, line: &'a [u8]) -> Result<Event<'a>, Reason> {
        self.decoder.decode(line, self.max_bytes)
    }

    /// Folds in what a line has been decoded to.
    pub(crate) fn fold(&mut self, decoded: Result<&Event<'_>, &Reason>) {
        let offset = self.line;
        self.line += 1;
        let (plan, out) = (&self.plan, &mut self.events_out);
        match decoded {
            Ok(event) => {
                let input = Input::Event { event, offset, record_ts: None };
                step(&mut self.events, plan, input, out);
                if out.outcome == Outcome::Accepted {
                    self.issued.note(event);
                }
            }
            Err(reason) => {
                step(&mut self.events, plan, Input::Rejected { reason: *reason }, out);
            }
        }
        self.flush(false);
    }

    /// A blank line.
    pub(crate) fn pass(&mut self) {
        self.line += 1;
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
        for (_, effect) in &ranked {
            self.findings.note(effect);
            sink(effect)?;
        }
        Ok(())
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn rule_set(&self) -> &RuleSet {
        self.plan.rule_set()
    }

    pub(crate) fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Issued points of a member.
    pub(crate) fn issued(&self, user: &str) -> i64 {
        self.issued.of(user)
    }

    /// Where the keys of a rule stand.
    pub(crate) fn standings(&self, rule: &str) -> Vec<Standing> {
        let is_here = |known: &crate::rule::Rule| known.name == rule && known.per.has_user();
        let here = self.rule_set().rules.iter().any(is_here);
        let state = if here { &self.events } else { &self.shared };
        state.standings(&self.plan, rule)
    }

    pub fn summary(&self) -> Summary {
        let counts = &self.events_out.counts;
        let points = |user: &String| self.issued.of(user);
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
    fn fired(&mut self, rule: usize, decision: &Decision) {
        let key = (rule, decision.rule.clone(), decision.level);
        *self.fired.entry(key).or_default() += 1;
        self.targets.insert(account_key(&decision.key));
        if let Some(user) = decision.key.get("user").and_then(|user| user.as_str()) {
            self.users.insert(user.to_owned());
        }
    }
}
