//! YAML text to a tree that knows the line and column of every node.
//!
//! YAML 1.2 core schema; duplicate keys are faults. Anchors and aliases are expanded up to a
//! limit on nodes, so that a small file cannot grow without bound.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::fault::{Fault, shorten};
use super::types::Place;

/// Nodes of one file after the expansion of aliases.
const NODES_MAX: usize = 200_000;
/// Nesting of maps and lists; also bounds every recursion over the tree.
const DEPTH_MAX: usize = 64;

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// Bytes of the text that the node stands in, quotes and brackets included. What an alias
    /// stands for keeps the place of its anchor.
    pub(crate) span: Range<usize>,
    pub(crate) data: Data,
}

#[derive(Debug, Clone)]
pub(crate) enum Data {
    Scalar {
        raw: String,
        value: Scalar,
    },
    List(Vec<Node>),
    /// In file order; keys are unique.
    Map(Vec<(Node, Node)>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text,
}

impl Node {
    /// The text of a scalar as written; for a list or map a short form of it.
    pub(crate) fn shown(&self) -> String {
        let mut out = String::new();
        self.show(&mut out);
        shorten(&out)
    }

    /// The scalar as written, whatever its type.
    pub(crate) fn raw(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar { raw, .. } => Some(raw),
            _ => None,
        }
    }

    /// The value of a key, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(name, _)| name.raw() == Some(key)).map(|(_, value)| value)
    }

    /// The entries of a map in file order; none of anything else.
    pub(crate) fn entries(&self) -> &[(Node, Node)] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.data {
            Data::List(items) => items,
            _ => &[],
        }
    }

    fn show(&self, out: &mut String) {
        // Enough to recognise the place; the rest would be cut anyway.
        if out.len() > 300 {
            return;
        }
        match &self.data {
            Data::Scalar { raw, .. } => out.push_str(raw),
            Data::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { ", " });
                    item.show(out);
                }
                out.push(']');
            }
            Data::Map(entries) => {
                out.push('{');
                for (i, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { ", " });
                    key.show(out);
                    out.push_str(": ");
                    value.show(out);
                }
                out.push('}');
            }
        }
    }

    /// Where the last thing within a list or map ends.
    fn last_end(&self) -> usize {
        let last = match &self.data {
            Data::Scalar { .. } => None,
            Data::List(items) => items.last(),
            Data::Map(entries) => entries.last().map(|(_, value)| value),
        };
        last.map_or(self.span.end, |last| last.span.end.max(self.span.end))
    }

    fn size(&self) -> usize {
        1 + match &self.data {
            Data::Scalar { .. } => 0,
            Data::List(items) => items.iter().map(Node::size).sum(),
            Data::Map(entries) => entries.iter().map(|(k, v)| k.size() + v.size()).sum(),
        }
    }

    fn depth(&self) -> usize {
        1 + match &self.data {
            Data::Scalar { .. } => 0,
            Data::List(items) => items.iter().map(Node::depth).max().unwrap_or(0),
            Data::Map(entries) => entries.iter().map(|(_, v)| v.depth()).max().unwrap_or(0),
        }
    }
}

/// Reads the one document of a file. Syntax errors end the reading; `None` is an empty file.
pub(crate) fn parse(file: &str, text: &str, faults: &mut Vec<Fault>) -> Option<Node> {
    let whole = text.len();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (open, anchors, end) = (Vec::new(), BTreeMap::new(), end(text));
    let bytes = Bytes::new(text, whole - text.len());
    let mut tree = Tree { file, text, bytes, faults, open, anchors, nodes: 0, end };
    let mut root = None;
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let mark = error.marker();
                tree.fault(
                    mark.line(),
                    mark.col() + 1,
                    None,
                    format!("not valid YAML, {}", error.info()),
                );
                return None;
            }
        };
        if let Event::DocumentStart(_) = event {
            documents += 1;
            if documents > 1 {
                tree.fault(span.start.line(), 1, None, "a file holds one document".into());
                return root;
            }
        }
        match tree.take(event, span) {
            Ok(Some(node)) => root = Some(node),
            Ok(None) => {}
            Err(TooMuch) => return None,
        }
    }
    root
}

/// Where a scalar ends; the parser reads on behind its closing quote.
fn scalar_end(text: &str, from: usize, to: usize, style: ScalarStyle) -> usize {
    let within = text.get(from..to).unwrap_or_default();
    let length = match style {
        ScalarStyle::DoubleQuoted => {
            let mut escaped = false;
            let closes = |(at, c): &(usize, char)| {
                let closes = *at > 0 && *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                closes
            };
            within.char_indices().find(closes).map(|(at, _)| at + 1)
        }
        ScalarStyle::SingleQuoted => {
            let mut odd = false;
            let closes = |at: &usize| {
                odd = !odd;
                odd && !within.get(at + 1..).is_some_and(|rest| rest.starts_with('\''))
            };
            let mut quotes = within.match_indices('\'').map(|(at, _)| at).skip(1);
            quotes.find(closes).map(|at| at + 1)
        }
        _ => None,
    };
    from + length.unwrap_or(within.trim_end().len())
}

/// The last line of a text, and the column behind its last character; both from 1.
fn end(text: &str) -> (usize, usize) {
    let breaks = text.matches('\n').count() + text.matches('\r').count();
    let last = text.rsplit(['\n', '\r']).next().unwrap_or_default();
    (breaks - text.matches("\r\n").count() + 1, last.chars().count() + 1)
}

/// The file passed a limit; the fault is noted.
struct TooMuch;

/// Characters, which the parser counts, to bytes.
struct Bytes {
    /// Bytes before the first character: a byte order mark.
    base: usize,
    /// Where each character begins, and the end; `None` where a character is a byte.
    begins: Option<Vec<usize>>,
}

impl Bytes {
    fn new(text: &str, base: usize) -> Bytes {
        let begins = || text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        Bytes { base, begins: (!text.is_ascii()).then(begins) }
    }

    /// Of the text without its byte order mark.
    fn of(&self, index: usize) -> usize {
        let Some(begins) = &self.begins else { return index };
        begins.get(index).or(begins.last()).copied().unwrap_or_default()
    }

    fn span(&self, from: usize, to: usize) -> Range<usize> {
        self.base + from..self.base + to
    }
}

struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value, of a map.
    key: Option<Node>,
    seen: BTreeSet<String>,
}

struct Tree<'a> {
    file: &'a str,
    text: &'a str,
    bytes: Bytes,
    faults: &'a mut Vec<Fault>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    end: (usize, usize),
}

impl Tree<'_> {
    /// The parser may look for more behind the end of the file.
    fn within(&self, line: usize, column: usize) -> (usize, usize) {
        if line > self.end.0 { self.end } else { (line, column) }
    }

    fn fault(&mut self, line: usize, column: usize, text: Option<String>, message: String) {
        let (line, column) = self.within(line, column);
        let text = text.unwrap_or_else(|| {
            shorten(self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim())
        });
        let place = Place { file: self.file.to_owned(), line: line.max(1), column };
        self.faults.push(Fault { place, text, message, hint: None });
    }

    /// Returns the root when it is whole.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>, TooMuch> {
        let (line, column) = self.within(span.start.line(), span.start.col() + 1);
        let from = self.bytes.of(span.start.index());
        let place = self.bytes.span(from, from);
        let start = |data| Node { line, column, span: place, data };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let to = self.bytes.of(span.end.index());
                let to = scalar_end(self.text, from, to.max(from), style);
                let mut value = match style {
                    ScalarStyle::Plain => resolve(&text),
                    _ => Scalar::Text,
                };
                if let Some(tag) = tag {
                    value = Scalar::Text;
                    if !(tag.is_yaml_core_schema() && tag.suffix == "str") {
                        let shown = format!("{}{}", tag.handle, tag.suffix);
                        self.fault(line, column, Some(shown), "tags have no meaning here".into());
                    }
                }
                let mut node = start(Data::Scalar { raw: text.into_owned(), value });
                node.span = self.bytes.span(from, to);
                self.close(node, anchor)
            }
            Event::SequenceStart(anchor, _) => self.enter(start(Data::List(Vec::new())), anchor),
            Event::MappingStart(anchor, _) => self.enter(start(Data::Map(Vec::new())), anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { mut node, anchor, .. }) => {
                    let begin = node.span.start - self.bytes.base;
                    let flow =
                        self.text.get(begin..).is_some_and(|text| text.starts_with(['[', '{']));
                    node.span.end = if flow { self.bytes.base + from + 1 } else { node.last_end() };
                    self.close(node, anchor)
                }
                None => Ok(None),
            },
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    self.fault(line, column, None, "an alias inside its own anchor".into());
                    return Err(TooMuch);
                };
                self.nodes += node.size();
                if self.open.len() + node.depth() > DEPTH_MAX {
                    self.fault(line, column, None, "nested too deeply".into());
                    return Err(TooMuch);
                }
                self.close(node, 0)
            }
            _ => Ok(None),
        }
    }

    fn enter(&mut self, node: Node, anchor: usize) -> Result<Option<Node>, TooMuch> {
        if self.open.len() >= DEPTH_MAX {
            self.fault(node.line, node.column, None, "nested too deeply".into());
            return Err(TooMuch);
        }
        self.open.push(Open { node, anchor, key: None, seen: BTreeSet::new() });
        Ok(None)
    }

    /// A whole node goes into the map or list around it.
    fn close(&mut self, node: Node, anchor: usize) -> Result<Option<Node>, TooMuch> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            self.fault(node.line, node.column, None, format!("more than {NODES_MAX} values"));
            return Err(TooMuch);
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(around) = self.open.last_mut() else { return Ok(Some(node)) };
        match &mut around.node.data {
            Data::List(items) => items.push(node),
            Data::Map(entries) => match around.key.take() {
                None => around.key = Some(node),
                Some(key) => {
                    if around.seen.insert(key.shown_key()) {
                        entries.push((key, node));
                    } else {
                        let message = "the key stands twice in this map".into();
                        self.fault(key.line, key.column, Some(key.shown()), message);
                    }
                }
            },
            Data::Scalar { .. } => {}
        }
        Ok(None)
    }
}

impl Node {
    fn shown_key(&self) -> String {
        self.raw().map_or_else(|| self.shown(), str::to_owned)
    }
}

/// The type of a plain scalar in the core schema of YAML 1.2.
fn resolve(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        _ => {}
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if matches!(digits, ".inf" | ".Inf" | ".INF") {
        return Scalar::Float(sign * f64::INFINITY);
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(rest) = text.strip_prefix(prefix)
            && rest.starts_with(|c: char| c.is_digit(radix))
            && let Ok(value) = i64::from_str_radix(rest, radix)
        {
            return Scalar::Integer(value);
        }
    }
    if !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && let Ok(value) = text.parse()
    {
        return Scalar::Integer(value);
    }
    let numeric = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    match text.parse() {
        Ok(value) if numeric => Scalar::Float(value),
        _ => Scalar::Text,
    }
}
