//! `then`: what a firing does (R16), and `budget` (R15).

use std::fmt;

use super::duration::write_duration;
use super::fault::did_you_mean;
use super::node::{Data, Node};
use super::section::{Fields, Reader};
use super::types::{
    Action, Budget, Deduct, Field, HoldFor, KeySpec, Measure, Scope, Severity, Side, Window,
};

/// As a sentence has it: `freeze issue for 7d`.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Alert { to: None } => f.write_str("alert"),
            Action::Alert { to: Some(to) } => write!(f, "alert {to}"),
            Action::Review => f.write_str("review"),
            Action::Freeze { scope, hold_for } => {
                write!(f, "freeze {} ", scope.as_str())?;
                match hold_for {
                    HoldFor::Forever => f.write_str("forever"),
                    HoldFor::Window => f.write_str("until the window ends"),
                    HoldFor::Duration(ms) => {
                        write!(f, "for {}", write_duration(ms.unsigned_abs().into()))
                    }
                }
            }
            Action::Unfreeze { rule: None } => f.write_str("unfreeze"),
            Action::Unfreeze { rule: Some(rule) } => write!(f, "unfreeze what {rule} froze"),
            Action::Deduct { points: Deduct::All } => f.write_str("deduct all"),
            Action::Deduct { points: Deduct::Excess } => f.write_str("deduct the excess"),
            Action::Deduct { points: Deduct::Points(points) } => write!(f, "deduct {points}"),
        }
    }
}

const ACTIONS: [&str; 5] = ["alert", "review", "freeze", "unfreeze", "deduct"];
const SCOPES: [(&str, Scope); 4] = [
    ("account", Scope::Account),
    ("issue", Scope::Issue),
    ("redeem", Scope::Redeem),
    ("activity", Scope::Activity),
];
const SEVERITIES: [(&str, Severity); 3] =
    [("info", Severity::Info), ("warning", Severity::Warning), ("critical", Severity::Critical)];

/// What the rule around an action allows it. A part that is itself at fault is `None` and
/// forbids nothing, so that one mistake is told once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Setting<'a> {
    pub(super) per: Option<&'a KeySpec>,
    pub(super) measure: Option<&'a Measure>,
    pub(super) form: Form,
    /// The level looks ahead.
    pub(super) forecasts: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) enum Form {
    #[default]
    Match,
    Threshold(Option<Window>, Option<Side>),
    Ratio(Option<Window>, Option<Side>),
    ZScore(Option<Window>, Option<Side>),
}

impl Reader<'_> {
    /// `severity` and `then` of a rule or level, with their defaults.
    pub(super) fn outcome(
        &mut self,
        fields: Fields<'_>,
        setting: Setting<'_>,
    ) -> Option<(Severity, Vec<Action>)> {
        let severity = fields
            .get("severity")
            .map_or(Some(Severity::Warning), |node| self.word(node, "severity", &SEVERITIES));
        let then = match fields.get("then") {
            Some(node) => self.actions(node, setting),
            None => Some(vec![Action::Alert { to: None }]),
        };
        Some((severity?, then?))
    }

    fn actions(&mut self, node: &Node, setting: Setting<'_>) -> Option<Vec<Action>> {
        let items = self.items(node, "`then`")?;
        let actions: Vec<_> = items.iter().map(|item| self.action(item, setting)).collect();
        actions.into_iter().collect()
    }

    fn action(&mut self, node: &Node, setting: Setting<'_>) -> Option<Action> {
        let (name, body) = match &node.data {
            Data::Map(entries) => {
                let [(key, value)] = entries.as_slice() else {
                    let hint = Some("each action is an item of its own".into());
                    self.fault_hint(node, "an action is a map of one key", hint);
                    return None;
                };
                (key, Some(value))
            }
            _ => (node, None),
        };
        let what = name.raw().unwrap_or_default();
        if setting.forecasts && matches!(what, "freeze" | "unfreeze" | "deduct") {
            let hint = "it stands in a level of the same bound without `forecast`";
            self.fault_hint(name, "a forecast warns and does no more", Some(hint.into()));
        }
        match what {
            "alert" => {
                let Some(body) = body else { return Some(Action::Alert { to: None }) };
                let to = self.map(body, "`alert`", &["to"])?.get("to");
                let to = to.map(|to| self.text(to, "`to`").map(str::to_owned));
                Some(Action::Alert { to: to.map_or(Some(None), |to| to.map(Some))? })
            }
            "review" => {
                if let Some(body) = body {
                    self.fault_hint(body, "`review` takes nothing", Some("write `review`".into()));
                    return None;
                }
                Some(Action::Review)
            }
            "freeze" => {
                let account = Action::Freeze { scope: Scope::Account, hold_for: HoldFor::Forever };
                body.map_or(Some(account), |body| self.freeze(body, setting))
            }
            "unfreeze" => body.map_or(Some(Action::Unfreeze { rule: None }), |b| self.unfreeze(b)),
            "deduct" => self.deduct(name, body, setting),
            other => {
                self.fault_hint(name, "unknown action", did_you_mean(other, &ACTIONS));
                None
            }
        }
    }

    fn freeze(&mut self, body: &Node, setting: Setting<'_>) -> Option<Action> {
        let fields = self.map(body, "`freeze`", &["scope", "for"])?;
        let scope = fields
            .get("scope")
            .map_or(Some(Scope::Account), |node| self.word(node, "scope", &SCOPES));
        let hold_for = match fields.get("for") {
            None => Some(HoldFor::Forever),
            Some(node) => match node.raw().unwrap_or_default() {
                "forever" => Some(HoldFor::Forever),
                "window" => {
                    if let Some(message) = setting.form.no_window() {
                        self.fault_hint(
                            node,
                            message,
                            Some("name a duration such as `24h`".into()),
                        );
                    }
                    Some(HoldFor::Window)
                }
                raw if raw.starts_with(|c: char| c.is_ascii_digit()) => {
                    self.duration(node, "`for`").map(HoldFor::Duration)
                }
                raw => {
                    let hint = super::fault::nearest(raw, ["forever", "window"]).map_or_else(
                        || "`forever`, `window` or a duration such as `24h`".into(),
                        |name| format!("did you mean `{name}`?"),
                    );
                    self.fault_hint(node, "unknown `for`", Some(hint));
                    None
                }
            },
        };
        Some(Action::Freeze { scope: scope?, hold_for: hold_for? })
    }

    fn unfreeze(&mut self, body: &Node) -> Option<Action> {
        let Some(node) = self.map(body, "`unfreeze`", &["rule"])?.get("rule") else {
            return Some(Action::Unfreeze { rule: None });
        };
        let name = self.text(node, "`rule`")?;
        if !self.rules.iter().any(|rule| rule == name) {
            let names: Vec<&str> = self.rules.iter().map(String::as_str).collect();
            self.fault_hint(node, "no rule of this name", did_you_mean(name, &names));
        }
        Some(Action::Unfreeze { rule: Some(name.to_owned()) })
    }

    fn deduct(&mut self, name: &Node, body: Option<&Node>, setting: Setting<'_>) -> Option<Action> {
        if setting.per.is_some_and(|per| per.fields != [Field::User]) {
            self.fault(name, "`deduct` needs `per: user`");
        }
        let hint = "such as `deduct: { points: all }`";
        let Some(body) = body else {
            self.missing(name, "deduct", "`deduct` needs `points`", hint);
            return None;
        };
        let Some(node) = self.map(body, "`deduct`", &["points"])?.get("points") else {
            self.missing(name, "deduct", "`deduct` needs `points`", hint);
            return None;
        };
        let points = match node.raw().unwrap_or_default() {
            "all" => Deduct::All,
            "excess" => {
                let sum = setting.measure.is_none_or(|measure| *measure == Measure::SumPoints);
                if !sum || !matches!(setting.form, Form::Threshold(..)) {
                    self.fault(node, "`excess` is for rules on `sum(points)`");
                }
                Deduct::Excess
            }
            raw if raw.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                self.fault_hint(node, "unknown `points`", did_you_mean(raw, &["all", "excess"]));
                return None;
            }
            _ => Deduct::Points(self.integer(node, "`points`", 1, 1_000_000_000_000)?),
        };
        Some(Action::Deduct { points })
    }

    pub(super) fn budget(&mut self, node: &Node) -> Option<Budget> {
        let fields = self.map(node, "`budget`", &["freezes", "per"])?;
        let hint = "such as `budget: { freezes: 100, per: 1h }`";
        let freezes = self
            .needed(fields, "budget", "freezes", hint)
            .and_then(|at| self.integer(at, "`freezes`", 0, 1_000_000));
        let per_ms =
            self.needed(fields, "budget", "per", hint).and_then(|at| self.duration(at, "`per`"));
        Some(Budget { freezes: u32::try_from(freezes?).ok()?, per_ms: per_ms? })
    }
}

impl Form {
    /// Why `for: window` has no end here, if it has none (R16).
    fn no_window(self) -> Option<&'static str> {
        let (Form::Threshold(window, side)
        | Form::Ratio(window, side)
        | Form::ZScore(window, side)) = self
        else {
            return Some("`for: window` needs a calendar window, a match rule has none");
        };
        if matches!(window, Some(Window::Duration(_))) {
            return Some("`for: window` needs a calendar window");
        }
        (side == Some(Side::Below)).then_some("`for: window` does not go with `below`")
    }
}
