//! `tidegate rules diff` (C4): a change of rules over events of the past, or a rule in shadow mode
//! beside its live twin.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::backtest::diff::{Overlap, compare};
use crate::backtest::open;
use crate::backtest::report::report;
use crate::backtest::shadow::{Decisions, Pair};
use crate::cli::Format;
use crate::cli::history::{HistoryArguments, Rules};
use crate::cli::report::ReportArguments;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Rule file or folder that is in force.
    #[arg(required_unless_present = "shadow")]
    old: Option<PathBuf>,
    /// Rule file or folder that is to be.
    #[arg(required_unless_present = "shadow")]
    new: Option<PathBuf>,
    #[command(flatten)]
    history: HistoryArguments,
    /// End with status 1 when a rule newly fires on more targets than this.
    #[arg(long, value_name = "N")]
    max_new: Option<u64>,
    /// Compare rules in shadow mode with live ones by the decisions of both, instead of two rule
    /// sets.
    #[arg(long, conflicts_with_all = ["old", "new", "report"])]
    shadow: bool,
    /// Decisions as JSON lines, as `backtest` and the decisions topic have them; `.gz` and `.zst`
    /// are unpacked, `-` is standard input.
    #[arg(long, value_name = "FILE", requires = "shadow")]
    decisions: Option<PathBuf>,
    /// A live rule and the one in shadow mode that may take its place; by names that begin alike
    /// unless given.
    #[arg(long = "pair", value_name = "LIVE=SHADOW", value_parser = pair, requires = "shadow")]
    pairs: Vec<Pair>,
    #[command(flatten)]
    report: ReportArguments,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn pair(text: &str) -> Result<Pair, String> {
    let names =
        text.split_once('=').filter(|(live, shadow)| !live.is_empty() && !shadow.is_empty());
    let (live, shadow) = names.ok_or("write LIVE=SHADOW, two names of rules")?;
    Ok(Pair { live: live.to_owned(), shadow: shadow.to_owned() })
}

/// Writes what differs; 1 = a gate stopped the change, or rules are faulty.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<u8> {
    match (&arguments.old, &arguments.new) {
        (Some(old), Some(new)) => rule_sets(arguments, (old, new), out),
        _ => twins(arguments, out),
    }
}

/// Runs both rule sets over the input.
fn rule_sets(arguments: &Arguments, (old, new): (&Path, &Path), out: &mut dyn Write) -> Result<u8> {
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

/// Compares rules in shadow mode with live ones.
fn twins(arguments: &Arguments, out: &mut dyn Write) -> Result<u8> {
    let decisions = read_decisions(arguments)?;
    let comparison = decisions.compare(&arguments.pairs, arguments.report.top);
    let beyond = arguments.max_new.map_or(Vec::new(), |max_new| comparison.beyond(max_new));
    match arguments.format {
        Format::Text => {
            write!(out, "{comparison}")?;
            let over = |over: &Overlap| format!("{} on {}", over.rule, over.targets);
            if let (Some(max_new), false) = (arguments.max_new, beyond.is_empty()) {
                let over: Vec<String> = beyond.iter().map(over).collect();
                let over = over.join(", ");
                writeln!(
                    out,
                    "gate: stopped, these fire on more than {max_new} of their own: {over}"
                )?;
            }
        }
        Format::Json => {
            let mut found = serde_json::to_value(&comparison)?;
            if let Some(max_new) = arguments.max_new {
                found["gate"] = json!({ "max_new": max_new, "exceeded_by": beyond });
            }
            writeln!(out, "{found}")?;
        }
    }
    if comparison.decisions == 0 && comparison.unreadable > 0 {
        bail!("none of the {} records is a decision", comparison.unreadable);
    }
    Ok(u8::from(!beyond.is_empty()))
}

fn read_decisions(arguments: &Arguments) -> Result<Decisions> {
    let mut decisions = Decisions::new(arguments.report.names());
    let Some(path) = &arguments.decisions else {
        let mut history = arguments.history.decisions()?;
        while history.next(&mut |record| decisions.note(record.value))? {}
        return Ok(decisions);
    };
    let trouble = || format!("cannot read decisions from {}", path.display());
    let reader = BufReader::new(open(path).with_context(trouble)?);
    for line in reader.split(b'\n') {
        let line = line.with_context(trouble)?;
        if !line.trim_ascii().is_empty() {
            decisions.note(&line);
        }
    }
    Ok(decisions)
}
