//! Rule files and their lists from disk, checked. They load whole or not at all (R17).

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use crate::engine::{NamedText, PublishedRules};
use crate::rule::{self, Fault, ListEntry, Place, RuleSet, Source};

/// Why rules did not come from disk. Rules load whole or not at all.
#[derive(Debug)]
pub enum LoadError {
    /// A rule file or folder cannot be read, or holds no rules: exit status 2.
    Unreadable { path: PathBuf, error: io::Error },
    /// The files were read and are wrong: exit status 1.
    Faults(Vec<Fault>),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Unreadable { path, error } => {
                write!(f, "cannot read rules from {}: {error}", path.display())
            }
            LoadError::Faults(faults) => {
                for (i, fault) in faults.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { "\n" })?;
                    fault.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for LoadError {}

impl LoadError {
    fn unreadable(path: &Path, error: io::Error) -> LoadError {
        LoadError::Unreadable { path: path.to_owned(), error }
    }
}

/// A checked rule set with all that was read for it.
#[derive(Debug)]
pub struct RulesOnDisk {
    pub rules: RuleSet,
    /// Of each list, in order of [`RuleSet::lists`].
    pub entries: Vec<Vec<ListEntry>>,
    /// What it is when it is published.
    pub published: PublishedRules,
}

/// The rules of a file or folder with their texts.
pub fn read_published(path: &Path) -> Result<RulesOnDisk, LoadError> {
    let (rules, lists, sources) = read_texts(&[path.to_owned()])?;
    let (entries, texts): (Vec<_>, Vec<_>) = lists.into_iter().unzip();
    let mut published = PublishedRules::named(&rules, &entries);
    // Paths within the rules: the same on every host.
    let name = |file: &str| {
        let file = Path::new(file);
        let within = file.strip_prefix(path).ok().filter(|within| within.file_name().is_some());
        let within = within.map(Path::to_owned).or_else(|| file.file_name().map(PathBuf::from));
        within.unwrap_or_default().display().to_string()
    };
    let file = |source: Source| NamedText { name: name(&source.path), text: source.text };
    published.files = sources.into_iter().map(file).collect();
    let named = rules.lists.iter().zip(texts);
    let list = |(list, text): (&rule::ListDecl, Option<String>)| {
        Some(NamedText { name: list.name.clone(), text: text? })
    };
    published.lists = named.filter_map(list).collect();
    Ok(RulesOnDisk { rules, entries, published })
}

/// The rules of a file or folder, and the entries of each of its lists in order of
/// [`RuleSet::lists`].
pub fn read_rules(path: &Path) -> Result<(RuleSet, Vec<Vec<ListEntry>>), LoadError> {
    read_all(&[path.to_owned()])
}

/// As [`read_rules`], for several files or folders merged into one set.
pub fn read_all(paths: &[PathBuf]) -> Result<(RuleSet, Vec<Vec<ListEntry>>), LoadError> {
    let RuleTexts { rules, entries, .. } = read_with_texts(paths)?;
    Ok((rules, entries))
}

/// A checked rule set with the texts that it was read from.
#[derive(Debug)]
pub struct RuleTexts {
    pub rules: RuleSet,
    /// Of each list, in order of [`RuleSet::lists`].
    pub entries: Vec<Vec<ListEntry>>,
    pub sources: Vec<Source>,
}

/// As [`read_all`], with the texts of the rule files.
pub fn read_with_texts(paths: &[PathBuf]) -> Result<RuleTexts, LoadError> {
    let (rules, lists, sources) = read_texts(paths)?;
    let entries = lists.into_iter().map(|(entries, _)| entries).collect();
    Ok(RuleTexts { rules, entries, sources })
}

/// The entries of a list, and the text of its file if it has one.
type ListText = (Vec<ListEntry>, Option<String>);

fn read_texts(paths: &[PathBuf]) -> Result<(RuleSet, Vec<ListText>, Vec<Source>), LoadError> {
    let (sources, mut faults) = read_sources(paths)?;
    let set = match rule::load(&sources) {
        Ok(set) => set,
        Err(mut more) => {
            faults.append(&mut more);
            return Err(LoadError::Faults(faults));
        }
    };
    let mut lists = Vec::new();
    for list in &set.lists {
        match read_list(list, &sources, &set.timezone) {
            Ok(list) => lists.push(list),
            Err(mut more) => faults.append(&mut more),
        }
    }
    if faults.is_empty() { Ok((set, lists, sources)) } else { Err(LoadError::Faults(faults)) }
}

/// Path of the file of a list: relative to the rule file that declares it.
pub fn list_path(list: &rule::ListDecl) -> Option<PathBuf> {
    let file = list.file.as_ref()?;
    Some(Path::new(&list.origin).parent().unwrap_or(Path::new("")).join(file))
}

fn read_list(
    list: &rule::ListDecl,
    sources: &[Source],
    zone: &TimeZone,
) -> Result<ListText, Vec<Fault>> {
    let Some(path) = list_path(list) else { return Ok((Vec::new(), None)) };
    match fs::read_to_string(&path) {
        Ok(text) => {
            let entries = rule::parse_list(&text, &path.display().to_string(), zone)?;
            Ok((entries, Some(text)))
        }
        Err(error) => Err(vec![Fault {
            place: rule::place_of_list(sources, list),
            text: list.file.clone().unwrap_or_default(),
            message: format!("cannot read the file of the list, {error}"),
            hint: Some(format!("looked for {}", path.display())),
        }]),
    }
}

/// Texts of all rule files, and a fault for each that is not UTF-8.
fn read_sources(paths: &[PathBuf]) -> Result<(Vec<Source>, Vec<Fault>), LoadError> {
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        for file in rule_files(path).map_err(|error| LoadError::unreadable(path, error))? {
            let real =
                fs::canonicalize(&file).map_err(|error| LoadError::unreadable(&file, error))?;
            if seen.insert(real) {
                files.push(file);
            }
        }
    }
    let (mut sources, mut faults) = (Vec::new(), Vec::new());
    for file in files {
        let bytes = fs::read(&file).map_err(|error| LoadError::unreadable(&file, error))?;
        let path = file.display().to_string();
        match String::from_utf8(bytes) {
            Ok(text) => sources.push(Source { path, text }),
            Err(error) => faults.push(not_utf8(path, &error)),
        }
    }
    Ok((sources, faults))
}

/// The file itself, or the rule files of a folder, by name: `*.yaml` but not `*.test.yaml`.
pub fn rule_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let hidden = name.starts_with('.');
        let yaml = file.extension().is_some_and(|extension| extension == "yaml");
        if yaml && !name.ends_with(".test.yaml") && !hidden && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no *.yaml in this folder"));
    }
    files.sort();
    Ok(files)
}

fn not_utf8(file: String, error: &std::string::FromUtf8Error) -> Fault {
    let valid = error.utf8_error().valid_up_to();
    let before = error.as_bytes().get(..valid).unwrap_or_default();
    let before = String::from_utf8_lossy(before);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let byte = error.as_bytes().get(valid).copied().unwrap_or_default();
    Fault {
        place: Place { file, line, column },
        text: format!("\\x{byte:02x}"),
        message: "the file is not UTF-8".into(),
        hint: None,
    }
}
