//! `tidegate notify route` and `notify acknowledge` (N2, N3).

use std::io::Write;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::Map;

use crate::cli::Format;
use crate::cli::intervene::{ByArguments, make, now_ms};
use crate::cli::preview::{self, PreviewArguments, TemplatesArguments, TestArguments};
use crate::cli::run::ConfigArguments;
use crate::cli::silence::MatchArguments;
use crate::config::Config;
use crate::engine::{Act, Subject};
use crate::event::EventTime;
use crate::notify::{Groups, Told};
use crate::rule::{Severity, write_duration};

#[derive(Debug, Subcommand)]
pub(super) enum NotifyCommand {
    /// Say which routes an alert takes and who is told; warn of routes that are never taken.
    Route(Box<RouteArguments>),
    /// Send a receiver a sample, once, and say what became of it.
    Test(TestArguments),
    /// Show what a receiver would be sent; sends nothing.
    Preview(PreviewArguments),
    /// Write the built-in templates to a folder, to be changed there.
    Templates(TemplatesArguments),
    /// Say that you look after what a group of notices has told.
    Acknowledge {
        /// The group, as notices and `notify route` name it.
        group: String,
        #[command(flatten)]
        by: ByArguments,
    },
}

#[derive(Debug, Args)]
pub(super) struct RouteArguments {
    #[command(flatten)]
    alert: MatchArguments,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArguments,
}

pub(super) fn run(command: &NotifyCommand, out: &mut dyn Write) -> Result<u8> {
    match command {
        NotifyCommand::Route(arguments) => route(arguments, out),
        NotifyCommand::Test(arguments) => preview::test(arguments, out),
        NotifyCommand::Preview(arguments) => preview::preview(arguments, out),
        NotifyCommand::Templates(arguments) => preview::templates(arguments, out),
        NotifyCommand::Acknowledge { group, by } => {
            let through = EventTime(now_ms());
            make(Act::Acknowledge { group: group.clone(), through }, by, out)
        }
    }
}

fn route(arguments: &RouteArguments, out: &mut dyn Write) -> Result<u8> {
    let matcher = arguments.alert.read()?;
    let config = Config::read(&arguments.config.sources(Vec::new())?)?;
    let several = matcher.rule.len() > 1
        || matcher.severity.len() > 1
        || matcher.labels.values().any(|values| values.len() > 1);
    if several {
        bail!("one alert at a time: a rule, a severity, each label once");
    }
    let one = |values: &Vec<String>| values.first().cloned().unwrap_or_default();
    let key: Map<_, _> =
        matcher.key.iter().map(|(field, values)| (field.clone(), one(values).into())).collect();
    let labels = matcher.labels.iter().map(|(name, values)| (name.clone(), one(values))).collect();
    let rule = one(&matcher.rule);
    let severity = matcher.severity.first().copied().unwrap_or(Severity::Warning);
    let subject = Subject { severity, rule: &rule, key: &key, labels: &labels };
    for told in Groups::new(&config.notify).of_subject(&subject) {
        match arguments.format {
            Format::Json => writeln!(out, "{}", serde_json::to_string(&told)?)?,
            Format::Text => write(&told, out)?,
        }
    }
    for (route, by) in config.notify.unreachable_routes() {
        writeln!(
            std::io::stderr(),
            "warning: {route} is never taken: {by} takes all that it matches"
        )?;
    }
    Ok(0)
}

fn write(told: &Told, out: &mut dyn Write) -> Result<()> {
    let Told { route, group, to, group_by, .. } = told;
    let span = |ms: i64| write_duration(u128::try_from(ms).unwrap_or_default());
    let to = if to.is_empty() { "nobody".to_owned() } else { to.join(", ") };
    writeln!(out, "{route}: {to}")?;
    writeln!(out, "  group:  {group}, by {}", group_by.join(", "))?;
    let (wait, interval) = (span(told.group_wait), span(told.group_interval));
    writeln!(out, "  waits:  {wait} for company, {interval} between notices")?;
    for (after, to) in &told.steps {
        writeln!(
            out,
            "  then:   {} after {} without acknowledgement",
            to.join(", "),
            span(*after)
        )?;
    }
    Ok(())
}
