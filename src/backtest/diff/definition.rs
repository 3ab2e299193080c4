//! Whether a rule reads the same in two sets.

use crate::rule::{Place, Rule, RuleSet};

/// Everything that a rule's text says, lists by their names, without where it stands.
fn definition(rule: &Rule, set: &RuleSet) -> String {
    let mut text = format!("{:?}", Rule { place: Place::default(), ..rule.clone() });
    for (at, list) in set.lists.iter().enumerate() {
        text = text.replace(&format!("In({at})"), &format!("In({:?})", list.name));
    }
    text
}

/// The zone belongs to it: calendar windows begin elsewhere in another one.
pub(super) fn is_same((old, olds): (&Rule, &RuleSet), (new, news): (&Rule, &RuleSet)) -> bool {
    olds.timezone_name == news.timezone_name && definition(old, olds) == definition(new, news)
}
