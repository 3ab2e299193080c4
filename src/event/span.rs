//! Where a value of a record stands, and of what sort it is; reads no text.

use std::num::NonZeroU64;

/// What a value is; what nests is checked but kept as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Null = 1,
    True,
    False,
    Integer,
    /// A number with a fraction or an exponent.
    Decimal,
    Text,
    /// A text with escapes, which were checked.
    Escaped,
    Object,
    Array,
}

/// Where a value stands in the text; of a string, what is between its quotes.
/// Four bits of sort, thirty each of beginning and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(NonZeroU64);

const _: () = assert!(Sort::Text as u64 | 1 == Sort::Escaped as u64);

const PLACE_BITS: u32 = 30;
pub(super) const PLACE_MAX: u32 = (1 << PLACE_BITS) - 1;

impl Span {
    pub(crate) const NULL: Span = Span::new(Sort::Null, 0, 0);

    #[inline]
    pub(super) const fn new(sort: Sort, from: u32, to: u32) -> Span {
        let place = (from as u64) << PLACE_BITS | to as u64;
        match NonZeroU64::new((sort as u64) << (2 * PLACE_BITS) | place) {
            Some(bits) => Span(bits),
            // No sort is zero.
            None => Span(NonZeroU64::MIN),
        }
    }

    #[inline]
    pub(crate) fn sort(self) -> Sort {
        match self.0.get() >> (2 * PLACE_BITS) {
            2 => Sort::True,
            3 => Sort::False,
            4 => Sort::Integer,
            5 => Sort::Decimal,
            6 => Sort::Text,
            7 => Sort::Escaped,
            8 => Sort::Object,
            9 => Sort::Array,
            _ => Sort::Null,
        }
    }

    #[inline]
    pub(crate) fn is(self, sort: Sort) -> bool {
        self.0.get() >> (2 * PLACE_BITS) == sort as u64
    }

    #[inline]
    pub(crate) fn is_text(self) -> bool {
        // Only their numbers differ in nothing but the lowest bit of this one.
        self.0.get() >> (2 * PLACE_BITS) | 1 == Sort::Escaped as u64
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.begin() == self.last()
    }

    /// Where the value begins; of a string, behind its quote.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked")]
    pub(crate) fn begin(self) -> u32 {
        (self.0.get() >> PLACE_BITS) as u32 & PLACE_MAX
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked")]
    pub(super) fn last(self) -> u32 {
        self.0.get() as u32 & PLACE_MAX
    }

    /// Where the value begins, its opening quote or bracket included.
    #[inline]
    pub(super) fn start(self) -> u32 {
        self.begin() - u32::from(self.is_text())
    }

    /// Where the text goes on after the value.
    #[inline]
    pub(super) fn end(self) -> u32 {
        self.last() + u32::from(self.is_text())
    }
}
