//! What the fold needs of a configuration: how to read events, and the engine's settings.

use std::path::Path;

use super::fault::{ConfigError, Fault, nearest};
use super::layer::{Sources, file_tree};
use super::sections::Config;
use super::tree::Data;
use crate::engine::Settings;
use crate::event::{Decoder, MappingError};
use crate::rule::millis;

/// What the fold needs of the configuration.
#[derive(Debug, Clone)]
pub struct FoldConfig {
    pub decoder: Decoder,
    pub max_bytes: usize,
    pub settings: Settings,
}

impl Default for FoldConfig {
    fn default() -> Self {
        let settings = Settings::default();
        FoldConfig { decoder: Decoder::default(), max_bytes: 65_536, settings }
    }
}

impl FoldConfig {
    /// That of the file, where one is named; the defaults otherwise.
    ///
    /// # Errors
    /// As [`read_fold`].
    pub fn named(path: Option<&Path>) -> Result<FoldConfig, ConfigError> {
        path.map_or_else(|| Ok(FoldConfig::default()), read_fold)
    }
}

impl Config {
    /// The sections `input` and `engine` as the engine takes them.
    ///
    /// # Errors
    /// When `input.fields` or `input.kinds` cannot be used; loading has told that already.
    pub fn fold(&self) -> Result<FoldConfig, MappingError> {
        Ok(FoldConfig {
            decoder: Decoder::new(&self.input.fields, &self.input.kinds)?,
            max_bytes: self.input.max_bytes,
            settings: Settings {
                allowed_lateness_ms: millis(self.engine.allowed_lateness),
                dedup_ms: self.engine.dedup.map(millis),
                max_ahead_ms: Some(millis(self.input.max_ahead)),
                idle_after_ms: millis(self.engine.idle_after),
                max_keys: Some(self.engine.max_keys),
            },
        })
    }
}

/// Sections that a backtest reads.
const READ: [&str; 2] = ["input", "engine"];

/// Sections that it leaves alone, with the references in them.
const LEFT: [&str; 7] = ["kafka", "topics", "rules", "state", "http", "notify", "privacy"];

/// Reads the `input` and `engine` sections of a configuration file and nothing else: neither
/// other sections nor layers above the file, so that a backtest depends on what it names.
///
/// # Errors
/// When the file cannot be read, is not YAML, or a value in it cannot be used.
pub fn read_fold(path: &Path) -> Result<FoldConfig, ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: name.clone(), source })?;
    let sources = Sources { file: Some(path.to_owned()), ..Sources::of_process(None, Vec::new()) };
    parse_fold(&text, &name, &sources)
}

pub(super) fn parse_fold(
    text: &str,
    name: &str,
    sources: &Sources,
) -> Result<FoldConfig, ConfigError> {
    let mut root = file_tree(text, name)?;
    let mut faults = Vec::new();
    if let Data::Map(entries) = &mut root.data {
        let known = || READ.into_iter().chain(LEFT);
        for (section, node) in entries.iter() {
            if !known().any(|known| known == section) {
                let fault = Fault::new(&node.origin, section, "unknown section");
                faults.push(fault.hinted(nearest(section, known())));
            }
        }
        entries.retain(|(section, _)| READ.contains(&section.as_str()));
    }
    let config = Config::of_tree(root, sources, false, faults)?;
    config.fold().map_err(|error| ConfigError::Faulty(vec![Fault::of("", error.to_string())]))
}
