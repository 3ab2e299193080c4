//! The tree of routes as it is used: every route with all that it has from those above it. Pure.

use super::routes::{Quiet, QuietSettings, RouteSettings};
use super::settings::NotifySettings;
use crate::engine::{Decision, Matcher, Subject};

const GROUP_WAIT_MS: i64 = 10_000;
const GROUP_INTERVAL_MS: i64 = 60_000;
const REPEAT_INTERVAL_MS: i64 = 4 * 3_600_000;
/// A day of them by default; then somebody knows, or does not want to.
const REMINDERS: u32 = 6;

/// A route whole.
#[derive(Debug, Clone)]
pub(super) struct Route {
    /// `default`, `route 1`, `route 1.2`.
    pub(super) name: String,
    pub(super) to: Vec<String>,
    pub(super) group_by: Vec<String>,
    pub(super) group_wait: i64,
    pub(super) group_interval: i64,
    pub(super) repeat_interval: i64,
    pub(super) reminders: u32,
    pub(super) steps: Vec<Step>,
    pub(super) quiet: Option<Quiet>,
    pub(super) tells_resolved: bool,
}

/// Who is told next, and so long after the first notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) after: i64,
    pub(super) to: Vec<String>,
}

#[derive(Debug)]
struct Node {
    matches: Matcher,
    goes_on: bool,
    route: usize,
    below: Vec<Node>,
}

#[derive(Debug)]
pub(super) struct Tree {
    routes: Vec<Route>,
    top: Vec<Node>,
}

impl Tree {
    pub(super) fn new(settings: &NotifySettings) -> Tree {
        let default = Route {
            name: "default".to_owned(),
            to: settings.default.clone(),
            group_by: vec!["rule".to_owned()],
            group_wait: GROUP_WAIT_MS,
            group_interval: GROUP_INTERVAL_MS,
            repeat_interval: REPEAT_INTERVAL_MS,
            reminders: REMINDERS,
            steps: Vec::new(),
            quiet: None,
            tells_resolved: true,
        };
        let mut tree = Tree { routes: vec![default.clone()], top: Vec::new() };
        let top = tree.nodes(&settings.routes, (&default, "route "), &settings.default);
        tree.top = top;
        tree
    }

    fn nodes(
        &mut self,
        routes: &[RouteSettings],
        (parent, above): (&Route, &str),
        default: &[String],
    ) -> Vec<Node> {
        let mut nodes = Vec::new();
        for (index, settings) in routes.iter().enumerate() {
            let mut route = parent.clone();
            route.name = format!("{above}{}", index + 1);
            route.take(settings, default);
            self.routes.push(route.clone());
            let place = self.routes.len() - 1;
            let name = format!("{}.", route.name);
            let below = self.nodes(&settings.routes, (&route, &name), default);
            let RouteSettings { matches, goes_on, .. } = settings;
            nodes.push(Node { matches: matches.clone(), goes_on: *goes_on, route: place, below });
        }
        nodes
    }

    pub(super) fn route(&self, at: usize) -> Option<&Route> {
        self.routes.get(at)
    }

    /// Every route, the default one first.
    pub(super) fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The routes that a decision takes, in order; the default one where no other matches.
    pub(super) fn taken(&self, subject: &Subject<'_>) -> Vec<usize> {
        let mut taken = Vec::new();
        walk(&self.top, subject, &mut taken);
        if taken.is_empty() {
            taken.push(0);
        }
        taken
    }
}

/// Which groups a decision is told in, by the settings alone.
#[derive(Debug)]
pub struct Groups(Tree);

impl Groups {
    pub fn new(settings: &NotifySettings) -> Groups {
        Groups(Tree::new(settings))
    }

    /// What they are called outside.
    pub fn of(&self, decision: &Decision) -> Vec<String> {
        self.of_subject(&Subject::of(decision)).into_iter().map(|told| told.group).collect()
    }

    /// Each with its route and who is told, in order.
    pub fn of_subject(&self, subject: &Subject<'_>) -> Vec<Told> {
        let routes = self.0.taken(subject).into_iter().filter_map(|at| self.0.route(at));
        let told = |route: &Route| Told {
            route: route.name.clone(),
            group: route.group_id(&route.group(subject)),
            to: route.to.clone(),
            group_by: route.group_by.clone(),
            group_wait: route.group_wait,
            group_interval: route.group_interval,
            repeat_interval: route.repeat_interval,
            reminders: route.reminders,
            steps: route.steps.iter().map(|step| (step.after, step.to.clone())).collect(),
        };
        routes.map(told).collect()
    }
}

/// How a decision is told by one route. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Told {
    pub route: String,
    pub group: String,
    pub to: Vec<String>,
    pub group_by: Vec<String>,
    pub group_wait: i64,
    pub group_interval: i64,
    pub repeat_interval: i64,
    pub reminders: u32,
    /// After how long, and whom.
    pub steps: Vec<(i64, Vec<String>)>,
}

fn walk(nodes: &[Node], subject: &Subject<'_>, taken: &mut Vec<usize>) {
    for node in nodes.iter().filter(|node| node.matches.matches(subject)) {
        let before = taken.len();
        walk(&node.below, subject, taken);
        if taken.len() == before {
            taken.push(node.route);
        }
        if !node.goes_on {
            break;
        }
    }
}

impl Route {
    /// What a child says goes before what it has from its parent.
    fn take(&mut self, settings: &RouteSettings, default: &[String]) {
        if !settings.to.is_empty() {
            self.to.clone_from(&settings.to);
        }
        if let Some(group_by) = &settings.group_by {
            self.group_by.clone_from(group_by);
        }
        let times = [
            (&mut self.group_wait, settings.group_wait),
            (&mut self.group_interval, settings.group_interval),
            (&mut self.repeat_interval, settings.repeat_interval),
        ];
        for (own, given) in times {
            *own = given.unwrap_or(*own);
        }
        self.reminders = settings.reminders.unwrap_or(self.reminders);
        if let Some(after) = settings.escalate_after {
            self.steps = vec![Step { after, to: default.to_vec() }];
        }
        if !settings.escalate.is_empty() {
            let steps = settings.escalate.iter();
            let step = |(after, to): (i64, &Vec<String>)| Step { after, to: to.clone() };
            self.steps = steps.filter_map(|one| Some(step((one.after?, &one.to)))).collect();
        }
        if let Some(quiet) = &settings.quiet {
            // What cannot be used was told as a fault.
            self.quiet = QuietSettings::checked(quiet).ok();
        }
        self.tells_resolved = settings.resolved.unwrap_or(self.tells_resolved);
    }

    /// What parts the groups of this route: the values that it groups by.
    pub(super) fn group(&self, subject: &Subject<'_>) -> String {
        let values: Vec<String> = self.group_by.iter().map(|name| subject.value(name)).collect();
        values.join("\u{1f}")
    }

    /// What the groups of a value are called outside, the same in every instance and after every
    /// start: 16 hex digits.
    pub(super) fn group_id(&self, group: &str) -> String {
        let text = format!("{}\u{1f}{}\u{1f}{group}", self.name, self.group_by.join(","));
        crate::engine::act::hex(&text).chars().take(16).collect()
    }

    /// Until when a notice for people is held, if it is.
    pub(super) fn quiet_until(&self, subject: &Subject<'_>, at_ms: i64) -> Option<i64> {
        self.quiet.as_ref().and_then(|quiet: &Quiet| quiet.ends_at(subject.severity, at_ms))
    }
}
