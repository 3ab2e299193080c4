//! What an instance says of itself when something is wrong with it, and when that is over. Pure.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::engine::act::hex;
use crate::engine::{Decision, Resolved};
use crate::event::EventTime;
use crate::rule::{Severity, write_duration};

/// What still stands is said again so often, for receivers that forget.
const REMIND_MS: i64 = 30_000;
/// The share of bad records is that of so long a time, looked at so often.
const QUARANTINE_MS: i64 = 300_000;
const SAMPLE_MS: i64 = 10_000;
/// After a restart, once it is ready, it takes so long until it can be seen what would be wrong …
const GRACE_MS: i64 = 10_000;
/// … and so long until all partitions have said how far they are behind.
const LAG_GRACE_MS: i64 = 30_000;
/// Fewer bad records than these are no rate.
const QUARANTINED_MIN: u64 = 10;
/// A record of the control topic that cannot be read is told for so long.
const UNREADABLE_MS: i64 = 3_600_000;

/// From where on something is wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// No canary came through for so long.
    pub lost_after_ms: i64,
    /// More records than these have not been read …
    pub lag: i64,
    /// … for so long.
    pub lag_for_ms: i64,
    /// A restore that does not go on for so long.
    pub stalled_ms: i64,
    /// More than this share of the records goes to quarantine, 0 to 1.
    pub quarantine: f64,
}

/// What there is to see of an instance.
#[derive(Debug, Clone, Default)]
pub struct Facts<'a> {
    /// For how long no canary has come through; `None` where none is sent.
    pub silent_ms: Option<i64>,
    /// One has since the start, in all partitions.
    pub has_beaten: bool,
    /// Why it is not ready.
    pub not_ready: Option<&'a str>,
    /// Records of its partitions that it has not read.
    pub lag: i64,
    /// Records since the start, and those of them that went to quarantine.
    pub consumed: u64,
    pub quarantined: u64,
    /// While it restores: for how long that has come no further.
    pub restore_ms: Option<i64>,
    /// What is wrong with its rule files.
    pub faulty_rules: Option<&'a str>,
    /// Records of the control topic that could not be read, since the start.
    pub unreadable: u64,
    /// Why the control topic itself cannot be read.
    pub control: Option<&'a str>,
    /// The rule set in force.
    pub ruleset: &'a str,
}

/// A decision about the instance.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    Began(Decision),
    /// It stood before a restart; it is not known yet whether it still does.
    Presumed(Decision),
    /// The same once more, with the figures of now.
    Stands(Decision),
    Over(Decision),
}

/// One thing that can be wrong.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    rule: &'static str,
    severity: Severity,
    /// What is measured, with its unit.
    measure: &'static str,
    /// What it means, and where to read on.
    about: &'static str,
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "canary",
        rule: "tidegate.canary_lost",
        severity: Severity::Critical,
        measure: "seconds without a canary",
        about: "Detection does not work, or not for all users: nobody is frozen meanwhile. What to \
                do: docs/operations.md#canary-lost",
    },
    Kind {
        name: "lag",
        rule: "tidegate.lag",
        severity: Severity::Warning,
        measure: "records behind",
        about: "Events come faster than they are read; freezes come late. What to do: \
                docs/operations.md#lag",
    },
    Kind {
        name: "restore",
        rule: "tidegate.restore",
        severity: Severity::Critical,
        measure: "seconds without progress",
        about: "State is being restored and does not come on; until then nobody of these \
                partitions is frozen. What to do: docs/operations.md#restore-stalled",
    },
    Kind {
        name: "rules",
        rule: "tidegate.rules",
        severity: Severity::Critical,
        measure: "faulty changes",
        about: "The last good rules stay in force. `tidegate rules check` names every fault. What \
                to do: docs/operations.md#rules",
    },
    Kind {
        name: "quarantine",
        rule: "tidegate.quarantine",
        severity: Severity::Warning,
        measure: "share of records quarantined",
        about: "No rule sees them. The header `reason` of the copies says what is wrong. What to \
                do: docs/operations.md#quarantine",
    },
    Kind {
        name: "control",
        rule: "tidegate.control",
        severity: Severity::Warning,
        measure: "unreadable records",
        about: "A change by people, or a rule set, is not in force here. What to do: \
                docs/operations.md#control-records-unreadable",
    },
];

/// What is wrong now.
#[derive(Debug)]
struct Found {
    value: Value,
    bound: Value,
    text: String,
}

#[derive(Debug)]
struct Standing {
    decision: Decision,
    since_ms: i64,
    said_ms: i64,
    peak: Value,
    /// When it was taken over from before a restart, until it is seen again.
    presumed_since_ms: Option<i64>,
}

/// What stands against the instance, and what it takes to see that.
#[derive(Debug)]
pub struct Watch {
    instance: String,
    limits: Limits,
    standing: BTreeMap<&'static str, Standing>,
    behind_since_ms: Option<i64>,
    /// When, records so far, and those quarantined.
    samples: VecDeque<(i64, u64, u64)>,
    unreadable: u64,
    unreadable_until_ms: i64,
    /// Before a restart.
    unreadable_before: u64,
}

impl Watch {
    /// The names of all that can be wrong, as [`Watch::standing`] has them.
    pub const NAMES: [&'static str; 6] =
        ["canary", "lag", "restore", "rules", "quarantine", "control"];

    pub fn new(instance: &str, limits: Limits) -> Watch {
        Watch {
            instance: instance.to_owned(),
            limits,
            standing: BTreeMap::new(),
            behind_since_ms: None,
            samples: VecDeque::new(),
            unreadable: 0,
            unreadable_until_ms: i64::MIN,
            unreadable_before: 0,
        }
    }

    /// Takes over what stood before a restart, by its decisions. Each comes up again under its id, or is
    /// over once that can be told.
    pub fn resume(&mut self, stood: Vec<Decision>, now_ms: i64, wall_ms: i64) {
        for decision in stood {
            let kind = KINDS.iter().find(|kind| kind.rule == decision.rule);
            let Some(kind) = kind.filter(|kind| !self.standing.contains_key(kind.name)) else {
                continue;
            };
            let lasted = wall_ms.saturating_sub(decision.ts.0).max(0);
            let since_ms = now_ms.saturating_sub(lasted);
            let value = decision.value.clone().unwrap_or_default();
            if kind.name == "control" && value != 0 {
                self.unreadable_until_ms = since_ms.saturating_add(UNREADABLE_MS);
                self.unreadable_before = value.as_u64().unwrap_or_default();
            }
            let presumed_since_ms = Some(now_ms);
            let said_ms = now_ms.saturating_sub(REMIND_MS);
            let standing = Standing { decision, since_ms, said_ms, peak: value, presumed_since_ms };
            self.standing.insert(kind.name, standing);
        }
    }

    /// What is wrong now.
    pub fn standing(&self) -> impl Iterator<Item = &'static str> {
        self.standing.keys().copied()
    }

    /// One look: what there is to say at `now_ms`, by the clock for intervals; `wall_ms` is the time of
    /// day.
    pub fn look(&mut self, facts: &Facts<'_>, now_ms: i64, wall_ms: i64) -> Vec<News> {
        let mut news = Vec::new();
        for kind in &KINDS {
            let found = self.find(kind.name, facts, now_ms);
            let presumed = self.standing.get_mut(kind.name).filter(|one| one.is_presumed());
            if let Some(standing) = presumed.filter(|_| found.is_none())
                && !standing.may_be_over(kind.name, facts, now_ms)
            {
                news.extend(standing.again(now_ms).map(News::Presumed));
                continue;
            }
            news.extend(self.judge(kind, found, facts.ruleset, (now_ms, wall_ms)));
        }
        news
    }

    fn find(&mut self, name: &str, facts: &Facts<'_>, now_ms: i64) -> Option<Found> {
        match name {
            "canary" => self.canary(facts),
            "lag" => self.lag(facts, now_ms),
            "restore" => self.restore(facts),
            "rules" => facts.faulty_rules.map(|faults| Found::count(1, faults)),
            "quarantine" => self.quarantine(facts, now_ms),
            _ => self.control(facts, now_ms),
        }
    }

    fn canary(&self, facts: &Facts<'_>) -> Option<Found> {
        let (silent, bound) = (facts.silent_ms?, self.limits.lost_after_ms);
        let because = facts.not_ready.map(|reason| format!(": {reason}")).unwrap_or_default();
        (silent >= bound).then(|| {
            let text = format!("no canary has come through for {}{because}", seconds(silent));
            Found::of(silent / 1_000, bound / 1_000, text)
        })
    }

    fn lag(&mut self, facts: &Facts<'_>, now_ms: i64) -> Option<Found> {
        let bound = self.limits.lag;
        let stands = self.standing.contains_key("lag");
        // What has been told is over at half of it, so that it does not come and go.
        let is_behind = facts.lag > if stands { bound / 2 } else { bound };
        let since_ms = self.behind_since_ms.filter(|_| is_behind).unwrap_or(now_ms);
        self.behind_since_ms = is_behind.then_some(since_ms);
        let lasted = now_ms.saturating_sub(since_ms);
        (is_behind && (stands || lasted >= self.limits.lag_for_ms)).then(|| {
            let text = format!("{} records behind for {}", facts.lag, seconds(lasted));
            Found::of(facts.lag, bound, text)
        })
    }

    fn restore(&self, facts: &Facts<'_>) -> Option<Found> {
        let (lasted, bound) = (facts.restore_ms?, self.limits.stalled_ms);
        let because = facts.not_ready.map(|reason| format!(": {reason}")).unwrap_or_default();
        (lasted >= bound).then(|| {
            let text = format!("the restore has not gone on for {}{because}", seconds(lasted));
            Found::of(lasted / 1_000, bound / 1_000, text)
        })
    }

    fn quarantine(&mut self, facts: &Facts<'_>, now_ms: i64) -> Option<Found> {
        let is_due = |(at, ..): &(i64, u64, u64)| now_ms.saturating_sub(*at) >= SAMPLE_MS;
        if self.samples.back().is_none_or(is_due) {
            self.samples.push_back((now_ms, facts.consumed, facts.quarantined));
        }
        while self.samples.get(1).is_some_and(|(at, ..)| now_ms - at >= QUARANTINE_MS) {
            self.samples.pop_front();
        }
        let (_, consumed, quarantined) = *self.samples.front()?;
        let all = facts.consumed.saturating_sub(consumed);
        let bad = facts.quarantined.saturating_sub(quarantined);
        let bound = self.limits.quarantine;
        let stands = self.standing.contains_key("quarantine");
        #[expect(clippy::cast_precision_loss, reason = "a share; counts of minutes are small")]
        let share = if all == 0 { 0.0 } else { bad as f64 / all as f64 };
        let is_bad = share > if stands { bound / 2.0 } else { bound };
        (is_bad && (stands || bad >= QUARANTINED_MIN)).then(|| {
            let text = format!("{bad} of {all} records of the last 5 minutes went to quarantine");
            let rounded = (share * 10_000.0).round() / 10_000.0;
            Found { value: rounded.into(), bound: bound.into(), text }
        })
    }

    fn control(&mut self, facts: &Facts<'_>, now_ms: i64) -> Option<Found> {
        if facts.unreadable > self.unreadable {
            self.unreadable = facts.unreadable;
            self.unreadable_until_ms = now_ms.saturating_add(UNREADABLE_MS);
        }
        if let Some(reason) = facts.control {
            return Some(Found::count(0, format!("changes by people cannot be read: {reason}")));
        }
        (now_ms < self.unreadable_until_ms).then(|| {
            let count = facts.unreadable.max(self.unreadable_before);
            let s = if count == 1 { "" } else { "s" };
            Found::count(count, format!("{count} record{s} of the control topic cannot be read"))
        })
    }

    fn judge(
        &mut self,
        kind: &Kind,
        found: Option<Found>,
        ruleset: &str,
        (now_ms, wall_ms): (i64, i64),
    ) -> Option<News> {
        let instance = &self.instance;
        let Some(Found { value, bound, text }) = found else {
            let standing = self.standing.remove(kind.name)?;
            return Some(News::Over(over(kind, instance, &standing, (now_ms, wall_ms))));
        };
        let summary = format!("instance {instance}: {text}");
        if let Some(standing) = self.standing.get_mut(kind.name) {
            if value.as_f64() > standing.peak.as_f64() {
                standing.peak = value.clone();
            }
            (standing.decision.value, standing.decision.summary) = (Some(value), summary);
            standing.presumed_since_ms = None;
            return standing.again(now_ms).map(News::Stands);
        }
        let decision = Decision {
            id: hex(&format!("{}\u{1f}{instance}\u{1f}{wall_ms}", kind.rule)),
            severity: kind.severity,
            measure: Some(kind.measure.to_owned()),
            value: Some(value.clone()),
            bound: Some(bound),
            summary,
            description: Some(kind.about.to_owned()),
            ..Decision::of_instance(kind.rule, instance, ruleset, EventTime(wall_ms))
        };
        let (since_ms, said_ms) = (now_ms, now_ms);
        let (said, presumed_since_ms) = (decision.clone(), None);
        let standing =
            Standing { decision: said, since_ms, said_ms, peak: value, presumed_since_ms };
        self.standing.insert(kind.name, standing);
        Some(News::Began(decision))
    }
}

impl Standing {
    fn is_presumed(&self) -> bool {
        self.presumed_since_ms.is_some()
    }

    /// The same once more, when it is time.
    fn again(&mut self, now_ms: i64) -> Option<Decision> {
        if now_ms.saturating_sub(self.said_ms) < REMIND_MS {
            return None;
        }
        self.said_ms = now_ms;
        Some(self.decision.clone())
    }

    /// Whether what is not seen any more after a restart is over, and not merely out of sight.
    fn may_be_over(&mut self, name: &str, facts: &Facts<'_>, now_ms: i64) -> bool {
        if facts.not_ready.is_some() {
            self.presumed_since_ms = Some(now_ms);
        }
        let lasts = now_ms.saturating_sub(self.presumed_since_ms.unwrap_or(now_ms));
        match name {
            "canary" => facts.silent_ms.is_none() || facts.has_beaten,
            "quarantine" => lasts >= QUARANTINE_MS,
            "lag" => lasts >= LAG_GRACE_MS,
            _ => lasts >= GRACE_MS,
        }
    }
}

/// That something is over, in the form of other resolutions.
fn over(
    kind: &Kind,
    instance: &str,
    standing: &Standing,
    (now_ms, wall_ms): (i64, i64),
) -> Decision {
    let Standing { decision, since_ms, peak, .. } = standing;
    let lasted = seconds(now_ms.saturating_sub(*since_ms));
    Decision {
        id: hex(&format!("tidegate.resolved\u{1f}{}", decision.id)),
        severity: kind.severity,
        measure: Some(kind.measure.to_owned()),
        summary: format!(
            "instance {instance}: resolved after {lasted}: {}, peak {peak}",
            kind.rule
        ),
        description: decision.description.clone(),
        resolved: Some(Resolved {
            rule: kind.rule.to_owned(),
            decision: decision.id.clone(),
            since: decision.ts,
            peak: peak.clone(),
        }),
        ..Decision::of_instance(
            "tidegate.resolved",
            instance,
            &decision.ruleset,
            EventTime(wall_ms),
        )
    }
}

impl Found {
    fn of(value: i64, bound: i64, text: String) -> Found {
        Found { value: value.into(), bound: bound.into(), text }
    }

    /// Of what should not be at all.
    fn count(count: u64, text: impl Into<String>) -> Found {
        Found { value: count.into(), bound: 0.into(), text: text.into() }
    }
}

/// `2m10s`: whole seconds below ten minutes, whole minutes beyond.
fn seconds(ms: i64) -> String {
    let all = u128::try_from(ms / 1_000).unwrap_or_default();
    let (minutes, rest) = (all / 60, all % 60);
    match (minutes, rest) {
        (0, rest) => format!("{rest}s"),
        (1..10, rest) if rest > 0 => format!("{minutes}m{rest}s"),
        (minutes, _) => write_duration(minutes * 60_000),
    }
}

#[cfg(test)]
mod tests;
