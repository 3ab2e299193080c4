//! Rule files, and what their decisions are counted by.

use crate::rule::{Mode, Source, load};

#[track_caller]
fn check(text: &str, expected: &[(&str, usize, Mode)]) {
    let text = format!("version: 1\n{text}");
    let set = load(&[Source { path: "r.yaml".to_owned(), text }]).unwrap();
    assert_eq!(set.outcomes(), expected);
}

#[test]
fn every_level_of_every_rule_that_is_on() {
    check("rules: []", &[]);
    check("rules: [{ name: a, then: [review] }]", &[("a", 0, Mode::Live)]);
    check(
        "rules:\n\
         - { name: off, mode: off, then: [review] }\n\
         - { name: trial, mode: shadow, then: [review] }\n\
         - name: cap\n  per: global\n  on: issue\n  measure: sum(points)\n  window: day\n  levels:\n  \
         - { above: 4000 }\n  - { above: 5000, forecast: 2h }\n  - { above: 5000, then: [alert] }\n\
         - { name: odd, on: issue, measure: count, window: 1h, zscore: { above: 4 } }\n\
         - name: rate\n  window: 1h\n  ratio: { of: { on: redeem, measure: count }, \
         to: { on: issue, measure: count } }\n  levels: [{ above: 0.5 }, { above: 0.9 }]\n",
        &[
            ("trial", 0, Mode::Shadow),
            ("cap", 0, Mode::Live),
            ("cap", 1, Mode::Live),
            ("cap", 2, Mode::Live),
            ("odd", 0, Mode::Live),
            ("rate", 0, Mode::Live),
            ("rate", 1, Mode::Live),
        ],
    );
}

#[test]
fn a_budget_where_a_live_rule_can_spend_it() {
    let freeze = "then: [{ freeze: { scope: issue, for: 1h } }]";
    let own = "budget: { freezes: 5, per: 1h }";
    let budget = ("tidegate.budget", 0, Mode::Live);
    let rules = format!("rules: [{{ name: a, {freeze}, {own} }}]");
    check(&rules, &[("a", 0, Mode::Live), budget]);
    let rules = format!("{own}\nrules: [{{ name: a, {freeze} }}]");
    check(&rules, &[("a", 0, Mode::Live), budget]);
    let rules = format!("{own}\nrules: [{{ name: a, then: [review] }}]");
    check(&rules, &[("a", 0, Mode::Live)]);
    let rules = format!("rules: [{{ name: a, mode: shadow, {freeze}, {own} }}]");
    check(&rules, &[("a", 0, Mode::Shadow)]);
    let rules = format!("rules: [{{ name: a, {freeze} }}]");
    check(&rules, &[("a", 0, Mode::Live)]);
}
