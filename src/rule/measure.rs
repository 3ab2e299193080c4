//! `on`, `where` and `measure` (what a rule counts), `per` (by what) and `window` (since when).

use super::fault::did_you_mean;
use super::node::{Data, Node};
use super::section::{FIELDS, Fields, Reader};
use super::types::{Field, Filter, Input, KeySpec, Kinds, Measure, Period, Window};
use crate::event::Kind;

const KEYS: [&str; 5] = ["user", "device", "ip", "source", "global"];
const MEASURES: [&str; 4] = ["count", "sum(points)", "max(points)", "distinct(FIELD)"];
const WINDOWS: [(&str, Period); 5] = [
    ("day", Period::Day),
    ("week", Period::Week),
    ("month", Period::Month),
    ("quarter", Period::Quarter),
    ("year", Period::Year),
];

impl Reader<'_> {
    /// `on`, `where` and `measure` of a rule or of one side of a ratio.
    pub(super) fn input(&mut self, fields: Fields<'_>, what: &str) -> Option<Input> {
        let on = if let Some(node) = fields.get("on") {
            self.kinds(node)
        } else {
            self.missing(fields.node, what, "`on` is missing", "such as `on: issue`");
            None
        };
        let filter = self.filter_of(fields);
        let measure = if let Some(node) = fields.get("measure") {
            self.measure(node)
        } else {
            let hint = "such as `measure: count` or `measure: sum(points)`";
            self.missing(fields.node, what, "`measure` is missing", hint);
            None
        };
        Some(Input { on: on?, filter: filter?, measure: measure? })
    }

    pub(super) fn filter_of(&mut self, fields: Fields<'_>) -> Option<Filter> {
        fields.get("where").map_or_else(|| Some(Filter::default()), |node| self.filter(node))
    }

    pub(super) fn kinds(&mut self, node: &Node) -> Option<Kinds> {
        let items = match &node.data {
            Data::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() {
            self.fault(node, "`on` names no kind");
            return None;
        }
        let table = Kind::ALL.map(|kind| (kind.as_str(), kind));
        let kinds: Vec<_> = items.iter().map(|item| self.word(item, "kind", &table)).collect();
        kinds.into_iter().try_fold(Kinds::default(), |kinds, kind| Some(kinds.with(kind?)))
    }

    fn measure(&mut self, node: &Node) -> Option<Measure> {
        let text: String =
            node.raw().unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
        match text.as_str() {
            "count" => return Some(Measure::Count),
            "sum(points)" => return Some(Measure::SumPoints),
            "max(points)" => return Some(Measure::MaxPoints),
            _ => {}
        }
        if let Some(name) = text.strip_prefix("distinct(").and_then(|rest| rest.strip_suffix(')')) {
            return self.field(node, name, "`distinct`", &FIELDS).map(Measure::Distinct);
        }
        let hint = match text.split('(').next() {
            Some("sum" | "max") => did_you_mean(&text, &["sum(points)", "max(points)"]),
            _ => did_you_mean(&text, &MEASURES),
        };
        self.fault_hint(node, "unknown measure", hint);
        None
    }

    pub(super) fn key_spec(&mut self, node: &Node) -> Option<KeySpec> {
        let items = match &node.data {
            Data::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() {
            self.fault_hint(node, "`per` names no field", Some("write `per: global`".into()));
            return None;
        }
        let mut fields: Vec<Field> = Vec::new();
        let mut whole = true;
        for item in items {
            let name = item.raw().unwrap_or_default();
            if name == "global" {
                if items.len() > 1 {
                    self.fault(item, "`global` stands alone");
                    whole = false;
                }
                continue;
            }
            match self.field(item, name, "`per`", &KEYS) {
                Some(field) if fields.contains(&field) => {
                    self.fault(item, "the field stands twice in `per`");
                    whole = false;
                }
                Some(field) => fields.push(field),
                None => whole = false,
            }
        }
        whole.then_some(KeySpec { fields })
    }

    pub(super) fn window(&mut self, node: &Node) -> Option<Window> {
        let raw = node.raw().unwrap_or_default();
        if let Some((_, period)) = WINDOWS.iter().find(|(name, _)| *name == raw) {
            return Some(Window::Calendar(*period));
        }
        if raw.starts_with(|c: char| c.is_ascii_digit()) {
            return self.duration(node, "`window`").map(Window::Duration);
        }
        let names = WINDOWS.map(|(name, _)| name);
        let hint = super::fault::nearest(raw, names).map_or_else(
            || "`day`, `week`, `month`, `quarter`, `year` or a duration such as `10m`".into(),
            |name| format!("did you mean `{name}`?"),
        );
        self.fault_hint(node, "unknown window", Some(hint));
        None
    }
}
