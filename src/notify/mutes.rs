//! Silences and acknowledgements, folded from the control topic (N3): every instance reads them
//! there, and a restart finds them again. Pure.

use std::collections::BTreeMap;

use crate::engine::{Act, Change, Matcher, Subject};

/// Ended silences are kept for so long, to tell what they muted.
const KEPT_MS: i64 = 40 * 86_400_000;
/// Silences at most; the oldest ended ones are forgotten first.
const SILENCES_MAX: usize = 10_000;

/// A silence, in force or not.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Silence {
    pub id: String,
    pub matcher: Matcher,
    /// Milliseconds since the epoch, as all times here.
    pub from: i64,
    pub until: i64,
    pub actor: String,
    pub reason: String,
    /// When somebody ended it, or it was told that its time is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<i64>,
}

/// Somebody looks after what a group had told by then.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Acknowledged {
    pub through: i64,
    pub actor: String,
    pub reason: String,
}

#[derive(Debug, Clone)]
pub struct Mutes {
    silences: BTreeMap<String, Silence>,
    acknowledged: BTreeMap<String, Acknowledged>,
    /// The longest that a silence lasts, whatever it says.
    max_ms: i64,
}

/// What a change comes to for notices.
#[derive(Debug, Clone, PartialEq)]
pub enum Muted {
    Silences,
    Acknowledged(String, Acknowledged),
}

impl Silence {
    pub fn is_in_force(&self, at: i64) -> bool {
        self.from <= at && at < self.ends_at()
    }

    pub fn ends_at(&self) -> i64 {
        self.ended.map_or(self.until, |ended| ended.min(self.until))
    }
}

impl Mutes {
    pub fn new(max_ms: i64) -> Mutes {
        Mutes { silences: BTreeMap::new(), acknowledged: BTreeMap::new(), max_ms }
    }

    /// Takes in a record of the control topic; most are no concern of notices.
    pub fn take(&mut self, value: &[u8]) -> Option<Muted> {
        let change = Change::decode(value).ok()?;
        let Change { id, ts, actor, reason, act, .. } = change;
        match act {
            Act::Silence { matcher, until } => {
                let until = until.0.min(ts.0.saturating_add(self.max_ms));
                let known = self.silences.get(&id).and_then(|silence| silence.ended);
                let silence = Silence {
                    id: id.clone(),
                    matcher,
                    from: ts.0,
                    until,
                    actor,
                    reason,
                    ended: known,
                };
                self.silences.insert(id, silence);
                self.forget(ts.0);
                Some(Muted::Silences)
            }
            Act::EndSilence { silence, .. } => {
                let silence = self.silences.get_mut(&silence)?;
                silence.ended.get_or_insert(ts.0);
                Some(Muted::Silences)
            }
            Act::Acknowledge { group, through } => {
                let new = Acknowledged { through: through.0, actor, reason };
                let old = self.acknowledged.get(&group);
                if old.is_some_and(|old| old.through >= new.through) {
                    return None;
                }
                self.acknowledged.retain(|_, old| old.through > ts.0 - KEPT_MS);
                self.acknowledged.insert(group.clone(), new.clone());
                Some(Muted::Acknowledged(group, new))
            }
            _ => None,
        }
    }

    fn forget(&mut self, now: i64) {
        self.silences.retain(|_, silence| silence.ends_at() > now - KEPT_MS);
        while self.silences.len() > SILENCES_MAX {
            let oldest = self.silences.values().min_by_key(|silence| silence.ends_at());
            let Some(id) = oldest.map(|silence| silence.id.clone()) else { return };
            self.silences.remove(&id);
        }
    }

    pub fn silence(&self, id: &str) -> Option<&Silence> {
        self.silences.get(id)
    }

    /// In order of their beginning.
    pub fn silences(&self) -> Vec<&Silence> {
        let mut all: Vec<&Silence> = self.silences.values().collect();
        all.sort_by(|a, b| (a.from, &a.id).cmp(&(b.from, &b.id)));
        all
    }

    /// The silence that mutes for longest.
    pub fn silenced(&self, subject: &Subject<'_>, at: i64) -> Option<&Silence> {
        let all = self.silences.values();
        all.filter(|silence| silence.is_in_force(at) && silence.matcher.matches(subject))
            .max_by_key(|silence| silence.ends_at())
    }

    /// Up to when what a group told is acknowledged.
    pub fn acknowledged(&self, group: &str) -> Option<&Acknowledged> {
        self.acknowledged.get(group)
    }

    /// Silences whose time is over, and of which nobody has said so yet.
    pub fn overdue(&self, now: i64) -> Vec<&Silence> {
        let all = self.silences.values();
        all.filter(|silence| silence.ended.is_none() && silence.until <= now).collect()
    }
}

#[cfg(test)]
mod tests;
