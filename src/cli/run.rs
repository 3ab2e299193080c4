//! `tidegate run` and `tidegate topics create`.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, FoldConfig, Sources};
use crate::control::LoadError;
use crate::service::{self, InstanceLock, RuleFiles};
use crate::stream::kafka::prepare;

/// Where the configuration comes from.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArguments {
    /// Configuration file; `tidegate.yaml` in the working folder unless given.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Kafka brokers, `host:port`, several parted by commas.
    #[arg(long, value_name = "LIST")]
    brokers: Option<String>,
    /// Any key of the configuration, such as `engine.workers=2`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Rule file or folder.
    #[arg(long, value_name = "PATH")]
    rules: Option<PathBuf>,
    /// Address of the status page and of the metrics.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Print the resolved configuration, secrets hidden, and end.
    #[arg(long)]
    print_config: bool,
    /// Form of the log on standard error.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum TopicsCommand {
    /// Create the topics that are missing, and check the partitions of those that are there.
    Create(ConfigArguments),
}

impl ConfigArguments {
    /// How events are read and folded; the defaults unless a file or a flag is named.
    pub(super) fn fold(&self) -> Result<FoldConfig> {
        Ok(FoldConfig::named(self.config.as_deref())?)
    }

    pub(super) fn sources(&self, more: Vec<(String, String)>) -> Result<Sources> {
        let mut flags = Vec::new();
        for set in &self.set {
            let (key, value) =
                set.split_once('=').with_context(|| format!("--set `{set}`: write KEY=VALUE"))?;
            flags.push((key.to_owned(), value.to_owned()));
        }
        flags.extend(self.brokers.iter().map(|brokers| ("kafka.brokers".into(), brokers.clone())));
        flags.extend(more);
        Ok(Sources::of_process(self.config.clone(), flags))
    }
}

/// Runs until a signal.
pub(super) fn run(arguments: &RunArguments, out: &mut dyn Write) -> Result<u8> {
    let mut more = Vec::new();
    if let Some(path) = &arguments.rules {
        let path = std::path::absolute(path)?;
        more.push(("rules".to_owned(), path.display().to_string()));
    }
    more.extend(arguments.listen.iter().map(|listen| ("http.listen".to_owned(), listen.clone())));
    let sources = arguments.config.sources(more)?;
    if arguments.print_config {
        write!(out, "{}", Config::read(&sources)?.print())?;
        return Ok(0);
    }
    let config = Config::load(&sources)?;
    start_log(arguments.log_format, "info,librdkafka=warn,rdkafka=warn");
    let rules = match RuleFiles::read(&config.rules) {
        Ok(rules) => rules,
        Err(error @ LoadError::Faults(_)) => {
            writeln!(io::stderr(), "{error}")?;
            return Ok(1);
        }
        Err(error) => return Err(error.into()),
    };
    let kafka = &config.kafka;
    let _lock = InstanceLock::take(&kafka.brokers, &kafka.group, &kafka.instance)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let ruleset = rules.version().to_owned();
    let ready = |address| tracing::info!(%address, brokers = kafka.brokers, ruleset, "started");
    let result = runtime.block_on(service::run(&config, rules, ready));
    // A thread that waits for a broker must not hold the process back.
    runtime.shutdown_background();
    result?;
    Ok(0)
}

/// Creates missing topics.
pub(super) fn topics(command: &TopicsCommand, out: &mut dyn Write) -> Result<u8> {
    let TopicsCommand::Create(arguments) = command;
    let config = Config::load(&arguments.sources(Vec::new())?)?;
    let settings = service::kafka_settings(&config);
    let partitions = u32::try_from(config.topics.partitions).unwrap_or(1);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let made = runtime?.block_on(prepare(&settings, true, partitions));
    let (partitions, created) = made?;
    for topic in &created {
        writeln!(out, "created {topic}")?;
    }
    writeln!(out, "all topics are there; events have {partitions} partitions")?;
    Ok(0)
}

/// Structured lines on standard error; `TIDEGATE_LOG` filters, or `default` without it.
pub(super) fn start_log(format: LogFormat, default: &str) {
    let filter = EnvFilter::try_from_env("TIDEGATE_LOG");
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Refused only where a log has been started before, as in tests.
    match format {
        LogFormat::Text => log.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => log.json().try_init(),
    }
    .unwrap_or_default();
}
