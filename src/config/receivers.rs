//! The names of the receivers, for checks of rules that name them.

use std::path::Path;

use super::fault::ConfigError;
use super::layer::file_tree;
use super::tree::{Data, Node};

/// The names under `notify.receivers` of a configuration file, in file order. Reads nothing else:
/// no other layers, and no references, which may need secrets.
///
/// # Errors
/// When the file cannot be read or is not YAML.
pub fn read_receivers(path: &Path) -> Result<Vec<String>, ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: name.clone(), source })?;
    let root = file_tree(&text, &name)?;
    let receivers = get(&root, "notify").and_then(|notify| get(notify, "receivers"));
    Ok(match receivers.map(|receivers| &receivers.data) {
        Some(Data::Map(entries)) => entries.iter().map(|(name, _)| name.clone()).collect(),
        _ => Vec::new(),
    })
}

fn get<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    match &node.data {
        Data::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
        _ => None,
    }
}
