//! The layers of a configuration, one over the other: file, environment, flags (C8).
//!
//! `TIDEGATE_KAFKA__BROKERS` is `kafka.brokers`: `__` parts levels. Whether a key exists is not
//! known here, with one exception: a variable without `__` counts when it names `rules`, the
//! only key without a section. Others such as `TIDEGATE_LOG` belong to somebody else.

use std::path::{Path, PathBuf};

use super::fault::{ConfigError, Fault};
use super::tree::{self, Data, Node, Origin};

/// The file that is read when none is named, if the working folder holds it.
pub const DEFAULT_FILE: &str = "tidegate.yaml";

const PREFIX: &str = "TIDEGATE_";

/// Keys whose values are maps with names of their own, which may hold dots.
const OPEN_MAPS: [[&str; 2]; 3] =
    [["kafka", "properties"], ["input", "fields"], ["input", "kinds"]];

/// What a configuration is read from.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file named by `--config`. Without one, [`DEFAULT_FILE`] is read if it is there.
    pub file: Option<PathBuf>,
    /// The environment; references are looked up here as well.
    pub variables: Vec<(String, String)>,
    /// Dotted key and value of each flag, such as `kafka.brokers`; the last of a key counts.
    pub flags: Vec<(String, String)>,
}

/// The environment holds secrets.
impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Sources {
    /// The environment of this process. Variables that are not UTF-8 are left out.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Sources {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Sources { file, variables, flags }
    }

    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The file to read, and whether it must be there.
    fn path(&self) -> (PathBuf, bool) {
        match &self.file {
            Some(file) => (file.clone(), true),
            None => (PathBuf::from(DEFAULT_FILE), false),
        }
    }

    /// The folder that relative paths of the file, and of defaults, start from.
    pub(super) fn folder(&self) -> PathBuf {
        self.path().0.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// All layers as one tree.
    pub(super) fn tree(&self, keys: &[String]) -> Result<(Node, Vec<Fault>), ConfigError> {
        let mut root = self.file_tree()?;
        let mut faults = Vec::new();
        // In order of name, so that a section given whole comes before its keys.
        let mut variables: Vec<_> = self.variables.iter().collect();
        variables.sort();
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let origin = Origin::Variable(name.clone());
            if rest.contains("__") || rest == "RULES" {
                let segments: Vec<&str> = rest.split("__").collect();
                let node = value_tree(value, &origin);
                put(&mut root, &path_of_variable(&segments), node, &origin);
            } else if let Some(key) = keys.iter().find(|key| is_flattened(key, rest)) {
                let hint = format!("{PREFIX}{}", key.replace('.', "__").to_uppercase());
                let fault = Fault::new(&origin, "", "names no key: `__` parts levels");
                faults.push(fault.hinted(Some(hint)));
            }
        }
        for (key, value) in &self.flags {
            let node = value_tree(value, &Origin::Flag);
            let segments: Vec<String> = key.split('.').map(str::to_owned).collect();
            put(&mut root, &joined(segments), node, &Origin::Flag);
        }
        Ok((root, faults))
    }

    fn file_tree(&self) -> Result<Node, ConfigError> {
        let (path, required) = self.path();
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Node::map(Origin::File { path: name, line: 1 }));
            }
            Err(source) => return Err(ConfigError::Unreadable { path: name, source }),
        };
        file_tree(&text, &name)
    }
}

/// The text of a configuration file as a tree; an empty file is an empty map.
pub(super) fn file_tree(text: &str, name: &str) -> Result<Node, ConfigError> {
    let origin = |line| Origin::File { path: name.to_owned(), line };
    let root = tree::parse(text, &origin).map_err(ConfigError::Faulty)?;
    let Some(root) = root.filter(|root| !root.is_null()) else { return Ok(Node::map(origin(1))) };
    if !matches!(root.data, Data::Map(_)) {
        let fault = Fault::new(&root.origin, "", "a configuration is a map of sections");
        return Err(ConfigError::Faulty(vec![fault]));
    }
    Ok(root)
}

/// A list, a map or a quoted text is YAML; anything else stands for itself, so that passwords
/// need no quoting.
fn value_tree(value: &str, origin: &Origin) -> Node {
    let plain = || Node::scalar(origin.clone(), value.to_owned(), true);
    if !value.trim_start().starts_with(['[', '{', '"', '\'']) {
        return plain();
    }
    match tree::parse(value, &|_| origin.clone()) {
        Ok(Some(node)) => node,
        _ => plain(),
    }
}

fn path_of_variable(segments: &[&str]) -> Vec<String> {
    let mut path: Vec<String> = segments.iter().map(|part| part.to_lowercase()).collect();
    if path.starts_with(&["input".to_owned(), "kinds".to_owned()]) {
        // Words of the records themselves, in their own case.
        path.truncate(2);
        path.extend(segments.iter().skip(2).map(|&part| part.to_owned()));
    }
    if path.starts_with(&["kafka".to_owned(), "properties".to_owned()]) {
        for part in path.iter_mut().skip(2) {
            *part = part.replace('_', ".");
        }
    }
    joined(path)
}

/// The names within an open map are one segment: `kafka.properties.sasl.password`.
fn joined(path: Vec<String>) -> Vec<String> {
    let open = OPEN_MAPS.iter().any(|map| path.iter().take(2).eq(map.iter()));
    if !open || path.len() < 3 {
        return path;
    }
    let (head, tail) = path.split_at(2);
    let mut path = head.to_vec();
    path.push(tail.join("."));
    path
}

/// Puts `node` at `path`, in place of what stands there.
fn put(at: &mut Node, path: &[String], node: Node, origin: &Origin) {
    let Some((name, rest)) = path.split_first() else {
        *at = node;
        return;
    };
    if !matches!(at.data, Data::Map(_)) {
        *at = Node::map(origin.clone());
    }
    let Data::Map(entries) = &mut at.data else { return };
    // Variables can hold no dash: `ONCALL_MAIL` is the receiver `oncall-mail`.
    let known = entries.iter().position(|(known, _)| known == name).or_else(|| {
        entries.iter().position(|(known, _)| known.to_lowercase().replace('-', "_") == *name)
    });
    if let Some((_, below)) = known.and_then(|index| entries.get_mut(index)) {
        put(below, rest, node, origin);
        return;
    }
    let mut below = Node::map(origin.clone());
    put(&mut below, rest, node, origin);
    entries.push((name.clone(), below));
}

/// Whether `rest`, such as `KAFKA_BROKERS`, is `key` with one underscore where two belong.
fn is_flattened(key: &str, rest: &str) -> bool {
    key.contains('.') && key.replace('.', "_").eq_ignore_ascii_case(rest)
}
