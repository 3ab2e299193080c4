//! What `backtest` and `rules diff` write for people.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;

use crate::backtest::Names;
use crate::backtest::diff::Difference;
use crate::backtest::report::{Report, page};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct ReportArguments {
    /// Write a report with plots: one page of HTML, or its figures where FILE ends in `.json`.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How many targets of a rule are listed.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(super) top: usize,
    /// Show users, devices and addresses whole.
    #[arg(long)]
    reveal: bool,
}

impl ReportArguments {
    pub(super) fn is_wanted(&self) -> bool {
        self.report.is_some()
    }

    pub(super) fn names(&self) -> Names {
        if self.reveal { Names::Whole } else { Names::Masked }
    }

    /// Writes the report where one is wanted.
    pub(super) fn write(
        &self,
        report: impl FnOnce() -> Report,
        difference: Option<&Difference>,
    ) -> Result<()> {
        let Some(path) = &self.report else { return Ok(()) };
        let report = report();
        let text = if path.extension().is_some_and(|ending| ending == "json") {
            json!({ "report": report, "difference": difference }).to_string()
        } else {
            page(&report, difference)?
        };
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
