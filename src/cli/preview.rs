//! `tidegate notify test`, `notify preview` and `notify templates`.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::json;

use super::Format;
use super::run::ConfigArguments;
use crate::config::Config;
use crate::control::read_rules;
use crate::engine::{Decision, Plan, Settings};
use crate::event::EventTime;
use crate::notify::{
    Done, Language, OutboxSettings, ReceiverSettings, SendError, Texts, Transport, sample,
};

/// For one attempt, as in `run` (N4).
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct TestArguments {
    /// Name of a receiver of the configuration.
    receiver: String,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, clap::Args)]
pub(super) struct PreviewArguments {
    /// Name of a receiver; a mail and a short message without one.
    #[arg(long, value_name = "NAME")]
    receiver: Option<String>,
    /// As if this rule had fired its highest level.
    #[arg(long, value_name = "NAME", conflicts_with = "decision")]
    rule: Option<String>,
    /// Decisions as JSON, such as `backtest --decisions` writes; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    decision: Option<PathBuf>,
    /// Another language than that of the receiver.
    #[arg(long, value_enum)]
    language: Option<Tongue>,
    /// Only this part, such as `html`, and nothing around it.
    #[arg(long, value_name = "NAME")]
    part: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, clap::Args)]
pub(super) struct TemplatesArguments {
    /// A folder; it is made if it is not there, and no file in it is overwritten.
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tongue {
    En,
    Zh,
}

/// 1 when it did not arrive.
pub(super) fn test(arguments: &TestArguments, out: &mut dyn Write) -> Result<u8> {
    let config = Config::read(&arguments.config.sources(Vec::new())?)?;
    let name = arguments.receiver.as_str();
    let receiver = named(&config, name)?;
    let way = receiver.via().map_or("", |via| via.as_str());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = Instant::now();
    let sent = runtime.block_on(async {
        let transport =
            Transport::new(name, receiver, &config.notify, config.privacy.reveal, PATIENCE)?;
        let now = Timestamp::now().as_millisecond();
        let language = receiver.language.unwrap_or(config.notify.language);
        let notice = sample::test(name, language, &format!("test-{now}"), now);
        let mut done = Done::default();
        let sent = tokio::time::timeout(PATIENCE, transport.send(&notice, &mut done)).await;
        anyhow::Ok(sent.unwrap_or_else(|_| Err(SendError::passing("no answer in time"))))
    })?;
    let seconds = began.elapsed().as_secs_f64();
    if arguments.format == Format::Json {
        let error = sent.as_ref().err();
        let told = json!({
            "receiver": name, "way": way, "delivered": error.is_none(), "seconds": seconds,
            "error": error.map(|error| &error.message), "answer": error.map(|error| &error.answer),
            "hint": error.and_then(hint),
        });
        writeln!(out, "{told}")?;
        return Ok(u8::from(error.is_some()));
    }
    let Err(error) = sent else {
        writeln!(out, "receiver `{name}` ({way}) took the sample, after {seconds:.1} s")?;
        return Ok(0);
    };
    let mut told = io::stderr();
    writeln!(told, "error: receiver `{name}` ({way}) was not told: {error}")?;
    if !error.answer.is_empty() {
        writeln!(told, "  answer: {}", error.answer.replace('\n', "\n          "))?;
    }
    if let Some(hint) = hint(&error) {
        writeln!(told, "  hint: {hint}")?;
    }
    Ok(1)
}

fn named<'c>(config: &'c Config, name: &str) -> Result<&'c ReceiverSettings> {
    let receivers = &config.notify.receivers;
    if let Some(receiver) = receivers.get(name) {
        return Ok(receiver);
    }
    let names = receivers.keys().map(String::as_str);
    let near = names.clone().min_by_key(|known| strsim::damerau_levenshtein(known, name));
    match near {
        None => bail!("there is no receiver `{name}`: the configuration has none at all"),
        Some(near) if strsim::damerau_levenshtein(near, name) <= 2 => {
            bail!("there is no receiver `{name}` (did you mean `{near}`?)")
        }
        Some(_) => {
            let all = names.collect::<Vec<_>>().join("`, `");
            bail!("there is no receiver `{name}`: the configuration has `{all}`")
        }
    }
}

/// What to look at, by what went wrong.
fn hint(error: &SendError) -> Option<&'static str> {
    let text = error.message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    Some(if says(&["dns error", "lookup address", "name or service"]) {
        "the name of the host cannot be resolved: is the address right, and does this machine reach a name server?"
    } else if says(&["certificate", "unknownissuer", "notvalidforname"]) {
        "TLS: the certificate is not trusted or is another host's; for mail, `ca` adds a root to those of the system"
    } else if says(&["connection refused"]) {
        "nothing listens there: are host and port right?"
    } else if says(&["in time", "timed out", "timeout"]) {
        "no answer within 10 s: does a firewall drop the packets, or does `tls` not fit the port?"
    } else if says(&["535", "401", "403", "accesskey", "signaturedoesnotmatch", "310000", "19021"])
    {
        "the receiver does not accept who we are: are account, token and secret right?"
    } else if says(&["404"]) {
        "the host is there, the path is not: is the address whole?"
    } else {
        return None;
    })
}

pub(super) fn preview(arguments: &PreviewArguments, out: &mut dyn Write) -> Result<u8> {
    let config = Config::read(&arguments.config.sources(Vec::new())?)?;
    let decisions = match (&arguments.rule, &arguments.decision) {
        (Some(rule), _) => vec![of_rule(&config.rules, rule)?],
        (None, Some(file)) => read_decisions(file)?,
        (None, None) => vec![sample::cap()],
    };
    let name = arguments.receiver.as_deref().unwrap_or("preview");
    let mut receiver = match &arguments.receiver {
        Some(name) => named(&config, name)?.clone(),
        // Never written to: a mail and a short message are what it would be sent.
        None => ReceiverSettings {
            outbox: Some(OutboxSettings { folder: PathBuf::new() }),
            ..ReceiverSettings::default()
        },
    };
    if let Some(language) = arguments.language {
        receiver.language = Some(match language {
            Tongue::En => Language::En,
            Tongue::Zh => Language::Zh,
        });
    }
    let reveal = config.privacy.reveal;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // A mail's way out belongs to a runtime, to its end.
    let _within = runtime.enter();
    let transport = Transport::new(name, &receiver, &config.notify, reveal, PATIENCE)?;
    let mut parts = transport.preview(&sample::notice(name, decisions))?;
    if let Some(wanted) = &arguments.part {
        let names: Vec<String> = parts.iter().map(|(name, _)| name.clone()).collect();
        parts.retain(|(name, _)| name == wanted);
        if parts.is_empty() {
            bail!("there is no part `{wanted}`: one of `{}`", names.join("`, `"));
        }
    }
    if arguments.format == Format::Json {
        let parts: Vec<_> =
            parts.iter().map(|(name, text)| json!({ "part": name, "text": text })).collect();
        writeln!(out, "{}", json!({ "receiver": arguments.receiver, "parts": parts }))?;
        return Ok(0);
    }
    for (name, text) in &parts {
        if arguments.part.is_none() {
            writeln!(out, "== {name}")?;
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(0)
}

fn of_rule(path: &Path, name: &str) -> Result<Decision> {
    let (set, lists) = read_rules(path)?;
    let names: Vec<String> = set.rules.iter().map(|rule| rule.name.clone()).collect();
    let plan = Plan::new(Arc::new(set), lists.into_iter().collect(), Settings::default());
    let at = EventTime(Timestamp::now().as_millisecond());
    Decision::sample(&plan, name, at).with_context(|| {
        let near = names.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
        let near = near.map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
        format!("there is no rule `{name}` in {}{near}", path.display())
    })
}

fn read_decisions(file: &Path) -> Result<Vec<Decision>> {
    let mut text = String::new();
    if file == Path::new("-") {
        io::stdin().read_to_string(&mut text)?;
    } else {
        text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    let decisions = serde_json::Deserializer::from_str(&text).into_iter::<Decision>();
    let decisions: Result<Vec<Decision>, _> = decisions.collect();
    let decisions =
        decisions.with_context(|| format!("{} holds what is no decision", file.display()))?;
    if decisions.is_empty() {
        bail!("{} holds no decision", file.display());
    }
    Ok(decisions)
}

pub(super) fn templates(arguments: &TemplatesArguments, out: &mut dyn Write) -> Result<u8> {
    let folder = &arguments.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, text) in Texts::built_in() {
        let path = folder.join(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
        file.write_all(text.as_bytes())?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(0)
}
