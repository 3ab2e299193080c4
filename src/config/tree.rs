//! YAML text to a tree in which every value knows where it was given and what may be shown of it.
//!
//! Scalars stay text: what type a value has is a matter of the key it is given to, so that the
//! token `0123` does not become the number 123.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::fault::Fault;

/// Values of one file after the expansion of aliases.
const NODES_MAX: usize = 20_000;
/// Nesting; also bounds every recursion over the tree.
const DEPTH_MAX: usize = 32;

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    File { path: String, line: usize },
    Variable(String),
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "{path}:{line}"),
            Origin::Variable(name) => f.write_str(name),
            Origin::Flag => f.write_str("command line"),
        }
    }
}

/// No `Debug`: values may be secrets.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) data: Data,
}

#[derive(Clone)]
pub(super) enum Data {
    Scalar(Scalar),
    List(Vec<Node>),
    /// In file order; keys are unique.
    Map(Vec<(String, Node)>),
}

#[derive(Clone)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Written without quotes.
    pub(super) plain: bool,
    /// What may be shown instead of the text; `None` until references are resolved, and where
    /// the text holds none.
    pub(super) shown: Option<String>,
}

impl Node {
    pub(super) fn scalar(origin: Origin, text: String, plain: bool) -> Node {
        Node { origin, data: Data::Scalar(Scalar { text, plain, shown: None }) }
    }

    pub(super) fn map(origin: Origin) -> Node {
        Node { origin, data: Data::Map(Vec::new()) }
    }

    /// Nothing given: an empty value or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.data, Data::Scalar(Scalar { text, plain: true, .. })
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The node at `path`, through maps.
    pub(super) fn below(&self, path: &[&str]) -> Option<&Node> {
        let Some((name, rest)) = path.split_first() else { return Some(self) };
        let Data::Map(entries) = &self.data else { return None };
        entries.iter().find(|(known, _)| known == name).and_then(|(_, node)| node.below(rest))
    }

    fn size(&self) -> usize {
        1 + match &self.data {
            Data::Scalar(_) => 0,
            Data::List(items) => items.iter().map(Node::size).sum(),
            Data::Map(entries) => entries.iter().map(|(_, node)| node.size()).sum(),
        }
    }

    fn depth(&self) -> usize {
        1 + match &self.data {
            Data::Scalar(_) => 0,
            Data::List(items) => items.iter().map(Node::depth).max().unwrap_or(0),
            Data::Map(entries) => entries.iter().map(|(_, node)| node.depth()).max().unwrap_or(0),
        }
    }
}

/// Reads the one document of `text`; an empty one is `None`. `origin` gives the line's place.
pub(super) fn parse(
    text: &str,
    origin: &dyn Fn(usize) -> Origin,
) -> Result<Option<Node>, Vec<Fault>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut tree =
        Tree { origin, open: Vec::new(), anchors: BTreeMap::new(), nodes: 0, faults: Vec::new() };
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((Event::DocumentStart(_), span)) if root.is_some() => {
                Err(tree.fault(span.start.line(), "a configuration is one document"))
            }
            Ok((event, span)) => tree.take(event, span),
            Err(error) => {
                let message = format!("not valid YAML: {}", error.info());
                Err(tree.fault(error.marker().line(), &message))
            }
        };
        match step {
            Ok(Some(node)) => root = Some(node),
            Ok(None) => {}
            Err(fault) => {
                tree.faults.push(fault);
                break;
            }
        }
    }
    if tree.faults.is_empty() { Ok(root) } else { Err(tree.faults) }
}

struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value, of a map.
    key: Option<String>,
    seen: BTreeSet<String>,
}

struct Tree<'a> {
    origin: &'a dyn Fn(usize) -> Origin,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    faults: Vec<Fault>,
}

impl Tree<'_> {
    fn fault(&self, line: usize, message: &str) -> Fault {
        Fault::new(&(self.origin)(line.max(1)), "", message)
    }

    /// Returns the root when it is whole.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>, Fault> {
        let line = span.start.line();
        let start = |data| Node { origin: (self.origin)(line), data };
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = matches!(style, ScalarStyle::Plain);
                let node = Node::scalar((self.origin)(line), text.into_owned(), plain);
                self.close(node, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                let node = start(Data::List(Vec::new()));
                self.enter(node, anchor, line)
            }
            Event::MappingStart(anchor, _) => {
                let node = start(Data::Map(Vec::new()));
                self.enter(node, anchor, line)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.close(open.node, open.anchor),
                None => Ok(None),
            },
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.fault(line, "an alias inside its own anchor"));
                };
                if self.open.len() + node.depth() > DEPTH_MAX {
                    return Err(self.fault(line, "nested too deeply"));
                }
                self.nodes += node.size();
                self.close(node, 0)
            }
            _ => Ok(None),
        }
    }

    fn enter(&mut self, node: Node, anchor: usize, line: usize) -> Result<Option<Node>, Fault> {
        if self.open.len() >= DEPTH_MAX {
            return Err(self.fault(line, "nested too deeply"));
        }
        self.open.push(Open { node, anchor, key: None, seen: BTreeSet::new() });
        Ok(None)
    }

    /// A whole node goes into the map or list around it.
    fn close(&mut self, node: Node, anchor: usize) -> Result<Option<Node>, Fault> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            let message = format!("more than {NODES_MAX} values");
            return Err(Fault::new(&node.origin, "", &message));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(around) = self.open.last_mut() else { return Ok(Some(node)) };
        match &mut around.node.data {
            Data::List(items) => items.push(node),
            Data::Map(entries) => match around.key.take() {
                None => match node.data {
                    Data::Scalar(scalar) => around.key = Some(scalar.text),
                    _ => return Err(Fault::new(&node.origin, "", "a key is text")),
                },
                Some(key) => {
                    if around.seen.insert(key.clone()) {
                        entries.push((key, node));
                    } else {
                        let message = "stands twice in its section";
                        self.faults.push(Fault::new(&node.origin, &key, message));
                    }
                }
            },
            Data::Scalar(_) => {}
        }
        Ok(None)
    }
}
