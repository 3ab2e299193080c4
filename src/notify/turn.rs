//! One turn of the notifier between what is read and what is sent. Pure: no Kafka, no clock.

use super::note::Note;
use super::notice::{Notice, Shares};
use super::progress::{Place, Progress};
use super::route::Router;
use crate::engine::Decision;

/// Takes in a record that was read; `None` where it is no decision.
pub(super) fn read(
    (router, progress): (&mut Router, &mut Progress),
    place: Place,
    decision: Option<&Decision>,
    (now, written_at): (i64, i64),
) {
    let ticket = progress.ticket();
    let shares = match decision {
        Some(decision) => match progress.before(place, &decision.id) {
            None => router.offer_written(decision, ticket, (now, written_at)),
            Some(told) => router.offer_again(decision, ticket, (now, written_at), told),
        },
        None => Shares::default(),
    };
    progress.offer(place, ticket, (shares, now));
    settle(router, progress);
}

/// Takes in a decision from its note: what lies before the offset that is read from.
pub(super) fn read_note((router, progress): (&mut Router, &mut Progress), note: Note, now: i64) {
    let ticket = progress.ticket();
    let Note { place, decision, written_at, lines, come } = note;
    let is_over = come.is_over;
    let told = |line: &str| !lines.contains(line) || progress.was_told(line, &decision.id);
    let shares = router.offer_again(&decision, ticket, (now, written_at), told);
    progress.keep(place, ticket, (lines, come), shares.waiting);
    if is_over {
        router.resolve(&decision.id, now);
    }
    settle(router, progress);
}

/// The notices whose time has come, with the places of what they tell.
pub(super) fn due(router: &mut Router, progress: &mut Progress, now: i64) -> Vec<Notice> {
    let mut notices = router.due(now);
    settle(router, progress);
    for notice in &mut notices {
        let tickets = notice.tickets.iter().chain(&notice.also);
        for place in tickets.filter_map(|ticket| progress.place(*ticket)) {
            let range = notice.links.places.entry(place.partition);
            let (first, last) = range.or_insert((place.offset, place.offset));
            (*first, *last) = ((*first).min(place.offset), (*last).max(place.offset));
        }
        notice.also.clear();
    }
    notices
}

/// What nobody needs to hear of any more.
pub(super) fn settle(router: &mut Router, progress: &mut Progress) {
    for (ticket, receiver) in router.settled() {
        progress.settle(ticket, &receiver);
    }
    for (ticket, receiver) in router.deferred() {
        progress.defer(ticket, &receiver);
    }
    for ticket in router.overs() {
        progress.over(ticket);
    }
}

#[cfg(test)]
mod tests;
