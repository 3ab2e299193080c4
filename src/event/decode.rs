//! Records to events: E1 and E2, and the mapping of other shapes (E3).

use std::borrow::Cow;
use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::event::scan::{self, NotJson, Raw};
use crate::event::{AttrValue, Attrs, Event, EventTime, Kind, Reason, Reverses};

const POINTS_MAX: i64 = 1_000_000_000_000;
const ID_BYTES_MAX: usize = 128;
const TEXT_BYTES_MAX: usize = 256;
const ATTRS_MAX: usize = 32;

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

/// The members of a record that matter, as they stand.
#[derive(Debug, Default)]
struct Members<'a> {
    values: [Option<Raw<'a>>; 10],
    /// `reverses.*` by mapping: id, ts, kind, partial.
    reverses: [Option<Raw<'a>>; 4],
    /// `attrs.NAME` by mapping.
    attrs: Vec<(Cow<'a, str>, Raw<'a>)>,
}

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
        if payload.len() > max_bytes {
            return Err(Reason::TooLarge);
        }
        let text = std::str::from_utf8(payload).map_err(|_| Reason::NotJson)?;
        let mut members = Members::default();
        let member = |name: Cow<'a, str>, value| {
            if let Some(at) = place_of(&name) {
                members.values[at] = Some(value);
            }
        };
        scan::object(text, member).map_err(|NotJson| Reason::NotJson)?;
        for (name, pointer) in &self.fields {
            let value = find(text, pointer);
            if let Some(attr) = name.strip_prefix("attrs.") {
                let value = value.unwrap_or(Raw::Null);
                members.attrs.push((Cow::Owned(attr.to_owned()), value));
            } else if let Some(at) = FIELDS.iter().position(|field| field == name) {
                match at.checked_sub(10) {
                    Some(at) => members.reverses[at] = value,
                    None => members.values[at] = value,
                }
            }
        }
        self.event(members)
    }

    fn event<'a>(&self, members: Members<'a>) -> Result<Event<'a>, Reason> {
        let [id, ts, user, kind, points, source, device, ip, attrs, reverses] = members.values;
        let id = required(id, ID_BYTES_MAX, "id")?;
        let ts = time(present(ts).ok_or(Reason::Bad("ts"))?).ok_or(Reason::Bad("ts"))?;
        let user = required(user, ID_BYTES_MAX, "user")?;
        let kind = self.kind(kind).ok_or(Reason::Bad("kind"))?;
        let reverses = match kind {
            Kind::Reverse => self.reverses(reverses, members.reverses)?,
            _ => None,
        };
        let adjusts = kind == Kind::Adjust
            || reverses.as_ref().is_some_and(|reverses| reverses.kind == Kind::Adjust);
        let least = if adjusts { -POINTS_MAX } else { 0 };
        let points = match points {
            Some(Raw::Integer(text)) => text.parse::<i64>().ok(),
            _ => None,
        };
        let points = points.filter(|points| (least..=POINTS_MAX).contains(points));
        Ok(Event {
            id,
            ts,
            user,
            kind,
            points: points.ok_or(Reason::Bad("points"))?,
            source: optional(source, "source")?,
            device: optional(device, "device")?,
            ip: optional(ip, "ip")?,
            reverses,
            attrs: attributes(attrs, members.attrs)?,
        })
    }

    fn kind(&self, value: Option<Raw<'_>>) -> Option<Kind> {
        match value {
            Some(Raw::Text(text)) => self.kinds.get(&*text).copied().or_else(|| Kind::parse(&text)),
            _ => None,
        }
    }

    fn reverses<'a>(
        &self,
        value: Option<Raw<'a>>,
        mapped: [Option<Raw<'a>>; 4],
    ) -> Result<Option<Reverses<'a>>, Reason> {
        const BAD: Reason = Reason::Bad("reverses");
        let mut parts = mapped;
        match value.and_then(|value| present(Some(value))) {
            None => {}
            Some(Raw::Object(text)) => {
                let member = |name: Cow<'a, str>, value| {
                    let names = ["id", "ts", "kind", "partial"];
                    if let Some(at) = names.iter().position(|known| *known == name) {
                        parts[at].get_or_insert(value);
                    }
                };
                scan::object(text, member).map_err(|NotJson| BAD)?;
                if parts.iter().all(Option::is_none) {
                    return Err(BAD);
                }
            }
            Some(_) => return Err(BAD),
        }
        let [id, ts, kind, partial] = parts.map(present);
        if id.is_none() && ts.is_none() && kind.is_none() && partial.is_none() {
            return Ok(None);
        }
        Ok(Some(Reverses {
            id: required(id, ID_BYTES_MAX, "reverses")?,
            ts: ts.map(|ts| time(ts).ok_or(BAD)).transpose()?,
            kind: self.kind(kind).ok_or(BAD)?,
            partial: match partial {
                None => false,
                Some(Raw::Bool(partial)) => partial,
                Some(_) => return Err(BAD),
            },
        }))
    }
}

/// Where [`FIELDS`] names a field that stands at the top of a record.
fn place_of(name: &str) -> Option<usize> {
    Some(match name {
        "id" => 0,
        "ts" => 1,
        "user" => 2,
        "kind" => 3,
        "points" => 4,
        "source" => 5,
        "device" => 6,
        "ip" => 7,
        "attrs" => 8,
        "reverses" => 9,
        _ => return None,
    })
}

/// `null` and the empty string mean absent (E2).
fn present(value: Option<Raw<'_>>) -> Option<Raw<'_>> {
    value.filter(|value| !matches!(value, Raw::Null) && *value != Raw::Text(Cow::Borrowed("")))
}

fn required<'a>(
    value: Option<Raw<'a>>,
    bytes_max: usize,
    field: &'static str,
) -> Result<Cow<'a, str>, Reason> {
    match present(value) {
        Some(Raw::Text(text)) if text.len() <= bytes_max => Ok(text),
        _ => Err(Reason::Bad(field)),
    }
}

fn optional<'a>(
    value: Option<Raw<'a>>,
    field: &'static str,
) -> Result<Option<Cow<'a, str>>, Reason> {
    match present(value) {
        None => Ok(None),
        Some(Raw::Text(text)) if text.len() <= TEXT_BYTES_MAX => Ok(Some(text)),
        Some(_) => Err(Reason::Bad(field)),
    }
}

/// Integer milliseconds, or RFC 3339 with fractions cut to milliseconds (E1).
fn time(value: Raw<'_>) -> Option<EventTime> {
    let ms = match value {
        Raw::Integer(text) => text.parse().ok()?,
        Raw::Text(text) => rfc_3339(&text)?,
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

fn attributes<'a>(
    value: Option<Raw<'a>>,
    mapped: Vec<(Cow<'a, str>, Raw<'a>)>,
) -> Result<Attrs<'a>, Reason> {
    const BAD: Reason = Reason::Bad("attrs");
    let mut members: SmallVec<[(Cow<'a, str>, Raw<'a>); 4]> = mapped.into_iter().collect();
    let mapped = members.len();
    match present(value) {
        None => {}
        Some(Raw::Object(text)) => {
            let member = |name: Cow<'a, str>, value| {
                if members.iter().take(mapped).all(|(known, _)| *known != name) {
                    members.push((name, value));
                }
            };
            scan::object(text, member).map_err(|NotJson| BAD)?;
        }
        Some(_) => return Err(BAD),
    }
    if members.len() > ATTRS_MAX {
        return Err(BAD);
    }
    let mut attrs = SmallVec::new();
    for (name, value) in members {
        if name.len() > TEXT_BYTES_MAX {
            return Err(BAD);
        }
        let value = match value {
            Raw::Null => continue,
            Raw::Text(text) if text.is_empty() => continue,
            Raw::Text(text) if text.len() <= TEXT_BYTES_MAX => AttrValue::Text(text),
            Raw::Bool(value) => AttrValue::Bool(value),
            Raw::Integer(text) | Raw::Decimal(text) => number(text).ok_or(BAD)?,
            Raw::Text(_) | Raw::Object(_) | Raw::Array(_) => return Err(BAD),
        };
        attrs.push((name, value));
    }
    Ok(attrs)
}

fn number<'a>(text: &str) -> Option<AttrValue<'a>> {
    if let Ok(integer) = text.parse() {
        return Some(AttrValue::Integer(integer));
    }
    text.parse().ok().filter(|float: &f64| float.is_finite()).map(AttrValue::Float)
}

/// What a JSON pointer (RFC 6901) leads to in a text that was checked before.
fn find<'a>(text: &'a str, pointer: &[String]) -> Option<Raw<'a>> {
    let (first, rest) = pointer.split_first()?;
    let mut found = None;
    let is_array = text.trim_start().starts_with('[');
    if is_array {
        // RFC 6901 has no signs and no leading zeros in an index.
        let plain = first == "0" || first.starts_with(|c: char| ('1'..='9').contains(&c));
        let wanted: usize = first.parse().ok().filter(|_| plain)?;
        let mut at = 0;
        let element = |value| {
            if at == wanted {
                found = Some(value);
            }
            at += 1;
        };
        scan::array(text, element).ok()?;
    } else {
        let member = |name: Cow<'a, str>, value| {
            if name == *first {
                found = Some(value);
            }
        };
        scan::object(text, member).ok()?;
    }
    match (rest.is_empty(), found) {
        (true, found) => found,
        (false, Some(Raw::Object(inner) | Raw::Array(inner))) => find(inner, rest),
        (false, _) => None,
    }
}
