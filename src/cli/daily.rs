//! `tidegate daily`: the account of a day, of a running instance or of a file of events.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::backtest::{self, Backtest, run_file};
use crate::cli::Format;
use crate::cli::history::{Rules, file_progress};
use crate::cli::run::ConfigArguments;
use crate::cli::why::{Said, ask};
use crate::engine::{DailyReport, Effect, Settings};
use crate::notify::{Language, Texts};

/// Reading the topic of accounts takes a second a year.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The day, such as `2025-11-22`: unless given the last one that has its account, or every day
    /// of a file.
    #[arg(long, value_name = "DATE")]
    date: Option<String>,
    /// The running instance; `http.advertise` or `http.listen` of the configuration unless given.
    #[arg(long, conflicts_with = "input")]
    url: Option<String>,
    /// Make the account of a file of events: JSON lines, `.gz` and `.zst` too, `-` is standard
    /// input.
    #[arg(long, requires = "rules", value_name = "FILE")]
    input: Option<PathBuf>,
    /// The rules to run over the file: their zone parts the days.
    #[arg(long, requires = "input", value_name = "PATH")]
    rules: Option<PathBuf>,
    /// `json` writes a line a day.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArguments,
}

/// Writes the account; 1 where there is none, or where records do not add up.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<u8> {
    let reports = match (&arguments.input, &arguments.rules) {
        (Some(input), Some(rules)) => of_file(arguments, input, rules)?,
        _ => of_instance(arguments)?,
    };
    let Some(reports) = reports else { return Ok(1) };
    let mut ok = true;
    for (nth, report) in reports.iter().enumerate() {
        ok &= report.conservation.ok;
        match arguments.format {
            Format::Json => writeln!(out, "{}", serde_json::to_string(report)?)?,
            Format::Text => {
                if nth > 0 {
                    writeln!(out)?;
                }
                write!(out, "{}", Texts::daily(report, Language::En)?)?;
            }
        }
    }
    Ok(u8::from(!ok))
}

fn of_instance(arguments: &Arguments) -> Result<Option<Vec<DailyReport>>> {
    let request = match &arguments.date {
        Some(date) => json!({ "date": date }),
        None => json!({}),
    };
    let url = arguments.url.as_deref();
    match ask(&arguments.config, url, "/api/v1/daily", &request, PATIENCE)? {
        Said::Answer(answer) => Ok(Some(vec![read(answer)?])),
        Said::NotFound(reason) => {
            writeln!(io::stderr(), "{reason}")?;
            Ok(None)
        }
    }
}

fn read(answer: Value) -> Result<DailyReport> {
    serde_json::from_value(answer).context("the instance answers with something else")
}

fn of_file(arguments: &Arguments, input: &Path, rules: &Path) -> Result<Option<Vec<DailyReport>>> {
    let Some(rules) = Rules::read(rules)? else { return Ok(None) };
    let config = arguments.config.fold()?;
    let settings = Settings { max_ahead_ms: None, max_keys: None, ..config.settings };
    let reading = || format!("cannot read events from {}", input.display());
    let file = backtest::open(input).with_context(reading)?;
    let name = input.file_name().map_or_else(|| "-".into(), |name| name.to_string_lossy());
    let plan = rules.plan(settings);
    let mut fold = Backtest::new(plan, config.decoder, config.max_bytes, &name);
    let bar = file_progress(input);
    let mut reports = Vec::new();
    let mut sink = |_: usize, effect: &Effect| {
        if let Effect::Daily(decision) = effect {
            reports.extend(decision.daily.as_deref().cloned());
        }
        Ok(())
    };
    let read = run_file(&mut [&mut fold], file, &mut sink, &mut |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    read.with_context(reading)?;
    if let Some(date) = &arguments.date {
        reports.retain(|report: &DailyReport| report.date == *date);
    }
    if reports.is_empty() {
        let which = arguments.date.as_deref().unwrap_or("any day");
        writeln!(io::stderr(), "no record of {which} in {}", input.display())?;
        return Ok(None);
    }
    Ok(Some(reports))
}
