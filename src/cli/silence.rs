//! `tidegate silence add`, `list` and `end`: notices that are not wanted for a time (N3).

use std::io::Write;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::intervene::{ByArguments, TargetArguments, make, now_ms};
use crate::cli::run::ConfigArguments;
use crate::cli::{Format, words};
use crate::config::Config;
use crate::control::silence_until;
use crate::engine::{Act, Matcher};
use crate::event::EventTime;
use crate::notify::{Mutes, Silence};
use crate::rule::Severity;
use crate::service;
use crate::stream::kafka::survey;

#[derive(Debug, Subcommand)]
pub(super) enum SilenceCommand {
    /// Silence a rule, a key of it, or whatever matches.
    Add(Box<AddArguments>),
    /// Name those in force.
    List {
        /// Those that have ended, too.
        #[arg(long)]
        all: bool,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// End one before its time; what still fires is told.
    End {
        id: String,
        #[command(flatten)]
        by: ByArguments,
    },
}

#[derive(Debug, Args)]
pub(super) struct AddArguments {
    #[command(flatten)]
    which: MatchArguments,
    /// When it ends: RFC 3339, milliseconds, or a date (its first instant in UTC).
    #[arg(long, value_name = "TIME", conflicts_with = "lasts")]
    until: Option<String>,
    /// How long it lasts from now on, such as `12h`.
    #[arg(long = "for", value_name = "DURATION", id = "lasts")]
    lasts: Option<String>,
    #[command(flatten)]
    by: ByArguments,
}

#[derive(Debug, Args)]
pub(super) struct MatchArguments {
    /// A rule, or with `*` at the end all that begin so; more than once for several.
    #[arg(long = "rule", value_name = "NAME")]
    rules: Vec<String>,
    /// `info`, `warning` or `critical`; more than once for several.
    #[arg(long = "severity", value_name = "SEVERITY")]
    severities: Vec<String>,
    /// A label of the rule; more than once for several.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    #[command(flatten)]
    target: TargetArguments,
}

impl MatchArguments {
    pub(super) fn read(&self) -> Result<Matcher> {
        let mut matcher = Matcher { rule: self.rules.clone(), ..Matcher::default() };
        for severity in &self.severities {
            matcher.severity.push(severity_of(severity)?);
        }
        for label in &self.labels {
            let Some((name, value)) = label.split_once('=') else {
                bail!("--label `{label}`: write NAME=VALUE");
            };
            matcher.labels.entry(name.to_owned()).or_default().push(value.to_owned());
        }
        for (field, value) in self.target.read()?.into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            matcher.key.insert(field, vec![value]);
        }
        Ok(matcher)
    }
}

pub(super) fn severity_of(text: &str) -> Result<Severity> {
    let all = [Severity::Info, Severity::Warning, Severity::Critical];
    let Some(severity) = all.into_iter().find(|one| one.as_str() == text) else {
        bail!("`{text}` is no severity: info, warning, critical");
    };
    Ok(severity)
}

pub(super) fn run(command: SilenceCommand, out: &mut dyn Write) -> Result<u8> {
    match command {
        SilenceCommand::Add(arguments) => {
            let AddArguments { which, until, lasts, by } = *arguments;
            let matcher = which.read()?;
            let config = Config::load(&by.config.sources(Vec::new())?)?;
            let max_ms = config.notify.silence_max_ms();
            let end = silence_until(lasts.as_deref(), until.as_deref(), now_ms(), max_ms);
            let until = match end {
                Ok(until) => until,
                Err(fault) => bail!(fault),
            };
            make(Act::Silence { matcher, until }, &by, out)
        }
        SilenceCommand::List { all, format, config } => {
            let config = Config::load(&config.sources(Vec::new())?)?;
            list(&mutes(&config)?, all, format, out)
        }
        SilenceCommand::End { id, by } => {
            let config = Config::load(&by.config.sources(Vec::new())?)?;
            let mutes = mutes(&config)?;
            let Some(silence) = mutes.silence(&id) else {
                writeln!(std::io::stderr(), "no silence has the id {id}")?;
                return Ok(1);
            };
            let matcher = silence.matcher.clone();
            make(Act::EndSilence { silence: id, matcher, expired: false }, &by, out)
        }
    }
}

fn mutes(config: &Config) -> Result<Mutes> {
    let mut mutes = Mutes::new(config.notify.silence_max_ms());
    let settings = service::kafka_settings(config);
    survey(&settings, &config.topics.control, None, &mut |_, value| {
        mutes.take(value.unwrap_or_default());
    })?;
    Ok(mutes)
}

fn list(mutes: &Mutes, all: bool, format: Format, out: &mut dyn Write) -> Result<u8> {
    let now = now_ms();
    let mut silences = mutes.silences();
    silences.retain(|silence| all || silence.is_in_force(now));
    for silence in &silences {
        match format {
            Format::Json => {
                let is_in_force = silence.is_in_force(now);
                writeln!(out, "{}", json!({ "silence": silence, "in_force": is_in_force }))?;
            }
            Format::Text => writeln!(out, "{}", line(silence))?,
        }
    }
    if format == Format::Text {
        let s = if silences.len() == 1 { "" } else { "s" };
        writeln!(out, "{} silence{s}", silences.len())?;
    }
    Ok(0)
}

fn line(silence: &Silence) -> String {
    let Silence { id, matcher, from, actor, reason, .. } = silence;
    let (from, until) = (EventTime(*from), EventTime(silence.ends_at()));
    let (from, until) = (words::instant(from), words::instant(until));
    format!("{id}: {} from {from} until {until}, by {actor}: {reason}", matcher.words())
}
