//! What events add to a measure.

use std::ops::Range;

use smallvec::SmallVec;

/// What some events add to a measure, borrowed. Reversals take away: negative count and sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Added<'a> {
    pub(crate) count: i64,
    pub(crate) sum: i64,
    pub(crate) max: Option<i64>,
    pub(crate) values: Values<'a>,
}

/// Hashes of distinct values, each with the latest event time it came with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Values<'a> {
    Pairs(&'a [(u64, i64)]),
    /// As they stand in a record: see [`pack`].
    Packed(&'a [[u8; PACKED]]),
}

/// Bytes of a packed value: 8 of the hash, 6 of the event time.
pub(crate) const PACKED: usize = 14;

/// A value as it stands in a record. Event times (E1) need 42 bits.
pub(crate) fn pack(hash: u64, ts: i64) -> [u8; PACKED] {
    let mut bytes = [0; PACKED];
    let (first, last) = bytes.split_at_mut(8);
    first.copy_from_slice(&hash.to_le_bytes());
    last.copy_from_slice(&ts.to_le_bytes()[..6]);
    bytes
}

fn unpack(bytes: &[u8; PACKED]) -> (u64, i64) {
    let (mut hash, mut ts) = ([0; 8], [0; 8]);
    hash.copy_from_slice(&bytes[..8]);
    ts[..6].copy_from_slice(&bytes[8..]);
    (u64::from_le_bytes(hash), i64::from_le_bytes(ts))
}

impl Default for Values<'_> {
    fn default() -> Self {
        Values::Pairs(&[])
    }
}

impl PartialEq for Values<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Values<'_> {}

impl<'a> Values<'a> {
    pub(crate) fn len(self) -> usize {
        match self {
            Values::Pairs(pairs) => pairs.len(),
            Values::Packed(packed) => packed.len(),
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The values of a range, which must lie within.
    pub(crate) fn part(self, range: Range<usize>) -> Values<'a> {
        match self {
            Values::Pairs(pairs) => Values::Pairs(&pairs[range]),
            Values::Packed(packed) => Values::Packed(&packed[range]),
        }
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = (u64, i64)> + use<'a> {
        let (pairs, packed): (&[(u64, i64)], &[[u8; PACKED]]) = match self {
            Values::Pairs(pairs) => (pairs, &[]),
            Values::Packed(packed) => (&[], packed),
        };
        pairs.iter().copied().chain(packed.iter().map(unpack))
    }
}

/// Adds nothing.
pub(crate) const NOTHING: Added<'static> =
    Added { count: 0, sum: 0, max: None, values: Values::Pairs(&[]) };

impl Added<'_> {
    /// The distinct value that is added, where that is one, of this event time.
    #[inline]
    pub(crate) fn only(&self, ts: i64) -> Option<u64> {
        let (hash, of_value) = self.values.iter().next()?;
        (self.values.len() == 1 && of_value == ts).then_some(hash)
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.count == 0 && self.sum == 0 && self.max.is_none() && self.values.is_empty()
    }
}

/// What has been added together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) count: i64,
    pub(crate) sum: i64,
    pub(crate) max: Option<i64>,
    pub(crate) values: SmallVec<[(u64, i64); 1]>,
}

impl Tally {
    pub(crate) fn new(first: &Added<'_>) -> Tally {
        Tally {
            count: first.count,
            sum: first.sum,
            max: first.max,
            values: match first.values {
                Values::Pairs(pairs) => SmallVec::from_slice(pairs),
                packed @ Values::Packed(_) => packed.iter().collect(),
            },
        }
    }

    pub(crate) fn view(&self) -> Added<'_> {
        let Tally { count, sum, max, values } = self;
        Added { count: *count, sum: *sum, max: *max, values: Values::Pairs(values) }
    }

    /// Adds to it; true when a sum saturated (R19).
    pub(crate) fn add(&mut self, other: &Added<'_>) -> bool {
        for (hash, ts) in other.values.iter() {
            match self.values.iter_mut().find(|(known, _)| *known == hash) {
                Some((_, last)) => *last = (*last).max(ts),
                None => self.values.push((hash, ts)),
            }
        }
        self.add_numbers(other)
    }

    /// Adds all but the distinct values.
    pub(crate) fn add_numbers(&mut self, other: &Added<'_>) -> bool {
        let over = self.sum.checked_add(other.sum).is_none();
        self.sum = self.sum.saturating_add(other.sum);
        self.count += other.count;
        self.max = self.max.max(other.max);
        over
    }
}
