//! `tidegate rules diff` (C4).

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;

use crate::backtest::diff::compare;
use crate::backtest::report::report;
use crate::cli::Format;
use crate::cli::history::{HistoryArguments, Rules};
use crate::cli::report::ReportArguments;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Rule file or folder that is in force.
    old: PathBuf,
    /// Rule file or folder that is to be.
    new: PathBuf,
    #[command(flatten)]
    history: HistoryArguments,
    /// End with status 1 when a rule newly fires on more targets than this.
    #[arg(long, value_name = "N")]
    max_new: Option<u64>,
    #[command(flatten)]
    report: ReportArguments,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs both rule sets over the input and writes what differs; 1 = a gate stopped the change, or
/// rules are faulty.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<u8> {
    let (old, new) = (&arguments.old, &arguments.new);
    let paths = (old.display().to_string(), new.display().to_string());
    let (old, new) = (Rules::read(old)?, Rules::read(new)?);
    let (Some(old), Some(new)) = (old, new) else { return Ok(1) };
    let wanted = &arguments.report;
    let input = arguments.history.open()?;
    let mut old = input.fold(old).keeping(wanted.names());
    let mut new = input.fold(new).keeping(wanted.names());
    if wanted.is_wanted() {
        new = new.keeping_peaks();
    }
    let name = input.name().to_owned();
    input.run(&mut [&mut old, &mut new], &mut |_, _| Ok(()))?;
    let mut difference = compare((&old, &new), paths.clone(), wanted.top);
    if let Some(max_new) = arguments.max_new {
        difference.gate(max_new);
    }
    wanted.write(|| report(&new, paths.1, name, wanted.top), Some(&difference))?;
    match arguments.format {
        Format::Text => write!(out, "{difference}")?,
        Format::Json => writeln!(out, "{}", serde_json::to_string(&difference)?)?,
    }
    Ok(u8::from(difference.is_stopped()))
}
