//! Plans on the way to others.

use std::sync::Arc;

use crate::engine::{Effect, Input, Lists, Origin, Output, Plan, Settings, State, step};
use crate::event::Decoder;
use crate::rule::{ListEntry, Mode, Source, load};

fn plan(rules: &str) -> Plan {
    let text = format!("version: 1\n{rules}");
    let set = load(&[Source { path: "a.yaml".to_owned(), text }]).unwrap();
    let lists = set.lists.iter().map(|list| {
        vec![ListEntry { value: list.name.clone(), expires: None, author: None, reason: None }]
    });
    let lists: Lists = lists.collect();
    Plan::new(Arc::new(set), lists, Settings::default())
}

/// Name, mode and bound of each rule.
fn rules(plan: &Plan) -> Vec<(String, Mode, Option<String>)> {
    let bound = |rule: &crate::rule::Rule| match &rule.check {
        crate::rule::Check::Threshold { levels, .. } => {
            levels.levels.first().map(|level| format!("{:?}", level.bound))
        }
        _ => None,
    };
    let rules = plan.rule_set().rules.iter();
    rules.map(|rule| (rule.name.clone(), rule.mode, bound(rule))).collect()
}

const BEFORE: &str = "
lists: { a: { file: a.csv, field: user }, b: { file: b.csv, field: user } }
rules:
  - { name: kept, on: issue, measure: count, window: day, above: 5 }
  - { name: changed, on: issue, where: { user: { in: a } }, measure: count, window: 1h, above: 7 }
  - { name: gone, on: redeem, then: [review] }
  - { name: off, mode: off, on: issue, measure: count, window: 1h, above: 8 }
  - { name: seen, on: issue, where: { new: { field: device, within: 1d } }, then: [review] }
";

const AFTER: &str = "
lists: { z: { file: z.csv, field: user }, b: { file: b.csv, field: user } }
rules:
  - { name: listed, on: redeem, where: { user: { in: z } }, then: [review] }
  - { name: kept, on: issue, measure: count, window: day, above: 6 }
  - { name: changed, on: issue, measure: count, window: 2h, above: 9 }
  - { name: off, on: issue, measure: count, window: 1h, above: 8 }
  - { name: seen, on: issue, where: { new: { field: device, within: 1d } }, then: [review] }
  - { name: sum, on: issue, per: device, measure: sum(points), window: day, above: 10 }
";

#[test]
fn on_the_way_to_another_set_a_state_goes_on_with_what_they_have_in_common() {
    let (before, after) = (plan(BEFORE), plan(AFTER));
    let between = before.towards(&after);
    let named = |name: &str, mode, bound: Option<&str>| {
        (name.to_owned(), mode, bound.map(|bound| format!("Integer({bound})")))
    };
    assert_eq!(
        rules(&between),
        [
            named("kept", Mode::Live, Some("6")),
            named("changed", Mode::Live, Some("7")),
            named("gone (before)", Mode::Off, None),
            named("off (before)", Mode::Off, Some("8")),
            named("seen", Mode::Live, None),
            named("listed", Mode::Live, None),
            named("sum (to come)", Mode::Live, Some("10")),
        ]
    );
    // Its cells stand where they stood, and a change between names its rules as the set before.
    let places = |plan: &Plan| -> Vec<(usize, usize, u64)> {
        let info = plan.info.iter().take(2).chain(plan.info.get(4));
        info.map(|info| (info.space, info.column, info.fingerprint)).collect()
    };
    assert_eq!(places(&between), places(&before));
    assert_eq!(between.new_fields, before.new_fields);
    assert_eq!(between.rule_set().version, after.rule_set().version);
    // The old form looks into its own list.
    let lists: Vec<&str> = between.rule_set().lists.iter().map(|list| list.name.as_str()).collect();
    assert_eq!(lists, ["z", "b", "a"]);
    let crate::rule::Check::Threshold { input, .. } = &between.rule(1).check else {
        unreachable!()
    };
    assert!(format!("{:?}", input.filter).contains("In(2)"), "{:?}", input.filter);
    // What devices count comes from all partitions: it is gathered under its own name, and not
    // asked of events.
    let (sum, own) = (&between.info[6], &after.info[5]);
    assert_eq!((sum.gathers(), sum.fingerprint), (true, own.fingerprint));
    assert!(sees(&between, "issue").iter().all(|rule| *rule != 6));
    assert_eq!(between.named(own.fingerprint, 0), Some(6));
    assert_eq!(after.news_to(&between), ["changed", "off", "sum"]);
    assert_eq!(after.news_to(&before), ["listed", "changed", "off", "sum"]);
    assert!(after.news_to(&after).is_empty());
    // Further on the way nothing that was off comes back as it was.
    let again = between.towards(&before);
    assert_eq!(rules(&again)[3].1, Mode::Off);
    assert_eq!(rules(&again).last().map(|(name, ..)| name.as_str()), Some("gone"));
    assert_eq!(rules(&again)[6].0, "sum (to come) (before)");
    // One that is still to come is so further on.
    let onwards = between.towards(&plan(&AFTER.replace("above: 10", "above: 11")));
    assert_eq!(rules(&onwards)[6], named("sum (to come)", Mode::Live, Some("11")));
    assert!(onwards.info[6].gathers());
}

#[test]
fn a_rule_is_born_with_the_first_set_after_one_without_it() {
    let (before, after) = (plan(BEFORE), plan(AFTER));
    let births = after.births_after(&before, 3);
    assert_eq!(births, [("sum".to_owned(), 3)].into(), "users need none, and a match has no past");
    let born = after.born(&births);
    assert_eq!(born.births(), births);
    assert!(!born.counts_as(&after) && born.counts_as(&born.clone()));
    // As long as it is there, in whatever form it is judged, it keeps its birth.
    let edited = plan(&AFTER.replace("above: 10", "above: 11"));
    assert_eq!(edited.births_after(&born, 7), births);
    let off = plan(&AFTER.replace("name: sum,", "name: sum, mode: off,"));
    assert_eq!(off.births_after(&born, 7), [].into());
    let back = after.born(&after.births_after(&off, 8));
    assert_eq!(back.births(), [("sum".to_owned(), 8)].into());
    assert!(!back.counts_as(&born));
    assert_eq!(back.news_to(&born), ["sum"]);
    // What it counts is not taken for what it counted when it was there before.
    assert_eq!(born.named(back.info[5].fingerprint, 5), None);
    assert!(!born.towards(&back).info[5].gathers());
}

#[test]
fn in_another_zone_everything_counts_otherwise() {
    let before = plan(BEFORE);
    let after = plan(&format!("timezone: Asia/Shanghai\n{BEFORE}"));
    assert_eq!(rules(&before.towards(&after)), rules(&before));
    assert!(after.news_to(&before).is_empty());
}

#[test]
fn what_is_muted_counts_and_has_no_bound() {
    let plan = plan(AFTER);
    let muted = plan.muted(&["sum".to_owned(), "listed".to_owned()]);
    let gathers: Vec<bool> = muted.info.iter().map(super::RuleInfo::gathers).collect();
    assert_eq!(gathers, [false, false, false, false, false, true]);
    assert_eq!(sees(&muted, "redeem"), [0_usize; 0], "nothing matches `listed`");
    assert!(sees(&muted, "issue").contains(&5), "`sum` is counted");
    assert_eq!(muted.shape, plan.shape);
    let muted = plan.muted(&["changed".to_owned()]);
    let bounds: Vec<bool> = rules(&muted).iter().map(|(.., bound)| bound.is_some()).collect();
    assert_eq!(bounds, [false, true, false, true, false, true]);
}

/// Places of the rules that may see an event.
fn sees(plan: &Plan, kind: &str) -> Vec<usize> {
    let text = format!(
        r#"{{"id":"e","ts":1763780000000,"user":"u","kind":"{kind}","points":1,"device":"d"}}"#
    );
    let decoder = Decoder::default();
    let event = decoder.decode(text.as_bytes(), 1_000).unwrap();
    plan.routes.of(&event, None).routes.iter().map(|route| route.rule).collect()
}

#[test]
fn the_place_of_a_list_is_no_part_of_how_a_rule_counts() {
    let before = plan(BEFORE);
    let swapped = BEFORE.replace(
        "a: { file: a.csv, field: user }, b: { file: b.csv, field: user }",
        "b: { file: b.csv, field: user }, a: { file: a.csv, field: user }",
    );
    assert!(plan(&swapped).counts_as(&before));
    assert!(!plan(&BEFORE.replace("in: a", "in: b")).counts_as(&before));
}

#[test]
fn a_rule_whose_windows_close_at_another_time_counts_otherwise() {
    let odd = |close: &str| {
        plan(&format!(
            "rules: [{{ name: odd, on: issue, per: source, measure: count, window: 1m, {close} \
             zscore: {{ above: 3 }} }}]"
        ))
    };
    let (soon, late) = (odd("close_after: 5s,"), odd("close_after: 9s,"));
    assert!(soon.counts_as_in(&odd("close_after: 5s,"), "odd"));
    assert!(!soon.counts_as_in(&late, "odd"));
    assert!(!soon.counts_as(&late));
    assert_eq!(late.news_to(&soon), ["odd"]);
    let change = &crate::engine::impact::changes(&soon, &late)[0].0;
    assert_eq!(change.change, crate::engine::impact::RuleChange::CountsOtherwise);
}

#[test]
fn a_rule_that_is_gone_is_not_judged_when_its_window_ends() {
    const KEPT: &str = "
rules:
  - { name: kept, on: issue, measure: count, window: day, above: 100000 }
";
    let odd = "
  - { name: odd, on: issue, per: global, measure: count, window: 1m, zscore: { above: 3 },
      baseline: { method: mean, history: 12, min_windows: 4 } }
";
    let (with, without) = (plan(&format!("{KEPT}{odd}")), plan(KEPT));
    // About ten a minute, then fifty, and the next minutes under the other plan.
    let fired = |then: &Plan| {
        let origin = |topic: &str| Origin { topic: topic.into(), partition: 0 };
        let mut states = [State::new(origin("events")), State::new(origin("partials"))];
        let mut outs = [Output::default(), Output::default()];
        let (mut offset, mut merged) = (0, 0);
        for minute in 0..30_i64 {
            let plan = if minute < 9 { &with } else { then };
            for n in 0..if minute == 8 { 50 } else { 9 + minute % 3 } {
                let ts = 1_763_740_800_000 + minute * 60_000 + n * 1000;
                let text = format!(
                    r#"{{"id":"{minute}-{n}","ts":{ts},"user":"u","kind":"issue","points":1}}"#
                );
                let event = Decoder::default().decode(text.as_bytes(), 10_000).unwrap();
                let input = Input::Event { event: &event, offset, record_ts: None };
                step(&mut states[0], plan, input, &mut outs[0]);
                offset += 1;
            }
            let (from, watermark) = (states[0].origin().clone(), states[0].watermark());
            for (_, payload) in outs[0].partials.drain(&from, watermark, 1, false, false) {
                let input = Input::Partials { payload: &payload, offset: merged, record_ts: None };
                step(&mut states[1], plan, input, &mut outs[1]);
                merged += 1;
            }
        }
        let decided = outs[1].effects.iter().filter_map(|effect| match effect {
            Effect::Decision(decision) => Some(decision.rule.clone()),
            _ => None,
        });
        decided.collect::<Vec<String>>()
    };
    assert_eq!(fired(&with), ["odd"]);
    assert_eq!(fired(&with.towards(&without)), Vec::<String>::new());
}
