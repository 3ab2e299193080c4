//! What is to be said of rules that are made ready from the log and are judged by no state yet.

use crate::engine::explain::{Question, RuleAnswer, key_of};
use crate::engine::partial::owner_of;
use crate::engine::space::hash_of;
use crate::engine::{Plan, Seat};
use crate::event::Event;

impl Plan {
    /// Answers for rules of this plan, by name, that are ready to so many percent: in the place of
    /// a state that does not know them.
    pub(crate) fn explain_warming(
        &self,
        (rules, percent): (&[String], u8),
        question: &Question,
        event: Option<&Event<'_>>,
        (seat, partitions): (Seat, u32),
    ) -> Vec<RuleAnswer> {
        let all = self.rules.rules.iter().zip(&self.info);
        let own = all.filter(|(rule, info)| {
            let asked = question.rule.as_ref().is_none_or(|name| *name == rule.name);
            let here = info.shared == matches!(seat, Seat::Partials(_));
            asked && here && rules.contains(&rule.name)
        });
        let answers = own.filter_map(|(rule, _)| {
            let key = key_of(&rule.per, question, event)?;
            let owns = match seat {
                Seat::Events(_) => true,
                Seat::Partials(own) => owner_of(hash_of(&key), partitions) == own,
            };
            owns.then(|| RuleAnswer {
                verdict: format!(
                    "does not act yet: it is new, and made ready from the log, {percent} % done"
                ),
                ..RuleAnswer::bare(rule, &key)
            })
        });
        answers.collect()
    }
}
