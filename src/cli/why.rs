//! `tidegate why` (C5): of a running instance, or of a file of events.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::backtest::{self, Backtest};
use crate::cli::Format;
use crate::cli::history::{Rules, file_progress};
use crate::cli::run::ConfigArguments;
use crate::cli::words::{instant, key, plain, until};
use crate::config::Config;
use crate::engine::Settings;
use crate::engine::explain::{Answer, ConditionAnswer, Question, RuleAnswer};
use crate::http::WhyRequest;

/// An instance answers within so long; looking for an event takes most of it.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("asked").required(true).multiple(true)
    .args(["user", "rule", "event", "keys"]))]
pub(super) struct Arguments {
    #[arg(long)]
    user: Option<String>,
    /// One rule; all of them unless given.
    #[arg(long)]
    rule: Option<String>,
    /// Id of an event: whose conditions held, and what came of it.
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Another field of a rule's key, such as `device=d-1` or `source=lottery`.
    #[arg(long = "key", value_name = "FIELD=VALUE", id = "keys")]
    keys: Vec<String>,
    /// The running instance; `http.advertise` or `http.listen` of the configuration unless given.
    #[arg(long, conflicts_with = "input")]
    url: Option<String>,
    /// Ask a file of events instead: JSON lines, `.gz` and `.zst` too, `-` is standard input.
    #[arg(long, requires = "rules")]
    input: Option<PathBuf>,
    /// The rules to run over the file.
    #[arg(long, requires = "input")]
    rules: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArguments,
}

/// Writes the answer; 1 when there is no such rule or event.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<u8> {
    let question = question(arguments)?;
    let answer = match (&arguments.input, &arguments.rules) {
        (Some(input), Some(rules)) => of_file(arguments, input, rules, &question)?,
        _ => of_instance(arguments, question.clone())?,
    };
    let Some(answer) = answer else { return Ok(1) };
    match arguments.format {
        Format::Json => writeln!(out, "{answer}")?,
        Format::Text => text(&answer, out)?,
    }
    let rules = answer["rules"].as_array().map_or(0, Vec::len);
    if rules == 0
        && let Some(rule) = &question.rule
    {
        writeln!(
            io::stderr(),
            "nothing is known of rule `{rule}` and this key: {}",
            hint(arguments)
        )?;
        return Ok(1);
    }
    Ok(0)
}

fn hint(arguments: &Arguments) -> &'static str {
    if arguments.event.is_none() && arguments.keys.is_empty() {
        "is the name right? A rule whose `per` is not the user needs --key, such as --key device=d-1, or --event"
    } else {
        "is the name right, and does the event have the fields of the rule's `per`?"
    }
}

fn question(arguments: &Arguments) -> Result<Question> {
    let mut question = Question { rule: arguments.rule.clone(), ..Question::default() };
    question.fields.extend(arguments.user.clone().map(|user| ("user".to_owned(), user)));
    for key in &arguments.keys {
        let (field, value) =
            key.split_once('=').with_context(|| format!("--key `{key}`: write FIELD=VALUE"))?;
        if !matches!(field, "user" | "device" | "ip" | "source") && !field.starts_with("attrs.") {
            bail!("--key `{key}`: the field is user, device, ip, source or attrs.NAME");
        }
        question.fields.insert(field.to_owned(), value.to_owned());
    }
    Ok(question)
}

fn of_file(
    arguments: &Arguments,
    input: &std::path::Path,
    rules: &std::path::Path,
    question: &Question,
) -> Result<Option<Value>> {
    let Some(rules) = Rules::read(rules)? else { return Ok(None) };
    let config = arguments.config.fold()?;
    let settings = Settings { max_ahead_ms: None, max_keys: None, ..config.settings };
    let plan = rules.plan(settings);
    let reading = || format!("cannot read events from {}", input.display());
    let reader = io::BufReader::new(backtest::open(input).with_context(reading)?);
    let name = input.file_name().map_or_else(|| "-".into(), |name| name.to_string_lossy());
    let mut fold = Backtest::new(plan, config.decoder, config.max_bytes, &name);
    let bar = file_progress(input);
    let event = arguments.event.as_deref();
    let explained = fold.why(reader, question, event, &mut |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let Some(explained) = explained.with_context(reading)? else {
        writeln!(io::stderr(), "no event `{}` in {}", event.unwrap_or_default(), input.display())?;
        return Ok(None);
    };
    Ok(Some(serde_json::to_value(explained)?))
}

fn of_instance(arguments: &Arguments, question: Question) -> Result<Option<Value>> {
    let request = WhyRequest { question, event: arguments.event.clone(), ..WhyRequest::default() };
    let url = arguments.url.as_deref();
    match ask(&arguments.config, url, "/api/v1/why", &json!(request), PATIENCE)? {
        Said::Answer(answer) => Ok(Some(answer)),
        Said::NotFound(reason) => {
            writeln!(io::stderr(), "{reason}")?;
            Ok(None)
        }
    }
}

/// What an instance says.
pub(super) enum Said {
    Answer(Value),
    NotFound(String),
}

/// Asks a running instance.
pub(super) fn ask(
    config: &ConfigArguments,
    url: Option<&str>,
    path: &str,
    question: &Value,
    patience: Duration,
) -> Result<Said> {
    let config = Config::read(&config.sources(Vec::new())?)?;
    let base = url.map(str::to_owned).or_else(|| config.http.advertise.clone());
    let base = base.unwrap_or_else(|| format!("http://{}", config.http.listen));
    let base = base.trim_end_matches('/');
    let client = reqwest::Client::builder().timeout(patience).build()?;
    let mut post = client.post(format!("{base}{path}")).json(question);
    if let Some(token) = &config.http.token {
        post = post.bearer_auth(token.expose());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let said = runtime.block_on(async {
        let answer = post.send().await?;
        let status = answer.status();
        Ok::<_, reqwest::Error>((status, answer.text().await?))
    });
    let (status, text) =
        said.with_context(|| format!("no instance answers at {base}: name one with --url"))?;
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| json!({ "error": text }));
    if status.is_success() {
        return Ok(Said::Answer(answer));
    }
    let error = answer["error"].as_str().unwrap_or("no reason given");
    if status == reqwest::StatusCode::NOT_FOUND {
        return Ok(Said::NotFound(error.to_owned()));
    }
    bail!("{base} answers {status}: {error}");
}

/// The answer for people.
fn text(answer: &Value, out: &mut dyn Write) -> Result<()> {
    let known: Answer = serde_json::from_value(answer.clone())?;
    let watermark = known.watermark.map_or("nothing yet".to_owned(), instant);
    writeln!(out, "rule set {}, events up to {watermark}", known.ruleset)?;
    if let Some(event) = answer.get("event") {
        writeln!(out, "event    {}", event["record"].as_str().unwrap_or_default())?;
        let outcome = event["outcome"].as_str().map(|outcome| format!(", {outcome}"));
        let outcome = outcome.unwrap_or_default();
        let place = match event["partition"].as_i64() {
            Some(partition) => format!("partition {partition}, offset {}", event["offset"]),
            None => format!("line {}", event["offset"]),
        };
        writeln!(out, "         {place}{outcome}")?;
        let decisions = event.get("decisions").or_else(|| answer.get("decisions"));
        let decisions = decisions.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for decision in decisions {
            let summary = decision["summary"].as_str().unwrap_or_default();
            writeln!(
                out,
                "fired    {} level {}: {summary}",
                decision["rule"].as_str().unwrap_or_default(),
                decision["level"]
            )?;
        }
        if decisions.is_empty() {
            writeln!(out, "fired    nothing")?;
        }
    }
    for held in &known.holds {
        let (scope, rule) = (held.hold.scope.as_str(), &held.hold.rule);
        let until = until(held.hold.until);
        writeln!(
            out,
            "hold     {}: {scope} {until}, by {rule} ({})",
            key(&held.target),
            held.hold.hold
        )?;
    }
    if known.holds.is_empty() {
        writeln!(out, "hold     none")?;
    }
    for rule in &known.rules {
        one(rule, out)?;
    }
    for missing in answer["missing"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        writeln!(io::stderr(), "not known: {missing}")?;
    }
    Ok(())
}

fn one(rule: &RuleAnswer, out: &mut dyn Write) -> Result<()> {
    use std::fmt::Write as _;
    let mode = rule.mode.as_str();
    writeln!(out, "\n{} ({mode}) for {}", rule.rule, key(&rule.key))?;
    writeln!(out, "  {}", rule.verdict)?;
    for condition in &rule.conditions {
        conditions(condition, 2, out)?;
    }
    if let (Some(measure), Some(window)) = (&rule.measure, &rule.window) {
        let value = rule.value.as_ref().map_or("no verdict".to_owned(), ToString::to_string);
        let (from, to) = (instant(window.start), instant(window.end));
        writeln!(out, "  {measure} = {value} in {} ({from} to {to})", window.label)?;
    }
    if let Some(baseline) = &rule.baseline {
        let (windows, needed) = (baseline.windows, baseline.min_windows);
        match (baseline.mean, baseline.sd, baseline.zscore) {
            (Some(mean), Some(sd), Some(z)) => {
                writeln!(out, "  z-score {z:.2}: mean {mean:.2}, sd {sd:.2} of {windows} windows")?;
            }
            _ => writeln!(out, "  no baseline yet: {windows} of {needed} windows")?,
        }
    }
    for level in &rule.levels {
        let mut line = format!("  level {} {:?}", level.level, level.severity).to_lowercase();
        for (side, bound) in [(">", &level.above), ("<", &level.below)] {
            if let Some(bound) = bound {
                write!(line, " {side} {bound}")?;
            }
        }
        if let Some(forecast) = &level.forecast {
            write!(line, " in {forecast}")?;
        }
        line.push_str(match (level.breached, level.forecast_at) {
            (true, Some(_)) => ": in sight",
            (true, None) => ": breached",
            (false, _) => ": within",
        });
        line.push_str(if level.fired { ", has fired" } else { ", armed" });
        if let Some(until) = level.cooldown_until {
            write!(line, ", silent until {}", instant(until))?;
        }
        if rule.measure.is_some() || level.cooldown_until.is_some() {
            writeln!(out, "{line}")?;
        }
    }
    if let Some(forecast) = &rule.forecast {
        writeln!(out, "  forecast: {}", forecast.told)?;
    }
    for budget in &rule.budgets {
        let whose = if budget.shared { "shared budget" } else { "budget" };
        let end = if budget.exhausted { ", exhausted" } else { "" };
        writeln!(
            out,
            "  {whose}: {} of {} freezes per {}{end}",
            budget.used, budget.freezes, budget.per
        )?;
    }
    Ok(())
}

fn conditions(condition: &ConditionAnswer, depth: usize, out: &mut dyn Write) -> Result<()> {
    let mark = match condition.holds {
        Some(true) => "yes",
        Some(false) => "no ",
        None => " ? ",
    };
    let value = condition.value.as_ref().map(|value| format!("   (is {})", plain(value)));
    let value = value.unwrap_or_default();
    writeln!(out, "{:depth$}{mark} {}{value}", "", condition.condition)?;
    if let Some(entry) = &condition.entry {
        writeln!(out, "{:depth$}    {}", "", entry.words())?;
    }
    condition.within.iter().try_for_each(|one| conditions(one, depth + 4, out))
}
