//! Answers questions about the states of a worker.

use crate::engine::Seat;
use crate::stream::asks::{Ask, Asked, Told};
use crate::stream::shared::Warming;
use crate::stream::worker::Worker;
use crate::stream::{Clock, Log, Source};

/// Questions answered between two polls: a look takes microseconds to milliseconds.
const AT_ONCE: usize = 4;

impl<L: Log, C: Clock> Worker<L, C> {
    pub(super) fn answer(&mut self) {
        let Some(asks) = &self.asks else { return };
        self.asked.extend(asks.take());
        if self.survey.is_some() {
            return self.go_on_with_survey();
        }
        for _ in 0..AT_ONCE {
            // Whoever asked may be gone.
            match self.asked.pop_front() {
                None => return,
                Some(Ask::Why(asked, sender)) if !sender.is_closed() => {
                    drop(sender.send(self.told(&asked)));
                }
                Some(Ask::Impact(plan, sender)) if !sender.is_closed() => {
                    return self.begin_survey(plan, sender);
                }
                Some(Ask::Why(..) | Ask::Impact(..)) => {}
            }
        }
    }

    fn told(&self, asked: &Asked) -> Told {
        let mut told = Told::default();
        let event = asked.event.as_deref();
        let event =
            event.and_then(|text| self.bench.decoder.decode(text, self.bench.max_bytes).ok());
        for part in self.parts.values() {
            let number = part.place.partition;
            let of_events = part.place.source == Source::Events;
            if !part.restored {
                told.restoring.extend(of_events.then_some(number));
                continue;
            }
            told.partitions.extend(of_events.then_some(number));
            let seat = u32::try_from(number).unwrap_or(0);
            let seat = if of_events { Seat::Events(seat) } else { Seat::Partials(seat) };
            let whose = (seat, self.settings.partitions);
            let mut answer =
                part.state.explain(&part.reign.plan, &asked.question, event.as_ref(), whose);
            if let Some(Warming { rules, percent }) = self.progress(part) {
                let newest = &part.reign.newest;
                let is_there = |name: &str| newest.rule_set().rules.iter().any(|r| r.name == name);
                answer.rules.retain(|one| is_there(&one.rule) && !rules.contains(&one.rule));
                let waiting = (rules.as_slice(), percent);
                answer.rules.extend(newest.explain_warming(
                    waiting,
                    &asked.question,
                    event.as_ref(),
                    whose,
                ));
            }
            told.answers.push(answer);
        }
        told
    }
}
