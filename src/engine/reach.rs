//! How far back an event may lie on which depends what a partition of the events counts: a state that
//! begins with the record before that is, for its rules, as one that began with the first (R18).

use crate::engine::closing::SILENT_MS;
use crate::engine::forecast::FLOW_MS;
use crate::engine::history::BASELINES;
use crate::engine::plan::{Form, Plan};
use crate::engine::state::State;
use crate::rule::{Check, Mode, reach_ms, window_ms};

impl Plan {
    /// Milliseconds of record time that the rules of these names look back on, as a partition of the
    /// events counts them or has to tell of them. `None` where a record's time says nothing of its
    /// event's, since events may lie ahead of it by any time.
    pub fn reach_ms(&self, news: &[String]) -> Option<i64> {
        let rules = 0..self.info.len();
        let reach = rules.filter(|at| news.contains(&self.rule(*at).name));
        self.in_record_time(reach.map(|at| self.of_new(at)).max().unwrap_or(0))
    }

    /// The same of all its rules, of which those of these names are new, and of everything else
    /// that a state remembers. Of shared keys only what is new has a past in the events.
    pub fn whole_reach_ms(&self, news: &[String]) -> Option<i64> {
        let of = |at: usize| {
            let is_elsewhere = self.info[at].shared && self.info[at].form != Form::Match;
            match news.contains(&self.rule(at).name) {
                true => self.of_new(at),
                false if is_elsewhere || self.rule(at).mode == Mode::Off => 0,
                // What counted as fired at the beginning of a window goes on through it.
                false => self.of_new(at).saturating_add(window_ms(self.info[at].window)),
            }
        };
        let rules = (0..self.info.len()).map(of);
        let seen = self.new_fields.iter().map(|(_, within_ms)| *within_ms);
        let reach = rules.chain(seen).chain(self.settings.dedup_ms).max();
        self.in_record_time(reach.unwrap_or(0))
    }

    fn of_new(&self, at: usize) -> i64 {
        let (info, rule) = (&self.info[at], self.rule(at));
        let length = window_ms(info.window);
        let more = match (info.form, &rule.check) {
            (Form::CalendarBelow | Form::RollingBelow, _) => length.max(SILENT_MS),
            (Form::ZScore, Check::ZScore(zscore)) => {
                let windows = i64::from(zscore.baseline.empties_max()) + 1;
                length.saturating_mul(windows).saturating_mul(BASELINES - 1)
            }
            _ if info.has_flow => FLOW_MS,
            _ => 0,
        };
        reach_ms(rule).saturating_add(more)
    }

    /// An event lies at most `max_ahead` after its record, and other partitions may be behind.
    fn in_record_time(&self, reach_ms: i64) -> Option<i64> {
        let settings = &self.settings;
        let slack = settings.allowed_lateness_ms.saturating_add(settings.idle_after_ms);
        Some(reach_ms.saturating_add(slack).saturating_add(settings.max_ahead_ms?))
    }
}

impl State {
    /// When the oldest firing began that is not over, in event time.
    pub fn open_since(&self) -> Option<i64> {
        self.keyed.opens.since()
    }
}

#[cfg(test)]
mod tests;
