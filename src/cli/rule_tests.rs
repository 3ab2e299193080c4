//! `tidegate rules test` (C3).

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::backtest::cases::{CaseResult, parse, run_case};
use crate::control::{LoadError, read_rules};
use crate::engine::Lists;
use crate::rule::{Check, RuleSet};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Test files, or folders of them (`*.test.yaml`).
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Also write the results as `JUnit` XML.
    #[arg(long)]
    junit: Option<PathBuf>,
    /// Name the rules and levels that no test fires.
    #[arg(long)]
    coverage: bool,
}

/// Runs every test; 0 = all passed, 1 = some failed or the rules are faulty.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<u8> {
    let mut results = Vec::new();
    let mut levels = BTreeSet::new();
    for file in test_files(&arguments.paths)? {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let tests = match parse(&text) {
            Ok(tests) => tests,
            Err(message) => {
                writeln!(io::stderr(), "{}: {message}", file.display())?;
                return Ok(1);
            }
        };
        let folder = file.parent().unwrap_or(Path::new("."));
        let path = tests.rules.as_ref().map_or(folder.to_owned(), |rules| folder.join(rules));
        let (set, entries) = match read_rules(&path) {
            Ok(rules) => rules,
            Err(error @ LoadError::Faults(_)) => {
                writeln!(io::stderr(), "{error}")?;
                return Ok(1);
            }
            Err(error) => return Err(error.into()),
        };
        levels.extend(levels_of(&set));
        let mut lists = Lists::new(set.lists.len());
        entries.into_iter().enumerate().for_each(|(at, entries)| lists.set(at, entries));
        let set = Arc::new(set);
        for case in &tests.tests {
            let result = run_case(case, &set, &lists);
            report(&file, &result, out)?;
            results.push((file.clone(), result));
        }
    }
    let failed = results.iter().filter(|(_, result)| !result.faults.is_empty()).count();
    writeln!(out, "{} passed, {failed} failed", results.len() - failed)?;
    if arguments.coverage {
        coverage(&levels, &results, out)?;
    }
    if let Some(path) = &arguments.junit {
        fs::write(path, junit(&results))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(u8::from(failed > 0))
}

fn report(file: &Path, result: &CaseResult, out: &mut dyn Write) -> io::Result<()> {
    if result.faults.is_empty() {
        return writeln!(out, "ok   {}: {}", file.display(), result.name);
    }
    writeln!(out, "FAIL {}: {}", file.display(), result.name)?;
    result.faults.iter().try_for_each(|fault| writeln!(out, "     {fault}"))
}

fn test_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = BTreeSet::new();
    for path in paths {
        if path.is_file() {
            files.insert(path.clone());
            continue;
        }
        let entries =
            fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(".test.yaml") {
                files.insert(path);
            }
        }
    }
    if files.is_empty() {
        bail!("no test files (*.test.yaml) found");
    }
    Ok(files.into_iter().collect())
}

/// Every (rule, level) that a test could fire.
fn levels_of(set: &RuleSet) -> Vec<(String, u32)> {
    let mut all = Vec::new();
    for rule in &set.rules {
        let levels = match &rule.check {
            Check::Threshold { levels, .. } | Check::Ratio { levels, .. } => levels.levels.len(),
            Check::Match { .. } | Check::ZScore(_) => 1,
        };
        all.extend((0u32..).take(levels).map(|level| (rule.name.clone(), level)));
    }
    all
}

fn coverage(
    levels: &BTreeSet<(String, u32)>,
    results: &[(PathBuf, CaseResult)],
    out: &mut dyn Write,
) -> io::Result<()> {
    let fired: BTreeSet<_> = results.iter().flat_map(|(_, result)| &result.fired).collect();
    let missed: Vec<_> = levels.iter().filter(|level| !fired.contains(level)).collect();
    writeln!(out, "coverage: {} of {} levels", levels.len() - missed.len(), levels.len())?;
    missed.iter().try_for_each(|(rule, level)| writeln!(out, "not fired: {rule} level {level}"))
}

fn junit(results: &[(PathBuf, CaseResult)]) -> String {
    let escape = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    let failed = results.iter().filter(|(_, result)| !result.faults.is_empty()).count();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let total = results.len();
    let mut line = |text: String| {
        xml.push_str(&text);
        xml.push('\n');
    };
    line(format!("<testsuite name=\"tidegate rules\" tests=\"{total}\" failures=\"{failed}\">"));
    for (file, result) in results {
        let (class, name) = (escape(&file.display().to_string()), escape(&result.name));
        let case = format!("<testcase classname=\"{class}\" name=\"{name}\"");
        if result.faults.is_empty() {
            line(format!("  {case}/>"));
        } else {
            let faults = escape(&result.faults.join("\n"));
            line(format!("  {case}><failure>{faults}</failure></testcase>"));
        }
    }
    line("</testsuite>".to_owned());
    xml
}
