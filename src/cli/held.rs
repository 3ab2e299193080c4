//! `tidegate held list`, `held release` and `held discard`: freezes that budgets held back (R15).

use std::io::Write;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::intervene::{ByArguments, TargetArguments, checked, now_ms, runtime};
use crate::cli::run::ConfigArguments;
use crate::cli::{Format, words};
use crate::config::Config;
use crate::control::{Backlog, HeldFreeze};
use crate::engine::{Act, Change, account_key};
use crate::event::EventTime;
use crate::rule::parse_duration;
use crate::service;
use crate::stream::kafka::{new_change, publish_all, survey};

#[derive(Debug, Subcommand)]
pub(super) enum HeldCommand {
    /// Name those that wait for somebody to decide.
    List {
        #[command(flatten)]
        which: WhichArguments,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Freeze after all, as the rule would have.
    Release(DecideArguments),
    /// Let it be.
    Discard(DecideArguments),
}

#[derive(Debug, Args)]
pub(super) struct DecideArguments {
    #[command(flatten)]
    which: WhichArguments,
    /// Everything that waits.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    by: ByArguments,
}

#[derive(Debug, Args)]
pub(super) struct WhichArguments {
    #[command(flatten)]
    target: TargetArguments,
    #[arg(long)]
    rule: Option<String>,
    /// The decision that was held back; more than once for several.
    #[arg(long = "decision", value_name = "ID")]
    decisions: Vec<String>,
    /// Held back no longer ago than this, such as `12h`; what is older than the topics keep is gone.
    #[arg(long, value_name = "DURATION")]
    last: Option<String>,
}

impl WhichArguments {
    fn is_empty(&self) -> bool {
        let WhichArguments { target, rule, decisions, last } = self;
        target.is_empty() && rule.is_none() && decisions.is_empty() && last.is_none()
    }

    fn of(&self, config: &Config) -> Result<Vec<HeldFreeze>> {
        let settings = service::kafka_settings(config);
        let since_ms = self.last.as_ref().map(|text| {
            let ms = parse_duration(text)
                .with_context(|| format!("--last `{text}`: write such as 30m, 12h or 7d"))?;
            Ok::<i64, anyhow::Error>(now_ms().saturating_sub(ms))
        });
        let since_ms = since_ms.transpose()?;
        let mut backlog = Backlog::default();
        let topics = &config.topics;
        survey(&settings, &topics.commands, since_ms, &mut |_, value| backlog.take_command(value))?;
        survey(&settings, &topics.decisions, since_ms, &mut |_, value| {
            backlog.take_decision(value);
        })?;
        let target = self.target.read()?.map(|target| account_key(&target));
        let mut waiting = backlog.waiting(EventTime(now_ms()));
        waiting.retain(|held| {
            self.rule.as_ref().is_none_or(|rule| *rule == held.rule)
                && target.as_ref().is_none_or(|target| *target == account_key(&held.target))
                && (self.decisions.is_empty() || self.decisions.contains(&held.decision))
        });
        Ok(waiting)
    }
}

pub(super) fn run(command: &HeldCommand, out: &mut dyn Write) -> Result<u8> {
    match command {
        HeldCommand::List { which, format, config } => {
            let config = Config::load(&config.sources(Vec::new())?)?;
            let waiting = which.of(&config)?;
            list(&waiting, *format, out)?;
            Ok(0)
        }
        HeldCommand::Release(arguments) => decide(arguments, HeldFreeze::release, "released", out),
        HeldCommand::Discard(arguments) => decide(arguments, HeldFreeze::discard, "discarded", out),
    }
}

fn list(waiting: &[HeldFreeze], format: Format, out: &mut dyn Write) -> Result<()> {
    for held in waiting {
        match format {
            Format::Json => writeln!(out, "{}", serde_json::to_string(held)?)?,
            Format::Text => writeln!(out, "{}", line(held))?,
        }
    }
    if format == Format::Text {
        let s = if waiting.len() == 1 { "" } else { "s" };
        writeln!(out, "{} freeze{s} held back", waiting.len())?;
    }
    Ok(())
}

fn line(held: &HeldFreeze) -> String {
    let HeldFreeze { decision, scope, until, rule, ts, reason, .. } = held;
    let (scope, until, at) = (scope.as_str(), words::until(*until), words::instant(*ts));
    let target = account_key(&held.target);
    format!("{target}: {scope} {until}, by {rule} at {at}: {reason}, decision {decision}")
}

/// Writes a change for each; 1 when there is nothing to decide about.
fn decide(
    DecideArguments { which, all, by }: &DecideArguments,
    act: fn(&HeldFreeze) -> Act,
    done: &str,
    out: &mut dyn Write,
) -> Result<u8> {
    if which.is_empty() && !*all {
        bail!("say which: --rule, --decision, a target such as --user, --last, or --all");
    }
    let config = Config::load(&by.config.sources(Vec::new())?)?;
    let waiting = which.of(&config)?;
    if by.dry_run {
        list(&waiting, by.format, out)?;
        if by.format == Format::Text {
            writeln!(out, "nothing is written")?;
        }
        return Ok(0);
    }
    if waiting.is_empty() {
        writeln!(std::io::stderr(), "no such freeze is held back")?;
        return Ok(1);
    }
    let made = waiting
        .iter()
        .map(|held| checked(new_change(act(held), by.actor.clone(), by.reason.clone())));
    let changes: Vec<Change> = made.collect::<Result<_>>()?;
    let settings = service::kafka_settings(&config);
    let mut written = Vec::new();
    let ended = runtime()?.block_on(publish_all(&settings, &changes, &mut |change, offset| {
        written.push((change.decision_id(), offset));
    }));
    for ((decision, offset), held) in written.iter().zip(&waiting) {
        if by.format == Format::Json {
            let told = json!({ "held": held.decision, "decision": decision,
                "topic": config.topics.control, "partition": 0, "offset": offset });
            writeln!(out, "{told}")?;
        }
    }
    ended?;
    if by.format == Format::Text {
        let s = if written.len() == 1 { "" } else { "s" };
        writeln!(
            out,
            "{} held freeze{s} {done}, written to {}",
            written.len(),
            config.topics.control
        )?;
    }
    Ok(0)
}
