//! `tidegate notify route` and `notify acknowledge` (N2, N3).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::Map;

use crate::cli::Format;
use crate::cli::intervene::{ByArguments, make, now_ms};
use crate::cli::preview::{self, PreviewArguments, TemplatesArguments, TestArguments};
use crate::cli::run::ConfigArguments;
use crate::cli::silence::MatchArguments;
use crate::config::Config;
use crate::control::read_rules;
use crate::engine::{Act, Subject};
use crate::event::EventTime;
use crate::notify::{Groups, Told};
use crate::rule::{Check, Severity, write_duration};

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
    let rule = one(&matcher.rule);
    let known = of_rules(&config.rules, &rule)?;
    let mut labels: BTreeMap<_, _> =
        matcher.labels.iter().map(|(name, values)| (name.clone(), one(values))).collect();
    let mut severities = matcher.severity.clone();
    if let Some((levels, own)) = known {
        if severities.is_empty() {
            severities = levels;
        }
        for (name, value) in own {
            labels.entry(name).or_insert(value);
        }
    }
    if severities.is_empty() {
        severities.push(Severity::Warning);
    }
    let groups = Groups::new(&config.notify);
    for severity in severities {
        let subject = Subject { severity, rule: &rule, key: &key, labels: &labels };
        for told in groups.of_subject(&subject) {
            match arguments.format {
                Format::Json => {
                    let mut told = serde_json::to_value(&told)?;
                    told["severity"] = severity.as_str().into();
                    writeln!(out, "{told}")?;
                }
                Format::Text => write(&told, severity, out)?,
            }
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

/// The severities of a rule's levels, lowest first, and its labels.
type OfRule = (Vec<Severity>, BTreeMap<String, String>);

/// None where there is no such rule, or no rules at all.
fn of_rules(path: &Path, name: &str) -> Result<Option<OfRule>> {
    if name.is_empty() || !path.exists() {
        return Ok(None);
    }
    let (set, _) = read_rules(path)?;
    let Some(rule) = set.rules.iter().find(|rule| rule.name == name) else {
        writeln!(std::io::stderr(), "note: there is no rule `{name}` in {}", path.display())?;
        return Ok(None);
    };
    let severities: BTreeSet<Severity> = severities(&rule.check).into_iter().collect();
    Ok(Some((severities.into_iter().collect(), rule.labels.clone())))
}

fn severities(check: &Check) -> Vec<Severity> {
    match check {
        Check::Match { severity, .. } => vec![*severity],
        Check::ZScore(zscore) => vec![zscore.severity],
        Check::Threshold { levels, .. } | Check::Ratio { levels, .. } => {
            levels.levels.iter().map(|level| level.severity).collect()
        }
    }
}

fn write(told: &Told, severity: Severity, out: &mut dyn Write) -> Result<()> {
    let Told { route, group, to, group_by, .. } = told;
    let span = |ms: i64| write_duration(u128::try_from(ms).unwrap_or_default());
    let to = if to.is_empty() { "nobody".to_owned() } else { to.join(", ") };
    writeln!(out, "{} by {route}: {to}", severity.as_str())?;
    writeln!(out, "  group:  {group}, by {}", group_by.join(", "))?;
    let (wait, interval) = (span(told.group_wait), span(told.group_interval));
    writeln!(out, "  waits:  {wait} for company, {interval} between notices")?;
    if told.reminders > 0 {
        let repeat = span(told.repeat_interval);
        writeln!(out, "  again:  every {repeat} while it fires, {} times at most", told.reminders)?;
    }
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
