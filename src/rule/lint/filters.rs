//! Filters that no event passes, and bounds that no measure comes to.

use super::satisfy::Events;
use super::site::{InputSite, Site, Spot, branches};
use super::{Lint, Linter};
use crate::event::Kind;
use crate::rule::filter::WEEKDAYS;
use crate::rule::types::{
    Check, Condition, Field, Filter, Input, Kinds, Level, Measure, Number, Side, Test, Value,
};

/// Why a condition lets nothing through.
enum Why {
    /// Whatever stands around it.
    Never,
    /// With this `on`.
    Kinds,
    /// With this `per`.
    Key,
    /// Beside the condition of this index.
    Against(usize),
    /// Beside all that come before it.
    Together,
}

impl Linter<'_> {
    pub(super) fn filters(&mut self, site: &Site<'_>) {
        let mut passable = true;
        for input in site.inputs() {
            let events = Events { on: input.on, carry: &site.rule.per.fields };
            if let Some((index, why)) = blame(events, input.filter) {
                passable = false;
                self.unmatched(site, &input, index, &why);
            } else {
                self.dead_branches(site, &input, events);
            }
        }
        if let Check::Threshold { input, levels, .. } = &site.rule.check
            && passable
        {
            for (level, place) in levels.levels.iter().zip(site.levels()) {
                if let Some(why) = out_of_reach(site, input, levels.side, level) {
                    let message = "no event can bring the measure past this bound";
                    self.warn(Lint::NeverFires, (site.file, place.bound()), message, why);
                }
            }
        }
    }

    fn unmatched(&mut self, site: &Site<'_>, input: &InputSite<'_>, index: usize, why: &Why) {
        let spots = input.spots();
        let Some(Spot { at, text, .. }) = spots.get(index) else { return };
        let hint = match why {
            Why::Never => input.filter.all.get(index).map(never).unwrap_or_default(),
            Why::Kinds => format!("`on` lets only {} through", kinds(input.on)),
            Why::Key => {
                "an event that lacks a field of `per` is not seen by the rule at all".to_owned()
            }
            Why::Against(other) => spots.get(*other).map_or_else(String::new, |other| {
                format!("it contradicts `{}` in line {}", other.text, other.at.line)
            }),
            Why::Together => "nothing that the conditions before it let through is left".to_owned(),
        };
        let message = "no event can match";
        self.warn_of(Lint::NeverFires, (site.file, at), text.clone(), message, hint);
    }

    fn dead_branches(&mut self, site: &Site<'_>, input: &InputSite<'_>, events: Events<'_>) {
        let all = &input.filter.all;
        for (index, (condition, spot)) in all.iter().zip(input.spots()).enumerate() {
            let Condition::Any(filters) = condition else { continue };
            for (node, branch) in branches(spot.value, filters) {
                let beside = all.iter().enumerate().filter(|(other, _)| *other != index);
                let beside = beside.map(|(_, condition)| condition);
                if events.satisfy(beside.chain(&branch.all)) {
                    continue;
                }
                let hint = if events.satisfy(&branch.all) {
                    "the conditions beside `any` leave nothing of it"
                } else {
                    "its own conditions, `on` and `per` leave nothing of it"
                };
                let message = "no event can match this branch of `any`";
                self.warn(Lint::DeadBranch, (site.file, node), message, hint);
            }
        }
    }
}

/// The first condition that nothing passes together with those before it.
fn blame(events: Events<'_>, filter: &Filter) -> Option<(usize, Why)> {
    if events.satisfy(&filter.all) {
        return None;
    }
    let index = (0..filter.all.len()).find(|index| {
        let upto = filter.all.iter().take(index + 1);
        !events.satisfy(upto)
    })?;
    let condition = filter.all.get(index)?;
    let alone = |events: Events<'_>| events.satisfy([condition]);
    if !alone(Events::ALL) {
        return Some((index, Why::Never));
    }
    if !alone(Events { carry: &[], ..events }) {
        return Some((index, Why::Kinds));
    }
    if !alone(events) {
        return Some((index, Why::Key));
    }
    let mut earlier = filter.all.iter().take(index);
    let against = earlier.position(|other| !events.satisfy([other, condition]));
    Some((index, against.map_or(Why::Together, Why::Against)))
}

/// Why a condition never holds for any event.
fn never(condition: &Condition) -> String {
    match condition {
        Condition::Field { field, test: Test::Exists(false) } => {
            format!("every event carries `{field}`")
        }
        Condition::Field { field: Field::Points, .. } => {
            "points are whole numbers from 0 to 1000000000000, those of `adjust` and its `reverse` \
             from -1000000000000"
                .to_owned()
        }
        Condition::Field { field: Field::Hour, .. } => "hours are 0 to 23".to_owned(),
        Condition::Field { field, .. } => format!("no value of `{field}` passes"),
        Condition::Not(_) => "what stands in `not` holds for every event".to_owned(),
        Condition::Any(_) => "no branch of it can hold".to_owned(),
        Condition::New { .. } => String::new(),
    }
}

fn kinds(on: Kinds) -> String {
    let named = Kind::ALL.into_iter().filter(|kind| on.contains(*kind));
    let named: Vec<String> = named.map(|kind| format!("`{kind}`")).collect();
    named.join(", ")
}

/// Why no event can bring the measure past a bound, if none can.
fn out_of_reach(site: &Site<'_>, input: &Input, side: Side, level: &Level) -> Option<String> {
    use std::cmp::Ordering::{Greater, Less};
    let events = Events { on: input.on, carry: &site.rule.per.fields };
    let bound = level.bound;
    let zero = bound.compare(Number::Integer(0));
    let passes = |test: Test| {
        let points = Condition::Field { field: Field::Points, test };
        events.satisfy(input.filter.all.iter().chain([&points]))
    };
    match (&input.measure, side) {
        (Measure::MaxPoints, Side::Above) if !passes(Test::Gt(bound)) => {
            Some("no event that matches has more points".to_owned())
        }
        // A window without events measures 0.
        (Measure::MaxPoints, Side::Below) if zero != Some(Greater) && !passes(Test::Lt(bound)) => {
            Some("no event that matches has fewer points".to_owned())
        }
        (Measure::SumPoints, Side::Above)
            if zero != Some(Less) && !passes(Test::Gt(Number::Integer(0))) =>
        {
            Some("no event that matches adds points".to_owned())
        }
        (Measure::SumPoints, Side::Below)
            if zero != Some(Greater) && !passes(Test::Lt(Number::Integer(0))) =>
        {
            Some("only reversals of more than was counted bring this sum below 0".to_owned())
        }
        (Measure::Count, Side::Below) if zero != Some(Greater) => {
            Some("only reversals of more than was counted bring a count below 0".to_owned())
        }
        (Measure::Distinct(_), Side::Below) if zero != Some(Greater) => {
            Some("there are never fewer than 0 values".to_owned())
        }
        (Measure::Distinct(field), Side::Above) => {
            let most = distinct_max(events, &input.filter, field)?;
            let reached = i64::try_from(most).map(Number::Integer).ok()?;
            (reached.compare(bound) != Some(Greater))
                .then(|| format!("`{field}` has at most {most} different values here"))
        }
        _ => None,
    }
}

/// The most values of a field that events which match can carry, where they can be counted.
fn distinct_max(events: Events<'_>, filter: &Filter, field: &Field) -> Option<usize> {
    if events.carry.contains(field) {
        return Some(1);
    }
    let text = |text: &str| Value::Text(text.to_owned());
    let values = match field {
        Field::Kind => Kind::ALL.map(|kind| text(kind.as_str())).to_vec(),
        Field::Weekday => WEEKDAYS.map(text).to_vec(),
        Field::Hour => (0..24).map(|hour| Value::Number(Number::Integer(hour))).collect(),
        _ => filter.all.iter().find_map(|condition| match condition {
            Condition::Field { field: known, test: Test::AnyOf(values) } if known == field => {
                Some(values.clone())
            }
            _ => None,
        })?,
    };
    let passes = |value: &&Value| {
        let test = Test::AnyOf(vec![Value::clone(value)]);
        let one = Condition::Field { field: field.clone(), test };
        events.satisfy(filter.all.iter().chain([&one]))
    };
    Some(values.iter().filter(passes).count())
}
