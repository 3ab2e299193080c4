//! Settings of the fold, from a configuration file (contract K).
//!
//! Reads what a backtest needs: the `input` and `engine` sections. Other sections of the file
//! are left alone.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::engine::Settings;
use crate::event::{Decoder, MappingError};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Unreadable { path: String, source: std::io::Error },
    #[error("{path}: {message}")]
    Faulty { path: String, message: String },
    #[error(transparent)]
    Mapping(#[from] MappingError),
}

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

/// Sections that the fold does not read; a misspelt name is still an error.
const OTHER_SECTIONS: [&str; 7] =
    ["kafka", "topics", "rules", "state", "http", "notify", "privacy"];

#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(default)]
    input: InputSection,
    #[serde(default)]
    engine: EngineSection,
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputSection {
    #[serde(rename = "start")]
    _start: Option<IgnoredAny>,
    max_ahead: Option<String>,
    max_bytes: Option<usize>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    #[serde(default)]
    kinds: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EngineSection {
    #[serde(rename = "workers")]
    _workers: Option<IgnoredAny>,
    #[serde(rename = "flush_interval")]
    _flush_interval: Option<IgnoredAny>,
    #[serde(rename = "idle_after")]
    _idle_after: Option<IgnoredAny>,
    allowed_lateness: Option<String>,
    dedup: Option<String>,
}

/// Reads the `input` and `engine` sections of a configuration file.
///
/// # Errors
/// When the file cannot be read, is not YAML, or a value in it cannot be used.
pub fn read_fold(path: &Path) -> Result<FoldConfig, ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: name.clone(), source })?;
    parse_fold(&text, &name)
}

fn parse_fold(text: &str, path: &str) -> Result<FoldConfig, ConfigError> {
    let faulty = |message: String| ConfigError::Faulty { path: path.to_owned(), message };
    let file: File = serde_saphyr::from_str(text).map_err(|error| faulty(error.to_string()))?;
    if let Some(name) = file.others.keys().find(|name| !OTHER_SECTIONS.contains(&name.as_str())) {
        return Err(faulty(format!("unknown section `{name}`{}", nearest(name))));
    }
    let duration = |key: &str, text: &Option<String>, default: i64| match text {
        None => Ok(default),
        Some(text) => crate::rule::parse_duration(text).ok_or_else(|| {
            faulty(format!("{key}: `{text}` is not a duration; write `500ms`, `30s`, `10m`, `1h`"))
        }),
    };
    let ten_minutes = 600_000;
    let lateness = duration("engine.allowed_lateness", &file.engine.allowed_lateness, ten_minutes)?;
    let dedup_ms = match file.engine.dedup.as_deref() {
        Some("off") => None,
        _ => Some(duration("engine.dedup", &file.engine.dedup, ten_minutes.max(lateness))?),
    };
    if dedup_ms.is_some_and(|dedup| dedup < lateness) {
        return Err(faulty("engine.dedup must be at least engine.allowed_lateness".to_owned()));
    }
    let max_ahead = duration("input.max_ahead", &file.input.max_ahead, 300_000)?;
    Ok(FoldConfig {
        decoder: Decoder::new(&file.input.fields, &file.input.kinds)?,
        max_bytes: file.input.max_bytes.unwrap_or(65_536),
        settings: Settings {
            allowed_lateness_ms: lateness,
            dedup_ms,
            max_ahead_ms: Some(max_ahead),
            ..Settings::default()
        },
    })
}

/// ` (did you mean …?)`, or nothing where no section is near.
fn nearest(name: &str) -> String {
    let known = OTHER_SECTIONS.into_iter().chain(["input", "engine"]);
    let near = known.min_by_key(|known| strsim::damerau_levenshtein(known, name));
    match near.filter(|near| strsim::damerau_levenshtein(near, name) <= 2) {
        Some(near) => format!(" (did you mean `{near}`?)"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_fold;

    #[test]
    fn dedup_is_off_or_at_least_the_lateness() {
        let dedup = |text: &str| parse_fold(text, "t.yaml").map(|config| config.settings.dedup_ms);
        assert_eq!(dedup("kafka: {brokers: x}").unwrap(), Some(600_000));
        assert_eq!(dedup("engine: {dedup: off}").unwrap(), None);
        assert_eq!(dedup("engine: {allowed_lateness: 20m}").unwrap(), Some(1_200_000));
        let fault = dedup("engine: {dedup: 5m}").unwrap_err().to_string();
        assert_eq!(fault, "t.yaml: engine.dedup must be at least engine.allowed_lateness");
        let fault = dedup("engin: {dedup: 5m}").unwrap_err().to_string();
        assert_eq!(fault, "t.yaml: unknown section `engin` (did you mean `engine`?)");
        let fault = dedup("engine: {dedupe: 5m}").unwrap_err().to_string();
        assert!(fault.contains("dedupe"), "{fault}");
        assert!(dedup("engine: {dedup: soon}").unwrap_err().to_string().contains("`soon`"));
    }
}
