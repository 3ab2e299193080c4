//! A JSON scanner that borrows: RFC 8259 to the letter, plus E1's two faults, duplicate keys
//! and lone surrogates, wherever they stand.

use std::borrow::Cow;

use smallvec::SmallVec;

/// Objects and arrays may nest so deep.
const DEPTH_MAX: u32 = 64;

/// Not JSON, or one of E1's faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotJson;

/// A value as it stands; what nests is checked but kept as text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Raw<'a> {
    Null,
    Bool(bool),
    Integer(&'a str),
    /// A number with a fraction or an exponent.
    Decimal(&'a str),
    Text(Cow<'a, str>),
    Object(&'a str),
    Array(&'a str),
}

/// Calls `member` for each member of the object that `text` is.
pub(crate) fn object<'a>(
    text: &'a str,
    mut member: impl FnMut(Cow<'a, str>, Raw<'a>),
) -> Result<(), NotJson> {
    let mut scanner = Scanner { text, at: 0, unchecked: false };
    scanner.space();
    scanner.object(0, &mut member)?;
    scanner.space();
    if scanner.at == text.len() { Ok(()) } else { Err(NotJson) }
}

/// Calls `element` for each element of the array that `text` is.
pub(crate) fn array<'a>(text: &'a str, mut element: impl FnMut(Raw<'a>)) -> Result<(), NotJson> {
    let mut scanner = Scanner { text, at: 0, unchecked: false };
    scanner.array(0, &mut element)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Keys are not looked at for duplicates: they were, or are by someone else.
    unchecked: bool,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(NotJson)
    }

    fn slice(&self, from: usize) -> Result<&'a str, NotJson> {
        self.text.get(from..self.at).ok_or(NotJson)
    }

    fn object(
        &mut self,
        depth: u32,
        member: &mut dyn FnMut(Cow<'a, str>, Raw<'a>),
    ) -> Result<(), NotJson> {
        let from = self.at;
        let mut marks = 0u64;
        let mut suspect = false;
        self.eat(b'{')?;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            let key = self.string()?;
            self.space();
            self.eat(b':')?;
            let value = self.value(depth)?;
            let mark = mark_of(&key);
            suspect |= marks & mark != 0;
            marks |= mark;
            member(key, value);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(NotJson),
            }
        }
        self.at += 1;
        if suspect && !self.unchecked { self.unique(from, depth) } else { Ok(()) }
    }

    /// Refuses the object that begins at `from` if it has a key twice. Sorting keeps a hostile
    /// object from costing n²; what nests in it is not looked at again, or depth would double
    /// the cost at each level.
    fn unique(&self, from: usize, depth: u32) -> Result<(), NotJson> {
        let mut again = Scanner { text: self.text, at: from, unchecked: true };
        let mut keys: SmallVec<[Cow<'a, str>; 16]> = SmallVec::new();
        again.object(depth, &mut |key, _| keys.push(key))?;
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) { Err(NotJson) } else { Ok(()) }
    }

    fn array(&mut self, depth: u32, element: &mut dyn FnMut(Raw<'a>)) -> Result<(), NotJson> {
        self.eat(b'[')?;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            element(self.value(depth)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(NotJson),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: u32) -> Result<Raw<'a>, NotJson> {
        self.space();
        let from = self.at;
        match self.peek() {
            Some(b'"') => self.string().map(Raw::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'{' | b'[') if depth + 1 >= DEPTH_MAX => Err(NotJson),
            Some(b'{') => {
                self.object(depth + 1, &mut |_, _| {})?;
                self.slice(from).map(Raw::Object)
            }
            Some(b'[') => {
                self.array(depth + 1, &mut |_| {})?;
                self.slice(from).map(Raw::Array)
            }
            Some(b't') => self.word("true", Raw::Bool(true)),
            Some(b'f') => self.word("false", Raw::Bool(false)),
            Some(b'n') => self.word("null", Raw::Null),
            _ => Err(NotJson),
        }
    }

    fn word(&mut self, word: &str, value: Raw<'a>) -> Result<Raw<'a>, NotJson> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(NotJson);
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Raw<'a>, NotJson> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(NotJson),
        }
        let mut whole = true;
        if self.peek() == Some(b'.') {
            whole = false;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = self.slice(from)?;
        Ok(if whole { Raw::Integer(text) } else { Raw::Decimal(text) })
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), NotJson> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > from { Ok(()) } else { Err(NotJson) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, NotJson> {
        self.eat(b'"')?;
        let from = self.at;
        loop {
            self.plain();
            match self.peek() {
                Some(b'"') => {
                    let text = self.slice(from)?;
                    self.at += 1;
                    return Ok(Cow::Borrowed(text));
                }
                Some(b'\\') => return self.escaped(from).map(Cow::Owned),
                Some(0x20..) => self.at += 1,
                _ => return Err(NotJson),
            }
        }
    }

    /// Skips string bytes eight at a time, as long as eight are left.
    fn plain(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(word) = bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            let special = special(u64::from_le_bytes(*word));
            if special != 0 {
                self.at += special.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
    }

    /// The rest of a string that has an escape, from its first one on.
    fn escaped(&mut self, from: usize) -> Result<String, NotJson> {
        let mut text = self.slice(from)?.to_owned();
        let mut plain = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    text.push_str(self.slice(plain)?);
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    text.push_str(self.slice(plain)?);
                    self.at += 1;
                    text.push(self.escape()?);
                    plain = self.at;
                }
                Some(0x20..) => self.at += 1,
                _ => return Err(NotJson),
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char, NotJson> {
        let byte = self.peek().ok_or(NotJson)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex4()?;
                if !(0xd800..0xdc00).contains(&high) {
                    return char::from_u32(high).ok_or(NotJson);
                }
                self.eat(b'\\')?;
                self.eat(b'u')?;
                let low = self.hex4()?;
                if !(0xdc00..0xe000).contains(&low) {
                    return Err(NotJson);
                }
                let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return char::from_u32(code).ok_or(NotJson);
            }
            _ => return Err(NotJson),
        })
    }

    fn hex4(&mut self) -> Result<u32, NotJson> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(NotJson)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotJson);
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| NotJson)
    }
}

/// One bit of 64 for a key: keys with bits of their own differ. Those of E1 and E2 have.
fn mark_of(key: &str) -> u64 {
    let bytes = key.as_bytes();
    let (first, last) = (bytes.first().copied(), bytes.last().copied());
    let mixed = u64::from(first.unwrap_or(0)) * MIX.0
        + u64::from(last.unwrap_or(0)) * MIX.1
        + bytes.len() as u64 * MIX.2;
    1 << (mixed % 64)
}

/// Found by search.
const MIX: (u64, u64, u64) = (1, 1, 6);

/// The high bit of each byte that ends a run of plain string bytes: `"`, `\\` or a control
/// byte. Above the lowest one set others may be wrong.
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero(word ^ (ONES * u64::from(b'"')));
    let backslash = zero(word ^ (ONES * u64::from(b'\\')));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGHS
}
