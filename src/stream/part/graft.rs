//! A snapshot that a state takes in on its way through the log: where the log has lost its
//! beginning, rules that are new are folded from what it still holds, and of the others a snapshot
//! tells that was made further on (R18).

use std::collections::VecDeque;

use crate::engine::{Damaged, Loader, Origin, Output, Plan, State};
use crate::snapshot::{Bad, Manifest, Segment, Shelf, Subject};
use crate::stream::Place;
use crate::stream::part::Part;
use crate::stream::reign::Reign;

/// A snapshot to be taken in, some of it at a time.
#[derive(Debug)]
pub(crate) struct Graft {
    /// Offset that it is of, and how far it has seen the control topic.
    at: i64,
    control: i64,
    /// Its segments: the store may not keep them until their offset comes.
    held: VecDeque<Vec<u8>>,
    loader: Option<Loader<'static>>,
}

impl Graft {
    /// Reads a whole snapshot; `read` hears of each segment.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn read(
        shelf: &Shelf,
        (subject, manifest): (&Subject, &Manifest),
        read: impl Fn(),
    ) -> Result<Graft, Bad> {
        let segment = |segment: &Segment| shelf.records(subject, segment).inspect(|_| read());
        Ok(Graft {
            at: manifest.offset,
            control: manifest.control,
            held: manifest.segments.iter().map(segment).collect::<Result<_, _>>()?,
            loader: None,
        })
    }

    /// What it tells.
    pub(crate) fn held(&self) -> impl Iterator<Item = &[u8]> {
        self.held.iter().map(Vec::as_slice)
    }
}

impl Part {
    /// One that begins at `since` with rules that are new, and takes in a snapshot further on.
    pub(crate) fn joined(
        origin: Origin,
        (place, since): (Place, i64),
        mut reign: Reign,
        (graft, manifest): (Graft, &Manifest),
    ) -> Part {
        reign.part();
        Part {
            begun_at: manifest.begun_at,
            snapshot: Some(manifest.offset),
            graft: Some(Box::new(graft)),
            ..Part::with((State::new(origin), Output::default()), place, since, reign)
        }
    }

    /// The offset at which a snapshot has to be taken in before the next record.
    pub(crate) fn joins_at(&self) -> Option<i64> {
        self.graft.as_ref().map(|graft| graft.at)
    }

    /// Takes some of the snapshot in, whose offset is reached. All is done when
    /// [`Part::joins_at`] says so.
    ///
    /// # Errors
    /// When it is no snapshot of this log: the state is of no use.
    pub(crate) fn join_some(&mut self) -> Result<(), Damaged> {
        let Some(graft) = &mut self.graft else { return Ok(()) };
        let loader = graft.loader.get_or_insert_with(|| {
            self.reign.join();
            let empty = (State::new(self.state.origin().clone()), Output::default());
            let state = std::mem::replace(&mut self.state, empty.0);
            let output = std::mem::replace(&mut self.output, empty.1);
            let own = self.reign.armed().to_vec();
            Loader::onto(Plan::clone(&self.reign.plan), (state, output), own)
        });
        if let Some(records) = graft.held.pop_front() {
            return loader.take(&records);
        }
        let Some(graft) = self.graft.take() else { return Ok(()) };
        let (at, control) = (graft.at, graft.control);
        if let Some(loader) = graft.loader {
            let loaded = loader.finish()?;
            (self.state, self.output) = (loaded.state, loaded.output);
        }
        self.next = self.next.max(at);
        self.controlled = control;
        let mut history = std::mem::take(&mut self.history);
        history.retain(|entry| entry.control > control || self.begins_with(entry));
        self.history = history;
        Ok(())
    }

    /// Takes a whole snapshot in where its offset lies not behind this one. It was looked through
    /// before.
    pub(super) fn join_before(&mut self, offset: i64) {
        while self.joins_at().is_some_and(|at| at <= offset) {
            if let Err(error) = self.join_some() {
                tracing::error!(topic = %self.state.origin().topic,
                    partition = self.place.partition, %error, "a snapshot cannot be taken in");
                self.graft = None;
            }
        }
    }
}
