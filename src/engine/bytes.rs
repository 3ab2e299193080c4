//! Primitives of our binary codecs: integers are LEB128 varints, signed ones zigzag-coded; texts
//! and lists have their length in front.

#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
#[inline]
pub(crate) fn put(bytes: &mut Vec<u8>, mut number: u64) {
    if number < 0x80 {
        bytes.push(number as u8);
        return;
    }
    let (mut some, mut len) = ([0; 10], 0);
    while number >= 0x80 {
        some[len] = number as u8 | 0x80;
        number >>= 7;
        len += 1;
    }
    some[len] = number as u8;
    bytes.extend_from_slice(&some[..=len]);
}

pub(crate) fn put_signed(bytes: &mut Vec<u8>, number: i64) {
    put(bytes, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

pub(crate) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

/// What has not been read yet.
pub(crate) struct Rest<'a>(pub(crate) &'a [u8]);

impl<'a> Rest<'a> {
    #[inline]
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Option<u64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        let mut number = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return Some(number);
            }
            if shift > 63 {
                return None;
            }
        }
    }

    #[inline]
    pub(crate) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(first)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let len = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.bytes(len)?).ok()
    }

    /// The bytes of a list of items of one size.
    pub(crate) fn list(&mut self, size: usize) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        self.bytes(len.checked_mul(size)?)
    }
}
