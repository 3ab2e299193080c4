//! Where a newly assigned partition begins: with the newest snapshot that fits its log, or empty;
//! the rest is rebuilt from the log up to what the group has committed, without output
//! (architecture 3).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::engine::{Damaged, Loaded, Loader, Origin, Output, Plan, State};
use crate::metrics::Metrics;
use crate::snapshot::{Bad, Manifest, Shelf, Subject};
use crate::stream::control::{Journaled, histories};
use crate::stream::part::{Graft, Part, subject_of};
use crate::stream::plans::{NOWHERE, PlanCell};
use crate::stream::reign::{Found, Reign, Sought, begun, forget_holds};
use crate::stream::{Failure, Log, Place, Side, SideRecord, Source, Start, WorkerView, lock};

/// The parts of an assignment, each with the offset to read from.
pub(crate) struct Restored {
    pub(crate) parts: Vec<Part>,
    /// Places begun anew whose log no longer holds its beginning.
    pub(crate) truncated: Vec<Place>,
    /// Changes by people that not every state has seen, and the offset from which on they are.
    pub(crate) changes: Changes,
}

/// Where states may come from, and under which rules.
pub(crate) struct Origins<'a> {
    pub(crate) events_topic: &'a Arc<str>,
    pub(crate) partials_topic: &'a Arc<str>,
    pub(crate) start: Start,
    /// Of so many records behind the commit a former owner may have told.
    pub(crate) reach: i64,
    pub(crate) plans: &'a PlanCell,
    pub(crate) shelf: Option<&'a Shelf>,
    /// Go on from a snapshot although records after it are gone.
    pub(crate) accept_gap: bool,
    pub(crate) metrics: &'a Metrics,
    /// Where it is said how many segments have been read.
    pub(crate) view: &'a Mutex<WorkerView>,
}

impl Origins<'_> {
    pub(crate) fn of(&self, place: Place) -> Origin {
        let topic = match place.source {
            Source::Events => self.events_topic.clone(),
            Source::Partials => self.partials_topic.clone(),
        };
        Origin { topic, partition: place.partition }
    }

    fn name(&self, place: Place) -> String {
        let Origin { topic, partition } = self.of(place);
        format!("{topic}[{partition}]")
    }
}

/// Builds the parts of `places`. A state in `parked` that is not ahead of the commit is used
/// again; otherwise the state is that of a snapshot, or begins empty at the start of the log.
///
/// # Errors
/// Retriable when the broker or, where it cannot be done without, the store does not answer;
/// fatal when records between the commit or the snapshots and the start of the log are gone, or
/// the log is shorter than what was committed.
pub(crate) fn parts(
    log: &mut impl Log,
    places: &[Place],
    parked: &mut BTreeMap<Place, Part>,
    origins: &Origins<'_>,
    now_us: i64,
) -> Result<Restored, Failure> {
    let offsets = log.committed(places)?;
    let (mut plans, mut settle) = (Vec::new(), Vec::new());
    for (place, committed) in places.iter().zip(offsets) {
        let bounds = log.bounds(*place)?;
        let from = match (committed, origins.start) {
            (Some(committed), _) => committed,
            (None, Start::Latest) if place.source == Source::Events => bounds.high,
            (None, _) => bounds.low,
        };
        if from < bounds.low {
            return Err(Failure::Fatal(format!(
                "{}: records {from} to {} were deleted before they were read; lengthen the \
                 topic's retention, and to go on without them move the group's offset there",
                origins.name(*place),
                bounds.low
            )));
        }
        if from > bounds.high {
            return Err(Failure::Fatal(format!(
                "{}: the group has committed offset {from}, but the log ends at {}: was the \
                 topic made anew? delete the group's offsets to start over",
                origins.name(*place),
                bounds.high
            )));
        }
        plans.push((*place, (from, committed), bounds.low));
        settle.push(bounds.high.min(from.saturating_add(origins.reach)));
    }
    let all = if plans.is_empty() { Journal::new() } else { journal(log)? };
    let (histories, found, changes) = told(log, all, &plans, origins)?;
    let mut restored = Restored { parts: Vec::new(), truncated: Vec::new(), changes };
    let plans = plans.into_iter().zip(histories).zip(settle);
    for (((place, (from, committed), low), history), settles_at) in plans {
        // One for which another took over meanwhile is of no use.
        let begun_at = begun(&history).map_or(NOWHERE, |begun| begun.at);
        let is_of = |reign: &Reign| {
            reign.begun_at == begun_at || (begun_at == NOWHERE && !reign.is_written)
        };
        let fits = |part: &Part| part.next <= from && part.next >= low && is_of(&part.reign);
        let kept = parked.remove(&place).filter(fits);
        let reign = found.reign(&history);
        let kept = match (kept, origins.shelf) {
            (None, Some(shelf)) => {
                let (found, history) = (&found, &history);
                let told = Told { found, history };
                Search { log, shelf, origins, place, told, reign: &reign, is_at_once: true }
                    .newest(low, from)?
            }
            (kept, _) => kept,
        };
        let mut part = kept.unwrap_or_else(|| Part::new(place, origins.of(place), low, reign));
        if part.begun_at > 0 {
            restored.truncated.push(place);
        }
        part.resume((from, committed), settles_at, now_us);
        part.remember(history, found.sets.clone());
        restored.parts.push(part);
    }
    Ok(restored)
}

/// A state that shall take over, and what was learnt on the way.
pub(crate) struct Begins {
    pub(crate) part: Part,
    /// How far the owners of keys have seen the control topic.
    pub(crate) seen: Seen,
    /// It begins with the first record that the log still holds, and that held others before.
    pub(crate) is_cut: bool,
}

/// Begins the state that shall take over from one whose rule set counts otherwise (R18), with the
/// first record that its rules look back on. Where the log has lost its beginning, that goes for
/// those that are new; of the others the newest snapshot tells.
///
/// # Errors
/// Retriable when the broker or the store does not answer.
pub(crate) fn successor(
    log: &mut impl Log,
    part: &Part,
    origins: &Origins<'_>,
    wall_ms: i64,
) -> Result<Begins, Failure> {
    let place = part.place;
    let low = log.bounds(place)?.low;
    let all = journal(log)?;
    let seen = seen_in(&all, origins);
    let (histories, found, _) =
        told(log, all, &[(place, (part.next, Some(part.committed)), low)], origins)?;
    let history = histories.into_iter().next().unwrap_or_default();
    let mut reign = part.reign.successor();
    let known = match origins.shelf {
        Some(shelf) if low > 0 => {
            let reach = reign.newest.reach_ms(reign.armed());
            reign.since = first(log, part, (low, wall_ms), reach)?;
            // Those there are were made under other sets.
            let told = Told { found: &found, history: &history };
            Search { log, shelf, origins, place, told, reign: &reign, is_at_once: false }
                .newest(low, part.next)?
        }
        _ => None,
    };
    let mut part = if let Some(known) = known {
        known
    } else {
        let reach = reign.newest.whole_reach_ms(reign.armed());
        let open = part.state.open_since();
        let now_ms = wall_ms.min(open.unwrap_or(i64::MAX));
        let from = first(log, part, (low, now_ms), reach)?;
        (reign.from, reign.since) = (from, from);
        Part::new(place, origins.of(place), low, reign)
    };
    let is_cut = low > 0 && part.next == low;
    part.prepare(history, found.sets.clone());
    Ok(Begins { part, seen, is_cut })
}

/// Offset of the first record on which depends what is counted now, `reach_ms` of record time back;
/// of shared keys all that is told.
fn first(
    log: &mut impl Log,
    part: &Part,
    (low, now_ms): (i64, i64),
    reach_ms: Option<i64>,
) -> Result<i64, Failure> {
    let (Source::Events, Some(reach_ms), Some(watermark)) =
        (part.place.source, reach_ms, part.state.watermark())
    else {
        return Ok(low);
    };
    let since_ms = watermark.0.min(now_ms).saturating_sub(reach_ms);
    Ok(log.since(part.place, since_ms)?.min(part.next).max(low))
}

/// By partition of the partials topic: the offset of the newest rule set in the control topic that
/// its state may have taken in, as the journal says. What is told to it from now on, it hears after.
pub(crate) type Seen = BTreeMap<i32, i64>;

/// How far the owners of keys have seen the control topic.
///
/// # Errors
/// Retriable when the journal cannot be read.
pub(crate) fn seen(log: &mut impl Log, origins: &Origins<'_>) -> Result<Seen, Failure> {
    Ok(seen_in(&journal(log)?, origins))
}

fn seen_in(all: &Journal, origins: &Origins<'_>) -> Seen {
    let owners = all.iter().filter(|((topic, _), _)| **topic == **origins.partials_topic);
    let seen = owners.filter_map(|((_, partition), history)| {
        Some((*partition, history.iter().map(Journaled::seen).max()?))
    });
    seen.collect()
}

/// A look through the snapshots of one place.
struct Search<'a, L> {
    log: &'a mut L,
    shelf: &'a Shelf,
    origins: &'a Origins<'a>,
    place: Place,
    told: Told<'a>,
    /// Under which the state of this place began last.
    reign: &'a Reign,
    /// The whole snapshot is read at once: nothing goes on meanwhile.
    is_at_once: bool,
}

/// What the journal says of one place.
#[derive(Clone, Copy)]
struct Told<'a> {
    found: &'a Found,
    history: &'a [Journaled],
}

impl<L: Log> Search<'_, L> {
    /// The state of the newest snapshot that is whole, of this log and not ahead of `from`.
    fn newest(&mut self, low: i64, from: i64) -> Result<Option<Part>, Failure> {
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
            return Ok(Some(self.joined(subject, name, &manifest, (since, reign))?));
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
    ) -> Result<Part, Bad> {
        let mut graft = Graft::new(subject, manifest);
        if self.is_at_once {
            // What is found out now needs no way out later.
            let (own, plan) = (reign.armed().to_vec(), Plan::clone(&reign.plan));
            let empty = (State::new(self.origins.of(self.place)), Output::default());
            let mut loader = Loader::onto(plan, empty, own);
            while graft.fetch(self.shelf)? {
                self.count_loaded();
            }
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
        *lock(self.origins.view).loading.get_or_insert_default() += 1;
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

/// A place, where to go on from with what is committed, and the start of its log.
type Begin = (Place, (i64, Option<i64>), i64);

/// Changes by people that not every state has seen, and the offset from which on they are.
type Changes = (i64, Vec<SideRecord>);

/// The journal of each place, the plans that it names, and the changes that not all places have
/// seen.
type AllTold = (Vec<Vec<Journaled>>, Found, Changes);

/// The journal by partition.
type Journal = BTreeMap<(String, i32), Vec<Journaled>>;

/// # Errors
/// Retriable when the journal cannot be read; fatal when it cannot be used.
fn journal(log: &mut impl Log) -> Result<Journal, Failure> {
    histories(&log.whole(Side::Journal, 0)?)
}

/// The journal was asked after the committed offsets, so that it holds all that led to them; then
/// the control topic is.
fn told(
    log: &mut impl Log,
    mut all: Journal,
    places: &[Begin],
    origins: &Origins<'_>,
) -> Result<AllTold, Failure> {
    let plans = origins.plans;
    if places.is_empty() {
        return Ok((Vec::new(), Sought::of(&[], plans).found(&[], &[])?, (0, Vec::new())));
    }
    let mut own = Vec::new();
    for (place, (from, _), _) in places {
        let Origin { topic, partition } = origins.of(*place);
        let mut history = all.remove(&(topic.to_string(), partition)).unwrap_or_default();
        history.retain(|entry| entry.offset <= *from);
        forget_holds(&mut history);
        own.push(history);
    }
    let seen = own.iter().map(|history| history.last().map_or(0, |last| last.control)).min();
    let seen = seen.unwrap_or(0);
    let sought = Sought::of(&own, plans);
    let mut changes = log.whole(Side::Control, sought.from.map_or(seen, |from| from.min(seen)))?;
    let found = sought.found(&own, &changes)?;
    changes.retain(|record| record.offset >= seen);
    Ok((own, found, (seen, changes)))
}
