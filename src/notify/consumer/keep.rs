//! What outlives a restart beside the offsets: notes of what is held, so that these can go on, and what
//! the instance has said of itself.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use super::{Duty, Notifier};
use crate::notify::bulletin::Bulletin;
use crate::notify::note::{self, body};
use crate::notify::own::Ready;
use crate::notify::progress::Place;
use crate::notify::recall::{self, Found, Line};
use crate::notify::turn;

/// Places that are noted at a time.
const SOME: usize = 1_000;
/// Each look that finds something makes a client.
const LOOK_EVERY_MS: i64 = 2_000;
/// After a failure to read decisions again.
const AGAIN_MS: i64 = 5_000;

/// What is being noted.
#[derive(Default)]
pub(super) struct Noting {
    look_at: i64,
    /// The places that were asked for, and their records, once they are read again.
    asked: Option<(Vec<Place>, Receiver<Vec<Found>>)>,
    /// Not yet known to be written.
    sent: Vec<Place>,
}

impl Notifier {
    pub(super) fn line(&self) -> Line<'_> {
        Line { brokers: &self.settings.brokers, properties: &self.settings.properties }
    }

    /// What lies before the offsets that are read from, by the notes of it.
    pub(super) fn read_notes(
        &mut self,
        words: &BTreeMap<String, Vec<u8>>,
        committed: &[(i32, i64)],
        duty: &mut Duty,
    ) {
        let Some(desk) = &mut duty.desk else { return };
        let now = self.clock.now_ms();
        let mut kept = Vec::new();
        for (partition, committed) in committed {
            for key in note::orphans(words, *partition) {
                self.keeper.put(key, None);
            }
            for (offset, note) in note::notes(words, *partition) {
                if offset < *committed {
                    kept.push(note);
                } else {
                    // It is read again from its topic.
                    self.keeper.put(note::key(note.place), None);
                    self.keeper.put(note::since_key(note.place), None);
                }
            }
        }
        // What explains others comes before them.
        kept.sort_by_key(|note| (note.written_at, note.place));
        if !kept.is_empty() {
            tracing::info!(count = kept.len(), "decisions of which something is still to come");
        }
        for note in kept {
            turn::read_note((&mut desk.router, &mut self.progress), note, now);
        }
        self.keep_changes();
    }

    /// Writes what has come of notes.
    pub(super) fn keep_changes(&mut self) {
        for (place, change) in self.progress.changes() {
            if change.is_none() {
                self.keeper.put(note::key(place), None);
            }
            self.keeper.put(note::since_key(place), change.map(note::since));
        }
    }

    /// Notes what waits for longer, but for no receiver.
    pub(super) fn note(&mut self, duty: &mut Duty, now: i64) {
        if duty.desk.is_none() {
            return;
        }
        self.keep_changes();
        let keeper = &self.keeper;
        let is_written = |place: &mut Place| keeper.has_written(&note::key(*place));
        for place in duty.noting.sent.extract_if(.., is_written) {
            self.progress.noted(place);
            duty.changed = true;
        }
        match &duty.noting.asked {
            None if now >= duty.noting.look_at && duty.noting.sent.is_empty() => {
                let places = self.progress.ripe(now, SOME);
                let pause = if places.len() < SOME { LOOK_EVERY_MS } else { 0 };
                duty.noting.look_at = now.saturating_add(pause);
                if !places.is_empty() {
                    duty.noting.asked = Some((places.clone(), self.read_again(places)));
                }
            }
            None => {}
            Some((_, found)) => match found.try_recv() {
                Ok(found) => self.write_notes(found, duty, now),
                Err(TryRecvError::Disconnected) => self.write_notes(Vec::new(), duty, now),
                Err(TryRecvError::Empty) => {}
            },
        }
    }

    fn write_notes(&mut self, found: Vec<Found>, duty: &mut Duty, now: i64) {
        let Some((asked, _)) = duty.noting.asked.take() else { return };
        let mut left: Vec<Place> = asked;
        for Found { place, record } in found {
            left.retain(|one| *one != place);
            let Some(lines) = self.progress.note(place) else { continue };
            let note = record.and_then(|(at, value)| body(&value, at, lines));
            // What its topic has no longer, a restart would not find either.
            if let Some(note) = note {
                self.keeper.put(note::key(place), Some(note));
            }
            duty.noting.sent.push(place);
        }
        if !left.is_empty() {
            duty.noting.look_at = now.saturating_add(AGAIN_MS);
        }
        for place in left {
            self.progress.not_noted(place);
        }
    }

    /// Reads decisions again, in the background.
    fn read_again(&self, places: Vec<Place>) -> Receiver<Vec<Found>> {
        let (to, found) = channel();
        let brokers = self.settings.brokers.clone();
        let properties = self.settings.properties.clone();
        let topic = self.settings.decisions_topic.clone();
        std::thread::spawn(move || {
            let line = Line { brokers: &brokers, properties: &properties };
            let records = recall::records(line, &topic, &places).unwrap_or_else(|error| {
                tracing::debug!(%error, topic, "decisions cannot be read again");
                Vec::new()
            });
            // Refused where nobody wants to know any more.
            to.send(records).unwrap_or_default();
        });
        found
    }

    /// What the instance has to say of itself.
    pub(super) fn turn_own(&mut self, now: i64, is_member: bool) {
        let Some(mut own) = self.own.take() else { return };
        if own.is_to_recall(now) {
            let words = recall::words(self.line(), &self.settings.standing_topic);
            own.recall(words, now);
        }
        if is_member && self.progress.reads(0) && own.is_to_look(now) {
            // One instance does so for all; what cannot be read now is looked at again in an hour.
            if let Ok(words) = recall::words(self.line(), &self.settings.standing_topic) {
                own.adopt(&words, now, &mut self.keeper);
            }
        }
        let knows_mutes = self.bulletin.as_mut().is_none_or(Bulletin::is_ready);
        let ready = Ready { is_member, knows_mutes };
        own.turn(now, ready, &mut self.letters, &mut self.keeper);
        self.own = Some(own);
    }
}
