//! Rules and lists beside each other.

use super::site::{LevelSite, Site, Spot, branches, spots};
use super::{Lint, Linter};
use crate::rule::node::Node;
use crate::rule::types::{
    Check, Condition, Field, Filter, Input, KeySpec, Level, Levels, Mode, Rule, Test,
};

impl Linter<'_> {
    pub(super) fn sets(&mut self, files: &[(&str, Node)], sites: &[Site<'_>]) {
        let mut used = vec![false; self.set.lists.len()];
        for site in sites {
            for input in site.inputs() {
                if let Some(node) = input.node.get("where") {
                    self.looked_up(site.file, node, input.filter, &mut used);
                }
            }
        }
        self.lists(files, &used);
        self.untested(sites);
        for (index, site) in sites.iter().enumerate() {
            for earlier in sites.get(..index).unwrap_or_default() {
                self.same(earlier, site);
            }
        }
    }

    /// Notes the lists that a filter names, at any depth.
    fn looked_up(&mut self, file: &str, node: &Node, filter: &Filter, used: &mut [bool]) {
        for (condition, spot) in filter.all.iter().zip(spots(node)) {
            match condition {
                Condition::Field { field, test: Test::In(list) | Test::NotIn(list) } => {
                    if let Some(used) = used.get_mut(*list) {
                        *used = true;
                    }
                    self.foreign(file, &spot, field, *list);
                }
                Condition::Any(filters) => {
                    for (node, filter) in branches(spot.value, filters) {
                        self.looked_up(file, node, filter, used);
                    }
                }
                Condition::Not(filter) => self.looked_up(file, spot.value, filter, used),
                Condition::Field { .. } | Condition::New { .. } => {}
            }
        }
    }

    /// An attribute may well carry what the list holds, such as the user who invited this one.
    fn foreign(&mut self, file: &str, spot: &Spot<'_>, field: &Field, list: usize) {
        let Some(list) = self.set.lists.get(list) else { return };
        let attr = |field: &Field| matches!(field, Field::Attr(_));
        if list.field == *field || attr(&list.field) || attr(field) {
            return;
        }
        let message = format!("a list of `{}` is looked up with `{field}`", list.field);
        let hint = format!("look it up with `{}`, or declare it with `field: {field}`", list.field);
        self.warn_of(Lint::ForeignList, (file, spot.at), spot.text.clone(), message, hint);
    }

    fn lists(&mut self, files: &[(&str, Node)], used: &[bool]) {
        for (index, list) in self.set.lists.iter().enumerate() {
            let entry =
                files.iter().find(|(file, _)| *file == list.origin).and_then(|(_, root)| {
                    let lists = root.get("lists")?.entries();
                    lists.iter().find(|(name, _)| name.raw() == Some(&list.name))
                });
            let Some((name, body)) = entry else { continue };
            let file = list.origin.as_str();
            if used.get(index) == Some(&false) {
                let message = "no rule looks at this list";
                let hint =
                    format!("such as `where: {{ {}: {{ in: {} }} }}`", list.field, list.name);
                self.warn(Lint::UnusedList, (file, name), message, hint);
            } else if let (Some(at), Some([])) =
                (body.get("file"), self.around.entries.get(index).map(Vec::as_slice))
            {
                let message = "the file of the list has no entries";
                let hint = "a list that is filled at run time needs no `file`";
                self.warn(Lint::EmptyList, (file, at), message, hint);
            }
        }
    }

    fn untested(&mut self, sites: &[Site<'_>]) {
        let Some(tested) = self.around.tested else { return };
        for site in sites {
            if site.rule.mode != Mode::Off && !tested.contains(&site.rule.name) {
                let message = "no test expects this rule to fire";
                let hint = "add a case to a `*.test.yaml` beside the rules; `tidegate rules case` \
                            makes one of recorded events";
                self.warn(Lint::Untested, (site.file, site.name()), message, hint);
            }
        }
    }

    fn same(&mut self, earlier: &Site<'_>, site: &Site<'_>) {
        let (one, two) = (earlier.rule, site.rule);
        if one.mode == Mode::Off || one.mode != two.mode || !same_key(&one.per, &two.per) {
            return;
        }
        if let (Check::Match { .. }, Check::Match { .. }) = (&one.check, &two.check) {
            if one.cooldown_ms == two.cooldown_ms && covers(one, two) && covers(two, one) {
                self.together(site, site.name(), format!("fires whenever `{}` does", one.name));
            } else if adds_nothing(two, one) {
                let message = format!("adds nothing to what `{}` does", one.name);
                self.together(site, site.name(), message);
            } else if adds_nothing(one, two) {
                let message = format!("adds nothing to what `{}` does", two.name);
                self.together(earlier, earlier.name(), message);
            }
            return;
        }
        if one.cooldown_ms == two.cooldown_ms
            && let Some(level) = shared_bound(one, two)
        {
            let place = site.levels().get(level).map(LevelSite::bound);
            let at =
                if site.node.get("zscore").is_some() { Some(site.at("zscore")) } else { place };
            let at = at.unwrap_or(site.name());
            let message = format!("this bound is breached whenever one of `{}` is", one.name);
            self.together(site, at, message);
        }
    }

    fn together(&mut self, site: &Site<'_>, at: &Node, message: String) {
        let hint = "put all that is to happen into the `then` of one rule";
        self.warn(Lint::SameRule, (site.file, at), message, hint);
    }
}

/// Counts by the same fields, in whatever order.
fn same_key(one: &KeySpec, two: &KeySpec) -> bool {
    one.fields.len() == two.fields.len()
        && one.fields.iter().all(|field| two.fields.contains(field))
}

/// Whatever passes `narrow` passes `wide`: all conditions of `wide` stand in `narrow`.
fn within(narrow: &Filter, wide: &Filter) -> bool {
    wide.all.iter().all(|condition| narrow.all.contains(condition))
}

/// Whenever the match rule `narrow` matches, `wide` does.
fn covers(wide: &Rule, narrow: &Rule) -> bool {
    match (&wide.check, &narrow.check) {
        (Check::Match { on, filter, .. }, Check::Match { on: few, filter: more, .. }) => {
            few.0 & !on.0 == 0 && within(more, filter)
        }
        _ => false,
    }
}

/// The match rule fires only when `other` does, which does all that it does.
fn adds_nothing(rule: &Rule, other: &Rule) -> bool {
    let (Check::Match { severity, then, .. }, Check::Match { severity: least, then: done, .. }) =
        (&rule.check, &other.check)
    else {
        return false;
    };
    covers(other, rule)
        && other.cooldown_ms.is_none()
        && severity <= least
        && then.iter().all(|action| done.contains(action))
}

fn same_input(one: &Input, two: &Input) -> bool {
    one.on == two.on
        && one.measure == two.measure
        && within(&one.filter, &two.filter)
        && within(&two.filter, &one.filter)
}

/// The first level of `two` that is breached and armed whenever a level of `one` is.
fn shared_bound(one: &Rule, two: &Rule) -> Option<usize> {
    match (&one.check, &two.check) {
        (
            Check::Threshold { input, window, levels },
            Check::Threshold { input: other, window: over, levels: bounds },
        ) if same_input(input, other) && window == over => shared_level(levels, bounds),
        (
            Check::Ratio { of, to, min_to, window, levels },
            Check::Ratio { of: top, to: bottom, min_to: least, window: over, levels: bounds },
        ) if same_input(of, top)
            && same_input(to, bottom)
            && min_to.total_cmp(least).is_eq()
            && window == over =>
        {
            shared_level(levels, bounds)
        }
        (Check::ZScore(one), Check::ZScore(two)) => {
            let series = same_input(&one.input, &two.input)
                && one.window == two.window
                && one.baseline == two.baseline
                && one.close_after_ms == two.close_after_ms;
            // A bound clips what enters the baseline, so that both must be the same.
            (series && one.above == two.above && one.below == two.below).then_some(0)
        }
        _ => None,
    }
}

fn shared_level(one: &Levels, two: &Levels) -> Option<usize> {
    if one.side != two.side || one.clear != two.clear {
        return None;
    }
    let same =
        |a: &Level, b: &Level| a.bound.compare(b.bound).is_some_and(std::cmp::Ordering::is_eq);
    two.levels.iter().position(|level| one.levels.iter().any(|other| same(other, level)))
}
