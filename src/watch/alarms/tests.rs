//! Each of the things that can be wrong: when it begins, that it is said again, when it is over.

use super::{Facts, Limits, News, Watch};
use crate::engine::Decision;
use crate::rule::Severity;

const LIMITS: Limits = Limits {
    lost_after_ms: 120_000,
    lag: 1_000,
    lag_for_ms: 60_000,
    stalled_ms: 300_000,
    quarantine: 0.01,
};
const WALL_MS: i64 = 1_763_779_200_000;

fn watch() -> Watch {
    Watch::new("host-a", LIMITS)
}

fn look(watch: &mut Watch, facts: &Facts<'_>, now_ms: i64) -> Vec<News> {
    watch.look(facts, now_ms, WALL_MS + now_ms)
}

fn began(news: Vec<News>) -> Decision {
    let mut began = news.into_iter().filter_map(|one| match one {
        News::Began(decision) => Some(decision),
        News::Presumed(_) | News::Stands(_) | News::Over(_) => None,
    });
    let first = began.next().unwrap();
    assert_eq!(began.next(), None, "one thing at a time");
    first
}

fn over(news: &[News]) -> &Decision {
    match news {
        [News::Over(decision)] => decision,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn nothing_is_said_when_all_is_well() {
    let mut watch = watch();
    let well = Facts { silent_ms: Some(30_000), lag: 1_000, consumed: 5_000, ..Facts::default() };
    for now_ms in (0..600_000).step_by(1_000) {
        assert_eq!(look(&mut watch, &well, now_ms), []);
    }
    assert_eq!(watch.standing().count(), 0);
}

#[test]
fn a_lost_canary_is_said_at_once_again_while_it_stands_and_when_it_is_back() {
    let mut watch = watch();
    let lost = |silent_ms| Facts {
        silent_ms: Some(silent_ms),
        not_ready: Some("worker host-a-0 cannot go on"),
        ruleset: "9c1f7a2e",
        ..Facts::default()
    };
    assert_eq!(look(&mut watch, &lost(119_999), 0), []);
    let first = began(look(&mut watch, &lost(120_000), 1_000));
    assert_eq!((first.rule.as_str(), first.severity), ("tidegate.canary_lost", Severity::Critical));
    assert_eq!(first.key["instance"], "host-a");
    assert_eq!((first.alert.as_deref(), first.mode.as_str()), (Some(&[][..]), "live"));
    let summary =
        "instance host-a: no canary has come through for 2m: worker host-a-0 cannot go on";
    assert_eq!(first.summary, summary);
    assert_eq!((first.value.unwrap(), first.bound.unwrap()), (120.into(), 120.into()));
    assert_eq!(first.ruleset, "9c1f7a2e");
    assert_eq!(watch.standing().collect::<Vec<_>>(), ["canary"]);
    assert_eq!(look(&mut watch, &lost(149_000), 30_000), []);
    let [News::Stands(again)] = &look(&mut watch, &lost(151_000), 31_000)[..] else {
        unreachable!("it stands")
    };
    assert_eq!((&again.id, again.ts), (&first.id, first.ts), "it is the same alert");
    assert_eq!(again.value, Some(151.into()), "with the figures of now");
    let news = look(&mut watch, &Facts { silent_ms: Some(0), ..Facts::default() }, 61_000);
    let end = over(&news);
    assert_eq!(end.rule, "tidegate.resolved");
    assert_eq!(end.summary, "instance host-a: resolved after 1m: tidegate.canary_lost, peak 151");
    let resolved = end.resolved.as_ref().unwrap();
    assert_eq!((&resolved.decision, &resolved.peak), (&first.id, &151.into()));
    // The next time it is another one.
    let second = began(look(&mut watch, &lost(120_000), 200_000));
    assert_ne!(second.id, first.id);
}

#[test]
fn without_canaries_none_is_lost() {
    let facts = Facts { silent_ms: None, not_ready: Some("x"), ..Facts::default() };
    assert_eq!(look(&mut watch(), &facts, 10_000_000), []);
}

#[test]
fn a_lag_is_said_once_it_lasts_and_is_over_at_half_of_it() {
    let mut watch = watch();
    let behind = |lag| Facts { lag, ..Facts::default() };
    assert_eq!(look(&mut watch, &behind(1_001), 0), []);
    assert_eq!(look(&mut watch, &behind(1_000), 30_000), [], "it was none for a moment");
    assert_eq!(look(&mut watch, &behind(5_000), 40_000), []);
    assert_eq!(look(&mut watch, &behind(5_000), 99_999), []);
    let first = began(look(&mut watch, &behind(6_000), 100_000));
    assert_eq!(first.summary, "instance host-a: 6000 records behind for 1m");
    assert_eq!(look(&mut watch, &behind(501), 101_000), [], "not yet over");
    let news = look(&mut watch, &behind(500), 102_000);
    assert_eq!(over(&news).resolved.as_ref().unwrap().peak, 6_000);
}

#[test]
fn a_restore_that_goes_on_is_none_that_is_stalled() {
    let mut watch = watch();
    let stands = |ms| Facts { restore_ms: Some(ms), ..Facts::default() };
    assert_eq!(look(&mut watch, &stands(0), 0), []);
    assert_eq!(look(&mut watch, &stands(299_999), 299_999), []);
    let first = began(look(&mut watch, &stands(300_000), 300_000));
    assert_eq!(first.summary, "instance host-a: the restore has not gone on for 5m");
    let news = look(&mut watch, &stands(0), 301_000);
    assert_eq!(over(&news).resolved.as_ref().unwrap().decision, first.id);
    assert_eq!(look(&mut watch, &Facts::default(), 9_000_000), []);
}

#[test]
fn faulty_rules_stand_until_they_are_mended() {
    let mut watch = watch();
    let faulty = Facts { faulty_rules: Some("rules.yaml:3:5: no such key"), ..Facts::default() };
    let first = began(look(&mut watch, &faulty, 0));
    assert_eq!(first.summary, "instance host-a: rules.yaml:3:5: no such key");
    assert_eq!(first.rule, "tidegate.rules");
    over(&look(&mut watch, &Facts::default(), 1_000));
}

#[test]
fn the_share_of_bad_records_is_that_of_five_minutes() {
    let mut watch = watch();
    let at = |consumed, quarantined| Facts { consumed, quarantined, ..Facts::default() };
    assert_eq!(look(&mut watch, &at(1_000, 900), 0), [], "what was before is no news");
    assert_eq!(look(&mut watch, &at(1_020, 909), 60_000), [], "nine are no rate");
    assert_eq!(look(&mut watch, &at(2_000, 909), 120_000), []);
    let first = began(look(&mut watch, &at(2_100, 930), 180_000));
    let summary = "instance host-a: 30 of 1100 records of the last 5 minutes went to quarantine";
    assert_eq!(first.summary, summary);
    assert_eq!(first.value.unwrap(), serde_json::json!(0.0273));
    let mut at_ms = 180_000;
    let mut news = Vec::new();
    while news.is_empty() && at_ms < 900_000 {
        at_ms += 10_000;
        news = look(&mut watch, &at(3_000, 930), at_ms);
        news.retain(|one| !matches!(one, News::Stands(_)));
    }
    assert_eq!(over(&news).resolved.as_ref().unwrap().decision, first.id);
    assert!((470_000..=490_000).contains(&at_ms), "the bad ones have left the window: {at_ms}");
}

#[test]
fn an_unreadable_change_is_told_for_an_hour_after_the_last_one() {
    let mut watch = watch();
    let at = |unreadable| Facts { unreadable, ..Facts::default() };
    let first = began(look(&mut watch, &at(1), 0));
    assert_eq!(first.summary, "instance host-a: 1 record of the control topic cannot be read");
    look(&mut watch, &at(2), 3_000_000);
    let still = look(&mut watch, &at(2), 6_599_000);
    assert!(matches!(&still[..], [News::Stands(decision)] if decision.id == first.id));
    over(&look(&mut watch, &at(2), 6_600_000));
    let away = Facts { control: Some("no leader"), unreadable: 2, ..Facts::default() };
    let second = began(look(&mut watch, &away, 6_700_000));
    assert_eq!(second.summary, "instance host-a: changes by people cannot be read: no leader");
}

/// What stood is taken over by another process, half an hour later.
fn resumed(stood: &Decision) -> Watch {
    let mut watch = watch();
    watch.resume(vec![stood.clone()], 0, WALL_MS + 1_800_000);
    watch
}

fn look_later(watch: &mut Watch, facts: &Facts<'_>, now_ms: i64) -> Vec<News> {
    watch.look(facts, now_ms, WALL_MS + 1_800_000 + now_ms)
}

#[test]
fn what_stood_before_a_restart_comes_up_again_as_the_same() {
    let lost = |silent_ms| Facts { silent_ms: Some(silent_ms), ..Facts::default() };
    let first = began(look(&mut watch(), &lost(130_000), 0));
    let mut watch = resumed(&first);
    assert_eq!(watch.standing().collect::<Vec<_>>(), ["canary"]);
    let presumed = look_later(&mut watch, &lost(0), 0);
    assert_eq!(presumed, [News::Presumed(first.clone())], "nobody knows yet");
    assert_eq!(look_later(&mut watch, &lost(29_000), 29_000), []);
    assert_eq!(look_later(&mut watch, &lost(30_000), 30_000), [News::Presumed(first.clone())]);
    let [News::Stands(again)] = &look_later(&mut watch, &lost(120_000), 120_000)[..] else {
        unreachable!("it stands")
    };
    assert_eq!((&again.id, again.ts), (&first.id, first.ts));
    let news = look_later(&mut watch, &lost(0), 180_000);
    let end = over(&news);
    assert_eq!(end.summary, "instance host-a: resolved after 33m: tidegate.canary_lost, peak 130");
    assert_eq!(end.resolved.as_ref().unwrap().decision, first.id);
}

#[test]
fn what_is_mended_by_a_restart_is_over_once_that_can_be_seen() {
    let lost = Facts { silent_ms: Some(130_000), ..Facts::default() };
    let first = began(look(&mut watch(), &lost, 0));
    let mut canary = resumed(&first);
    look_later(&mut canary, &Facts { silent_ms: Some(0), ..Facts::default() }, 0);
    let beaten = Facts { silent_ms: Some(0), has_beaten: true, ..Facts::default() };
    over(&look_later(&mut canary, &beaten, 5_000));

    let faulty = Facts { faulty_rules: Some("rules.yaml:3:5: no such key"), ..Facts::default() };
    let first = began(look(&mut watch(), &faulty, 0));
    let mut rules = resumed(&first);
    let joining = Facts { not_ready: Some("joining"), ..Facts::default() };
    for at_ms in (0..600_000).step_by(1_000) {
        let news = look_later(&mut rules, &joining, at_ms);
        assert!(news.iter().all(|one| *one == News::Presumed(first.clone())), "{news:?}");
    }
    let still = look_later(&mut rules, &Facts::default(), 608_000);
    assert!(!matches!(&still[..], [News::Over(_)]), "{still:?}");
    over(&look_later(&mut rules, &Facts::default(), 609_000));
    assert_eq!(rules.standing().count(), 0);
}

#[test]
fn a_lag_that_goes_on_through_a_restart_is_seen_below_its_bound_too() {
    let mut before = watch();
    let behind = |lag| Facts { lag, ..Facts::default() };
    look(&mut before, &behind(5_000), 0);
    let first = began(look(&mut before, &behind(5_000), 60_000));
    let mut lag = resumed(&first);
    let joining = Facts { not_ready: Some("joining"), ..Facts::default() };
    look_later(&mut lag, &joining, 0);
    let [News::Stands(again)] = &look_later(&mut lag, &behind(600), 60_000)[..] else {
        unreachable!("it is not yet down to half of it")
    };
    assert_eq!(again.id, first.id);
    let news = look_later(&mut lag, &behind(500), 61_000);
    assert_eq!(over(&news).resolved.as_ref().unwrap().peak, 5_000);
}

#[test]
fn an_unreadable_change_stands_for_its_hour_through_a_restart() {
    let unreadable = Facts { unreadable: 2, ..Facts::default() };
    let first = began(look(&mut watch(), &unreadable, 0));
    let mut control = resumed(&first);
    let [News::Stands(again)] = &look_later(&mut control, &Facts::default(), 1_000)[..] else {
        unreachable!("it is not over in half an hour")
    };
    assert_eq!(again.summary, "instance host-a: 2 records of the control topic cannot be read");
    look_later(&mut control, &Facts::default(), 1_799_000);
    over(&look_later(&mut control, &Facts::default(), 1_800_000));
    // What it is not told of is none of it.
    assert_eq!(look_later(&mut watch(), &Facts::default(), 1_800_000), []);
}
