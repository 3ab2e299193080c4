//! Where a newly assigned partition begins: its state is rebuilt from the log up to what the
//! group has committed, without output (architecture 3).

use std::collections::BTreeMap;

use crate::engine::Origin;
use crate::stream::control::{Journaled, histories};
use crate::stream::part::Part;
use crate::stream::{Failure, Log, Place, Side, SideRecord, Start};

/// The parts of an assignment, each with the offset to read from.
pub(crate) struct Restored {
    pub(crate) parts: Vec<Part>,
    /// Places begun anew whose log no longer holds its beginning.
    pub(crate) truncated: Vec<Place>,
    /// Changes by people that not every state has seen, and the offset from which on they are.
    pub(crate) changes: (i64, Vec<SideRecord>),
}

/// Builds the parts of `places`. A state in `parked` that is not ahead of the commit is used
/// again; otherwise the state begins empty at the start of the log.
///
/// # Errors
/// Retriable when the broker does not answer; fatal when records between the commit and the
/// start of the log are gone, or the log is shorter than what was committed.
pub(crate) fn parts(
    log: &mut impl Log,
    places: &[Place],
    parked: &mut BTreeMap<Place, Part>,
    origin: &dyn Fn(Place) -> Origin,
    start: Start,
    now_us: i64,
) -> Result<Restored, Failure> {
    let offsets = log.committed(places)?;
    let mut plans = Vec::new();
    for (place, committed) in places.iter().zip(offsets) {
        let bounds = log.bounds(*place)?;
        let from = match (committed, start) {
            (Some(committed), _) => committed,
            (None, Start::Latest) if place.source == crate::stream::Source::Events => bounds.high,
            (None, _) => bounds.low,
        };
        if from < bounds.low {
            return Err(Failure::Fatal(format!(
                "{}: records {from} to {} were deleted before they were read; lengthen the \
                 topic's retention, and to go on without them move the group's offset there",
                name(origin, *place),
                bounds.low
            )));
        }
        if from > bounds.high {
            return Err(Failure::Fatal(format!(
                "{}: the group has committed offset {from}, but the log ends at {}: was the \
                 topic made anew? delete the group's offsets to start over",
                name(origin, *place),
                bounds.high
            )));
        }
        plans.push((*place, (from, committed), bounds.low));
    }
    let (histories, changes) = told(log, &plans, origin)?;
    let mut restored = Restored { parts: Vec::new(), truncated: Vec::new(), changes };
    for ((place, (from, committed), low), history) in plans.into_iter().zip(histories) {
        let kept = parked.remove(&place).filter(|part| part.next <= from && part.next >= low);
        let mut part = kept.unwrap_or_else(|| {
            if low > 0 {
                restored.truncated.push(place);
            }
            Part::new(place, origin(place), low)
        });
        part.resume(from, committed, now_us);
        part.remember(history);
        restored.parts.push(part);
    }
    Ok(restored)
}

/// A place, where to go on from with what is committed, and the start of its log.
type Begin = (Place, (i64, Option<i64>), i64);
/// The journal of each place, and the changes that not all of them have seen.
type Told = (Vec<Vec<Journaled>>, (i64, Vec<SideRecord>));

/// Asks the journal after the committed offsets, so that it holds all that led to them.
fn told(
    log: &mut impl Log,
    places: &[Begin],
    origin: &dyn Fn(Place) -> Origin,
) -> Result<Told, Failure> {
    if places.is_empty() {
        return Ok((Vec::new(), (0, Vec::new())));
    }
    let mut all = histories(&log.whole(Side::Journal, 0)?)?;
    let mut own = Vec::new();
    for (place, (from, _), _) in places {
        let Origin { topic, partition } = origin(*place);
        let mut history = all.remove(&(topic.to_string(), partition)).unwrap_or_default();
        history.retain(|entry| entry.offset <= *from);
        own.push(history);
    }
    let seen = own.iter().map(|history| history.last().map_or(0, |last| last.control)).min();
    let from = seen.unwrap_or(0);
    Ok((own, (from, log.whole(Side::Control, from)?)))
}

fn name(origin: &dyn Fn(Place) -> Origin, place: Place) -> String {
    let origin = origin(place);
    format!("{}[{}]", origin.topic, origin.partition)
}
