//! When the account of a day is told, and to whom.

use serde_json::json;

use super::*;
use crate::engine::{Act, Change, Decision, Matcher};
use crate::event::EventTime;
use crate::notify::{NotifySettings, sample};

const HOUR: i64 = 3_600_000;

fn router(daily: &str) -> Router {
    let settings = format!(
        "receivers:
  mail: {{ slack: {{ url: 'http://x' }} }}
  other: {{ slack: {{ url: 'http://x' }} }}
  hook: {{ webhook: {{ url: 'http://x' }} }}
routes: [{{ match: {{}}, to: [other] }}]
default: [other]
daily: {daily}"
    );
    let settings: NotifySettings = serde_saphyr::from_str(&settings).unwrap();
    assert_eq!(settings.faults(), []);
    Router::new(&settings)
}

fn account() -> (Decision, i64) {
    let decision = sample::account().unwrap();
    let end = decision.daily.as_ref().unwrap().end.0;
    (decision, end)
}

#[test]
fn people_get_it_in_the_morning_and_programs_at_once() {
    let mut router = router("{ to: [mail, hook] }");
    let (decision, end) = account();
    let now = end + 600_000;
    let shares = router.offer(&decision, 1, now);
    assert_eq!(shares.waiting, ["~mail", "hook"]);
    let receivers = |router: &mut Router, now| -> Vec<String> {
        router.due(now).into_iter().map(|notice| notice.receiver).collect()
    };
    assert_eq!(receivers(&mut router, now), ["hook"]);
    // 08:00 in Shanghai is eight hours after midnight there.
    assert_eq!(router.next_due_at(), Some(end + 8 * HOUR));
    assert_eq!(receivers(&mut router, end + 8 * HOUR - 1), [""; 0]);
    let notices = router.due(end + 8 * HOUR);
    assert_eq!(notices.len(), 1);
    assert_eq!((notices[0].receiver.as_str(), notices[0].decisions.len()), ("mail", 1));
    assert_eq!(notices[0].remarks, [""; 0], "it is no alert that was held");
    assert_eq!(notices[0].links.acknowledge(), None);
}

#[test]
fn an_account_that_comes_later_is_told_soon() {
    let mut router = router("{ to: [mail], at: '00:30' }");
    let (decision, end) = account();
    router.offer(&decision, 1, end + 2 * HOUR);
    let notices = router.due(end + 2 * HOUR + 10_000);
    assert_eq!(notices.len(), 1);
}

#[test]
fn a_restart_holds_it_until_the_same_time_and_tells_it_once() {
    let (decision, end) = account();
    let written = end + 600_000;
    let mut early = router("{ to: [mail] }");
    let shares = early.offer_again(&decision, 1, (end + HOUR, written), |line| line == "mail");
    assert_eq!(shares.waiting, ["~mail"]);
    assert_eq!(early.due(end + 8 * HOUR).len(), 1);
    let mut late = router("{ to: [mail] }");
    late.offer_again(&decision, 1, (end + 9 * HOUR, written), |line| line == "mail");
    let notices = late.due(end + 9 * HOUR + 10_000);
    assert_eq!((notices.len(), notices[0].remarks.len()), (1, 0));
    assert_eq!(notices[0].decisions.len(), 1, "it says what it was held for");
    let mut done = router("{ to: [mail] }");
    let shares = done.offer_again(&decision, 1, (end + 9 * HOUR, written), |_| true);
    assert_eq!(shares.waiting, [""; 0]);
}

#[test]
fn it_is_muted_by_nothing() {
    let mut router = router("{ to: [mail] }");
    let (decision, end) = account();
    router.offer(&decision, 1, end + HOUR);
    let matcher = Matcher { rule: vec!["*".to_owned()], ..Matcher::default() };
    let act = Act::Silence { matcher, until: EventTime(end + 20 * HOUR) };
    let (actor, reason) = ("ann".to_owned(), "a rollout".to_owned());
    let ts = EventTime(end + 2 * HOUR);
    let silence = Change { v: 1, id: "s".to_owned(), ts, actor, reason, act };
    assert!(router.mutes.take(&silence.encode()).is_some());
    router.silences_changed(ts.0);
    let notices = router.due(end + 8 * HOUR);
    assert_eq!((notices.len(), notices[0].decisions.len()), (1, 1));
}

#[test]
fn nobody_is_told_of_history_or_without_receivers() {
    let (decision, end) = account();
    let mut on = router("{ to: [mail] }");
    assert_eq!(on.offer(&decision, 1, end + 73 * HOUR), Shares::default());
    let mut off = router("{}");
    assert_eq!(off.offer(&decision, 1, end + HOUR), Shares::default());
}

#[test]
fn two_days_are_two_notices() {
    let mut router = router("{ to: [mail] }");
    let (first, end) = account();
    let mut second = first.clone();
    second.id = "another".to_owned();
    second.daily.as_mut().unwrap().date = "2025-11-23".to_owned();
    router.offer(&first, 1, end + 9 * HOUR);
    router.offer(&second, 2, end + 9 * HOUR);
    assert_eq!(router.due(end + 10 * HOUR).len(), 2);
}

#[test]
fn faults_name_the_key() {
    let settings = json!({ "daily": { "to": ["nobody"], "at": "8" } });
    let settings: NotifySettings = serde_json::from_value(settings).unwrap();
    let faults: Vec<String> = settings.faults().iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "notify: `daily` names an unknown receiver `nobody`",
            "notify: daily.at: `8` is no time of day; write such as `22:00`",
        ]
    );
}

#[test]
fn one_that_does_not_add_up_goes_by_the_routes_at_once_too() {
    let mut router = router("{ to: [mail, other, hook] }");
    let (mut decision, end) = account();
    decision.severity = Severity::Critical;
    let now = end + 600_000;
    let shares = router.offer(&decision, 1, now);
    assert_eq!(shares.waiting, ["other", "~mail", "hook"]);
    router.due(now);
    let notices = router.due(now + 10_000);
    assert_eq!(notices.len(), 1, "mail waits for the morning");
    assert_eq!((notices[0].receiver.as_str(), notices[0].decisions.len()), ("other", 1));
    assert_eq!(notices[0].links.acknowledge(), None);
    let morning = router.due(end + 8 * HOUR);
    assert_eq!(morning.iter().map(|one| one.receiver.as_str()).collect::<Vec<_>>(), ["mail"]);
    // Without anybody to get the account on-call hears of it all the same; not of history.
    let mut alone = self::router("{}");
    assert_eq!(alone.offer(&decision, 1, now).waiting, ["other"]);
    let mut late = self::router("{}");
    assert_eq!(late.offer(&decision, 1, end + 73 * HOUR), Shares::default());
}
