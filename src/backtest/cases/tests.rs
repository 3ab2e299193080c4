//! What is told of a case, and what becomes of its text.

use std::sync::Arc;

use super::{Case, CaseResult, Mark, NotUpdated, parse, run_case, update};
use crate::engine::Lists;
use crate::rule::{Source, load};

const RULES: &str = "
version: 1
timezone: Asia/Shanghai
rules:
- { name: cap, on: issue, measure: sum(points), window: day, levels: [
    { above: 10 }, { above: 20, then: [{ freeze: { scope: issue, for: window } }, review] } ] }
- { name: spent, on: redeem }
";

/// Earns 11, 10, spends 1: `cap` at level 0, at level 1, then `spent`.
const EVENTS: &str =
    "      - { ts: \"2025-11-22T10:00:00+08:00\", user: u, kind: issue, points: 11 }
      - { ts: \"2025-11-22T11:00:00+08:00\", user: u, kind: issue, points: 10 }
      - { ts: \"2025-11-22T12:00:00+08:00\", user: u, kind: redeem, points: 1 }
";

fn ran(text: &str, index: usize) -> (Case, CaseResult) {
    let set = load(&[Source { path: "r.yaml".into(), text: RULES.into() }]).unwrap();
    let case = parse(text).unwrap().tests.swap_remove(index);
    let result = run_case(&case, &Arc::new(set), &Lists::new(0));
    (case, result)
}

fn case(expect: &str) -> String {
    format!("tests:\n  - name: first\n    events:\n{EVENTS}    {expect}")
}

/// The lines about a case whose `expect` this is.
#[track_caller]
fn told(expect: &str, expected: &[&str]) {
    let text = case(expect);
    let (case, result) = ran(&text, 0);
    let mark = |mark| match mark {
        Mark::Around => ' ',
        Mark::Missing => '-',
        Mark::Extra => '+',
    };
    let lines: Vec<String> = result
        .lines(&case)
        .iter()
        .map(|line| format!("{} {}", mark(line.mark), line.text))
        .collect();
    assert_eq!(lines, expected, "{text}");
    assert_eq!((result.passed(), result.line), (expected.is_empty(), 2));
}

/// What `update` makes of `expect` and what follows it.
#[track_caller]
fn updated(expect: &str, expected: &str) {
    let text = case(expect);
    let (case_before, result) = ran(&text, 0);
    let new = update(&text, 0, &case_before, &result).unwrap();
    assert_eq!(new, case(expected));
    assert!(ran(&new, 0).1.passed(), "{new}");
}

const ALL: &str = "expect:
      - { event: 0, rule: cap, level: 0 }
      - { event: 1, rule: cap, level: 1, value: 21 }
      - { event: 2, rule: spent }
";

#[test]
fn a_case_as_expected_tells_nothing() {
    told(ALL, &[]);
}

#[test]
fn what_differs_is_told_field_by_field() {
    told(
        "expect: [{ event: 0, rule: cap, level: 0, value: 12 }, { rule: cap, level: 1, commands: [{ command: freeze, scope: account }, {}] }, { event: 2, rule: spent }]",
        &[
            "  event 0: cap level 0",
            "-   value: 12",
            "+   value: 11",
            "  cap level 1",
            "-   commands[0].scope: account",
            "+   commands[0].scope: issue",
            "  event 2: spent",
        ],
    );
}

#[test]
fn a_decision_too_few_or_too_many_does_not_shift_the_others() {
    told(
        "expect: [{ event: 1, rule: cap, level: 1 }, { event: 2, rule: spent }, { event: 2, rule: other, level: 3 }]",
        &[
            "+ event 0: cap level 0: user u: sum(points) 11 > 10 in day 2025-11-22",
            "  event 1: cap level 1",
            "  event 2: spent",
            "- event 2: other level 3",
        ],
    );
}

#[test]
fn far_from_a_difference_lines_are_counted() {
    let event = |hour| {
        format!(
            "      - {{ ts: \"2025-11-22T1{hour}:00:00Z\", user: u, kind: redeem, points: 1 }}\n"
        )
    };
    let events = (0..9).map(event).collect::<Vec<_>>().concat();
    let expect: Vec<String> =
        (0..8).map(|event| format!("{{ event: {event}, rule: spent }}")).collect();
    let text = format!("tests:\n- name: n\n  events:\n{events}  expect: [{}]", expect.join(", "));
    let (case, result) = ran(&text, 0);
    let lines: Vec<String> = result.lines(&case).into_iter().map(|line| line.text).collect();
    let (first, last) = (&lines[0], lines.last().unwrap());
    assert_eq!((lines.len(), first.as_str()), (4, "… 6 as expected"));
    assert!(last.starts_with("event 8: spent level 0: "), "{last}");
}

#[test]
fn events_that_are_none_are_named() {
    let text = "tests: [{name: n, events: [{ts: 1763769600000, user: u, kind: isue, points: 1}], expect: []}]";
    let (case, result) = ran(text, 0);
    assert_eq!(result.problems, ["event 0 is not of the form of E1: bad_kind"]);
    assert!(!result.passed());
    assert_eq!(update(text, 0, &case, &result), Err(NotUpdated::BadEvents));
}

#[test]
fn repeated_events_are_remarked_on() {
    let event = "{id: a, ts: 1763769600000, user: u, kind: redeem, points: 1}";
    let text = &format!("tests: [{{name: n, events: [{event}, {event}], expect: []}}]");
    let (case, result) = ran(text, 0);
    let lines = result.lines(&case);
    assert_eq!(lines.last().unwrap().text, "events that are late or repeated: 1");
}

#[test]
fn lines_of_a_list_are_changed_one_by_one() {
    updated(
        "expect:   # what comes
      # the first
      - { event: 0, rule: cap, level: 0, value: 12 }   # kept
      - event: 1
        rule: cap
        level: 0   # was 0
        commands:
          - { command: freeze, until: \"2025-11-22T15:00:00Z\" }
          - { command: review }
      # the last
      - { event: 2, rule: spent }
# behind
",
        "expect:   # what comes
      # the first
      - { event: 0, rule: cap, level: 0, value: 11 }   # kept
      - event: 1
        rule: cap
        level: 1   # was 0
        commands:
          - { command: freeze, until: \"2025-11-22T16:00:00Z\" }
          - { command: review }
      # the last
      - { event: 2, rule: spent }
# behind
",
    );
}

#[test]
fn lines_are_added_and_taken_away() {
    updated(
        "expect:
      - { event: 1, rule: cap, level: 1, value: 21 }  # stays
      - { event: 1, rule: other, level: 0 }  # goes
      - { event: 2, rule: spent }",
        "expect:
      - { event: 0, rule: cap, level: 0 }
      - { event: 1, rule: cap, level: 1, value: 21 }  # stays
      - { event: 2, rule: spent }",
    );
    updated(
        "expect:
      - { event: 0, rule: cap, level: 0 }
      - { event: 1, rule: cap, level: 1 }",
        "expect:
      - { event: 0, rule: cap, level: 0 }
      - { event: 1, rule: cap, level: 1 }
      - { event: 2, rule: spent, level: 0 }",
    );
}

#[test]
fn a_list_in_brackets_gets_lines_of_its_own() {
    updated(
        "expect: []   # nothing
  # behind
",
        "expect:
      - { event: 0, rule: cap, level: 0 }
      - { event: 1, rule: cap, level: 1 }
      - { event: 2, rule: spent, level: 0 }   # nothing
  # behind
",
    );
    updated(
        "expect: [{rule: cap, level: 0}, {rule: cap, level: 1, commands: [{command: review}]}, {rule: spent}]\n",
        "expect:
      - {rule: cap, level: 0}
      - { rule: cap, level: 1, commands: [{ command: freeze }, { command: review }] }
      - {rule: spent}
",
    );
}

#[test]
fn of_a_case_in_braces_the_line_stays_one() {
    let text = "tests: [{name: a, events: [{ts: 1763769600000, user: u, kind: redeem, points: 1}], expect: []}, {name: b, events: [], expect: [{rule: spent}, {rule: spent}]}]";
    let (case, result) = ran(text, 0);
    let text = update(text, 0, &case, &result).unwrap();
    let (case, result) = ran(&text, 1);
    let text = update(&text, 1, &case, &result).unwrap();
    let expected = "tests: [{name: a, events: [{ts: 1763769600000, user: u, kind: redeem, points: 1}], expect: [{ event: 0, rule: spent, level: 0 }]}, {name: b, events: [], expect: []}]";
    assert_eq!(text, expected);
}

#[test]
fn nothing_left_to_expect_is_written_as_such() {
    let text = "tests:
  - name: 名单
    events: []
    expect:  # none
      - { rule: spent, value: \"a # b\" }
      - rule: cap
        level: 1
  - name: next
    events: []
    expect: []
";
    let (case, result) = ran(text, 0);
    let expected = "tests:
  - name: 名单
    events: []
    expect: []  # none
  - name: next
    events: []
    expect: []
";
    assert_eq!(update(text, 0, &case, &result).unwrap(), expected);
}

#[test]
fn what_an_alias_shares_is_left_alone() {
    let text = "tests:
  - { name: a, events: &e [{ ts: 1763769600000, user: u, kind: redeem, points: 1 }], expect: &x [{ rule: spent, level: 0 }] }
  - { name: b, events: [], expect: *x }
";
    let (case, result) = ran(text, 1);
    assert_eq!(update(text, 1, &case, &result), Err(NotUpdated::Layout));
}
