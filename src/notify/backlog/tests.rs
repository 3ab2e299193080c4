//! Who is tried when, by a clock of our own.

use super::{Backlog, Entry, Next};
use crate::notify::notice::Notice;

fn notice(ticket: u64, offered_at: i64) -> Notice {
    Notice {
        receiver: "r".to_owned(),
        rule: "cap".to_owned(),
        decisions: Vec::new(),
        rest: 1,
        tickets: vec![ticket],
        offered_at,
        ..Notice::default()
    }
}

fn backlog(tickets: impl IntoIterator<Item = u64>) -> Backlog<()> {
    let mut backlog = Backlog::new(24_000);
    for ticket in tickets {
        backlog.push(notice(ticket, 0), ());
    }
    backlog
}

/// The ticket to try now, or how long to wait.
fn next(backlog: &mut Backlog<()>, now: i64) -> Result<Entry<()>, Option<i64>> {
    match backlog.next(now) {
        Next::Try(entry) => Ok(entry),
        Next::WaitUntil(at) => Err(Some(at)),
        Next::Idle => Err(None),
    }
}

fn fail(backlog: &mut Backlog<()>, entry: Entry<()>, again_at: i64) -> bool {
    let down = backlog.failing(&entry);
    backlog.put_back(entry, again_at);
    down
}

fn len(backlog: &Backlog<()>) -> usize {
    backlog.fresh.len() + backlog.again.len()
}

#[test]
fn one_that_is_choked_on_holds_up_nobody() {
    let mut backlog = backlog([1, 2, 3]);
    let bad = next(&mut backlog, 0).unwrap();
    assert!(!fail(&mut backlog, bad, 1_000));
    for ticket in [2, 3] {
        assert_eq!(next(&mut backlog, 10).unwrap().notice.tickets, [ticket]);
        backlog.arrived();
    }
    assert_eq!(next(&mut backlog, 20).unwrap_err(), Some(1_000));
    let bad = next(&mut backlog, 1_000).unwrap();
    assert_eq!(bad.notice.tickets, [1]);
    // Alone it waits by its own back-off, and what is new does not wait for it.
    assert!(!fail(&mut backlog, bad, 3_000));
    backlog.push(notice(4, 0), ());
    assert_eq!(next(&mut backlog, 1_001).unwrap().notice.tickets, [4]);
}

#[test]
fn two_in_a_row_mean_that_the_receiver_is_down() {
    let mut backlog = backlog([1, 2, 3]);
    let first = next(&mut backlog, 0).unwrap();
    assert!(!fail(&mut backlog, first, 1_000));
    let second = next(&mut backlog, 0).unwrap();
    assert!(fail(&mut backlog, second, 1_000));
    backlog.pause_until(5_000);
    assert_eq!(next(&mut backlog, 1_000).unwrap_err(), Some(5_000));
    assert_eq!(next(&mut backlog, 5_000).unwrap().notice.tickets, [1]);
    backlog.arrived();
    assert_eq!(next(&mut backlog, 5_000).unwrap().notice.tickets, [2]);
    assert_eq!(next(&mut backlog, 5_000).unwrap().notice.tickets, [3]);
    assert_eq!(next(&mut backlog, 5_000).unwrap_err(), None);
}

#[test]
fn what_is_past_its_time_is_given_up_only_while_the_receiver_fails() {
    let mut backlog = backlog([1, 2]);
    backlog.push(notice(3, 500), ());
    assert!(backlog.expired(100).is_empty());
    let first = next(&mut backlog, 0).unwrap();
    fail(&mut backlog, first, 1_000);
    let tickets: Vec<u64> =
        backlog.expired(100).iter().flat_map(|entry| entry.notice.tickets.clone()).collect();
    assert_eq!(tickets, [2, 1]);
    assert_eq!(len(&backlog), 1);
}

#[test]
fn a_long_backlog_for_people_becomes_digests() {
    let mut backlog = Backlog::new(24_000);
    let joined = (0..10_000).filter(|n| backlog.push_digest(notice(*n, 0), ())).count();
    assert_eq!((joined, len(&backlog)), (9_900, 100));
    // What came much later shall not be given up as early as the first: a notice of its own.
    assert!(!backlog.push_digest(notice(10_000, 1_001), ()));
    let mut entry = next(&mut backlog, 0).unwrap();
    assert_eq!(backlog.digest_into(&mut entry), 99);
    assert_eq!((entry.notice.tickets.len(), entry.notice.rest), (10_000, 10_000));
    assert_eq!(len(&backlog), 1);
}

#[test]
fn a_receiver_that_is_back_is_told_the_gravest_first_and_of_those_the_oldest() {
    let of = |ticket: u64, severity: &str| Notice {
        decisions: vec![
            serde_json::from_value(serde_json::json!({
                "id": ticket.to_string(), "ts": 0, "rule": "cap", "level": 0, "severity": severity,
                "mode": "live", "key": {"user": "u"}, "summary": "s", "ruleset": "x", "alert": [],
            }))
            .unwrap(),
        ],
        ..notice(ticket, 0)
    };
    let mut backlog = Backlog::new(24_000);
    for (ticket, severity) in
        [(1, "info"), (2, "critical"), (3, "warning"), (4, "critical"), (5, "info")]
    {
        backlog.push(of(ticket, severity), ());
    }
    let order: Vec<u64> =
        (0..5).map(|_| next(&mut backlog, 0).unwrap().notice.tickets[0]).collect();
    assert_eq!(order, [2, 4, 3, 1, 5]);
}
