//! Where a newly assigned partition begins: with the newest snapshot that fits its log, or empty;
//! the rest is rebuilt from the log up to what the group has committed, without output
//! (architecture 3).

mod search;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::engine::Origin;
use crate::event::EventTime;
use crate::metrics::Metrics;
use crate::snapshot::Shelf;
use crate::stream::control::{Journaled, histories};
use crate::stream::part::Part;
use crate::stream::plans::{NOWHERE, PlanCell};
use crate::stream::reign::{Found, Reign, Sought, begun, forget_holds};
use crate::stream::restore::search::{Search, Told};
use crate::stream::{
    Failure, Log, Lookup, Place, Progress, Side, SideRecord, Source, Start, WorkerView,
};

/// The parts of an assignment, each with the offset to read from.
pub(crate) struct Restored {
    pub(crate) parts: Vec<Part>,
    /// Places begun anew whose log no longer holds its beginning.
    pub(crate) truncated: Vec<Place>,
    /// Changes by people that not every state has seen, and the offset from which on they are.
    pub(crate) changes: Changes,
}

/// Where states may come from, and under which rules.
#[derive(Debug)]
pub(crate) struct Origins {
    pub(crate) events_topic: Arc<str>,
    pub(crate) partials_topic: Arc<str>,
    pub(crate) start: Start,
    /// Of so many records behind the commit a former owner may have told.
    pub(crate) reach: i64,
    pub(crate) plans: Arc<PlanCell>,
    pub(crate) shelf: Option<Shelf>,
    /// Go on from a snapshot although records after it are gone.
    pub(crate) accept_gap: bool,
    pub(crate) metrics: Metrics,
    /// Where it is said how many segments have been read.
    pub(crate) view: Arc<Mutex<WorkerView>>,
}

impl Origins {
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
    origins: &Origins,
    now_us: i64,
) -> Result<Restored, Failure> {
    let offsets = log.committed(places)?;
    let (mut plans, mut starts, mut settle) = (Vec::new(), Vec::new(), Vec::new());
    for (place, committed) in places.iter().zip(offsets) {
        let bounds = log.bounds(*place)?;
        let progress = committed.unwrap_or_else(|| match origins.start {
            Start::Latest if place.source == Source::Events => Progress::at(bounds.high),
            _ => Progress::at(bounds.low),
        });
        let from = progress.next;
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
        plans.push((progress, committed.is_some(), bounds.low));
        starts.push((*place, from));
        settle.push(bounds.high.min(from.saturating_add(origins.reach)));
    }
    let all = if plans.is_empty() { Journal::new() } else { journal(log)? };
    let (histories, found, changes) = told(log, all, &starts, origins)?;
    let mut restored = Restored { parts: Vec::new(), truncated: Vec::new(), changes };
    let plans = places.iter().copied().zip(plans).zip(histories).zip(settle);
    for (((place, (from, is_committed, low)), history), settles_at) in plans {
        // One for which another took over meanwhile is of no use.
        let begun_at = begun(&history).map_or(NOWHERE, |begun| begun.at);
        let is_of = |reign: &Reign| {
            reign.begun_at == begun_at || (begun_at == NOWHERE && !reign.is_written)
        };
        let fits = |part: &Part| part.next <= from.told && part.next >= low && is_of(&part.reign);
        let kept = parked.remove(&place).filter(fits);
        let reign = found.reign(&history);
        let kept = match (kept, &origins.shelf) {
            (None, Some(shelf)) => {
                let (found, history) = (&found, &history);
                let known = Told { found, history };
                Search { log, shelf, origins, place, told: known, reign: &reign, is_at_once: true }
                    .newest(low, from.told)?
            }
            (kept, _) => kept,
        };
        let mut part = kept.unwrap_or_else(|| Part::new(place, origins.of(place), low, reign));
        if part.begun_at > 0 {
            restored.truncated.push(place);
        }
        part.resume((from, is_committed), settles_at, now_us);
        part.remember(history, found.sets.clone());
        restored.parts.push(part);
    }
    Ok(restored)
}

/// What is known of a state that another shall take over from.
#[derive(Debug)]
pub(crate) struct Basis {
    place: Place,
    next: i64,
    /// Of the other.
    reign: Reign,
    open_since: Option<i64>,
    watermark: Option<EventTime>,
}

impl Basis {
    pub(crate) fn of(part: &Part) -> Basis {
        Basis {
            place: part.place,
            next: part.next,
            reign: part.reign.successor(),
            open_since: part.state.open_since(),
            watermark: part.state.watermark(),
        }
    }
}

/// A state that shall take over, and what was learnt on the way.
#[derive(Debug)]
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
    log: &mut (impl Lookup + ?Sized),
    of: &Basis,
    origins: &Origins,
    wall_ms: i64,
) -> Result<Begins, Failure> {
    let place = of.place;
    let low = log.bounds(place)?.low;
    let all = journal(log)?;
    let seen = seen_in(&all, origins);
    let (histories, found, _) = told(log, all, &[(place, of.next)], origins)?;
    let history = histories.into_iter().next().unwrap_or_default();
    let mut reign = of.reign.clone();
    let known = match &origins.shelf {
        Some(shelf) if low > 0 => {
            let reach = reign.newest.reach_ms(reign.armed());
            reign.since = first(log, of, (low, wall_ms), reach)?;
            // Those there are were made under other sets.
            let told = Told { found: &found, history: &history };
            Search { log, shelf, origins, place, told, reign: &reign, is_at_once: false }
                .newest(low, of.next)?
        }
        _ => None,
    };
    let mut part = if let Some(known) = known {
        known
    } else {
        let reach = reign.newest.whole_reach_ms(reign.armed());
        let now_ms = wall_ms.min(of.open_since.unwrap_or(i64::MAX));
        let from = first(log, of, (low, now_ms), reach)?;
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
    log: &mut (impl Lookup + ?Sized),
    of: &Basis,
    (low, now_ms): (i64, i64),
    reach_ms: Option<i64>,
) -> Result<i64, Failure> {
    let (Source::Events, Some(reach_ms), Some(watermark)) =
        (of.place.source, reach_ms, of.watermark)
    else {
        return Ok(low);
    };
    let since_ms = watermark.0.min(now_ms).saturating_sub(reach_ms);
    Ok(log.since(of.place, since_ms)?.min(of.next).max(low))
}

/// By partition of the partials topic: the offset of the newest rule set in the control topic that
/// its state may have taken in, as the journal says. What is told to it from now on, it hears after.
pub(crate) type Seen = BTreeMap<i32, i64>;

/// How far the owners of keys have seen the control topic.
///
/// # Errors
/// Retriable when the journal cannot be read.
pub(crate) fn seen(log: &mut (impl Lookup + ?Sized), origins: &Origins) -> Result<Seen, Failure> {
    Ok(seen_in(&journal(log)?, origins))
}

fn seen_in(all: &Journal, origins: &Origins) -> Seen {
    let owners = all.iter().filter(|((topic, _), _)| **topic == *origins.partials_topic);
    let seen = owners.filter_map(|((_, partition), history)| {
        Some((*partition, history.iter().map(Journaled::seen).max()?))
    });
    seen.collect()
}

/// Changes by people that not every state has seen, and the offset from which on they are.
type Changes = (i64, Vec<SideRecord>);

/// The journal of each place, the plans that it names, and the changes that not all places have
/// seen.
type AllTold = (Vec<Vec<Journaled>>, Found, Changes);

/// The journal by partition.
type Journal = BTreeMap<(String, i32), Vec<Journaled>>;

/// # Errors
/// Retriable when the journal cannot be read; fatal when it cannot be used.
fn journal(log: &mut (impl Lookup + ?Sized)) -> Result<Journal, Failure> {
    histories(&log.whole(Side::Journal, 0)?)
}

/// The journal was asked after the committed offsets, so that it holds all that led to them; then
/// the control topic is.
fn told(
    log: &mut (impl Lookup + ?Sized),
    mut all: Journal,
    places: &[(Place, i64)],
    origins: &Origins,
) -> Result<AllTold, Failure> {
    let plans = &origins.plans;
    if places.is_empty() {
        return Ok((Vec::new(), Sought::of(&[], plans).found(&[], &[])?, (0, Vec::new())));
    }
    let mut own = Vec::new();
    for (place, from) in places {
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
