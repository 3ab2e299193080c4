//! What stands in rows, and where.

use crate::engine::arena::Byte;
use crate::engine::habit::Habit;
use crate::engine::plan::Form;
use crate::engine::seen::Value;
use crate::engine::small::Small;

/// What stands in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Counters of thresholds and the like.
    Number,
    /// Counters of z-scores.
    Habit,
    /// Values of a field that the key has shown.
    Shown,
}

impl Column {
    /// What rules of this form count in.
    pub(crate) fn of(form: Form) -> Column {
        if form == Form::ZScore { Column::Habit } else { Column::Number }
    }
}

/// A counter of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Held {
    /// Its place in its table.
    Whole(u32),
    Small(Small),
    Habit(Habit),
    /// One value.
    Value(Value),
}

/// Where a counter of a key stands. All that is told beside which it is are words, so that it is handed
/// on in two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Nowhere,
    /// In its table, at this place.
    Whole(usize),
    Small(Spot),
    Habit(Spot),
    Value(Byte),
}

/// Where a small counter stands; good as long as no counter of a key of this form comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot(usize);

/// What a spot says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stands {
    Row {
        at: Byte,
        is_odd: bool,
    },
    /// Apart from rows, at this place.
    Apart(usize),
}

impl Spot {
    const APART: usize = 1;
    const ODD: usize = 2;
    const BITS: u32 = 2;

    #[inline]
    pub(super) fn row(at: Byte, is_odd: bool) -> Spot {
        Spot(at.0 << Spot::BITS | if is_odd { Spot::ODD } else { 0 })
    }

    #[inline]
    pub(crate) fn apart(at: u32) -> Spot {
        Spot((at as usize) << Spot::BITS | Spot::APART)
    }

    #[inline]
    pub(crate) fn stands(self) -> Stands {
        let at = self.0 >> Spot::BITS;
        match self.0 & Spot::APART {
            0 => Stands::Row { at: Byte(at), is_odd: self.0 & Spot::ODD != 0 },
            _ => Stands::Apart(at),
        }
    }
}

/// What else is noted of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// How many counters it has that stand in no row.
    pub(crate) apart: u16,
    /// Whether it has a number in [`Space`](crate::engine::space::Space).
    pub(crate) is_young: bool,
}

const YOUNG: u16 = 1 << 15;

impl Notes {
    pub(super) fn of(bits: u16) -> Notes {
        Notes { apart: bits & !YOUNG, is_young: bits & YOUNG != 0 }
    }

    pub(super) fn bits(self) -> u16 {
        self.apart.min(!YOUNG) | if self.is_young { YOUNG } else { 0 }
    }
}
