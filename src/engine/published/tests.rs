//! Published texts make the plan of their files, whole or not at all.

use super::{NamedText, PublishedRules};
use crate::engine::Settings;
use crate::rule::{Source, load, parse_list};

const RULES: &str = "
version: 1
timezone: Asia/Shanghai
lists:
  bad: { file: lists/bad.csv, field: user }
  other: { field: user }
rules:
  - { name: listed, where: { user: { in: bad } }, then: [review] }
";

const LIST: &str = "value,expires\nu1,2025-12-31\n";

fn published(rules: &str, list: &str) -> PublishedRules {
    let set = load(&[Source { path: "r.yaml".to_owned(), text: rules.to_owned() }]).unwrap();
    let entries = parse_list(list, "bad.csv", &set.timezone).unwrap();
    let text = |name: &str, text: &str| NamedText { name: name.to_owned(), text: text.to_owned() };
    PublishedRules {
        files: vec![text("r.yaml", rules)],
        lists: vec![text("bad", list)],
        ..PublishedRules::named(&set, &[entries, Vec::new()])
    }
}

#[test]
fn what_means_the_same_has_the_same_name() {
    let name = |rules: &str, list: &str| published(rules, list).set;
    let own = name(RULES, LIST);
    assert_eq!(own, name(&format!("# a remark\n{RULES}"), LIST));
    assert_eq!(own, name(RULES, "value,expires\nu1,2025-12-31\n\n"));
    assert_ne!(own, name(RULES, "value,expires\nu1,2025-12-30\n"));
    assert_ne!(own, name(&RULES.replace("review", "freeze"), LIST));
    assert!(own.starts_with(&published(RULES, LIST).ruleset));
}

#[test]
fn the_plan_has_the_version_under_which_it_was_published() {
    let mut published = published(RULES, LIST);
    published.ruleset = "00000000".to_owned();
    let plan = published.plan(Settings::default()).unwrap();
    assert_eq!(plan.rule_set().version, "00000000");
}

#[test]
fn a_set_with_a_fault_makes_no_plan() {
    let mut without = published(RULES, LIST);
    without.lists.clear();
    let faults = without.plan(Settings::default()).unwrap_err();
    assert!(faults[0].to_string().contains("was not published"), "{}", faults[0]);
    let mut broken = published(RULES, LIST);
    broken.lists[0].text = "values\n".to_owned();
    assert!(broken.plan(Settings::default()).is_err());
    broken.files[0].text = "version: 1\nrules: [{ nam: x }]\n".to_owned();
    assert!(broken.plan(Settings::default()).is_err());
    let mut empty = published(RULES, LIST);
    empty.strip();
    assert!(empty.files.is_empty() && empty.lists.is_empty());
}
