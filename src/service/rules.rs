//! The rule files and lists of a running instance: read at the start, watched afterwards (R17).
//! What they say is published; what is published is in force.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::Config;
use crate::control::{LoadError, RulesOnDisk, list_path, read_published, rule_files};
use crate::engine::{Decision, Lists, Plan, PublishedRules, Settings};
use crate::event::EventTime;
use crate::metrics::Metrics;
use crate::rule::{ListEntry, RuleSet};
use crate::stream::{Clock, SystemClock};

/// What a file looked like: length and time of change.
type Look = BTreeMap<PathBuf, Option<(u64, SystemTime)>>;

/// Rules from disk, and when they changed.
#[derive(Debug)]
pub struct RuleFiles {
    path: PathBuf,
    rules: Arc<RuleSet>,
    entries: Vec<Vec<ListEntry>>,
    published: PublishedRules,
    look: Look,
}

/// What a look at the files has found.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    /// Another set than at the last look, to be published.
    Another,
    /// Nothing that can be used; the decision says so.
    Faults(Box<Decision>),
}

impl RuleFiles {
    /// Reads rules and lists.
    ///
    /// # Errors
    /// All faults at once, or a path that cannot be read.
    pub fn read(path: &Path) -> Result<RuleFiles, LoadError> {
        let RulesOnDisk { rules, entries, published } = read_published(path)?;
        let look = look(path, &rules);
        Ok(RuleFiles { path: path.to_owned(), rules: Arc::new(rules), entries, published, look })
    }

    pub fn version(&self) -> &str {
        &self.rules.version
    }

    /// The plan for these rules under the settings of `config`.
    pub fn plan(&self, config: &Config) -> Plan {
        plan_of(self.rules.clone(), &self.entries, config)
    }

    /// The set as it is published.
    pub(super) fn published(&self) -> &PublishedRules {
        &self.published
    }

    /// Reads anew when something changed, or when told to. A faulty set leaves the one `in_force`
    /// where it is, and says so: in the log, a metric and a decision.
    pub(super) fn reload(&mut self, forced: bool, in_force: &Plan, metrics: &Metrics) -> Found {
        let now = look(&self.path, &self.rules);
        if now == self.look && !forced {
            return Found::Nothing;
        }
        self.look = now;
        match read_published(&self.path) {
            Ok(RulesOnDisk { rules, entries, published }) => {
                metrics.rules_reload_success.set(1);
                if published.set == self.published.set {
                    return Found::Nothing;
                }
                (self.rules, self.entries, self.published) = (Arc::new(rules), entries, published);
                // A list that is new has a file to watch.
                self.look = look(&self.path, &self.rules);
                Found::Another
            }
            Err(error) => {
                metrics.rules_reload_success.set(0);
                let version = &in_force.rule_set().version;
                tracing::error!(%error, version, "changed rules are faulty; the last good ones stay");
                let now_ms = EventTime(SystemClock.wall_us() / 1000);
                let faulty = Decision::rules_faulty(version, &error.to_string(), now_ms);
                Found::Faults(Box::new(faulty))
            }
        }
    }
}

/// A plan for rules and the entries of their lists.
pub fn plan_of(rules: Arc<RuleSet>, entries: &[Vec<ListEntry>], config: &Config) -> Plan {
    let mut lists = Lists::new(rules.lists.len());
    for (at, entries) in entries.iter().enumerate() {
        lists.set(at, entries.clone());
    }
    let settings = config.fold().map_or_else(|_| Settings::default(), |fold| fold.settings);
    Plan::new(rules, lists, settings)
}

fn look(path: &Path, rules: &RuleSet) -> Look {
    let files = rule_files(path).unwrap_or_default();
    let lists = rules.lists.iter().filter_map(list_path);
    let seen = |file: PathBuf| {
        let about = std::fs::metadata(&file).ok();
        let seen = about.and_then(|about| Some((about.len(), about.modified().ok()?)));
        (file, seen)
    };
    files.into_iter().chain(lists).map(seen).collect()
}
