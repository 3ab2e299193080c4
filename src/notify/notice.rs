//! What a receiver is told at once, and who of a decision's receivers waits for what. Plain data.
//!
//! A decision may wait for one receiver more than once: for the notice itself, for the end of a
//! mute, and for the steps that come when nobody acknowledges. Each is a *line* of its own in what
//! is remembered through restarts. A ticket says which line it is of: tickets of a decision are
//! [`LINES`] apart from those of the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::engine::Decision;

/// Decisions listed in one notice; the rest is counted. A mail of 50 is still read.
pub(super) const LISTED_MAX: usize = 50;
/// Remarks of one notice: a digest of many groups says no more.
const REMARKS_MAX: usize = 20;
/// Groups that a link names; of more it names none, and shows all.
const GROUPS_MAX: usize = 20;
/// Lines of a decision: the notice, what is held, the steps, reminders, and what inhibits others.
pub(super) const LINES: u64 = 64;
/// The notice itself.
pub(super) const DIRECT: u64 = 0;
/// Held until a mute ends.
pub(super) const HELD: u64 = 1;
/// The last: while a decision mutes others.
pub(super) const SOURCE: u64 = LINES - 1;
/// The step that says again what still fires.
pub(super) const REMIND: usize = 61;
/// Steps of a route at most.
pub(super) const STEPS_MAX: usize = 16;

/// What one receiver shall be told at once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Notice {
    pub receiver: String,
    /// Empty for a digest of several rules.
    pub rule: String,
    /// The oldest first, at most 50 in notices for people.
    pub decisions: Vec<Decision>,
    /// How many more there are than `decisions` lists.
    pub rest: usize,
    /// One per decision, those of the rest included.
    pub tickets: Vec<u64>,
    /// The decision of each ticket.
    pub ids: Vec<String>,
    /// Since when each waits, in milliseconds since the epoch.
    pub times: Vec<i64>,
    /// Of what is muted because of it, which it counts: those are told otherwise.
    pub also: Vec<u64>,
    /// When the first of its decisions was offered, in milliseconds since the epoch.
    pub offered_at: i64,
    /// When the first of them was decided, or what held it ended; 0 where there is none of them.
    pub decided_at: i64,
    /// What there is to say beside the decisions, a line each.
    pub remarks: Vec<String>,
    /// Where all of it is listed, and can be acknowledged.
    pub links: Links,
}

/// What the links of a notice lead to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Links {
    /// The address that people reach the pages by; none without one.
    pub(super) base: Option<Arc<str>>,
    /// Groups that it tells of; empty for all.
    pub(super) groups: BTreeSet<String>,
    /// Partition of the topic of decisions → first and last offset.
    pub(super) places: BTreeMap<i32, (i64, i64)>,
    /// Path and query of the link that acknowledges; none of a digest.
    pub(super) acknowledge: Option<String>,
}

impl Links {
    /// Where every decision of the notice is listed.
    pub fn listing(&self) -> Option<String> {
        let base = self.base.as_ref()?;
        if self.places.is_empty() {
            return None;
        }
        let places = self.places.iter();
        let places: Vec<String> =
            places.map(|(number, (first, last))| format!("{number}:{first}-{last}")).collect();
        let groups = self.groups.iter().map(|group| format!("&group={group}"));
        let groups = groups.collect::<Vec<_>>().concat();
        Some(format!("{base}/notices?at={}{groups}", places.join(",")))
    }

    /// Where somebody says that they look after it.
    pub fn acknowledge(&self) -> Option<String> {
        Some(format!("{}{}", self.base.as_ref()?, self.acknowledge.as_ref()?))
    }

    /// Partition of the topic of decisions → the last offset that is told of.
    pub(super) fn places(&self) -> BTreeMap<i32, i64> {
        self.places.iter().map(|(partition, (_, last))| (*partition, *last)).collect()
    }

    fn absorb(&mut self, other: Links) {
        self.base = self.base.take().or(other.base);
        let all = self.groups.is_empty() && !self.places.is_empty()
            || other.groups.is_empty() && !other.places.is_empty();
        self.groups.extend(other.groups);
        if all || self.groups.len() > GROUPS_MAX {
            self.groups.clear();
        }
        for (partition, (first, last)) in other.places {
            let own = self.places.entry(partition).or_insert((first, last));
            *own = (own.0.min(first), own.1.max(last));
        }
        if self.acknowledge != other.acknowledge {
            self.acknowledge = None;
        }
    }
}

impl Notice {
    /// The same for the same decisions told to the same receiver for the same reason, after a
    /// restart, too: 32 hex digits.
    pub(super) fn id(&self) -> String {
        let lines = self.tickets.iter().map(|ticket| ticket % LINES).zip(&self.ids);
        let mut lines: Vec<String> = lines.map(|(kind, id)| format!("{kind} {id}")).collect();
        lines.sort_unstable();
        if lines.is_empty() {
            // It tells of no decision for the first time: there is nothing to repeat.
            lines = vec![self.offered_at.to_string(), self.remarks.join("\n")];
        }
        crate::engine::act::hex(&format!("{}\n{}", self.receiver, lines.join("\n")))
    }

    /// Takes in another notice for the same receiver: one digest instead of two.
    pub(crate) fn absorb(&mut self, other: Notice) {
        if self.rule != other.rule {
            self.rule.clear();
        }
        self.rest += other.rest;
        for decision in other.decisions {
            if self.decisions.len() < LISTED_MAX {
                self.decisions.push(decision);
            } else {
                self.rest += 1;
            }
        }
        self.tickets.extend(other.tickets);
        self.ids.extend(other.ids);
        self.times.extend(other.times);
        self.offered_at = self.offered_at.min(other.offered_at);
        self.decided_at = self.decided_at.min(other.decided_at);
        for remark in other.remarks {
            if self.remarks.len() < REMARKS_MAX && !self.remarks.contains(&remark) {
                self.remarks.push(remark);
            }
        }
        self.links.absorb(other.links);
    }
}

/// Who of a decision's receivers is to be told, and who was told already: by [`line`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares {
    /// Each gets the ticket in one notice.
    pub waiting: Vec<String>,
    pub told: Vec<String>,
}

/// What a receiver's line is called in what is remembered.
pub(super) fn line(kind: u64, receiver: &str) -> String {
    match kind {
        DIRECT => receiver.to_owned(),
        HELD => format!("~{receiver}"),
        SOURCE => "!".to_owned(),
        step => format!("^{} {receiver}", step - HELD),
    }
}

/// Whether a line is for something that comes later, if at all.
pub(super) fn is_deferred(line: &str) -> bool {
    line.starts_with(['~', '^', '!'])
}
