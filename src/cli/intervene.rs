//! `tidegate freeze`, `unfreeze`, `list add` and `list remove`: changes by people (D3).

use std::io::Write;

use anyhow::{Context, Result, bail};
use clap::Args;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::cli::Format;
use crate::cli::run::ConfigArguments;
use crate::config::Config;
use crate::engine::{Act, CHANGE_VERSION, Change};
use crate::event::EventTime;
use crate::rule::{Scope, parse_duration, parse_instant};
use crate::service;
use crate::stream::kafka::publish;
use crate::stream::{Clock, SystemClock};

#[derive(Debug, Args)]
pub(super) struct FreezeArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// What is frozen.
    #[arg(long, value_enum, default_value_t)]
    scope: ScopeArgument,
    #[command(flatten)]
    end: EndArguments,
    #[command(flatten)]
    by: ByArguments,
}

#[derive(Debug, Args)]
pub(super) struct UnfreezeArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Only this hold: the decision id of its freeze.
    #[arg(long, value_name = "ID")]
    hold: Option<String>,
    /// Only holds of this rule; those by hand are of `tidegate.freeze`.
    #[arg(long)]
    rule: Option<String>,
    #[command(flatten)]
    by: ByArguments,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum ListCommand {
    /// Add an entry beside those of the list's file.
    Add {
        /// Name of the list in the rules.
        list: String,
        value: String,
        #[command(flatten)]
        end: EndArguments,
        #[command(flatten)]
        by: ByArguments,
    },
    /// Take a value from a list, whether its file has it or not.
    Remove {
        /// Name of the list in the rules.
        list: String,
        value: String,
        #[command(flatten)]
        by: ByArguments,
    },
}

#[derive(Debug, Args)]
struct TargetArguments {
    #[arg(long)]
    user: Option<String>,
    #[arg(long)]
    device: Option<String>,
    #[arg(long)]
    ip: Option<String>,
    #[arg(long)]
    source: Option<String>,
    /// Everything.
    #[arg(long)]
    global: bool,
    /// A key of an attribute or of several fields, each once and in the order of the rule's `per`.
    #[arg(long = "target", value_name = "FIELD=VALUE")]
    fields: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum ScopeArgument {
    #[default]
    Account,
    Issue,
    Redeem,
    Activity,
}

#[derive(Debug, Args)]
pub(super) struct EndArguments {
    /// When it ends: RFC 3339, milliseconds, or a date (its first instant in UTC); never, unless given.
    #[arg(long, value_name = "TIME", conflicts_with = "lasts")]
    until: Option<String>,
    /// How long it lasts from now on, such as `12h`.
    #[arg(long = "for", value_name = "DURATION", id = "lasts")]
    lasts: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ByArguments {
    /// Who makes the change; recorded.
    #[arg(long, env = "TIDEGATE_ACTOR")]
    actor: String,
    /// Why; recorded, and sent with the commands.
    #[arg(long)]
    reason: String,
    /// Print the change and write nothing.
    #[arg(long)]
    dry_run: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArguments,
}

/// Puts a hold on a target.
pub(super) fn freeze(arguments: &FreezeArguments, out: &mut dyn Write) -> Result<u8> {
    let Some(target) = arguments.target.read()? else {
        bail!("say whom to freeze: --user, --device, --ip, --source, --target or --global");
    };
    let scope = match arguments.scope {
        ScopeArgument::Account => Scope::Account,
        ScopeArgument::Issue => Scope::Issue,
        ScopeArgument::Redeem => Scope::Redeem,
        ScopeArgument::Activity => Scope::Activity,
    };
    let until = arguments.end.read()?;
    make(Act::Freeze { target, scope, until }, &arguments.by, out)
}

/// Lifts holds.
pub(super) fn unfreeze(arguments: &UnfreezeArguments, out: &mut dyn Write) -> Result<u8> {
    let target = arguments.target.read()?;
    let (hold, rule) = (arguments.hold.clone(), arguments.rule.clone());
    if target.is_none() && hold.is_none() && rule.is_none() {
        bail!("say what to unfreeze: a target such as --user, --hold or --rule");
    }
    make(Act::Unfreeze { target, hold, rule }, &arguments.by, out)
}

/// Edits a list.
pub(super) fn list(command: ListCommand, out: &mut dyn Write) -> Result<u8> {
    match command {
        ListCommand::Add { list, value, end, by } => {
            let until = end.read()?;
            make(Act::ListAdd { list, value, until }, &by, out)
        }
        ListCommand::Remove { list, value, by } => make(Act::ListRemove { list, value }, &by, out),
    }
}

/// Writes a change to the control topic, and says where it is.
fn make(act: Act, by: &ByArguments, out: &mut dyn Write) -> Result<u8> {
    let change = Change {
        v: CHANGE_VERSION,
        id: format!("{:032x}", rand::random::<u128>()),
        ts: EventTime(now_ms()),
        actor: by.actor.clone(),
        reason: by.reason.clone(),
        act,
    };
    if let Err(fault) = change.check() {
        bail!(fault);
    }
    let config = Config::load(&by.config.sources(Vec::new())?)?;
    if by.dry_run {
        out.write_all(&change.encode())?;
        writeln!(out)?;
        return Ok(0);
    }
    let settings = service::kafka_settings(&config);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let offset = runtime.block_on(publish(&settings, &change))?;
    let (topic, decision) = (&config.topics.control, change.decision_id());
    if by.format == Format::Json {
        let written = json!({ "change": change.id, "decision": decision, "topic": topic,
            "partition": 0, "offset": offset });
        writeln!(out, "{written}")?;
    } else {
        writeln!(
            out,
            "written to {topic} at offset {offset}; decision {decision} will tell of it"
        )?;
    }
    Ok(0)
}

impl TargetArguments {
    /// `None` when no target is named.
    fn read(&self) -> Result<Option<Map<String, Value>>> {
        let mut target = Map::new();
        let plain = [
            ("user", &self.user),
            ("device", &self.device),
            ("ip", &self.ip),
            ("source", &self.source),
        ];
        let plain = plain.into_iter().filter_map(|(field, value)| Some((field, value.as_ref()?)));
        let plain: Vec<(&str, &String)> = plain.collect();
        let named = plain.len() + usize::from(self.global) + usize::from(!self.fields.is_empty());
        if named > 1 {
            bail!("one target at a time; a key of several fields is written with --target");
        }
        if self.global {
            target.insert("global".to_owned(), true.into());
        }
        for (field, value) in plain {
            target.insert(field.to_owned(), value.as_str().into());
        }
        for pair in &self.fields {
            let parts = pair.split_once('=');
            let (field, value) =
                parts.with_context(|| format!("--target `{pair}`: write FIELD=VALUE"))?;
            if target.insert(field.to_owned(), value.into()).is_some() {
                bail!("--target names `{field}` twice");
            }
        }
        Ok((!target.is_empty()).then_some(target))
    }
}

impl EndArguments {
    fn read(&self) -> Result<Option<EventTime>> {
        let now_ms = now_ms();
        let until = match (&self.until, &self.lasts) {
            (Some(text), _) => parse_instant(text, &TimeZone::UTC).with_context(|| {
                format!("--until `{text}`: write RFC 3339, a date or milliseconds")
            })?,
            (None, Some(text)) => {
                let ms = parse_duration(text)
                    .with_context(|| format!("--for `{text}`: write such as 30m, 12h or 7d"))?;
                EventTime(now_ms.saturating_add(ms))
            }
            (None, None) => return Ok(None),
        };
        if until.0 <= now_ms {
            bail!("the end lies in the past");
        }
        Ok(Some(until))
    }
}

fn now_ms() -> i64 {
    SystemClock.now_us() / 1000
}
