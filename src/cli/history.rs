//! What `backtest` and `rules diff` have in common: rules and settings of a fold, and the input.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::backtest::{Backtest, open};
use crate::config::{FoldConfig, read_fold};
use crate::control::{LoadError, read_rules};
use crate::engine::{Lists, Plan, Settings};

/// Where events come from.
#[derive(Debug, clap::Args)]
pub(super) struct HistoryArguments {
    /// Events as JSON lines; `.gz` and `.zst` are unpacked, `-` is standard input.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Configuration whose `input` and `engine` sections count; none is read unless named.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl HistoryArguments {
    pub(super) fn config(&self) -> Result<FoldConfig> {
        match &self.config {
            Some(path) => Ok(read_fold(path)?),
            None => Ok(FoldConfig::default()),
        }
    }

    /// Bytes read, on a terminal.
    pub(super) fn progress(&self) -> ProgressBar {
        file_progress(&self.input)
    }

    pub(super) fn open(&self) -> Result<Box<dyn BufRead>> {
        open(&self.input).with_context(|| self.trouble())
    }

    /// What could not be done when reading fails.
    pub(super) fn trouble(&self) -> String {
        format!("cannot read events from {}", self.input.display())
    }

    /// A fold over this input that has seen nothing.
    pub(super) fn fold(&self, rules: Rules, config: &FoldConfig) -> Backtest {
        let settings = Settings { max_ahead_ms: None, max_keys: None, ..config.settings.clone() };
        let plan = Plan::new(rules.set, rules.lists, settings);
        let name = self.input.file_name().map_or_else(|| "-".into(), |name| name.to_string_lossy());
        Backtest::new(plan, config.decoder.clone(), config.max_bytes, &name)
    }
}

/// Bytes read of a file, on a terminal; hidden otherwise.
pub(super) fn file_progress(path: &Path) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let ending = path.extension();
    let plain = ending.is_none_or(|ending| ending != "gz" && ending != "zst");
    let size = std::fs::metadata(path).ok().map(|about| about.len()).filter(|_| plain);
    let Some(size) = size else { return ProgressBar::new_spinner() };
    let bar = ProgressBar::new(size);
    let form = "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    match ProgressStyle::with_template(form) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A checked rule set with the entries of its lists.
pub(super) struct Rules {
    set: Arc<crate::rule::RuleSet>,
    lists: Lists,
}

impl Rules {
    /// The rules of a file or folder; `None` when they are faulty, which has been told then.
    pub(super) fn read(path: &Path) -> Result<Option<Rules>> {
        let (set, entries) = match read_rules(path) {
            Ok(rules) => rules,
            Err(error @ LoadError::Faults(_)) => {
                writeln!(io::stderr(), "{error}")?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let mut lists = Lists::new(set.lists.len());
        entries.into_iter().enumerate().for_each(|(at, entries)| lists.set(at, entries));
        Ok(Some(Rules { set: Arc::new(set), lists }))
    }
}
