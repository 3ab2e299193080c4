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

mod recorded {
    use std::sync::Arc;

    use jiff::tz::TimeZone;
    use serde_json::{Value, json};

    use crate::backtest::cases::{
        Case, Got, NewCase, NotUpdated, Recorded, Selection, append, parse, pseudonyms, record,
        run_case,
    };
    use crate::engine::Lists;
    use crate::event::Decoder;
    use crate::rule::{Field, RuleSet, Source, load};

    const RULES: &str = "
version: 1
rules:
- { name: many, on: issue, measure: count, window: 1h, above: 1 }
- { name: gold, on: issue, where: { attrs.tier: gold } }
";

    fn rules() -> RuleSet {
        load(&[Source { path: "r.yaml".into(), text: RULES.into() }]).unwrap()
    }

    fn event(id: &str, minute: i64, user: &str, more: &Value) -> String {
        let ts = 1_763_769_600_000 + minute * 60_000;
        let mut event = json!({ "id": id, "ts": ts, "user": user, "kind": "issue", "points": 5 });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("{event}\n")
    }

    fn taken(input: &str, selection: &Selection) -> std::io::Result<Recorded> {
        record(&mut input.as_bytes(), &Decoder::default(), 65_536, selection)
    }

    fn of_user(user: &str) -> Selection {
        Selection { key: vec![(Field::User, user.to_owned())], ..Selection::default() }
    }

    #[test]
    fn only_events_of_the_target_up_to_the_one_named_are_taken() {
        let none = json!({});
        let input = [
            event("a", 0, "u", &none),
            event("b", 1, "other", &none),
            event("c", 70, "u", &json!({ "device": "d-77" })),
            "nonsense\n\n".to_owned(),
            event("d", 71, "u", &none),
            event("e", 72, "u", &none),
        ]
        .concat();
        let minutes = |recorded: &Recorded| {
            let minute = |ts: &Value| (ts.as_i64().unwrap() - 1_763_769_600_000) / 60_000;
            recorded.events.iter().map(|event| minute(&event["ts"])).collect::<Vec<_>>()
        };
        let all = taken(&input, &of_user("u")).unwrap();
        assert_eq!((minutes(&all), all.unreadable), (vec![0, 70, 71, 72], 1));
        let some = Selection { event: Some("d".into()), reach_ms: Some(3_600_000), ..of_user("u") };
        assert_eq!(minutes(&taken(&input, &some).unwrap()), [70, 71]);
        let device =
            Selection { key: vec![(Field::Device, "d-77".into())], ..Selection::default() };
        assert_eq!(minutes(&taken(&input, &device).unwrap()), [70]);
        let missing = Selection { event: Some("b".into()), ..of_user("u") };
        let error = taken(&input, &missing).unwrap_err().to_string();
        assert_eq!(error, "no event of this target has the id b");
        let many: String = (0..1_001).map(|n| event(&n.to_string(), n, "u", &none)).collect();
        let error = taken(&many, &of_user("u")).unwrap_err().to_string();
        assert!(error.starts_with("1001 events are too many for a case"), "{error}");
    }

    #[test]
    fn ids_are_kept_where_they_say_something() {
        let reverses =
            |id: &str| json!({ "kind": "reverse", "reverses": { "id": id, "kind": "issue" } });
        let input = [
            event("a", 0, "u", &json!({})),
            event("b", 1, "u", &reverses("a")),
            event("c", 2, "u", &reverses("z")),
            event("a", 0, "u", &json!({})),
        ]
        .concat();
        let events = taken(&input, &of_user("u")).unwrap().events;
        let ids: Vec<_> = events.iter().map(|event| event.get("id")).collect();
        assert_eq!(ids, [None, None, None, Some(&json!("e0"))]);
        let originals: Vec<_> = events
            .iter()
            .map(|event| event.get("reverses").map(|original| &original["id"]))
            .collect();
        assert_eq!(originals, [None, Some(&json!("e0")), Some(&json!("before")), None]);
    }

    #[test]
    fn people_are_not_known_again() {
        let all = json!({ "device": "pixel-of-zhang", "ip": "10.1.2.3", "source": "quiz",
            "attrs": { "tier": "gold", "mail": "zhang@example.com" } });
        let other =
            json!({ "device": "pixel-of-li", "ip": "2001:db8:1::7", "attrs": { "mail": "li" } });
        let input = [
            event("zhang-1", 0, "zhang", &all),
            event("zhang-2", 1, "zhang", &other),
            event("zhang-3", 2, "zhang", &all),
        ]
        .concat();
        let events = taken(&input, &of_user("zhang")).unwrap().events;
        let masked = pseudonyms(&events, &rules());
        let told = masked.iter().cloned().map(Value::Object).collect::<Value>().to_string();
        assert!(
            !told.contains("zhang") && !told.contains("li\"") && !told.contains("10.1"),
            "{told}"
        );
        let field = |name: &str| {
            let of = |event: &serde_json::Map<String, Value>| event.get(name).cloned();
            masked.iter().map(of).map(Option::unwrap_or_default).collect::<Vec<_>>()
        };
        assert_eq!(field("device"), ["d1", "d2", "d1"]);
        assert_eq!(field("ip"), ["192.0.2.1", "2001:db8::2", "192.0.2.1"]);
        assert_eq!(
            field("attrs"),
            [json!({ "tier": "gold" }), Value::Null, json!({ "tier": "gold" })]
        );
        assert_eq!(masked[0]["source"], "quiz");
    }

    #[test]
    fn addresses_are_found_for_however_many() {
        let at = |n: i64| {
            event(&n.to_string(), n, "u", &json!({ "ip": format!("10.0.{}.{}", n / 200, n % 200) }))
        };
        let input: String = (0..900).map(at).collect();
        let events = taken(&input, &of_user("u")).unwrap().events;
        let masked = pseudonyms(&events, &rules());
        let names: std::collections::BTreeSet<&str> =
            masked.iter().map(|event| event["ip"].as_str().unwrap()).collect();
        assert_eq!(names.len(), 900);
        assert!(names.iter().all(|name| name.parse::<std::net::IpAddr>().is_ok()));
    }

    /// The text of a file with a case more: two events, as the rules decide them.
    fn appended(text: &str) -> Result<String, NotUpdated> {
        let input = [event("a", 0, "u", &json!({})), event("b", 1, "u", &json!({}))].concat();
        let events = taken(&input, &of_user("u")).unwrap().events;
        let case = Case { name: String::new(), events: events.clone(), expect: vec![], line: 0 };
        let result = run_case(&case, &Arc::new(rules()), &Lists::new(0));
        let expect: Vec<&Got> = result.got.iter().collect();
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let new = NewCase { name: "no: \"case\"", events: &events, expect, zone: &zone };
        let (text, case) = append(text, Some("my rules.yaml"), &new)?;
        assert!(run_case(&case, &Arc::new(rules()), &Lists::new(0)).passed(), "{text}");
        assert_eq!(parse(&text).unwrap().tests.last(), Some(&case));
        Ok(text)
    }

    fn lines(indent: &str) -> String {
        [
            "- name: \"no: \\\"case\\\"\"",
            "  events:",
            "    - { ts: \"2025-11-22T08:00:00+08:00\", user: u, kind: issue, points: 5 }",
            "    - { ts: \"2025-11-22T08:01:00+08:00\", user: u, kind: issue, points: 5 }",
            "  expect:",
            "    - { event: 1, rule: many, level: 0 }",
        ]
        .map(|line| format!("{indent}{line}\n"))
        .concat()
    }

    #[test]
    fn a_case_is_added_to_what_is_there() {
        let new = format!("rules: my rules.yaml\ntests:\n{}", lines("  "));
        assert_eq!(appended("").unwrap(), new);
        let first = "- name: a  # first\n  events: []\n  expect: []  # nothing";
        for indent in ["", "  ", "      "] {
            let there: Vec<String> =
                first.lines().map(|line| format!("{indent}{line}\n")).collect();
            let there = there.concat();
            let text = format!("# head\ntests:\n{there}# tail\n");
            let expected = format!("# head\ntests:\n{there}{}# tail\n", lines(indent));
            assert_eq!(appended(&text).unwrap(), expected);
            let open = format!("tests:\n{}", there.trim_end());
            assert_eq!(appended(&open).unwrap(), format!("{open}\n{}", lines(indent)));
        }
        assert_eq!(appended("tests: []\n").unwrap(), format!("tests: \n{}", lines("  ")));
        let braces = "tests: [{ name: a, events: [], expect: [] }]\n";
        assert_eq!(appended(braces), Err(NotUpdated::Layout));
    }
}
