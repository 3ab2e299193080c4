//! `tidegate rules check` and `rules schema` (C3).

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::control::{LoadError, read_all};
use crate::rule;

/// Checks rule files and their lists; writes the faults, or what was loaded, to `out`.
/// Returns the exit status of C1.
pub fn check(paths: &[PathBuf], json: bool, out: &mut dyn Write) -> Result<u8> {
    let result = read_all(paths);
    match result {
        Ok((set, lists)) => {
            let entries: usize = lists.iter().map(Vec::len).sum();
            let (rules, lists) = (set.rules.len(), lists.len());
            if json {
                let found = json!({ "ruleset": set.version, "rules": rules, "lists": lists,
                    "entries": entries, "faults": [] });
                writeln!(out, "{found}")?;
            } else {
                let version = &set.version;
                writeln!(
                    out,
                    "ok: rules {rules}, lists {lists} ({entries} entries), rule set {version}"
                )?;
            }
            Ok(0)
        }
        Err(LoadError::Faults(faults)) => {
            if json {
                writeln!(out, "{}", json!({ "faults": faults }))?;
            } else {
                for fault in &faults {
                    writeln!(out, "{fault}")?;
                }
                let s = if faults.len() == 1 { "" } else { "s" };
                writeln!(out, "{} fault{s}", faults.len())?;
            }
            Ok(1)
        }
        Err(error @ LoadError::Unreadable { .. }) => Err(error.into()),
    }
}

/// Writes the JSON Schema of rule files.
pub fn schema(out: &mut dyn Write) -> Result<u8> {
    serde_json::to_writer_pretty(&mut *out, &rule::schema())?;
    writeln!(out)?;
    Ok(0)
}
