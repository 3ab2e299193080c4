//! Which rules may see an event, by its kind and source (R2).
//!
//! What conditions ask of both is answered once, when rules are made ready: a rule on another
//! source costs an event nothing, and of one that asks for no more nothing is asked.

use hashbrown::HashTable;

use crate::engine::plan::Looks;
use crate::engine::space::hash_of;
use crate::event::{Event, Kind};
use crate::rule::{
    Check, Condition, Field, Filter, Kinds, Measure, Mode, Rule, RuleSet, Test, Value,
};

/// The routes of a rule set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Routes {
    /// By number: of each source those by `Kind as usize`.
    all: Vec<Ways>,
    /// Of sources that conditions name; only ever looked up.
    named: HashTable<Named>,
    /// Where the ways of other sources begin, and those of events without one.
    other: usize,
    without: usize,
}

/// A source, the hash of its name, and where the ways of its events begin.
#[derive(Debug, Clone)]
struct Named {
    hash: u64,
    name: String,
    first: usize,
}

/// The rules that may see events of one kind and source.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ways {
    /// In rule order.
    pub(crate) routes: Vec<Route>,
    /// Tells one from another.
    pub(crate) number: usize,
    /// Of the rules those whose cells are to be asked for ahead, and those whose entries for other
    /// partitions are.
    pub(crate) cells: Vec<Seat>,
    pub(crate) outgoing: Vec<usize>,
}

/// A rule, and its place among those of its key form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    pub(crate) rule: usize,
    pub(crate) column: usize,
}

/// A rule that may see an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) rule: usize,
    pub(crate) of: Sees,
    /// By the other side of a ratio.
    pub(crate) to: Sees,
    /// What an event adds on either side, where that is the same for most rules.
    pub(crate) adds: Option<[Adds; 2]>,
    /// The rule counts each of these events, and by such a number alone.
    pub(crate) number: Option<Adds>,
}

/// What an event adds to a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adds {
    One,
    Points,
    User,
}

impl Adds {
    fn of(measure: &Measure) -> Option<Adds> {
        match measure {
            Measure::Count => Some(Adds::One),
            Measure::SumPoints => Some(Adds::Points),
            Measure::Distinct(Field::User) => Some(Adds::User),
            Measure::MaxPoints | Measure::Distinct(_) => None,
        }
    }

    /// By both sides of a check, of one with a single side twice the same.
    fn by(check: &Check) -> Option<[Adds; 2]> {
        match check {
            Check::Match { .. } => None,
            Check::Threshold { input, .. } => Adds::of(&input.measure).map(|adds| [adds; 2]),
            Check::ZScore(zscore) => Adds::of(&zscore.input.measure).map(|adds| [adds; 2]),
            Check::Ratio { of, to, .. } => Some([Adds::of(&of.measure)?, Adds::of(&to.measure)?]),
        }
    }
}

/// Whether an event of some kind and source passes a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sees {
    No,
    Yes,
    /// That depends on the rest of it.
    Ask,
}

/// The source of an event, as far as conditions tell one from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source<'a> {
    Named(&'a str),
    Other,
    Without,
}

impl Routes {
    pub(crate) fn new(rules: &RuleSet, looks: impl Fn(usize) -> (Looks, Seat)) -> Routes {
        let active = || rules.rules.iter().enumerate().filter(|(_, rule)| rule.mode != Mode::Off);
        let mut names = Vec::new();
        for (_, rule) in active() {
            for (_, filter) in sides(rule) {
                filter.all.iter().for_each(|condition| note_names(condition, &mut names));
            }
        }
        let mut all = Vec::new();
        let mut by_kind = |source| {
            let first = all.len();
            for kind in Kind::ALL {
                let routes = active().filter_map(|(at, rule)| route(at, rule, kind, source));
                let routes: Vec<Route> = routes.collect();
                let of = |wanted| {
                    let looks = routes.iter().map(|route| looks(route.rule));
                    looks.filter(move |(looks, _)| *looks == wanted).map(|(_, seat)| seat)
                };
                let cells = of(Looks::Cell).collect();
                let outgoing = of(Looks::Outgoing).map(|seat| seat.rule).collect();
                all.push(Ways { number: all.len(), cells, outgoing, routes });
            }
            first
        };
        let mut named = HashTable::with_capacity(names.len());
        for name in &names {
            let (hash, first) = (hash_of(name), by_kind(Source::Named(name)));
            named.insert_unique(hash, Named { hash, name: name.clone(), first }, |one| one.hash);
        }
        let (other, without) = (by_kind(Source::Other), by_kind(Source::Without));
        Routes { all, named, other, without }
    }

    /// In order of their numbers.
    pub(crate) fn all(&self) -> &[Ways] {
        &self.all
    }

    /// Takes a rule out: it sees nothing.
    pub(crate) fn close(&mut self, rule: usize) {
        for ways in &mut self.all {
            ways.routes.retain(|route| route.rule != rule);
            ways.cells.retain(|other| other.rule != rule);
            ways.outgoing.retain(|other| *other != rule);
        }
    }

    /// Rules that may see the event. `hash` is that of its source, if it has one.
    pub(crate) fn of(&self, event: &Event<'_>, hash: Option<u64>) -> &Ways {
        let first = match (event.source.as_deref(), hash) {
            (Some(source), Some(hash)) => {
                let found = self.named.find(hash, |one| one.name == source);
                found.map_or(self.other, |one| one.first)
            }
            _ => self.without,
        };
        &self.all[first + event.kind as usize]
    }
}

/// The filters of a rule, of a ratio both, each with the kinds it is asked for.
fn sides(rule: &Rule) -> Vec<(Kinds, &Filter)> {
    match &rule.check {
        Check::Match { on, filter, .. } => vec![(*on, filter)],
        Check::Threshold { input, .. } => vec![(input.on, &input.filter)],
        Check::ZScore(zscore) => vec![(zscore.input.on, &zscore.input.filter)],
        Check::Ratio { of, to, .. } => vec![(of.on, &of.filter), (to.on, &to.filter)],
    }
}

fn note_names(condition: &Condition, names: &mut Vec<String>) {
    let Condition::Field { field: Field::Source, test } = condition else { return };
    let values = match test {
        Test::AnyOf(values) => values.as_slice(),
        Test::Ne(value) => std::slice::from_ref(value),
        _ => &[],
    };
    for value in values {
        if let Value::Text(name) = value
            && !names.contains(name)
        {
            names.push(name.clone());
        }
    }
}

fn route(rule: usize, of: &Rule, kind: Kind, source: Source<'_>) -> Option<Route> {
    let mut sees = [Sees::No; 2];
    for (known, (on, filter)) in sees.iter_mut().zip(sides(of)) {
        if on.contains(kind) {
            *known = passes(filter, kind, source);
        }
    }
    let adds = Adds::by(&of.check);
    let is_single = sees[0] == Sees::Yes && !matches!(of.check, Check::Ratio { .. });
    let number = adds.map(|[of, _]| of).filter(|adds| is_single && *adds != Adds::User);
    let [of, to] = sees;
    (sees != [Sees::No; 2]).then_some(Route { rule, of, to, adds, number })
}

fn passes(filter: &Filter, kind: Kind, source: Source<'_>) -> Sees {
    let mut all = Sees::Yes;
    for condition in &filter.all {
        let holds = match condition {
            Condition::Field { field: Field::Source, test } => holds(test, source),
            Condition::Field { field: Field::Kind, test } => {
                holds(test, Source::Named(kind.as_str()))
            }
            _ => None,
        };
        match holds {
            Some(true) => {}
            Some(false) => return Sees::No,
            None => all = Sees::Ask,
        }
    }
    all
}

/// Whether a text passes a test, where that is known.
fn holds(test: &Test, seen: Source<'_>) -> Option<bool> {
    let equals = |value: &Value| match (value, seen) {
        (Value::Text(value), Source::Named(seen)) => value == seen,
        _ => false,
    };
    match (test, seen) {
        (Test::AnyOf(values), _) => Some(values.iter().any(equals)),
        (Test::Ne(value), _) => Some(!equals(value)),
        (Test::Exists(expected), _) => Some(*expected == (seen != Source::Without)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
