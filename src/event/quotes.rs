//! Where the quotes of a plain record stand, found in one pass over it.
//!
//! Plain is a record without a backslash and without a control byte: most are. A string of it
//! ends at the next quote. (Finding quotes first, as bits, is the idea of Langdale and
//! Lemire 2019, "Parsing gigabytes of JSON per second".)

#[cfg(test)]
mod tests;

use wide::u8x16;

/// Words of bits; longer records are read without.
const WORDS: usize = 8;

/// A bit for each byte of a record that is a quote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quotes([u64; WORDS]);

impl Quotes {
    /// `None` for a record that is not plain, too long, or shorter than any event.
    #[inline]
    pub(super) fn of(bytes: &[u8]) -> Option<Quotes> {
        if bytes.len() > 64 * WORDS {
            return None;
        }
        let (parts, rest) = bytes.as_chunks::<16>();
        let mut quotes = [0; WORDS];
        let mut unusual = Unusual::default();
        for (word, parts) in quotes.iter_mut().zip(parts.chunks(4)) {
            for (at, part) in parts.iter().enumerate() {
                *word |= unusual.look(part) << (16 * at);
            }
        }
        if !rest.is_empty() {
            // The last sixteen once more: of those before, the quotes are known.
            let last = unusual.look(bytes.last_chunk()?) >> (16 - rest.len());
            *quotes.get_mut(parts.len() / 4)? |= last << (16 * (parts.len() % 4));
        }
        (!unusual.any()).then_some(Quotes(quotes))
    }

    /// The place of the first quote from `from` on.
    #[inline]
    pub(super) fn next(&self, from: u32) -> Option<u32> {
        let mut at = from as usize / 64;
        let mut word = self.0.get(at)? & u64::MAX << (from % 64);
        while word == 0 {
            at += 1;
            word = *self.0.get(at)?;
        }
        let base = u32::try_from(at).ok()? * 64;
        Some(base + word.trailing_zeros())
    }
}

/// Whether anything was seen that a plain record does not hold.
#[derive(Debug, Default)]
struct Unusual(u8x16);

impl Unusual {
    /// The quotes of a part.
    #[inline]
    fn look(&mut self, part: &[u8; 16]) -> u64 {
        let part = u8x16::from(*part);
        let is = |byte: u8| part.simd_eq(u8x16::splat(byte));
        let control = part.min(u8x16::splat(0x1f)).simd_eq(part);
        self.0 = self.0 | control | is(b'\\');
        u64::from(is(b'"').to_bitmask())
    }

    #[inline]
    fn any(&self) -> bool {
        self.0.to_bitmask() != 0
    }
}
