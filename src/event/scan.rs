//! A JSON scanner that borrows: RFC 8259 to the letter, plus E1's two faults, duplicate keys
//! and lone surrogates, wherever they stand.
//!
//! Positions go in and out by value and a [`Span`] fits one register, so that no step has to
//! wait for a store of the one before.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::event::eights::{no_digits, special};
use crate::event::quotes::Quotes;
use crate::event::span::{PLACE_MAX, Sort, Span};

/// Objects and arrays may nest so deep.
const DEPTH_MAX: u32 = 64;

/// Not JSON, or one of E1's faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotJson;

/// A text that is to be scanned, of less than 1 GiB.
/// Without `CHECKED`, keys are not looked at for duplicates: they were, or are by someone else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scanner<'a, const CHECKED: bool = true> {
    text: &'a str,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Result<Self, NotJson> {
        let short = u32::try_from(text.len()).is_ok_and(|size| size < PLACE_MAX);
        if short { Ok(Scanner { text }) } else { Err(NotJson) }
    }
}

impl<'a, const CHECKED: bool> Scanner<'a, CHECKED> {
    /// Holds the whole text to be one object. `member` is given the [`word`] of each key and where
    /// its value begins, and reads it.
    #[inline]
    pub(crate) fn whole(
        self,
        mut member: impl FnMut(u64, u32) -> Result<Span, NotJson>,
    ) -> Result<Span, NotJson> {
        let object = self.object(self.space(0), 0, |_, word, at| member(word, at))?;
        let ends = self.space(object.end()) as usize == self.text.len();
        if ends { Ok(object) } else { Err(NotJson) }
    }

    /// Calls `member` for each member of an object that was read before.
    pub(crate) fn members(
        self,
        object: Span,
        mut member: impl FnMut(Span, Span),
    ) -> Result<(), NotJson> {
        let read = |name, _, at| {
            let value = self.value(at, 0)?;
            member(name, value);
            Ok(value)
        };
        self.object(object.begin(), 0, read)?;
        Ok(())
    }

    /// Calls `element` for each element of an array that was read before.
    pub(crate) fn elements(
        self,
        array: Span,
        element: &mut dyn FnMut(Span),
    ) -> Result<(), NotJson> {
        self.array(array.begin(), 0, element)?;
        Ok(())
    }

    /// The bytes of the value; for a string with escapes, these as they stand.
    #[inline]
    pub(crate) fn slice(self, span: Span) -> &'a str {
        self.text.get(span.begin() as usize..span.last() as usize).unwrap_or_default()
    }

    /// What a string says; a copy only if it has an escape.
    #[inline]
    pub(crate) fn string(self, span: Span) -> Cow<'a, str> {
        let raw = self.slice(span);
        if span.is(Sort::Escaped) { Cow::Owned(unescaped(raw)) } else { Cow::Borrowed(raw) }
    }

    /// A string of at most eight bytes as [`word`] has it, and something else for any other.
    #[inline]
    pub(crate) fn word(self, span: Span) -> u64 {
        if span.is(Sort::Escaped) {
            return word(self.string(span).as_bytes());
        }
        let size = span.last() - span.begin();
        let first = self.chunk(span.begin());
        match size {
            0 => 0,
            1..=8 => first & (u64::MAX >> (64 - 8 * size)),
            _ => NO_WORD,
        }
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// Bytes of the text.
    pub(super) fn size(self) -> u32 {
        u32::try_from(self.text.len()).unwrap_or(u32::MAX)
    }

    /// Whether the text ends there.
    #[inline]
    pub(super) fn is_end(self, at: u32) -> bool {
        at as usize == self.text.len()
    }

    #[inline]
    fn peek(self, at: u32) -> u8 {
        // JSON has no place for a zero byte, so it may stand for the end.
        self.text.as_bytes().get(at as usize).copied().unwrap_or(0)
    }

    /// Where white space ends.
    #[inline]
    fn space(self, mut at: u32) -> u32 {
        while matches!(self.peek(at), b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    /// The object at `from`; `member` is given each key, its [`word`] and where its value begins,
    /// and reads it.
    #[inline]
    fn object(
        self,
        from: u32,
        depth: u32,
        mut member: impl FnMut(Span, u64, u32) -> Result<Span, NotJson>,
    ) -> Result<Span, NotJson> {
        let mut at = self.open(from, b'{')?;
        if self.peek(at) == b'}' {
            return Ok(Span::new(Sort::Object, from, at + 1));
        }
        let mut marks = 0u64;
        let mut suspect = false;
        loop {
            let (key, word) = self.key(at)?;
            at = self.open(self.space(key.end()), b':')?;
            at = self.space(member(key, word, at)?.end());
            let mark = self.mark(key);
            // An escaped key may be another one in disguise.
            suspect |= key.is(Sort::Escaped) || marks & mark != 0;
            marks |= mark;
            match self.peek(at) {
                b',' => at = self.space(at + 1),
                b'}' => break,
                _ => return Err(NotJson),
            }
        }
        if suspect && CHECKED {
            self.unique(from, depth)?;
        }
        Ok(Span::new(Sort::Object, from, at + 1))
    }

    /// Refuses the object that begins at `from` if it has a key twice. Sorting keeps a hostile
    /// object from costing n²; what nests in it is not looked at again, or depth would double
    /// the cost at each level.
    #[cold]
    fn unique(self, from: u32, depth: u32) -> Result<(), NotJson> {
        let again = Scanner::<false> { text: self.text };
        let mut keys: SmallVec<[Cow<'a, str>; 16]> = SmallVec::new();
        again.object(from, depth, |key, _, at| {
            keys.push(self.string(key));
            again.value(at, depth)
        })?;
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) { Err(NotJson) } else { Ok(()) }
    }

    /// The array at `from`.
    fn array(self, from: u32, depth: u32, element: &mut dyn FnMut(Span)) -> Result<Span, NotJson> {
        let mut at = self.open(from, b'[')?;
        if self.peek(at) == b']' {
            return Ok(Span::new(Sort::Array, from, at + 1));
        }
        loop {
            let value = self.value(at, depth)?;
            element(value);
            at = self.space(value.end());
            match self.peek(at) {
                b',' => at = self.space(at + 1),
                b']' => return Ok(Span::new(Sort::Array, from, at + 1)),
                _ => return Err(NotJson),
            }
        }
    }

    /// Where the text goes on after `byte` and white space.
    #[inline]
    fn open(self, at: u32, byte: u8) -> Result<u32, NotJson> {
        if self.peek(at) == byte { Ok(self.space(at + 1)) } else { Err(NotJson) }
    }

    /// The value at `from`, which lies `depth` objects and arrays deep.
    #[inline]
    pub(crate) fn value(self, from: u32, depth: u32) -> Result<Span, NotJson> {
        match self.peek(from) {
            b'"' => self.quoted(from),
            b'-' | b'0'..=b'9' => self.number(from),
            _ => self.rare(from, depth),
        }
    }

    /// The value at `from`; if it is an object, its members go to `member`.
    #[inline]
    pub(crate) fn value_with(
        self,
        from: u32,
        depth: u32,
        mut member: impl FnMut(Span, Span),
    ) -> Result<Span, NotJson> {
        if self.peek(from) != b'{' {
            return self.value(from, depth);
        }
        self.object(from, depth + 1, |name, _, at| {
            let value = self.value(at, depth + 1)?;
            member(name, value);
            Ok(value)
        })
    }

    /// A value that is neither a string nor a number.
    fn rare(self, from: u32, depth: u32) -> Result<Span, NotJson> {
        match self.peek(from) {
            b'{' | b'[' if depth + 1 >= DEPTH_MAX => Err(NotJson),
            b'{' => self.object(from, depth + 1, |_, _, at| self.value(at, depth + 1)),
            b'[' => self.array(from, depth + 1, &mut |_| {}),
            b't' => self.literal(from, "true", Sort::True),
            b'f' => self.literal(from, "false", Sort::False),
            b'n' => self.literal(from, "null", Sort::Null),
            _ => Err(NotJson),
        }
    }

    fn literal(self, from: u32, word: &str, sort: Sort) -> Result<Span, NotJson> {
        let rest = self.text.as_bytes().get(from as usize..).unwrap_or_default();
        let to = word.bytes().fold(from, |at, _| at + 1);
        if rest.starts_with(word.as_bytes()) { Ok(Span::new(sort, from, to)) } else { Err(NotJson) }
    }

    /// The value at `from` of a text with these quotes, if it is a string.
    #[inline]
    pub(super) fn plain_value(self, quotes: &Quotes, from: u32) -> Option<Span> {
        if self.peek(from) != b'"' {
            return None;
        }
        Some(Span::new(Sort::Text, from + 1, quotes.next(from + 1)?))
    }

    #[inline]
    fn number(self, from: u32) -> Result<Span, NotJson> {
        let mut to = from + u32::from(self.peek(from) == b'-');
        to = match self.peek(to) {
            b'0' => to + 1,
            _ => self.digits(to)?,
        };
        if matches!(self.peek(to), b'.' | b'e' | b'E') {
            return self.decimal(from, to);
        }
        Ok(Span::new(Sort::Integer, from, to))
    }

    /// The number from `from` whose whole part ends at `to`.
    fn decimal(self, from: u32, mut to: u32) -> Result<Span, NotJson> {
        if self.peek(to) == b'.' {
            to = self.digits(to + 1)?;
        }
        if matches!(self.peek(to), b'e' | b'E') {
            to += 1;
            to += u32::from(matches!(self.peek(to), b'+' | b'-'));
            to = self.digits(to)?;
        }
        Ok(Span::new(Sort::Decimal, from, to))
    }

    /// At least one digit.
    #[inline]
    fn digits(self, from: u32) -> Result<u32, NotJson> {
        let mut at = from;
        loop {
            let others = no_digits(self.chunk(at));
            at += others.trailing_zeros() / 8;
            if others != 0 {
                return if at > from { Ok(at) } else { Err(NotJson) };
            }
        }
    }

    /// The string whose opening quote is at `at`, and its [`word`]: names are short, so that most
    /// end within the bytes that are read first.
    #[inline]
    fn key(self, at: u32) -> Result<(Span, u64), NotJson> {
        let from = at + 1;
        let first = self.chunk(from);
        let special = special(first);
        let size = special.trailing_zeros() / 8;
        if special != 0 && first >> (8 * size) & 0xff == u64::from(b'"') && self.peek(at) == b'"' {
            let word = first & !(u64::MAX << (8 * size));
            return Ok((Span::new(Sort::Text, from, from + size), word));
        }
        let key = self.quoted(at)?;
        Ok((key, self.word(key)))
    }

    /// The string whose opening quote is at `at`.
    #[inline]
    fn quoted(self, at: u32) -> Result<Span, NotJson> {
        if self.peek(at) != b'"' {
            return Err(NotJson);
        }
        let from = at + 1;
        let to = self.plain(from);
        match self.peek(to) {
            b'"' => Ok(Span::new(Sort::Text, from, to)),
            b'\\' => self.escaped(from, to),
            _ => Err(NotJson),
        }
    }

    /// The string from `from` whose first escape is at `at`.
    #[cold]
    fn escaped(self, from: u32, mut at: u32) -> Result<Span, NotJson> {
        loop {
            match self.peek(at) {
                b'"' => return Ok(Span::new(Sort::Escaped, from, at)),
                b'\\' => at = self.plain(self.escape(at + 1)?.1),
                _ => return Err(NotJson),
            }
        }
    }

    /// The next byte that a string cannot hold as it is.
    #[inline]
    fn plain(self, from: u32) -> u32 {
        let rest = self.text.as_bytes().get(from as usize..).unwrap_or_default();
        let mut at = from;
        for chunk in rest.as_chunks().0 {
            let special = special(u64::from_le_bytes(*chunk));
            if special != 0 {
                return at + special.trailing_zeros() / 8;
            }
            at += 8;
        }
        // Past the end there are zeros, which end any string.
        at + special(self.tail(at as usize)).trailing_zeros() / 8
    }

    /// The eight bytes from `at` on, the first of them lowest; zeros where the text has ended.
    #[inline]
    pub(super) fn chunk(self, at: u32) -> u64 {
        match self.text.as_bytes().get(at as usize..).and_then(|rest| rest.first_chunk()) {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => self.tail(at as usize),
        }
    }

    /// The sixteen bytes from `at` on, as two [`chunk`](Self::chunk)s.
    #[inline]
    pub(super) fn chunks(self, at: u32) -> [u64; 2] {
        match self.text.as_bytes().get(at as usize..).and_then(|rest| rest.first_chunk::<16>()) {
            Some(both) => {
                let both = u128::from_le_bytes(*both);
                #[expect(clippy::cast_possible_truncation, reason = "each half in turn")]
                let halves = [both as u64, (both >> 64) as u64];
                halves
            }
            None => self.last_chunks(at),
        }
    }

    #[inline(never)]
    fn last_chunks(self, at: u32) -> [u64; 2] {
        [self.chunk(at), self.chunk(at + 8)]
    }

    fn tail(self, at: usize) -> u64 {
        let bytes = self.text.as_bytes();
        let rest = bytes.get(at..).unwrap_or_default();
        match bytes.last_chunk() {
            Some(last) if !rest.is_empty() => u64::from_le_bytes(*last) >> (8 * (8 - rest.len())),
            _ => rest.iter().rev().fold(0, |chunk, byte| chunk << 8 | u64::from(*byte)),
        }
    }

    /// What follows a backslash, and where it ends.
    fn escape(self, at: u32) -> Result<(char, u32), NotJson> {
        let byte = self.peek(at);
        let at = at + 1;
        let said = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(at),
            _ => return Err(NotJson),
        };
        Ok((said, at))
    }

    /// The digits of `\u`, and those of a second one if the first is half a character.
    fn unicode(self, at: u32) -> Result<(char, u32), NotJson> {
        let (high, at) = self.hex4(at)?;
        if !(0xd800..0xdc00).contains(&high) {
            return Ok((char::from_u32(high).ok_or(NotJson)?, at));
        }
        if (self.peek(at), self.peek(at + 1)) != (b'\\', b'u') {
            return Err(NotJson);
        }
        let (low, at) = self.hex4(at + 2)?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(NotJson);
        }
        let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        Ok((char::from_u32(code).ok_or(NotJson)?, at))
    }

    fn hex4(self, at: u32) -> Result<(u32, u32), NotJson> {
        let digits = self.text.get(at as usize..at as usize + 4).ok_or(NotJson)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotJson);
        }
        Ok((u32::from_str_radix(digits, 16).map_err(|_| NotJson)?, at + 4))
    }

    /// One bit of 64 for a key: keys with bits of their own differ. Those of E1 and E2 have.
    #[inline]
    fn mark(self, key: Span) -> u64 {
        // The last byte of an empty key is its quote.
        let (first, last) = (self.peek(key.begin()), self.peek(key.last().saturating_sub(1)));
        let mixed = u64::from(first) * MIX.0
            + u64::from(last) * MIX.1
            + u64::from(key.last() - key.begin()) * MIX.2;
        1 << (mixed % 64)
    }
}

/// What a string says whose escapes were checked.
#[cold]
fn unescaped(raw: &str) -> String {
    let scanner = Scanner::<false> { text: raw };
    let mut text = String::with_capacity(raw.len());
    let mut from = 0;
    loop {
        let to = scanner.plain(from);
        text.push_str(scanner.slice(Span::new(Sort::Text, from, to)));
        let Ok((said, after)) = scanner.escape(to + 1) else { return text };
        text.push(said);
        from = after;
    }
}

/// Up to eight bytes as a number, so that names are compared at one blow: equal for equal
/// strings only, but for those that are longer or hold a zero byte, which are all `NO_WORD`.
#[inline]
pub(crate) const fn word(bytes: &[u8]) -> u64 {
    if bytes.len() > 8 {
        return NO_WORD;
    }
    let mut word = 0;
    let mut at = bytes.len();
    while at > 0 {
        at -= 1;
        if bytes[at] == 0 {
            return NO_WORD;
        }
        word = word << 8 | bytes[at] as u64;
    }
    word
}

/// The number of no string, since UTF-8 has no such byte.
const NO_WORD: u64 = 0xff;

/// Found by search.
const MIX: (u64, u64, u64) = (1, 1, 6);
