//! Rule files to one rule set: merged, checked, whole or not at all (R17).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::fault::{Fault, nearest};
use super::node::{self, Data, Node, Scalar};
use super::section::{Fields, Reader};
use super::types::{Budget, Field, ListDecl, Place, RuleSet};

/// One rule file: its path as messages name it, and its text.
#[derive(Debug, Clone)]
pub struct Source {
    pub path: String,
    pub text: String,
}

/// Fields of an event that a list can hold values of.
const LIST_FIELDS: [&str; 5] = ["user", "device", "ip", "source", "id"];

/// Merges and checks rule files, in the order given. Returns all faults at once.
pub fn load(sources: &[Source]) -> Result<RuleSet, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut files: Vec<(&str, Node)> = Vec::new();
    for source in sources {
        let before = faults.len();
        let node = node::parse(&source.path, &source.text, &mut faults);
        if let Some(node) = node {
            files.push((&source.path, node));
        } else if faults.len() == before {
            let place = Place { file: source.path.clone(), line: 1, column: 1 };
            let message = "the file is empty".into();
            let hint = Some("a rule file starts with `version: 1`".into());
            faults.push(Fault { place, text: String::new(), message, hint });
        }
    }
    let names = files.iter().flat_map(|(_, root)| rule_names(root)).collect::<Vec<_>>();
    let lists = files.iter().flat_map(|(_, root)| list_names(root)).collect::<Vec<_>>();
    let mut merge = Merge { faults, ..Merge::default() };
    for (file, root) in &files {
        let mut reader = Reader { file, faults: Vec::new(), lists: &lists, rules: &names };
        merge.file(&mut reader, root);
        merge.faults.append(&mut reader.faults);
    }
    merge.finish()
}

/// Where the file of a list is named, for faults of that file.
pub fn place_of_list(sources: &[Source], list: &ListDecl) -> Place {
    let file = list.origin.clone();
    let found = sources.iter().find(|source| source.path == list.origin).and_then(|source| {
        let root = node::parse(&source.path, &source.text, &mut Vec::new())?;
        let declared = root.get("lists")?.get(&list.name)?;
        let node = declared.get("file").unwrap_or(declared);
        Some((node.line, node.column))
    });
    let (line, column) = found.unwrap_or((1, 1));
    Place { file, line, column }
}

fn rule_names(root: &Node) -> Vec<String> {
    let rules = root.get("rules").map_or(&[][..], Node::items);
    rules.iter().filter_map(|rule| rule.get("name")?.raw().map(str::to_owned)).collect()
}

fn list_names(root: &Node) -> Vec<String> {
    let lists = root.get("lists").map_or(&[][..], Node::entries);
    lists.iter().filter_map(|(name, _)| name.raw().map(str::to_owned)).collect()
}

/// What has been read of all files so far.
#[derive(Debug, Default)]
struct Merge {
    faults: Vec<Fault>,
    zone: Option<(String, TimeZone, Place)>,
    budget: Option<(Budget, Place)>,
    lists: Vec<ListDecl>,
    rules: Vec<super::types::Rule>,
    /// Where each name of a rule or list was first given.
    rule_places: BTreeMap<String, Place>,
    list_places: BTreeMap<String, Place>,
}

impl Merge {
    fn file(&mut self, reader: &mut Reader<'_>, root: &Node) {
        let keys = ["version", "timezone", "lists", "budget", "rules"];
        let Some(fields) = reader.map(root, "a rule file", &keys) else { return };
        version(reader, fields);
        if let Some(node) = fields.get("timezone") {
            self.timezone(reader, node);
        }
        if let Some(node) = fields.get("budget") {
            let budget = reader.budget(node);
            if let Some((_, first)) = &self.budget {
                let hint = Some(format!("the first stands at {}", shown(first)));
                reader.fault_hint(node, "a second budget of the rule set", hint);
            } else {
                self.budget = budget.map(|budget| (budget, reader.place(node)));
            }
        }
        if let Some(node) = fields.get("lists") {
            for (name, body) in reader.entries(node, "`lists`").unwrap_or_default() {
                self.list(reader, name, body);
            }
        }
        if let Some(node) = fields.get("rules") {
            for node in reader.items(node, "`rules`").unwrap_or_default() {
                self.rule(reader, node);
            }
        }
    }

    fn rule(&mut self, reader: &mut Reader<'_>, node: &Node) {
        let rule = reader.rule(node);
        if let Some(at) = node.get("name")
            && let Some(name) = at.raw()
        {
            unique(reader, &mut self.rule_places, at, name, "a rule of this name stands already");
        }
        self.rules.extend(rule);
    }

    fn list(&mut self, reader: &mut Reader<'_>, name: &Node, body: &Node) {
        let Some(text) = reader.text(name, "the name of a list") else { return };
        unique(reader, &mut self.list_places, name, text, "a list of this name stands already");
        let Some(fields) = reader.map(body, "a list", &["file", "field"]) else { return };
        let file = fields.get("file").map(|at| reader.text(at, "`file`").map(str::to_owned));
        let field: Option<Field> = if let Some(at) = fields.get("field") {
            reader
                .text(at, "`field`")
                .and_then(|field| reader.field(at, field, "a list", &LIST_FIELDS))
        } else {
            reader.missing(name, text, "the list has no `field`", "such as `field: user`");
            None
        };
        if let (Some(field), true) = (field, file != Some(None)) {
            let origin = reader.file.to_owned();
            self.lists.push(ListDecl {
                name: text.to_owned(),
                file: file.flatten(),
                origin,
                field,
            });
        }
    }

    fn timezone(&mut self, reader: &mut Reader<'_>, node: &Node) {
        let Some(name) = reader.text(node, "`timezone`") else { return };
        let Ok(zone) = TimeZone::get(name) else {
            let known: Vec<String> =
                jiff::tz::db().available().map(|name| name.to_string()).collect();
            let hint = nearest(name, known.iter().map(String::as_str))
                .map_or("an IANA name, such as `Asia/Shanghai`".into(), |near| {
                    format!("did you mean `{near}`?")
                });
            reader.fault_hint(node, "unknown time zone", Some(hint));
            return;
        };
        let name = zone.iana_name().unwrap_or(name).to_owned();
        match &self.zone {
            Some((first, _, place)) if *first != name => {
                let hint = Some(format!("`{first}` stands at {}", shown(place)));
                reader.fault_hint(node, "another time zone than in the file before", hint);
            }
            Some(_) => {}
            None => self.zone = Some((name, zone, reader.place(node))),
        }
    }

    fn finish(self) -> Result<RuleSet, Vec<Fault>> {
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let (timezone_name, timezone) =
            self.zone.map_or(("UTC".into(), TimeZone::UTC), |(name, zone, _)| (name, zone));
        let budget = self.budget.map(|(budget, _)| budget);
        let mut set = RuleSet {
            version: String::new(),
            timezone_name,
            timezone,
            lists: self.lists,
            rules: self.rules,
            budget,
        };
        set.version = fingerprint(&set);
        Ok(set)
    }
}

fn version(reader: &mut Reader<'_>, fields: Fields<'_>) {
    let Some(node) = fields.get("version") else {
        reader.missing(fields.node, "version", "the file has no version", "add `version: 1`");
        return;
    };
    if !matches!(node.data, Data::Scalar { value: Scalar::Integer(1), .. }) {
        reader.fault_hint(node, "unknown version", Some("write `version: 1`".into()));
    }
}

fn unique(
    reader: &mut Reader<'_>,
    places: &mut BTreeMap<String, Place>,
    at: &Node,
    name: &str,
    message: &str,
) {
    if let Some(first) = places.get(name) {
        let hint = Some(format!("the first stands at {}", shown(first)));
        reader.fault_hint(at, message, hint);
    } else {
        places.insert(name.to_owned(), reader.place(at));
    }
}

fn shown(place: &Place) -> String {
    format!("{}:{}:{}", place.file, place.line, place.column)
}

/// First 8 hex digits of SHA-256 over what the files mean: comments, layout, defaults written
/// out, and the names of the files do not change it.
fn fingerprint(set: &RuleSet) -> String {
    let mut normal = format!("{:?} {:?}", set.timezone_name, set.budget);
    // Writing to a string cannot fail.
    for list in &set.lists {
        _ = write!(normal, "\n{:?} {:?} {:?}", list.name, list.file, list.field);
    }
    for rule in &set.rules {
        _ = write!(
            normal,
            "\n{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            rule.name,
            rule.description,
            rule.mode,
            rule.per,
            rule.check,
            rule.cooldown_ms,
            rule.budget
        );
        if !rule.labels.is_empty() {
            _ = write!(normal, " {:?}", rule.labels);
        }
    }
    let digest = Sha256::digest(normal.as_bytes());
    digest.iter().take(4).fold(String::new(), |mut hex, byte| {
        _ = write!(hex, "{byte:02x}");
        hex
    })
}
