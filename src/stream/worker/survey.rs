//! A look at all counters of a worker, some between each two polls: whom another rule set would
//! hit at once.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::engine::Plan;
use crate::engine::impact::{RuleImpact, changes};
use crate::stream::asks::Surveyed;
use crate::stream::worker::Worker;
use crate::stream::{Clock, Log, Place, Source};

/// What is looked at between two polls takes a millisecond or two: ids of keys, of which those that
/// the rule counts take as long as several.
const AT_ONCE: usize = 100_000;

/// A look under way.
#[derive(Debug)]
pub(super) struct Survey {
    plan: Arc<Plan>,
    sender: oneshot::Sender<Surveyed>,
    found: Surveyed,
    /// Partitions to look at; the first is being looked at.
    places: VecDeque<Place>,
    /// Of the first: what is found, and the rules to look at, by place in the plan in force and in
    /// the other, with the entry that they are noted in.
    impacts: Vec<RuleImpact>,
    rules: VecDeque<(usize, usize, usize)>,
    /// The first id of a key that is still to look at for the first rule.
    from: u32,
    /// Under which plan the first is looked at: another one voids the look.
    live: Option<Arc<Plan>>,
}

impl<L: Log, C: Clock> Worker<L, C> {
    pub(super) fn begin_survey(&mut self, plan: Arc<Plan>, sender: oneshot::Sender<Surveyed>) {
        let mut found = Surveyed::default();
        let mut places = VecDeque::new();
        for part in self.parts.values() {
            let of_events = part.place.source == Source::Events;
            if part.restored {
                places.push_back(part.place);
                found.partitions.extend(of_events.then_some(part.place.partition));
            } else {
                found.restoring.extend(of_events.then_some(part.place.partition));
            }
        }
        self.survey = Some(Survey {
            plan,
            sender,
            found,
            places,
            impacts: Vec::new(),
            rules: VecDeque::new(),
            from: 0,
            live: None,
        });
        self.go_on_with_survey();
    }

    /// Looks at some more; answers at the end. A partition that has gone, or whose rules have
    /// changed meanwhile, ends it without an answer.
    pub(super) fn go_on_with_survey(&mut self) {
        let Some(mut survey) = self.survey.take() else { return };
        let mut left = AT_ONCE;
        while left > 0 {
            let Some(place) = survey.places.front() else {
                drop(survey.sender.send(survey.found));
                return;
            };
            let Some(part) = self.parts.get(place) else { return };
            let live = survey.live.get_or_insert_with(|| {
                let plan = &part.reign.plan;
                for (at, (impact, surveyed)) in changes(plan, &survey.plan).into_iter().enumerate()
                {
                    survey.impacts.push(impact);
                    let of_events = part.place.source == Source::Events;
                    let here = |(old, _): &(usize, usize)| plan.info[*old].shared != of_events;
                    let surveyed = surveyed.filter(here);
                    survey.rules.extend(surveyed.map(|(old, new)| (old, new, at)));
                }
                plan.clone()
            });
            if !Arc::ptr_eq(live, &part.reign.plan) {
                return;
            }
            let Some((old, new, at)) = survey.rules.front().copied() else {
                survey.found.impacts.push(std::mem::take(&mut survey.impacts));
                survey.live = None;
                survey.places.pop_front();
                continue;
            };
            let (some, next) = part.state.keys_of_rule(old, live, survey.from, &mut left);
            if let Some(impact) = survey.impacts.get_mut(at) {
                part.state.survey((live, old), (&survey.plan, new), &some, impact);
            }
            survey.from = next.unwrap_or(0);
            if next.is_none() {
                survey.rules.pop_front();
            }
        }
        self.survey = Some(survey);
    }
}
