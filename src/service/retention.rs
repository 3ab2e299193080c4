//! Rules that look back further than the broker keeps the events: said once, at the start.

use std::path::PathBuf;

use crate::control::read_with_texts;
use crate::rule::{Lint, Surroundings, lint};
use crate::stream::kafka::{KafkaSettings, retention_ms};

/// Logs a warning for each. A broker that does not tell how long it keeps them is no reason for
/// alarm: the right to describe topics is not needed otherwise.
pub(super) async fn compare(kafka: KafkaSettings, rules: PathBuf) {
    let retention_ms = match retention_ms(&kafka).await {
        Ok(Some(retention_ms)) => retention_ms,
        Ok(None) => return,
        Err(reason) => {
            tracing::debug!(reason, "the broker does not tell how long it keeps the events");
            return;
        }
    };
    let read = tokio::task::spawn_blocking(move || read_with_texts(&[rules])).await;
    let Ok(Ok(read)) = read else { return };
    let around = Surroundings { retention_ms: Some(retention_ms), ..Surroundings::default() };
    for warning in lint(&read.sources, &read.rules, &around) {
        if warning.lint == Lint::ShortRetention {
            tracing::warn!("{warning}");
        }
    }
}
