//! What is muted because something worse explains it (N2). Pure.

use super::lane::LaneKey;
use super::routes::InhibitSettings;
use crate::engine::{Decision, Subject};

const LASTS_MS: i64 = 3_600_000;
/// Sources at a time; beyond that the oldest mutes no more.
const SOURCES_MAX: usize = 1_000;

/// A decision that mutes others.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Which of the settings.
    which: usize,
    pub(super) decision: String,
    /// Of its line in what is remembered.
    pub(super) ticket: u64,
    equal: Vec<String>,
    from: i64,
    pub(super) until: i64,
    /// What tells of it.
    tellers: Vec<LaneKey>,
}

#[derive(Debug)]
pub(super) struct Inhibitions {
    settings: Vec<InhibitSettings>,
    sources: Vec<Source>,
}

impl Inhibitions {
    pub(super) fn new(settings: &[InhibitSettings]) -> Inhibitions {
        Inhibitions { settings: settings.to_vec(), sources: Vec::new() }
    }

    /// Takes a decision in that may be a source; true when it is one for some time.
    pub(super) fn begin(&mut self, decision: &Decision, ticket: u64, at: i64, now: i64) -> bool {
        let subject = Subject::of(decision);
        let mut is_source = false;
        for (which, one) in self.settings.iter().enumerate() {
            let lasts = at.saturating_add(one.lasts.unwrap_or(LASTS_MS));
            // A calendar window says itself when it is over.
            let until = over_at(decision).map_or(lasts, |over| over.min(lasts));
            if until <= now || !one.source.matches(&subject) {
                continue;
            }
            // What stops a campaign is about the campaign.
            let Some(equal) = values(&one.equal, &subject, None) else { continue };
            let same = |known: &&mut Source| known.which == which && known.decision == decision.id;
            if let Some(known) = self.sources.iter_mut().find(same) {
                // Told again, since it still stands.
                known.until = known.until.max(until);
                continue;
            }
            let decision = decision.id.clone();
            self.sources.push(Source {
                which,
                decision,
                ticket,
                equal,
                from: at,
                until,
                tellers: Vec::new(),
            });
            is_source = true;
        }
        if self.sources.len() > SOURCES_MAX
            && let Some(oldest) = self.sources.first_mut()
        {
            oldest.until = now;
        }
        is_source
    }

    /// The source that mutes a decision for longest; none mutes itself.
    pub(super) fn muted(&self, decision: &Decision, at: i64) -> Option<&Source> {
        if self.sources.is_empty() {
            return None;
        }
        let subject = Subject::of(decision);
        let equal = |one: &InhibitSettings| {
            let is_target = one.target.matches(&subject) && !one.source.matches(&subject);
            is_target.then(|| values(&one.equal, &subject, decision.source.as_deref())).flatten()
        };
        let equals: Vec<Option<Vec<String>>> = self.settings.iter().map(equal).collect();
        let mutes = |source: &&Source| {
            source.from <= at
                && at < source.until
                && source.decision != decision.id
                && equals
                    .get(source.which)
                    .is_some_and(|equal| equal.as_ref() == Some(&source.equal))
        };
        self.sources.iter().filter(mutes).max_by_key(|source| source.until)
    }

    pub(super) fn is_in_force(&self, decision: &str, at: i64) -> bool {
        self.sources.iter().any(|source| source.decision == decision && at < source.until)
    }

    /// It was resolved.
    pub(super) fn end(&mut self, decision: &str, at: i64) -> bool {
        let mut ended = false;
        for source in self.sources.iter_mut().filter(|source| source.decision == decision) {
            ended |= at < source.until;
            source.until = source.until.min(at);
        }
        ended
    }

    /// Takes out those that are over.
    pub(super) fn over(&mut self, now: i64) -> Vec<Source> {
        self.sources.extract_if(.., |source| source.until <= now).collect()
    }

    /// Who tells of a source, and so of what it mutes.
    pub(super) fn told_by(&mut self, decision: &str, key: &LaneKey) {
        for source in self.sources.iter_mut().filter(|source| source.decision == decision) {
            source.tellers.push(key.clone());
        }
    }

    pub(super) fn tellers(&self, decision: &str) -> Vec<LaneKey> {
        let source = self.sources.iter().find(|source| source.decision == decision);
        source.map(|source| source.tellers.clone()).unwrap_or_default()
    }

    pub(super) fn next_over_at(&self) -> Option<i64> {
        self.sources.iter().map(|source| source.until).min()
    }
}

/// When a decision no longer tells of anything that is: the end of its calendar window, or the
/// instant at which its rolling window has emptied for sure.
pub(super) fn over_at(decision: &Decision) -> Option<i64> {
    let window = decision.window.as_ref()?;
    let is_calendar = window.label.contains(' ');
    let length = window.end.0.saturating_sub(window.start.0);
    Some(if is_calendar { window.end.0 } else { window.end.0.saturating_add(length) })
}

/// `None` where one of them is missing. `source` is that of the event behind the decision, for what
/// has none in its key or labels.
fn values(names: &[String], subject: &Subject<'_>, source: Option<&str>) -> Option<Vec<String>> {
    let value = |name: &String| {
        let own = subject.value(name);
        match source {
            Some(source) if own.is_empty() && name == "source" => source.to_owned(),
            _ => own,
        }
    };
    let values: Vec<String> = names.iter().map(value).collect();
    values.iter().all(|value| !value.is_empty()).then_some(values)
}
