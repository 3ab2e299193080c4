//! Silences begin, end and are over; acknowledgements reach as far as they say.

use serde_json::json;

use super::{Muted, Mutes};
use crate::engine::{Act, Change, Decision, Matcher, Subject};
use crate::event::EventTime;

const DAY: i64 = 86_400_000;

fn record(id: &str, ts: i64, act: Act) -> Vec<u8> {
    let (actor, reason) = ("ann".to_owned(), "known".to_owned());
    Change { v: 1, id: id.to_owned(), ts: EventTime(ts), actor, reason, act }.encode()
}

fn of_rule(rule: &str) -> Matcher {
    Matcher { rule: vec![rule.to_owned()], ..Matcher::default() }
}

fn silence(id: &str, ts: i64, rule: &str, until: i64) -> Vec<u8> {
    record(id, ts, Act::Silence { matcher: of_rule(rule), until: EventTime(until) })
}

fn decision(rule: &str) -> Decision {
    serde_json::from_value(json!({
        "id": "1", "ts": 0, "rule": rule, "level": 0, "severity": "warning", "mode": "live",
        "key": {"user": "u-1"}, "summary": "s", "ruleset": "x", "alert": [],
    }))
    .unwrap()
}

#[test]
fn a_silence_mutes_from_its_beginning_to_its_end_and_never_longer_than_the_bound() {
    let mut mutes = Mutes::new(DAY);
    assert_eq!(mutes.take(&silence("a", 100, "cap", 500)), Some(Muted::Silences));
    assert_eq!(mutes.take(&silence("b", 100, "cap", 100 + 999 * DAY)), Some(Muted::Silences));
    let decision = decision("cap");
    let by = |mutes: &Mutes, at| {
        mutes.silenced(&Subject::of(&decision), at).map(|silence| silence.id.clone())
    };
    assert_eq!(by(&mutes, 99), None);
    assert_eq!(by(&mutes, 100).as_deref(), Some("b"));
    assert_eq!(by(&mutes, 100 + DAY - 1).as_deref(), Some("b"));
    assert_eq!(by(&mutes, 100 + DAY), None);
    let end = Act::EndSilence { silence: "b".into(), matcher: of_rule("cap"), expired: false };
    assert_eq!(mutes.take(&record("e", 300, end.clone())), Some(Muted::Silences));
    assert_eq!(by(&mutes, 299).as_deref(), Some("a"));
    assert_eq!(by(&mutes, 300).as_deref(), Some("a"));
    assert_eq!(by(&mutes, 500), None);
    let overdue = |mutes: &Mutes, at| {
        mutes.overdue(at).into_iter().map(|silence| silence.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(overdue(&mutes, 499), Vec::<String>::new());
    assert_eq!(overdue(&mutes, 500), ["a"]);
    // Ended once is ended, whoever says so again.
    assert_eq!(mutes.take(&record("f", 9_000, end)), Some(Muted::Silences));
    assert_eq!(mutes.silence("b").unwrap().ended, Some(300));
}

#[test]
fn one_that_was_forgotten_does_not_come_back() {
    let mut mutes = Mutes::new(30 * DAY);
    mutes.take(&silence("old", 0, "cap", 1_000));
    mutes.take(&silence("new", 100 * DAY, "cap", 101 * DAY));
    assert_eq!(mutes.silences().len(), 1);
    assert_eq!(mutes.silence("old"), None);
}

#[test]
fn an_acknowledgement_never_goes_back() {
    let mut mutes = Mutes::new(DAY);
    let acknowledge = |through| {
        record("x", 1_000, Act::Acknowledge { group: "g".into(), through: EventTime(through) })
    };
    assert!(matches!(mutes.take(&acknowledge(900)), Some(Muted::Acknowledged(..))));
    assert_eq!(mutes.take(&acknowledge(800)), None);
    assert_eq!(mutes.acknowledged("g").unwrap().through, 900);
    assert_eq!(mutes.take(b"no change"), None);
}
