//! Why, asked of a file of events (C5): at the end, or at one event, as it was then.

use std::io::{self, BufRead};

use serde::Serialize;

use crate::backtest::Backtest;
use crate::engine::explain::{Answer, Question, merge};
use crate::engine::{Decision, Effect, Outcome, Seat};
use crate::event::Event;

/// The event asked about, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Asked {
    /// Number of its line, from 0.
    pub offset: i64,
    pub record: String,
    /// `accepted`, `duplicate`, `late`, or the reason of the quarantine.
    pub outcome: String,
    /// What it triggered.
    pub decisions: Vec<Decision>,
}

/// An answer, and the event that it is about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    #[serde(flatten)]
    pub answer: Answer,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Asked>,
}

impl Backtest {
    /// Folds events in, up to the one with this id where one is named, and answers. `None` when
    /// there is no such event.
    ///
    /// # Errors
    /// What `reader` fails with.
    pub fn why(
        &mut self,
        mut reader: impl BufRead,
        question: &Question,
        id: Option<&str>,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<Option<Explained>> {
        let user = question.fields.get("user").map(String::as_str);
        let decoder = self.decoding.decoder.clone();
        let mut nowhere = |_: &Effect| Ok(());
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            progress(read as u64);
            let text = line.trim_ascii();
            if let Some(id) = id
                && !text.is_empty()
                && let Ok(event) = decoder.decode(text, self.decoding.max_bytes)
                && event.id == id
                && user.is_none_or(|user| event.user == user)
            {
                return Ok(Some(self.at_event(text, &event, question)?));
            }
            self.feed(text);
            self.take(&mut nowhere)?;
        }
        if id.is_some() {
            return Ok(None);
        }
        Ok(Some(Explained { answer: self.explain(question, None), event: None }))
    }

    fn at_event(
        &mut self,
        text: &[u8],
        event: &Event<'_>,
        question: &Question,
    ) -> io::Result<Explained> {
        // Conditions are judged before the event counts, counters after it has.
        let before = self.explain(question, Some(event));
        let offset = self.line;
        self.feed(text);
        let mut decisions = Vec::new();
        self.take(&mut |effect| {
            if let Effect::Decision(decision) = effect {
                decisions.push(Decision::clone(decision));
            }
            Ok(())
        })?;
        let outcome = self.own.out.outcome;
        let unseen = match outcome {
            Outcome::Accepted | Outcome::Canary => None,
            Outcome::Duplicate => Some("the event is a duplicate and counts nowhere"),
            Outcome::Late => Some("the event is late and counts in no window"),
            Outcome::Quarantined(_) => Some("the event is quarantined and counts nowhere"),
        };
        let outcome = match outcome {
            Outcome::Accepted | Outcome::Canary => "accepted".to_owned(),
            Outcome::Duplicate => "duplicate".to_owned(),
            Outcome::Late => "late".to_owned(),
            Outcome::Quarantined(reason) => reason.to_string(),
        };
        let mut answer = self.explain(question, Some(event));
        for rule in &mut answer.rules {
            let same = |one: &&crate::engine::explain::RuleAnswer| {
                one.rule == rule.rule && one.key == rule.key
            };
            if let Some(was) = before.rules.iter().find(same) {
                rule.conditions.clone_from(&was.conditions);
            }
            let fired = decisions.iter().find(|decision| decision.rule == rule.rule);
            if let Some(decision) = fired {
                rule.verdict = format!("fired at this event: {}", decision.summary);
            } else if let Some(reason) = unseen {
                rule.verdict = format!("{reason}; {}", rule.verdict);
            }
        }
        let record = String::from_utf8_lossy(text).into_owned();
        Ok(Explained { answer, event: Some(Asked { offset, record, outcome, decisions }) })
    }

    fn explain(&self, question: &Question, event: Option<&Event<'_>>) -> Answer {
        let own = self.own.state.explain(&self.plan, question, event, (Seat::Events(0), 1));
        let shared = self.shared.state.explain(&self.plan, question, event, (Seat::Partials(0), 1));
        merge(vec![own, shared])
    }
}
