//! `tidegate freeze`, `unfreeze`, `list add`, `list remove` and `rules publish`: changes by people
//! (D3).

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::cli::paint::Paint;
use crate::cli::rules::{CheckArguments, warnings, write_faults, write_warnings};
use crate::cli::run::ConfigArguments;
use crate::cli::{Format, words};
use crate::config::Config;
use crate::control::{Accounts, LoadError, Origins, RulesOnDisk, read_published, read_with_texts};
use crate::engine::{Act, Change, Held, Hold, account_key};
use crate::event::EventTime;
use crate::rule::{Scope, millis, parse_duration, parse_instant};
use crate::service;
use crate::stream::kafka::{new_change, publish, survey};
use crate::stream::{Clock, SystemClock};

/// Clocks of whoever writes records are not further apart.
const CLOCKS_APART_MS: i64 = 3_600_000;

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
    /// Only holds that rules of this version of the rule set have placed.
    #[arg(long, value_name = "VERSION")]
    ruleset: Option<String>,
    /// Only holds of this time or later: RFC 3339, milliseconds, or a date (its first instant in
    /// UTC). Holds have the time of the event that tipped their rule.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
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
pub(super) struct TargetArguments {
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
    pub(super) actor: String,
    /// Why; recorded, and sent with the commands.
    #[arg(long)]
    pub(super) reason: String,
    /// Print the change, or the holds that would be lifted, and write nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
    #[command(flatten)]
    pub(super) config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct PublishArguments {
    /// Rule file or folder.
    path: PathBuf,
    /// Who publishes it; recorded. The user of this process unless given.
    #[arg(long, env = "TIDEGATE_ACTOR")]
    actor: Option<String>,
    /// Why; recorded.
    #[arg(long, default_value = "published by hand")]
    reason: String,
    /// Check and say what would be published, and write nothing.
    #[arg(long)]
    dry_run: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArguments,
}

/// Publishes a rule set, whole or not at all: faults are written to `out`, with status 1.
pub(super) fn publish_rules(arguments: &PublishArguments, out: &mut dyn Write) -> Result<u8> {
    let RulesOnDisk { rules, published, .. } = match read_published(&arguments.path) {
        Ok(read) => read,
        Err(LoadError::Faults(faults)) => {
            write_faults(&faults, arguments.format, Paint::default(), out)?;
            return Ok(1);
        }
        Err(error) => return Err(error.into()),
    };
    let paths = vec![arguments.path.clone()];
    if let Ok(read) = read_with_texts(&paths) {
        let warnings = warnings(&read, &CheckArguments { paths, ..CheckArguments::default() })?;
        write_warnings(&warnings, Paint::default(), &mut std::io::stderr())?;
    }
    let users = ["USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let actor = arguments.actor.clone().or_else(|| users.into_iter().find(|name| !name.is_empty()));
    let actor = actor.context("say who publishes: --actor")?;
    let change = checked(new_change(Act::Rules(published), actor, arguments.reason.clone()))?;
    if arguments.dry_run {
        let (lists, version) = (rules.lists.len(), &rules.version);
        let rules = rules.rules.len();
        if arguments.format == Format::Json {
            let found = json!({ "ruleset": version, "rules": rules, "lists": lists,
                "bytes": change.encode().len() });
            writeln!(out, "{found}")?;
        } else {
            writeln!(
                out,
                "ok: rules {rules}, lists {lists}, rule set {version}; nothing is written"
            )?;
        }
        return Ok(0);
    }
    let config = Config::load(&arguments.config.sources(Vec::new())?)?;
    write_change(&change, &config, arguments.format, out)
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
    let UnfreezeArguments { hold, rule, ruleset, .. } = arguments;
    if target.is_none() && hold.is_none() && rule.is_none() && ruleset.is_none() {
        bail!("say what to unfreeze: a target such as --user, --hold, --rule or --ruleset");
    }
    let since = arguments.since.as_ref().map(|text| {
        parse_instant(text, &TimeZone::UTC)
            .with_context(|| format!("--since `{text}`: write RFC 3339, a date or milliseconds"))
    });
    let act = Act::Unfreeze {
        target,
        hold: hold.clone(),
        rule: rule.clone(),
        ruleset: ruleset.clone(),
        since: since.transpose()?,
    };
    if arguments.by.dry_run {
        return rehearse(&act, &arguments.by, out);
    }
    make(act, &arguments.by, out)
}

/// Lists the holds that an unfreeze would lift, and writes nothing.
fn rehearse(act: &Act, by: &ByArguments, out: &mut dyn Write) -> Result<u8> {
    let config = Config::load(&by.config.sources(Vec::new())?)?;
    let settings = service::kafka_settings(&config);
    let mut accounts = Accounts::default();
    let topic = &config.topics.accounts;
    survey(&settings, topic, None, &mut |key, value| accounts.take(key, value))?;
    let mut holds = accounts.lifted_by(act);
    let mut unknown = 0;
    if let Act::Unfreeze { ruleset: Some(version), .. } = act {
        let mut origins = Origins::of(&holds);
        let since_ms = holds.iter().map(|held| held.hold.ts.0).min().map(|first_ms| {
            // A decision is written after its event came, and that may lie ahead of the clock.
            let ahead_ms = millis(config.input.max_ahead);
            first_ms.saturating_sub(ahead_ms).saturating_sub(CLOCKS_APART_MS).max(0)
        });
        if since_ms.is_some() {
            let topic = &config.topics.decisions;
            survey(&settings, topic, since_ms, &mut |_, value| origins.take(value))?;
        }
        origins.note(&mut holds);
        unknown = holds.iter().filter(|held| held.hold.ruleset.is_none()).count();
        holds.retain(|held| held.hold.ruleset.as_ref() == Some(version));
    }
    for held in &holds {
        if by.format == Format::Json {
            writeln!(out, "{}", serde_json::to_string(held)?)?;
        } else {
            writeln!(out, "{}", line(held))?;
        }
    }
    if unknown > 0 {
        let topic = &config.topics.decisions;
        writeln!(
            std::io::stderr(),
            "of {unknown} more holds topic {topic} has no decision any more: whether this rule \
             set placed them, only the instances know"
        )?;
    }
    if by.format == Format::Text {
        let s = if holds.len() == 1 { "" } else { "s" };
        writeln!(out, "{} hold{s} would be lifted; nothing is written", holds.len())?;
    }
    Ok(0)
}

/// A hold for people.
fn line(held: &Held) -> String {
    let Hold { hold, scope, until, rule, ts, ruleset } = &held.hold;
    let (scope, until, at) = (scope.as_str(), words::until(*until), words::instant(*ts));
    let target = account_key(&held.target);
    let of = ruleset.as_ref().map_or(String::new(), |version| format!(" of rule set {version}"));
    format!("{target}: {scope} {until}, by {rule}{of} at {at}, hold {hold}")
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
pub(super) fn make(act: Act, by: &ByArguments, out: &mut dyn Write) -> Result<u8> {
    let change = checked(new_change(act, by.actor.clone(), by.reason.clone()))?;
    let config = Config::load(&by.config.sources(Vec::new())?)?;
    if by.dry_run {
        out.write_all(&change.encode())?;
        writeln!(out)?;
        return Ok(0);
    }
    write_change(&change, &config, by.format, out)
}

pub(super) fn checked(change: Change) -> Result<Change> {
    if let Err(fault) = change.check() {
        bail!(fault);
    }
    Ok(change)
}

/// For what is written to Kafka.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.context("cannot start the runtime")
}

fn write_change(
    change: &Change,
    config: &Config,
    format: Format,
    out: &mut dyn Write,
) -> Result<u8> {
    let settings = service::kafka_settings(config);
    let offset = runtime()?.block_on(publish(&settings, change))?;
    let (topic, decision) = (&config.topics.control, change.decision_id());
    if format == Format::Json {
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
    pub(super) fn is_empty(&self) -> bool {
        let TargetArguments { user, device, ip, source, global, fields } = self;
        let plain = [user, device, ip, source];
        plain.into_iter().all(Option::is_none) && !global && fields.is_empty()
    }

    /// `None` when no target is named.
    pub(super) fn read(&self) -> Result<Option<Map<String, Value>>> {
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

pub(super) fn now_ms() -> i64 {
    SystemClock.wall_us() / 1000
}
