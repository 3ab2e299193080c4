//! The rule files and lists of a running instance: read at the start, watched afterwards (R17).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::Config;
use crate::control::{LoadError, list_path, read_rules, rule_files};
use crate::engine::{Decision, Lists, Plan, Settings};
use crate::event::EventTime;
use crate::metrics::Metrics;
use crate::rule::{ListEntry, RuleSet};
use crate::stream::{Clock, PlanCell, SystemClock};

/// What a file looked like: length and time of change.
type Look = BTreeMap<PathBuf, Option<(u64, SystemTime)>>;

/// Rules from disk, and when they changed.
#[derive(Debug)]
pub struct RuleFiles {
    path: PathBuf,
    rules: Arc<RuleSet>,
    entries: Vec<Vec<ListEntry>>,
    look: Look,
}

impl RuleFiles {
    /// Reads rules and lists.
    ///
    /// # Errors
    /// All faults at once, or a path that cannot be read.
    pub fn read(path: &Path) -> Result<RuleFiles, LoadError> {
        let (rules, entries) = read_rules(path)?;
        let look = look(path, &rules);
        Ok(RuleFiles { path: path.to_owned(), rules: Arc::new(rules), entries, look })
    }

    pub fn version(&self) -> &str {
        &self.rules.version
    }

    /// The plan for these rules under the settings of `config`.
    pub fn plan(&self, config: &Config) -> Plan {
        plan_of(self.rules.clone(), &self.entries, config)
    }

    /// Reads anew when something changed, or when told to. A faulty set leaves the last good
    /// one in force, and says so: in the log, a metric and the decision that comes back.
    pub(super) fn reload(
        &mut self,
        config: &Config,
        forced: bool,
        plans: &PlanCell,
        metrics: &Metrics,
    ) -> Option<Decision> {
        let now = look(&self.path, &self.rules);
        if now == self.look && !forced {
            return None;
        }
        self.look = now;
        match read_rules(&self.path) {
            Ok((rules, entries)) => {
                metrics.rules_reload_success.set(1);
                if rules.version == self.rules.version && entries == self.entries {
                    return None;
                }
                let (before, after) = (self.rules.version.clone(), rules.version.clone());
                (self.rules, self.entries) = (Arc::new(rules), entries);
                // A list that is new has a file to watch.
                self.look = look(&self.path, &self.rules);
                plans.set(self.plan(config));
                metrics.rules_info.with_label_values(&[&before]).set(0);
                metrics.rules_info.with_label_values(&[&after]).set(1);
                tracing::info!(before, after, "rules or lists have changed and are in force");
                None
            }
            Err(error) => {
                metrics.rules_reload_success.set(0);
                let version = &self.rules.version;
                tracing::error!(%error, version, "changed rules are faulty; the last good ones stay");
                let now_ms = EventTime(SystemClock.now_us() / 1000);
                Some(Decision::rules_faulty(version, &error.to_string(), now_ms))
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
