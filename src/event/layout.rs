//! How the records of a pipeline are laid out, so that one laid out like another before is read
//! without looking for its keys.
//!
//! A producer writes the same keys in the same order, with the same white space, in most of its
//! records. What stands between their values is therefore the same bytes: it is compared eight
//! bytes at a time, and only values are scanned. Layouts make a tree, in which each step is the
//! bytes up to the next value and what that value is; a path from its root to an end is the
//! layout of some record that was read in full. A record that takes such a path differs from that
//! one in its values alone, and these are scanned as ever: so it is JSON, and has no key twice.
//! Whatever takes no path is read in full, and may add one. (Guessing the layout from records
//! before is the idea of Li and others 2017, "Mison: a fast JSON parser for data analytics".)

#[cfg(test)]
mod tests;

use smallvec::SmallVec;

use crate::event::decode::{ATTRS, Members, place_of};
use crate::event::quotes::Quotes;
use crate::event::scan::{NotJson, Scanner};
use crate::event::span::{Sort, Span};

/// Steps of all layouts.
const STEPS_MAX: usize = 256;
/// Ways that go on from one step.
const WAYS_MAX: usize = 8;
/// Bytes between two values.
const BETWEEN_MAX: usize = 64;
/// Records read in full after which layouts that leave no room for others are given up.
const MISSES_MAX: u32 = 1_024;

/// Layouts of records read before. A hint only: events do not depend on it.
#[derive(Debug, Clone, Default)]
pub struct Layouts {
    /// The first one is where records begin.
    steps: Vec<Step>,
    /// Records read in full since there was no more room.
    misses: u32,
}

/// A place in a layout, behind a value: how it may go on.
#[derive(Debug, Clone, Default)]
struct Step {
    ways: SmallVec<[Way; 1]>,
}

/// Bytes that follow, and what comes then.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Way {
    between: Between,
    then: Then,
    /// The step behind the value.
    next: u32,
    /// The first two numbers of the bytes say it all.
    is_short: bool,
}

/// Bytes as numbers of eight, each with a mask of those that count: the first two, and the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Between {
    first: [(u64, u64); 2],
    rest: Box<[(u64, u64)]>,
    size: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The value of a field, or of none that we know.
    Field(Option<usize>),
    /// The value of an attribute whose name ends so many bytes before it, and is so long.
    Attr(u32, u32),
    /// The record's end.
    End,
}

impl Layouts {
    /// Reads a record of a layout seen before; false when it has none.
    #[inline]
    pub(super) fn read(&self, members: &mut Members<'_>) -> bool {
        let scanner = members.scanner;
        match Quotes::of(scanner.bytes()) {
            Some(quotes) => self.walk(members, |at, depth| {
                scanner.plain_value(&quotes, at).or_else(|| scanner.value(at, depth).ok())
            }),
            None => self.walk(members, |at, depth| scanner.value(at, depth).ok()),
        }
    }

    /// Follows a record along the layouts; `value` reads the value at a place that is so deep.
    #[inline]
    fn walk(&self, members: &mut Members<'_>, value: impl Fn(u32, u32) -> Option<Span>) -> bool {
        let scanner = members.scanner;
        let Some(mut step) = self.steps.first() else { return false };
        let mut at = 0;
        loop {
            let here = scanner.chunks(at);
            let Some(way) = step.ways.iter().find(|way| way.fits(scanner, at, here)) else {
                return false;
            };
            at += way.between.size;
            let value = match way.then {
                Then::End => return true,
                Then::Field(place) => {
                    let Some(value) = value(at, 0) else { return false };
                    if let Some(place) = place {
                        members.values[place] = value;
                    }
                    value
                }
                Then::Attr(before, size) => {
                    let Some(value) = value(at, 1) else { return false };
                    let from = at - before - size;
                    members.attrs.push((Span::new(Sort::Text, from, from + size), value));
                    value
                }
            };
            at = value.end();
            let Some(next) = self.steps.get(way.next as usize) else { return false };
            step = next;
        }
    }

    /// Takes in the layout of a record that was read in full, of which this is the whole.
    #[cold]
    pub(super) fn learn(&mut self, scanner: Scanner<'_>, record: Span) {
        if self.misses >= MISSES_MAX {
            *self = Layouts::default();
        }
        if self.steps.is_empty() {
            self.steps.push(Step::default());
        }
        let Ok(Some(path)) = path_of(scanner, record) else { return };
        let mut at = 0;
        let mut step = 0;
        for (begin, end, then) in path {
            let between = Between::new(scanner, at, begin);
            let next = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
            let ways = &mut self.steps[step].ways;
            let known = ways.iter().find(|way| way.between == between && way.then == then);
            step = if let Some(way) = known {
                way.next as usize
            } else {
                if ways.len() >= WAYS_MAX || next as usize >= STEPS_MAX {
                    self.misses += 1;
                    return;
                }
                ways.push(Way::new(between, then, next));
                self.steps.push(Step::default());
                next as usize
            };
            at = end;
        }
    }
}

/// Where each value begins, where it ends, and what it is.
type Path = Vec<(u32, u32, Then)>;

/// `None` for a layout that is not worth a path, or would not be safe as one.
fn path_of(scanner: Scanner<'_>, record: Span) -> Result<Option<Path>, NotJson> {
    let mut path = Path::new();
    let mut fits = true;
    let mut member = |name: Span, value: Span| {
        let place = place_of(scanner.word(name));
        fits &= name.is(Sort::Text);
        if place != Some(ATTRS) {
            path.push((value.start(), value.end(), Then::Field(place)));
            return;
        }
        // Where attributes stand there is no step for a value, so that an object is never taken
        // for one.
        fits &= value.is(Sort::Object);
        if value.is(Sort::Object) {
            let attr = |name: Span, value: Span| {
                fits &= name.is(Sort::Text);
                let size = name.last() - name.begin();
                path.push((
                    value.start(),
                    value.end(),
                    Then::Attr(value.start() - name.last(), size),
                ));
            };
            fits &= scanner.members(value, attr).is_ok();
        }
    };
    scanner.members(record, &mut member)?;
    let last = scanner.size();
    path.push((last, last, Then::End));
    let mut at = 0;
    for (begin, end, _) in &path {
        fits &= (begin - at) as usize <= BETWEEN_MAX;
        at = *end;
    }
    Ok(fits.then_some(path))
}

impl Way {
    fn new(between: Between, then: Then, next: u32) -> Way {
        let is_short = between.rest.is_empty() && then != Then::End;
        Way { between, then, next, is_short }
    }

    /// Whether the text goes on so from a place; `here` are its [`chunks`](Scanner::chunks) there.
    #[inline]
    fn fits(&self, scanner: Scanner<'_>, at: u32, here: [u64; 2]) -> bool {
        self.between.begins(here) && (self.is_short || self.goes_on(scanner, at))
    }

    /// The same of what is behind the first two numbers.
    #[inline(never)]
    fn goes_on(&self, scanner: Scanner<'_>, at: u32) -> bool {
        self.between.goes_on(scanner, at)
            && (self.then != Then::End || scanner.is_end(at + self.between.size))
    }
}

impl Between {
    fn new(scanner: Scanner<'_>, from: u32, to: u32) -> Between {
        let word = |at: u32| {
            let mask = low_bytes(to.saturating_sub(at));
            (scanner.chunk(at) & mask, mask)
        };
        let first = [word(from), word(from + 8)];
        Between { first, rest: (from..to).step_by(8).skip(2).map(word).collect(), size: to - from }
    }

    /// Whether a text begins with the first two.
    #[inline]
    fn begins(&self, here: [u64; 2]) -> bool {
        let [(first, of_first), (second, of_second)] = self.first;
        let others = here[0] & of_first ^ first | here[1] & of_second ^ second;
        others == 0
    }

    /// Whether a text has the others where they would stand.
    fn goes_on(&self, scanner: Scanner<'_>, from: u32) -> bool {
        let places = (from..).step_by(8).skip(2);
        let mut rest = self.rest.iter().zip(places.map(|at| scanner.chunk(at)));
        rest.all(|((word, mask), here)| here & mask == *word)
    }
}

/// The bits of so many first bytes.
fn low_bytes(size: u32) -> u64 {
    if size < 8 { !(u64::MAX << (8 * size)) } else { u64::MAX }
}
