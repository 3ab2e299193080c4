//! Which decisions a route, a silence or an inhibition is about.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::Decision;
use crate::rule::Severity;

/// All that is present must hold; an empty list holds for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Matcher {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub severity: Vec<Severity>,
    /// Names of rules; one that ends with `*` stands for all that begin so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule: Vec<String>,
    /// Key field → accepted values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub key: BTreeMap<String, Vec<String>>,
    /// Label of the rule → accepted values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Vec<String>>,
    /// Fields of which the key has one: `user`, `device`, `ip`, `source`, `global`, `attrs.NAME`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
}

/// What of a decision is matched.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub severity: Severity,
    pub rule: &'a str,
    pub key: &'a Map<String, Value>,
    pub labels: &'a BTreeMap<String, String>,
}

impl<'a> Subject<'a> {
    /// Of a resolution: what has been resolved.
    pub fn of(decision: &'a Decision) -> Subject<'a> {
        let rule = decision.resolved.as_ref().map_or(&decision.rule, |resolved| &resolved.rule);
        let Decision { severity, key, labels, .. } = decision;
        Subject { severity: *severity, rule, key, labels }
    }

    /// The value of a key field, of a label, or of `rule` and `severity`; empty where there is
    /// none.
    pub fn value(&self, name: &str) -> String {
        match (name, self.key.get(name), self.labels.get(name)) {
            (_, Some(value), _) => text(value),
            (_, None, Some(label)) => label.clone(),
            ("rule", ..) => self.rule.to_owned(),
            ("severity", ..) => self.severity.as_str().to_owned(),
            _ => String::new(),
        }
    }
}

impl Matcher {
    pub fn is_empty(&self) -> bool {
        *self == Matcher::default()
    }

    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        let accepts = |values: &Vec<String>, value: Option<String>| {
            value.is_some_and(|value| values.is_empty() || values.contains(&value))
        };
        (self.severity.is_empty() || self.severity.contains(&subject.severity))
            && (self.rule.is_empty() || self.rule.iter().any(|name| fits(name, subject.rule)))
            && (self.scope.is_empty() || self.scope.iter().any(|f| subject.key.contains_key(f)))
            && self.key.iter().all(|(f, values)| accepts(values, subject.key.get(f).map(text)))
            && self.labels.iter().all(|(l, values)| accepts(values, subject.labels.get(l).cloned()))
    }

    /// Whether every decision that `narrow` is about is also one of this one's: as far as the
    /// two can be compared field by field.
    pub fn covers(&self, narrow: &Matcher) -> bool {
        let all = |wide: &Vec<String>, narrow: Option<&Vec<String>>| {
            wide.is_empty()
                || narrow.is_some_and(|narrow| {
                    !narrow.is_empty() && narrow.iter().all(|one| wide.contains(one))
                })
        };
        let severity = self.severity.is_empty()
            || !narrow.severity.is_empty()
                && narrow.severity.iter().all(|one| self.severity.contains(one));
        let rule = self.rule.is_empty()
            || !narrow.rule.is_empty()
                && narrow.rule.iter().all(|one| self.rule.iter().any(|name| fits(name, one)));
        severity
            && rule
            && all(&self.scope, Some(&narrow.scope))
            && self.key.iter().all(|(f, wide)| all(wide, narrow.key.get(f)))
            && self.labels.iter().all(|(l, wide)| all(wide, narrow.labels.get(l)))
    }

    /// For people: `rule user-daily-cap, user u-1001`.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        let severity: Vec<&str> = self.severity.iter().map(|one| one.as_str()).collect();
        if !severity.is_empty() {
            words.push(format!("severity {}", severity.join(" or ")));
        }
        for (name, values) in [("rule", &self.rule), ("scope", &self.scope)] {
            if !values.is_empty() {
                words.push(format!("{name} {}", values.join(" or ")));
            }
        }
        for (name, values) in self.key.iter().chain(&self.labels) {
            words.push(format!("{name} {}", values.join(" or ")));
        }
        if words.is_empty() { "everything".to_owned() } else { words.join(", ") }
    }
}

fn fits(name: &str, rule: &str) -> bool {
    name.strip_suffix('*').map_or(name == rule, |start| rule.starts_with(start))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
