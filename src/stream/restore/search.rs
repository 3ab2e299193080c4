//! The newest snapshot from which the state of a place can begin.

use crate::engine::{Damaged, Loaded, Loader, Output, Plan, State};
use crate::snapshot::{Bad, Manifest, Shelf, Subject};
use crate::stream::control::Journaled;
use crate::stream::part::{Graft, Part, subject_of};
use crate::stream::reign::{Found, Reign};
use crate::stream::restore::Origins;
use crate::stream::{Failure, Lookup, Place, Source, lock};

/// A look through the snapshots of one place.
pub(super) struct Search<'a, L: ?Sized> {
    pub(super) log: &'a mut L,
    pub(super) shelf: &'a Shelf,
    pub(super) origins: &'a Origins,
    pub(super) place: Place,
    pub(super) told: Told<'a>,
    /// Under which the state of this place began last.
    pub(super) reign: &'a Reign,
    /// The whole snapshot is taken in at once: nothing goes on meanwhile.
    pub(super) is_at_once: bool,
}

/// What the journal says of one place.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) found: &'a Found,
    pub(super) history: &'a [Journaled],
}

impl<L: Lookup + ?Sized> Search<'_, L> {
    /// The state of the newest snapshot that is whole, of this log and not ahead of `from`.
    pub(super) fn newest(&mut self, low: i64, from: i64) -> Result<Option<Part>, Failure> {
        let subject = subject_of(&self.origins.of(self.place));
        let names = match self.shelf.names(&subject) {
            Ok(names) => names,
            Err(error) => return self.without_store(low, &error.to_string()),
        };
        let mut newest_gone = None;
        for (offset, name) in names {
            if offset > from {
                self.skip(&format!("{name}: is ahead of the group's offset {from}"));
                continue;
            }
            if offset < low && !self.origins.accept_gap {
                newest_gone.get_or_insert(offset);
                continue;
            }
            match self.open(&subject, &name, low) {
                Ok(Some(part)) => return Ok(Some(part)),
                Ok(None) => {}
                Err(Reason::Bad(Bad::Damaged { name, reason })) => {
                    self.skip(&format!("{name}: {reason}"));
                }
                Err(Reason::Bad(Bad::Store(error))) => {
                    // The one object cannot be read: perhaps an older one can.
                    self.skip(&format!("{name}: {error}"));
                }
                Err(Reason::Log(failure)) => return Err(failure),
            }
        }
        match newest_gone {
            Some(offset) => Err(Failure::Fatal(format!(
                "{}: its newest usable snapshot covers the log up to offset {offset}, but the log \
                 begins at {low}: the records between them are gone. Lengthen the topic's \
                 retention or shorten `state.interval` for the next time. To go on from the \
                 snapshot without those records set `state.accept_gap: true`; to begin with what \
                 the log holds, and without older holds and counters, remove this partition's \
                 snapshots",
                self.origins.name(self.place)
            ))),
            None => Ok(None),
        }
    }

    /// A log that is whole needs no snapshot; one that is not must wait for the store.
    fn without_store(&self, low: i64, reason: &str) -> Result<Option<Part>, Failure> {
        let name = self.origins.name(self.place);
        if low > 0 {
            return Err(Failure::Retriable(format!("{name}: snapshots cannot be read: {reason}")));
        }
        tracing::warn!(
            partition = name,
            reason,
            "snapshots cannot be read: the state is rebuilt from the whole log"
        );
        self.origins.metrics.snapshots.with_label_values(&["skipped"]).inc();
        Ok(None)
    }

    fn open(&mut self, subject: &Subject, name: &str, low: i64) -> Result<Option<Part>, Reason> {
        let manifest = self.shelf.manifest(subject, name)?;
        if let Some(landmark) = manifest.landmark.filter(|landmark| landmark.offset >= low)
            && self.log.fingerprint(self.place, landmark.offset)? != Some(landmark.hash)
        {
            self.skip(&format!("{name}: is of another log that had the same name"));
            return Ok(None);
        }
        let own = self.told.found.reign_at(self.reign, self.told.history, &manifest);
        if own.is_none() && low == 0 {
            self.rebuild(&manifest.ruleset);
            return Ok(None);
        }
        let is_before = own.is_none();
        let reign = own.unwrap_or_else(|| self.reign.clone());
        if is_before && let Some(since) = self.is_joined(low, &manifest) {
            return self.joined(subject, name, &manifest, (since, reign)).map(Some);
        }
        let loader = Loader::new(&reign.plan, self.origins.of(self.place));
        let loaded = self.load(subject, (name, &manifest), loader)?;
        if low == 0 && !loaded.anew.is_empty() {
            self.rebuild(&manifest.ruleset);
            return Ok(None);
        }
        // Of those that have a birth all partitions tell their past.
        let births = reign.newest.births();
        let anew = loaded.anew.iter().filter(|rule| !births.contains_key(*rule));
        self.say_anew(&anew.map(String::as_str).collect::<Vec<&str>>());
        let mut part = Part::of(self.place, loaded, &manifest, reign);
        part.next = part.next.max(low);
        if part.next > manifest.offset {
            tracing::warn!(
                partition = self.origins.name(self.place),
                from = manifest.offset,
                to = part.next,
                "going on without the records between, as state.accept_gap says"
            );
            part.begun_at = part.next;
        }
        self.origins.metrics.snapshots.with_label_values(&["restored"]).inc();
        Ok(Some(part))
    }

    /// Where the log reaches further back than a snapshot that was made before, the first record
    /// that rules which are new are folded from.
    fn is_joined(&self, low: i64, manifest: &Manifest) -> Option<i64> {
        let since = self.reign.since.max(low);
        let has_news = self.place.source == Source::Events && !self.reign.armed().is_empty();
        (has_news && since < manifest.offset).then_some(since)
    }

    /// A state that folds rules which are new from this offset on, and takes in the snapshot when it
    /// is there.
    fn joined(
        &self,
        subject: &Subject,
        name: &str,
        manifest: &Manifest,
        (since, reign): (i64, Reign),
    ) -> Result<Part, Reason> {
        let graft = Graft::read(self.shelf, (subject, manifest), || self.count_loaded());
        let graft = match graft {
            // What else there is knows less, and nothing waits for this.
            Err(Bad::Store(error)) if !self.is_at_once => {
                return Err(Failure::Retriable(format!("{name}: {error}")).into());
            }
            graft => graft?,
        };
        if self.is_at_once {
            // What is found out now needs no way out later.
            let (own, plan) = (reign.armed().to_vec(), Plan::clone(&reign.plan));
            let empty = (State::new(self.origins.of(self.place)), Output::default());
            let mut loader = Loader::onto(plan, empty, own);
            let taken = graft.held().try_for_each(|records| loader.take(records));
            let loaded = taken.and_then(|()| loader.finish());
            self.say_anew(&loaded.map_err(|error| damaged(name, &error))?.anew);
        }
        self.origins.metrics.snapshots.with_label_values(&["restored"]).inc();
        Ok(Part::joined(self.origins.of(self.place), (self.place, since), reign, (graft, manifest)))
    }

    fn say_anew(&self, rules: &[impl AsRef<str>]) {
        let rules: Vec<&str> = rules.iter().map(AsRef::as_ref).collect();
        if !rules.is_empty() {
            tracing::warn!(
                partition = self.origins.name(self.place),
                rules = rules.join(", "),
                "rules count otherwise since the snapshot, and the log no longer holds its \
                 beginning: they begin anew"
            );
        }
    }

    fn rebuild(&self, ruleset: &str) {
        tracing::info!(
            partition = self.origins.name(self.place),
            ruleset,
            "rules count otherwise since the snapshot: the state is rebuilt from the log"
        );
    }

    fn load(
        &self,
        subject: &Subject,
        (name, manifest): (&str, &Manifest),
        mut loader: Loader<'_>,
    ) -> Result<Loaded, Bad> {
        let bad = |error| damaged(name, &error);
        for segment in &manifest.segments {
            loader.take(&self.shelf.records(subject, segment)?).map_err(bad)?;
            self.count_loaded();
        }
        loader.finish().map_err(bad)
    }

    fn count_loaded(&self) {
        *lock(&self.origins.view).loading.get_or_insert_default() += 1;
    }

    fn skip(&self, why: &str) {
        tracing::warn!(partition = self.origins.name(self.place), "a snapshot is skipped: {why}");
        self.origins.metrics.snapshots.with_label_values(&["skipped"]).inc();
    }
}

fn damaged(name: &str, error: &Damaged) -> Bad {
    Bad::Damaged { name: name.to_owned(), reason: error.to_string() }
}

enum Reason {
    Bad(Bad),
    Log(Failure),
}

impl From<Bad> for Reason {
    fn from(bad: Bad) -> Reason {
        Reason::Bad(bad)
    }
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Reason {
        Reason::Log(failure)
    }
}
