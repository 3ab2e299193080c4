//! One plan a set, however many workers ask for it.

use std::sync::Arc;

use super::PlanCell;
use crate::engine::{NamedText, Plan, PublishedRules, Settings};
use crate::rule::{Source, load};

fn published(rules: &str) -> PublishedRules {
    let text = format!("version: 1\nrules: [{rules}]\n");
    let set = load(&[Source { path: "r.yaml".to_owned(), text: text.clone() }]).unwrap();
    let files = vec![NamedText { name: "r.yaml".to_owned(), text }];
    PublishedRules { files, ..PublishedRules::named(&set, &[]) }
}

fn cell() -> PlanCell {
    let settings = Settings { idle_after_ms: 7, ..Settings::default() };
    PlanCell::new(published("").plan(settings).unwrap())
}

#[test]
fn a_set_is_made_once_and_forgotten_with_its_last_user() {
    let cell = cell();
    let rules = published("{ name: a, then: [review] }");
    let plan = cell.make(&rules).unwrap();
    assert!(Arc::ptr_eq(&plan, &cell.make(&rules).unwrap()));
    assert!(Arc::ptr_eq(&plan, &cell.known(&rules.set).unwrap()));
    assert_eq!(plan.settings.idle_after_ms, 7, "settings are the process's own");
    drop(plan);
    assert!(cell.known(&rules.set).is_none());
}

#[test]
fn faults_are_told_in_words() {
    let mut rules = published("{ name: a, then: [review] }");
    rules.files[0].text = "version: 1\nrules: [{ nam: a }]\n".to_owned();
    assert!(cell().make(&rules).unwrap_err().contains("`nam`"));
}

#[test]
fn the_newest_set_is_in_force_and_news_once() {
    let cell = cell();
    let plan = |name: &str| {
        let rules = published(&format!("{{ name: {name}, then: [review] }}"));
        Arc::new(rules.plan(Settings::default()).unwrap())
    };
    let (a, b): (Arc<Plan>, Arc<Plan>) = (plan("a"), plan("b"));
    let before = cell.get();
    assert!(Arc::ptr_eq(&cell.take_effect(5, &a).unwrap(), &before));
    assert!(cell.take_effect(5, &a).is_none());
    assert!(Arc::ptr_eq(&cell.take_effect(9, &b).unwrap(), &a));
    assert!(cell.take_effect(7, &a).is_none(), "another worker is behind");
    assert!(cell.take_effect(11, &b).is_none(), "published again");
    assert!(Arc::ptr_eq(&cell.get(), &b));
}
