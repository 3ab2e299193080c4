//! Where the parts of a checked rule stand in its file.

use crate::rule::fault::shorten;
use crate::rule::node::{Data, Node};
use crate::rule::types::{Action, Check, Filter, Kinds, Rule, RuleSet, Severity};

/// A rule, and the node that it was read from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) file: &'a str,
    pub(super) rule: &'a Rule,
    pub(super) node: &'a Node,
}

/// What one level does; a rule without `levels` is one level.
#[derive(Debug, Clone, Copy)]
pub(super) struct LevelSite<'a> {
    /// The map with `then`: the level, or the rule itself.
    pub(super) node: &'a Node,
    pub(super) severity: Severity,
    pub(super) then: &'a [Action],
}

/// What a rule, or one side of its ratio, counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct InputSite<'a> {
    /// The map with `on`, `where` and `measure`.
    pub(super) node: &'a Node,
    pub(super) on: Kinds,
    pub(super) filter: &'a Filter,
}

/// Where a condition stands, and how it is written.
#[derive(Debug, Clone)]
pub(super) struct Spot<'a> {
    pub(super) at: &'a Node,
    pub(super) text: String,
    /// What the condition's key holds.
    pub(super) value: &'a Node,
}

/// The rules of a set with their nodes, in order. `files` are those that the set was loaded from.
pub(super) fn sites<'a>(files: &'a [(&'a str, Node)], set: &'a RuleSet) -> Vec<Site<'a>> {
    let site = |rule: &'a Rule| {
        let (file, root) = files.iter().find(|(file, _)| *file == rule.place.file)?;
        let named = |node: &&Node| node.get("name").and_then(Node::raw) == Some(&rule.name);
        let node = root.get("rules")?.items().iter().find(named)?;
        Some(Site { file, rule, node })
    };
    set.rules.iter().filter_map(site).collect()
}

impl<'a> Site<'a> {
    /// In order of level.
    pub(super) fn levels(&self) -> Vec<LevelSite<'a>> {
        let one = |severity: &Severity, then: &'a Vec<Action>| {
            vec![LevelSite { node: self.node, severity: *severity, then }]
        };
        let levels = match &self.rule.check {
            Check::Match { severity, then, .. } => return one(severity, then),
            Check::ZScore(zscore) => return one(&zscore.severity, &zscore.then),
            Check::Threshold { levels, .. } | Check::Ratio { levels, .. } => &levels.levels,
        };
        let Some(written) = self.node.get("levels") else {
            return levels.iter().flat_map(|level| one(&level.severity, &level.then)).collect();
        };
        let pairs = written.items().iter().zip(levels);
        let level = pairs.map(|(node, level)| LevelSite {
            node,
            severity: level.severity,
            then: &level.then,
        });
        level.collect()
    }

    /// One, or the two sides of a ratio.
    pub(super) fn inputs(&self) -> Vec<InputSite<'a>> {
        let of = |node: &'a Node, input: &'a crate::rule::Input| InputSite {
            node,
            on: input.on,
            filter: &input.filter,
        };
        match &self.rule.check {
            Check::Match { on, filter, .. } => {
                vec![InputSite { node: self.node, on: *on, filter }]
            }
            Check::Threshold { input, .. } => vec![of(self.node, input)],
            Check::ZScore(zscore) => vec![of(self.node, &zscore.input)],
            Check::Ratio { of: one, to: other, .. } => {
                let side = |key| self.node.get("ratio").and_then(|ratio| ratio.get(key));
                let sides = [(side("of"), one), (side("to"), other)];
                sides.into_iter().filter_map(|(node, input)| Some(of(node?, input))).collect()
            }
        }
    }

    /// Where the name stands.
    pub(super) fn name(&self) -> &'a Node {
        self.node.get("name").unwrap_or(self.node)
    }

    /// The value of a key of the rule, or its name where it is left out.
    pub(super) fn at(&self, key: &str) -> &'a Node {
        self.node.get(key).unwrap_or(self.name())
    }
}

impl<'a> LevelSite<'a> {
    /// Actions with their nodes; none where `then` is left out.
    pub(super) fn actions(&self) -> impl Iterator<Item = (&'a Node, &'a Action)> + use<'a> {
        let nodes = self.node.get("then").map_or(&[][..], Node::items);
        nodes.iter().zip(self.then)
    }

    /// The bound, or whatever names the level.
    pub(super) fn bound(&self) -> &'a Node {
        let keys = ["above", "below", "name"];
        keys.into_iter().find_map(|key| self.node.get(key)).unwrap_or(self.node)
    }
}

impl InputSite<'_> {
    /// Of the conditions of the filter, in their order.
    pub(super) fn spots(&self) -> Vec<Spot<'_>> {
        self.node.get("where").map(spots).unwrap_or_default()
    }
}

/// Of the conditions that a map of `where` was read to, in their order.
pub(super) fn spots(filter: &Node) -> Vec<Spot<'_>> {
    let mut all = Vec::new();
    for (key, value) in filter.entries() {
        let tests = value.entries();
        match key.raw().unwrap_or_default() {
            "any" | "not" | "new" => all.push(Spot { at: key, text: key.shown(), value }),
            _ if tests.is_empty() => all.push(Spot { at: value, text: value.shown(), value }),
            _ => all.extend(tests.iter().map(|(name, bound)| {
                let text = shorten(&format!("{}: {}", name.shown(), bound.shown()));
                Spot { at: name, text, value: bound }
            })),
        }
    }
    all
}

/// The filters of `any` with the nodes that they stand in.
pub(super) fn branches<'n, 'f>(
    any: &'n Node,
    filters: &'f [Filter],
) -> Vec<(&'n Node, &'f Filter)> {
    match &any.data {
        Data::List(items) => items.iter().zip(filters).collect(),
        _ => Vec::new(),
    }
}
