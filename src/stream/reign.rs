//! Under which rule sets the state of a partition was and is folded, as journal and control topic
//! have it: a restore folds each record under the set that was in force at its place.
//!
//! A set that keeps the counters goes on with the state before. Under any other the state goes on
//! with the rules that count alike, while another is made from the log (R18); at the place where
//! that one takes over, the journal says that a state began anew from the first record of its log.
//! Of the one before only holds and budgets stay.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::{Act, Change, Holds, Plan, PublishedRules};
use crate::snapshot::Manifest;
use crate::stream::control::{Before, Begun, Journaled, Placed, rule_sets};
use crate::stream::plans::{NOWHERE, PlanCell, Sets};
use crate::stream::{Failure, SideRecord};

/// The rule set that a state is folded under.
#[derive(Debug, Clone)]
pub(crate) struct Reign {
    /// By which records are folded.
    pub(crate) plan: Arc<Plan>,
    /// The newest set that was taken in; the plan is what a state can make of it.
    pub(crate) newest: Arc<Plan>,
    /// Its name; empty where nothing is published.
    pub(crate) set: String,
    /// Offset of its publication in the control topic; [`NOWHERE`] where nothing is published.
    pub(crate) at: i64,
    /// The set under which the state began, and its offset.
    pub(crate) begun_as: String,
    pub(crate) begun_at: i64,
    /// Offset of the first record that it is folded from.
    pub(crate) from: i64,
    /// The same of the rules that are new, where the others come of a snapshot.
    pub(crate) since: i64,
    /// The last set before under which nothing was made ready; what that says of a state that is
    /// made ready stands in the journal.
    before: Option<Former>,
    /// By whose bounds rules that are not new are judged so far.
    judged_as: Option<Arc<Plan>>,
    /// Rules that are not judged before the place where the state takes over; `None` from there on.
    mute: Option<Vec<String>>,
    /// The newest set counts otherwise: another state has to be made for it.
    pub(crate) is_warming: bool,
    /// The journal says, or need not say, that the state began under it.
    pub(crate) is_written: bool,
    /// A set that counts otherwise is in force: the state is of no more use.
    pub(crate) is_over: bool,
}

/// A rule set that was in force: its offset, its name and its plan.
#[derive(Debug, Clone)]
struct Former {
    at: i64,
    set: String,
    plan: Arc<Plan>,
}

impl Reign {
    fn new(plan: Arc<Plan>, set: &str, at: i64) -> Reign {
        Reign {
            newest: plan.clone(),
            plan,
            set: set.to_owned(),
            at,
            begun_as: set.to_owned(),
            begun_at: at,
            from: 0,
            since: 0,
            before: None,
            judged_as: None,
            mute: None,
            is_warming: false,
            is_written: true,
            is_over: false,
        }
    }

    /// What this one tells owners of keys beside its own rules that may still go on with the old form
    /// of some, after the state before was replaced. `None` where there are none.
    pub(crate) fn with_old_forms(&self) -> Option<Plan> {
        let before = self.before.as_ref().filter(|_| !self.is_warming && !self.is_behind())?;
        self.newest.beside(&before.plan.towards(&self.newest))
    }

    /// The same, of a state that has not come to the place where it takes over: until then some
    /// rules are not judged.
    fn behind(self, mute: &[String]) -> Reign {
        let judged_as = self.before.as_ref().map(|before| before.plan.clone());
        let mut reign = Reign { judged_as, mute: Some(mute.to_vec()), ..self };
        reign.plan = reign.behind_plan();
        reign
    }

    fn behind_plan(&self) -> Arc<Plan> {
        let judged = self.judged_as.as_ref().map(|before| Arc::new(self.newest.judged_as(before)));
        self.unarmed(judged.as_ref().unwrap_or(&self.newest))
    }

    /// The same plan without what is not judged yet.
    fn unarmed(&self, plan: &Arc<Plan>) -> Arc<Plan> {
        match self.armed() {
            [] => plan.clone(),
            armed => Arc::new(plan.muted(armed)),
        }
    }

    /// Only rules that are new see events, until [`Reign::join`].
    pub(crate) fn part(&mut self) {
        self.plan = Arc::new(self.behind_plan().alone(self.armed()));
    }

    /// The others do so from here on.
    pub(crate) fn join(&mut self) {
        self.plan = self.behind_plan();
    }

    /// Under which the state for the newest set is made.
    pub(crate) fn successor(&self) -> Reign {
        let before = self.before.clone();
        let reign = Reign { before, ..Reign::new(self.newest.clone(), &self.set, self.at) };
        reign.behind(&self.news())
    }

    /// Rules of the newest set of which the state knows nothing, by name.
    pub(crate) fn news(&self) -> Vec<String> {
        self.newest.news_to(&self.plan)
    }

    /// Rules that are judged from where this state takes over on.
    pub(crate) fn armed(&self) -> &[String] {
        self.mute.as_deref().unwrap_or_default()
    }

    /// The state has not come to the place where it takes over.
    pub(crate) fn is_behind(&self) -> bool {
        self.mute.is_some()
    }

    /// The state is that of the place where it takes over.
    pub(crate) fn take_over(&mut self) {
        self.judged_as = None;
        if self.mute.take().is_some() && !self.is_warming {
            self.plan = self.newest.clone();
        }
    }

    /// The newest rule set among changes that this state has not taken in, as its rules count after
    /// those of the sets before: its offset, its name and its plan.
    pub(crate) fn next(&self, changes: &[Placed], sets: &Sets) -> Option<(i64, String, Arc<Plan>)> {
        let (mut at, mut set, mut plan) = (self.at, "", self.newest.clone());
        for (next_at, next) in rule_sets(changes) {
            if let Some(next_plan) = sets.get(next).filter(|_| next_at > at) {
                plan = born(next_plan, &next_plan.births_after(&plan, at));
                (at, set) = (next_at, next);
            }
        }
        (at > self.at).then(|| (at, set.to_owned(), plan))
    }

    /// Takes in the newest rule set among changes, if there is one. Of several without a record
    /// between them only the newest is in force.
    pub(crate) fn go_on(&mut self, changes: &[Placed], sets: &Sets) {
        let ends = |before: &Former| rule_sets(changes).any(|(at, _)| at > before.at);
        if self.judged_as.is_some() && self.before.as_ref().is_none_or(ends) {
            self.judged_as = None;
            self.plan = self.behind_plan();
        }
        if let Some((at, set, plan)) = self.next(changes, sets) {
            let counts_as = plan.counts_as(&self.newest);
            if !counts_as && !self.is_warming && !self.is_behind() {
                let (at, set, plan) = (self.at, self.set.clone(), self.newest.clone());
                self.before = (at != NOWHERE).then_some(Former { at, set, plan });
            }
            self.is_warming |= !counts_as;
            self.plan = if self.is_warming {
                Arc::new(self.plan.towards(&plan))
            } else {
                self.unarmed(&plan)
            };
            (self.newest, self.at, self.set) = (plan, at, set);
        }
    }

    /// What the journal says of a state that begins under the set that it began under last, or
    /// under another: offset, name and plan.
    pub(crate) fn begun(
        (at, set, plan): (i64, &str, &Plan),
        holds: Option<Holds>,
        armed: &[String],
    ) -> Begun {
        let (set, armed, births) = (set.to_owned(), armed.to_vec(), plan.births());
        Begun { set, at, first: true, holds, armed, births, ..Begun::default() }
    }

    /// The same of this one, with the holds that go over to it.
    pub(crate) fn takes_over(&self, holds: Holds) -> Begun {
        let set = (self.begun_at, self.begun_as.as_str(), &*self.newest);
        let before = self.before.as_ref().map(|Former { at, set, plan }| Before {
            at: *at,
            set: set.clone(),
            births: plan.births(),
        });
        let (from, since) = (self.from, self.since);
        Begun { from, since, before, ..Reign::begun(set, Some(holds), self.armed()) }
    }

    /// Rules of the newest set that have to hear the past of all partitions before they act:
    /// fingerprints.
    pub(crate) fn awaited(&self) -> Vec<u64> {
        self.newest.awaited(&self.news())
    }

    /// True when a rule set is news to a state that began under none that was published: no journal
    /// could say how it began, so another begins at once.
    pub(crate) fn ends_by(&self, newest: Option<(i64, &str)>, sets: &Sets) -> bool {
        let is_news = |(at, set): (i64, &str)| at > self.at && sets.contains_key(set);
        self.at == NOWHERE && newest.is_some_and(is_news)
    }
}

/// The rule set under which a state began last.
pub(crate) fn begun(history: &[Journaled]) -> Option<&Begun> {
    let mut begun = history.iter().rev().filter_map(|entry| entry.begun.as_ref());
    begun.find(|begun| begun.first)
}

/// Forgets the holds that earlier states began with: they are of no more use, and may be many.
pub(crate) fn forget_holds(history: &mut [Journaled]) {
    let is_first = |entry: &Journaled| entry.begun.as_ref().is_some_and(|begun| begun.first);
    let last = history.iter().rposition(is_first).unwrap_or(0);
    let earlier = history.iter_mut().take(last).filter_map(|entry| entry.begun.as_mut());
    earlier.for_each(|begun| begun.holds = None);
}

/// The rule sets that a restore needs: the one under which the state began, and those that came
/// later; offsets and names.
fn named(history: &[Journaled]) -> impl Iterator<Item = (i64, &str)> {
    let first = begun(history);
    let before = first.and_then(|begun| begun.before.as_ref());
    let before = before.map(|before| (before.at, before.set.as_str()));
    let begun = first.map(|begun| (begun.at, begun.set.as_str()));
    let since = begun.map_or(i64::MAX, |(at, _)| at);
    let changes = history.iter().flat_map(|entry| &entry.changes);
    let later = changes.filter_map(move |placed| match &placed.change.act {
        Act::Rules(rules) if placed.at > since => Some((placed.at, rules.set.as_str())),
        _ => None,
    });
    begun.into_iter().chain(before).chain(later)
}

/// Plans for the histories of an assignment.
#[derive(Debug)]
pub(crate) struct Sought<'a> {
    plans: &'a PlanCell,
    /// Those that are there already.
    sets: Sets,
    /// The control topic has the others from here on; `None` when there are none.
    pub(crate) from: Option<i64>,
}

impl<'a> Sought<'a> {
    pub(crate) fn of(histories: &[Vec<Journaled>], plans: &'a PlanCell) -> Sought<'a> {
        let mut sought = Sought { plans, sets: Sets::new(), from: None };
        for history in histories {
            if begun(history).is_none() {
                // The newest of all that are published may be the first there is.
                sought.from = Some(0);
            }
            for (at, set) in named(history) {
                if let Some(plan) = plans.known(set) {
                    sought.sets.insert(set.to_owned(), plan);
                } else {
                    // Where the same set was published again, compaction may have left only the
                    // later record.
                    sought.from = Some(sought.from.map_or(at, |from| from.min(at)));
                }
            }
        }
        sought
    }

    /// Takes the plans that are missing from records of the control topic.
    ///
    /// # Errors
    /// Fatal when one is not there, or cannot be used any more: no state would be right.
    pub(crate) fn found(
        mut self,
        histories: &[Vec<Journaled>],
        records: &[SideRecord],
    ) -> Result<Found, Failure> {
        let published = published(records);
        for (_, set) in histories.iter().flat_map(|history| named(history)) {
            if self.sets.contains_key(set) {
                continue;
            }
            let rules = published.iter().find(|(_, rules)| rules.set == set);
            let plan = rules.map_or_else(
                || Err("the control topic does not hold it".to_owned()),
                |(_, rules)| self.plans.make(rules),
            );
            let plan = plan.map_err(|reason| {
                Failure::Fatal(format!(
                    "the journal says that state was built under rule set {set}, which cannot be \
                     used: {reason}"
                ))
            })?;
            self.sets.insert(set.to_owned(), plan);
        }
        let is_asked = histories.iter().any(|history| begun(history).is_none());
        let home = || Reign::new(self.plans.home(), "", NOWHERE);
        let first = if is_asked { first(&published, self.plans) } else { home() };
        Ok(Found { sets: self.sets, first })
    }
}

/// All plans that a restore needs.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) sets: Sets,
    /// Under which a state begins whose journal names no rule set.
    first: Reign,
}

impl Found {
    /// Under which rule set the state of a history begins.
    pub(crate) fn reign(&self, history: &[Journaled]) -> Reign {
        let begun = begun(history);
        let own = begun.and_then(|begun| {
            let plan = born(self.sets.get(&begun.set)?, &begun.births);
            let before = begun.before.as_ref().and_then(|Before { at, set, births }| {
                let plan = born(self.sets.get(set)?, births);
                Some(Former { at: *at, set: set.clone(), plan })
            });
            let (from, since) = (begun.from, begun.since);
            let reign = Reign::new(plan, &begun.set, begun.at);
            Some(Reign { from, since, before, ..reign }.behind(&begun.armed))
        });
        own.unwrap_or_else(|| self.first.clone())
    }

    /// The reign of the state of a snapshot, which came of the one that began under `begun`;
    /// `None` for one that was made before.
    pub(crate) fn reign_at(
        &self,
        begun: &Reign,
        history: &[Journaled],
        manifest: &Manifest,
    ) -> Option<Reign> {
        let (set, at) = (manifest.set.as_str(), manifest.set_at);
        let mut begun = begun.clone();
        begun.take_over();
        if manifest.warming {
            // Of the same set, but before the state for it took over.
            if at <= begun.at {
                return None;
            }
            for entry in history.iter().filter(|entry| entry.control <= manifest.control) {
                begun.go_on(&entry.changes, &self.sets);
            }
            return (begun.at == at).then_some(begun);
        }
        if set == begun.set {
            return (at >= begun.at).then(|| Reign { at, ..begun });
        }
        let plan = self.sets.get(set).filter(|_| at > begun.at)?;
        // It counts as the one before.
        let plan = born(plan, &begun.newest.births());
        let Reign { begun_as, begun_at, before, .. } = begun;
        Some(Reign { begun_as, begun_at, before, ..Reign::new(plan, set, at) })
    }
}

/// The newest set that can be used, after all those before; without any what the process has at
/// home.
fn first(published: &[(i64, PublishedRules)], plans: &PlanCell) -> Reign {
    let usable = published.iter().filter_map(|(at, rules)| {
        let plan = plans.make(rules).ok()?;
        Some((*at, rules.set.as_str(), plan))
    });
    let mut first: Option<(i64, &str, Arc<Plan>)> = None;
    for (at, set, plan) in usable {
        let births = first.map(|(before_at, _, before)| plan.births_after(&before, before_at));
        let plan = births.map_or(plan.clone(), |births| born(&plan, &births));
        first = Some((at, set, plan));
    }
    match first {
        Some((at, set, plan)) => Reign { is_written: false, ..Reign::new(plan, set, at) },
        None => Reign::new(plans.home(), "", NOWHERE),
    }
}

/// A plan with rules of these births.
fn born(plan: &Arc<Plan>, births: &BTreeMap<String, i64>) -> Arc<Plan> {
    if *births == plan.births() { plan.clone() } else { Arc::new(plan.born(births)) }
}

/// All rule sets among records of the control topic, by offset.
fn published(records: &[SideRecord]) -> Vec<(i64, PublishedRules)> {
    let rules = |record: &SideRecord| match Change::decode(record.value.as_deref()?).ok()?.act {
        Act::Rules(rules) => Some((record.offset, rules)),
        _ => None,
    };
    records.iter().filter_map(rules).collect()
}
