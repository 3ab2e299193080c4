//! What a plain event says once for all rules whose keys cross partitions, where it posts it.
//!
//! Neither late nor behind the watermark, it brings each of them the same: itself, its points and its
//! user. Which rules these are, and by which keys they count, follows from its kind and source.

use crate::engine::plan::{KeyForm, Plan, RuleInfo};
use crate::engine::routes::{Adds, Route, Seat, Sees, Ways};

/// What events of one kind and source post.
#[derive(Debug, Clone)]
pub(crate) struct Posting {
    /// Rules whose part in such an event is to be looked at one by one, in rule order.
    pub(crate) rest: Vec<Route>,
    /// The others.
    pub(crate) told: Vec<Told>,
    /// Of those, by place, the ones that never take together what several events bring.
    pub(crate) apart: Vec<(u32, Told)>,
    /// Key forms that these count by.
    pub(crate) spaces: Vec<usize>,
    /// Of these the ones that have many keys.
    pub(crate) many: Vec<Many>,
}

/// A key form that has many keys, and the rules that count by it.
#[derive(Debug, Clone)]
pub(crate) struct Many {
    pub(crate) space: usize,
    pub(crate) seats: Vec<Seat>,
}

/// The part of one rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) rule: usize,
    /// Place of its key form among those of the posting.
    pub(crate) space: usize,
    /// What the event adds on either side.
    pub(crate) of: Option<Adds>,
    pub(crate) to: Option<Adds>,
    /// Its number among the rules that take what several events bring together.
    pub(crate) together: Option<usize>,
}

impl Plan {
    pub(crate) fn seat(&self, rule: usize) -> Seat {
        Seat { rule, column: self.info[rule].column }
    }

    /// The posting of a number, if there is one.
    #[inline]
    pub(crate) fn posting_of(&self, number: Option<u32>) -> Option<&Posting> {
        self.postings.get(number? as usize)
    }

    /// The same, for events that are posted.
    pub(crate) fn posting(mut self) -> Plan {
        let takes_together = |info: &&RuleInfo| {
            info.shared && self.key_forms[info.space].has_few() && info.takes_together()
        };
        let rules = self.info.iter().enumerate().filter(|(_, info)| takes_together(info));
        self.together = rules.map(|(rule, _)| rule).collect();
        self.postings = self.routes.all().iter().map(|ways| Posting::of(&self, ways)).collect();
        self
    }
}

impl Posting {
    fn of(plan: &Plan, ways: &Ways) -> Posting {
        let (mut rest, mut told, mut spaces) = (Vec::new(), Vec::new(), Vec::new());
        for route in &ways.routes {
            let info = &plan.info[route.rule];
            let is_plain =
                info.shared && !info.gathers() && plan.key_forms[info.space] != KeyForm::Composite;
            let (Some([of, to]), true) = (route.adds, is_plain) else {
                rest.push(*route);
                continue;
            };
            if route.of == Sees::Ask || route.to == Sees::Ask {
                rest.push(*route);
                continue;
            }
            let space = spaces.iter().position(|space| *space == info.space);
            let space = space.unwrap_or_else(|| {
                spaces.push(info.space);
                spaces.len() - 1
            });
            let sees = |sees: Sees, adds: Adds| (sees == Sees::Yes).then_some(adds);
            let (of, to) = (sees(route.of, of), sees(route.to, to));
            let together = plan.together.iter().position(|rule| *rule == route.rule);
            told.push(Told { rule: route.rule, space, of, to, together });
        }
        let many = spaces.iter().enumerate().filter_map(|(at, space)| {
            let told = told.iter().filter(|told: &&Told| told.space == at);
            let seats = told.map(|told| plan.seat(told.rule));
            (!plan.key_forms[*space].has_few())
                .then(|| Many { space: *space, seats: seats.collect() })
        });
        let apart = (0..).zip(&told).filter(|(_, told)| told.together.is_none());
        let apart = apart.map(|(place, told)| (place, *told)).collect();
        Posting { many: many.collect(), rest, apart, told, spaces }
    }
}

impl KeyForm {
    /// Whether there are few keys, which many events share.
    pub(crate) fn has_few(self) -> bool {
        matches!(self, KeyForm::Global | KeyForm::Source)
    }
}
