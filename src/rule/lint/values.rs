//! What is left of the values of one field after tests that must hold, or must not.
//!
//! Errs to one side only: what is said to be empty is empty, and something that no event carries
//! may be left.

use std::cmp::Ordering;
use std::net::IpAddr;

use crate::event::Kind;
use crate::rule::filter::WEEKDAYS;
use crate::rule::types::{Cidr, Field, Number, Test, Value};

/// E1.
const POINTS_MAX: i64 = 1_000_000_000_000;
/// E1: bytes of `id` and `user`.
const ID_BYTES_MAX: usize = 128;
/// E2: bytes of other text.
const TEXT_BYTES_MAX: usize = 256;

#[derive(Debug, Clone)]
pub(super) struct Values<'f> {
    missing: bool,
    bools: Vec<bool>,
    texts: Option<Texts<'f>>,
    numbers: Option<Numbers>,
    /// Lists that the value is on, and is not on.
    on_lists: Vec<usize>,
    off_lists: Vec<usize>,
}

impl<'f> Values<'f> {
    /// All that events of a kind carry.
    pub(super) fn of(field: &Field, kind: Kind) -> Values<'f> {
        let mut values = Values {
            missing: false,
            bools: Vec::new(),
            texts: None,
            numbers: None,
            on_lists: Vec::new(),
            off_lists: Vec::new(),
        };
        match field {
            Field::Id | Field::User => values.texts = Some(Texts::up_to(ID_BYTES_MAX)),
            Field::Kind => values.texts = Some(Texts::one_of(&[kind.as_str()])),
            Field::Weekday => values.texts = Some(Texts::one_of(&WEEKDAYS)),
            Field::Hour => values.numbers = Some(Numbers::whole(0, 23)),
            Field::Points => {
                // A reversal is seen as its original's kind or, by rules on `reverse`, as itself.
                let negative = matches!(kind, Kind::Adjust | Kind::Reverse);
                let least = if negative { -POINTS_MAX } else { 0 };
                values.numbers = Some(Numbers::whole(least, POINTS_MAX));
            }
            Field::Source | Field::Device | Field::Ip => {
                values.missing = true;
                values.texts = Some(Texts::up_to(TEXT_BYTES_MAX));
            }
            Field::Attr(_) => {
                values.missing = true;
                values.bools = vec![false, true];
                values.texts = Some(Texts::up_to(TEXT_BYTES_MAX));
                values.numbers = Some(Numbers::default());
            }
        }
        values
    }

    pub(super) fn is_empty(&self) -> bool {
        let texts = self.texts.as_ref().is_some_and(|texts| !texts.is_empty());
        let numbers = self.numbers.as_ref().is_some_and(|numbers| !numbers.is_empty());
        let apart = self.on_lists.iter().all(|list| !self.off_lists.contains(list));
        !self.missing && !(apart && (texts || numbers || !self.bools.is_empty()))
    }

    /// Leaves the values for which the test comes out as `holds`.
    pub(super) fn restrict(&mut self, test: &'f Test, holds: bool) {
        let edge = |bound: Number, open: bool| Edge { bound, open };
        match (test, holds) {
            (Test::AnyOf(values), true) => self.keep(values),
            (Test::AnyOf(values), false) => self.drop(values),
            (Test::Ne(value), true) => self.drop(std::slice::from_ref(value)),
            (Test::Ne(value), false) => self.keep(std::slice::from_ref(value)),
            (Test::Gt(bound), true) => self.only_numbers().raise(edge(*bound, true)),
            (Test::Gte(bound), true) => self.only_numbers().raise(edge(*bound, false)),
            (Test::Lt(bound), true) => self.only_numbers().lower(edge(*bound, true)),
            (Test::Lte(bound), true) => self.only_numbers().lower(edge(*bound, false)),
            (Test::Gt(bound), false) => self.numbers(|n| n.lower(edge(*bound, false))),
            (Test::Gte(bound), false) => self.numbers(|n| n.lower(edge(*bound, true))),
            (Test::Lt(bound), false) => self.numbers(|n| n.raise(edge(*bound, false))),
            (Test::Lte(bound), false) => self.numbers(|n| n.raise(edge(*bound, true))),
            (Test::In(list), true) | (Test::NotIn(list), false) => {
                self.missing = false;
                self.on_lists.push(*list);
            }
            (Test::In(list), false) | (Test::NotIn(list), true) => self.off_lists.push(*list),
            (Test::Prefix(prefix), true) => self.only_texts(|texts| texts.starts.push(prefix)),
            (Test::Prefix(prefix), false) => self.texts(|texts| texts.starts_not.push(prefix)),
            (Test::Cidr(blocks), true) => self.only_texts(|texts| texts.within(blocks)),
            (Test::Cidr(blocks), false) => self.texts(|texts| texts.blocks_not.extend(blocks)),
            (Test::Exists(expected), holds) if *expected == holds => self.missing = false,
            (Test::Exists(_), _) => {
                self.bools.clear();
                self.texts = None;
                self.numbers = None;
            }
        }
    }

    fn numbers(&mut self, change: impl FnOnce(&mut Numbers)) {
        if let Some(numbers) = &mut self.numbers {
            change(numbers);
        }
    }

    fn texts(&mut self, change: impl FnOnce(&mut Texts<'f>)) {
        if let Some(texts) = &mut self.texts {
            change(texts);
        }
    }

    fn only_numbers(&mut self) -> &mut Numbers {
        self.missing = false;
        self.bools.clear();
        self.texts = None;
        self.numbers.get_or_insert_with(|| Numbers { only: Some(Vec::new()), ..Numbers::default() })
    }

    fn only_texts(&mut self, change: impl FnOnce(&mut Texts<'f>)) {
        self.missing = false;
        self.bools.clear();
        self.numbers = None;
        self.texts(change);
    }

    fn keep(&mut self, values: &'f [Value]) {
        self.missing = false;
        self.bools.retain(|value| values.contains(&Value::Bool(*value)));
        self.texts(|texts| texts.keep(&texts_of(values)));
        self.numbers(|numbers| numbers.keep(&numbers_of(values)));
    }

    fn drop(&mut self, values: &'f [Value]) {
        self.bools.retain(|value| !values.contains(&Value::Bool(*value)));
        self.texts(|texts| texts.never.extend(texts_of(values)));
        self.numbers(|numbers| numbers.never.extend(numbers_of(values)));
    }
}

fn texts_of(values: &[Value]) -> Vec<&str> {
    let mut texts = Vec::new();
    for value in values {
        if let Value::Text(text) = value {
            texts.push(text.as_str());
        }
    }
    texts
}

fn numbers_of(values: &[Value]) -> Vec<Number> {
    let mut numbers = Vec::new();
    for value in values {
        if let Value::Number(number) = value {
            numbers.push(*number);
        }
    }
    numbers
}

/// Texts, none of them empty (E2).
#[derive(Debug, Clone, Default)]
struct Texts<'f> {
    bytes_max: usize,
    only: Option<Vec<&'f str>>,
    never: Vec<&'f str>,
    starts: Vec<&'f str>,
    starts_not: Vec<&'f str>,
    blocks: Option<Vec<Cidr>>,
    blocks_not: Vec<Cidr>,
}

impl<'f> Texts<'f> {
    fn up_to(bytes_max: usize) -> Texts<'f> {
        Texts { bytes_max, ..Texts::default() }
    }

    fn one_of(only: &[&'f str]) -> Texts<'f> {
        Texts { only: Some(only.to_vec()), ..Texts::up_to(TEXT_BYTES_MAX) }
    }

    fn keep(&mut self, values: &[&'f str]) {
        match &mut self.only {
            Some(only) => only.retain(|text| values.contains(text)),
            None => self.only = Some(values.to_vec()),
        }
    }

    fn within(&mut self, blocks: &[Cidr]) {
        self.blocks = Some(match &self.blocks {
            None => blocks.to_vec(),
            // Two blocks lie apart, or one within the other.
            Some(known) => {
                let both = |a: Cidr, b: Cidr| {
                    if covers(a, b) { Some(b) } else { covers(b, a).then_some(a) }
                };
                known.iter().flat_map(|a| blocks.iter().filter_map(|b| both(*a, *b))).collect()
            }
        });
    }

    fn is_empty(&self) -> bool {
        if let Some(only) = &self.only {
            return !only.iter().any(|text| self.fits(text));
        }
        let longest = self.starts.iter().max_by_key(|start| start.len());
        let torn = longest.is_some_and(|longest| {
            longest.len() > self.bytes_max
                || !self.starts.iter().all(|start| longest.starts_with(start))
                || self.starts_not.iter().any(|start| longest.starts_with(start))
        });
        let left = |block: &Cidr| !self.blocks_not.iter().any(|not| covers(*not, *block));
        torn || self.blocks.as_ref().is_some_and(|blocks| !blocks.iter().any(left))
    }

    fn fits(&self, text: &str) -> bool {
        let address: Option<IpAddr> = text.parse().ok();
        let lies = |blocks: &[Cidr]| {
            address.is_some_and(|address| blocks.iter().any(|block| block.contains(address)))
        };
        (1..=self.bytes_max).contains(&text.len())
            && !self.never.contains(&text)
            && self.starts.iter().all(|start| text.starts_with(start))
            && !self.starts_not.iter().any(|start| text.starts_with(start))
            && self.blocks.as_ref().is_none_or(|blocks| lies(blocks))
            && !lies(&self.blocks_not)
    }
}

fn covers(outer: Cidr, inner: Cidr) -> bool {
    outer.prefix_len <= inner.prefix_len && outer.contains(inner.network)
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    bound: Number,
    /// The bound itself is outside.
    open: bool,
}

/// Numbers between two edges; whole ones, or any.
#[derive(Debug, Clone, Default)]
struct Numbers {
    whole: Option<(i64, i64)>,
    low: Option<Edge>,
    high: Option<Edge>,
    only: Option<Vec<Number>>,
    never: Vec<Number>,
}

impl Numbers {
    fn whole(least: i64, most: i64) -> Numbers {
        Numbers { whole: Some((least, most)), ..Numbers::default() }
    }

    fn raise(&mut self, edge: Edge) {
        let order = self.low.and_then(|low| edge.bound.compare(low.bound));
        if matches!(order, None | Some(Ordering::Greater)) || edge.open {
            let kept = self.low.filter(|_| order == Some(Ordering::Less));
            self.low = kept.or(Some(edge));
        }
    }

    fn lower(&mut self, edge: Edge) {
        let order = self.high.and_then(|high| edge.bound.compare(high.bound));
        if matches!(order, None | Some(Ordering::Less)) || edge.open {
            let kept = self.high.filter(|_| order == Some(Ordering::Greater));
            self.high = kept.or(Some(edge));
        }
    }

    fn keep(&mut self, values: &[Number]) {
        match &mut self.only {
            Some(only) => only.retain(|number| holds(values, *number)),
            None => self.only = Some(values.to_vec()),
        }
    }

    fn is_empty(&self) -> bool {
        if let Some(only) = &self.only {
            return !only.iter().any(|number| self.fits(*number));
        }
        if let Some((least, most)) = self.whole {
            let least = self.low.map_or(least, |low| least.max(first_within(low)));
            let most = self.high.map_or(most, |high| most.min(last_within(high)));
            let count = usize::try_from(most.saturating_sub(least).saturating_add(1)).unwrap_or(0);
            return count <= self.never.len()
                && !(least..=most).any(|number| self.fits(Number::Integer(number)));
        }
        let (Some(low), Some(high)) = (self.low, self.high) else { return false };
        match low.bound.compare(high.bound) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Equal) => low.open || high.open || holds(&self.never, low.bound),
            Some(Ordering::Less) | None => false,
        }
    }

    fn fits(&self, number: Number) -> bool {
        let inside = |edge: Option<Edge>, side: Ordering| {
            edge.is_none_or(|edge| match number.compare(edge.bound) {
                Some(Ordering::Equal) => !edge.open,
                order => order == Some(side),
            })
        };
        let whole = self.whole.is_none_or(|(least, most)| {
            let edge = |bound| Some(Edge { bound: Number::Integer(bound), open: false });
            let fraction = matches!(number, Number::Float(value) if value.fract() != 0.0);
            !fraction
                && inside(edge(least), Ordering::Greater)
                && inside(edge(most), Ordering::Less)
        });
        whole
            && inside(self.low, Ordering::Greater)
            && inside(self.high, Ordering::Less)
            && !holds(&self.never, number)
    }
}

fn holds(numbers: &[Number], number: Number) -> bool {
    numbers.iter().any(|known| known.compare(number) == Some(Ordering::Equal))
}

/// The least whole number inside a lower edge.
fn first_within(edge: Edge) -> i64 {
    match edge.bound {
        Number::Integer(bound) => bound.saturating_add(i64::from(edge.open)),
        Number::Float(bound) if edge.open => truncated(bound.floor() + 1.0),
        Number::Float(bound) => truncated(bound.ceil()),
    }
}

/// The greatest whole number inside an upper edge.
fn last_within(edge: Edge) -> i64 {
    match edge.bound {
        Number::Integer(bound) => bound.saturating_sub(i64::from(edge.open)),
        Number::Float(bound) if edge.open => truncated(bound.ceil() - 1.0),
        Number::Float(bound) => truncated(bound.floor()),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a bound beyond 64 bits is beyond all points")]
fn truncated(whole: f64) -> i64 {
    whole as i64
}
