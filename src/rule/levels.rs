//! `above`, `below`, `levels` and `clear`: the bounds of a rule (R1, R9).

use super::action::{Form, Setting};
use super::node::Node;
use super::section::{Fields, Reader, less};
use super::types::{Field, Level, Levels, Measure, Number, Side, Window};

/// Levels of one rule.
const LEVELS_MAX: usize = 32;
const LEVEL_KEYS: [&str; 5] = ["above", "below", "forecast", "severity", "then"];

impl Reader<'_> {
    /// The bounds of a threshold or ratio, direct or as `levels`.
    pub(super) fn levels(
        &mut self,
        fields: Fields<'_>,
        name: &str,
        mut setting: Setting<'_>,
    ) -> Option<Levels> {
        let given: Vec<&(Node, Node)> =
            ["above", "below", "levels"].iter().filter_map(|key| fields.entry(key)).collect();
        let Some((first, rest)) = given.split_first() else {
            let hint = "such as `above: 100`, or `levels:` with one bound each";
            self.missing(fields.node, name, "the rule has no bound", hint);
            return None;
        };
        for (key, _) in rest {
            let hint = Some("several bounds stand under `levels`".into());
            self.fault_hint(key, format!("stands beside `{}`", first.0.shown()), hint);
        }
        let levels = if let Some(node) = fields.get("levels") {
            for key in ["forecast", "severity", "then"] {
                if let Some((at, _)) = fields.entry(key) {
                    let hint = Some(format!("move `{key}` into the levels"));
                    self.fault_hint(at, "stands beside `levels`", hint);
                }
            }
            self.level_list(node, setting)
        } else {
            let side = side_of(fields);
            setting.form = setting.form.on_side(side);
            let forecast = self.forecast(fields, &mut setting);
            let outcome = self.outcome(fields, setting);
            let (bound, at) = self.bound(fields, side)?;
            let ((severity, then), forecast_ms) = (outcome?, forecast?);
            Some((side, vec![(Level { bound, forecast_ms, severity, then }, at)]))
        };
        let clear = fields.get("clear").map(|node| (self.number(node, "`clear`"), node));
        let (side, levels) = levels?;
        self.in_order(side, &levels);
        let levels: Vec<Level> = levels.into_iter().map(|(level, _)| level).collect();
        let clear = match clear {
            None => None,
            Some((value, node)) => {
                let value = value?;
                if levels.first().is_some_and(|level| beyond(side, value, level.bound)) {
                    let message =
                        "`clear` lies beyond the first bound, where the rule still breaches";
                    self.fault(node, message);
                }
                Some(value)
            }
        };
        Some(Levels { side, clear, levels })
    }

    fn level_list<'n>(
        &mut self,
        node: &'n Node,
        setting: Setting<'_>,
    ) -> Option<(Side, Vec<(Level, &'n Node)>)> {
        let items = self.items(node, "`levels`")?;
        if items.is_empty() || items.len() > LEVELS_MAX {
            self.fault(node, format!("a rule has 1 to {LEVELS_MAX} levels"));
        }
        let mut levels = Vec::new();
        let mut first = None;
        let mut whole = true;
        for item in items {
            let level = self.level(item, setting);
            let Some((side, level, at)) = level else {
                whole = false;
                continue;
            };
            if *first.get_or_insert(side) != side {
                self.fault(item, "the levels of a rule are all `above` or all `below`");
                whole = false;
            }
            levels.push((level, at));
        }
        first.filter(|_| whole).map(|side| (side, levels))
    }

    fn level<'n>(
        &mut self,
        item: &'n Node,
        mut setting: Setting<'_>,
    ) -> Option<(Side, Level, &'n Node)> {
        let fields = self.map(item, "a level", &LEVEL_KEYS)?;
        if let (Some(_), Some((key, _))) = (fields.get("above"), fields.entry("below")) {
            self.fault(key, "stands beside `above`");
        }
        let side = side_of(fields);
        setting.form = setting.form.on_side(side);
        let forecast = self.forecast(fields, &mut setting);
        let outcome = self.outcome(fields, setting);
        if !fields.has("above") && !fields.has("below") {
            self.missing(item, &item.shown(), "the level has no bound", "such as `above: 100`");
            return None;
        }
        let (bound, at) = self.bound(fields, side)?;
        let ((severity, then), forecast_ms) = (outcome?, forecast?);
        Some((side, Level { bound, forecast_ms, severity, then }, at))
    }

    /// How far ahead a level looks.
    #[expect(clippy::option_option, reason = "at fault, left out and given are three cases")]
    fn forecast(&mut self, fields: Fields<'_>, setting: &mut Setting<'_>) -> Option<Option<i64>> {
        let Some((key, node)) = fields.entry("forecast") else { return Some(None) };
        setting.forecasts = true;
        if let Some((message, hint)) = no_forecast(*setting) {
            self.fault_hint(key, message, Some(hint.into()));
        }
        self.duration(node, "`forecast`").map(Some)
    }

    fn bound<'n>(&mut self, fields: Fields<'n>, side: Side) -> Option<(Number, &'n Node)> {
        let key = if side == Side::Above { "above" } else { "below" };
        let node = fields.get(key)?;
        Some((self.number(node, &format!("`{key}`"))?, node))
    }

    fn in_order(&mut self, side: Side, levels: &[(Level, &Node)]) {
        for pair in levels.windows(2) {
            let [(earlier, _), (later, at)] = pair else { continue };
            let ahead = earlier.forecast_ms.is_some_and(|earlier_ms| {
                later.forecast_ms.is_none_or(|later_ms| later_ms < earlier_ms)
            });
            let same = !beyond(side, earlier.bound, later.bound);
            if beyond(side, later.bound, earlier.bound) || same && ahead {
                continue;
            }
            let order = if side == Side::Above { "rise" } else { "fall" };
            let message = format!("the bounds of levels {order} from one to the next");
            let forecasts = earlier.forecast_ms.or(later.forecast_ms).is_some();
            let hint = "of two levels with one bound the one with `forecast`, or with the longer \
                one, stands first";
            self.fault_hint(at, message, forecasts.then(|| hint.into()));
        }
    }
}

/// `value` breaches more than `bound` does.
fn beyond(side: Side, value: Number, bound: Number) -> bool {
    match side {
        Side::Above => less(bound, value),
        Side::Below => less(value, bound),
    }
}

/// Why a level cannot look ahead here, and what to do about it.
fn no_forecast(setting: Setting<'_>) -> Option<(&'static str, &'static str)> {
    let Form::Threshold(window, side) = setting.form else {
        return Some(("`forecast` is for caps on `count` or `sum(points)`", "leave it out"));
    };
    if side == Some(Side::Below) {
        return Some(("`forecast` goes with `above`", "silence comes without notice"));
    }
    if matches!(setting.measure, Some(Measure::MaxPoints | Measure::Distinct(_))) {
        let hint = "nothing else grows at a rate";
        return Some(("`forecast` is for caps on `count` or `sum(points)`", hint));
    }
    if matches!(window, Some(Window::Duration(_))) {
        let hint = "such as `window: day`; a rolling window loses as it gains";
        return Some(("`forecast` needs a calendar window", hint));
    }
    let many = |field: &Field| matches!(field, Field::User | Field::Device | Field::Ip);
    if setting.per.is_some_and(|per| per.fields.iter().any(many)) {
        let hint = "what one user, device or address does is too little for a rate";
        return Some(("`forecast` needs `per: global`, `source` or `attrs.NAME`", hint));
    }
    None
}

fn side_of(fields: Fields<'_>) -> Side {
    if fields.has("above") || !fields.has("below") { Side::Above } else { Side::Below }
}

impl Form {
    fn on_side(self, side: Side) -> Form {
        match self {
            Form::Threshold(window, _) => Form::Threshold(window, Some(side)),
            Form::Ratio(window, _) => Form::Ratio(window, Some(side)),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;
