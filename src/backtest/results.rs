//! What comes of a fold: effects in order, and what is counted of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use crate::backtest::chunk::RecordAt;
use crate::backtest::findings::Findings;
use crate::backtest::pipeline::{About, Done};
use crate::backtest::summary::Fired;
use crate::backtest::tally::Issued;
use crate::engine::{Decision, Effect, Trigger, account_key};
use crate::rule::{Check, RuleSet, Window};

/// Takes effects in.
#[derive(Debug)]
pub(crate) struct Results {
    /// Rule name → place in the rule set, and whether its window rolls.
    rules: HashMap<String, (usize, bool)>,
    fired: BTreeMap<(usize, String, u32), u64>,
    targets: BTreeSet<String>,
    users: BTreeSet<String>,
    pub(crate) issued: Issued,
    pub(crate) findings: Findings,
    /// The record that moved the watermark last, by its number, where numbers do not say it all.
    mover: Option<(i64, RecordAt)>,
}

impl Results {
    pub(crate) fn new(set: &RuleSet) -> Results {
        let rolls = |check: &Check| match check {
            Check::Threshold { window, .. } | Check::Ratio { window, .. } => {
                matches!(window, Window::Duration(_))
            }
            Check::ZScore(_) | Check::Match { .. } => false,
        };
        let rules = set.rules.iter().enumerate();
        let rules = rules.map(|(at, rule)| (rule.name.clone(), (at, rolls(&rule.check))));
        Results {
            rules: rules.collect(),
            fired: BTreeMap::new(),
            targets: BTreeSet::new(),
            users: BTreeSet::new(),
            issued: Issued::default(),
            findings: Findings::default(),
            mover: None,
        }
    }

    /// Takes in what a piece of the input has come to.
    ///
    /// # Errors
    /// What `sink` fails with.
    pub(crate) fn take_piece(
        &mut self,
        done: Done,
        sink: &mut dyn FnMut(&Effect) -> io::Result<()>,
    ) -> io::Result<()> {
        let Done { own, shared, issued, about } = done;
        self.issued.add_all(&issued);
        let (mut own, mut shared) = (own.into_iter().peekable(), shared.into_iter().peekable());
        let tag = |next: Option<&(u32, Effect)>| next.map(|(tag, _)| *tag);
        while let Some(now) = tag(own.peek()).into_iter().chain(tag(shared.peek())).min() {
            let mut effects: Vec<Effect> = Vec::new();
            for half in [&mut own, &mut shared] {
                while let Some((_, effect)) = half.next_if(|(tag, _)| *tag == now) {
                    effects.push(effect);
                }
            }
            for effect in &mut effects {
                self.locate(effect, &about);
            }
            self.take(effects.into_iter(), sink)?;
        }
        if let Some(place) = about.mover.and_then(|at| Some((at, about.places.get(at as usize)?))) {
            self.mover = Some((about.first + i64::from(place.0), *place.1));
        }
        Ok(())
    }

    /// Says where in its topic the record of a trigger stands, which goes by its number so far. It
    /// is one of the piece at hand, or the one that moved the watermark last.
    fn locate(&self, effect: &mut Effect, about: &About) {
        let Effect::Decision(decision) = effect else { return };
        let Some(Trigger { partition, offset, .. }) = &mut decision.trigger else { return };
        let within = usize::try_from(*offset - about.first).ok();
        let moved = self.mover.filter(|(number, _)| number == offset).map(|(_, place)| place);
        let place = within.and_then(|at| about.places.get(at)).copied().or(moved);
        if let Some(place) = place {
            (*partition, *offset) = (place.partition, place.offset);
        }
    }

    /// Hands out the effects of one input, those of both halves one after the other: closed
    /// windows first, then in the order of the rules; a decision and its commands stay together.
    ///
    /// # Errors
    /// What `sink` fails with.
    pub(crate) fn take(
        &mut self,
        effects: impl Iterator<Item = Effect>,
        sink: &mut dyn FnMut(&Effect) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut rank = (0, 0);
        let mut ranked = Vec::new();
        for effect in effects {
            if let Effect::Decision(decision) = &effect {
                if let Some((at, rolls)) = self.rules.get(&decision.rule) {
                    rank = (u8::from(*rolls || !is_closed(decision)), *at);
                }
                self.fired(rank.1, decision);
            }
            ranked.push((rank, effect));
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        for (_, effect) in &ranked {
            self.findings.note(effect);
            sink(effect)?;
        }
        Ok(())
    }

    fn fired(&mut self, rule: usize, decision: &Decision) {
        let key = (rule, decision.rule.clone(), decision.level);
        *self.fired.entry(key).or_default() += 1;
        self.targets.insert(account_key(&decision.key));
        if let Some(user) = decision.key.get("user").and_then(|user| user.as_str()) {
            self.users.insert(user.to_owned());
        }
    }

    /// Firings, in the order of the rules.
    pub(crate) fn firings(&self) -> Vec<Fired> {
        let fired = self.fired.iter().map(|((_, rule, level), count)| Fired {
            rule: rule.clone(),
            level: *level,
            count: *count,
        });
        fired.collect()
    }

    /// Distinct keys fired on.
    pub(crate) fn targets(&self) -> u64 {
        self.targets.len() as u64
    }

    /// Issued points of the members fired on.
    pub(crate) fn points_at_stake(&self) -> i64 {
        self.users.iter().map(|user| self.issued.sum(user)).sum()
    }
}

/// A window's own decision is dated at its end; a running one lies before it.
fn is_closed(decision: &Decision) -> bool {
    decision.window.as_ref().is_some_and(|window| window.end == decision.ts)
}
