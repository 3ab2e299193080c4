//! `tidegate backtest` (C2).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::backtest::report::report;
use crate::cli::Format;
use crate::cli::history::{HistoryArguments, Rules};
use crate::cli::report::ReportArguments;
use crate::engine::Effect;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Rule file or folder.
    #[arg(long)]
    rules: PathBuf,
    #[command(flatten)]
    history: HistoryArguments,
    /// Where decisions go, as JSON lines; `-` is standard output.
    #[arg(long, default_value = "-")]
    decisions: PathBuf,
    /// Where commands go, as JSON lines; `-` is standard output.
    #[arg(long)]
    commands: Option<PathBuf>,
    #[command(flatten)]
    report: ReportArguments,
    /// Form of the summary on standard error.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the backtest; decisions on `-` go to `out`.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<u8> {
    let Some(rules) = Rules::read(&arguments.rules)? else { return Ok(1) };
    let input = arguments.history.open()?;
    let mut fold = input.fold(rules);
    if arguments.report.is_wanted() {
        fold = fold.keeping(arguments.report.names()).keeping_peaks();
    }
    let (rules, name) = (arguments.rules.display().to_string(), input.name().to_owned());
    let mut sinks = Sinks::open(arguments, out)?;
    input.run(&mut [&mut fold], &mut |_, effect| sinks.write(effect))?;
    let summary = fold.summary();
    arguments.report.write(|| report(&fold, rules, name, arguments.report.top), None)?;
    sinks.flush()?;
    match arguments.format {
        Format::Text => writeln!(io::stderr(), "{summary}")?,
        Format::Json => writeln!(io::stderr(), "{}", serde_json::to_string(&summary)?)?,
    }
    Ok(0)
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
            Effect::Account(_) | Effect::Resolved(_) | Effect::Canary(_) | Effect::Daily(_) => {
                Ok(())
            }
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
