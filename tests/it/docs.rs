//! The documents keep their word: every example of a rule runs, every fault shown is the one that
//! is told, every link leads somewhere, every command and flag exists.
//!
//! Blocks are told apart by their info strings:
//! `yaml rule` is a rule file, or rules to stand under `rules:`; `yaml test` are its tests, in the
//! form of `*.test.yaml`; `csv NAME` is a list file for the rule block that follows; `yaml fault` is
//! a rule file that is refused, and the `text` block after it what `rules check` says.
//! `sh run` is run in a folder of the document's own, where blocks that name a file stand
//! (`yaml rule quiz.yaml`); the `text` block after it is what it prints.
//! `TIDEGATE_BLESS=1` writes those answers anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tidegate::backtest::cases::{Case, parse, run_case};
use tidegate::cli::rules::{CheckArguments, check};
use tidegate::control::read_rules;
use tidegate::engine::Lists;
use tidegate::rule::{Check, Mode, RuleSet};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `README.md` and all of `docs`, relative to the root, in order of name.
fn documents() -> Vec<String> {
    let entries = fs::read_dir(root().join("docs")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let pages = paths.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let page = |path: PathBuf| path.strip_prefix(root()).unwrap().display().to_string();
    let mut documents: Vec<String> = pages.map(page).collect();
    documents.push("README.md".to_owned());
    documents.sort();
    documents
}

fn read(document: &str) -> String {
    fs::read_to_string(root().join(document)).unwrap()
}

/// A fenced block; its first line of text has the number `line`.
#[derive(Debug, Clone, PartialEq)]
struct Block {
    line: usize,
    info: String,
    text: String,
}

/// What stands in a document, in order.
#[derive(Debug, PartialEq)]
enum Part {
    Block(Block),
    /// A line outside of blocks, with its number.
    Line(usize, String),
}

fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(text.lines()) {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(info)) => {
                let info = info.trim().to_owned();
                open = Some(Block { line: number + 1, info, text: String::new() });
            }
            (None, None) => parts.push(Part::Line(number, line.to_owned())),
            (Some(_), Some(_)) => parts.extend(open.take().map(Part::Block)),
            (Some(block), None) => writeln!(block.text, "{line}").unwrap(),
        }
    }
    assert!(open.is_none(), "a block that does not end: {open:?}");
    parts
}

/// A rule block with all that belongs to it.
#[derive(Debug)]
struct Example {
    rules: Block,
    lists: Vec<Block>,
    tests: Vec<Block>,
    /// `<!-- no test: reason -->` stands after it.
    excused: bool,
}

/// A file that is refused, and what is said about it.
#[derive(Debug)]
struct Refusal {
    rules: Block,
    lists: Vec<Block>,
    answer: Block,
}

/// The examples and refusals of one document, and what is wrong with their order.
fn examples(document: &str, text: &str) -> (Vec<Example>, Vec<Refusal>, Vec<String>) {
    let (mut examples, mut refusals, mut faults) = (Vec::<Example>::new(), Vec::new(), Vec::new());
    let mut lists = Vec::new();
    let mut refused: Option<(Block, Vec<Block>)> = None;
    for part in parts(text) {
        let block = match part {
            Part::Block(block) => block,
            Part::Line(_, line) if line.starts_with("<!-- no test: ") => {
                examples.iter_mut().last().unwrap().excused = true;
                continue;
            }
            Part::Line(..) => continue,
        };
        let at = format!("{document}:{}", block.line);
        if let Some((rules, lists)) = refused.take() {
            if block.info == "text" {
                refusals.push(Refusal { rules, lists, answer: block });
            } else {
                faults.push(format!("{at}: after a `yaml fault` block comes a `text` block"));
            }
            continue;
        }
        match sort_of(&block.info) {
            "yaml rule" => {
                let lists = std::mem::take(&mut lists);
                examples.push(Example { rules: block, lists, tests: Vec::new(), excused: false });
            }
            "yaml test" => match examples.last_mut() {
                Some(example) => example.tests.push(block),
                None => faults.push(format!("{at}: tests without rules before them")),
            },
            "yaml fault" => refused = Some((block, std::mem::take(&mut lists))),
            info if info.starts_with("csv ") => lists.push(block),
            "yaml" | "yml" if is_rule_file(&block.text) => {
                faults.push(format!("{at}: rules stand in a block `yaml rule`"));
            }
            _ => {}
        }
    }
    (examples, refusals, faults)
}

fn is_rule_file(text: &str) -> bool {
    let starts = |line: &str| {
        ["version:", "rules:", "- name:", "tests:"].iter().any(|key| line.starts_with(key))
    };
    // The configuration names a folder: `rules: rules/`.
    text.lines().any(|line| starts(line) && !line.starts_with("rules: "))
}

/// An info string without the name of a file.
fn sort_of(info: &str) -> &str {
    let sorts = ["yaml rule", "yaml test"];
    sorts.into_iter().find(|sort| info.starts_with(sort)).unwrap_or(info)
}

/// The whole file, where the block is a part of one.
fn whole(text: &str, head: &str) -> String {
    if text.starts_with("- ") { format!("{head}{text}") } else { text.to_owned() }
}

/// A folder with a rule file and its lists; the path of the rule file.
fn lay_out(rules: &str, lists: &[Block]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    fs::write(&path, rules).unwrap();
    for list in lists {
        let path = folder.path().join(list.info.strip_prefix("csv ").unwrap().trim());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &list.text).unwrap();
    }
    (folder, path)
}

/// Every (rule, level) that a test could fire.
fn levels(set: &RuleSet) -> BTreeSet<(String, u32)> {
    let mut all = BTreeSet::new();
    for rule in set.rules.iter().filter(|rule| rule.mode != Mode::Off) {
        let levels = match &rule.check {
            Check::Threshold { levels, .. } | Check::Ratio { levels, .. } => levels.levels.len(),
            _ => 1,
        };
        all.extend((0u32..).take(levels).map(|level| (rule.name.clone(), level)));
    }
    all
}

/// Runs the tests of an example; returns its cases and what is wrong.
fn run(document: &str, example: &Example) -> (Vec<Case>, Vec<String>) {
    let at = format!("{document}:{}", example.rules.line);
    let rules = whole(&example.rules.text, "version: 1\nrules:\n");
    let (_folder, path) = lay_out(&rules, &example.lists);
    let (set, entries) = match read_rules(&path) {
        Ok(rules) => rules,
        Err(error) => return (Vec::new(), vec![format!("{at}: {error}")]),
    };
    let lists: Lists = entries.into_iter().collect();
    let set = Arc::new(set);
    let (mut cases, mut faults) = (Vec::new(), Vec::new());
    let mut missed = levels(&set);
    for block in &example.tests {
        let file = match parse(&whole(&block.text, "tests:\n")) {
            Ok(file) => file,
            Err(message) => {
                faults.push(format!("{document}:{}: {message}", block.line));
                continue;
            }
        };
        for case in file.tests {
            let named = block.text.lines().position(|line| line.contains(&case.name));
            let line = block.line + named.unwrap_or(0);
            let result = run_case(&case, &set, &lists);
            let wrong = result.lines(&case).into_iter().map(|line| line.text);
            faults.extend(wrong.map(|fault| format!("{document}:{line}: {}: {fault}", case.name)));
            result.fired.iter().for_each(|level| _ = missed.remove(level));
            cases.push(case);
        }
    }
    if cases.is_empty() && faults.is_empty() && !example.excused {
        faults.push(format!("{at}: rules without a test"));
    } else if faults.is_empty() && !example.excused {
        let missed = missed.iter();
        faults.extend(
            missed.map(|(rule, level)| format!("{at}: no test fires {rule}, level {level}")),
        );
    }
    (cases, faults)
}

#[test]
fn every_example_runs() {
    let (mut faults, mut run_of) = (Vec::new(), BTreeMap::new());
    for document in documents() {
        let (examples, _, wrong) = examples(&document, &read(&document));
        faults.extend(wrong);
        for example in &examples {
            let (cases, wrong) = run(&document, example);
            *run_of.entry(document.clone()).or_insert(0) += cases.len();
            faults.extend(wrong);
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    for page in [
        "README.md",
        "docs/cookbook.md",
        "docs/maths.md",
        "docs/rules.md",
        "docs/threshold-to-freeze.md",
    ] {
        assert!(run_of.get(page).is_some_and(|cases| *cases > 0), "{page} has no example");
    }
}

/// A pattern of the cookbook shows whom it must leave alone, too.
#[test]
fn every_pattern_of_the_cookbook_spares_somebody() {
    let text = read("docs/cookbook.md");
    let (examples, ..) = examples("docs/cookbook.md", &text);
    assert!(examples.len() >= 20, "{} patterns", examples.len());
    for example in &examples {
        let (cases, _) = run("docs/cookbook.md", example);
        let line = example.rules.line;
        assert!(cases.iter().any(|case| case.expect.is_empty()), "line {line}: nobody is spared");
        assert!(cases.iter().any(|case| !case.expect.is_empty()), "line {line}: nobody is caught");
    }
}

#[test]
fn every_fault_shown_is_the_one_that_is_told() {
    let shown = compare_answers(&|document, text| {
        let (_, refusals, _) = examples(document, text);
        refusals.into_iter().map(|refusal| (answer(&refusal), refusal.answer)).collect()
    });
    assert!(shown > 5, "only {shown} faults are shown");
}

#[test]
fn every_walk_can_be_walked() {
    assert!(compare_answers(&walk) > 5, "few commands are run");
}

/// What is said, and the block that shows it.
type Answers = Vec<(String, Block)>;

/// Compares what is said with the blocks that show it; returns how many there are.
fn compare_answers(of: &dyn Fn(&str, &str) -> Answers) -> usize {
    let bless = std::env::var_os("TIDEGATE_BLESS").is_some();
    let mut faults = Vec::new();
    let mut shown = 0;
    for document in documents() {
        let text = read(&document);
        let mut lines: Vec<&str> = text.lines().collect();
        let answers = of(&document, &text);
        shown += answers.len();
        for (said, block) in answers.iter().rev().filter(|(said, block)| *said != block.text) {
            let from = block.line - 1;
            if bless {
                lines.splice(from..from + block.text.lines().count(), said.lines());
            } else {
                faults.push(format!("{document}:{}: what is said is\n{said}", block.line));
            }
        }
        if bless && lines.join("\n") != text.trim_end() {
            fs::write(root().join(&document), lines.join("\n") + "\n").unwrap();
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    shown
}

/// What `rules check` says about the file, as if it stood in the working folder.
fn answer(refusal: &Refusal) -> String {
    let (folder, path) = lay_out(&refusal.rules.text, &refusal.lists);
    let mut out = Vec::new();
    let arguments = CheckArguments { paths: vec![path], ..CheckArguments::default() };
    let status = check(&arguments, &mut out).unwrap();
    assert_eq!(status, 1, "line {}: no fault is told", refusal.rules.line);
    String::from_utf8(out).unwrap().replace(&format!("{}/", folder.path().display()), "")
}

/// Runs a document's commands in order; what each block prints, and the block that shows it.
fn walk(document: &str, text: &str) -> Answers {
    let folder = tempfile::tempdir().unwrap();
    let mut answers = Vec::new();
    let mut said: Option<String> = None;
    for part in parts(text) {
        let Part::Block(block) = part else { continue };
        if let Some(said) = said.take() {
            assert_eq!(block.info, "text", "{document}:{}: what is printed?", block.line);
            answers.push((said, block));
            continue;
        }
        let file =
            ["yaml rule ", "yaml test "].iter().find_map(|sort| block.info.strip_prefix(sort));
        if let Some(name) = file {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &block.text).unwrap();
        } else if block.info == "sh run" {
            said = Some(shell(folder.path(), &block.text));
        }
    }
    assert_eq!(said, None, "{document}: what does the last command print?");
    answers
}

/// Standard output and error of commands that find `tidegate`.
fn shell(folder: &Path, commands: &str) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_tidegate")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    let command = bash.args(["-c", &format!("exec 2>&1\n{commands}")]);
    let output = command.current_dir(folder).env("PATH", path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Targets of links on a line, outside of code.
fn links(line: &str) -> Vec<String> {
    let text: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
    let after = text.split("](").skip(1);
    after.filter_map(|rest| rest.split(')').next().map(str::to_owned)).collect()
}

/// The anchors that a page's headings get.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for part in parts(text) {
        let Part::Line(_, line) = part else { continue };
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let slug: String = title.trim().to_lowercase().chars().filter(kept).collect();
        let slug = slug.replace(' ', "-");
        let same = (1..).map(|n| format!("{slug}-{n}"));
        let free = std::iter::once(slug.clone()).chain(same).find(|slug| !anchors.contains(slug));
        anchors.extend(free);
    }
    anchors
}

#[test]
fn every_link_leads_somewhere() {
    let mut faults = Vec::new();
    let mut count = 0;
    for document in documents() {
        let text = read(&document);
        let folder = Path::new(&document).parent().unwrap();
        for part in parts(&text) {
            let Part::Line(number, line) = part else { continue };
            for link in links(&line).iter().filter(|link| !link.contains("://")) {
                count += 1;
                let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
                let page = if path.is_empty() {
                    document.clone()
                } else {
                    folder.join(path).display().to_string()
                };
                if !root().join(&page).exists() {
                    faults.push(format!("{document}:{number}: there is no {page}"));
                } else if !anchor.is_empty() && !anchors(&read(&page)).contains(anchor) {
                    faults.push(format!("{document}:{number}: {page} has no heading #{anchor}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 20, "only {count} links");
}

/// Calls of tidegate in a text: the words after its name, up to the end of the command.
fn calls(text: &str) -> Vec<Vec<String>> {
    let mut calls = Vec::new();
    for line in text.replace("\\\n", " ").lines() {
        let line = line.split(" #").next().unwrap_or("");
        for command in line.split(['|', ';']) {
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            let name =
                words.iter().position(|word| word == "tidegate" || word.ends_with("/tidegate"));
            // Before the name stands nothing but settings of the environment.
            if let Some(at) =
                name.filter(|at| words.iter().take(*at).all(|word| word.contains('=')))
            {
                calls.push(words[at + 1..].to_vec());
            }
        }
    }
    calls
}

/// What `--help` says of the subcommand that these words call, and which words those were.
fn help(words: &[String], known: &mut BTreeMap<Vec<String>, Option<String>>) -> Option<String> {
    let is_name = |word: &&String| word.chars().all(|c| c.is_ascii_lowercase());
    let names: Vec<String> = words.iter().take(2).take_while(is_name).cloned().collect();
    let groups = ["held", "list", "notify", "rules", "silence", "topics"];
    let depth =
        if names.first().is_some_and(|name| groups.contains(&name.as_str())) { 2 } else { 1 };
    let names: Vec<String> = names.into_iter().take(depth).collect();
    let ask = |names: &Vec<String>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let output = command.args(names).arg("--help").output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    };
    known.entry(names).or_insert_with_key(ask).clone()
}

/// Whether a help text names the flag, and not only one that begins with it.
fn names_flag(help: &str, flag: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
    help.match_indices(flag).any(|(at, _)| ends(help.split_at(at + flag.len()).1))
}

#[test]
fn every_command_and_flag_exists() {
    let (mut faults, mut known) = (Vec::new(), BTreeMap::new());
    let mut count = 0;
    for document in documents() {
        for part in parts(&read(&document)) {
            let (at, code) = match part {
                Part::Block(block) if matches!(block.info.as_str(), "sh" | "sh run" | "") => {
                    (block.line, block.text)
                }
                Part::Block(_) => continue,
                Part::Line(number, line) => {
                    let code = line.split('`').skip(1).step_by(2);
                    let commands = code.filter(|code| code.starts_with("tidegate "));
                    (number, commands.collect::<Vec<_>>().join("\n"))
                }
            };
            for words in calls(&code) {
                count += 1;
                let said = words.join(" ");
                let Some(help) = help(&words, &mut known) else {
                    faults.push(format!("{document}:{at}: there is no `tidegate {said}`"));
                    continue;
                };
                let trim: &[char] = &['[', ']', ',', '.', '…'];
                let flags = words.iter().map(|word| word.trim_matches(trim));
                for flag in flags.filter(|word| word.starts_with("--")) {
                    let flag = flag.split('=').next().unwrap_or(flag);
                    if !names_flag(&help, flag) {
                        faults.push(format!("{document}:{at}: `tidegate {said}` has no {flag}"));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 20, "only {count} commands");
}

/// Names of metrics in a text, without the prefix that all of them have.
fn metrics(text: &str) -> Vec<String> {
    let is_part = |c: &char| c.is_ascii_lowercase() || *c == '_';
    let after = text.split("tidegate_").skip(1);
    after.map(|rest| rest.chars().take_while(is_part).collect()).collect()
}

#[test]
fn every_metric_exists() {
    let source = |path| fs::read_to_string(root().join(path)).unwrap();
    let known = source("src/metrics.rs") + &source("src/notify/metrics.rs");
    let mut faults = Vec::new();
    let mut count = 0;
    for document in documents() {
        for (number, line) in (1..).zip(read(&document).lines()) {
            for name in metrics(line).iter().filter(|name| !name.is_empty()) {
                count += 1;
                let is_known = |quoted: String| known.contains(&quoted);
                if !is_known(format!("\"{name}\"")) && !is_known(format!("\"tidegate_{name}\"")) {
                    faults.push(format!("{document}:{number}: there is no tidegate_{name}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 20, "only {count} metrics");
}

#[test]
fn the_checks_find_what_they_are_for() {
    let block = |line, info: &str, text: &str| {
        Part::Block(Block { line, info: info.to_owned(), text: text.to_owned() })
    };
    let found = parts("a\n```yaml rule\n- name: x\n```\n");
    assert_eq!(found, [Part::Line(1, "a".to_owned()), block(3, "yaml rule", "- name: x\n")]);
    let faults_of = |text: &str| {
        let (examples, _, mut faults) = examples("p", text);
        faults.extend(examples.iter().flat_map(|example| run("p", example).1));
        faults
    };
    let rule = "```yaml rule\n- { name: x, on: issue }\n```\n";
    let test = |kind: &str, expect: &str| {
        format!(
            "```yaml test\n- name: t\n  events: [{{ ts: 1763769600000, user: u, kind: {kind}, points: 1 }}]\n  expect: {expect}\n```\n"
        )
    };
    let fires = "[{ rule: x }]";
    assert_eq!(faults_of(&format!("{rule}{}", test("issue", fires))), [""; 0]);
    let rows = [
        (rule.to_owned(), "p:2: rules without a test"),
        (format!("{rule}{}", test("redeem", "[]")), "p:2: no test fires x, level 0"),
        (format!("{rule}{}", test("redeem", fires)), "p:5: t: x"),
        (test("issue", fires), "p:2: tests without rules"),
        ("```yaml\nrules:\n- name: x\n```\n".to_owned(), "p:2: rules stand in a block"),
        ("```yaml rule\n- { nam: x }\n```\n".to_owned(), "p:2: "),
    ];
    for (text, expected) in rows {
        let faults = faults_of(&text);
        assert!(faults.len() == 1 && faults[0].starts_with(expected), "{text}\n{faults:?}");
    }
    assert_eq!(links("see [a](b.md#c), `[x](y)` and [d](e)"), ["b.md#c", "e"]);
    let slugs = anchors("# A b\n## `x`, y\n```\n# no\n```\n## A b\n");
    assert_eq!(slugs.into_iter().collect::<Vec<_>>(), ["a-b", "a-b-1", "x-y"]);
    let found = calls(
        "A=1 tidegate run --x \\\n --y # z\ncat | target/release/tidegate why\ncargo run tidegate\n",
    );
    assert_eq!(found, [vec!["run", "--x", "--y"], vec!["why"]]);
    assert_eq!(metrics("`tidegate_a_total{x}` and tidegate_b"), ["a_total", "b"]);
    assert!(names_flag("  --input FILE", "--input") && !names_flag("--inputs", "--input"));
}
