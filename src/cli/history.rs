//! What `backtest` and `rules diff` have in common: rules and settings of a fold, and the input.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::tz::TimeZone;

use crate::backtest::{Backtest, Opened, open, run_file, run_topic};
use crate::config::{Config, FoldConfig, Sources};
use crate::control::{LoadError, read_rules};
use crate::engine::{Effect, Lists, Plan, Settings};
use crate::rule::{RuleSet, parse_duration, parse_instant};
use crate::service::kafka_settings;
use crate::stream::kafka::{History, KafkaSettings, Stretch};

/// Where events come from.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct HistoryArguments {
    /// Events as JSON lines; `.gz` and `.zst` are unpacked, `-` is standard input.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    #[command(flatten)]
    topic: TopicArguments,
    /// Configuration whose `input` and `engine` sections count, and for a topic `kafka` and
    /// `topics`; none is read unless named.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A stretch of a topic.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct TopicArguments {
    /// Read a topic of these Kafka brokers, `host:port`, several parted by commas; from
    /// `kafka.brokers` of the configuration unless given.
    #[arg(long, value_name = "LIST")]
    brokers: Option<String>,
    /// Topic to read; that of the configuration unless given.
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// First record by its timestamp: RFC 3339, milliseconds, a date (its first instant in UTC),
    /// or a duration back from now, such as `-7d`; the oldest unless given.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    from: Option<Moment>,
    /// Up to this time, which does not belong to it; up to what is there now unless given.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    to: Option<Moment>,
    /// The same as `--from -DURATION`.
    #[arg(long, value_name = "DURATION", value_parser = back, conflicts_with = "from")]
    last: Option<Moment>,
}

/// An instant, or one so many milliseconds back from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    At(i64),
    Ago(i64),
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Some(span) = text.strip_prefix('-') {
        return back(span);
    }
    let instant = parse_instant(text, &TimeZone::UTC).map(|at| Moment::At(at.0));
    instant.ok_or_else(|| "write RFC 3339, milliseconds, a date, or `-7d`".into())
}

fn back(text: &str) -> Result<Moment, String> {
    let span = parse_duration(text).map(Moment::Ago);
    span.ok_or_else(|| "a duration is `30m`, `12h` or `7d`".into())
}

impl Moment {
    fn ms(self, now_ms: i64) -> i64 {
        match self {
            Moment::At(ms) => ms,
            Moment::Ago(span) => now_ms.saturating_sub(span),
        }
    }
}

/// An input that is open.
pub(super) struct Input {
    from: From,
    /// Of the file or topic, as triggers name it.
    name: String,
    config: FoldConfig,
    bar: ProgressBar,
    /// What could not be done when reading fails.
    trouble: String,
}

enum From {
    File(Opened),
    Topic(Box<History>),
}

impl HistoryArguments {
    pub(super) fn open(&self) -> Result<Input> {
        match &self.input {
            Some(path) => self.open_file(path),
            None => self.open_topic(),
        }
    }

    /// The decisions that a topic holds.
    pub(super) fn decisions(&self) -> Result<History> {
        if self.input.is_some() {
            bail!("`--shadow` compares decisions: `--decisions FILE`, or `--brokers LIST`");
        }
        let (_, kafka) = self.topic.kafka(self.config.as_deref())?;
        let topic = self.topic.topic.clone();
        let topic = topic.unwrap_or_else(|| kafka.topics.decisions.to_string());
        if self.topic.brokers.is_none() && self.config.is_none() {
            bail!("name the decisions: `--decisions FILE`, or `--brokers LIST` for a topic");
        }
        Ok(History::open(&kafka, &topic, self.topic.stretch())?)
    }

    fn open_file(&self, path: &Path) -> Result<Input> {
        if self.topic.is_named() {
            bail!("events come from a file (`--input`) or from a topic (`--brokers`), not both");
        }
        let mut config = FoldConfig::named(self.config.as_deref())?;
        // A file has no record timestamps to hold event times against.
        config.settings.max_ahead_ms = None;
        let trouble = format!("cannot read events from {}", path.display());
        let file = open(path).with_context(|| trouble.clone())?;
        let name = path.file_name().map_or_else(|| "-".into(), |name| name.to_string_lossy());
        let (name, bar) = (name.into_owned(), file_progress(path));
        Ok(Input { from: From::File(file), name, config, bar, trouble })
    }

    fn open_topic(&self) -> Result<Input> {
        let TopicArguments { brokers, topic, .. } = &self.topic;
        let (config, kafka) = self.topic.kafka(self.config.as_deref())?;
        let topic = topic.clone().unwrap_or_else(|| kafka.topics.events.to_string());
        if brokers.is_none() && self.config.is_none() {
            bail!("name the events: `--input FILE`, or `--brokers LIST` for a topic");
        }
        let history = History::open(&kafka, &topic, self.topic.stretch())?;
        let trouble = format!("cannot read events from topic {topic}");
        let (bar, from) = (ProgressBar::new_spinner(), From::Topic(Box::new(history)));
        let bar = if io::stderr().is_terminal() { bar } else { ProgressBar::hidden() };
        Ok(Input { from, name: topic, config, bar, trouble })
    }
}

impl TopicArguments {
    fn is_named(&self) -> bool {
        let TopicArguments { brokers, topic, from, to, last } = self;
        brokers.is_some() || topic.is_some() || from.is_some() || to.is_some() || last.is_some()
    }

    fn stretch(&self) -> Stretch {
        let now = jiff::Timestamp::now().as_millisecond();
        let ms = |moment: Option<Moment>| moment.map(|moment| moment.ms(now));
        Stretch { from_ms: ms(self.from.or(self.last)), to_ms: ms(self.to) }
    }

    /// How to reach Kafka, and how to read events there: by the configuration where one is named.
    fn kafka(&self, config: Option<&Path>) -> Result<(FoldConfig, KafkaSettings)> {
        let brokers = self.brokers.clone();
        let config = if let Some(path) = config {
            let flags = brokers.map(|list| ("kafka.brokers".to_owned(), list));
            let flags = flags.into_iter().collect();
            Config::load(&Sources::of_process(Some(path.to_owned()), flags))?
        } else {
            let mut config = Config::default();
            config.kafka.brokers = brokers.unwrap_or_default();
            config
        };
        Ok((config.fold()?, kafka_settings(&config)))
    }
}

impl Input {
    /// Name of the file or topic.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A fold over this input that has seen nothing.
    pub(super) fn fold(&self, rules: Rules) -> Backtest {
        let settings = Settings { max_keys: None, ..self.config.settings.clone() };
        let plan = rules.plan(settings);
        let (decoder, max_bytes) = (self.config.decoder.clone(), self.config.max_bytes);
        Backtest::new(plan, decoder, max_bytes, &self.name)
    }

    /// Runs folds of this input over it.
    pub(super) fn run(
        self,
        folds: &mut [&mut Backtest],
        sink: &mut dyn FnMut(usize, &Effect) -> io::Result<()>,
    ) -> Result<()> {
        let mut progress = |bytes| self.bar.inc(bytes);
        let ran = match self.from {
            From::File(file) => run_file(folds, file, sink, &mut progress),
            From::Topic(history) => run_topic(folds, *history, sink, &mut progress),
        };
        self.bar.finish_and_clear();
        ran.context(self.trouble)
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
    set: Arc<RuleSet>,
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
        let lists: Lists = entries.into_iter().collect();
        Ok(Some(Rules { set: Arc::new(set), lists }))
    }

    /// Ready to run.
    pub(super) fn plan(self, settings: Settings) -> Plan {
        Plan::new(self.set, self.lists, settings)
    }
}
