//! `tidegate rules case`: a reviewer's "this was none" becomes a test.

use std::fs;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::paint::Paint;
use super::rule_tests::{rules_of, tell};
use crate::backtest;
use crate::backtest::cases::{
    Case, CaseResult, Got, NewCase, Selection, TestFile, append, parse, pseudonyms, record,
    run_case,
};
use crate::config::FoldConfig;
use crate::rule::{Field, RuleSet, reach_ms};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Test file that the case is added to; made if it is not there.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Events as JSON lines; `.gz` and `.zst` are unpacked, `-` is standard input.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Take the events of this user.
    #[arg(long, required_unless_present = "key")]
    user: Option<String>,
    /// Take the events that carry this, such as `device=d-1`, for rules that do not count by user;
    /// may be repeated.
    #[arg(long, value_name = "FIELD=VALUE")]
    key: Vec<String>,
    /// The rule that should not have fired.
    #[arg(long)]
    rule: Option<String>,
    /// Id of the event at which it fired: later events are left out, and those before that lie
    /// further back than the rule looks.
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// What the case expects: no decision of the rule, or what the rules come to as they are.
    #[arg(long, value_enum, default_value_t)]
    expect: Expect,
    /// Name of the case.
    #[arg(long)]
    name: Option<String>,
    /// Rule file or folder; unless given, that of the test file or the folder it stands in.
    #[arg(long, value_name = "PATH")]
    rules: Option<PathBuf>,
    /// Configuration whose `input` section says how events are read.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep users, devices, addresses and attributes as they are, instead of naming them u1, d1 …
    #[arg(long)]
    reveal: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Expect {
    #[default]
    Nothing,
    AsIs,
}

/// Adds the case, runs it and tells what it comes to; 1 = the rules are faulty, or pseudonyms
/// would change what they decide.
pub(super) fn run(arguments: &Arguments, paint: Paint, out: &mut dyn Write) -> Result<u8> {
    let file = &arguments.file;
    if arguments.rule.is_none() && arguments.expect == Expect::Nothing {
        bail!("say which rule should not have fired: --rule; or --expect as-is");
    }
    if !file.to_string_lossy().ends_with(".test.yaml") {
        bail!("{}: a test file is named `….test.yaml`", file.display());
    }
    let (text, mut tests) = existing(file)?;
    let named = arguments.rules.as_deref().map(|rules| beside(file, rules)).transpose()?;
    if text.is_empty() {
        tests.rules = named.flatten();
    } else if named.is_some_and(|named| named != tests.rules) {
        bail!("{} names other rules than --rules", file.display());
    }
    let Some((set, lists)) = rules_of(file, &tests, paint)? else { return Ok(1) };
    let recorded = recorded(arguments, &set)?;
    let case = |events: &[_]| Case {
        name: String::new(),
        events: events.to_vec(),
        expect: Vec::new(),
        line: 0,
    };
    let mut events = recorded;
    let mut result = run_case(&case(&events), &set, &lists);
    if !arguments.reveal {
        events = pseudonyms(&events, &set);
        let masked = run_case(&case(&events), &set, &lists);
        if decided(&masked) != decided(&result) {
            writeln!(
                out,
                "not written: with pseudonyms the rules decide otherwise, since one of them looks \
                 at the values themselves; --reveal keeps them"
            )?;
            return Ok(1);
        }
        result = masked;
    }
    let accused = arguments.rule.as_deref().filter(|_| arguments.expect == Expect::Nothing);
    let of_rule = |got: &&Got| accused.is_some_and(|rule| got.field("rule") == rule);
    let expect: Vec<&Got> = result.got.iter().filter(|got| !of_rule(got)).collect();
    let default = match accused {
        Some(rule) => format!("no case for {rule}"),
        None => "as recorded".to_owned(),
    };
    let name = arguments.name.as_deref().unwrap_or(&default);
    let new = NewCase { name, events: &events, expect, zone: &set.timezone };
    let (text, case) = append(&text, tests.rules.as_deref(), &new).with_context(|| {
        format!("{}: write its tests in lines that begin with `-`", file.display())
    })?;
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let CaseResult { line, .. } = run_case(&case, &set, &lists);
    writeln!(out, "{}:{line}: {name}: {} events", file.display(), events.len())?;
    verdict(&run_case(&case, &set, &lists), &case, accused, paint, out)?;
    Ok(0)
}

fn verdict(
    result: &CaseResult,
    case: &Case,
    accused: Option<&str>,
    paint: Paint,
    out: &mut dyn Write,
) -> io::Result<()> {
    if result.passed() {
        return match accused {
            Some(rule) => writeln!(out, "passes: {rule} does not fire on these events"),
            None => writeln!(out, "passes"),
        };
    }
    writeln!(out, "fails until the rules are mended:")?;
    tell(&result.lines(case), paint, out)
}

/// The text of the test file and what it says; empty where there is none.
fn existing(file: &Path) -> Result<(String, TestFile)> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    if text.trim().is_empty() {
        return Ok((String::new(), TestFile { rules: None, tests: Vec::new() }));
    }
    let tests = parse(&text).map_err(|message| anyhow::anyhow!("{}: {message}", file.display()))?;
    Ok((text, tests))
}

/// How a test file names rules: not at all if they are its folder, else from there.
fn beside(file: &Path, rules: &Path) -> Result<Option<String>> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")))
        .with_context(|| format!("cannot read the folder of {}", file.display()))?;
    let rules = fs::canonicalize(rules)
        .with_context(|| format!("cannot read rules from {}", rules.display()))?;
    if rules == folder {
        return Ok(None);
    }
    let within = rules.strip_prefix(&folder).unwrap_or(&rules);
    Ok(Some(within.display().to_string()))
}

fn recorded(
    arguments: &Arguments,
    set: &RuleSet,
) -> Result<Vec<serde_json::Map<String, serde_json::Value>>> {
    let rule = match &arguments.rule {
        None => None,
        Some(name) => match set.rules.iter().find(|rule| rule.name == *name) {
            Some(rule) => Some(rule),
            None => bail!("no rule is called {name}"),
        },
    };
    let mut key: Vec<(Field, String)> = Vec::new();
    key.extend(arguments.user.iter().map(|user| (Field::User, user.clone())));
    for text in &arguments.key {
        let (name, value) =
            text.split_once('=').with_context(|| format!("--key {text}: write FIELD=VALUE"))?;
        key.push((field(name)?, value.to_owned()));
    }
    let selection = Selection {
        key,
        event: arguments.event.clone(),
        reach_ms: rule.filter(|_| arguments.event.is_some()).map(reach_ms),
    };
    let config = FoldConfig::named(arguments.config.as_deref())?;
    let input = &arguments.input;
    let reading = || format!("cannot take events from {}", input.display());
    let mut reader = BufReader::new(backtest::open(input).with_context(reading)?);
    let recorded = record(&mut reader, &config.decoder, config.max_bytes, &selection);
    let recorded = recorded.with_context(reading)?;
    if recorded.events.is_empty() {
        bail!("{} holds no events of this target", input.display());
    }
    Ok(recorded.events)
}

fn field(name: &str) -> Result<Field> {
    Ok(match name {
        "user" => Field::User,
        "device" => Field::Device,
        "ip" => Field::Ip,
        "source" => Field::Source,
        _ => match name.strip_prefix("attrs.") {
            Some(attr) if !attr.is_empty() => Field::Attr(attr.to_owned()),
            _ => bail!("--key {name}: name `user`, `device`, `ip`, `source` or `attrs.NAME`"),
        },
    })
}

/// What a case came to, by event, rule and level.
fn decided(result: &CaseResult) -> Vec<[serde_json::Value; 3]> {
    let of = |got: &Got| ["event", "rule", "level"].map(|name| got.field(name));
    result.got.iter().map(of).collect()
}
