//! What levels do, compared with each other and with what they can do.

use super::site::{LevelSite, Site};
use super::{Lint, Linter};
use crate::rule::fault::did_you_mean;
use crate::rule::node::Node;
use crate::rule::types::{Action, HoldFor, Rule, Severity};

impl Linter<'_> {
    pub(super) fn effects(&mut self, site: &Site<'_>) {
        let levels = site.levels();
        for (index, level) in levels.iter().enumerate() {
            let before = levels.get(..index).unwrap_or_default();
            self.severity(site, before, level);
            self.strength(site, before, level);
            for (node, action) in level.actions() {
                self.action(site, node, action);
            }
        }
        if let Some(node) = site.node.get("budget")
            && !freezes(site.rule)
        {
            let message = "a budget of a rule that freezes nobody";
            let hint = "it limits the freezes of its own rule; leave it out";
            self.warn(Lint::NoFreeze, (site.file, node), message, hint);
        }
    }

    fn severity(&mut self, site: &Site<'_>, before: &[LevelSite<'_>], level: &LevelSite<'_>) {
        let worst = before.iter().enumerate().max_by_key(|(_, earlier)| earlier.severity);
        let Some((index, worst)) = worst.filter(|(_, worst)| worst.severity > level.severity)
        else {
            return;
        };
        let at = level.node.get("severity").unwrap_or(level.bound());
        let message = format!(
            "this level is {}, level {index} before it {}",
            word(level.severity),
            word(worst.severity)
        );
        let hint = format!(
            "an event that breaches both fires this one only; write `severity: {}` or more",
            word(worst.severity)
        );
        self.warn(Lint::SeverityFalls, (site.file, at), message, hint);
    }

    fn strength(&mut self, site: &Site<'_>, before: &[LevelSite<'_>], level: &LevelSite<'_>) {
        let at = level.node.get("then").unwrap_or(level.bound());
        let hint = "an event that breaches both fires this one only; repeat here what must happen";
        let strongest = before.iter().enumerate().max_by_key(|(_, earlier)| rank(earlier.then).0);
        let (own, does) = rank(level.then);
        if let Some((index, earlier)) = strongest
            && rank(earlier.then).0 > own
        {
            let (_, did) = rank(earlier.then);
            let message = format!("this level {does}, level {index} before it {did}");
            self.warn(Lint::WeakerLevel, (site.file, at), message, hint);
            return;
        }
        let shorter = before.iter().position(|earlier| {
            let pairs = holds(earlier).flat_map(|one| holds(level).map(move |two| (one, two)));
            pairs
                .into_iter()
                .any(|((scope, long), (other, short))| scope == other && outlasts(long, short))
        });
        if let Some(index) = shorter {
            let message = format!("this level freezes for less than level {index} before it");
            let hint = "a further freeze of the same scope replaces the hold that is there";
            self.warn(Lint::WeakerLevel, (site.file, at), message, hint);
        }
    }

    fn action(&mut self, site: &Site<'_>, node: &Node, action: &Action) {
        let body = node.entries().first().map(|(_, body)| body);
        match action {
            Action::Freeze { hold_for: HoldFor::Forever, .. }
                if body.is_none_or(|body| body.get("for").is_none()) =>
            {
                let message = "a freeze without an end";
                let hint = "add `for: 30d`, or `for: forever` if somebody is to lift it by hand";
                self.warn(Lint::EndlessFreeze, (site.file, node), message, hint);
            }
            Action::Alert { to: Some(name) } => {
                let Some(receivers) = self.around.receivers else { return };
                if !receivers.contains(name) {
                    let known: Vec<&str> = receivers.iter().map(String::as_str).collect();
                    let hint = did_you_mean(name, &known)
                        .unwrap_or_else(|| "name one of `notify.receivers`".to_owned());
                    let at = body.and_then(|body| body.get("to")).unwrap_or(node);
                    let message = "the configuration has no such receiver";
                    self.warn(Lint::UnknownReceiver, (site.file, at), message, hint);
                }
            }
            Action::Unfreeze { rule: Some(name) } => {
                let named = self.set.rules.iter().find(|rule| rule.name == *name);
                if named.is_some_and(|rule| !freezes(rule)) {
                    let at = body.and_then(|body| body.get("rule")).unwrap_or(node);
                    let message = "this rule freezes nobody";
                    let hint = "name a rule whose holds are to be lifted";
                    self.warn(Lint::NoFreeze, (site.file, at), message, hint);
                }
            }
            _ => {}
        }
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// How far actions go, and what the furthest does.
fn rank(then: &[Action]) -> (u8, &'static str) {
    let of = |action: &Action| match action {
        Action::Freeze { .. } => (3, "freezes"),
        Action::Deduct { .. } => (3, "deducts"),
        Action::Review => (2, "sends to review"),
        Action::Alert { .. } => (1, "only alerts"),
        Action::Unfreeze { .. } => (1, "only unfreezes"),
    };
    then.iter().map(of).max_by_key(|(rank, _)| *rank).unwrap_or((0, "does nothing"))
}

/// Scope and length of the freezes of a level.
fn holds<'a>(
    level: &LevelSite<'a>,
) -> impl Iterator<Item = (crate::rule::Scope, HoldFor)> + use<'a> {
    level.then.iter().filter_map(|action| match action {
        Action::Freeze { scope, hold_for } => Some((*scope, *hold_for)),
        _ => None,
    })
}

/// Longer in any case.
fn outlasts(one: HoldFor, other: HoldFor) -> bool {
    match (one, other) {
        (HoldFor::Forever, HoldFor::Duration(_) | HoldFor::Window) => true,
        (HoldFor::Duration(one), HoldFor::Duration(other)) => one > other,
        _ => false,
    }
}

fn freezes(rule: &Rule) -> bool {
    use crate::rule::types::Check;
    let freezes =
        |then: &Vec<Action>| then.iter().any(|action| matches!(action, Action::Freeze { .. }));
    match &rule.check {
        Check::Match { then, .. } => freezes(then),
        Check::ZScore(zscore) => freezes(&zscore.then),
        Check::Threshold { levels, .. } | Check::Ratio { levels, .. } => {
            levels.levels.iter().any(|level| freezes(&level.then))
        }
    }
}
