//! `tidegate rules test` (C3).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::Format;
use super::junit::junit;
use super::paint::Paint;
use super::rules::write_faults;
use crate::backtest::cases::{
    Case, CaseResult, Line, Mark, TestFile, parse, run_case, test_files, update,
};
use crate::control::{LoadError, read_rules};
use crate::engine::Lists;
use crate::rule::{Check, Mode, Place, RuleSet};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Test files, or folders of them (`*.test.yaml`).
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Also write the results as `JUnit` XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Name the rules and levels that no test fires.
    #[arg(long)]
    coverage: bool,
    /// Fail if the tests fire less than so many percent of the levels.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    min_coverage: Option<u8>,
    /// Write what was got into the tests that fail. Look at the difference before it is committed.
    #[arg(long)]
    update: bool,
}

/// A case and what it came to.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) case: Case,
    pub(super) result: CaseResult,
}

impl Ran {
    /// What is to be told of a failure, without colours.
    pub(super) fn told(&self) -> Vec<String> {
        self.result.lines(&self.case).iter().map(|line| painted(line, Paint::default())).collect()
    }
}

/// Every (rule, level) that a test could fire, with the place of the rule.
type Levels = BTreeMap<(String, u32), Place>;

/// Runs every test; 0 = all passed, 1 = some failed or the rules are faulty.
pub(super) fn run(arguments: &Arguments, paint: Paint, out: &mut dyn Write) -> Result<u8> {
    let mut results: Vec<(PathBuf, Ran)> = Vec::new();
    let mut levels = Levels::new();
    let mut updated = 0;
    for file in files(&arguments.paths)? {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let tests = match parse(&text) {
            Ok(tests) => tests,
            Err(message) => {
                writeln!(io::stderr(), "{}: {message}", file.display())?;
                return Ok(1);
            }
        };
        let Some((set, lists)) = rules_of(&file, &tests, paint)? else { return Ok(1) };
        levels.extend(levels_of(&set));
        let mut new = text.clone();
        for (index, case) in tests.tests.into_iter().enumerate() {
            let ran = Ran { result: run_case(&case, &set, &lists), case };
            let updates = arguments.update && !ran.result.passed();
            let update = updates.then(|| update(&new, index, &ran.case, &ran.result));
            let reason = match update {
                Some(Ok(text)) => {
                    (new, updated) = (text, updated + 1);
                    report(&file, &ran, Verdict::Updated, paint, out)?;
                    let case = parse(&new).ok().and_then(|file| file.tests.into_iter().nth(index));
                    let case = case.unwrap_or(ran.case);
                    results
                        .push((file.clone(), Ran { result: run_case(&case, &set, &lists), case }));
                    continue;
                }
                Some(Err(reason)) => Some(reason),
                None => None,
            };
            let verdict = if ran.result.passed() { Verdict::Passed } else { Verdict::Failed };
            report(&file, &ran, verdict, paint, out)?;
            if let Some(reason) = reason {
                writeln!(out, "     not updated: {reason}")?;
            }
            results.push((file.clone(), ran));
        }
        if new != text {
            fs::write(&file, new).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    let failed = results.iter().filter(|(_, ran)| !ran.result.passed()).count();
    let told = if updated > 0 { format!(", {updated} of them updated") } else { String::new() };
    writeln!(out, "{} passed{told}, {failed} failed", results.len() - failed)?;
    if let Some(path) = &arguments.junit {
        fs::write(path, junit(&results))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut found = failed > 0;
    if arguments.coverage || arguments.min_coverage.is_some() {
        let percent = coverage(&levels, &results, out)?;
        if let Some(least) = arguments.min_coverage
            && percent < f64::from(least)
        {
            writeln!(out, "coverage is below {least} %")?;
            found = true;
        }
    }
    Ok(u8::from(found))
}

/// The rules that a test file is about; their faults are told.
pub(super) fn rules_of(
    file: &Path,
    tests: &TestFile,
    paint: Paint,
) -> Result<Option<(Arc<RuleSet>, Lists)>> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let path = tests.rules.as_ref().map_or(folder.to_owned(), |rules| folder.join(rules));
    let (set, entries) = match read_rules(&path) {
        Ok(rules) => rules,
        Err(LoadError::Faults(faults)) => {
            write_faults(&faults, Format::Text, paint, &mut io::stderr())?;
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let lists: Lists = entries.into_iter().collect();
    Ok(Some((Arc::new(set), lists)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    Updated,
}

fn report(
    file: &Path,
    ran: &Ran,
    verdict: Verdict,
    paint: Paint,
    out: &mut dyn Write,
) -> io::Result<()> {
    let word = match verdict {
        Verdict::Passed => paint.green("ok  "),
        Verdict::Failed => paint.red("FAIL"),
        Verdict::Updated => paint.yellow("NEW "),
    };
    let CaseResult { name, line, .. } = &ran.result;
    writeln!(out, "{word} {}:{line}: {name}", file.display())?;
    tell(&ran.result.lines(&ran.case), paint, out)
}

/// The lines about a case, beneath its name; none of one that passed.
pub(super) fn tell(lines: &[Line], paint: Paint, out: &mut dyn Write) -> io::Result<()> {
    lines.iter().try_for_each(|line| writeln!(out, "     {}", painted(line, paint)))
}

fn painted(Line { mark, text }: &Line, paint: Paint) -> String {
    match mark {
        Mark::Around => format!("  {text}"),
        Mark::Missing => paint.red(&format!("- {text}")),
        Mark::Extra => paint.green(&format!("+ {text}")),
    }
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = BTreeSet::new();
    for path in paths {
        if path.is_file() {
            files.insert(path.clone());
            continue;
        }
        let found = test_files(path).with_context(|| format!("cannot read {}", path.display()))?;
        files.extend(found);
    }
    if files.is_empty() {
        bail!("no test files (*.test.yaml) found");
    }
    Ok(files.into_iter().collect())
}

fn levels_of(set: &RuleSet) -> Levels {
    let mut all = Levels::new();
    for rule in set.rules.iter().filter(|rule| rule.mode != Mode::Off) {
        let levels = match &rule.check {
            Check::Threshold { levels, .. } | Check::Ratio { levels, .. } => levels.levels.len(),
            Check::Match { .. } | Check::ZScore(_) => 1,
        };
        let levels = (0u32..).take(levels);
        all.extend(levels.map(|level| ((rule.name.clone(), level), rule.place.clone())));
    }
    all
}

/// Tells which levels no test fires; returns the percentage of those that one does.
fn coverage(levels: &Levels, results: &[(PathBuf, Ran)], out: &mut dyn Write) -> io::Result<f64> {
    let fired: BTreeSet<_> = results.iter().flat_map(|(_, ran)| &ran.result.fired).collect();
    let missed: Vec<_> = levels.iter().filter(|(level, _)| !fired.contains(level)).collect();
    let (all, hit) = (levels.len(), levels.len() - missed.len());
    #[expect(clippy::cast_precision_loss, reason = "so many levels no rule set has")]
    let percent = if all == 0 { 100.0 } else { 100.0 * hit as f64 / all as f64 };
    writeln!(out, "coverage: {hit} of {all} levels, {percent:.1} %")?;
    missed.iter().try_for_each(|((rule, level), Place { file, line, .. })| {
        writeln!(out, "not fired: {rule} level {level} ({file}:{line})")
    })?;
    Ok(percent)
}
