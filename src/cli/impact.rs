//! `tidegate rules impact`: whom changed rules would hit at once, by the counters of a running
//! instance.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::Format;
use crate::cli::paint::Paint;
use crate::cli::rules::write_faults;
use crate::cli::run::ConfigArguments;
use crate::cli::why::{Said, ask};
use crate::cli::words::{key, plain};
use crate::control::{LoadError, read_published};
use crate::engine::impact::{LevelImpact, RuleChange, RuleImpact};
use crate::http::ImpactRequest;

/// A look at all counters takes seconds.
const PATIENCE: Duration = Duration::from_mins(2);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Rule file or folder.
    path: PathBuf,
    /// The running instance; `http.advertise` or `http.listen` of the configuration unless given.
    #[arg(long)]
    url: Option<String>,
    /// Fail when a level would fire for more targets than this at their next event.
    #[arg(long, value_name = "N")]
    max_new: Option<u64>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArguments,
}

/// Writes what would happen; 1 when the rules are faulty or `--max-new` is exceeded.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<u8> {
    let rules = match read_published(&arguments.path) {
        Ok(read) => read.published,
        Err(LoadError::Faults(faults)) => {
            write_faults(&faults, arguments.format, Paint::default(), out)?;
            return Ok(1);
        }
        Err(error) => return Err(error.into()),
    };
    let request = ImpactRequest { rules, local: false };
    let said = ask(
        &arguments.config,
        arguments.url.as_deref(),
        "/api/v1/impact",
        &json!(request),
        PATIENCE,
    )?;
    let answer = match said {
        Said::Answer(answer) => answer,
        Said::NotFound(reason) => anyhow::bail!("the instance knows no such question: {reason}"),
    };
    let impacts: Vec<RuleImpact> = serde_json::from_value(answer["rules"].clone())?;
    match arguments.format {
        Format::Json => writeln!(out, "{answer}")?,
        Format::Text => text(&answer, &impacts, out)?,
    }
    let levels =
        impacts.iter().flat_map(|impact| impact.levels.iter().map(move |level| (impact, level)));
    let most = arguments.max_new.unwrap_or(u64::MAX);
    let mut exceeded = false;
    for (impact, level) in levels.filter(|(_, level)| level.fires > most) {
        exceeded = true;
        let (rule, level, fires) = (&impact.rule, level.level, level.fires);
        writeln!(
            io::stderr(),
            "{rule} level {level} would fire for {fires} targets, more than {most}"
        )?;
    }
    Ok(u8::from(exceeded))
}

fn text(answer: &Value, impacts: &[RuleImpact], out: &mut dyn Write) -> Result<()> {
    let (from, to) = (plain(&answer["from"]), plain(&answer["to"]));
    writeln!(out, "rule set {from} in force, {to} asked about")?;
    if impacts.is_empty() {
        writeln!(out, "no rule is different")?;
    } else if answer["keeps_counters"] == json!(true) {
        writeln!(out, "all counters stay")?;
    } else {
        writeln!(out, "some rules count otherwise: states are rebuilt from the log")?;
    }
    for impact in impacts {
        let change = match impact.change {
            RuleChange::Edited => "edited, its counters stay",
            RuleChange::CountsOtherwise => {
                "counts otherwise: starts from history; `rules diff` tells whom it hits"
            }
            RuleChange::New => "new: starts from history; `rules diff` tells whom it hits",
            RuleChange::Removed => "removed; its holds stay until they end or are lifted",
        };
        writeln!(out, "\n{}: {change}", impact.rule)?;
        impact.levels.iter().try_for_each(|level| one(level, out))?;
    }
    for missing in answer["missing"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        writeln!(io::stderr(), "not known: {missing}")?;
    }
    Ok(())
}

fn one(level: &LevelImpact, out: &mut dyn Write) -> Result<()> {
    let was = match &level.was {
        Some(was) if *was == level.bound => String::new(),
        Some(was) => format!(" (was {was})"),
        None => " (a new level)".to_owned(),
    };
    let LevelImpact { bound, beyond, fired, fires, .. } = level;
    let s = |count: u64| if count == 1 { "" } else { "s" };
    writeln!(
        out,
        "  level {}, {bound}{was}{}: {beyond} target{} beyond it",
        level.level,
        ahead(level),
        s(*beyond)
    )?;
    if *fired > 0 {
        writeln!(out, "    {fired} fired already: nothing happens to them")?;
    }
    if *fires > 0 {
        let then = level.then.join(", ");
        writeln!(
            out,
            "    {fires} fire{} at the next event: {then}",
            if *fires == 1 { "s" } else { "" }
        )?;
        for beyond in &level.top {
            writeln!(out, "      {}: {}", key(&beyond.key), beyond.value)?;
        }
        let more = fires.saturating_sub(level.top.len() as u64);
        if more > 0 {
            writeln!(out, "      and {more} more")?;
        }
    }
    Ok(())
}

/// How a level that looks ahead was judged.
fn ahead(level: &LevelImpact) -> String {
    match &level.forecast {
        None => String::new(),
        Some(ahead) if level.is_by_bound_alone => {
            format!(" or within {ahead} (no rate is known yet: judged by the bound alone)")
        }
        Some(ahead) => format!(" or within {ahead} at the present rate"),
    }
}
