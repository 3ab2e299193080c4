//! Rules in shadow mode beside their live twins, by the decisions that both have come to (R14).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hashbrown::HashSet;
use serde::Serialize;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use crate::backtest::diff::Overlap;
use crate::backtest::findings::{Findings, Found, Names, Target};
use crate::backtest::text::{LISTED, counted, grouped, number, table};
use crate::backtest::{Targets, TopTarget};
use crate::engine::Decision;

/// Takes decisions in, in any order.
#[derive(Debug)]
pub struct Decisions {
    live: Findings,
    shadow: Findings,
    read: u64,
    unreadable: u64,
    time: Option<(i64, i64)>,
    /// Hashes of their rules and ids: what was written again counts once.
    known: HashSet<u128>,
}

/// A live rule, and the rule in shadow mode that may take its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub live: String,
    pub shadow: String,
}

/// What rules in shadow mode fired on otherwise than live ones.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    pub decisions: u64,
    /// Records that are no decisions.
    pub unreadable: u64,
    /// Event times of the first and the last decision, milliseconds.
    pub first: Option<i64>,
    pub last: Option<i64>,
    pub pairs: Vec<Compared>,
    /// Rules that a pair should stand beside: they made no decision in this time.
    pub silent: Vec<String>,
}

/// One pair.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    pub shadow: String,
    /// None where the rule has no live twin.
    pub live: Option<String>,
    pub firings: Counts,
    pub targets: Counts,
    /// Targets that both fired on.
    pub both: u64,
    pub only_shadow: Targets,
    pub only_live: Targets,
    /// Targets of the shadow rule alone that other live rules fired on, most first.
    pub overlap: Vec<Overlap>,
    /// Targets of the shadow rule that no live rule fired on.
    pub alone: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub live: u64,
    pub shadow: u64,
}

impl Decisions {
    pub fn new(names: Names) -> Decisions {
        Decisions {
            live: Findings::kept(names),
            shadow: Findings::kept(names),
            read: 0,
            unreadable: 0,
            time: None,
            known: HashSet::new(),
        }
    }

    /// One record of the decisions topic, or a line of a file; what tidegate says of its own
    /// accord is passed over.
    pub fn note(&mut self, value: &[u8]) {
        let Ok(decision) = serde_json::from_slice::<Decision>(value) else {
            self.unreadable += 1;
            return;
        };
        let rule = xxh3_64(decision.rule.as_bytes());
        if !self.known.insert(xxh3_128_with_seed(decision.id.as_bytes(), rule)) {
            return;
        }
        self.read += 1;
        if decision.rule.starts_with("tidegate.") {
            return;
        }
        let ts = decision.ts.0;
        let (first, last) = self.time.unwrap_or((ts, ts));
        self.time = Some((first.min(ts), last.max(ts)));
        let side = if decision.mode == "shadow" { &mut self.shadow } else { &mut self.live };
        side.fired(&decision);
    }

    /// Holds each rule in shadow mode against its twin: those of `pairs`, and for the others the
    /// live rule whose name theirs begins with, the longest such.
    pub fn compare(&self, pairs: &[Pair], top: usize) -> Comparison {
        let named = |shadow: &str| pairs.iter().find(|pair| pair.shadow == shadow);
        let like = |shadow: &str| {
            let live = self.live.rules.keys().filter(|live| shadow.starts_with(live.as_str()));
            live.max_by_key(|live| live.len()).cloned()
        };
        let rules: BTreeSet<&str> = self.shadow.rules.keys().map(String::as_str).collect();
        let wanted = pairs.iter().map(|pair| pair.shadow.as_str());
        let all: BTreeSet<&str> = rules.iter().copied().chain(wanted).collect();
        let compared = all.into_iter().map(|shadow| {
            let live = named(shadow).map(|pair| pair.live.clone()).or_else(|| like(shadow));
            self.compared(shadow, live, top)
        });
        let has_fired = |rule: &&String| {
            !self.live.rules.contains_key(*rule) && !self.shadow.rules.contains_key(*rule)
        };
        let silent = pairs.iter().flat_map(|pair| [&pair.live, &pair.shadow]).filter(has_fired);
        Comparison {
            decisions: self.read,
            unreadable: self.unreadable,
            first: self.time.map(|(first, _)| first),
            last: self.time.map(|(_, last)| last),
            pairs: compared.collect(),
            silent: silent.cloned().collect(),
        }
    }

    fn compared(&self, shadow: &str, live: Option<String>, top: usize) -> Compared {
        let twin = live.as_deref().unwrap_or("");
        let (of_live, of_shadow) = (self.live.of(twin), self.shadow.of(shadow));
        let only = |one: &'_ Found, other: &Found| -> BTreeSet<String> {
            one.targets.keys().filter(|key| !other.targets.contains_key(*key)).cloned().collect()
        };
        let only_shadow = chosen(of_shadow, &only(of_shadow, of_live));
        let only_live = chosen(of_live, &only(of_live, of_shadow));
        let (overlap, alone) = self.live.overlap(twin, &only_shadow);
        let count = |found: &Found| found.targets.len() as u64;
        let targets = |rule: &str, targets: &BTreeMap<&str, &Target>| {
            Targets::of(rule, targets, &self.live, &|_| None, top)
        };
        Compared {
            shadow: shadow.to_owned(),
            firings: Counts { live: of_live.firings, shadow: of_shadow.firings },
            targets: Counts { live: count(of_live), shadow: count(of_shadow) },
            both: count(of_shadow) - only_shadow.len() as u64,
            only_shadow: targets(twin, &only_shadow),
            only_live: targets(twin, &only_live),
            overlap,
            alone,
            live,
        }
    }
}

/// The targets of these keys.
fn chosen<'a>(found: &'a Found, keys: &BTreeSet<String>) -> BTreeMap<&'a str, &'a Target> {
    let chosen = found.targets.iter().filter(|(key, _)| keys.contains(*key));
    chosen.map(|(key, target)| (key.as_str(), target)).collect()
}

impl Comparison {
    /// Rules in shadow mode with more targets of their own than `max_new`.
    pub fn beyond(&self, max_new: u64) -> Vec<Overlap> {
        let over = self.pairs.iter().filter(|pair| pair.only_shadow.count > max_new);
        over.map(|pair| Overlap { rule: pair.shadow.clone(), targets: pair.only_shadow.count })
            .collect()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "decisions {}", grouped(self.decisions))?;
        if self.unreadable > 0 {
            write!(f, ", and {} that are none", counted(self.unreadable, "record"))?;
        }
        writeln!(f)?;
        if self.pairs.is_empty() {
            writeln!(f, "no rule in shadow mode made a decision")?;
        }
        for pair in &self.pairs {
            write!(f, "\n{pair}")?;
        }
        match self.silent.as_slice() {
            [] => Ok(()),
            silent => writeln!(f, "\nno decisions of: {}", silent.join(", ")),
        }
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.live {
            Some(live) => writeln!(f, "{} (shadow) beside {live} (live)", self.shadow)?,
            None => writeln!(f, "{} (shadow), which has no live twin", self.shadow)?,
        }
        let pair = |counts: Counts| {
            format!("live {}, shadow {}", grouped(counts.live), grouped(counts.shadow))
        };
        writeln!(f, "  firings       {}", pair(self.firings))?;
        writeln!(f, "  targets       {}, both {}", pair(self.targets), grouped(self.both))?;
        let others = self.overlap.iter();
        let others = others.map(|one| format!("{} {}", one.rule, grouped(one.targets)));
        let alone = format!("no other live rule {}", grouped(self.alone));
        let others: Vec<String> = others.chain([alone]).collect();
        let only = self.only_shadow.count;
        writeln!(f, "  only shadow   {}, fired on by: {}", grouped(only), others.join(", "))?;
        list(&self.only_shadow, f)?;
        writeln!(f, "  only live     {}", grouped(self.only_live.count))?;
        list(&self.only_live, f)
    }
}

fn list(targets: &Targets, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let line = |one: &TopTarget| {
        let shown = |value: &Option<_>| value.as_ref().map_or_else(|| "-".to_owned(), number);
        let (value, bound) = (shown(&one.value), shown(&one.bound));
        let level = one.level.to_string();
        vec![one.target.clone(), level, value, bound, grouped(one.firings), one.also.join(", ")]
    };
    let head = ["target", "level", "value", "bound", "firings", "live rules that fired, too"];
    table(f, &head, &targets.top.iter().map(line).collect::<Vec<_>>())?;
    if targets.rest > 0 {
        writeln!(f, "{LISTED}and {} more", grouped(targets.rest))?;
    }
    Ok(())
}
