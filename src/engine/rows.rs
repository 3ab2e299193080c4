//! Keys by id, each with the places of its cells: a line of the cache, or half of one where no more
//! than one rule counts by the key.

use smallvec::SmallVec;

use crate::engine::slab::Slab;
use crate::engine::space::NONE;

/// Rules whose cells a row places itself.
pub(crate) const NEAR: usize = 9;

#[derive(Debug, Clone)]
#[repr(align(64))]
pub(crate) struct Line;

#[derive(Debug, Clone)]
#[repr(align(32))]
pub(crate) struct HalfLine;

/// A key, aligned as `A`, with the places of its cells of `N` rules.
#[derive(Debug, Clone)]
pub(crate) struct Row<A, const N: usize> {
    _aligned: [A; 0],
    /// Bytes of a text: most keys are short enough to stand inline.
    text: SmallVec<[u8; 16]>,
    notes: Notes,
    places: [u32; N],
}

/// What else is noted of a key.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Notes {
    /// How many cells it has.
    pub(crate) cells: u16,
    /// Whether it has a number in [`Space`](crate::engine::space::Space).
    pub(crate) is_young: bool,
}

pub(crate) type Slim = Row<HalfLine, 1>;
pub(crate) type Wide = Row<Line, NEAR>;

const _: () = assert!(size_of::<Slim>() == 32 && size_of::<Wide>() == 64);

impl<A, const N: usize> Row<A, N> {
    fn of(text: &[u8]) -> Row<A, N> {
        let text = SmallVec::from_slice(text);
        Row { _aligned: [], text, notes: Notes::default(), places: [NONE; N] }
    }
}

/// The rows of one key form.
#[derive(Debug, Clone)]
pub(crate) enum Rows {
    /// Of one rule at most.
    Slim(Slab<Slim>),
    Wide(Slab<Wide>),
}

impl Default for Rows {
    fn default() -> Self {
        Rows::Slim(Slab::default())
    }
}

/// The same for rows of either width.
macro_rules! either {
    ($all:expr, $rows:ident => $what:expr) => {
        match $all {
            Rows::Slim($rows) => $what,
            Rows::Wide($rows) => $what,
        }
    };
}

impl Rows {
    /// Makes room for the cells of so many rules.
    pub(crate) fn widen(&mut self, rules: usize) {
        let Rows::Slim(slim) = self else { return };
        if rules <= 1 {
            return;
        }
        let mut wide = Slab::default();
        for Row { text, notes, places: [place], .. } in slim.iter() {
            let mut row = Wide { text: text.clone(), notes: *notes, ..Wide::of(&[]) };
            row.places[0] = *place;
            wide.push(row);
        }
        *self = Rows::Wide(wide);
    }

    pub(crate) fn len(&self) -> usize {
        either!(self, rows => rows.len())
    }

    /// Brings a row near.
    #[inline]
    pub(crate) fn near(&self, id: u32) {
        either!(self, rows => rows.near(id as usize));
    }

    /// Puts a key where a free one is, or appends it; returns its id.
    pub(crate) fn put(&mut self, free: &mut Vec<u32>, text: &[u8]) -> u32 {
        either!(self, rows => rows.put(free, Row::of(text)))
    }

    /// A key's text; empty where there is none.
    #[inline]
    pub(crate) fn text(&self, id: u32) -> &[u8] {
        either!(self, rows => rows.get(id as usize).map_or(&[], |row| &row.text))
    }

    #[inline]
    pub(crate) fn notes(&self, id: u32) -> Option<Notes> {
        either!(self, rows => rows.get(id as usize).map(|row| row.notes))
    }

    /// Where the cell of an early rule stands in its table.
    #[inline]
    pub(crate) fn place(&self, id: u32, n: usize) -> Option<u32> {
        either!(self, rows => rows.get(id as usize)?.places.get(n).copied())
    }

    /// Where the cells of all early rules stand; none of a key that there is not.
    #[inline]
    pub(crate) fn places(&self, id: u32) -> &[u32] {
        either!(self, rows => rows.get(id as usize).map_or(&[], |row| &row.places))
    }

    pub(crate) fn notes_mut(&mut self, id: u32) -> &mut Notes {
        either!(self, rows => &mut rows[id as usize].notes)
    }

    pub(crate) fn place_mut(&mut self, id: u32, n: usize) -> &mut u32 {
        either!(self, rows => &mut rows[id as usize].places[n])
    }

    /// Takes a key's text away.
    pub(crate) fn clear(&mut self, id: u32) {
        either!(self, rows => rows[id as usize].text = SmallVec::new());
    }

    /// Bytes on the heap, without texts too long to stand inline.
    pub(crate) fn bytes(&self) -> usize {
        either!(self, rows => rows.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_places_stay_when_rows_grow_wide() {
        let (mut rows, mut free) = (Rows::default(), Vec::new());
        let texts: Vec<String> =
            (0..3_000).map(|n| format!("{n:0>width$}", width = n % 40)).collect();
        for (n, text) in (0..).zip(&texts) {
            let id = rows.put(&mut free, text.as_bytes());
            *rows.place_mut(id, 0) = 7 * n;
            *rows.notes_mut(id) = Notes { cells: 1, is_young: n % 3 == 0 };
        }
        rows.widen(1);
        assert!(matches!(rows, Rows::Slim(_)));
        let slim = rows.bytes();
        rows.widen(2);
        assert!(rows.bytes() > slim);
        for (n, text) in (0..).zip(&texts) {
            assert_eq!(rows.text(n), text.as_bytes());
            assert_eq!([0, 1].map(|rule| rows.place(n, rule)), [Some(7 * n), Some(NONE)]);
            assert_eq!(rows.notes(n).map(|notes| notes.is_young), Some(n % 3 == 0));
        }
        rows.clear(5);
        free.push(5);
        assert_eq!(rows.put(&mut free, b"another"), 5);
        assert_eq!(
            (rows.text(5), rows.place(5, 0), rows.len()),
            (&b"another"[..], Some(NONE), 3_000)
        );
    }
}
