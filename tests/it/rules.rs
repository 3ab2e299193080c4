//! The rule language from outside: forms that load, faults that are told, lists and folders.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use tidegate::cli::Format;
use tidegate::cli::rules::{CheckArguments, check};
use tidegate::control::{LoadError, read_rules};
use tidegate::event::EventTime;
use tidegate::rule::{
    Check, Method, RuleSet, Side, Source, Window, load, parse_instant, parse_list, schema,
};

/// Rules of the contract and of its cases, one or several a row.
pub(crate) const FORMS: &[&str] = &[
    "[{name: r, on: issue, per: user, where: {points: {gte: 0}}, then: [alert]}]",
    "[{name: m, on: issue, per: user, where: {source: signin, device: [d-1, d-2], points: {gte: 5, lt: 10}}, then: [alert]}]",
    "[{name: m, on: [redeem, expire], per: user, where: {kind: {ne: expire}}, then: [alert]}]",
    "[{name: nd, on: redeem, per: user, where: {new: {field: device, within: 1h}}, then: [alert]}]",
    "[{name: a, on: redeem, then: [freeze, alert]}, {name: b, on: redeem, then: [{freeze: {scope: activity, for: 180d}}]}, {name: c, then: [{freeze: {scope: redeem}}, {deduct: {points: 25}}]}, {name: d, on: redeem, per: source, then: [{freeze: {scope: issue, for: 2h}}]}]",
    "[{name: r, on: issue, per: user, measure: count, window: 5m, above: 2, then: [alert]}]",
    "[{name: r, on: issue, per: global, measure: sum(points), window: day, above: 99, then: [{freeze: {scope: issue, for: window}}]}]",
    "[{name: r, on: [issue, adjust], per: user, measure: sum(points), window: day, above: 100, clear: 50, then: [alert]}]",
    "[{name: z, on: issue, per: global, measure: sum(points), window: 1m, zscore: {above: 4}, baseline: {method: mean, history: 60, min_windows: 3, min_sd: 1}, then: [alert]}]",
    "[{name: z, on: issue, per: source, measure: sum(points), window: day, zscore: {above: 4, below: -4}, baseline: {method: robust, history: 7, min_windows: 3, min_sd: 0.5}, close_after: 5m}]",
    "[{name: z, on: issue, per: source, measure: count, window: 1h, zscore: {above: 5}, baseline: {method: seasonal, season: 7d, history: 6, neighbours: 2, min_windows: 10}}]",
    "[{name: c, on: issue, per: source, measure: sum(points), window: day, levels: [{above: 8}, {above: 9, forecast: 2h}, {above: 9, then: [{freeze: {scope: issue, for: window}}]}]}, {name: d, on: redeem, per: global, measure: count, window: month, above: 5, forecast: 2d, then: [review]}]",
    "[{name: m, on: issue}]",
    "[{name: r, on: issue, per: source, measure: count, window: day, below: 3}]",
    "[{name: r, on: issue, per: [source, attrs.country], measure: count, window: 10m, levels: [{below: 9}, {below: 1, severity: critical, then: [review]}]}]",
    "[{name: f, on: issue, where: {weekday: fri, hour: {gte: 22}}}, {name: s, on: issue, where: {weekday: [sat, sun]}}]",
    "[{name: q, ratio: {of: {on: redeem, measure: sum(points)}, to: {on: issue, where: {source: share}, measure: sum(points)}, min_to: 3}, window: 10m, above: 1}]",
    "[{name: q, per: global, ratio: {of: {on: redeem, measure: sum(points)}, to: {on: issue, measure: sum(points)}}, window: day, below: 0.5}]",
    "[{name: r, on: [issue, adjust], measure: sum(points), window: day, levels: [{above: 10}, {above: 20}], cooldown: 1h}]",
    "[{name: c, on: [issue, reverse], measure: distinct(attrs.card), window: day, above: 2}, {name: s, on: issue, measure: max(points), window: year, above: 1.5}]",
    "[{name: m, on: redeem, budget: {freezes: 2, per: 1h}, then: [freeze]}]",
    "[{name: a, on: redeem, then: [{freeze: {scope: issue, for: 1h}}]}, {name: u, on: adjust, then: [unfreeze, {unfreeze: {rule: a}}]}]",
    "[{name: d, on: issue, measure: sum(points), window: day, above: 5, then: [{deduct: {points: excess}}, {deduct: {points: all}}, {alert: {to: oncall-sms}}]}]",
    "[{name: nest, mode: shadow, description: nested, where: {any: [{user: {prefix: u-}}, {ip: {cidr: [10.0.0.0/8, '::ffff:192.0.2.1']}}], not: {attrs.tier: {exists: false}}}}]",
];

pub(crate) fn file(rules: &str) -> String {
    format!("version: 1\ntimezone: Asia/Shanghai\nrules: {rules}\n")
}

fn load_one(text: &str) -> Result<RuleSet, String> {
    let sources = [Source { path: "r.yaml".into(), text: text.into() }];
    load(&sources)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn as_json(text: &str) -> serde_json::Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn every_form_loads_and_is_valid_by_the_schema() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for rules in FORMS {
        let text = file(rules);
        assert!(load_one(&text).is_ok(), "{rules}\n{}", load_one(&text).unwrap_err());
        let errors: Vec<String> =
            validator.iter_errors(&as_json(&text)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{rules}\n{errors:?}");
    }
}

#[test]
fn the_schema_refuses_what_has_the_wrong_shape() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for text in [
        "rules: []",
        "version: 2",
        "{version: 1, rule: []}",
        "{version: 1, rules: [{on: issue}]}",
        "{version: 1, rules: [{name: a, on: isue}]}",
        "{version: 1, rules: [{name: a, per: users}]}",
        "{version: 1, rules: [{name: a, window: 10}]}",
        "{version: 1, rules: [{name: a, window: 0s}]}",
        "{version: 1, rules: [{name: a, measure: sum(point)}]}",
        "{version: 1, rules: [{name: a, then: [{deduct: {}}]}]}",
        "{version: 1, rules: [{name: a, then: [ban]}]}",
        "{version: 1, rules: [{name: a, levels: []}]}",
        "{version: 1, rules: [{name: a, where: {tier: gold}}]}",
        "{version: 1, rules: [{name: a, where: {user: {is: x}}}]}",
        "{version: 1, rules: [{name: tidegate.x}]}",
        "{version: 1, rules: [{name: a, levels: [{below: 5, forecast: 2h}]}]}",
        "{version: 1, rules: [{name: a, baseline: {season: 7d}}]}",
        "{version: 1, rules: [{name: a, baseline: {method: seasonal, history: 500}}]}",
    ] {
        assert!(!validator.is_valid(&as_json(text)), "{text}");
    }
}

#[test]
fn defaults_are_those_of_the_contract() {
    let rules = "[{name: z, on: issue, measure: count, window: 1h, zscore: {above: 4}}, \
        {name: y, on: issue, per: global, measure: count, window: day, zscore: {above: 4}, baseline: {history: 7}}, \
        {name: b, on: issue, per: global, measure: count, window: 1h, below: 2}]";
    let set = load_one(&file(rules)).unwrap();
    let [z, y, b] = &set.rules[..] else { unreachable!() };
    let (Check::ZScore(z), Check::ZScore(y)) = (&z.check, &y.check) else { unreachable!() };
    assert_eq!(
        (z.baseline.method, z.baseline.history, z.baseline.min_windows),
        (Method::Ewma, 60, 30)
    );
    assert_eq!(
        (y.baseline.method, y.baseline.history, y.baseline.min_windows),
        (Method::Mean, 7, 7)
    );
    let Check::Threshold { window, levels, .. } = &b.check else { unreachable!() };
    assert_eq!((*window, levels.side), (Window::Duration(3_600_000), Side::Below));
    assert_eq!(load_one("version: 1").unwrap().timezone_name, "UTC");
}

#[test]
fn the_version_is_of_the_meaning_not_the_layout() {
    let one = load_one("version: 1\nrules:\n  - name: a # here\n    on: issue\n").unwrap();
    let same = load_one("{version: 1, rules: [{on: [issue], name: a, per: user, then: [alert]}]}")
        .unwrap();
    let other = load_one("{version: 1, rules: [{on: redeem, name: a}]}").unwrap();
    assert_eq!(one.version, same.version);
    assert_ne!(one.version, other.version);
    assert_eq!(one.version.len(), 8);
}

#[test]
fn lists_are_read_with_their_expiry() {
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let csv = "value,reason,expires,author\nu-1,\"bot, farm\",2025-12-31,ann\nu-2,,1763769600000,\nu-3\n\nu-4,,2025-12-31T00:00:00.0019+08:00,\n";
    let entries = parse_list(csv, "b.csv", &zone).unwrap();
    let midnight = EventTime(1_767_110_400_000);
    assert_eq!(entries[0].expires, Some(midnight));
    assert_eq!(entries[0].reason.as_deref(), Some("bot, farm"));
    assert_eq!(entries[1].expires, Some(EventTime(1_763_769_600_000)));
    assert_eq!((entries[2].value.as_str(), entries[2].expires), ("u-3", None));
    assert_eq!(entries[3].expires, Some(EventTime(midnight.0 + 1)));
    // Samoa went without this day, and Sao Paulo without this midnight.
    let apia = TimeZone::get("Pacific/Apia").unwrap();
    assert_eq!(parse_instant("2011-12-30", &apia), parse_instant("2011-12-31", &apia));
    let paulo = TimeZone::get("America/Sao_Paulo").unwrap();
    assert_eq!(parse_instant("2018-11-04", &paulo), parse_instant("2018-11-04T03:00:00Z", &paulo));
}

#[test]
fn faults_of_a_list_have_their_place() {
    let csv = "value,reson,expires\nu-1,x,2025-13-01\n\n\n,y,\nu-3,\"a,\nb\",soon\nu-4,a,,d\n";
    let faults = parse_list(csv, "b.csv", &TimeZone::UTC).unwrap_err();
    let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let hint = "\n  hint: such as `2025-12-31`, `2025-12-31T12:00:00Z` or milliseconds";
    assert_eq!(
        shown,
        [
            "b.csv:1:7: error: unknown column of a list: `reson`\n  hint: did you mean `reason`?".to_owned(),
            format!("b.csv:2:7: error: `expires` is no instant: `2025-13-01`{hint}"),
            "b.csv:5:1: error: the entry has no value: `,y,`".to_owned(),
            format!("b.csv:7:4: error: `expires` is no instant: `soon`{hint}"),
            "b.csv:8:8: error: more fields than the header has: `d`\n  hint: put text with a comma in quotes".to_owned(),
        ]
    );
    let faults = parse_list("", "b.csv", &TimeZone::UTC).unwrap_err();
    assert_eq!(faults[0].message, "the list has no header");
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// The exit status of `rules check` over one path.
fn checked(path: &Path, format: Format, out: &mut Vec<u8>) -> u8 {
    let paths = vec![path.to_owned()];
    check(&CheckArguments { paths, format, ..CheckArguments::default() }, out).unwrap()
}

#[test]
fn a_folder_is_one_rule_set() {
    let folder = folder(&[
        ("b.yaml", "{version: 1, rules: [{name: b, where: {user: {in: bad}}}]}"),
        (
            "a.yaml",
            "{version: 1, lists: {bad: {file: lists/bad.csv, field: user}}, rules: [{name: a}]}",
        ),
        ("a.test.yaml", "tests: []"),
        ("lists/bad.csv", "value\nu-1\nu-2\n"),
    ]);
    let (set, lists) = read_rules(folder.path()).unwrap();
    let names: Vec<&str> = set.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(lists[0].len(), 2);
    let mut out = Vec::new();
    assert_eq!(checked(folder.path(), Format::Text, &mut out), 0);
    let text = String::from_utf8(out).unwrap();
    let last = text.lines().next_back().unwrap();
    assert!(last.starts_with("ok: rules 2, lists 1 (2 entries), rule set "), "{text}");
    assert!(last.ends_with("; 3 warnings"), "{text}");
}

#[test]
fn faults_are_told_as_text_and_as_json() {
    let folder = folder(&[("a.yaml", "version: 1\nlists: {l: {file: no.csv, field: user}}\n")]);
    let path = folder.path().join("a.yaml");
    let mut out = Vec::new();
    assert_eq!(checked(&path, Format::Text, &mut out), 1);
    let text = String::from_utf8(out).unwrap();
    let start = format!("{}:2:19: error: cannot read the file of the list, ", path.display());
    assert!(text.starts_with(&start) && text.contains("`no.csv`"), "{text}");
    fs::write(&path, b"version: 1\nrules: [\xff]\n").unwrap();
    let mut out = Vec::new();
    assert_eq!(checked(&path, Format::Json, &mut out), 1);
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        (&value["faults"][0]["line"], &value["faults"][0]["column"]),
        (&2.into(), &9.into())
    );
    assert_eq!(value["faults"][0]["message"], "the file is not UTF-8");
}

#[test]
fn what_cannot_be_read_is_no_fault_of_a_rule() {
    let empty = folder(&[("a.test.yaml", "tests: []")]);
    for path in [PathBuf::from("/nowhere/at/all.yaml"), empty.path().to_owned()] {
        assert!(matches!(read_rules(&path), Err(LoadError::Unreadable { .. })));
        let arguments = CheckArguments { paths: vec![path], ..CheckArguments::default() };
        assert!(check(&arguments, &mut Vec::new()).is_err());
    }
}

#[test]
fn one_fault_spoils_the_whole_set() {
    let sources = [
        Source { path: "a.yaml".into(), text: "{version: 1, rules: [{name: a}]}".into() },
        Source { path: "b.yaml".into(), text: "{version: 1, rules: [{name: b, on: isue}]}".into() },
    ];
    let faults = load(&sources).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert_eq!((faults[0].place.file.as_str(), faults[0].place.line), ("b.yaml", 1));
    assert_eq!(
        serde_json::to_value(&faults[0]).unwrap(),
        serde_json::json!({ "file": "b.yaml", "line": 1, "column": 36, "text": "isue",
            "message": "unknown kind", "hint": "did you mean `issue`?" })
    );
}

proptest::proptest! {
    /// Whatever is typed, loading ends, and ends in a rule set or in faults that have a place.
    #[test]
    fn broken_text_never_panics(form in 0..FORMS.len(), at in 0usize..400, cut in 0usize..6, new in "[ -~\n]{0,5}|&a|\\*a|é|\u{1f30a}") {
        let text: Vec<char> = file(FORMS[form]).chars().collect();
        let at = at.min(text.len());
        let end = (at + cut).min(text.len());
        let text: String = text[..at].iter().copied().chain(new.chars()).chain(text[end..].iter().copied()).collect();
        if let Err(faults) = load(&[Source { path: "r.yaml".into(), text }]) {
            assert!(!faults.is_empty());
            assert!(faults.iter().all(|fault| fault.place.line > 0 && fault.place.column > 0));
        }
    }

    #[test]
    fn broken_lists_never_panic(text in "(value|expires|,|\"|\n|\r\n| |é|2025-01-01|[0-9]{1,25}){0,20}") {
        if let Err(faults) = parse_list(&text, "l.csv", &TimeZone::UTC) {
            assert!(!faults.is_empty());
        }
    }
}
