//! Snapshots of a worker's partitions, one at a time, told between two polls.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::engine::Swept;
use crate::snapshot::{Keeper, Manifest, Outcome};
use crate::stream::clock::micros;
use crate::stream::part::{Part, subject_of};
use crate::stream::worker::Worker;
use crate::stream::worker::report::{labels, seconds};
use crate::stream::{Clock, Log, Place};

/// How snapshots are written, and used.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotSettings {
    /// Time from one snapshot of a partition to its next, milliseconds.
    pub interval_ms: u64,
    /// Go on from a snapshot although records after it are gone.
    pub accept_gap: bool,
}

/// A round of the loop tells about so many bytes: a millisecond of work.
const SWEEP: usize = 256 << 10;
/// Size of a segment before it is packed.
const PIECE: usize = 4 << 20;
/// A snapshot that takes longer has a store that is too slow.
const LONGEST_US: i64 = 600_000_000;
/// A last snapshot of everything may hold up a stop for so long (C7).
const LAST: Duration = Duration::from_millis(3_500);

#[derive(Debug)]
pub(super) struct Snapshots {
    pub(super) keeper: Keeper,
    pub(super) settings: SnapshotSettings,
    last: BTreeMap<Place, Last>,
    under_way: Option<UnderWay>,
}

/// The last snapshot of a partition.
#[derive(Debug, Clone, Copy)]
struct Last {
    offset: i64,
    /// When it was fixed, or tried.
    at_us: i64,
}

#[derive(Debug)]
struct UnderWay {
    place: Place,
    manifest: Manifest,
    piece: Vec<u8>,
    /// All is told.
    is_told: bool,
    began_us: i64,
}

impl Snapshots {
    pub(super) fn new(keeper: Keeper, settings: SnapshotSettings) -> Snapshots {
        Snapshots { keeper, settings, last: BTreeMap::new(), under_way: None }
    }

    /// A partition has come whose state was that of a snapshot at this offset, or empty: its
    /// first snapshot is due in a while, unless it was here before.
    pub(super) fn has_come(&mut self, place: Place, offset: i64, now_us: i64) {
        self.last.entry(place).or_insert(Last { offset, at_us: now_us });
    }
}

impl<L: Log, C: Clock> Worker<L, C> {
    /// Has snapshots written to a store, and states begin with them.
    #[must_use]
    pub fn with_snapshots(mut self, keeper: Keeper, settings: SnapshotSettings) -> Worker<L, C> {
        self.snapshots = Some(Snapshots::new(keeper, settings));
        self
    }

    /// The states as snapshots tell them, each with the offset it is of, where everything is
    /// committed: equal for equal states. For tests.
    pub fn canonical(&self) -> BTreeMap<Place, (i64, Vec<Vec<u8>>)> {
        let even = self.parts.iter().filter(|(_, part)| part.is_even());
        let told = even.map(|(place, part)| {
            let records = part.state.canonical(&part.reign.plan, &part.output);
            (*place, (part.next, records))
        });
        told.collect()
    }

    /// Goes on with the snapshot under way, or begins one that is due.
    pub(super) fn take_snapshots(&mut self, now_us: i64) {
        self.hear_of_snapshots();
        if self.snapshots.as_ref().is_some_and(|snapshots| snapshots.under_way.is_some()) {
            self.go_on(now_us);
        } else if let Some(place) = self.due_snapshot(now_us) {
            self.begin_snapshot(place, now_us);
        } else {
            return;
        }
        self.metrics.snapshot_pause_seconds.observe(seconds(self.clock.now_us() - now_us));
    }

    /// Gives up what is under way: the partitions go, or count otherwise.
    pub(super) fn drop_snapshot(&mut self) {
        let Some(snapshots) = &mut self.snapshots else { return };
        if let Some(under_way) = snapshots.under_way.take() {
            if let Some(part) = self.parts.get_mut(&under_way.place) {
                part.state.abandon_snapshot();
            }
            snapshots.keeper.give_up();
        }
    }

    /// A last snapshot of every partition that has changed since its last one, as far as time
    /// allows (C7).
    pub(super) fn last_snapshots(&mut self) {
        let until = Instant::now() + LAST;
        let now_us = self.clock.now_us();
        let places: Vec<Place> = self.parts.keys().copied().collect();
        let mut open = 0;
        if self.snapshots.as_ref().is_some_and(|snapshots| snapshots.under_way.is_some()) {
            open += usize::from(self.finish_snapshot(until));
        }
        for place in places {
            if self.is_changed(place) && Instant::now() < until {
                self.begin_snapshot(place, now_us);
                open += usize::from(self.finish_snapshot(until));
            }
        }
        while open > 0 {
            let outcome = self.snapshots.as_mut().and_then(|own| own.keeper.wait(until));
            let Some(outcome) = outcome else { break };
            self.heard_of(&outcome);
            open -= 1;
        }
    }

    /// Tells the rest of the snapshot under way; false when it came to nothing.
    fn finish_snapshot(&mut self, until: Instant) -> bool {
        while Instant::now() < until {
            let now_us = self.clock.now_us();
            if self.go_on(now_us) {
                return true;
            }
            let Some(own) = &self.snapshots else { return false };
            let Some(under_way) = &own.under_way else { return false };
            if under_way.piece.len() >= PIECE || under_way.is_told {
                // The keeper has enough to do.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.drop_snapshot();
        false
    }

    fn due_snapshot(&self, now_us: i64) -> Option<Place> {
        let own = self.snapshots.as_ref().filter(|_| self.bench.outbox.is_empty())?;
        let interval_us = micros(own.settings.interval_ms);
        let due = self.parts.keys().filter_map(|place| {
            let at_us = own.last.get(place).map_or(i64::MIN, |last| last.at_us);
            let is_due = now_us.saturating_sub(at_us) >= interval_us && self.is_changed(*place);
            is_due.then_some((at_us, *place))
        });
        due.min().map(|(_, place)| place)
    }

    /// Whether a partition is even, and has gone on since its last snapshot.
    fn is_changed(&self, place: Place) -> bool {
        let last = self.snapshots.as_ref().and_then(|own| own.last.get(&place));
        let part = self.parts.get(&place).filter(|part| part.is_even());
        part.is_some_and(|part| part.next > last.map_or(part.begun_at, |last| last.offset))
    }

    fn begin_snapshot(&mut self, place: Place, now_us: i64) {
        let (Some(own), Some(part)) = (&mut self.snapshots, self.parts.get_mut(&place)) else {
            return;
        };
        let plan = &part.reign.plan;
        part.state.begin_snapshot(plan, &part.output);
        let subject = subject_of(part.state.origin());
        let manifest = Manifest {
            control: part.controlled,
            begun_at: part.begun_at,
            landmark: part.landmark,
            ruleset: plan.rule_set().version.clone(),
            set: part.reign.set.clone(),
            set_at: part.reign.at,
            written_ms: now_us / 1000,
            ..Manifest::new(subject, part.next)
        };
        own.last.insert(place, Last { offset: part.next, at_us: now_us });
        let piece = Vec::new();
        own.under_way = Some(UnderWay { place, manifest, piece, is_told: false, began_us: now_us });
    }

    /// Tells a piece more; true when the snapshot is with the keeper.
    fn go_on(&mut self, now_us: i64) -> bool {
        let Some(own) = &mut self.snapshots else { return false };
        let Some(under_way) = &mut own.under_way else { return false };
        let Some(part) = self.parts.get_mut(&under_way.place) else {
            self.drop_snapshot();
            return false;
        };
        if !under_way.is_told && under_way.piece.len() < PIECE {
            match part.state.sweep(&part.reign.plan, SWEEP, &mut under_way.piece) {
                Swept::More => {}
                Swept::All => under_way.is_told = true,
                Swept::Void => {
                    own.last.remove(&under_way.place);
                    self.drop_snapshot();
                    return false;
                }
            }
        }
        if under_way.piece.len() >= PIECE || under_way.is_told {
            let piece = std::mem::take(&mut under_way.piece);
            if !piece.is_empty()
                && let Err(piece) = own.keeper.piece(&under_way.manifest.subject, piece)
            {
                under_way.piece = piece;
            } else if under_way.is_told && own.keeper.publish(&under_way.manifest) {
                own.under_way = None;
                return true;
            }
        }
        if now_us.saturating_sub(under_way.began_us) > LONGEST_US {
            tracing::warn!(slot = %self.settings.slot, topic = under_way.manifest.subject.topic,
                partition = under_way.manifest.subject.partition,
                "a snapshot takes too long and is given up: is the store slow?");
            self.metrics.snapshots.with_label_values(&["failed"]).inc();
            self.drop_snapshot();
        }
        false
    }

    fn hear_of_snapshots(&mut self) {
        let outcomes = self.snapshots.as_mut().map(|own| own.keeper.outcomes());
        for outcome in outcomes.into_iter().flatten() {
            self.heard_of(&outcome);
        }
    }

    fn heard_of(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Written(manifest) => {
                let Manifest { subject, offset, written_ms, .. } = &**manifest;
                let bytes = manifest.bytes();
                let took_us = self.clock.now_us() - written_ms * 1000;
                tracing::debug!(slot = %self.settings.slot, topic = subject.topic,
                    partition = subject.partition, offset, bytes, "snapshot written");
                let at = seconds(written_ms * 1000);
                self.metrics.snapshots.with_label_values(&["written"]).inc();
                self.metrics.snapshot_seconds.observe(seconds(took_us));
                let is_of = |part: &&Part| subject_of(part.state.origin()) == *subject;
                if let Some(part) = self.parts.values().find(is_of) {
                    let labels = labels(part.place);
                    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                    self.metrics.snapshot_bytes.with_label_values(&labels).set(bytes);
                    self.metrics.snapshot_timestamp_seconds.with_label_values(&labels).set(at);
                }
            }
            Outcome::Failed(subject, reason) => {
                tracing::warn!(slot = %self.settings.slot, topic = subject.topic,
                    partition = subject.partition, reason,
                    "a snapshot could not be written; the last one before stays in use");
                self.metrics.snapshots.with_label_values(&["failed"]).inc();
            }
        }
    }
}
