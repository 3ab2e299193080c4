//! One rule of `rules:`: which of the four forms it has, and what each form may hold.

use std::collections::BTreeMap;

use super::action::{Form, Setting};
use super::node::Node;
use super::section::{Fields, Reader};
use super::types::{Check, Field, KeySpec, Kinds, Method, Mode, Rule, Side, Window, ZScore};

const KEYS: [&str; 21] = [
    "name",
    "description",
    "labels",
    "mode",
    "on",
    "where",
    "per",
    "measure",
    "window",
    "above",
    "below",
    "levels",
    "forecast",
    "clear",
    "severity",
    "then",
    "zscore",
    "baseline",
    "close_after",
    "ratio",
    "cooldown",
];
const MODES: [(&str, Mode); 3] =
    [("live", Mode::Live), ("shadow", Mode::Shadow), ("off", Mode::Off)];
/// Bytes of a rule's name: it stands in every decision and is a metric label.
const NAME_MAX: usize = 128;
/// Labels stand in every decision.
const LABELS_MAX: usize = 16;

impl Reader<'_> {
    pub(super) fn rule(&mut self, node: &Node) -> Option<Rule> {
        let keys: Vec<&str> = KEYS.into_iter().chain(["budget"]).collect();
        let fields = self.map(node, "a rule", &keys)?;
        let name = self.name(fields);
        let shown = name.map_or("rule", |(name, _)| name);
        let description = match fields.get("description") {
            Some(at) => self.text(at, "`description`").map(|text| Some(text.to_owned())),
            None => Some(None),
        };
        let labels = self.optional(fields, "labels", Self::labels);
        let mode = fields.get("mode").map_or(Some(Mode::Live), |at| self.word(at, "mode", &MODES));
        let per = match fields.get("per") {
            Some(at) => self.key_spec(at),
            None => Some(KeySpec { fields: vec![Field::User] }),
        };
        let cooldown_ms = self.optional(fields, "cooldown", |r, at| r.duration(at, "`cooldown`"));
        let budget = self.optional(fields, "budget", Self::budget);
        let check = self.check(fields, shown, per.as_ref());
        let (name, at) = name?;
        Some(Rule {
            name: name.to_owned(),
            description: description?,
            labels: labels?.unwrap_or_default(),
            mode: mode?,
            per: per?,
            check: check?,
            cooldown_ms: cooldown_ms?,
            budget: budget?,
            place: self.place(at),
        })
    }

    fn labels(&mut self, node: &Node) -> Option<BTreeMap<String, String>> {
        let mut labels = BTreeMap::new();
        for (key, value) in self.entries(node, "`labels`")? {
            let name = key.shown();
            let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(is_word) {
                let most = format!("at most {NAME_MAX} letters, digits, `_`, `-` and `.`");
                self.fault(key, format!("the name of a label has {most}"));
            }
            let text = self.text(value, "a label")?;
            if text.len() > NAME_MAX || text.chars().any(char::is_control) {
                self.fault(value, format!("a label is one line of at most {NAME_MAX} bytes"));
            }
            labels.insert(name, text.to_owned());
        }
        if labels.len() > LABELS_MAX {
            self.fault(node, format!("a rule has at most {LABELS_MAX} labels"));
        }
        Some(labels)
    }

    #[expect(clippy::option_option, reason = "at fault, left out and given are three cases")]
    pub(super) fn optional<T>(
        &mut self,
        fields: Fields<'_>,
        key: &str,
        read: impl Fn(&mut Self, &Node) -> Option<T>,
    ) -> Option<Option<T>> {
        fields.get(key).map_or(Some(None), |node| read(self, node).map(Some))
    }

    fn name<'n>(&mut self, fields: Fields<'n>) -> Option<(&'n str, &'n Node)> {
        let Some(node) = fields.get("name") else {
            self.missing(
                fields.node,
                &fields.node.shown(),
                "the rule has no name",
                "add `name: …`",
            );
            return None;
        };
        let name = self.text(node, "`name`")?;
        if name.starts_with("tidegate.") {
            self.fault(node, "names that start with `tidegate.` are tidegate's own");
        }
        if name.len() > NAME_MAX || name.chars().any(char::is_control) {
            self.fault(node, format!("a name is one line of at most {NAME_MAX} bytes"));
        }
        Some((name, node))
    }

    fn check(&mut self, fields: Fields<'_>, name: &str, per: Option<&KeySpec>) -> Option<Check> {
        if let Some(node) = fields.get("ratio") {
            return self.ratio(fields, node, name, per);
        }
        if let Some(node) = fields.get("zscore") {
            return self.zscore(fields, node, name, per);
        }
        self.only_with(fields, "`zscore`", &["baseline", "close_after"]);
        let counted = ["measure", "window", "above", "below", "levels", "forecast", "clear"];
        if counted.iter().any(|key| fields.has(key)) {
            return self.threshold(fields, name, per);
        }
        let on = fields.get("on").map_or(Some(Kinds::ALL), |node| self.kinds(node));
        let filter = self.filter_of(fields);
        let outcome = self.outcome(fields, Setting { per, ..Setting::default() });
        let (severity, then) = outcome?;
        Some(Check::Match { on: on?, filter: filter?, severity, then })
    }

    /// Notes keys that mean nothing in a rule without `section`.
    fn only_with(&mut self, fields: Fields<'_>, section: &str, keys: &[&str]) {
        for (key, _) in keys.iter().filter_map(|key| fields.entry(key)) {
            self.fault(key, format!("only rules with {section} have this key"));
        }
    }

    fn not_with(&mut self, fields: Fields<'_>, section: &str, keys: &[&str], hint: &str) {
        for (key, _) in keys.iter().filter_map(|key| fields.entry(key)) {
            let message = format!("does not go with {section}");
            self.fault_hint(key, message, Some(hint.to_owned()));
        }
    }

    fn window_of(&mut self, fields: Fields<'_>, name: &str) -> Option<Window> {
        if let Some(node) = fields.get("window") {
            return self.window(node);
        }
        let hint = "such as `window: day` or `window: 10m`";
        self.missing(fields.node, name, "`window` is missing", hint);
        None
    }

    fn threshold(
        &mut self,
        fields: Fields<'_>,
        name: &str,
        per: Option<&KeySpec>,
    ) -> Option<Check> {
        let input = self.input(fields, name);
        let window = self.window_of(fields, name);
        let measure = input.as_ref().map(|input| &input.measure);
        let form = Form::Threshold(window, None);
        let setting = Setting { per, measure, form, ..Setting::default() };
        let levels = self.levels(fields, name, setting);
        if let (Some(levels), Some(per)) = (&levels, per)
            && levels.side == Side::Below
            && !per.fields.iter().all(|field| matches!(field, Field::Source | Field::Attr(_)))
        {
            let at = fields.get("per").or(fields.get("below")).or(fields.get("levels"));
            let message = "`below` needs `per: global`, `source` or `attrs.NAME`";
            let hint = Some("users, devices and addresses fall silent all the time".into());
            self.fault_hint(at.unwrap_or(fields.node), message, hint);
        }
        Some(Check::Threshold { input: input?, window: window?, levels: levels? })
    }

    fn ratio(
        &mut self,
        fields: Fields<'_>,
        node: &Node,
        name: &str,
        per: Option<&KeySpec>,
    ) -> Option<Check> {
        let hint = "it stands in `of` and `to`";
        self.not_with(fields, "`ratio`", &["on", "where", "measure"], hint);
        let hint = "a rule has one of the two";
        self.not_with(fields, "`ratio`", &["zscore", "baseline", "close_after"], hint);
        let sides = self.map(node, "`ratio`", &["of", "to", "min_to"]);
        let (mut of, mut to, mut min_to) = (None, None, None);
        if let Some(sides) = sides {
            of = self.side(sides, "of");
            to = self.side(sides, "to");
            min_to = sides.get("min_to").map_or(Some(1.0), |at| self.decimal(at, "`min_to`"));
            if let (Some(value), Some(at)) = (min_to, sides.get("min_to"))
                && value <= 0.0
            {
                self.fault(at, "`min_to` is more than 0");
            }
        }
        let window = self.window_of(fields, name);
        let setting = Setting { per, form: Form::Ratio(window, None), ..Setting::default() };
        let levels = self.levels(fields, name, setting);
        Some(Check::Ratio { of: of?, to: to?, min_to: min_to?, window: window?, levels: levels? })
    }

    fn side(&mut self, sides: Fields<'_>, key: &str) -> Option<super::types::Input> {
        let Some(node) = sides.get(key) else {
            let hint = format!("such as `{key}: {{ on: issue, measure: sum(points) }}`");
            self.missing(sides.node, "ratio", format!("`ratio` needs `{key}`"), &hint);
            return None;
        };
        let fields = self.map(node, &format!("`{key}`"), &["on", "where", "measure"])?;
        self.input(fields, key)
    }

    fn zscore(
        &mut self,
        fields: Fields<'_>,
        node: &Node,
        name: &str,
        per: Option<&KeySpec>,
    ) -> Option<Check> {
        let hint = "bounds in standard deviations stand in `zscore`";
        let bounds = ["above", "below", "levels", "forecast", "clear"];
        self.not_with(fields, "`zscore`", &bounds, hint);
        let input = self.input(fields, name);
        let window = self.window_of(fields, name);
        let bounds = self.zscore_bounds(node);
        let ewma = per.is_some_and(KeySpec::has_user);
        let default = if ewma { Method::Ewma } else { Method::Mean };
        let baseline = self.baseline(fields, default, window, per);
        let close_after =
            self.optional(fields, "close_after", |r, at| r.duration(at, "`close_after`"));
        let below = bounds.and_then(|(_, below)| below).map(|_| Side::Below);
        let measure = input.as_ref().map(|input| &input.measure);
        let form = Form::ZScore(window, below);
        let setting = Setting { per, measure, form, ..Setting::default() };
        let outcome = self.outcome(fields, setting);
        let ((above, below), (severity, then)) = (bounds?, outcome?);
        Some(Check::ZScore(ZScore {
            input: input?,
            window: window?,
            above,
            below,
            baseline: baseline?,
            close_after_ms: close_after?,
            severity,
            then,
        }))
    }

    fn zscore_bounds(&mut self, node: &Node) -> Option<(Option<f64>, Option<f64>)> {
        let fields = self.map(node, "`zscore`", &["above", "below"])?;
        if !fields.has("above") && !fields.has("below") {
            let hint = "such as `zscore: { above: 4 }`";
            self.missing(node, "zscore", "`zscore` has no bound", hint);
            return None;
        }
        let above = self.optional(fields, "above", |r, at| {
            let value = r.decimal(at, "`above`")?;
            if value <= 0.0 {
                r.fault(at, "`above` of a z-score is more than 0");
            }
            Some(value)
        });
        let below = self.optional(fields, "below", |r, at| {
            let value = r.decimal(at, "`below`")?;
            if value >= 0.0 {
                let hint = (value > 0.0).then(|| format!("did you mean `-{}`?", at.shown()));
                r.fault_hint(at, "`below` of a z-score is less than 0", hint);
            }
            Some(value)
        });
        Some((above?, below?))
    }
}
