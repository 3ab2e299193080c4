//! Each warning, as a row: the rule, what is said about it, and a near miss of which nothing is.

use std::collections::BTreeSet;

use super::{Lint, Surroundings, lint};
use crate::rule::{ListEntry, Source, load};

const DAY_MS: i64 = 86_400_000;

fn said(files: &[&str], around: &Surroundings<'_>) -> Vec<String> {
    let source = |(index, text): (usize, &&str)| Source {
        path: format!("{index}.yaml"),
        text: (*text).to_owned(),
    };
    let sources: Vec<Source> = files.iter().enumerate().map(source).collect();
    let set = load(&sources).unwrap_or_else(|faults| unreachable!("{faults:?}"));
    lint(&sources, &set, around).iter().map(ToString::to_string).collect()
}

/// What is said of a file, without its path.
#[track_caller]
fn check_with(text: &str, around: &Surroundings<'_>, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|line| format!("0.yaml:{line}")).collect();
    assert_eq!(said(&[text], around), expected, "{text}");
}

/// What is said of a rule whose keys stand in line 4 and after it; columns count from 1.
#[track_caller]
fn rule(keys: &str, expected: &[&str]) {
    let text = format!("version: 1\nrules:\n- name: r\n  {}", keys.replace('\n', "\n  "));
    check_with(&text, &Surroundings::default(), expected);
}

/// As [`rule`], of a filter in line 4.
#[track_caller]
fn filter(filter: &str, expected: &[&str]) {
    rule(&format!("where: {filter}\non: [issue, redeem]"), expected);
}

/// As [`rule`], of levels of a rule on `sum(points)` in line 8.
#[track_caller]
fn levels(levels: &str, expected: &[&str]) {
    let keys = "on: [issue, adjust]\nmeasure: sum(points)\nwindow: day\nlevels:\n";
    rule(&format!("{keys}{levels}"), expected);
}

#[test]
fn conditions_that_never_hold() {
    let points = "\n  hint: points are whole numbers from 0 to 1000000000000, those of `adjust` and its `reverse` from -1000000000000";
    filter(
        "{points: {gt: 1000000000000}}",
        &[&format!("4:20: warning: no event can match: `gt: 1000000000000` [never-fires]{points}")],
    );
    filter("{points: {gt: 999999999999}}", &[]);
    filter(
        "{points: 1.5}",
        &[&format!("4:19: warning: no event can match: `1.5` [never-fires]{points}")],
    );
    filter(
        "{points: {gt: 4, lt: 5}}",
        &[
            "4:27: warning: no event can match: `lt: 5` [never-fires]\n  hint: it contradicts `gt: 4` in line 4",
        ],
    );
    filter("{points: {gte: 4, lt: 5}}", &[]);
    filter("{attrs.weight: {gt: 4, lt: 5}}", &[]);
    filter(
        "{user: {exists: false}}",
        &[
            "4:18: warning: no event can match: `exists: false` [never-fires]\n  hint: every event carries `user`",
        ],
    );
    filter("{device: {exists: false}}", &[]);
    filter(
        "{hour: {gt: 23}}",
        &["4:18: warning: no event can match: `gt: 23` [never-fires]\n  hint: hours are 0 to 23"],
    );
    filter("{hour: {gt: 22.5}}", &[]);
    filter(
        "{points: \"5\"}",
        &[&format!("4:19: warning: no event can match: `5` [never-fires]{points}")],
    );
    filter("{attrs.tier: [\"5\", 5, true]}", &[]);
    filter(
        "{source: {eq: \"\"}}",
        &[
            "4:20: warning: no event can match: `eq: ` [never-fires]\n  hint: no value of `source` passes",
        ],
    );
}

#[test]
fn conditions_against_what_stands_around_them() {
    filter(
        "{kind: expire}",
        &[
            "4:17: warning: no event can match: `expire` [never-fires]\n  hint: `on` lets only `issue`, `redeem` through",
        ],
    );
    filter("{kind: [expire, issue]}", &[]);
    filter(
        "{points: {lt: 0}}",
        &[
            "4:20: warning: no event can match: `lt: 0` [never-fires]\n  hint: `on` lets only `issue`, `redeem` through",
        ],
    );
    rule("on: [issue, adjust]\nwhere: {points: {lt: 0}}", &[]);
    rule(
        "on: [issue, adjust]\nwhere: {points: {lt: 0}, kind: issue}",
        &[
            "5:34: warning: no event can match: `issue` [never-fires]\n  hint: it contradicts `lt: 0` in line 5",
        ],
    );
    let key = "an event that lacks a field of `per` is not seen by the rule at all";
    rule(
        "on: issue\nper: device\nwhere: {device: {exists: false}}",
        &[&format!(
            "6:20: warning: no event can match: `exists: false` [never-fires]\n  hint: {key}"
        )],
    );
    rule("on: issue\nper: device\nwhere: {device: {ne: d-1}, ip: {exists: false}}", &[]);
    let fork = "{source: [a, b], any: [{device: x, source: c}, {device: y, source: d}]}";
    filter(
        fork,
        &[
            "4:27: warning: no event can match: `any` [never-fires]\n  hint: it contradicts `[a, b]` in line 4",
        ],
    );
    filter(
        "{source: {ne: a}, device: {ne: x}, any: [{source: a}, {device: x}]}",
        &[
            "4:45: warning: no event can match: `any` [never-fires]\n  hint: nothing that the conditions before it let through is left",
        ],
    );
}

#[test]
fn texts_addresses_and_lists_that_exclude_each_other() {
    let clash = |text: &str, place: usize, clause: &str, other: &str| {
        let hint = format!("it contradicts `{other}` in line 4");
        filter(
            text,
            &[&format!(
                "4:{place}: warning: no event can match: `{clause}` [never-fires]\n  hint: {hint}"
            )],
        );
    };
    clash("{device: {prefix: ab, eq: xy}}", 32, "eq: xy", "prefix: ab");
    filter("{device: {prefix: ab, eq: abc}}", &[]);
    clash("{device: {prefix: ab, ne: x}, not: {device: {prefix: a}}}", 40, "not", "prefix: ab");
    filter("{device: {prefix: ab}, not: {device: {prefix: abc}}}", &[]);
    clash("{ip: {cidr: 10.0.0.0/8, eq: 11.0.0.1}}", 34, "eq: 11.0.0.1", "cidr: 10.0.0.0/8");
    filter("{ip: {cidr: 10.0.0.0/8, eq: \"::ffff:10.0.0.1\"}}", &[]);
    clash(
        "{ip: {cidr: 10.1.0.0/16}, not: {ip: {cidr: 10.0.0.0/8}}}",
        36,
        "not",
        "cidr: 10.1.0.0/16",
    );
    filter("{ip: {cidr: 10.0.0.0/8}, not: {ip: {cidr: 10.1.0.0/16}}}", &[]);
    clash("{device: {exists: true}, any: [{device: {exists: false}}]}", 35, "any", "exists: true");
    clash("{new: {field: ip, within: 1d}, ip: {exists: false}}", 46, "exists: false", "new");
    filter("{new: {field: ip, within: 1d}, not: {new: {field: ip, within: 1h}}}", &[]);
    let lists = "version: 1\nlists: {l: {field: user}}\nrules:\n- name: r\n  where: ";
    let nothing = Surroundings::default();
    check_with(
        &format!("{lists}{{user: {{in: l, not_in: l}}}}"),
        &nothing,
        &[
            "5:25: warning: no event can match: `not_in: l` [never-fires]\n  hint: it contradicts `in: l` in line 5",
        ],
    );
    check_with(
        &format!("{lists}{{device: {{not_in: l}}, user: {{in: l}}}}").replace("device", "attrs.by"),
        &nothing,
        &[],
    );
}

#[test]
fn what_not_makes_of_conditions() {
    filter(
        "{not: {}}",
        &[
            "4:11: warning: no event can match: `not` [never-fires]\n  hint: what stands in `not` holds for every event",
        ],
    );
    filter(
        "{not: {user: {exists: true}, points: {gte: 0}}}",
        &[
            "4:11: warning: no event can match: `not` [never-fires]\n  hint: `on` lets only `issue`, `redeem` through",
        ],
    );
    filter("{not: {user: {exists: true}, points: {gt: 0}}}", &[]);
    filter("{not: {any: [{source: a}, {source: b}]}}", &[]);
    filter(
        "{source: [a, b], not: {any: [{source: a}, {source: b}]}}",
        &[
            "4:27: warning: no event can match: `not` [never-fires]\n  hint: it contradicts `[a, b]` in line 4",
        ],
    );
}

#[test]
fn branches_that_nothing_is_left_for() {
    filter(
        "{source: a, any: [{device: x}, {source: b}]}",
        &[
            "4:41: warning: no event can match this branch of `any`: `{source: b}` [dead-branch]\n  hint: the conditions beside `any` leave nothing of it",
        ],
    );
    filter(
        "{any: [{device: x}, {kind: expire}]}",
        &[
            "4:30: warning: no event can match this branch of `any`: `{kind: expire}` [dead-branch]\n  hint: its own conditions, `on` and `per` leave nothing of it",
        ],
    );
    filter("{source: [a, b], any: [{device: x}, {source: b}]}", &[]);
    // More choices than are tried: nothing is proven, so nothing is said.
    let pairs: Vec<String> = (0..40)
        .map(|i| format!("{{not: {{attrs.a{i}: 1, attrs.b{i}: 1}}, attrs.a{i}: 1}}"))
        .collect();
    let many = format!("{{not: {{any: [{}]}}, source: a}}", pairs.join(", "));
    filter(&many, &[]);
}

#[test]
fn bounds_that_no_measure_comes_to() {
    let bound = "warning: no event can bring the measure past this bound";
    let one = |keys: &str, expected: &[&str]| rule(&format!("window: day\n{keys}"), expected);
    one(
        "on: issue\nmeasure: max(points)\nwhere: {points: {lte: 50}}\nabove: 50",
        &[&format!(
            "8:10: {bound}: `50` [never-fires]\n  hint: no event that matches has more points"
        )],
    );
    one("on: issue\nmeasure: max(points)\nwhere: {points: {lte: 50}}\nabove: 49", &[]);
    one(
        "on: [issue, redeem]\nmeasure: distinct(kind)\nabove: 2",
        &[&format!(
            "7:10: {bound}: `2` [never-fires]\n  hint: `kind` has at most 2 different values here"
        )],
    );
    one("on: [issue, redeem]\nmeasure: distinct(kind)\nabove: 1", &[]);
    one(
        "on: issue\nper: [user, device]\nmeasure: distinct(user)\nabove: 1",
        &[&format!(
            "8:10: {bound}: `1` [never-fires]\n  hint: `user` has at most 1 different values here"
        )],
    );
    one("on: issue\nper: device\nmeasure: distinct(user)\nabove: 1", &[]);
    one(
        "on: issue\nmeasure: distinct(source)\nwhere: {source: [a, b, c], not: {source: c}}\nabove: 2",
        &[&format!(
            "8:10: {bound}: `2` [never-fires]\n  hint: `source` has at most 2 different values here"
        )],
    );
    one("on: issue\nmeasure: distinct(source)\nwhere: {source: [a, b, c]}\nabove: 2", &[]);
    one("on: issue\nmeasure: distinct(hour)\nabove: 23", &[]);
    one(
        "on: issue\nper: global\nmeasure: count\nbelow: 0",
        &[&format!(
            "8:10: {bound}: `0` [never-fires]\n  hint: only reversals of more than was counted bring a count below 0"
        )],
    );
    one("on: issue\nper: global\nmeasure: count\nbelow: 1", &[]);
    one(
        "on: issue\nper: global\nmeasure: sum(points)\nlevels:\n- below: 10\n- below: 0",
        &[&format!(
            "10:12: {bound}: `0` [never-fires]\n  hint: only reversals of more than was counted bring this sum below 0"
        )],
    );
    one("on: [issue, adjust]\nper: global\nmeasure: sum(points)\nbelow: 0", &[]);
    one(
        "on: issue\nmeasure: sum(points)\nwhere: {points: 0}\nabove: 5",
        &[&format!("8:10: {bound}: `5` [never-fires]\n  hint: no event that matches adds points")],
    );
}

#[test]
fn levels_that_are_less_than_those_before() {
    levels(
        "- {above: 1, severity: critical}\n- {above: 2, severity: info}",
        &[
            "9:26: warning: this level is info, level 0 before it critical: `info` [severity-falls]\n  hint: an event that breaches both fires this one only; write `severity: critical` or more",
        ],
    );
    levels(
        "- {above: 1, severity: critical}\n- {above: 2}",
        &[
            "9:13: warning: this level is warning, level 0 before it critical: `2` [severity-falls]\n  hint: an event that breaches both fires this one only; write `severity: critical` or more",
        ],
    );
    levels("- {above: 1}\n- {above: 2, severity: warning}", &[]);
    let hint = "an event that breaches both fires this one only; repeat here what must happen";
    levels(
        "- {above: 1, then: [{freeze: {for: 1d}}]}\n- {above: 2}",
        &[&format!(
            "9:13: warning: this level only alerts, level 0 before it freezes: `2` [weaker-level]\n  hint: {hint}"
        )],
    );
    levels(
        "- {above: 1, then: [{deduct: {points: 1}}]}\n- {above: 2, then: [review]}",
        &[&format!(
            "9:22: warning: this level sends to review, level 0 before it deducts: `[review]` [weaker-level]\n  hint: {hint}"
        )],
    );
    levels("- {above: 1, then: [review]}\n- {above: 2, then: [{freeze: {for: 1d}}]}", &[]);
    levels(
        "- {above: 1, then: [{freeze: {for: 2d}}]}\n- {above: 2, then: [{freeze: {for: 1d}}]}",
        &[
            "9:22: warning: this level freezes for less than level 0 before it: `[{freeze: {for: 1d}}]` [weaker-level]\n  hint: a further freeze of the same scope replaces the hold that is there",
        ],
    );
    levels(
        "- {above: 1, then: [{freeze: {for: 2d, scope: issue}}]}\n- {above: 2, then: [{freeze: {for: 1d}}]}",
        &[],
    );
}

#[test]
fn freezes() {
    let hint = "add `for: 30d`, or `for: forever` if somebody is to lift it by hand";
    rule(
        "on: issue\nthen: [freeze, {freeze: {scope: redeem}}]",
        &[
            &format!(
                "5:10: warning: a freeze without an end: `freeze` [endless-freeze]\n  hint: {hint}"
            ),
            &format!(
                "5:18: warning: a freeze without an end: `{{freeze: {{scope: redeem}}}}` [endless-freeze]\n  hint: {hint}"
            ),
        ],
    );
    rule("on: issue\nthen: [{freeze: {for: forever}}, {freeze: {scope: redeem, for: 1d}}]", &[]);
    rule(
        "on: issue\nbudget: {freezes: 1, per: 1h}",
        &[
            "5:11: warning: a budget of a rule that freezes nobody: `{freezes: 1, per: 1h}` [no-freeze]\n  hint: it limits the freezes of its own rule; leave it out",
        ],
    );
    rule("on: issue\nbudget: {freezes: 1, per: 1h}\nthen: [{freeze: {for: 1d}}]", &[]);
    rule(
        "on: issue\nthen: [{unfreeze: {rule: r}}]",
        &[
            "5:28: warning: this rule freezes nobody: `r` [no-freeze]\n  hint: name a rule whose holds are to be lifted",
        ],
    );
    rule("on: issue\nthen: [unfreeze]", &[]);
    // An alias is one place.
    let text = "version: 1\nrules:\n- {name: a, on: issue, then: &t [freeze]}\n- {name: b, on: redeem, then: *t}\n";
    let place = format!(
        "3:34: warning: a freeze without an end: `freeze` [endless-freeze]\n  hint: {hint}"
    );
    check_with(text, &Surroundings::default(), &[&place]);
}

#[test]
fn receivers() {
    let text = "version: 1\nrules:\n- {name: a, on: issue, then: [alert, {alert: {to: mial}}]}\n";
    let receivers = ["mail".to_owned()];
    let around = Surroundings { receivers: Some(&receivers), ..Surroundings::default() };
    check_with(
        text,
        &around,
        &[
            "3:51: warning: the configuration has no such receiver: `mial` [unknown-receiver]\n  hint: did you mean `mail`?",
        ],
    );
    check_with(&text.replace("mial", "mail"), &around, &[]);
    check_with(text, &Surroundings::default(), &[]);
}

#[test]
fn rules_that_look_back_further_than_the_events_are_kept() {
    let around = Surroundings { retention_ms: Some(7 * DAY_MS), ..Surroundings::default() };
    let hint = "what is new or edited begins without the rest; raise `retention.ms` of the topic of events";
    let check = |keys: &str, expected: &[&str]| {
        let text = format!("version: 1\nrules:\n- name: r\n  on: issue\n  {keys}");
        let expected: Vec<String> = expected
            .iter()
            .map(|expected| format!("{expected} [short-retention]\n  hint: {hint}"))
            .collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check_with(&text, &around, &expected);
    };
    check(
        "{measure: count, window: 8d, above: 1}"
            .trim_matches(['{', '}'])
            .replace(", ", "\n  ")
            .as_str(),
        &["6:11: warning: looks back 8d, and the events are kept 7d: `8d`"],
    );
    check("measure: count\n  window: 7d\n  above: 1", &[]);
    check(
        "measure: count\n  window: week\n  above: 1",
        &["6:11: warning: looks back 169h, and the events are kept 7d: `week`"],
    );
    check(
        "measure: count\n  window: day\n  zscore: {above: 3}\n  baseline: {history: 28}",
        &["8:23: warning: looks back 700h, and the events are kept 7d: `28`"],
    );
    check(
        "where: {any: [{not: {new: {field: ip, within: 30d}}}]}\n  cooldown: 10d",
        &[
            "5:49: warning: looks back 30d, and the events are kept 7d: `30d`",
            "6:13: warning: looks back 10d, and the events are kept 7d: `10d`",
        ],
    );
}

#[test]
fn cooldowns() {
    rule(
        "on: issue\nmeasure: count\nwindow: day\nabove: 1\ncooldown: 25h",
        &[
            "8:13: warning: the cooldown outlasts the window: `25h` [long-cooldown]\n  hint: it silences a new breach in the next period, with its freeze; 1d is the most that a period lasts",
        ],
    );
    rule("on: issue\nmeasure: count\nwindow: day\nabove: 1\ncooldown: 24h", &[]);
    rule("on: issue\nmeasure: count\nwindow: 1h\nabove: 1\ncooldown: 24h", &[]);
}

#[test]
fn lists() {
    let entries = [vec![], vec![]];
    let around = Surroundings { entries: &entries, ..Surroundings::default() };
    let text = "version: 1\nlists:\n  a: {field: user}\n  b: {field: user, file: b.csv}\nrules:\n- name: r\n  where: {user: {in: b}}\n";
    check_with(
        text,
        &around,
        &[
            "3:3: warning: no rule looks at this list: `a` [unused-list]\n  hint: such as `where: { user: { in: a } }`",
            "4:26: warning: the file of the list has no entries: `b.csv` [empty-list]\n  hint: a list that is filled at run time needs no `file`",
        ],
    );
    let used =
        text.replace("{user: {in: b}}", "{any: [{not: {user: {in: b}}}, {user: {not_in: a}}]}");
    let value = "u-1".to_owned();
    let filled = ListEntry { value, reason: None, expires: None, author: None };
    let entries = [vec![], vec![filled]];
    check_with(&used, &Surroundings { entries: &entries, ..Surroundings::default() }, &[]);
    check_with(
        &used.replace("{user: {not_in", "{device: {not_in"),
        &Surroundings::default(),
        &[
            "7:51: warning: a list of `user` is looked up with `device`: `not_in: a` [foreign-list]\n  hint: look it up with `user`, or declare it with `field: device`",
        ],
    );
    check_with(
        &used.replace("{user: {not_in", "{attrs.inviter: {not_in"),
        &Surroundings::default(),
        &[],
    );
}

#[test]
fn tests_of_rules() {
    let tested = BTreeSet::from(["a".to_owned()]);
    let around = Surroundings { tested: Some(&tested), ..Surroundings::default() };
    let text = "version: 1\nrules:\n- {name: a, on: issue}\n- {name: b, on: redeem}\n- {name: c, on: expire, mode: off}\n";
    check_with(
        text,
        &around,
        &[
            "4:10: warning: no test expects this rule to fire: `b` [untested]\n  hint: add a case to a `*.test.yaml` beside the rules; `tidegate rules case` makes one of recorded events",
        ],
    );
}

/// What is said of two rules, the keys of each in a line.
#[track_caller]
fn pair(one: &str, two: &str, expected: &[&str]) {
    let text = format!("version: 1\nrules:\n- {{name: a, {one}}}\n- {{name: b, {two}}}\n");
    let hint = " [same-rule]\n  hint: put all that is to happen into the `then` of one rule";
    let expected: Vec<String> = expected.iter().map(|line| format!("{line}{hint}")).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check_with(&text, &Surroundings::default(), &expected);
}

#[test]
fn match_rules_that_fire_together() {
    let same = ["4:10: warning: fires whenever `a` does: `b`"];
    pair(
        "on: issue, where: {source: x, device: y}",
        "on: issue, where: {device: y, source: x}",
        &same,
    );
    pair("on: issue, where: {source: x}", "on: issue, where: {source: z}", &[]);
    pair("on: issue, cooldown: 1h", "on: issue, cooldown: 2h, then: [review]", &[]);
    pair("on: issue, per: device", "on: issue", &[]);
    pair("on: issue, mode: shadow", "on: issue", &[]);
    let narrow = ["4:10: warning: adds nothing to what `a` does: `b`"];
    pair("on: [issue, redeem]", "on: issue, where: {source: x}", &narrow);
    pair("on: issue", "on: issue, where: {source: x}, severity: critical", &[]);
    pair("on: issue", "on: issue, where: {source: x}, then: [review]", &[]);
    let wide = ["3:10: warning: adds nothing to what `b` does: `a`"];
    pair("on: issue, where: {source: x}", "on: issue, then: [review, alert]", &wide);
}

#[test]
fn counters_that_fire_together() {
    let sum = "on: issue, measure: sum(points), window: day";
    let of = |keys: &str| format!("{sum}, {keys}");
    let same = |column: usize, text: &str| {
        format!("4:{column}: warning: this bound is breached whenever one of `a` is: `{text}`")
    };
    pair(&of("above: 5"), &of("above: 5.0, then: [review]"), &[&same(66, "5.0")]);
    pair(&of("above: 5"), &of("above: 6"), &[]);
    pair(&of("above: 5"), &of("above: 5, clear: 3"), &[]);
    pair(&of("above: 5"), &of("above: 5").replace("day", "week"), &[]);
    pair(&of("above: 5"), &of("above: 5, where: {source: x}"), &[]);
    pair(&of("levels: [{above: 1}, {above: 5}]"), &of("levels: [{above: 5}]"), &[&same(76, "5")]);
    let series = |keys: &str| of(&format!("zscore: {keys}"));
    pair(&series("{above: 4}"), &series("{above: 4}"), &[&same(67, "{above: 4}")]);
    pair(&series("{above: 4}"), &series("{above: 4, below: -4}"), &[]);
    let ratio = "window: day, above: 1, ratio: {of: {on: redeem, measure: count}, to: {on: issue, measure: count}}";
    pair(ratio, ratio, &[&same(33, "1")]);
    pair(ratio, &ratio.replace("on: issue", "on: expire"), &[]);
}

#[test]
fn several_files_stand_in_their_order() {
    let endless = "version: 1\nrules:\n- {name: NAME, on: KIND, then: [freeze]}\n";
    let file = |name: &str, kind: &str| endless.replace("NAME", name).replace("KIND", kind);
    let said = said(&[&file("b", "issue"), &file("a", "redeem")], &Surroundings::default());
    let places: Vec<&str> = said.iter().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(places, ["0.yaml:3:31", "1.yaml:3:32"]);
}

#[test]
fn names_of_warnings_lead_back_to_them() {
    for lint in Lint::ALL {
        assert_eq!(Lint::parse(lint.as_str()), Some(lint));
        assert_eq!(serde_json::to_value(lint).unwrap(), lint.as_str());
    }
}
