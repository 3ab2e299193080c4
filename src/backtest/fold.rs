//! One input as one partition, with a flush after each event.

use std::io;
use std::sync::Arc;

use crate::backtest::chunk::Decoding;
use crate::backtest::findings::{Findings, Names};
use crate::backtest::halves::{Own, Record, Shared, Step};
use crate::backtest::results::Results;
use crate::backtest::summary::Summary;
use crate::backtest::tally::Issued;
use crate::engine::{Effect, Events, Gate, Hashes, Outcome, Plan, PostedEvent, Standing, State};
use crate::event::{Canary, Decoder, Layouts};
use crate::rule::{Mode, Rule, RuleSet};

mod why;

pub use why::{Asked, Explained};

/// A fold over one finite input.
#[derive(Debug)]
pub struct Backtest {
    pub(crate) plan: Arc<Plan>,
    pub(crate) decoding: Decoding,
    pub(crate) gate: Gate,
    pub(crate) own: Own,
    pub(crate) shared: Shared,
    pub(crate) results: Results,
    line: i64,
    /// What has come of lines since effects were taken.
    effects: Vec<Effect>,
}

/// A line, if there is an event in it.
struct One<'a, 'e>(Option<PostedEvent<'a, 'e>>);

impl<'e> Events<'e> for One<'_, 'e> {
    fn event(&self, _: u32) -> Option<PostedEvent<'_, 'e>> {
        self.0
    }
}

impl Backtest {
    /// A fold that has seen nothing. `name` stands as topic in triggers.
    pub fn new(plan: Plan, decoder: Decoder, max_bytes: usize, name: &str) -> Backtest {
        let plan = Arc::new(plan.posting());
        Backtest {
            decoding: Decoding { decoder, layouts: Layouts::default(), max_bytes },
            gate: Gate::new(plan.settings.clone()),
            own: Own::new(&plan, name),
            shared: Shared::new(plan.clone()),
            results: Results::new(plan.rule_set()),
            plan,
            line: 0,
            effects: Vec::new(),
        }
    }

    /// Keeps what rules fire on, target by target, for differences and reports.
    #[must_use]
    pub fn keeping(mut self, names: Names) -> Backtest {
        self.results.findings = Findings::kept(names);
        self
    }

    /// Keeps, besides, how near keys came to bounds: memory for each rule and key.
    #[must_use]
    pub fn keeping_peaks(mut self) -> Backtest {
        self.own.state.keep_peaks();
        self.shared.state.keep_peaks();
        self
    }

    /// Folds one line in, in the thread of the caller; a blank one, and a canary, only count as a
    /// line.
    /// [`crate::backtest::run`] does the same in several.
    pub fn feed(&mut self, line: &[u8]) {
        let number = self.line;
        self.line += 1;
        if line.is_empty() {
            return;
        }
        let decoded = self.decoding.event(line);
        if decoded.is_err() && Canary::read(line).is_some() {
            return;
        }
        let hashed = decoded.map(|event| (Hashes::of(&event), event));
        let event = hashed.as_ref().map_err(|reason| *reason);
        let record = match event {
            Ok((hashes, event)) if self.gate.has_come(event, hashes, None) => Record::Duplicate,
            Ok((_, event)) => Record::Event(event),
            Err(reason) => Record::Rejected(reason),
        };
        let outcome = self.own.step(Step { record, number, record_ts: None, tag: 0 });
        let posted =
            event.ok().map(|(hashes, event)| PostedEvent { event, hashes, offset: number });
        self.merge(&One(posted));
        if let (Outcome::Accepted, Some(posted)) = (outcome, posted)
            && let Some(issued) = Issued::of(posted.event, posted.hashes)
        {
            self.results.issued.add_all(&[issued]);
        }
    }

    /// Closes what the end of input closes.
    pub fn end(&mut self) {
        self.own.end();
        self.merge(&One(None));
        self.effects.extend(self.shared.end().into_iter().map(|(_, effect)| effect));
    }

    /// Tells the half of shared keys what came of one event.
    fn merge(&mut self, event: &One<'_, '_>) {
        let (own, told) = self.own.take();
        let shared = self.shared.merge(&told, event);
        self.effects.extend(own.into_iter().chain(shared).map(|(_, effect)| effect));
    }

    /// Hands out the effects of the input since the last call, which is a line or the end: closed
    /// windows first, then in the order of the rules; a decision and its commands stay together.
    ///
    /// # Errors
    /// What `sink` fails with.
    pub fn take(&mut self, sink: &mut dyn FnMut(&Effect) -> io::Result<()>) -> io::Result<()> {
        self.results.take(self.effects.drain(..), sink)
    }

    pub(crate) fn rule_set(&self) -> &RuleSet {
        self.plan.rule_set()
    }

    pub(crate) fn findings(&self) -> &Findings {
        &self.results.findings
    }

    /// Issued points of a member.
    pub(crate) fn issued(&self, user: &str) -> i64 {
        self.results.issued.sum(user)
    }

    /// Where the keys of a rule stand.
    pub(crate) fn standings(&self, rule: &Rule) -> Vec<Standing> {
        self.state_of(rule).standings(&self.plan, &rule.name)
    }

    /// What the keys of a rule have reached, by its place in the set.
    pub(crate) fn peaks(&self, rule: &Rule, place: usize) -> Vec<f64> {
        self.state_of(rule).peaks(place)
    }

    /// The state that has the counters of a rule.
    fn state_of(&self, rule: &Rule) -> &State {
        if rule.per.has_user() { &self.own.state } else { &self.shared.state }
    }

    /// Event times between which the events lie that counted.
    pub(crate) fn time(&self) -> Option<(i64, i64)> {
        Some((self.own.begin?, self.own.state.watermark()?.0))
    }

    pub fn summary(&self) -> Summary {
        let (own, shared) = (&self.own.out.counts, &self.shared.out.counts);
        let shadow = self.rule_set().rules.iter().filter(|rule| rule.mode == Mode::Shadow);
        Summary {
            events: own.consumed,
            accepted: own.accepted,
            duplicate: own.duplicate,
            late: own.late,
            quarantined: own.quarantined,
            suppressed: own.suppressed + shared.suppressed,
            fired: self.results.firings(),
            shadow: shadow.map(|rule| rule.name.clone()).collect(),
            targets: self.results.targets(),
            points_at_stake: self.results.points_at_stake(),
        }
    }
}
