//! The resolved whole as YAML, with secrets hidden (K1).
//!
//! Hidden are: whatever came by reference, user names' passwords and queries of addresses, and
//! the values of keys whose names speak of secrets.

use std::collections::BTreeMap;

use serde_json::Value;

use super::refer::{HIDDEN, is_url};
use super::sections::Config;
use super::tree::{Data, Node};
use crate::rule::write_duration;

/// What is shown in place of the values that came by reference, by path.
#[derive(Clone, Default)]
pub(super) struct Shown(BTreeMap<Vec<String>, String>);

impl Shown {
    /// Of a tree whose references are resolved.
    pub(super) fn of(root: &Node) -> Shown {
        let mut shown = Shown::default();
        shown.gather(root, &mut Vec::new());
        shown
    }

    fn gather(&mut self, node: &Node, path: &mut Vec<String>) {
        match &node.data {
            Data::Scalar(scalar) => {
                let text = scalar.shown.clone();
                self.0.extend(text.map(|text| (path.clone(), text)));
            }
            Data::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    self.gather(item, path);
                    path.pop();
                }
            }
            Data::Map(entries) => {
                for (name, below) in entries {
                    path.push(name.clone());
                    self.gather(below, path);
                    path.pop();
                }
            }
        }
    }
}

/// Words in the name of a key that holds a secret, such as `ssl.key.password`.
const SECRET_WORDS: [&str; 7] =
    ["password", "passphrase", "secret", "token", "key", "credential", "oauthbearer.config"];

/// Settings of notices that are milliseconds, with what holds when they are absent.
const NOTICE_SPANS: [(&str, Option<&str>); 9] = [
    ("every", Some("1m")),
    ("silence_max", Some("30d")),
    ("give_up", Some("1d")),
    ("group_wait", Some("10s")),
    ("group_interval", Some("1m")),
    ("repeat_interval", Some("4h")),
    ("escalate_after", None),
    ("after", None),
    ("lasts", Some("1h")),
];

impl Config {
    /// YAML of every key, defaults included; what is secret is `***`.
    pub fn print(&self) -> String {
        serde_saphyr::to_string(&self.redacted()).unwrap_or_default()
    }

    /// The same as a value.
    pub(super) fn redacted(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        spell_notify(&mut value);
        self.name_mail_servers(&mut value);
        self.redact(&mut value, &mut Vec::new());
        value
    }

    /// The address of a mail server is a secret for its password only; whoever reads the print
    /// wants to see the server.
    fn name_mail_servers(&self, config: &mut Value) {
        for (name, receiver) in &self.notify.receivers {
            let Some(email) = &receiver.email else { continue };
            let keys = ["notify", "receivers", name, "email", "smtp"];
            let place = keys.iter().try_fold(&mut *config, |value, key| value.get_mut(*key));
            let shown = self.shown.0.get(&keys.map(str::to_owned)[..]);
            let address = shown.map_or(email.smtp.expose(), String::as_str);
            // What is no address may be a password in the wrong place.
            if let Some(place) = place.filter(|_| is_url(address)) {
                *place = Value::String(without_credentials(address));
            }
        }
    }

    fn redact(&self, value: &mut Value, path: &mut Vec<String>) {
        match value {
            Value::Object(entries) => {
                for (name, below) in entries {
                    path.push(name.clone());
                    self.redact(below, path);
                    path.pop();
                }
            }
            Value::Array(items) => {
                for (index, below) in items.iter_mut().enumerate() {
                    path.push(index.to_string());
                    self.redact(below, path);
                    path.pop();
                }
            }
            _ => {
                let keys: Vec<&str> = path.iter().map(String::as_str).collect();
                // What the type hides stays hidden, even where a part was written out.
                let hidden = value.as_str() == Some(HIDDEN);
                if let Some(shown) = self.shown.0.get(path).filter(|_| !hidden) {
                    *value = Value::String(shown.clone());
                }
                if let Value::String(text) = value {
                    *text = without_credentials(text);
                }
                if is_secret(&keys) && !value.is_null() {
                    *value = Value::String(HIDDEN.to_owned());
                }
            }
        }
    }
}

fn is_secret(path: &[&str]) -> bool {
    let name = path.iter().rev().find(|name| name.parse::<usize>().is_err());
    let settings = matches!(path, ["kafka" | "http", ..] | ["notify", "receivers", ..]);
    settings
        && name.is_some_and(|name| {
            let name = name.to_lowercase();
            SECRET_WORDS.iter().any(|word| name.contains(word))
        })
}

/// Durations of notices as they are written, and what holds where none is given.
fn spell_notify(config: &mut Value) {
    let Some(notify) = config.get_mut("notify") else { return };
    spell(notify, &["give_up", "silence_max"]);
    if let Some(heartbeat) = notify.get_mut("heartbeat") {
        spell(heartbeat, &["every"]);
    }
    let routes = notify.get_mut("routes").and_then(Value::as_array_mut);
    for route in routes.into_iter().flatten() {
        spell_route(route, true);
    }
    let inhibit = notify.get_mut("inhibit").and_then(Value::as_array_mut);
    for one in inhibit.into_iter().flatten() {
        spell(one, &["lasts"]);
    }
    let receivers = notify.get_mut("receivers").and_then(Value::as_object_mut);
    for (_, receiver) in receivers.into_iter().flatten() {
        let Some(settings) = receiver.as_object_mut() else { continue };
        settings.retain(|_, value| !value.is_null());
    }
    if let Some(notify) = notify.as_object_mut() {
        notify.retain(|_, value| !value.is_null());
    }
}

/// What a route below another leaves out it has from that one.
fn spell_route(route: &mut Value, is_top: bool) {
    if !is_top && let Some(settings) = route.as_object_mut() {
        settings.retain(|_, value| !value.is_null());
    }
    spell(route, &["group_wait", "group_interval", "repeat_interval", "escalate_after"]);
    for step in route.get_mut("escalate").and_then(Value::as_array_mut).into_iter().flatten() {
        spell(step, &["after"]);
    }
    for below in route.get_mut("routes").and_then(Value::as_array_mut).into_iter().flatten() {
        spell_route(below, false);
    }
}

fn spell(section: &mut Value, keys: &[&str]) {
    let Some(section) = section.as_object_mut() else { return };
    for (key, default) in NOTICE_SPANS.iter().filter(|(key, _)| keys.contains(key)) {
        let Some(value) = section.get_mut(*key) else { continue };
        let given = value.as_u64().map(|ms| write_duration(u128::from(ms)));
        match given.or_else(|| default.map(str::to_owned)) {
            Some(text) => *value = Value::String(text),
            None => drop(section.remove(*key)),
        }
    }
}

/// An address without password and query; other text as it is.
///
/// Where it is not plain which part is which (an `@` or `?` that should have been encoded),
/// rather too much is hidden than too little.
pub(super) fn without_credentials(text: &str) -> String {
    if !is_url(text) {
        return text.to_owned();
    }
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let query = rest.find(['?', '#']);
    let (place, query) = rest.split_at(query.unwrap_or(rest.len()));
    let mut shown = format!("{scheme}://");
    if let Some((user, host)) = place.rsplit_once('@') {
        if let Some((name, _)) = user.split_once(':') {
            shown.push_str(name);
            shown.push(':');
        }
        shown.push_str(HIDDEN);
        shown.push('@');
        shown.push_str(host);
    } else if query.contains('@') && place.contains(':') {
        // `user:pass?word@host`: what looks like a query may be the password's rest.
        shown.push_str(HIDDEN);
        return shown;
    } else {
        shown.push_str(place);
    }
    if !query.is_empty() {
        shown.push(if query.starts_with('?') { '?' } else { '#' });
        shown.push_str(HIDDEN);
    }
    shown
}
