//! Where counters stand in a row: behind those of the columns before that have one.
//!
//! A counter takes as much room whole as small, so that it changes its form in its place. What follows
//! from which columns have one is reckoned once for as long as many keys have the same ("hidden classes":
//! Chambers, Ungar and Lee 1989, "An efficient implementation of SELF").

use crate::engine::habit::Habit;
use crate::engine::rows::{COLUMNS_MAX, Column, VALUE};
use crate::engine::small::Small;

/// Forms of a counter, two bits each.
pub(super) const NOTHING: u64 = 0;
pub(super) const WHOLE: u64 = 1;
pub(super) const SMALL: u64 = 2;
/// A small one that is odd.
pub(super) const ODD: u64 = 3;

/// The lower bit of each form.
const LOWER: u64 = 0x5555_5555_5555_5555;
/// Shapes that are remembered, as a power of two; of one column there are no more than two.
const SHAPE_BITS: u32 = 10;

/// The columns of the rows of one key form.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) columns: Vec<Column>,
    kinds: [Column; COLUMNS_MAX],
    /// Bytes of the forms, and which bits of a word they are.
    pub(super) forms: usize,
    mask: u64,
    /// The lower bits of those of counters.
    counters: u64,
    /// By a hash of which columns have something.
    shapes: Vec<Shape>,
    /// Makes a place of a hash.
    shift: u32,
}

/// Where what columns have begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// A lower bit for each that has something.
    has: u64,
    offsets: [u16; COLUMNS_MAX],
    used: u16,
}

impl Shape {
    /// How far behind the first what a column has stands, or would.
    #[inline]
    pub(super) fn offset(&self, column: usize) -> usize {
        usize::from(self.offsets[column % COLUMNS_MAX])
    }

    /// Bytes of all that stands there.
    #[inline]
    pub(super) fn used(&self) -> usize {
        usize::from(self.used)
    }
}

impl Default for Layout {
    fn default() -> Self {
        Layout::new(&[])
    }
}

impl Layout {
    pub(super) fn new(columns: &[Column]) -> Layout {
        let mask = |some: usize| if some < COLUMNS_MAX { (1 << (2 * some)) - 1 } else { !0 };
        let all = mask(columns.len());
        let mut kinds = [Column::Number; COLUMNS_MAX];
        kinds.iter_mut().zip(columns).for_each(|(kind, column)| *kind = *column);
        let mut layout = Layout {
            columns: columns.to_vec(),
            kinds,
            forms: (2 * columns.len()).div_ceil(8),
            mask: all,
            counters: all & !mask(shown(columns)) & LOWER,
            shapes: Vec::new(),
            shift: 0,
        };
        let bits = if columns.len() > 1 { SHAPE_BITS } else { 1 };
        layout.shift = u64::BITS - bits;
        layout.shapes = vec![layout.new_shape(0); 1 << bits];
        layout
    }

    /// The forms in a word that begins with them.
    #[inline]
    pub(super) fn forms(&self, word: [u8; 8]) -> u64 {
        u64::from_le_bytes(word) & self.mask
    }

    #[inline]
    fn place(&self, has: u64) -> usize {
        let hash = has.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        usize::try_from(hash.wrapping_shr(self.shift)).unwrap_or(0)
    }

    /// How far behind the first what a column has stands, or would.
    #[inline]
    pub(super) fn offset(&self, forms: u64, column: usize) -> usize {
        let has = has(forms);
        match self.shapes.get(self.place(has)).filter(|shape| shape.has == has) {
            Some(shape) => shape.offset(column),
            None => self.reckon(has, column),
        }
    }

    /// What is remembered at this place.
    #[inline]
    pub(super) fn shape(&self, place: usize) -> &Shape {
        &self.shapes[place]
    }

    #[cold]
    fn reckon(&self, has: u64, column: usize) -> usize {
        let before = self.columns.iter().take(column).enumerate();
        before.map(|(at, column)| if has >> (2 * at) & 1 == 1 { column.bytes() } else { 0 }).sum()
    }

    fn new_shape(&self, has: u64) -> Shape {
        let mut offsets = [0; COLUMNS_MAX];
        let mut used = 0;
        for (at, column) in self.columns.iter().enumerate() {
            offsets[at] = used;
            if has >> (2 * at) & 1 == 1 {
                used += u16::try_from(column.bytes()).unwrap_or(0);
            }
        }
        Shape { has, offsets, used }
    }

    /// Remembers what such forms come to, and where.
    #[inline]
    pub(super) fn note(&mut self, forms: u64) -> usize {
        let has = has(forms);
        let place = self.place(has);
        if self.shapes[place].has != has {
            self.shapes[place] = self.new_shape(has);
        }
        place
    }

    /// Bytes of what a column has where it has something.
    #[inline]
    pub(super) fn width(&self, column: usize) -> usize {
        self.kind(column).bytes()
    }

    #[inline]
    pub(super) fn kind(&self, column: usize) -> Column {
        self.kinds[column % COLUMNS_MAX]
    }

    /// How many counters there are.
    #[inline]
    pub(super) fn cells(&self, forms: u64) -> u16 {
        u16::try_from((has(forms) & self.counters).count_ones()).unwrap_or(u16::MAX)
    }
}

impl Column {
    /// What it takes in a row.
    #[inline]
    fn bytes(self) -> usize {
        match self {
            Column::Number => Small::BYTES,
            Column::Habit => Habit::BYTES,
            Column::Shown => VALUE,
        }
    }
}

/// The lower bit of each column that has something.
#[inline]
fn has(forms: u64) -> u64 {
    (forms | forms >> 1) & LOWER
}

/// Whether something stands elsewhere.
#[inline]
pub(super) fn has_whole(forms: u64) -> bool {
    forms & !(forms >> 1) & LOWER != 0
}

/// The form of a column.
#[inline]
pub(super) fn form(forms: u64, column: usize) -> u64 {
    forms >> (2 * (column % COLUMNS_MAX)) & 3
}

/// How many columns are of what is shown; they come first.
pub(super) fn shown(columns: &[Column]) -> usize {
    columns.iter().take_while(|column| **column == Column::Shown).count()
}
