//! `tidegate backtest` (C2).

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::backtest::{self, Backtest};
use crate::cli::Format;
use crate::config::{FoldConfig, read_fold};
use crate::control::{LoadError, read_rules};
use crate::engine::{Effect, Lists, Plan};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Rule file or folder.
    #[arg(long)]
    rules: PathBuf,
    /// Events as JSON lines; `.gz` and `.zst` are unpacked, `-` is standard input.
    #[arg(long)]
    input: PathBuf,
    /// Where decisions go, as JSON lines; `-` is standard output.
    #[arg(long, default_value = "-")]
    decisions: PathBuf,
    /// Where commands go, as JSON lines; `-` is standard output.
    #[arg(long)]
    commands: Option<PathBuf>,
    /// Configuration whose `input` and `engine` sections count; none is read unless named.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Form of the summary on standard error.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the backtest; decisions on `-` go to `out`.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<u8> {
    let config = match &arguments.config {
        Some(path) => read_fold(path)?,
        None => FoldConfig::default(),
    };
    let (set, entries) = match read_rules(&arguments.rules) {
        Ok(rules) => rules,
        Err(error @ LoadError::Faults(_)) => {
            writeln!(io::stderr(), "{error}")?;
            return Ok(1);
        }
        Err(error) => return Err(error.into()),
    };
    let mut lists = Lists::new(set.lists.len());
    entries.into_iter().enumerate().for_each(|(at, entries)| lists.set(at, entries));
    let settings =
        crate::engine::Settings { max_ahead_ms: None, max_keys: None, ..config.settings };
    let plan = Plan::new(Arc::new(set), lists, settings);
    let input = &arguments.input;
    let reading = || format!("cannot read events from {}", input.display());
    let reader = backtest::open(input).with_context(reading)?;
    let name = input.file_name().map_or_else(|| "-".into(), |name| name.to_string_lossy());
    let mut fold = Backtest::new(plan, config.decoder, config.max_bytes, &name);

    let mut sinks = Sinks::open(arguments, out)?;
    let bar = progress(input);
    let summary =
        backtest::run(&mut fold, reader, &mut |effect| sinks.write(effect), &mut |bytes| {
            bar.inc(bytes);
        });
    bar.finish_and_clear();
    let summary = summary.with_context(reading)?;
    sinks.flush()?;
    match arguments.format {
        Format::Text => writeln!(io::stderr(), "{summary}")?,
        Format::Json => writeln!(io::stderr(), "{}", serde_json::to_string(&summary)?)?,
    }
    Ok(0)
}

/// Bytes read, on a terminal; hidden otherwise.
pub(super) fn progress(input: &Path) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let plain = input.extension().is_none_or(|ending| ending != "gz" && ending != "zst");
    let size = std::fs::metadata(input).ok().map(|about| about.len()).filter(|_| plain);
    let Some(size) = size else { return ProgressBar::new_spinner() };
    let bar = ProgressBar::new(size);
    let form = "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    match ProgressStyle::with_template(form) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Where decisions and commands go.
struct Sinks<'a> {
    out: &'a mut dyn Write,
    decisions: Option<BufWriter<File>>,
    commands: Commands,
}

enum Commands {
    Nowhere,
    Out,
    File(BufWriter<File>),
}

impl<'a> Sinks<'a> {
    fn open(arguments: &Arguments, out: &'a mut dyn Write) -> Result<Sinks<'a>> {
        let create = |path: &Path| {
            let file = File::create(path);
            file.map(BufWriter::new).with_context(|| format!("cannot write {}", path.display()))
        };
        let dash = Path::new("-");
        let decisions = match &*arguments.decisions {
            path if path == dash => None,
            path => Some(create(path)?),
        };
        let commands = match arguments.commands.as_deref() {
            None => Commands::Nowhere,
            Some(path) if path == dash => Commands::Out,
            Some(path) => Commands::File(create(path)?),
        };
        Ok(Sinks { out, decisions, commands })
    }

    fn write(&mut self, effect: &Effect) -> io::Result<()> {
        match effect {
            Effect::Decision(decision) => {
                let line = serde_json::to_string(decision)?;
                match &mut self.decisions {
                    Some(file) => writeln!(file, "{line}"),
                    None => writeln!(self.out, "{line}"),
                }
            }
            Effect::Command(command) => {
                let line = serde_json::to_string(command)?;
                match &mut self.commands {
                    Commands::Nowhere => Ok(()),
                    Commands::Out => writeln!(self.out, "{line}"),
                    Commands::File(file) => writeln!(file, "{line}"),
                }
            }
            Effect::Account(_) => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.decisions {
            file.flush()?;
        }
        if let Commands::File(file) = &mut self.commands {
            file.flush()?;
        }
        self.out.flush()
    }
}
