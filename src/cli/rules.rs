//! `tidegate rules check` and `rules schema` (C3).

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;

use super::Format;
use super::paint::Paint;
use super::snippet::Snippets;
use crate::backtest::cases::{Beside, beside};
use crate::config::read_receivers;
use crate::control::{LoadError, RuleTexts, read_with_texts};
use crate::rule::{self, Fault, Lint, Place, Surroundings, Warning, parse_duration};

#[derive(Debug, Clone, Default, clap::Args)]
pub struct CheckArguments {
    /// Rule files or folders.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// End with status 1 if there are warnings.
    #[arg(long)]
    pub deny_warnings: bool,
    /// Leave out the warnings of this name.
    #[arg(long, value_name = "WARNING", value_parser = lint_parser())]
    pub allow: Vec<Lint>,
    /// How long the broker keeps the events (`retention.ms` of their topic), such as `7d`; rules
    /// that look back further are warned of.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub retention: Option<i64>,
    /// Configuration with the receivers that `alert: { to: … }` may name.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

fn lint_parser() -> impl TypedValueParser<Value = Lint> {
    PossibleValuesParser::new(Lint::ALL.map(Lint::as_str))
        .try_map(|name| Lint::parse(&name).ok_or("no such warning"))
}

fn duration(text: &str) -> Result<i64, &'static str> {
    parse_duration(text).ok_or("write `30m`, `12h` or `7d`")
}

/// Checks rule files and their lists; writes the faults, or the warnings and what was loaded, to
/// `out`. Returns the exit status of C1.
pub fn check(arguments: &CheckArguments, out: &mut dyn Write) -> Result<u8> {
    check_in(arguments, Paint::default(), out)
}

/// As [`check`], in colours or without.
pub(super) fn check_in(
    arguments: &CheckArguments,
    paint: Paint,
    out: &mut dyn Write,
) -> Result<u8> {
    match read_with_texts(&arguments.paths) {
        Ok(read) => {
            let warnings = warnings(&read, arguments)?;
            let denied = arguments.deny_warnings && !warnings.is_empty();
            match arguments.format {
                Format::Text => write_text(&read, &warnings, (denied, paint), out)?,
                Format::Json => write_json(&read, &warnings, out)?,
            }
            Ok(u8::from(denied))
        }
        Err(LoadError::Faults(faults)) => {
            write_faults(&faults, arguments.format, paint, out)?;
            Ok(1)
        }
        Err(error @ LoadError::Unreadable { .. }) => Err(error.into()),
    }
}

/// The faults of rules that do not load.
pub(super) fn write_faults(
    faults: &[Fault],
    format: Format,
    paint: Paint,
    out: &mut dyn Write,
) -> Result<()> {
    if format == Format::Json {
        writeln!(out, "{}", json!({ "faults": faults, "warnings": [] }))?;
        return Ok(());
    }
    let mut snippets = Snippets::new(paint);
    for fault in faults {
        snippets.write(&fault.head(), fault, out)?;
    }
    writeln!(out, "{}", counted(faults.len(), "fault"))?;
    Ok(())
}

/// The warnings of a rule set, one after the other.
pub(super) fn write_warnings(
    warnings: &[Warning],
    paint: Paint,
    out: &mut dyn Write,
) -> Result<()> {
    let mut snippets = Snippets::new(paint);
    for warning in warnings {
        snippets.write(&warning.head(), &warning.fault, out)?;
    }
    Ok(())
}

/// What is said of rules that load.
pub(super) fn warnings(read: &RuleTexts, arguments: &CheckArguments) -> Result<Vec<Warning>> {
    let receivers = match &arguments.config {
        Some(path) => Some(read_receivers(path)?),
        None => None,
    };
    let Beside { expected, unreadable } =
        beside(&arguments.paths).context("cannot read the tests beside the rules")?;
    let around = Surroundings {
        entries: &read.entries,
        tested: Some(&expected),
        retention_ms: arguments.retention,
        receivers: receivers.as_deref(),
    };
    let mut warnings = rule::lint(&read.sources, &read.rules, &around);
    warnings.extend(unreadable.into_iter().map(|(file, reason)| {
        let place = Place { file: file.display().to_string(), line: 1, column: 1 };
        let text = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let message = "this file is no test".to_owned();
        let hint = reason.lines().next().map(str::to_owned);
        let fault = Fault { place, text, message, hint };
        Warning { lint: Lint::UnreadableTest, fault }
    }));
    warnings.retain(|warning| !arguments.allow.contains(&warning.lint));
    Ok(warnings)
}

fn write_text(
    read: &RuleTexts,
    warnings: &[Warning],
    (denied, paint): (bool, Paint),
    out: &mut dyn Write,
) -> Result<()> {
    write_warnings(warnings, paint, out)?;
    if denied {
        writeln!(out, "{}, and warnings are denied", counted(warnings.len(), "warning"))?;
        return Ok(());
    }
    let entries: usize = read.entries.iter().map(Vec::len).sum();
    let (rules, lists) = (read.rules.rules.len(), read.rules.lists.len());
    let version = &read.rules.version;
    write!(out, "ok: rules {rules}, lists {lists} ({entries} entries), rule set {version}")?;
    if !warnings.is_empty() {
        write!(out, "; {}", counted(warnings.len(), "warning"))?;
    }
    writeln!(out)?;
    Ok(())
}

fn write_json(read: &RuleTexts, warnings: &[Warning], out: &mut dyn Write) -> Result<()> {
    let entries: usize = read.entries.iter().map(Vec::len).sum();
    let (rules, lists) = (read.rules.rules.len(), read.rules.lists.len());
    let found = json!({ "ruleset": read.rules.version, "rules": rules, "lists": lists,
        "entries": entries, "faults": [], "warnings": warnings });
    writeln!(out, "{found}")?;
    Ok(())
}

fn counted(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// Writes the JSON Schema of rule files.
pub fn schema(out: &mut dyn Write) -> Result<u8> {
    serde_json::to_writer_pretty(&mut *out, &rule::schema())?;
    writeln!(out)?;
    Ok(0)
}
