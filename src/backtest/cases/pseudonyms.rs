//! Names in the place of people: tests go to where many can read them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::rule::{Check, Condition, Field, Filter, Measure, RuleSet};

/// Addresses that are for examples (RFC 5737): so many in each block.
const BLOCKS: [&str; 3] = ["192.0.2", "198.51.100", "203.0.113"];
const HOSTS: usize = 254;

/// Users, devices and addresses become `u1`, `d1`, `192.0.2.1` and so on, in the order they come;
/// attributes that no rule looks at are left out. Sources, points and times stay.
pub fn pseudonyms(events: &[Map<String, Value>], rules: &RuleSet) -> Vec<Map<String, Value>> {
    let looked_at = attributes(rules);
    let (mut users, mut devices, mut addresses) = (Names::new(), Names::new(), Names::new());
    let mut all = events.to_vec();
    for event in &mut all {
        rename(event, "user", &mut users, |number, _| format!("u{number}"));
        rename(event, "device", &mut devices, |number, _| format!("d{number}"));
        rename(event, "ip", &mut addresses, address);
        if let Some(Value::Object(attrs)) = event.get_mut("attrs") {
            attrs.retain(|name, _| looked_at.contains(name));
            if attrs.is_empty() {
                event.shift_remove("attrs");
            }
        }
    }
    all
}

type Names = BTreeMap<String, String>;

fn rename(
    event: &mut Map<String, Value>,
    field: &str,
    names: &mut Names,
    name: fn(usize, &str) -> String,
) {
    let Some(value) = event.get_mut(field) else { return };
    let Some(text) = value.as_str() else { return };
    let number = names.len() + 1;
    let new = names.entry(text.to_owned()).or_insert_with(|| name(number, text));
    *value = new.clone().into();
}

/// Of the same version as the address that it stands for.
fn address(number: usize, text: &str) -> String {
    let block = BLOCKS.get((number - 1) / HOSTS);
    match (block, text.parse::<IpAddr>().map(|address| address.to_canonical())) {
        (Some(block), Ok(IpAddr::V4(_))) => format!("{block}.{}", (number - 1) % HOSTS + 1),
        (None, Ok(IpAddr::V4(_))) | (_, Ok(IpAddr::V6(_))) => format!("2001:db8::{number:x}"),
        (_, Err(_)) => format!("a{number}"),
    }
}

/// Attributes that rules look at.
fn attributes(rules: &RuleSet) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut note = |field: &Field| {
        if let Field::Attr(name) = field {
            names.insert(name.clone());
        }
    };
    for rule in &rules.rules {
        rule.per.fields.iter().for_each(&mut note);
        let inputs = match &rule.check {
            Check::Match { filter, .. } => {
                fields(filter, &mut note);
                vec![]
            }
            Check::Threshold { input, .. } => vec![input],
            Check::Ratio { of, to, .. } => vec![of, to],
            Check::ZScore(zscore) => vec![&zscore.input],
        };
        for input in inputs {
            fields(&input.filter, &mut note);
            if let Measure::Distinct(field) = &input.measure {
                note(field);
            }
        }
    }
    names
}

fn fields(filter: &Filter, note: &mut dyn FnMut(&Field)) {
    for condition in &filter.all {
        match condition {
            Condition::Field { field, .. } | Condition::New { field, .. } => note(field),
            Condition::Any(filters) => filters.iter().for_each(|filter| fields(filter, note)),
            Condition::Not(filter) => fields(filter, note),
        }
    }
}
