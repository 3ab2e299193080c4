//! Routes, groups and intervals, by a clock of our own.

use serde_json::json;

use super::{Notice, Router, Shares};
use crate::engine::{Act, Change, Decision, Matcher};
use crate::event::EventTime;
use crate::notify::mutes::Muted;

fn decision(id: u32, rule: &str, severity: &str) -> Decision {
    serde_json::from_value(json!({
        "id": id.to_string(), "ts": 0, "rule": rule, "level": 0, "severity": severity,
        "mode": "live", "key": {"user": "u-1001"}, "summary": "s", "ruleset": "x", "alert": [],
    }))
    .unwrap()
}

fn router() -> Router {
    Router::new(
        &serde_saphyr::from_str(
            r#"
receivers:
  mail: { slack: { url: "http://x" } }
  chat: { slack: { url: "http://x" } }
  hook: { webhook: { url: "http://x" } }
routes:
  - { match: { severity: [critical] }, to: [mail, hook], group_wait: 10s, group_interval: 1m, repeat_interval: 4h }
  - { match: { rule: [odd], key: { user: [u-1001] } }, to: [chat] }
default: [mail]
"#,
        )
        .unwrap(),
    )
}

fn told(notices: &[Notice]) -> Vec<(&str, Vec<u64>, usize)> {
    notices.iter().map(|n| (n.receiver.as_str(), n.tickets.clone(), n.rest)).collect()
}

/// Lines that are for no later time.
fn now(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).filter(|line| !line.starts_with(['~', '^', '!'])).collect()
}

#[test]
fn machines_hear_at_once_and_people_in_groups() {
    let mut router = router();
    assert_eq!(router.offer(&decision(1, "cap", "critical"), 1, 0).waiting, ["hook", "mail"]);
    assert_eq!(router.offer(&decision(2, "cap", "critical"), 2, 3_000).waiting.len(), 2);
    assert_eq!(told(&router.due(3_000)), [("hook", vec![1], 0), ("hook", vec![2], 0)]);
    assert_eq!(router.next_due_at(), Some(10_000));
    assert_eq!(told(&router.due(9_999)), []);
    assert_eq!(told(&router.due(10_000)), [("mail", vec![1, 2], 0)]);
    // The next of the group waits for the interval, and tells only what is new.
    router.offer(&decision(3, "cap", "critical"), 3, 11_000);
    router.due(11_000);
    assert_eq!(router.next_due_at(), Some(70_000));
    assert_eq!(told(&router.due(70_000)), [("mail", vec![3], 0)]);
    // After a quiet time a group starts anew.
    router.offer(&decision(4, "cap", "critical"), 4, 500_000);
    router.due(500_000);
    assert_eq!(router.next_due_at(), Some(510_000));
}

#[test]
fn routes_by_rule_key_and_name() {
    let mut router = router();
    router.offer(&decision(1, "odd", "warning"), 1, 0);
    router.offer(&decision(2, "other", "warning"), 2, 0);
    let mut named = decision(3, "odd", "warning");
    named.alert = Some(vec!["hook".to_owned()]);
    router.offer(&named, 3, 0);
    let mut lost = decision(4, "lost", "info");
    lost.alert = Some(vec!["no-such".to_owned()]);
    router.offer(&lost, 4, 0);
    let mut all = told(&router.due(100_000))
        .iter()
        .map(|t| (t.0.to_owned(), t.1.clone()))
        .collect::<Vec<_>>();
    all.sort();
    let want = [("chat", 1), ("hook", 3), ("mail", 2), ("mail", 4)];
    assert_eq!(all, want.map(|(name, ticket)| (name.to_owned(), vec![ticket])));
}

#[test]
fn shadow_and_silent_decisions_tell_nobody() {
    let mut router = router();
    let mut shadow = decision(1, "cap", "critical");
    shadow.mode = "shadow".to_owned();
    let mut silent = decision(2, "cap", "critical");
    silent.alert = None;
    for decision in [shadow, silent] {
        assert_eq!(router.offer(&decision, 1, 0), Shares::default());
    }
    assert_eq!(router.next_due_at(), None);
}

#[test]
fn a_decision_read_again_is_told_again_only_after_the_repeat_interval() {
    let mut router = router();
    let mut waiting = |ticket, now_ms| {
        let shares = router.offer(&decision(1, "cap", "critical"), ticket, now_ms);
        assert_eq!(shares.waiting.len() + now(&shares.told).len(), 2);
        shares.waiting.len()
    };
    assert_eq!(waiting(1, 0), 2);
    assert_eq!(waiting(2, 14_399_999), 0);
    assert_eq!(waiting(3, 14_400_000), 2);
}

#[test]
fn a_storm_is_one_notice_that_counts_the_rest() {
    let mut router = router();
    for n in 0..1_434 {
        router.offer(&decision(n, "storm", "info"), u64::from(n), 0);
    }
    let notices = router.due(10_000);
    assert_eq!(notices.len(), 1);
    assert_eq!((notices[0].decisions.len(), notices[0].rest), (50, 1_384));
    assert_eq!(notices[0].tickets.len(), 1_434);
}

#[test]
fn after_a_restart_only_those_not_yet_told_are_told_and_soon() {
    let mut router = router();
    for (ticket, waiting, was_told) in
        [(1, vec!["mail"], vec!["hook"]), (2, vec![], vec!["hook", "mail"])]
    {
        let decision = decision(1, "cap", "critical");
        let shares = router.offer_again(&decision, ticket, (0, 0), |receiver| receiver == "hook");
        assert_eq!(shares.waiting, waiting);
        assert_eq!(now(&shares.told), was_told);
    }
    assert_eq!(told(&router.due(999)), []);
    assert_eq!(told(&router.due(1_000)), [("mail", vec![1], 0)]);
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const NIGHT: i64 = 1_763_762_400_000; // 2025-11-21T22:00:00Z, a Friday

fn of(settings: &str) -> Router {
    Router::new(&serde_saphyr::from_str(settings).unwrap())
}

fn keyed(id: u32, rule: &str, severity: &str, key: serde_json::Value) -> Decision {
    Decision { key: serde_json::from_value(key).unwrap(), ..decision(id, rule, severity) }
}

/// With a window of the day that ends so.
fn until(decision: Decision, end: i64) -> Decision {
    let window = json!({"start": end - 24 * HOUR, "end": end, "label": "day 2025-11-22 UTC"});
    Decision {
        window: serde_json::from_value(window).unwrap(),
        measure: Some("count".to_owned()),
        ..decision
    }
}

fn over(id: u32, of: &Decision) -> Decision {
    let mut over = decision(id, "tidegate.resolved", "warning");
    over.key.clone_from(&of.key);
    over.resolved = Some(crate::engine::Resolved {
        rule: of.rule.clone(),
        decision: of.id.clone(),
        since: of.ts,
        peak: 9.into(),
    });
    over
}

fn change(router: &mut Router, id: &str, ts: i64, act: Act) {
    let (actor, reason) = ("ann".to_owned(), "known".to_owned());
    let change = Change { v: 1, id: id.to_owned(), ts: EventTime(ts), actor, reason, act };
    match router.mutes.take(&change.encode()) {
        Some(Muted::Silences) => router.silences_changed(ts),
        Some(Muted::Acknowledged(group, by)) => router.acknowledged(&group, &by, ts),
        None => {}
    }
}

fn silence(router: &mut Router, id: &str, ts: i64, rule: &str, until: i64) {
    let matcher = Matcher { rule: vec![rule.to_owned()], ..Matcher::default() };
    change(router, id, ts, Act::Silence { matcher, until: EventTime(until) });
}

fn ids(notice: &Notice) -> Vec<&str> {
    notice.decisions.iter().map(|decision| decision.id.as_str()).collect()
}

const RECEIVERS: &str = r#"
receivers:
  mail: { slack: { url: "http://x" } }
  boss: { slack: { url: "http://x" } }
  chat: { slack: { url: "http://x" } }
  hook: { webhook: { url: "http://x" } }
default: [mail]
url: https://risk.example/
secret: s3cret
"#;

#[test]
fn a_child_has_from_its_parent_what_it_leaves_out_and_the_first_that_fits_is_taken() {
    let mut router = of(&format!(
        r"{RECEIVERS}
routes:
  - match: {{ labels: {{ team: [fraud] }} }}
    to: [chat]
    group_wait: 1m
    routes:
      - {{ match: {{ severity: [critical] }}, to: [boss] }}
      - {{ match: {{ scope: [device] }}, group_wait: 1s }}
  - {{ match: {{ rule: [cap] }}, to: [boss], continue: true }}
  - {{ match: {{ rule: [cap] }}, to: [chat, boss] }}
"
    ));
    let labelled = |id, severity, key| {
        let mut decision = keyed(id, "x", severity, key);
        decision.labels.insert("team".to_owned(), "fraud".to_owned());
        decision
    };
    router.offer(&labelled(1, "critical", json!({"user": "u"})), 64, 0);
    router.offer(&labelled(2, "info", json!({"device": "d"})), 128, 0);
    router.offer(&labelled(3, "info", json!({"user": "u"})), 192, 0);
    // Two routes, and each receiver once.
    assert_eq!(router.offer(&decision(4, "cap", "info"), 256, 0).waiting, ["boss", "chat"]);
    let mut at = |now| {
        let notices = router.due(now);
        let mut told: Vec<_> =
            notices.iter().map(|n| (n.receiver.clone(), n.tickets.clone())).collect();
        told.sort();
        told
    };
    let told = |name: &str, ticket: u64| (name.to_owned(), vec![ticket]);
    assert_eq!(at(1_000), [told("chat", 128)]);
    assert_eq!(at(10_000), [told("boss", 256), told("chat", 256)]);
    assert_eq!(at(MINUTE), [told("boss", 64), told("chat", 192)]);
}

#[test]
fn groups_are_parted_by_what_the_route_says() {
    let mut router = of(&format!("{RECEIVERS}routes: [{{ to: [mail], group_by: [source] }}]"));
    for (ticket, source) in [(64, "lottery"), (128, "quiz"), (192, "lottery")] {
        let rule = if ticket == 192 { "other" } else { "cap" };
        let key = json!({"source": source});
        router.offer(&keyed(u32::try_from(ticket).unwrap(), rule, "info", key), ticket, 0);
    }
    let notices = router.due(10_000);
    assert_eq!(told(&notices), [("mail", vec![64, 192], 0), ("mail", vec![128], 0)]);
    assert_eq!((notices[0].rule.as_str(), notices[1].rule.as_str()), ("", "cap"));
}

#[test]
fn quiet_hours_hold_and_tell_when_they_end_but_not_what_is_critical() {
    let mut router = of(&format!(
        r#"{RECEIVERS}
routes: [{{ to: [mail, hook], quiet: {{ from: "22:00", to: "07:00", except: [critical] }} }}]"#
    ));
    let shares = router.offer(&decision(1, "cap", "warning"), 64, NIGHT);
    assert_eq!(
        (shares.waiting, shares.told),
        (vec!["hook".into(), "~mail".into()], vec!["mail".into()])
    );
    router.offer(&decision(2, "cap", "critical"), 128, NIGHT);
    router.offer(&decision(3, "cap", "warning"), 192, NIGHT + HOUR);
    assert_eq!(router.due(NIGHT).iter().filter(|n| n.receiver == "hook").count(), 3);
    assert_eq!(told(&router.due(NIGHT + HOUR)), [("mail", vec![128], 0)]);
    let morning = NIGHT + 9 * HOUR;
    assert_eq!(router.next_due_at(), Some(morning));
    assert_eq!(told(&router.due(morning - 1)), []);
    let notices = router.due(morning);
    assert_eq!(told(&notices), [("mail", vec![65, 193], 0)]);
    assert_eq!(notices[0].remarks, ["held during quiet hours"]);
    // Its time to be delivered in begins in the morning.
    assert_eq!(notices[0].offered_at, morning);
}

#[test]
fn what_still_fires_when_a_silence_ends_is_told_and_what_does_not_is_counted() {
    let mut router = of(RECEIVERS);
    silence(&mut router, "s", 0, "cap", 10 * HOUR);
    let fires = until(decision(1, "cap", "warning"), 24 * HOUR);
    let gone = until(decision(2, "cap", "warning"), 5 * HOUR);
    let resolved = until(decision(3, "cap", "warning"), 24 * HOUR);
    let event = decision(4, "cap", "warning");
    for (ticket, one) in [(64, &fires), (128, &gone), (192, &resolved), (256, &event)] {
        let shares = router.offer(one, ticket, HOUR);
        assert_eq!((shares.waiting, shares.told), (vec!["~mail".into()], vec!["mail".into()]));
    }
    // Who was not told that it began is not told that it is over.
    assert_eq!(router.offer(&over(5, &resolved), 320, 2 * HOUR).waiting, Vec::<String>::new());
    assert_eq!(router.offer(&decision(6, "other", "info"), 384, HOUR).waiting, ["mail"]);
    router.due(3 * HOUR);
    assert_eq!(router.next_due_at(), Some(10 * HOUR));
    let notices = router.due(10 * HOUR);
    assert_eq!(told(&notices), [("mail", vec![65, 129, 193, 257], 0)]);
    assert_eq!(ids(&notices[0]), ["1"]);
    let remark = "was silenced by ann until now; 3 more alerts came and went meanwhile";
    assert_eq!(notices[0].remarks, [remark]);
}

#[test]
fn a_silence_that_is_ended_early_tells_at_once_unless_another_holds() {
    let mut router = of(RECEIVERS);
    silence(&mut router, "long", 0, "cap", 10 * HOUR);
    silence(&mut router, "short", 0, "ca*", 5 * HOUR);
    let fires = until(decision(1, "cap", "warning"), 24 * HOUR);
    router.offer(&fires, 64, HOUR);
    let end = |id: &str| Act::EndSilence {
        silence: id.to_owned(),
        matcher: Matcher::default(),
        expired: false,
    };
    change(&mut router, "e1", 2 * HOUR, end("long"));
    assert_eq!(told(&router.due(2 * HOUR)), []);
    assert_eq!(router.next_due_at(), Some(5 * HOUR));
    change(&mut router, "e2", 3 * HOUR, end("short"));
    assert_eq!(told(&router.due(3 * HOUR)), [("mail", vec![65], 0)]);
}

#[test]
fn a_silence_is_announced_to_the_receivers_of_what_it_mutes() {
    let mut router = of(&format!(
        "{RECEIVERS}routes: [{{ match: {{ rule: [cap], severity: [critical] }}, to: [boss, hook] }},
         {{ match: {{ rule: [odd] }}, to: [chat] }}]"
    ));
    silence(&mut router, "s", 0, "cap", HOUR);
    let mut audit = decision(9, "tidegate.silences", "info");
    audit.key = serde_json::from_value(json!({"silence": "s"})).unwrap();
    let shares = router.offer(&audit, 64, 0);
    assert_eq!(shares.waiting, ["boss", "hook", "mail"]);
}

#[test]
fn nobody_acknowledges_and_the_next_step_is_told_once() {
    let mut router = of(&format!(
        "{RECEIVERS}routes: [{{ to: [chat, hook], escalate: [{{ after: 15m, to: [mail] }}, {{ after: 1h, to: [boss] }}] }}]"
    ));
    let shares = router.offer(&decision(1, "cap", "critical"), 64, 0);
    assert_eq!(shares.waiting, ["chat", "hook", "^1 mail", "^2 boss"]);
    let first = router.due(10_000);
    assert_eq!(told(&first), [("hook", vec![64], 0), ("chat", vec![64], 0)]);
    assert!(first[1].links.acknowledge().is_some(), "{first:?}");
    assert_eq!(router.next_due_at(), Some(15 * MINUTE + 10_000));
    let second = router.due(15 * MINUTE + 10_000);
    assert_eq!(told(&second), [("mail", vec![66], 0)]);
    assert_eq!(second[0].remarks, ["not acknowledged within 15m by chat, hook"]);
    let third = router.due(HOUR + 10_000);
    assert_eq!(told(&third), [("boss", vec![67], 0)]);
    assert_eq!(router.next_due_at(), None);
    assert_eq!(router.settled(), []);
}

#[test]
fn an_acknowledgement_stops_the_steps_of_what_was_told_and_those_woken_hear_of_it() {
    let mut router = of(&format!(
        "{RECEIVERS}routes: [{{ to: [chat], escalate: [{{ after: 15m, to: [mail] }}] }}]"
    ));
    router.offer(&decision(1, "cap", "critical"), 64, 0);
    let notices = router.due(10_000);
    let group = notices[0].links.groups.first().unwrap().clone();
    router.offer(&decision(2, "cap", "critical"), 128, 12_000);
    let act = Act::Acknowledge { group: group.clone(), through: EventTime(10_000) };
    change(&mut router, "a", 20_000, act.clone());
    assert_eq!(router.settled(), [(66, "mail".to_owned())]);
    let heard = router.due(20_000);
    assert_eq!(heard[0].remarks, ["acknowledged by ann: known"]);
    assert_eq!(told(&heard), [("chat", vec![], 0)]);
    // Said twice is said once.
    change(&mut router, "b", 21_000, act);
    assert_eq!(told(&router.due(21_000)), []);
    // What came after is new: it is told, and goes on to the next step.
    assert_eq!(told(&router.due(70_000)), [("chat", vec![128], 0)]);
    assert_eq!(told(&router.due(16 * MINUTE)), [("mail", vec![130], 0)]);
}

#[test]
fn what_is_resolved_goes_no_step_further_and_its_end_is_told() {
    let mut router = of(&format!(
        "{RECEIVERS}routes: [{{ match: {{ rule: [cap] }}, to: [chat], escalate_after: 15m }},
         {{ match: {{ rule: [mute] }}, to: [chat], resolved: false }}]"
    ));
    let fired = decision(1, "cap", "critical");
    assert_eq!(router.offer(&fired, 64, 0).waiting, ["chat", "^1 mail"]);
    router.due(10_000);
    assert_eq!(router.offer(&over(2, &fired), 128, MINUTE).waiting, ["chat"]);
    assert_eq!(router.settled(), [(66, "mail".to_owned())]);
    assert_eq!(told(&router.due(2 * MINUTE)), [("chat", vec![128], 0)]);
    assert_eq!(router.next_due_at(), None);
    let silent = decision(3, "mute", "critical");
    router.offer(&silent, 192, 0);
    assert_eq!(router.offer(&over(4, &silent), 256, MINUTE), Shares::default());
}

#[test]
fn a_mute_that_begins_while_a_notice_waits_holds_it_and_its_end_tells_it() {
    let mut router = of(RECEIVERS);
    let fires = until(decision(1, "cap", "warning"), 24 * HOUR);
    let resolved = until(decision(2, "cap", "warning"), 24 * HOUR);
    assert_eq!(router.offer(&fires, 64, 0).waiting, ["mail", "^61 mail"]);
    router.offer(&resolved, 128, 0);
    router.offer(&over(3, &resolved), 192, 1_000);
    let mut many = decision(9, "many", "warning");
    for n in 0..200_u32 {
        many.id = format!("many-{n}");
        router.offer(&many, 640 + 64 * u64::from(n), 2_000);
    }
    silence(&mut router, "s", 5_000, "cap", HOUR);
    silence(&mut router, "m", 5_000, "many", HOUR);
    assert_eq!(told(&router.due(20_000)), []);
    let deferred = router.deferred();
    assert_eq!((deferred.len(), &deferred[0]), (202, &(64, "mail".to_owned())));
    // Nobody need hear the end of what nobody was told of.
    assert!(router.settled().contains(&(192, "mail".to_owned())));
    assert_eq!(router.next_due_at(), Some(HOUR));
    let notices = router.due(HOUR);
    assert_eq!(told(&notices)[0], ("mail", vec![65, 129], 0));
    assert_eq!(ids(&notices[0]), ["1"]);
    let remark = "was silenced by ann until now; 1 more alert came and went meanwhile";
    assert_eq!(notices[0].remarks, [remark]);
    // Those that are known as a number alone have gone with the others.
    assert_eq!((notices[1].tickets.len(), notices[1].rest), (200, 0));
    assert_eq!(router.deferred(), []);
}

#[test]
fn a_source_that_comes_while_a_notice_waits_mutes_and_counts_it() {
    let mut router = of(&format!("{RECEIVERS}{INHIBIT}"));
    let user = keyed(2, "cap", "warning", json!({"source": "lottery", "user": "u-1"}));
    router.offer(&user, 64, 0);
    let campaign = keyed(1, "campaign", "critical", json!({"source": "lottery"}));
    router.offer(&campaign, 128, 1_000);
    let mut notices = router.due(10_000);
    notices.extend(router.due(20_000));
    assert_eq!(told(&notices), [("mail", vec![128], 0)]);
    assert_eq!(notices[0].remarks, ["1 alert that follows from this is muted"]);
    assert_eq!(router.deferred(), [(64, "mail".to_owned())]);
}

#[test]
fn what_still_fires_is_told_again_a_few_times_until_it_is_over() {
    let routes = "routes: [{ to: [mail], group_wait: 1m, repeat_interval: 1h, reminders: 3 }]";
    let mut router = of(&format!("{RECEIVERS}{routes}"));
    let all_day = until(decision(1, "cap", "critical"), 24 * HOUR);
    let short = until(decision(2, "cap", "critical"), 2 * HOUR);
    let event = decision(3, "cap", "critical");
    let resolved = until(decision(4, "cap", "critical"), 24 * HOUR);
    assert_eq!(router.offer(&all_day, 64, 0).waiting, ["mail", "^61 mail"]);
    assert_eq!(router.offer(&short, 128, 0).waiting, ["mail", "^61 mail"]);
    assert_eq!(router.offer(&event, 192, 0).waiting, ["mail"]);
    router.offer(&resolved, 256, MINUTE / 2);
    router.due(MINUTE);
    let first = HOUR + MINUTE;
    assert_eq!(router.next_due_at(), Some(first));
    let notices = router.due(first);
    assert_eq!(ids(&notices[0]), ["1", "2"]);
    assert_eq!(notices[0].remarks, ["2 alerts fire still, told 1h ago or earlier"]);
    // No line is settled by a reminder, and its link acknowledges.
    assert_eq!((notices[0].tickets.len(), &notices[0].also[..]), (0, &[64 + 62, 128 + 62][..]));
    assert!(notices[0].links.acknowledge().is_some());
    // The second one ends before the next; the fourth, half a minute younger, comes with that.
    assert_eq!(router.settled(), [(128 + 62, "mail".to_owned())]);
    assert_eq!(router.due(first + MINUTE / 2), []);
    router.offer(&over(5, &resolved), 320, 80 * MINUTE);
    assert_eq!(router.settled(), [(256 + 62, "mail".to_owned())]);
    assert_eq!(ids(&router.due(100 * MINUTE)[0]), ["5"]);
    assert_eq!(ids(&router.due(2 * HOUR + MINUTE)[0]), ["1"]);
    assert_eq!(ids(&router.due(3 * HOUR + MINUTE)[0]), ["1"]);
    assert_eq!(router.settled(), [(64 + 62, "mail".to_owned())]);
    assert_eq!(router.next_due_at(), None);
    // After a restart they come when they would have come.
    let mut router = of(&format!("{RECEIVERS}{routes}"));
    let told = |line: &str| !line.starts_with('^');
    let shares = router.offer_again(&all_day, 64, (90 * MINUTE, 0), told);
    assert_eq!(shares.waiting, ["^61 mail"]);
    assert_eq!(router.next_due_at(), Some(2 * HOUR + MINUTE));
    assert!(router.offer_again(&all_day, 128, (4 * HOUR, 0), told).waiting.is_empty());
}

#[test]
fn what_is_acknowledged_or_silenced_is_not_told_again() {
    let routes = "routes: [{ to: [mail], group_wait: 1s, repeat_interval: 1h }]";
    let mut router = of(&format!("{RECEIVERS}{routes}"));
    let all_day = until(decision(1, "cap", "critical"), 24 * HOUR);
    let other = until(decision(2, "odd", "critical"), 24 * HOUR);
    router.offer(&all_day, 64, 0);
    router.offer(&other, 128, 0);
    router.due(1_000);
    let group = router.tree.routes()[1].group_id("cap");
    change(&mut router, "a", MINUTE, Act::Acknowledge { group, through: EventTime(MINUTE) });
    router.due(MINUTE);
    silence(&mut router, "s", MINUTE, "odd", 90 * MINUTE);
    assert_eq!(told(&router.due(HOUR + 1_000)), []);
    // Its reminder was held, and comes when the silence ends.
    let mut notices = router.due(90 * MINUTE);
    notices.extend(router.due(90 * MINUTE));
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!(ids(&notices[0]), ["2"]);
    assert_eq!(router.next_due_at(), Some(2 * HOUR + 1_000));
}

#[test]
fn when_no_more_can_be_held_it_is_told_and_the_notice_says_so() {
    let routes = "routes: [{ to: [mail], escalate: [{ after: 1h, to: [boss] }] }]";
    let mut router = of(&format!("{RECEIVERS}held_max: 3\n{routes}"));
    silence(&mut router, "s", 0, "cap", 10 * HOUR);
    for id in 1..=3 {
        let shares = router.offer(&decision(id, "cap", "warning"), 64 * u64::from(id), 0);
        assert_eq!(shares.waiting, ["~mail", "^1 boss"]);
    }
    // The step of the others comes for this one, too.
    let shares = router.offer(&decision(4, "cap", "warning"), 256, 0);
    assert_eq!(shares.waiting, ["mail"]);
    let notices = router.due(10_000);
    assert_eq!(told(&notices), [("mail", vec![256], 0)]);
    assert_eq!(notices[0].remarks, ["muted, and told all the same: no more can be held"]);
}

const INHIBIT: &str = r"
inhibit:
  - { source: { rule: [campaign] }, target: { scope: [user] }, equal: [source], lasts: 2h }
";

#[test]
fn a_stopped_campaign_mutes_its_users_and_tells_how_many() {
    let mut router = of(&format!("{RECEIVERS}{INHIBIT}"));
    let campaign = keyed(1, "campaign", "critical", json!({"source": "lottery"}));
    assert_eq!(router.offer(&campaign, 64, 0).waiting, ["!", "mail"]);
    for n in 2..12_u32 {
        let key = json!({"source": "lottery", "user": format!("u-{n}")});
        let user = until(keyed(n, "cap", "warning", key), 24 * HOUR);
        let shares = router.offer(&user, u64::from(n) * 64, 1_000);
        assert_eq!(shares.waiting, ["~mail"]);
    }
    let other = keyed(20, "cap", "warning", json!({"source": "quiz", "user": "u-1"}));
    assert_eq!(router.offer(&other, 20 * 64, 1_000).waiting, ["mail"]);
    let notices = router.due(11_000);
    let first = notices.iter().find(|notice| notice.rule == "campaign").unwrap();
    assert_eq!(first.remarks, ["10 alerts that follow from this are muted"]);
    assert_eq!((first.tickets.as_slice(), first.also.len()), (&[64][..], 10));
    // The groups of what is muted are listed behind the link, too.
    assert_eq!(first.links.groups.len(), 2);
    // Later ones are told of with the next notice of the source.
    let late = until(keyed(30, "cap", "warning", json!({"source": "lottery", "user": "u"})), HOUR);
    router.offer(&late, 30 * 64, 12_000);
    let notices = router.due(71_000);
    assert_eq!(told(&notices), [("mail", vec![], 0)]);
    assert_eq!(notices[0].remarks, ["1 alert that follows from this is muted"]);
    // When it is over, what still fires is told.
    assert_eq!(router.next_due_at(), Some(2 * HOUR));
    let notices = router.due(2 * HOUR);
    assert_eq!((notices.len(), notices[0].decisions.len(), notices[0].tickets.len()), (1, 10, 11));
    assert!(notices[0].remarks[0].contains("1 more alert came and went"), "{notices:?}");
    assert_eq!(router.settled(), [(64 + 63, String::new())]);
    assert_eq!(router.next_due_at(), None);
}

#[test]
fn what_is_keyed_by_user_alone_is_muted_by_the_source_of_its_event() {
    let mut router = of(&format!("{RECEIVERS}{INHIBIT}"));
    let from = |id, source: Option<&str>| Decision {
        source: source.map(str::to_owned),
        ..keyed(id, "cap", "warning", json!({"user": "u-1"}))
    };
    assert_eq!(router.offer(&from(2, Some("lottery")), 128, 0).waiting, ["mail"]);
    let campaign = keyed(1, "campaign", "critical", json!({"source": "lottery"}));
    router.offer(&campaign, 64, 1_000);
    assert_eq!(router.offer(&from(3, Some("lottery")), 192, 2_000).waiting, ["~mail"]);
    assert_eq!(router.offer(&from(4, Some("quiz")), 256, 2_000).waiting, ["mail"]);
    assert_eq!(router.offer(&from(5, None), 320, 2_000).waiting, ["mail"]);
    let mut notices = router.due(10_000);
    notices.extend(router.due(12_000));
    let at = notices.iter().position(|notice| notice.tickets.contains(&64)).unwrap();
    let remarks = notices.swap_remove(at).remarks;
    assert_eq!(remarks, ["2 alerts that follow from this are muted"], "the one that waited, too");
    // What an event of a campaign has tipped says nothing of the campaign.
    let user = Decision { rule: "campaign".to_owned(), ..from(9, Some("quiz")) };
    assert_eq!(router.offer(&user, 9 * 64, 13_000).waiting, ["mail"]);
    assert_eq!(router.offer(&from(6, Some("quiz")), 384, 14_000).waiting, ["mail"]);
}

#[test]
fn a_source_that_is_resolved_mutes_no_more() {
    let mut router = of(&format!("{RECEIVERS}{INHIBIT}"));
    let campaign = keyed(1, "campaign", "critical", json!({"source": "lottery"}));
    router.offer(&campaign, 64, 0);
    let user = keyed(2, "cap", "warning", json!({"source": "lottery", "user": "u-1"}));
    router.offer(&until(user, 24 * HOUR), 128, 1_000);
    router.due(20_000);
    router.offer(&over(3, &campaign), 192, MINUTE);
    let notices = router.due(MINUTE);
    assert_eq!(told(&notices), [("mail", vec![129], 0)]);
    let next = keyed(4, "cap", "warning", json!({"source": "lottery", "user": "u-2"}));
    assert_eq!(router.offer(&next, 256, MINUTE).waiting, ["mail"]);
}

#[test]
fn after_a_restart_what_is_held_is_held_on_and_what_was_told_is_not_told_again() {
    let routes = "routes: [{ to: [chat], escalate: [{ after: 15m, to: [mail] }] }]";
    let mut router = of(&format!("{RECEIVERS}{routes}"));
    silence(&mut router, "s", 0, "cap", 10 * HOUR);
    let fires = until(decision(1, "cap", "warning"), 24 * HOUR);
    let before = until(decision(2, "cap", "warning"), 24 * HOUR);
    let held = |line: &str| line == "chat";
    let told_before = |line: &str| line != "^1 mail";
    let shares = router.offer_again(&fires, 64, (5 * HOUR, HOUR), held);
    assert_eq!(shares.waiting, ["~chat", "^1 mail"]);
    let shares = router.offer_again(&before, 128, (5 * HOUR, -HOUR), told_before);
    assert_eq!((shares.waiting, shares.told.len()), (vec!["^1 mail".to_owned()], 2));
    // The next step of what is silenced now is, too.
    assert_eq!(told(&router.due(10 * HOUR - 1)), []);
    let notices = router.due(10 * HOUR);
    assert_eq!(told(&notices), [("chat", vec![65], 0)]);
    // Its steps begin with its first notice.
    assert_eq!(told(&router.due(10 * HOUR + 15 * MINUTE)), [("mail", vec![66, 130], 0)]);
    // One whose silence has ended while nobody looked is told at once.
    let mut router = of(&format!("{RECEIVERS}{routes}"));
    silence(&mut router, "s", 0, "cap", 2 * HOUR);
    router.offer_again(&fires, 64, (5 * HOUR, HOUR), held);
    assert_eq!(told(&router.due(5 * HOUR)), [("chat", vec![65], 0)]);
}

#[test]
fn after_a_restart_what_is_acknowledged_goes_no_step_further() {
    let mut router = of(&format!(
        "{RECEIVERS}routes: [{{ to: [chat], escalate: [{{ after: 15m, to: [mail] }}] }}]"
    ));
    let group = router.tree.routes()[1].group_id("cap");
    change(&mut router, "a", 900, Act::Acknowledge { group, through: EventTime(800) });
    let told = |line: &str| !line.starts_with('^');
    let old = router.offer_again(&decision(1, "cap", "critical"), 64, (1_000, 700), told);
    assert_eq!((old.waiting, old.told.last().unwrap().as_str()), (vec![], "^1 mail"));
    let new = router.offer_again(&decision(2, "cap", "critical"), 128, (1_000, 850), told);
    assert_eq!(new.waiting, ["^1 mail"]);
}

#[test]
fn what_an_instance_says_of_itself_comes_again_as_it_stands() {
    let settings: crate::notify::NotifySettings = serde_saphyr::from_str(
        r#"
receivers:
  mail: { slack: { url: "http://x" } }
  hook: { webhook: { url: "http://x" } }
  am: { alertmanager: { url: "http://x" } }
routes:
  - { match: { scope: [instance] }, to: [mail, hook, am], group_wait: 1s, group_interval: 1s, repeat_interval: 1h }
inhibit:
  - { source: { rule: [tidegate.lag] }, target: { rule: [cap] }, equal: [], lasts: 2h }
"#,
    )
    .unwrap();
    let mut router = Router::of_instance(&settings, crate::notify::mutes::Mutes::new(HOUR));
    let mut lag = decision(1, "tidegate.lag", "warning");
    lag.key = serde_json::from_value(json!({ "instance": "host-a" })).unwrap();
    let mut heard: std::collections::BTreeMap<String, Vec<i64>> = std::collections::BTreeMap::new();
    for at in (0..=HOUR + 60_000).step_by(30_000) {
        router.offer(&lag, u64::try_from(at + 64).unwrap(), at);
        for notice in router.due(at) {
            heard.entry(notice.receiver).or_default().push(at);
        }
        router.settled();
    }
    assert_eq!(heard["hook"], [0, HOUR]);
    assert_eq!(heard["mail"], [30_000, HOUR + 30_000]);
    // It forgets what it is not told.
    assert_eq!(heard["am"].len(), 123);
    // However often it is said, it explains others once.
    assert_eq!(router.inhibitions.next_over_at(), Some(HOUR + 60_000 + 2 * HOUR));
    router.offer(&over(2, &lag), 64, HOUR + 90_000);
    assert_eq!(router.inhibitions.next_over_at(), Some(HOUR + 90_000));
    let told: Vec<String> = router.due(HOUR + 90_000).into_iter().map(|one| one.receiver).collect();
    assert_eq!(told, ["am", "hook"]);
    let told: Vec<String> = router.due(HOUR + 91_000).into_iter().map(|one| one.receiver).collect();
    assert_eq!(told, ["mail"]);
}

#[test]
fn a_delay_counts_from_the_commit_of_the_first_decision_or_from_the_end_of_what_held_it() {
    let mut router = router();
    router.offer_written(&decision(1, "cap", "critical"), 1, (5_000, 2_000));
    router.offer_written(&decision(2, "cap", "critical"), 2, (6_000, 5_500));
    let decided = |notices: Vec<Notice>| -> Vec<(String, i64)> {
        notices.into_iter().map(|one| (one.receiver, one.decided_at)).collect()
    };
    let hooks = [("hook".to_owned(), 2_000), ("hook".to_owned(), 5_500)];
    assert_eq!(decided(router.due(6_000)), hooks);
    assert_eq!(decided(router.due(15_000)), [("mail".to_owned(), 2_000)]);
    silence(&mut router, "s", 20_000, "odd", 90_000);
    router.offer_written(&decision(3, "odd", "warning"), 3, (30_000, 30_000));
    assert_eq!(decided(router.due(89_000)), []);
    let mut held = decision(4, "odd", "warning");
    held.measure = Some("count".to_owned());
    router.offer_written(&held, 4, (60_000, 60_000));
    let late = decided(router.due(95_000));
    assert_eq!(late, [("chat".to_owned(), 95_000)]);
}

#[test]
fn a_mute_that_begins_while_a_notice_waits_for_its_receiver_holds_it() {
    let mut router = of(RECEIVERS);
    let fires = until(decision(1, "cap", "warning"), 24 * HOUR);
    let resolved = until(decision(2, "cap", "warning"), 24 * HOUR);
    router.offer(&fires, 64, 0);
    router.offer(&resolved, 128, 0);
    router.offer(&decision(5, "other", "warning"), 320, 0);
    let mut notices = router.due(10_000);
    router.offer(&over(3, &resolved), 192, 11_000);
    notices.extend(router.due(80_000));
    // The receiver is down; all of it has become one digest.
    let mut digest = notices.remove(0);
    for notice in notices {
        digest.absorb(notice);
    }
    assert_eq!((digest.tickets.as_slice(), digest.rest), (&[64, 128, 320, 192][..], 0));
    assert!(!router.has_new_mutes(90_000));
    let whole = router.recall(digest.clone(), 90_000).unwrap();
    assert_eq!(whole, digest, "nothing mutes it");
    silence(&mut router, "s", 100_000, "cap", HOUR);
    assert!(router.has_new_mutes(100_000) && !router.has_new_mutes(100_000));
    let rest = router.recall(digest, 100_000).unwrap();
    assert_eq!((ids(&rest), rest.tickets.as_slice(), rest.rest), (vec!["5"], &[320][..], 0));
    assert_eq!(router.deferred(), [(64, "mail".to_owned()), (128, "mail".to_owned())]);
    // Nobody need hear the end of what nobody was told of.
    assert!(router.settled().contains(&(192, "mail".to_owned())));
    let notices = router.due(HOUR);
    assert_eq!(told(&notices), [("mail", vec![65, 129], 0)]);
    assert_eq!(ids(&notices[0]), ["1"]);
    let remark = "was silenced by ann until now; 1 more alert came and went meanwhile";
    assert_eq!(notices[0].remarks, [remark]);
}

#[test]
fn quiet_hours_that_begin_hold_what_waits_for_its_receiver() {
    let night = "quiet: { from: \"22:00\", to: \"07:00\", except: [critical] }";
    let mut router = of(&format!("{RECEIVERS}routes: [{{ to: [mail], {night} }}]"));
    let eve = 22 * HOUR - MINUTE;
    router.offer(&decision(1, "cap", "warning"), 64, eve);
    router.offer(&decision(2, "cap", "critical"), 128, eve);
    let waits = router.due(eve + 10_000).remove(0);
    assert_eq!(waits.tickets, [64, 128]);
    assert!(!router.has_new_mutes(22 * HOUR - 1));
    assert!(router.has_new_mutes(22 * HOUR) && !router.has_new_mutes(23 * HOUR));
    let rest = router.recall(waits, 22 * HOUR).unwrap();
    assert_eq!((rest.tickets.as_slice(), ids(&rest)), (&[128][..], vec!["2"]));
    assert_eq!(router.deferred(), [(64, "mail".to_owned())]);
    assert_eq!(told(&router.due(31 * HOUR - 1)), []);
    let notices = router.due(31 * HOUR);
    assert_eq!(told(&notices), [("mail", vec![65], 0)]);
    assert_eq!(notices[0].remarks, ["held during quiet hours"]);
    assert!(!router.has_new_mutes(31 * HOUR));
    assert!(router.has_new_mutes(46 * HOUR), "the next night is another one");
}

#[test]
fn of_a_storm_that_waits_for_its_receiver_those_known_as_a_number_are_held_too() {
    let mut router = of(&format!("{RECEIVERS}{INHIBIT}"));
    let mut user = keyed(9, "cap", "warning", json!({"source": "lottery", "user": "u-1"}));
    for n in 0..200_u32 {
        user.id = format!("many-{n}");
        router.offer(&user, 640 + 64 * u64::from(n), 0);
    }
    let storm = router.due(10_000).remove(0);
    assert_eq!((storm.decisions.len(), storm.rest), (50, 150));
    let campaign = keyed(1, "campaign", "critical", json!({"source": "lottery"}));
    router.offer(&campaign, 64, 20_000);
    assert!(router.has_new_mutes(21_000));
    assert_eq!(router.recall(storm, 21_000), None);
    assert_eq!(router.deferred().len(), 200);
    let notices = router.due(30_000);
    assert_eq!(told(&notices), [("mail", vec![64], 0)]);
    assert_eq!(notices[0].remarks, ["200 alerts that follow from this are muted"]);
    let held = router.due(20_000 + 2 * HOUR);
    assert_eq!((held[0].tickets.len(), held[0].tickets[0]), (200, 641));
}

#[test]
fn a_step_that_waits_for_its_receiver_waits_for_the_mute_and_begins_anew() {
    let routes = "routes: [{ to: [chat], escalate: [{ after: 15m, to: [mail] }] }]";
    let mut router = of(&format!("{RECEIVERS}{routes}"));
    let fires = until(decision(1, "cap", "critical"), 24 * HOUR);
    router.offer(&fires, 64, 0);
    router.due(10_000);
    let step = router.due(10_000 + 15 * MINUTE).remove(0);
    assert_eq!((step.receiver.as_str(), step.tickets.as_slice()), ("mail", &[66][..]));
    silence(&mut router, "s", 20 * MINUTE, "cap", HOUR);
    assert_eq!(router.recall(step, 20 * MINUTE), None);
    assert_eq!(router.deferred(), [], "it waits on its line as before");
    assert_eq!(told(&router.due(HOUR)), []);
    assert_eq!(told(&router.due(HOUR + 15 * MINUTE)), [("mail", vec![66], 0)]);
}

#[test]
fn a_step_that_waits_for_its_receiver_goes_with_the_acknowledgement() {
    let routes = "routes: [{ to: [chat], escalate: [{ after: 15m, to: [mail] }] }]";
    let mut router = of(&format!("{RECEIVERS}{routes}"));
    let group = router.tree.routes()[1].group_id("cap");
    router.offer(&decision(1, "cap", "critical"), 64, 0);
    router.offer(&decision(2, "cap", "critical"), 128, 60_000);
    router.due(70_000);
    let step = router.due(16 * MINUTE + 10_000).remove(0);
    assert_eq!((&step.tickets[..], &step.times[..]), (&[66, 130][..], &[0, 60_000][..]));
    router.has_new_mutes(17 * MINUTE);
    let through = EventTime(30_000);
    change(&mut router, "a", 17 * MINUTE, Act::Acknowledge { group: group.clone(), through });
    assert!(router.has_new_mutes(17 * MINUTE), "what waits is asked back");
    let rest = router.recall(step.clone(), 17 * MINUTE).unwrap();
    assert_eq!((rest.tickets.as_slice(), rest.rest), (&[130][..], 0));
    assert!(router.settled().contains(&(66, "mail".to_owned())));
    // What nobody looks after is told all the same.
    assert_eq!(router.recall(rest.clone(), 18 * MINUTE), Some(rest.clone()));
    let through = EventTime(17 * MINUTE);
    change(&mut router, "b", 19 * MINUTE, Act::Acknowledge { group, through });
    assert_eq!(router.recall(rest, 19 * MINUTE), None);
}

#[test]
fn a_restart_under_a_mute_keeps_the_reminder() {
    let mut router = of(&format!(
        "{RECEIVERS}routes: [{{ to: [mail], group_wait: 1m, repeat_interval: 1h, reminders: 3 }}]"
    ));
    silence(&mut router, "s", 10 * MINUTE, "cap", 2 * HOUR);
    let fires = until(decision(1, "cap", "critical"), 24 * HOUR);
    // It was told, and one is still to come.
    let told = |line: &str| line != "^61 mail";
    let shares = router.offer_again(&fires, 64, (20 * MINUTE, 0), told);
    assert_eq!(shares.waiting, ["^61 mail"]);
    // Of one that the silence held from the beginning none is.
    let held = until(decision(2, "cap", "critical"), 24 * HOUR);
    let told = |line: &str| line != "~mail";
    let shares = router.offer_again(&held, 128, (20 * MINUTE, 15 * MINUTE), told);
    assert_eq!(shares.waiting, ["~mail"]);
    assert_eq!(router.due(HOUR + MINUTE), []);
    let mut notices = router.due(2 * HOUR);
    notices.extend(router.due(2 * HOUR));
    let counts: Vec<usize> = notices.iter().map(|notice| notice.decisions.len()).collect();
    assert_eq!(counts, [1, 1], "{notices:?}");
    assert!(
        notices.iter().any(|one| one.remarks == ["1 alert fires still, told 1h ago or earlier"])
    );
}

#[test]
fn a_group_is_reminded_in_one_notice_and_of_nothing_too_soon() {
    let mut router = of(&format!(
        "{RECEIVERS}routes: [{{ to: [mail], group_wait: 1m, repeat_interval: 1h, reminders: 2 }}]"
    ));
    // One each ten minutes, in any order, as partitions are read.
    for (n, at) in [(2, 10), (1, 0), (4, 30), (3, 20)] {
        let fires = until(decision(n, "cap", "critical"), 24 * HOUR);
        let told = |line: &str| line != "^61 mail";
        let ticket = u64::from(n) * 64;
        router.offer_again(&fires, ticket, (40 * MINUTE, at * MINUTE), told);
    }
    let mut reminded = Vec::new();
    for at in (0..6 * HOUR).step_by(60_000) {
        for notice in router.due(at) {
            reminded.push((at / MINUTE, notice.decisions.len() + notice.rest));
        }
    }
    // The first is due an hour after it was told; the others with it the next time.
    assert_eq!(reminded, [(61, 1), (121, 4), (181, 3)]);
}
