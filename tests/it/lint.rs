//! What `rules check` says of rules that load: never wrong about what matches, and silent about
//! the shipped ones.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tidegate::backtest::{Backtest, run};
use tidegate::engine::{Effect, Lists, Plan, Settings};
use tidegate::event::Decoder;
use tidegate::rule::{Lint, Source, Surroundings, lint, load};

/// Matchers of each field, chosen so that many exclude each other, and values around them.
const FIELDS: [(&str, &[&str], &[&str]); 8] = [
    (
        "points",
        &["5", "{ne: 5}", "{gt: 4}", "{gte: 5}", "{lt: 6}", "{lte: 4.5}", "{lt: 0}", "[4, 6.0]"],
        &["-1", "0", "4", "5", "6", "7"],
    ),
    (
        "source",
        &["a", "[a, b]", "{ne: a}", "{prefix: a}", "{prefix: ab}", "{exists: false}", "{in: l}"],
        &["null", "\"a\"", "\"b\"", "\"ab\"", "\"abc\"", "\"x\""],
    ),
    (
        "device",
        &["{not_in: l}", "{in: l}", "{exists: true}", "{exists: false}", "{eq: d}"],
        &["null", "\"d\"", "\"x\""],
    ),
    (
        "ip",
        &[
            "{cidr: 10.0.0.0/8}",
            "{cidr: 10.1.0.0/16}",
            "{cidr: [11.0.0.0/8, 10.1.2.0/24]}",
            "10.1.2.3",
        ],
        &["null", "\"10.0.0.1\"", "\"10.1.2.3\"", "\"11.1.1.1\"", "\"::ffff:10.1.9.9\"", "\"no\""],
    ),
    (
        "attrs.n",
        &[
            "5",
            "\"5\"",
            "true",
            "{gt: 4}",
            "{lt: 4.5}",
            "{exists: false}",
            "{ne: 5}",
            "{prefix: \"5\"}",
        ],
        &["null", "5", "\"5\"", "true", "false", "4.25", "-3", "\"x\""],
    ),
    ("kind", &["issue", "[issue, adjust]", "{ne: issue}", "{prefix: re}"], &[]),
    ("hour", &["3", "{gt: 22}", "{lte: 3}", "[3, 4]"], &[]),
    ("weekday", &["mon", "{ne: mon}", "[tue, wed]", "{exists: false}"], &[]),
];

/// A map of `where`, nested up to `depth` deep.
fn filter(depth: u32) -> BoxedStrategy<String> {
    let key = (0..FIELDS.len()).prop_flat_map(|at| {
        let (name, matchers, _) = FIELDS[at];
        prop::sample::select(matchers).prop_map(move |matcher| (name, matcher.to_owned()))
    });
    let keys = prop::collection::btree_map("[a-z]{3}", key, 0..4).prop_map(|keys| {
        let mut seen = BTreeSet::new();
        let keys = keys.into_values().filter(|(name, _)| seen.insert(*name));
        keys.map(|(name, matcher)| format!("{name}: {matcher}")).collect::<Vec<_>>()
    });
    if depth == 0 {
        return keys.prop_map(|keys| format!("{{{}}}", keys.join(", "))).boxed();
    }
    let any = prop::option::of(prop::collection::vec(filter(depth - 1), 1..4));
    let not = prop::option::of(filter(depth - 1));
    (keys, any, not)
        .prop_map(|(mut keys, any, not)| {
            keys.extend(any.map(|any| format!("any: [{}]", any.join(", "))));
            keys.extend(not.map(|not| format!("not: {not}")));
            format!("{{{}}}", keys.join(", "))
        })
        .boxed()
}

/// Events that take their values from around those of the matchers.
fn events() -> BoxedStrategy<Vec<Value>> {
    let value = |at: usize| prop::sample::select(FIELDS[at].2);
    let kinds = prop::sample::select(&["issue", "redeem", "adjust", "reverse"][..]);
    let event = (kinds, 0i64..200, value(0), value(1), value(2), value(3), value(4)).prop_map(
        |(kind, hour, points, source, device, ip, n)| {
            let mut event = Map::new();
            event.insert("ts".into(), (1_763_740_800_000 + hour * 3_600_000).into());
            event.insert("user".into(), "u".into());
            event.insert("kind".into(), kind.into());
            let mut put = |name: &str, text: &str| {
                event.insert(name.into(), serde_json::from_str(text).unwrap());
            };
            put("points", points);
            put("source", source);
            put("device", device);
            put("ip", ip);
            event.insert("attrs".into(), json!({ "n": serde_json::from_str::<Value>(n).unwrap() }));
            Value::Object(event)
        },
    );
    prop::collection::vec(event, 400).boxed()
}

/// How many of the events match.
fn matches(set: tidegate::rule::RuleSet, events: &[Value]) -> usize {
    let lists = Lists::new(set.lists.len());
    // So late that nothing is: the order of the events is not the question.
    let settings = Settings {
        max_ahead_ms: None,
        allowed_lateness_ms: i64::from(u32::MAX),
        ..Settings::default()
    };
    let plan = Plan::new(Arc::new(set), lists, settings);
    let mut fold = Backtest::new(plan, Decoder::default(), 65_536, "events");
    let mut input = String::new();
    for (at, event) in events.iter().enumerate() {
        let mut event = event.clone();
        event["id"] = format!("e{at}").into();
        input.push_str(&event.to_string());
        input.push('\n');
    }
    let mut fired = 0;
    let mut sink = |effect: &Effect| {
        fired += usize::from(matches!(effect, Effect::Decision(_)));
        Ok(())
    };
    run(&mut fold, input.as_bytes(), &mut sink, &mut |_| {}).unwrap();
    fired
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// No event matches what is said to match none. The filters are such that the events of a
    /// sample find most that can match, so that a lint which says nothing does not pass.
    #[test]
    fn what_is_said_never_to_match_does_not(
        filter in filter(2),
        on in prop::sample::select(&["issue", "[issue, redeem]", "[redeem, adjust]", "reverse"][..]),
        per in prop::sample::select(&["user", "device", "[user, ip]", "global"][..]),
        events in events(),
    ) {
        let text = format!(
            "version: 1\nlists: {{l: {{field: device}}}}\nrules: [{{name: r, on: {on}, per: {per}, where: {filter}}}]"
        );
        let sources = [Source { path: "r.yaml".into(), text: text.clone() }];
        let set = load(&sources).unwrap();
        let warnings = lint(&sources, &set, &Surroundings::default());
        let never = warnings.iter().any(|warning| warning.lint == Lint::NeverFires);
        let matched = matches(set, &events);
        prop_assert!(!never || matched == 0, "{matched} events match {text}: {warnings:?}");
    }
}

#[test]
fn most_filters_that_match_nothing_are_found() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut silent, mut told) = (0, 0);
    for _ in 0..200 {
        let filter = filter(2).new_tree(&mut runner).unwrap().current();
        let events = events().new_tree(&mut runner).unwrap().current();
        let text = format!(
            "version: 1\nlists: {{l: {{field: device}}}}\nrules: [{{name: r, on: [issue, redeem], where: {filter}}}]"
        );
        let sources = [Source { path: "r.yaml".into(), text: text.clone() }];
        let set = load(&sources).unwrap();
        let warnings = lint(&sources, &set, &Surroundings::default());
        let never = warnings.iter().any(|warning| warning.lint == Lint::NeverFires);
        // The list is empty here, which a lint must not count on.
        if matches(set, &events) == 0 && !text.contains("in: l") {
            if never { told += 1 } else { silent += 1 }
        }
    }
    assert!(told > 15 && told > 3 * silent, "told {told}, silent {silent}");
}

fn check(arguments: &[&str]) -> (Option<i32>, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let out = command.args(["rules", "check"]).args(arguments).current_dir(root).output().unwrap();
    (out.status.code(), String::from_utf8(out.stdout).unwrap())
}

#[test]
fn of_the_shipped_rules_nothing_is_said() {
    let (status, text) = check(&["rules", "--deny-warnings"]);
    assert_eq!((status, text.lines().count()), (Some(0), 1), "{text}");
}

const RULES: &str = "version: 1
lists:
  名单: { field: user }
rules:
  - { name: a, description: 每天, on: issue, then: [freeze, { alert: { to: nobody } }] }
  - { name: b, on: redeem, measure: count, window: 30d, above: 5 }
";

#[test]
fn warnings_show_the_line_and_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("r.yaml"), RULES).unwrap();
    let tests = "tests: [{ name: t, events: [], expect: [{ rule: a }, { rule: b }] }]\n";
    fs::write(folder.path().join("r.test.yaml"), tests).unwrap();
    let path = folder.path().to_str().unwrap();
    let (status, text) = check(&[path]);
    let text = text.replace(path, "");
    let expected = "/r.yaml:3:3: warning: no rule looks at this list: `名单` [unused-list]
  3 |   名单: { field: user }
    |   ^^^^
  hint: such as `where: { user: { in: 名单 } }`
/r.yaml:5:51: warning: a freeze without an end: `freeze` [endless-freeze]
  5 |   - { name: a, description: 每天, on: issue, then: [freeze, { alert: { to: nobody } }] }
    |                                                     ^^^^^^
  hint: add `for: 30d`, or `for: forever` if somebody is to lift it by hand
ok: rules 2, lists 1 (0 entries), rule set ";
    assert_eq!(status, Some(0));
    assert!(text.starts_with(expected) && text.ends_with("; 2 warnings\n"), "{text}");
    let (status, text) = check(&[path, "--deny-warnings"]);
    assert_eq!(status, Some(1));
    assert!(text.ends_with("\n2 warnings, and warnings are denied\n"), "{text}");
    let allowed = ["--allow", "unused-list", "--allow", "endless-freeze", "--deny-warnings"];
    let (status, text) = check(&[&[path], &allowed[..]].concat());
    assert_eq!((status, text.lines().count()), (Some(0), 1), "{text}");
}

#[test]
fn warnings_as_json() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("r.yaml"), RULES).unwrap();
    let config = "notify: { receivers: { mail: { email: { smtp: \"${SECRET}\" } } } }\n";
    fs::write(folder.path().join("tidegate.yaml"), config).unwrap();
    fs::write(folder.path().join("x.test.yaml"), "tests: {}\n").unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (rules, config) = (at("r.yaml"), at("tidegate.yaml"));
    let arguments = [&rules, "--retention", "7d", "--config", &config, "--format", "json"];
    let (status, text) = check(&arguments);
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &found["faults"]), (Some(0), &json!([])));
    let named =
        |warning: &Value| (warning["lint"].as_str().unwrap().to_owned(), warning["line"].clone());
    let mut named: Vec<_> = found["warnings"].as_array().unwrap().iter().map(named).collect();
    named.sort_by_key(|(name, line)| (line.as_i64(), name.clone()));
    let expected = [
        ("unreadable-test", 1),
        ("unused-list", 3),
        ("endless-freeze", 5),
        ("unknown-receiver", 5),
        ("untested", 5),
        ("short-retention", 6),
        ("untested", 6),
    ];
    assert_eq!(named, expected.map(|(name, line)| (name.to_owned(), json!(line))));
    let receiver = found["warnings"].as_array().unwrap().iter();
    let receiver = receiver.clone().find(|warning| warning["lint"] == "unknown-receiver").unwrap();
    assert_eq!(
        receiver,
        &json!({ "lint": "unknown-receiver", "file": rules, "line": 5, "column": 74,
            "text": "nobody", "message": "the configuration has no such receiver",
            "hint": "one of `mail`" })
    );
}
