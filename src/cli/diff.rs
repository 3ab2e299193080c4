//! `tidegate rules diff` (C4).

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;

use crate::backtest::Names;
use crate::backtest::diff::compare;
use crate::cli::Format;
use crate::cli::history::{HistoryArguments, Rules};

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
    /// How many targets of a rule are listed.
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Show users, devices and addresses whole.
    #[arg(long)]
    reveal: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs both rule sets over the input and writes what differs; 1 = a gate stopped the change, or
/// rules are faulty.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<u8> {
    let (old, new) = (Rules::read(&arguments.old)?, Rules::read(&arguments.new)?);
    let (Some(old), Some(new)) = (old, new) else { return Ok(1) };
    let names = if arguments.reveal { Names::Whole } else { Names::Masked };
    let input = arguments.history.open()?;
    let mut old = input.fold(old).keeping(names);
    let mut new = input.fold(new).keeping(names);
    input.run(&mut [&mut old, &mut new], &mut |_, _| Ok(()))?;
    let name = |path: &PathBuf| path.display().to_string();
    let names = (name(&arguments.old), name(&arguments.new));
    let mut difference = compare((&old, &new), names, arguments.top);
    if let Some(max_new) = arguments.max_new {
        difference.gate(max_new);
    }
    match arguments.format {
        Format::Text => write!(out, "{difference}")?,
        Format::Json => writeln!(out, "{}", serde_json::to_string(&difference)?)?,
    }
    Ok(u8::from(difference.is_stopped()))
}
