//! Lists: CSV with the header `value,reason,expires,author` (R4).

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::fault::{Fault, did_you_mean, shorten};
use super::types::{ListEntry, Place};
use crate::event::EventTime;

const COLUMNS: [&str; 4] = ["value", "reason", "expires", "author"];

/// The entries of a list file, in file order, or all of its faults.
/// A date in `expires` is its first instant in `zone`.
pub fn parse_list(csv: &str, path: &str, zone: &TimeZone) -> Result<Vec<ListEntry>, Vec<Fault>> {
    let csv = csv.strip_prefix('\u{feff}').unwrap_or(csv);
    let mut file = File { csv, path, faults: Vec::new() };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(csv.as_bytes());
    let mut columns: Option<Vec<String>> = None;
    let mut entries = Vec::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let byte = error.position().map_or(0, csv::Position::byte);
                file.fault(byte, 0, "", format!("not valid CSV, {error}"), None);
                break;
            }
        };
        let byte = record.position().map_or(0, csv::Position::byte);
        match &columns {
            None => columns = Some(file.header(byte, &record)),
            Some(columns) => entries.extend(file.entry(byte, &record, columns, zone)),
        }
    }
    if columns.is_none() && file.faults.is_empty() {
        let hint = Some("the first line is `value,reason,expires,author`".into());
        file.fault(0, 0, "", "the list has no header".into(), hint);
    }
    if file.faults.is_empty() { Ok(entries) } else { Err(file.faults) }
}

struct File<'a> {
    csv: &'a str,
    path: &'a str,
    faults: Vec<Fault>,
}

impl File<'_> {
    /// A fault of the field `index` of the record at `byte`.
    fn fault(
        &mut self,
        byte: u64,
        index: usize,
        text: &str,
        message: String,
        hint: Option<String>,
    ) {
        let (line, column) = locate(self.csv, usize::try_from(byte).unwrap_or(0), index);
        let place = Place { file: self.path.to_owned(), line, column };
        self.faults.push(Fault { place, text: shorten(text), message, hint });
    }

    fn header(&mut self, byte: u64, record: &csv::StringRecord) -> Vec<String> {
        for (index, name) in record.iter().enumerate() {
            if !COLUMNS.contains(&name) {
                let hint = did_you_mean(name, &COLUMNS);
                self.fault(byte, index, name, "unknown column of a list".into(), hint);
            } else if record.iter().take(index).any(|earlier| earlier == name) {
                self.fault(byte, index, name, "the column stands twice".into(), None);
            }
        }
        if !record.iter().any(|name| name == "value") {
            let text = record.iter().collect::<Vec<_>>().join(",");
            let hint = Some("the first line is `value,reason,expires,author`".into());
            self.fault(byte, 0, &text, "the list has no column `value`".into(), hint);
        }
        record.iter().map(str::to_owned).collect()
    }

    fn entry(
        &mut self,
        byte: u64,
        record: &csv::StringRecord,
        columns: &[String],
        zone: &TimeZone,
    ) -> Option<ListEntry> {
        if record.len() > columns.len() {
            let text = record.get(columns.len()).unwrap_or_default();
            let hint = Some("put text with a comma in quotes".into());
            let message = "more fields than the header has".into();
            self.fault(byte, columns.len(), text, message, hint);
            return None;
        }
        let index = |name: &str| columns.iter().position(|column| column == name);
        let get = |name: &str| {
            index(name).and_then(|index| record.get(index)).filter(|text| !text.is_empty())
        };
        let expires = match get("expires") {
            None => None,
            Some(text) => {
                let at = parse_instant(text, zone);
                if at.is_none() {
                    let hint = "such as `2025-12-31`, `2025-12-31T12:00:00Z` or milliseconds";
                    let message = "`expires` is no instant".into();
                    let index = index("expires").unwrap_or(0);
                    self.fault(byte, index, text, message, Some(hint.into()));
                }
                at
            }
        };
        let Some(value) = get("value") else {
            let text = record.iter().collect::<Vec<_>>().join(",");
            let index = index("value")?;
            self.fault(byte, index, &text, "the entry has no value".into(), None);
            return None;
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let (reason, author) = (owned(get("reason")), owned(get("author")));
        Some(ListEntry { value: value.to_owned(), reason, expires, author })
    }
}

/// RFC 3339, milliseconds since the epoch, or a date: its first instant in the zone.
/// Fractions finer than a millisecond are cut.
pub fn parse_instant(text: &str, zone: &TimeZone) -> Option<EventTime> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(EventTime);
    }
    if text.len() == "2025-12-31".len() {
        let date: Date = text.parse().ok()?;
        let midnight = date.to_datetime(jiff::civil::Time::midnight());
        let first = zone.to_timestamp(midnight).ok()?;
        return Some(EventTime(first.as_millisecond()));
    }
    let instant: jiff::Timestamp = text.parse().ok()?;
    Some(EventTime(instant.as_millisecond()))
}

/// Line and column, from 1, of a field of the record that starts at or after `byte`.
fn locate(csv: &str, byte: usize, field: usize) -> (usize, usize) {
    let (mut line, mut column) = (1, 1);
    let (mut quoted, mut fields, mut begun) = (false, 0, false);
    for (at, c) in csv.char_indices() {
        if at >= byte && !(begun || matches!(c, '\r' | '\n')) {
            begun = true;
        }
        if begun {
            match c {
                _ if fields == field && c != ' ' => return (line, column),
                '"' => quoted = !quoted,
                ',' if !quoted => fields += 1,
                _ => {}
            }
        }
        if c == '\n' {
            if begun && !quoted {
                return (line, column);
            }
            (line, column) = (line + 1, 1);
        } else {
            column += 1;
        }
    }
    (line, column)
}
