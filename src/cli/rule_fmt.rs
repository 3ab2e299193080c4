//! `tidegate rules fmt`: one layout for rule and test files.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::rule::format;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Rule and test files, or folders of them; `-` formats standard input to standard output.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Write nothing; name the files that are laid out otherwise, and end with status 1.
    #[arg(long)]
    check: bool,
}

/// Formats; 1 = a file differs and is only checked, or cannot be formatted.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<u8> {
    let mut status = 0;
    for path in files(&arguments.paths)? {
        let dash = path == Path::new("-");
        let text = if dash { standard_input() } else { fs::read_to_string(&path) };
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let formatted = match format(&path.display().to_string(), &text) {
            Ok(formatted) => formatted,
            Err(error) => {
                writeln!(io::stderr(), "{error}")?;
                status = 1;
                continue;
            }
        };
        let differs = formatted != text;
        if arguments.check && differs {
            writeln!(out, "{}", path.display())?;
            status = 1;
        } else if dash && !arguments.check {
            out.write_all(formatted.as_bytes())?;
        } else if differs {
            fs::write(&path, formatted)
                .with_context(|| format!("cannot write {}", path.display()))?;
            writeln!(out, "{}", path.display())?;
        }
    }
    Ok(status)
}

fn standard_input() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// The files themselves, and `*.yaml` of folders, tests included; hidden ones do not count.
fn files(paths: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for path in paths {
        if !path.is_dir() {
            files.insert(path.clone());
            continue;
        }
        let before = files.len();
        let reading = || format!("cannot read {}", path.display());
        for entry in fs::read_dir(path).with_context(reading)? {
            let file = entry.with_context(reading)?.path();
            let hidden =
                file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if !hidden && file.extension().is_some_and(|ending| ending == "yaml") {
                files.insert(file);
            }
        }
        if files.len() == before {
            bail!("no *.yaml in {}", path.display());
        }
    }
    Ok(files)
}
