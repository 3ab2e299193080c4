//! Can conditions hold together for any event?
//!
//! The conditions are taken apart into tests of single fields; `any` and what `not` makes of
//! several conditions are choices that are tried one after the other. `false` is proven; `true`
//! may only mean that no proof was found.

use super::values::Values;
use crate::event::Kind;
use crate::rule::types::{Condition, Field, Filter, Kinds, Test};

/// Choices tried for one answer; also bounds the recursion. Filters written by people take a few.
const CHOICES_MAX: u32 = 1_000;

/// The events that the question is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Events<'f> {
    pub(super) on: Kinds,
    /// Fields that each of them carries.
    pub(super) carry: &'f [Field],
}

impl<'f> Events<'f> {
    pub(super) const ALL: Events<'static> = Events { on: Kinds::ALL, carry: &[] };

    /// False when no event satisfies all conditions.
    pub(super) fn satisfy(self, all: impl IntoIterator<Item = &'f Condition>) -> bool {
        let goals: Vec<Goal<'f>> = all.into_iter().map(|condition| (condition, true)).collect();
        let mut left = CHOICES_MAX;
        Kind::ALL.into_iter().filter(|kind| self.on.contains(*kind)).any(|kind| {
            let facts = Facts { kind, carry: self.carry, fields: Vec::new(), new: Vec::new() };
            search(facts, goals.clone(), Vec::new(), &mut left)
        })
    }
}

/// A condition, and whether it must hold.
type Goal<'f> = (&'f Condition, bool);

/// Goals of which those of one option must be met.
type Choice<'f> = Vec<Vec<Goal<'f>>>;

fn search<'f>(
    mut facts: Facts<'f>,
    mut goals: Vec<Goal<'f>>,
    mut choices: Vec<Choice<'f>>,
    left: &mut u32,
) -> bool {
    while let Some((condition, holds)) = goals.pop() {
        match (condition, holds) {
            (Condition::Field { field, test }, _) => {
                if !facts.learn(field, test, holds) {
                    return false;
                }
            }
            (Condition::New { field, within_ms }, _) => {
                if !facts.learn_new(field, *within_ms, holds) {
                    return false;
                }
            }
            (Condition::Any(filters), true) => choices.push(filters.iter().map(met).collect()),
            (Condition::Any(filters), false) => choices.extend(filters.iter().map(unmet)),
            (Condition::Not(filter), true) => choices.push(unmet(filter)),
            (Condition::Not(filter), false) => goals.append(&mut met(filter)),
        }
        // A choice of one is none.
        while choices.last().is_some_and(|choice| choice.len() == 1) {
            goals.extend(choices.pop().into_iter().flatten().flatten());
        }
    }
    let Some(choice) = choices.pop() else { return true };
    choice.into_iter().any(|option| {
        if *left == 0 {
            return true;
        }
        *left -= 1;
        search(facts.clone(), option, choices.clone(), left)
    })
}

fn met(filter: &Filter) -> Vec<Goal<'_>> {
    filter.all.iter().map(|condition| (condition, true)).collect()
}

fn unmet(filter: &Filter) -> Choice<'_> {
    filter.all.iter().map(|condition| vec![(condition, false)]).collect()
}

/// What is known of an event that meets the goals so far.
#[derive(Debug, Clone)]
struct Facts<'f> {
    kind: Kind,
    carry: &'f [Field],
    fields: Vec<(&'f Field, Values<'f>)>,
    /// `new` conditions that must hold, or must not.
    new: Vec<(&'f Field, i64, bool)>,
}

impl<'f> Facts<'f> {
    /// False when nothing is left.
    fn learn(&mut self, field: &'f Field, test: &'f Test, holds: bool) -> bool {
        if !self.fields.iter().any(|(known, _)| *known == field) {
            let mut values = Values::of(field, self.kind);
            if self.carry.contains(field) {
                values.restrict(&Test::Exists(true), true);
            }
            self.fields.push((field, values));
        }
        let Some((_, values)) = self.fields.iter_mut().find(|(known, _)| *known == field) else {
            return true;
        };
        values.restrict(test, holds);
        !values.is_empty()
    }

    /// R5: what is new is carried.
    fn learn_new(&mut self, field: &'f Field, within_ms: i64, holds: bool) -> bool {
        if self.new.contains(&(field, within_ms, !holds)) {
            return false;
        }
        self.new.push((field, within_ms, holds));
        !holds || self.learn(field, &Test::Exists(true), true)
    }
}
