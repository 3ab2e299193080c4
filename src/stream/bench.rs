//! What all partitions of a worker share while records are applied, and where their outputs wait.

use std::sync::Arc;

use crate::event::{Decoder, Layouts};
use crate::stream::emit::Note;
use crate::stream::{Produce, WorkerSettings};

/// Outputs that wait, and what is counted once they are written.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) outputs: Vec<Produce>,
    pub(crate) notes: Vec<Note>,
    /// Record timestamps, in ms, of what tipped the commands among them.
    pub(crate) tipped: Vec<i64>,
    /// Event times, in ms, of the decisions among them.
    pub(crate) decided: Vec<i64>,
    /// Whether there are decisions or commands that records brought.
    pub(crate) has_messages: bool,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    pub(crate) fn push(&mut self, output: Produce) {
        self.outputs.push(output);
    }
}

impl Extend<Produce> for Outbox {
    fn extend<I: IntoIterator<Item = Produce>>(&mut self, outputs: I) {
        self.outputs.extend(outputs);
    }
}

/// What all partitions of a worker share while records are applied.
#[derive(Debug)]
pub(crate) struct Workbench {
    pub(crate) decoder: Decoder,
    pub(crate) layouts: Layouts,
    pub(crate) max_bytes: usize,
    /// The control topic, and how many partitions the events topic has.
    pub(crate) control_topic: Arc<str>,
    pub(crate) partitions: u32,
    /// What goes with the next transaction.
    pub(crate) outbox: Outbox,
    /// What leaves at once, where [`Workbench::is_open`] says that anything may.
    pub(crate) leaving: Outbox,
    pub(crate) is_open: bool,
    /// Milliseconds since the epoch, about now.
    pub(crate) wall_ms: i64,
    pub(crate) key_mismatches: u64,
}

impl Workbench {
    pub(crate) fn new(decoder: Decoder, settings: &WorkerSettings) -> Workbench {
        Workbench {
            decoder,
            layouts: Layouts::default(),
            max_bytes: settings.max_bytes,
            control_topic: settings.control_topic.clone(),
            partitions: settings.partitions,
            outbox: Outbox::default(),
            leaving: Outbox::default(),
            is_open: false,
            wall_ms: 0,
            key_mismatches: 0,
        }
    }

    /// Another one of the same settings, empty.
    pub(crate) fn spare(&self) -> Workbench {
        Workbench {
            decoder: self.decoder.clone(),
            layouts: Layouts::default(),
            control_topic: self.control_topic.clone(),
            outbox: Outbox::default(),
            leaving: Outbox::default(),
            is_open: false,
            wall_ms: 0,
            key_mismatches: 0,
            ..*self
        }
    }

    /// Forgets what was put out.
    pub(crate) fn clear(&mut self) {
        (self.outbox, self.leaving) = (Outbox::default(), Outbox::default());
        self.key_mismatches = 0;
    }
}
