//! Each fault message, as a row: the rule file, and what is said about it.

use super::{Check, Condition, Filter, Source, Test, Value, load, parse_duration};
use crate::rule::Number;

fn faults(files: &[&str]) -> Vec<String> {
    let sources: Vec<Source> = files
        .iter()
        .enumerate()
        .map(|(i, text)| Source { path: format!("{i}.yaml"), text: (*text).to_owned() })
        .collect();
    load(&sources).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// The only fault of a file, without its path.
#[track_caller]
fn check(text: &str, expected: &str) {
    let found = faults(&[text]);
    let expected = if expected.is_empty() { vec![] } else { vec![format!("0.yaml:{expected}")] };
    assert_eq!(found, expected, "{text}");
}

/// As [`check`], for keys of one rule that stand in line 4 after `name`; columns count from 1.
#[track_caller]
pub(super) fn rule(keys: &str, expected: &str) {
    let text = format!("version: 1\nrules:\n- name: r\n  {keys}");
    check(&text, expected);
}

#[test]
fn files() {
    check("", "1:1: error: the file is empty: ``\n  hint: a rule file starts with `version: 1`");
    check("rules: []", "1:1: error: the file has no version: `version`\n  hint: add `version: 1`");
    check("version: 2", "1:10: error: unknown version: `2`\n  hint: write `version: 1`");
    check("version: \"1\"", "1:10: error: unknown version: `1`\n  hint: write `version: 1`");
    check("[1]", "1:1: error: a rule file is a map: `[1]`");
    check(
        "version: 1\nrule: []",
        "2:1: error: unknown key of a rule file: `rule`\n  hint: did you mean `rules`?",
    );
    check("version: 1\nversion: 1", "2:1: error: the key stands twice in this map: `version`");
    check("version: 1\n---\nversion: 1", "2:1: error: a file holds one document: `---`");
    check("timezone: !x UTC\nversion: 1", "1:11: error: tags have no meaning here: `!x`");
    check(
        "version: 1\ntimezone: Asia/Shangai",
        "2:11: error: unknown time zone: `Asia/Shangai`\n  hint: did you mean `Asia/Shanghai`?",
    );
    check("version: 1\nrules: 5", "2:8: error: `rules` is a list: `5`\n  hint: write `[5]`");
    check("version: 1\nrules: [5]", "2:9: error: a rule is a map: `5`");
    check(
        "version: 1\nbudget: {freezes: 1}",
        "2:9: error: `budget` needs `per`: `budget`\n  hint: such as `budget: { freezes: 100, per: 1h }`",
    );
    check(
        "version: 1\nlists: {a: {file: x.csv}}",
        "2:9: error: the list has no `field`: `a`\n  hint: such as `field: user`",
    );
    check(
        "version: 1\nlists: {a: {field: points}}",
        "2:20: error: unknown field of a list: `points`\n  hint: one of `user`, `device`, `ip`, `source`, `id`, `attrs.NAME`",
    );
    let syntax = faults(&["version: 1\nrules: [\n"]);
    assert!(
        syntax[0].starts_with("0.yaml:") && syntax[0].contains("error: not valid YAML, "),
        "{syntax:?}"
    );
}

#[test]
fn files_together() {
    let ok = ["version: 1\ntimezone: UTC", "version: 1", "version: 1\ntimezone: UTC"];
    assert!(faults(&ok).is_empty());
    let found = faults(&[
        "{version: 1, timezone: Asia/Tokyo, budget: {freezes: 1, per: 1h}, rules: [{name: a}], lists: {l: {field: user}}}",
        "{version: 1, timezone: UTC, budget: {freezes: 1, per: 1h}, rules: [{name: a}], lists: {l: {field: user}}}",
    ]);
    assert_eq!(
        found,
        [
            "1.yaml:1:24: error: another time zone than in the file before: `UTC`\n  hint: `Asia/Tokyo` stands at 0.yaml:1:24",
            "1.yaml:1:37: error: a second budget of the rule set: `{freezes: 1, per: 1h}`\n  hint: the first stands at 0.yaml:1:44",
            "1.yaml:1:88: error: a list of this name stands already: `l`\n  hint: the first stands at 0.yaml:1:95",
            "1.yaml:1:75: error: a rule of this name stands already: `a`\n  hint: the first stands at 0.yaml:1:82",
        ]
    );
}

#[test]
fn every_fault_is_told_at_once() {
    let found = faults(&[
        "version: 1\nrules:\n- {name: a, on: isue}\n- {nam: b}\n- {name: c, per: usr, mode: on}\n",
    ]);
    let heads: Vec<&str> = found.iter().filter_map(|fault| fault.lines().next()).collect();
    assert_eq!(
        heads,
        [
            "0.yaml:3:17: error: unknown kind: `isue`",
            "0.yaml:4:4: error: unknown key of a rule: `nam`",
            "0.yaml:4:3: error: the rule has no name: `{nam: b}`",
            "0.yaml:5:29: error: unknown mode: `on`",
            "0.yaml:5:18: error: unknown field of `per`: `usr`",
        ]
    );
}

#[test]
fn rules() {
    rule("", "");
    check(
        "version: 1\nrules: [{name: tidegate.x}]",
        "2:16: error: names that start with `tidegate.` are tidegate's own: `tidegate.x`",
    );
    check(
        "version: 1\nrules: [{name: 5}]",
        "2:16: error: `name` is text: `5`\n  hint: put it in quotes: `\"5\"`",
    );
    check(
        "version: 1\nrules: [{name: \"a\\nb\"}]",
        "2:16: error: a name is one line of at most 128 bytes: `a b`",
    );
    rule("mode: shadw", "4:9: error: unknown mode: `shadw`\n  hint: did you mean `shadow`?");
    rule("on: []", "4:7: error: `on` names no kind: `[]`");
    rule(
        "on: [issue, redem]",
        "4:15: error: unknown kind: `redem`\n  hint: did you mean `redeem`?",
    );
    rule("per: []", "4:8: error: `per` names no field: `[]`\n  hint: write `per: global`");
    rule("per: [user, global]", "4:15: error: `global` stands alone: `global`");
    rule("per: [user, user]", "4:15: error: the field stands twice in `per`: `user`");
    rule(
        "per: attr.tier",
        "4:8: error: unknown field of `per`: `attr.tier`\n  hint: did you mean `attrs.tier`?",
    );
    rule(
        "cooldown: 30",
        "4:13: error: `cooldown` is a duration: `30`\n  hint: it needs a unit, such as `30s`",
    );
    rule(
        "severity: high",
        "4:13: error: unknown severity: `high`\n  hint: one of `info`, `warning`, `critical`",
    );
    rule("close_after: 5m", "4:3: error: only rules with `zscore` have this key: `close_after`");
    rule(
        "on: issue\n  above: 5\n  window: day",
        "3:3: error: `measure` is missing: `r`\n  hint: such as `measure: count` or `measure: sum(points)`",
    );
    rule(
        "measure: count\n  above: 5\n  window: day",
        "3:3: error: `on` is missing: `r`\n  hint: such as `on: issue`",
    );
}

/// A threshold on `count`, with these keys in line 5.
#[track_caller]
pub(super) fn threshold(keys: &str, expected: &str) {
    rule(&format!("{{0}}\n  {keys}").replace("{0}", "on: issue\n  measure: count"), expected);
}

#[test]
fn thresholds() {
    threshold("window: day\n  above: 5", "");
    threshold(
        "above: 5",
        "3:3: error: `window` is missing: `r`\n  hint: such as `window: day` or `window: 10m`",
    );
    threshold(
        "window: day",
        "3:3: error: the rule has no bound: `r`\n  hint: such as `above: 100`, or `levels:` with one bound each",
    );
    threshold(
        "window: dya\n  above: 5",
        "6:11: error: unknown window: `dya`\n  hint: did you mean `day`?",
    );
    threshold(
        "window: 10x\n  above: 5",
        "6:11: error: `window` is a duration: `10x`\n  hint: more than nothing, such as `500ms`, `30s`, `10m`, `1h` or `7d`; at most `36500d`",
    );
    threshold(
        "window: day\n  above: 5_000",
        "7:10: error: `above` is a number: `5_000`\n  hint: write `5000`",
    );
    threshold("window: day\n  above: .inf", "7:10: error: `above` is a number: `.inf`");
    threshold(
        "window: day\n  above: 5\n  clear: 6",
        "8:10: error: `clear` lies beyond the first bound, where the rule still breaches: `6`",
    );
    threshold(
        "window: day\n  above: 5\n  levels: [{above: 6}]",
        "8:3: error: stands beside `above`: `levels`\n  hint: several bounds stand under `levels`",
    );
    threshold(
        "window: day\n  then: [alert]\n  levels: [{above: 6}]",
        "7:3: error: stands beside `levels`: `then`\n  hint: move `then` into the levels",
    );
    threshold("window: day\n  levels: []", "7:11: error: a rule has 1 to 32 levels: `[]`");
    threshold(
        "window: day\n  levels: [{above: 6}, {above: 6.0}]",
        "7:32: error: the bounds of levels rise from one to the next: `6.0`",
    );
    threshold(
        "window: day\n  per: global\n  levels: [{below: 6}, {below: 7}]",
        "8:32: error: the bounds of levels fall from one to the next: `7`",
    );
    threshold(
        "window: day\n  levels: [{above: 6}, {below: 7}]",
        "7:24: error: the levels of a rule are all `above` or all `below`: `{below: 7}`",
    );
    threshold(
        "window: day\n  levels: [{severity: info}]",
        "7:12: error: the level has no bound: `{severity: info}`\n  hint: such as `above: 100`",
    );
    threshold(
        "window: day\n  levels: [{above: 1, cler: 1}]",
        "7:23: error: unknown key of a level: `cler`\n  hint: one of `above`, `below`, `forecast`, `severity`, `then`",
    );
    threshold(
        "window: day\n  below: 5",
        "7:10: error: `below` needs `per: global`, `source` or `attrs.NAME`: `5`\n  hint: users, devices and addresses fall silent all the time",
    );
    threshold(
        "window: day\n  per: device\n  below: 5",
        "7:8: error: `below` needs `per: global`, `source` or `attrs.NAME`: `device`\n  hint: users, devices and addresses fall silent all the time",
    );
    let many: Vec<String> = (0..33).map(|i| format!("{{above: {i}}}")).collect();
    let found = faults(&[&format!(
        "{{version: 1, rules: [{{name: r, on: issue, measure: count, window: day, levels: [{}]}}]}}",
        many.join(", ")
    )]);
    assert!(found[0].contains("a rule has 1 to 32 levels"), "{found:?}");
}

#[test]
fn measures() {
    for measure in ["count", "sum(points)", "max(points)", "distinct(ip)", "distinct(attrs.a.b)"] {
        rule(
            &format!("{{}}\n  measure: {measure}")
                .replace("{}", "on: issue\n  window: day\n  above: 1"),
            "",
        );
    }
    let with = |measure: &str, expected: &str| {
        rule(&format!("measure: {measure}\n  on: issue\n  window: day\n  above: 1"), expected);
    };
    with(
        "sum(point)",
        "4:12: error: unknown measure: `sum(point)`\n  hint: did you mean `sum(points)`?",
    );
    with("cont", "4:12: error: unknown measure: `cont`\n  hint: did you mean `count`?");
    with(
        "distinct(dev)",
        "4:12: error: unknown field of `distinct`: `distinct(dev)`\n  hint: did you mean `device`?",
    );
}

#[test]
fn actions() {
    rule("then: alert", "4:9: error: `then` is a list: `alert`\n  hint: write `[alert]`");
    rule("then: [frieze]", "4:10: error: unknown action: `frieze`\n  hint: did you mean `freeze`?");
    rule(
        "then: [{freeze: {}, alert: {}}]",
        "4:10: error: an action is a map of one key: `{freeze: {}, alert: {}}`\n  hint: each action is an item of its own",
    );
    rule(
        "then: [{freeze: {scope: acount}}]",
        "4:27: error: unknown scope: `acount`\n  hint: did you mean `account`?",
    );
    rule(
        "then: [{freeze: {for: window}}]",
        "4:25: error: `for: window` needs a calendar window, a match rule has none: `window`\n  hint: name a duration such as `24h`",
    );
    rule(
        "then: [{freeze: {for: forevr}}]",
        "4:25: error: unknown `for`: `forevr`\n  hint: did you mean `forever`?",
    );
    threshold(
        "window: 1h\n  above: 1\n  then: [{freeze: {for: window}}]",
        "8:25: error: `for: window` needs a calendar window: `window`\n  hint: name a duration such as `24h`",
    );
    threshold(
        "window: day\n  per: global\n  below: 1\n  then: [{freeze: {for: window}}]",
        "9:25: error: `for: window` does not go with `below`: `window`\n  hint: name a duration such as `24h`",
    );
    threshold("window: day\n  above: 1\n  then: [{freeze: {for: window}}]", "");
    threshold(
        "window: day\n  above: 1\n  then: [{deduct: {points: excess}}]",
        "8:28: error: `excess` is for rules on `sum(points)`: `excess`",
    );
    rule(
        "then: [{review: {}}]",
        "4:19: error: `review` takes nothing: `{}`\n  hint: write `review`",
    );
    rule(
        "then: [deduct]",
        "4:10: error: `deduct` needs `points`: `deduct`\n  hint: such as `deduct: { points: all }`",
    );
    rule(
        "then: [{deduct: {points: exces}}]",
        "4:28: error: unknown `points`: `exces`\n  hint: did you mean `excess`?",
    );
    rule(
        "then: [{deduct: {points: 0}}]",
        "4:28: error: `points` is a whole number from 1 to 1000000000000: `0`",
    );
    rule(
        "per: ip\n  then: [{deduct: {points: 1}}]",
        "5:11: error: `deduct` needs `per: user`: `deduct`",
    );
    rule(
        "then: [{unfreeze: {rule: rr}}]",
        "4:28: error: no rule of this name: `rr`\n  hint: did you mean `r`?",
    );
    rule(
        "then: [{alert: {too: x}}]",
        "4:19: error: unknown key of `alert`: `too`\n  hint: did you mean `to`?",
    );
}

#[test]
fn filters() {
    rule(
        "where: {usr: x}",
        "4:11: error: unknown field of `where`: `usr`\n  hint: did you mean `user`?",
    );
    rule(
        "where: {user: {equals: x}}",
        "4:18: error: unknown key of a matcher: `equals`\n  hint: did you mean `eq`?",
    );
    rule(
        "where: {user: {}}",
        "4:17: error: an empty matcher: `{}`\n  hint: one of `eq`, `ne`, `gt`, `gte`, `lt`, `lte`, `in`, `not_in`, `prefix`, `cidr`, `exists`",
    );
    rule("where: {user: []}", "4:17: error: an empty list never matches: `[]`");
    rule(
        "where: {user: null}",
        "4:17: error: a matcher needs a value: `null`\n  hint: for a missing field write `{ exists: false }`",
    );
    rule("where: {user: {gt: 5}}", "4:22: error: `gt` compares numbers, the field is text: `5`");
    rule("where: {points: {gt: \"5\"}}", "4:24: error: `gt` is a number: `5`\n  hint: write `5`");
    rule(
        "where: {weekday: friday}",
        "4:20: error: unknown weekday: `friday`\n  hint: did you mean `fri`?",
    );
    rule("where: {hour: 24}", "4:17: error: `hour` is a whole number from 0 to 23: `24`");
    rule(
        "where: {user: {in: bad}}",
        "4:22: error: unknown list: `bad`\n  hint: declare it under `lists:` at the top of a rule file",
    );
    rule(
        "where: {user: {cidr: 10.0.0.0/8}}",
        "4:24: error: `cidr` is for `ip`: `10.0.0.0/8`\n  hint: did you mean `prefix`?",
    );
    rule(
        "where: {ip: {cidr: 10.0.0.0/33}}",
        "4:22: error: not an address block: `10.0.0.0/33`\n  hint: such as `203.0.113.0/24` or `2001:db8::/32`",
    );
    rule("where: {ip: {exists: yes}}", "4:24: error: `exists` is `true` or `false`: `yes`");
    rule(
        "where: {new: {field: user, within: 1d}}",
        "4:24: error: unknown field of `new`: `user`\n  hint: one of `device`, `ip`, `source`, `attrs.NAME`",
    );
    rule(
        "where: {new: {field: ip}}",
        "4:16: error: `new` needs `within`: `new`\n  hint: such as `within: 30d`",
    );
    rule("where: {any: []}", "4:16: error: `any` of nothing never holds: `[]`");
    rule(
        "where: {points: {prefix: x}}",
        "4:28: error: `prefix` is for text, the field is a number: `x`",
    );
}

#[test]
fn ratios_and_z_scores() {
    let side = "{on: issue, measure: count}";
    rule(&format!("ratio: {{of: {side}, to: {side}}}\n  window: day\n  above: 1"), "");
    rule(
        &format!("ratio: {{of: {side}, to: {side}}}\n  window: day\n  above: 1\n  on: issue"),
        "7:3: error: does not go with `ratio`: `on`\n  hint: it stands in `of` and `to`",
    );
    rule(
        &format!("ratio: {{of: {side}}}\n  window: day\n  above: 1"),
        "4:10: error: `ratio` needs `to`: `ratio`\n  hint: such as `to: { on: issue, measure: sum(points) }`",
    );
    rule(
        &format!("ratio: {{of: {side}, to: {side}, min_to: 0}}\n  window: day\n  above: 1"),
        "4:85: error: `min_to` is more than 0: `0`",
    );
    threshold("window: 1h\n  zscore: {above: 4, below: -4}\n  close_after: 1m", "");
    threshold(
        "zscore: {above: 4}",
        "3:3: error: `window` is missing: `r`\n  hint: such as `window: day` or `window: 10m`",
    );
    threshold(
        "window: 1h\n  zscore: {}",
        "7:11: error: `zscore` has no bound: `zscore`\n  hint: such as `zscore: { above: 4 }`",
    );
    threshold(
        "window: 1h\n  zscore: {below: 4}",
        "7:19: error: `below` of a z-score is less than 0: `4`\n  hint: did you mean `-4`?",
    );
    threshold(
        "window: 1h\n  zscore: {above: -4}",
        "7:19: error: `above` of a z-score is more than 0: `-4`",
    );
    threshold(
        "window: 1h\n  zscore: {above: 4}\n  above: 9",
        "8:3: error: does not go with `zscore`: `above`\n  hint: bounds in standard deviations stand in `zscore`",
    );
    threshold(
        "window: 1h\n  zscore: {above: 4}\n  baseline: {method: avg}",
        "8:22: error: unknown method: `avg`\n  hint: one of `mean`, `robust`, `ewma`, `seasonal`",
    );
    threshold(
        "window: 1h\n  zscore: {above: 4}\n  baseline: {history: 1}",
        "8:23: error: `history` is a whole number from 2 to 10000: `1`",
    );
    threshold(
        "window: 1h\n  zscore: {above: 4}\n  baseline: {method: mean, history: 9, min_windows: 10}",
        "8:53: error: `min_windows` is more than `history`, 9: `10`",
    );
    threshold(
        "window: 1h\n  zscore: {above: 4}\n  baseline: {method: mean, min_windows: 1}",
        "8:41: error: a standard deviation needs 2 windows: `1`",
    );
    threshold(
        "window: 1h\n  zscore: {above: 4}\n  baseline: {min_sd: 0}",
        "8:22: error: `min_sd` is more than 0: `0`",
    );
}

#[test]
fn scalars_are_of_the_core_schema() {
    let text = "version: 1\nrules: [{name: r, where: {attrs.x: [yes, on, 0x10, 0o17, 1e2, -3, .5, '3', true, 012, 1_0, +7, 2025-11-22]}}]";
    let set = load(&[Source { path: "a".into(), text: text.into() }]).unwrap();
    let Check::Match { filter: Filter { all }, .. } = &set.rules[0].check else { unreachable!() };
    let [Condition::Field { test: Test::AnyOf(values), .. }] = all.as_slice() else {
        unreachable!()
    };
    let text = |text: &str| Value::Text(text.into());
    let int = |value| Value::Number(Number::Integer(value));
    let float = |value| Value::Number(Number::Float(value));
    let expected = [
        text("yes"),
        text("on"),
        int(16),
        int(15),
        float(100.0),
        int(-3),
        float(0.5),
        text("3"),
        Value::Bool(true),
        int(12),
        text("1_0"),
        int(7),
        text("2025-11-22"),
    ];
    assert_eq!(values.as_slice(), expected);
}

#[test]
fn aliases_expand_within_limits() {
    let text = "version: 1\nrules:\n- {name: a, then: &t [freeze]}\n- {name: b, then: *t}\n";
    assert!(faults(&[text]).is_empty());
    let mut bomb = "version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..9 {
        let refs = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb = format!("{bomb}a{i}: &a{i} [{refs}]\n");
    }
    assert!(faults(&[&bomb])[0].contains("more than 200000 values"));
    let deep = format!("version: 1\nrules: {}{}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(faults(&[&deep])[0].contains("recursion limit exceeded"), "{:?}", faults(&[&deep]));
}

#[test]
fn durations() {
    for (text, ms) in
        [("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("1h", 3_600_000), ("7d", 604_800_000)]
    {
        assert_eq!(parse_duration(text), Some(ms));
    }
    for text in [
        "",
        "0s",
        "-1s",
        "1",
        "s",
        "1.5h",
        "1w",
        "1 h",
        "1h30m",
        "36501d",
        "99999999999999999999d",
        "1H",
    ] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}
