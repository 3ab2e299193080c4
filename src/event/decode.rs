//! Records to events: E1 and E2, and the mapping of other shapes (E3).

use std::borrow::Cow;
use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::event::attrs::attributes;
use crate::event::eights::eight_digits;
use crate::event::layout::Layouts;
use crate::event::scan::{NotJson, Scanner, word};
use crate::event::span::{Sort, Span};
use crate::event::{Event, EventTime, Kind, Reason, Reverses};

const POINTS_MAX: i64 = 1_000_000_000_000;
const ID_BYTES_MAX: usize = 128;
pub(super) const TEXT_BYTES_MAX: usize = 256;

/// Names that `input.fields` may map, beside `attrs.NAME`.
const FIELDS: [&str; 14] = [
    "id",
    "ts",
    "user",
    "kind",
    "points",
    "source",
    "device",
    "ip",
    "attrs",
    "reverses",
    "reverses.id",
    "reverses.ts",
    "reverses.kind",
    "reverses.partial",
];

/// An entry of `input.fields` or `input.kinds` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("input.{section}: `{entry}` {problem}")]
pub struct MappingError {
    pub section: &'static str,
    pub entry: String,
    pub problem: String,
}

/// Turns record values into events.
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    /// Our name → JSON pointer.
    fields: Vec<(String, Vec<String>)>,
    /// Their word → our kind.
    kinds: BTreeMap<String, Kind>,
}

/// The members of a record that matter, as they stand; `null` where there is none.
#[derive(Debug)]
pub(super) struct Members<'a> {
    pub(super) scanner: Scanner<'a>,
    pub(super) values: [Span; 10],
    /// `reverses.*` by mapping: id, ts, kind, partial.
    reverses: [Option<Span>; 4],
    /// The members of `attrs`, if that is an object.
    pub(super) attrs: SmallVec<[(Span, Span); 4]>,
    /// `attrs.NAME` by mapping.
    pub(super) mapped: Vec<(String, Span)>,
}

/// Where [`FIELDS`] names `attrs`.
pub(super) const ATTRS: usize = 8;

impl Decoder {
    /// `fields` maps our names to JSON pointers, `kinds` the pipeline's words to ours (E3).
    pub fn new(
        fields: &BTreeMap<String, String>,
        kinds: &BTreeMap<String, String>,
    ) -> Result<Decoder, MappingError> {
        let mut decoder = Decoder::default();
        for (name, pointer) in fields {
            let fault =
                |problem: String| MappingError { section: "fields", entry: name.clone(), problem };
            let attr = name.strip_prefix("attrs.").is_some_and(|name| !name.is_empty());
            if !FIELDS.contains(&name.as_str()) && !attr {
                return Err(fault(format!("is not a field; known are {}", FIELDS.join(", "))));
            }
            let Some(rest) = pointer.strip_prefix('/') else {
                let hint = "a JSON pointer begins with `/`, as in `/member/id`";
                return Err(fault(format!("maps to `{pointer}`: {hint}")));
            };
            if rest.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
                let hint = "in a JSON pointer `~` stands in `~0` and `~1` only";
                return Err(fault(format!("maps to `{pointer}`: {hint}")));
            }
            let part = |part: &str| part.replace("~1", "/").replace("~0", "~");
            decoder.fields.push((name.clone(), rest.split('/').map(part).collect()));
        }
        for (word, kind) in kinds {
            let Some(kind) = Kind::parse(kind) else {
                let known = Kind::ALL.map(Kind::as_str).join(", ");
                let problem = format!("maps to `{kind}`, which is not one of {known}");
                return Err(MappingError { section: "kinds", entry: word.clone(), problem });
            };
            decoder.kinds.insert(word.clone(), kind);
        }
        Ok(decoder)
    }

    /// The event of a record value, or why the record goes to quarantine (E4).
    pub fn decode<'a>(&self, payload: &'a [u8], max_bytes: usize) -> Result<Event<'a>, Reason> {
        let scanner = scanner_of(payload, max_bytes)?;
        self.in_full(scanner).map(|(event, _)| event)
    }

    /// As [`decode`](Self::decode), and faster for a record that is laid out like one before.
    pub fn decode_alike<'a>(
        &self,
        layouts: &mut Layouts,
        payload: &'a [u8],
        max_bytes: usize,
    ) -> Result<Event<'a>, Reason> {
        let scanner = scanner_of(payload, max_bytes)?;
        if !self.fields.is_empty() {
            return self.in_full(scanner).map(|(event, _)| event);
        }
        let mut members = Members::new(scanner);
        if layouts.read(&mut members) {
            return self.event(&members);
        }
        let (event, record) = self.in_full(scanner)?;
        layouts.learn(scanner, record);
        Ok(event)
    }

    /// The event of a record, and where the record stands.
    fn in_full<'a>(&self, scanner: Scanner<'a>) -> Result<(Event<'a>, Span), Reason> {
        let mut members = Members::new(scanner);
        let Members { values, attrs, .. } = &mut members;
        let member = |name, at| {
            let place = place_of(name);
            let value = match place {
                Some(ATTRS) => {
                    scanner.value_with(at, 0, |name, value| attrs.push((name, value)))?
                }
                _ => scanner.value(at, 0)?,
            };
            if let Some(place) = place {
                values[place] = value;
            }
            Ok(value)
        };
        let record = scanner.whole(member).map_err(|NotJson| Reason::NotJson)?;
        if !self.fields.is_empty() {
            self.map(record, &mut members)?;
        }
        Ok((self.event(&members)?, record))
    }

    /// Puts what `input.fields` points at in the place of what stands under our names.
    #[cold]
    fn map(&self, record: Span, members: &mut Members<'_>) -> Result<(), Reason> {
        let scanner = members.scanner;
        for (name, pointer) in &self.fields {
            let value = find(scanner, record, pointer);
            if let Some(attr) = name.strip_prefix("attrs.") {
                members.mapped.push((attr.to_owned(), value.unwrap_or(Span::NULL)));
            } else if let Some(at) = FIELDS.iter().position(|field| field == name) {
                match at.checked_sub(10) {
                    Some(at) => members.reverses[at] = value,
                    None => members.values[at] = value.unwrap_or(Span::NULL),
                }
            }
            if name == FIELDS[ATTRS] {
                members.attrs.clear();
                if let Some(value) = value.filter(|value| value.is(Sort::Object)) {
                    let member = |name, value| members.attrs.push((name, value));
                    scanner.members(value, member).map_err(|NotJson| Reason::NotJson)?;
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn event<'a>(&self, members: &Members<'a>) -> Result<Event<'a>, Reason> {
        let scanner = members.scanner;
        let [id, ts, user, kind, points, source, device, ip, _, reverses] = members.values;
        let id = required(scanner, id, ID_BYTES_MAX, "id")?;
        let ts = time(scanner, ts).ok_or(Reason::Bad("ts"))?;
        let user = required(scanner, user, ID_BYTES_MAX, "user")?;
        let kind = self.kind(scanner, kind).ok_or(Reason::Bad("kind"))?;
        let reverses = match kind {
            Kind::Reverse => self.reverses(scanner, reverses, members.reverses)?.map(Box::new),
            _ => None,
        };
        let adjusts = kind == Kind::Adjust
            || reverses.as_ref().is_some_and(|reverses| reverses.kind == Kind::Adjust);
        let least = if adjusts { -POINTS_MAX } else { 0 };
        let points = if points.is(Sort::Integer) { integer(scanner, points) } else { None };
        let points = points.filter(|points| (least..=POINTS_MAX).contains(points));
        let points = points.ok_or(Reason::Bad("points"))?;
        let source = optional(scanner, source, "source")?;
        let device = optional(scanner, device, "device")?;
        let ip = optional(scanner, ip, "ip")?;
        let attrs = attributes(members)?;
        // Written where the caller wants it, and not moved there.
        Ok(Event { id, ts, user, kind, points, source, device, ip, reverses, attrs })
    }

    #[inline]
    fn kind(&self, scanner: Scanner<'_>, value: Span) -> Option<Kind> {
        if !value.is_text() {
            return None;
        }
        if !self.kinds.is_empty()
            && let Some(kind) = self.kinds.get(&*scanner.string(value))
        {
            return Some(*kind);
        }
        let said = scanner.word(value);
        Kind::ALL.into_iter().find(|kind| word(kind.as_str().as_bytes()) == said)
    }

    fn reverses<'a>(
        &self,
        scanner: Scanner<'a>,
        value: Span,
        mapped: [Option<Span>; 4],
    ) -> Result<Option<Reverses<'a>>, Reason> {
        const BAD: Reason = Reason::Bad("reverses");
        let mut parts = mapped;
        if present(value) {
            if !value.is(Sort::Object) {
                return Err(BAD);
            }
            let member = |name, value| {
                let name = scanner.string(name);
                let names = ["id", "ts", "kind", "partial"];
                if let Some(at) = names.iter().position(|known| *known == name) {
                    parts[at].get_or_insert(value);
                }
            };
            scanner.members(value, member).map_err(|NotJson| BAD)?;
            if parts.iter().all(Option::is_none) {
                return Err(BAD);
            }
        }
        let [id, ts, kind, partial] = parts.map(|part| part.unwrap_or(Span::NULL));
        if ![id, ts, kind, partial].into_iter().any(present) {
            return Ok(None);
        }
        let id = required(scanner, id, ID_BYTES_MAX, "reverses")?;
        let ts = if present(ts) { Some(time(scanner, ts).ok_or(BAD)?) } else { None };
        let kind = self.kind(scanner, kind).ok_or(BAD)?;
        let partial = match partial.sort() {
            Sort::True => true,
            Sort::False => false,
            _ if !present(partial) => false,
            _ => return Err(BAD),
        };
        Ok(Some(Reverses { id, ts, kind, partial }))
    }
}

impl<'a> Members<'a> {
    pub(super) fn new(scanner: Scanner<'a>) -> Members<'a> {
        Members {
            scanner,
            values: [Span::NULL; 10],
            reverses: [None; 4],
            attrs: SmallVec::new(),
            mapped: Vec::new(),
        }
    }
}

#[inline]
fn scanner_of(payload: &[u8], max_bytes: usize) -> Result<Scanner<'_>, Reason> {
    if payload.len() > max_bytes {
        return Err(Reason::TooLarge);
    }
    let text = simdutf8::basic::from_utf8(payload).map_err(|_| Reason::NotJson)?;
    Scanner::new(text).map_err(|NotJson| Reason::TooLarge)
}

/// Where [`FIELDS`] names a field that stands at the top of a record.
#[inline]
pub(super) fn place_of(name: u64) -> Option<usize> {
    const NAMES: [u64; 10] = {
        let mut names = [0; 10];
        let mut at = 0;
        while at < names.len() {
            names[at] = word(FIELDS[at].as_bytes());
            at += 1;
        }
        names
    };
    NAMES.iter().position(|known| *known == name)
}

/// `null` and the empty string mean absent (E2).
#[inline]
pub(super) fn present(value: Span) -> bool {
    !(value.is(Sort::Null) || value.is_text() && value.is_empty())
}

#[inline]
pub(super) fn required<'a>(
    scanner: Scanner<'a>,
    value: Span,
    bytes_max: usize,
    field: &'static str,
) -> Result<Cow<'a, str>, Reason> {
    if !value.is_text() || value.is_empty() {
        return Err(Reason::Bad(field));
    }
    let text = scanner.string(value);
    if text.len() <= bytes_max { Ok(text) } else { Err(Reason::Bad(field)) }
}

#[inline]
fn optional<'a>(
    scanner: Scanner<'a>,
    value: Span,
    field: &'static str,
) -> Result<Option<Cow<'a, str>>, Reason> {
    match plain(scanner, value) {
        Some(text) => Ok(Some(Cow::Borrowed(text))),
        None => of_any(scanner, value, field),
    }
}

/// What [`optional`] says of any value.
#[inline(never)]
fn of_any<'a>(
    scanner: Scanner<'a>,
    value: Span,
    field: &'static str,
) -> Result<Option<Cow<'a, str>>, Reason> {
    if present(value) {
        required(scanner, value, TEXT_BYTES_MAX, field).map(Some)
    } else {
        Ok(None)
    }
}

/// A text without escapes that is neither empty nor too long, as most are.
#[inline]
pub(super) fn plain(scanner: Scanner<'_>, value: Span) -> Option<&str> {
    let text = if value.is(Sort::Text) { scanner.slice(value) } else { return None };
    (1..=TEXT_BYTES_MAX).contains(&text.len()).then_some(text)
}

/// Integer milliseconds, or RFC 3339 with fractions cut to milliseconds (E1).
#[inline]
fn time(scanner: Scanner<'_>, value: Span) -> Option<EventTime> {
    let ms = match value.sort() {
        Sort::Integer => integer(scanner, value)?,
        Sort::Text | Sort::Escaped => rfc_3339(&scanner.string(value))?,
        _ => return None,
    };
    let ts = EventTime(ms);
    (EventTime::MIN <= ts && ts <= EventTime::MAX).then_some(ts)
}

/// Milliseconds of an RFC 3339 time. jiff reads more notations, such as zones in brackets, and
/// fewer digits of a fraction, so the shape is checked and the fraction read here.
fn rfc_3339(text: &str) -> Option<i64> {
    let (whole, rest) = text.split_at_checked(19)?;
    let shaped = whole.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        10 => matches!(byte, b'T' | b't'),
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    });
    let zone = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let fraction = rest.strip_suffix(zone)?;
    let digits = fraction.strip_prefix('.').unwrap_or("0");
    let zoned = match zone.as_bytes() {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].iter().all(|d| d.is_ascii_digit()),
        _ => false,
    };
    let fractional = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // A fraction without its point has left `0` for digits.
    if !shaped || !zoned || !fractional || !(fraction.is_empty() || fraction.starts_with('.')) {
        return None;
    }
    let seconds = if fraction.is_empty() {
        text.parse::<jiff::Timestamp>()
    } else {
        format!("{whole}{zone}").parse::<jiff::Timestamp>()
    };
    let ms = digits.bytes().chain(*b"000").take(3).fold(0, |ms, d| ms * 10 + i64::from(d - b'0'));
    Some(seconds.ok()?.as_second() * 1_000 + ms)
}

#[inline]
fn integer(scanner: Scanner<'_>, value: Span) -> Option<i64> {
    let size = value.last() - value.begin();
    let text = scanner.slice(value);
    // Sixteen digits cannot overflow, so that no step needs a check.
    if size > 16 || text.starts_with('-') {
        return text.parse().ok();
    }
    let first = scanner.chunk(value.begin());
    Some(match text.as_bytes().last_chunk() {
        // All but the last eight, and these.
        Some(last) => {
            let high = if size > 8 { eight_digits(first << (8 * (16 - size))) } else { 0 };
            high * 100_000_000 + eight_digits(u64::from_le_bytes(*last))
        }
        None => eight_digits(first << (8 * (8 - size))),
    })
}

/// What a JSON pointer (RFC 6901) leads to within an object or array that was checked before.
fn find(scanner: Scanner<'_>, within: Span, pointer: &[String]) -> Option<Span> {
    let Some((first, rest)) = pointer.split_first() else { return Some(within) };
    let mut found = None;
    match within.sort() {
        Sort::Object => {
            let member = |name, value| {
                if scanner.string(name) == *first {
                    found = Some(value);
                }
            };
            scanner.members(within, member).ok()?;
        }
        Sort::Array => {
            // RFC 6901 has no signs and no leading zeros in an index.
            let plain = first == "0" || first.starts_with(|c: char| ('1'..='9').contains(&c));
            let wanted: usize = first.parse().ok().filter(|_| plain)?;
            let mut at = 0;
            let mut element = |value| {
                if at == wanted {
                    found = Some(value);
                }
                at += 1;
            };
            scanner.elements(within, &mut element).ok()?;
        }
        _ => return None,
    }
    find(scanner, found?, rest)
}
