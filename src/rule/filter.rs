//! `where`: a map of field and matcher (R2, R5).

use std::net::{IpAddr, Ipv6Addr};

use super::fault::did_you_mean;
use super::node::{Data, Node, Scalar};
use super::section::{FIELDS, Reader};
use super::types::{Cidr, Condition, Field, Filter, Number, Test, Value};
use crate::event::Kind;

const MATCHERS: [&str; 11] =
    ["eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "prefix", "cidr", "exists"];
pub(super) const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// What `where` takes besides fields.
const WORDS: [&str; 12] = [
    "id", "user", "kind", "points", "source", "device", "ip", "hour", "weekday", "any", "not",
    "new",
];

impl Reader<'_> {
    pub(super) fn filter(&mut self, node: &Node) -> Option<Filter> {
        let entries = self.entries(node, "`where`")?;
        let mut all = Some(Vec::new());
        for (key, value) in entries {
            let found = self.condition(key, value);
            all = all.zip(found).map(|(mut all, mut found)| {
                all.append(&mut found);
                all
            });
        }
        all.map(|all| Filter { all })
    }

    fn condition(&mut self, key: &Node, value: &Node) -> Option<Vec<Condition>> {
        match key.raw().unwrap_or_default() {
            "any" => {
                let items = self.items(value, "`any`")?;
                if items.is_empty() {
                    self.fault(value, "`any` of nothing never holds");
                }
                let filters: Vec<_> = items.iter().map(|item| self.filter(item)).collect();
                let filters: Option<Vec<Filter>> = filters.into_iter().collect();
                Some(vec![Condition::Any(filters?)])
            }
            "not" => Some(vec![Condition::Not(self.filter(value)?)]),
            "new" => self.new_value(value),
            name => {
                let field = if FIELDS.contains(&name) || name.contains('.') {
                    self.field(key, name, "`where`", &FIELDS)
                } else {
                    self.fault_hint(key, "unknown field of `where`", did_you_mean(name, &WORDS));
                    None
                };
                let tests = self.matcher(field.as_ref(), value)?;
                let field = field?;
                Some(
                    tests
                        .into_iter()
                        .map(|test| Condition::Field { field: field.clone(), test })
                        .collect(),
                )
            }
        }
    }

    fn new_value(&mut self, node: &Node) -> Option<Vec<Condition>> {
        let fields = self.map(node, "`new`", &["field", "within"])?;
        let field = self
            .needed(fields, "new", "field", "such as `field: device`")
            .and_then(|at| self.text(at, "`field`").map(|text| (at, text)))
            .and_then(|(at, text)| self.field(at, text, "`new`", &["device", "ip", "source"]));
        let within = self
            .needed(fields, "new", "within", "such as `within: 30d`")
            .and_then(|at| self.duration(at, "`within`"));
        Some(vec![Condition::New { field: field?, within_ms: within? }])
    }

    /// `field` is `None` when its name is at fault; the matcher is read all the same.
    fn matcher(&mut self, field: Option<&Field>, node: &Node) -> Option<Vec<Test>> {
        match &node.data {
            Data::Scalar { .. } => Some(vec![Test::AnyOf(vec![self.value(field, node)?])]),
            Data::List(items) => {
                if items.is_empty() {
                    self.fault(node, "an empty list never matches");
                }
                let values: Vec<_> = items.iter().map(|item| self.value(field, item)).collect();
                let values: Option<Vec<Value>> = values.into_iter().collect();
                Some(vec![Test::AnyOf(values?)])
            }
            Data::Map(entries) => {
                self.map(node, "a matcher", &MATCHERS)?;
                if entries.is_empty() {
                    self.fault_hint(node, "an empty matcher", did_you_mean("", &MATCHERS));
                }
                let tests: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| self.test(field, key.raw().unwrap_or_default(), value))
                    .collect();
                tests.into_iter().collect()
            }
        }
    }

    fn test(&mut self, field: Option<&Field>, name: &str, node: &Node) -> Option<Test> {
        let numeric =
            field.is_none_or(|f| matches!(f, Field::Points | Field::Hour | Field::Attr(_)));
        match name {
            "gt" | "gte" | "lt" | "lte" if !numeric => {
                self.fault(node, format!("`{name}` compares numbers, the field is text"));
                None
            }
            "eq" => Some(Test::AnyOf(vec![self.value(field, node)?])),
            "ne" => self.value(field, node).map(Test::Ne),
            "gt" => self.number(node, "`gt`").map(Test::Gt),
            "gte" => self.number(node, "`gte`").map(Test::Gte),
            "lt" => self.number(node, "`lt`").map(Test::Lt),
            "lte" => self.number(node, "`lte`").map(Test::Lte),
            "in" => self.list_name(node).map(Test::In),
            "not_in" => self.list_name(node).map(Test::NotIn),
            "prefix" if matches!(field, Some(Field::Points | Field::Hour)) => {
                self.fault(node, "`prefix` is for text, the field is a number");
                None
            }
            "prefix" => self.text(node, "`prefix`").map(|text| Test::Prefix(text.to_owned())),
            "cidr" => self.blocks(field, node),
            "exists" => {
                if let Data::Scalar { value: Scalar::Bool(value), .. } = node.data {
                    return Some(Test::Exists(value));
                }
                self.fault(node, "`exists` is `true` or `false`");
                None
            }
            // An unknown key, noted where the map was read.
            _ => None,
        }
    }

    fn list_name(&mut self, node: &Node) -> Option<usize> {
        let name = self.text(node, "the name of a list")?;
        let found = self.lists.iter().position(|list| list == name);
        if found.is_none() {
            let names: Vec<&str> = self.lists.iter().map(String::as_str).collect();
            let hint = did_you_mean(name, &names)
                .or_else(|| Some("declare it under `lists:` at the top of a rule file".into()));
            self.fault_hint(node, "unknown list", hint);
        }
        found
    }

    fn blocks(&mut self, field: Option<&Field>, node: &Node) -> Option<Test> {
        if field.is_some_and(|field| *field != Field::Ip) {
            self.fault_hint(node, "`cidr` is for `ip`", Some("did you mean `prefix`?".into()));
            return None;
        }
        let items = match &node.data {
            Data::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() {
            self.fault(node, "an empty list never matches");
        }
        let mut blocks = Some(Vec::new());
        for item in items {
            let block = parse_cidr(item.raw().unwrap_or_default());
            if block.is_none() {
                let hint = Some("such as `203.0.113.0/24` or `2001:db8::/32`".into());
                self.fault_hint(item, "not an address block", hint);
            }
            blocks = blocks.zip(block).map(|(mut blocks, block)| {
                blocks.push(block);
                blocks
            });
        }
        blocks.map(Test::Cidr)
    }

    fn value(&mut self, field: Option<&Field>, node: &Node) -> Option<Value> {
        let Data::Scalar { raw, value } = &node.data else {
            self.fault(node, "expected one value");
            return None;
        };
        let names: Vec<&str> = match field {
            Some(Field::Kind) => Kind::ALL.iter().map(|kind| kind.as_str()).collect(),
            Some(Field::Weekday) => WEEKDAYS.to_vec(),
            _ => Vec::new(),
        };
        if !names.is_empty() && !names.contains(&raw.as_str()) {
            let what = if names.len() == 7 { "unknown weekday" } else { "unknown kind" };
            self.fault_hint(node, what, did_you_mean(raw, &names));
            return None;
        }
        if field == Some(&Field::Hour) {
            self.integer(node, "`hour`", 0, 23)?;
        }
        Some(match value {
            Scalar::Text => Value::Text(raw.clone()),
            Scalar::Bool(value) => Value::Bool(*value),
            Scalar::Integer(value) => Value::Number(Number::Integer(*value)),
            Scalar::Float(value) if value.is_finite() => Value::Number(Number::Float(*value)),
            Scalar::Float(_) => {
                self.fault(node, "no event carries this number");
                return None;
            }
            Scalar::Null => {
                let hint = Some("for a missing field write `{ exists: false }`".into());
                self.fault_hint(node, "a matcher needs a value", hint);
                return None;
            }
        })
    }
}

/// `ADDRESS/LENGTH`, or an address alone. Host bits are cleared.
fn parse_cidr(text: &str) -> Option<Cidr> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => {
            let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
            (address, Some(length.parse::<u8>().ok().filter(|_| digits)?))
        }
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix_len = length.unwrap_or(bits);
    if prefix_len > bits {
        return None;
    }
    match address {
        IpAddr::V4(v4) => Some(block_v4(u32::from(v4), prefix_len)),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) if prefix_len >= 96 => Some(block_v4(u32::from(v4), prefix_len - 96)),
            _ => {
                let mask = u128::MAX.checked_shl(u32::from(128 - prefix_len)).unwrap_or(0);
                let network = Ipv6Addr::from(u128::from(v6) & mask).into();
                Some(Cidr { network, prefix_len })
            }
        },
    }
}

fn block_v4(address: u32, prefix_len: u8) -> Cidr {
    let mask = u32::MAX.checked_shl(u32::from(32 - prefix_len)).unwrap_or(0);
    Cidr { network: std::net::Ipv4Addr::from(address & mask).into(), prefix_len }
}
