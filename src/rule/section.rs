//! What every section of a rule file is read with: typed access to nodes that notes each fault.

use super::duration::parse_duration;
use super::fault::{Fault, did_you_mean, shorten};
use super::node::{Data, Node, Scalar};
use super::types::{Field, Number, Place};

/// Reads the nodes of one file. A method that returns `None` has noted a fault.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) faults: Vec<Fault>,
    /// Names of the lists of all files, in order of `RuleSet::lists`.
    pub(super) lists: &'a [String],
    /// Names of the rules of all files.
    pub(super) rules: &'a [String],
}

/// The entries of a map whose keys are all known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'n> {
    pub(super) node: &'n Node,
    entries: &'n [(Node, Node)],
}

impl<'n> Fields<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|(_, value)| value)
    }

    pub(super) fn entry(&self, key: &str) -> Option<&'n (Node, Node)> {
        self.entries.iter().find(|(name, _)| name.raw() == Some(key))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }
}

/// Fields that hold for a value of the event itself or its time.
pub(super) const FIELDS: [&str; 9] =
    ["id", "user", "kind", "points", "source", "device", "ip", "hour", "weekday"];

impl Reader<'_> {
    pub(super) fn place(&self, node: &Node) -> Place {
        Place { file: self.file.to_owned(), line: node.line, column: node.column }
    }

    pub(super) fn fault(&mut self, node: &Node, message: impl Into<String>) {
        self.fault_hint(node, message, None);
    }

    pub(super) fn fault_hint(
        &mut self,
        node: &Node,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let place = self.place(node);
        self.faults.push(Fault { place, text: node.shown(), message: message.into(), hint });
    }

    /// A fault about something that is not there; shows the name of what lacks it.
    pub(super) fn missing(
        &mut self,
        within: &Node,
        name: &str,
        message: impl Into<String>,
        hint: &str,
    ) {
        let place = self.place(within);
        let hint = Some(hint.to_owned());
        self.faults.push(Fault { place, text: shorten(name), message: message.into(), hint });
    }

    /// The value of a key that must be there; a fault says what needs it.
    pub(super) fn needed<'n>(
        &mut self,
        fields: Fields<'n>,
        what: &str,
        key: &str,
        hint: &str,
    ) -> Option<&'n Node> {
        let found = fields.get(key);
        if found.is_none() {
            self.missing(fields.node, what, format!("`{what}` needs `{key}`"), hint);
        }
        found
    }

    pub(super) fn map<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        keys: &[&str],
    ) -> Option<Fields<'n>> {
        let Data::Map(entries) = &node.data else {
            self.fault(node, format!("{what} is a map"));
            return None;
        };
        for (key, _) in entries {
            let text = key.shown();
            if !keys.contains(&text.as_str()) {
                let hint = did_you_mean(&text, keys);
                self.fault_hint(key, format!("unknown key of {what}"), hint);
            }
        }
        Some(Fields { node, entries })
    }

    /// A map whose keys are the user's own names.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [(Node, Node)]> {
        if let Data::Map(entries) = &node.data {
            return Some(entries);
        }
        self.fault(node, format!("{what} is a map"));
        None
    }

    pub(super) fn items<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        if let Data::List(items) = &node.data {
            return Some(items);
        }
        let hint = node.raw().filter(|raw| !raw.is_empty()).map(|raw| format!("write `[{raw}]`"));
        self.fault_hint(node, format!("{what} is a list"), hint);
        None
    }

    /// Text that is not empty.
    pub(super) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match &node.data {
            Data::Scalar { raw, value: Scalar::Text } if !raw.is_empty() => return Some(raw),
            Data::Scalar { raw, value } if !matches!(value, Scalar::Null | Scalar::Text) => {
                let hint = Some(format!("put it in quotes: `\"{raw}\"`"));
                self.fault_hint(node, format!("{what} is text"), hint);
            }
            _ => self.fault(node, format!("{what} is text")),
        }
        None
    }

    pub(super) fn word<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        table: &[(&str, T)],
    ) -> Option<T> {
        let raw = node.raw().unwrap_or_default();
        if let Some((_, value)) = table.iter().find(|(name, _)| *name == raw) {
            return Some(*value);
        }
        let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
        self.fault_hint(node, format!("unknown {what}"), did_you_mean(raw, &names));
        None
    }

    pub(super) fn duration(&mut self, node: &Node, what: &str) -> Option<i64> {
        let raw = node.raw().unwrap_or_default();
        let ms = parse_duration(raw);
        if ms.is_none() {
            let number = !raw.is_empty() && raw.bytes().all(|b| b.is_ascii_digit());
            let hint = if number && raw.bytes().any(|b| b != b'0') {
                format!("it needs a unit, such as `{raw}s`")
            } else {
                "more than nothing, such as `500ms`, `30s`, `10m`, `1h` or `7d`; at most `36500d`"
                    .into()
            };
            self.fault_hint(node, format!("{what} is a duration"), Some(hint));
        }
        ms
    }

    pub(super) fn number(&mut self, node: &Node, what: &str) -> Option<Number> {
        match node.data {
            Data::Scalar { value: Scalar::Integer(value), .. } => Some(Number::Integer(value)),
            Data::Scalar { value: Scalar::Float(value), .. } if value.is_finite() => {
                Some(Number::Float(value))
            }
            _ => {
                let plain: String = node
                    .raw()
                    .unwrap_or_default()
                    .chars()
                    .filter(|c| !matches!(c, '_' | ','))
                    .collect();
                let hint = plain.parse::<i64>().is_ok().then(|| format!("write `{plain}`"));
                self.fault_hint(node, format!("{what} is a number"), hint);
                None
            }
        }
    }

    pub(super) fn decimal(&mut self, node: &Node, what: &str) -> Option<f64> {
        self.number(node, what).map(as_f64)
    }

    pub(super) fn integer(
        &mut self,
        node: &Node,
        what: &str,
        least: i64,
        most: i64,
    ) -> Option<i64> {
        match node.data {
            Data::Scalar { value: Scalar::Integer(value), .. }
                if (least..=most).contains(&value) =>
            {
                Some(value)
            }
            _ => {
                self.fault(node, format!("{what} is a whole number from {least} to {most}"));
                None
            }
        }
    }

    /// A field by name, of those in `names` or, where `attrs` says so, `attrs.NAME`.
    pub(super) fn field(
        &mut self,
        node: &Node,
        text: &str,
        what: &str,
        names: &[&str],
    ) -> Option<Field> {
        let known = parse_field(text);
        match known {
            Some(Field::Attr(_)) => return known,
            Some(_) if names.contains(&text) => return known,
            _ => {}
        }
        let hint = match text.split_once('.') {
            Some((head, name)) if !name.is_empty() && strsim::jaro(head, "attrs") > 0.6 => {
                Some(format!("did you mean `attrs.{name}`?"))
            }
            _ => {
                let mut all = names.to_vec();
                all.push("attrs.NAME");
                did_you_mean(text, &all)
            }
        };
        self.fault_hint(node, format!("unknown field of {what}"), hint);
        None
    }
}

/// The field of that name, `attrs.NAME` included.
pub(super) fn parse_field(text: &str) -> Option<Field> {
    Some(match text {
        "id" => Field::Id,
        "user" => Field::User,
        "kind" => Field::Kind,
        "points" => Field::Points,
        "source" => Field::Source,
        "device" => Field::Device,
        "ip" => Field::Ip,
        "hour" => Field::Hour,
        "weekday" => Field::Weekday,
        _ => match text.strip_prefix("attrs.") {
            Some(name) if !name.is_empty() => Field::Attr(name.to_owned()),
            _ => return None,
        },
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "only for comparisons and for bounds that are decimals"
)]
pub(super) fn as_f64(number: Number) -> f64 {
    match number {
        Number::Integer(value) => value as f64,
        Number::Float(value) => value,
    }
}

/// `left < right`, exactly.
pub(super) fn less(left: Number, right: Number) -> bool {
    left.compare(right) == Some(std::cmp::Ordering::Less)
}
