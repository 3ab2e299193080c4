//! What stood in the topic of decisions before the offset that is read from.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Notifier;
use crate::notify::progress::Place;
use crate::notify::recall;
use crate::notify::repeats::BACK;
use crate::notify::resume::Resume;

/// Of a decision its id.
#[derive(Deserialize)]
struct Named {
    id: String,
}

impl Notifier {
    /// Whether a decision was told before, where some are written once more.
    pub(super) fn is_repeat(&mut self, place: Place, decision: &str) -> bool {
        self.settings.may_repeat && self.repeats.has(place, decision)
    }

    /// Keeps in mind what came before the committed offsets: it may come again. That it cannot be
    /// read keeps nobody from being told.
    pub(super) fn look_back(&mut self, starts: &BTreeMap<i32, Resume>) {
        if !self.settings.may_repeat {
            return;
        }
        let topic = self.settings.decisions_topic.clone();
        for (partition, resume) in starts {
            let (from, to) = (resume.committed.saturating_sub(BACK).max(0), resume.committed);
            let mut named = Vec::new();
            let read = recall::stretch(
                self.line(),
                (&topic, *partition),
                (from, to),
                &mut |offset, value| {
                    if let Ok(Named { id }) = serde_json::from_slice(value) {
                        named.push((offset, id));
                    }
                },
            );
            if let Err(error) = read {
                tracing::warn!(topic, partition, %error,
                    "what came before cannot be read: what is written again may be told again");
            }
            for (offset, id) in named {
                self.repeats.has(Place { partition: *partition, offset }, &id);
            }
        }
    }
}
