//! Test files on disk, and which rules they test.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::parse;

/// The tests that stand beside rule files.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// Rules that a test expects to fire.
    pub expected: BTreeSet<String>,
    /// Files that are no tests, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// `*.test.yaml` of a folder, by name; hidden ones do not count.
///
/// # Errors
/// When the folder cannot be read.
pub fn test_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".test.yaml") && !name.starts_with('.') {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The tests in folders of rules, or in the folders that rule files stand in.
///
/// # Errors
/// When a folder cannot be read.
pub fn beside(paths: &[PathBuf]) -> io::Result<Beside> {
    let mut folders = BTreeSet::new();
    for path in paths {
        let folder = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
        folders.insert(folder.unwrap_or(Path::new(".")).to_owned());
    }
    let mut beside = Beside::default();
    for folder in folders {
        for file in test_files(&folder)? {
            let tests = match fs::read_to_string(&file) {
                Ok(text) => parse(&text),
                Err(error) => Err(error.to_string()),
            };
            match tests {
                Ok(tests) => {
                    let expected = tests.tests.iter().flat_map(|case| &case.expect);
                    let named = expected.filter_map(|decision| decision.get("rule")?.as_str());
                    beside.expected.extend(named.map(str::to_owned));
                }
                Err(reason) => beside.unreadable.push((file, reason)),
            }
        }
    }
    Ok(beside)
}
