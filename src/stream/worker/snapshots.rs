//! Snapshots of a worker's partitions, one at a time, told between two polls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::engine::Swept;
use crate::snapshot::{Keeper, Manifest, Outcome};
use crate::stream::clock::micros;
use crate::stream::part::{Part, subject_of};
use crate::stream::reign::Reign;
use crate::stream::worker::Worker;
use crate::stream::worker::commit::Extent;
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
/// Before a stop, a round may take longer.
const SWEEP_IN_HASTE: usize = 1 << 20;
/// A last snapshot of everything may hold up a stop for so long (C7).
const LAST_US: i64 = 3_000_000;
/// And for so long the store.
const STORED: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Snapshots {
    pub(super) keeper: Keeper,
    pub(super) settings: SnapshotSettings,
    last: BTreeMap<Place, Last>,
    under_way: Option<UnderWay>,
    /// Handed to the keeper, and not heard of yet.
    open: usize,
    /// Before a stop: the partitions that want a last snapshot, and until when they may.
    haste: Option<(BTreeSet<Place>, i64)>,
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
    /// The transaction with the offset that it is of, where that was under way.
    rests_on: Option<u64>,
    began_us: i64,
}

impl Snapshots {
    pub(super) fn new(keeper: Keeper, settings: SnapshotSettings) -> Snapshots {
        let last = BTreeMap::new();
        Snapshots { keeper, settings, last, under_way: None, open: 0, haste: None }
    }

    /// Whether a partition has records that its last snapshot has not.
    fn has_gone_on(&self, part: &Part) -> bool {
        part.next > self.last.get(&part.place).map_or(part.begun_at, |last| last.offset)
    }

    /// Whether last snapshots are taken.
    pub(super) fn is_in_haste(&self) -> bool {
        self.haste.is_some()
    }

    /// The state of a partition was replaced by one that no snapshot has: one is due at once.
    pub(super) fn has_changed(&mut self, place: Place) {
        self.last.remove(&place);
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
            // What is told of old forms is no part of the state.
            let Reign { is_warming, plan, newest, .. } = &part.reign;
            let plan = if *is_warming { plan } else { newest };
            let records = part.state.canonical(plan, &part.output);
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
            if !self.is_whole(place) {
                self.next_extent = Extent::Whole;
                return;
            }
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

    /// Has a last snapshot taken of every partition that has gone on since its last one, while the
    /// loop goes on: nobody waits for it but a stop (C7).
    pub(super) fn make_haste(&mut self) {
        let Some(own) = &mut self.snapshots else { return };
        let until_us = self.clock.now_us() + LAST_US;
        let gone_on = self.parts.values().filter(|part| own.has_gone_on(part));
        own.haste = Some((gone_on.map(|part| part.place).collect(), until_us));
    }

    /// Whether last snapshots are still to be taken, and may be.
    pub(super) fn is_in_haste(&self) -> bool {
        let Some(own) = &self.snapshots else { return false };
        let Some((wanted, until_us)) = &own.haste else { return false };
        let is_here = |place: &Place| self.parts.contains_key(place);
        let is_open = own.under_way.is_some() || wanted.iter().any(is_here);
        is_open && self.clock.now_us() < *until_us
    }

    /// Waits a moment until what is taken is stored.
    pub(super) fn store_snapshots(&mut self) {
        self.drop_snapshot();
        let until = Instant::now() + STORED;
        while self.snapshots.as_ref().is_some_and(|own| own.open > 0) {
            let outcome = self.snapshots.as_mut().and_then(|own| own.keeper.wait(until));
            let Some(outcome) = outcome else { break };
            self.heard_of(&outcome);
        }
    }

    fn due_snapshot(&self, now_us: i64) -> Option<Place> {
        let own = self.snapshots.as_ref()?;
        let is_changed =
            |place: &Place| self.parts.get(place).is_some_and(|part| own.has_gone_on(part));
        if let Some((wanted, _)) = &own.haste {
            return wanted.iter().copied().find(is_changed);
        }
        let interval_us = micros(own.settings.interval_ms);
        let due = self.parts.keys().filter_map(|place| {
            let at_us = own.last.get(place).map_or(i64::MIN, |last| last.at_us);
            let is_due = now_us.saturating_sub(at_us) >= interval_us && is_changed(place);
            is_due.then_some((at_us, *place))
        });
        due.min().map(|(_, place)| place)
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
            warming: part.reign.is_warming,
            written_ms: self.clock.wall_us() / 1000,
            ..Manifest::new(subject, part.next)
        };
        if let Some((wanted, _)) = &mut own.haste {
            wanted.remove(&place);
        }
        own.last.insert(place, Last { offset: part.next, at_us: now_us });
        let piece = Vec::new();
        let rests_on = self.flight.as_ref().map(|flight| flight.number);
        let (is_told, began_us) = (false, now_us);
        own.under_way = Some(UnderWay { place, manifest, piece, is_told, rests_on, began_us });
    }

    /// Tells a piece more, and hands the snapshot over once all is told.
    fn go_on(&mut self, now_us: i64) {
        let Some(own) = &mut self.snapshots else { return };
        let Some(under_way) = &mut own.under_way else { return };
        let flight = self.flight.as_ref().map(|flight| flight.number);
        let is_committed = flight.is_none_or(|number| under_way.rests_on != Some(number));
        let Some(part) = self.parts.get_mut(&under_way.place) else {
            self.drop_snapshot();
            return;
        };
        if !under_way.is_told && under_way.piece.len() < PIECE {
            let budget = if own.haste.is_some() { SWEEP_IN_HASTE } else { SWEEP };
            match part.state.sweep(&part.reign.plan, budget, &mut under_way.piece) {
                Swept::More => {}
                Swept::All => under_way.is_told = true,
                Swept::Void => {
                    own.last.remove(&under_way.place);
                    self.drop_snapshot();
                    return;
                }
            }
        }
        if under_way.piece.len() >= PIECE || under_way.is_told {
            let piece = std::mem::take(&mut under_way.piece);
            if !piece.is_empty()
                && let Err(piece) = own.keeper.piece(&under_way.manifest.subject, piece)
            {
                under_way.piece = piece;
            } else if under_way.is_told && is_committed && own.keeper.publish(&under_way.manifest) {
                own.under_way = None;
                own.open += 1;
                return;
            }
        }
        if now_us.saturating_sub(under_way.began_us) > LONGEST_US {
            tracing::warn!(slot = %self.settings.slot, topic = under_way.manifest.subject.topic,
                partition = under_way.manifest.subject.partition,
                "a snapshot takes too long and is given up: is the store slow?");
            self.metrics.snapshots.with_label_values(&["failed"]).inc();
            self.drop_snapshot();
        }
    }

    fn hear_of_snapshots(&mut self) {
        let outcomes = self.snapshots.as_mut().map(|own| own.keeper.outcomes());
        for outcome in outcomes.into_iter().flatten() {
            self.heard_of(&outcome);
        }
    }

    fn heard_of(&mut self, outcome: &Outcome) {
        if let Some(own) = &mut self.snapshots {
            own.open = own.open.saturating_sub(1);
        }
        match outcome {
            Outcome::Written(manifest) => {
                let Manifest { subject, offset, written_ms, .. } = &**manifest;
                let bytes = manifest.bytes();
                tracing::debug!(slot = %self.settings.slot, topic = subject.topic,
                    partition = subject.partition, offset, bytes, "snapshot written");
                let at = seconds(written_ms * 1000);
                self.metrics.snapshots.with_label_values(&["written"]).inc();
                let is_of = |part: &&Part| subject_of(part.state.origin()) == *subject;
                if let Some(part) = self.parts.values().find(is_of) {
                    let last = self.snapshots.as_ref().and_then(|own| own.last.get(&part.place));
                    if let Some(last) = last.filter(|last| last.offset == *offset) {
                        let took_us = self.clock.now_us() - last.at_us;
                        self.metrics.snapshot_seconds.observe(seconds(took_us));
                    }
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
