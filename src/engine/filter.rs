//! Does an event match a rule's `where` (R2, R4, R5)?

use std::borrow::Cow;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::engine::calendar::Calendar;
use crate::engine::edits::{Edited, ListEdits};
use crate::engine::firing::{Measured, cmp};
use crate::event::{AttrValue, Event, EventTime, Kind};
use crate::rule::{Condition, Field, Filter, ListDecl, ListEntry, Test, Value};

/// The entries of every list of a rule set, by index into `RuleSet::lists`.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    lists: Vec<Arc<Entries>>,
}

/// By value. Only ever looked up.
type Entries = hashbrown::HashMap<String, Entry, BuildHasherDefault<AtOnce>>;

/// Hashes texts that are all there at once.
#[derive(Debug, Clone, Copy, Default)]
struct AtOnce(u64);

impl Hasher for AtOnce {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// The end of a text.
    fn write_u8(&mut self, end: u8) {
        self.0 = self.0.wrapping_add(end.into());
    }
}

/// An entry of a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    /// The instant from which it no longer matches; `None` = never.
    pub(crate) expires: Option<EventTime>,
    /// Author and reason, where there are any: most entries are many and have none.
    pub(crate) by: Option<Box<(Option<String>, Option<String>)>>,
}

impl Entry {
    fn of(entry: ListEntry) -> (String, Entry) {
        let ListEntry { value, reason, expires, author } = entry;
        let is_told = author.is_some() || reason.is_some();
        (value, Entry { expires, by: is_told.then(|| Box::new((author, reason))) })
    }

    fn lasts_until(&self) -> i64 {
        self.expires.map_or(i64::MAX, |expires| expires.0)
    }
}

impl Lists {
    /// `n` empty lists.
    pub fn new(n: usize) -> Lists {
        Lists { lists: vec![Arc::default(); n] }
    }

    /// Replaces the entries of a list. Of two entries for one value the longer-lived counts.
    pub fn set(&mut self, list: usize, entries: Vec<ListEntry>) {
        if self.lists.len() <= list {
            self.lists.resize(list + 1, Arc::default());
        }
        let mut values = Entries::default();
        for entry in entries {
            let (value, entry) = Entry::of(entry);
            let known = values.entry(value).or_insert_with(|| entry.clone());
            if entry.lasts_until() > known.lasts_until() {
                *known = entry;
            }
        }
        self.lists[list] = Arc::new(values);
    }

    /// Takes over a list of another rule set, in this place.
    pub(crate) fn take_from(&mut self, other: &Lists, list: usize, place: usize) {
        if self.lists.len() <= place {
            self.lists.resize(place + 1, Arc::default());
        }
        self.lists[place] = other.lists.get(list).cloned().unwrap_or_default();
    }

    fn contains(&self, list: usize, value: &str, at: EventTime) -> bool {
        self.entry(list, value, at).is_some()
    }

    /// The entry of a value that matches at an instant.
    fn entry(&self, list: usize, value: &str, at: EventTime) -> Option<&Entry> {
        let entry = self.lists.get(list)?.get(value)?;
        entry.expires.is_none_or(|expires| at < expires).then_some(entry)
    }
}

/// In the order of `RuleSet::lists`.
impl FromIterator<Vec<ListEntry>> for Lists {
    fn from_iter<I: IntoIterator<Item = Vec<ListEntry>>>(entries: I) -> Lists {
        let mut lists = Lists::default();
        entries.into_iter().enumerate().for_each(|(at, entries)| lists.set(at, entries));
        lists
    }
}

/// The lists as they are now: their files, and what people did to them since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed<'a> {
    pub(crate) files: &'a Lists,
    /// In the order of `files`.
    pub(crate) names: &'a [ListDecl],
    pub(crate) edits: &'a ListEdits,
}

impl Listed<'_> {
    fn contains(&self, list: usize, value: &str, at: EventTime) -> bool {
        if !self.edits.is_empty()
            && let Some(verdict) =
                self.names.get(list).and_then(|list| self.edits.verdict(&list.name, value, at))
        {
            return verdict;
        }
        self.files.contains(list, value, at)
    }

    /// What decides about a value that a field has at an instant.
    pub(crate) fn why(&self, list: usize, seen: &Seen<'_>, at: EventTime) -> Option<Why<'_>> {
        let value = text_of(seen);
        let edit = self.names.get(list).and_then(|list| self.edits.get(&list.name, &value));
        match edit {
            Some(edit) if edit.edit.verdict(at).is_some() => Some(Why::Edit(edit)),
            _ => self.files.entry(list, &value, at).map(Why::File),
        }
    }
}

/// Where it is said whether a value is in a list.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Why<'a> {
    File(&'a Entry),
    Edit(&'a Edited),
}

/// What a filter may look at beside the event itself.
pub(crate) struct FilterCtx<'a> {
    pub(crate) calendar: &'a Calendar,
    pub(crate) listed: Listed<'a>,
    /// R5: field and duration.
    pub(crate) new: &'a dyn Fn(&Field, i64) -> bool,
    /// The event's kind, or the kind that a reversal takes back (R10).
    pub(crate) kind: Kind,
    pub(crate) ts: EventTime,
}

/// True when every condition holds.
pub(crate) fn holds(filter: &Filter, event: &Event<'_>, ctx: &FilterCtx<'_>) -> bool {
    filter.all.iter().all(|condition| match condition {
        Condition::Field { field, test } => passes(test, read(field, event, ctx), ctx),
        Condition::Any(filters) => filters.iter().any(|filter| holds(filter, event, ctx)),
        Condition::Not(filter) => !holds(filter, event, ctx),
        Condition::New { field, within_ms } => (ctx.new)(field, *within_ms),
    })
}

/// A field's value as the event has it.
pub(crate) enum Seen<'a> {
    Text(&'a str),
    Number(Measured),
    Bool(bool),
}

pub(crate) fn read<'a>(
    field: &Field,
    event: &'a Event<'_>,
    ctx: &FilterCtx<'_>,
) -> Option<Seen<'a>> {
    let text = |text: &'a Option<Cow<'_, str>>| text.as_deref().map(Seen::Text);
    match field {
        Field::Id => Some(Seen::Text(&event.id)),
        Field::User => Some(Seen::Text(&event.user)),
        Field::Kind => Some(Seen::Text(ctx.kind.as_str())),
        Field::Points => Some(Seen::Number(Measured::Integer(event.points))),
        Field::Source => text(&event.source),
        Field::Device => text(&event.device),
        Field::Ip => text(&event.ip),
        Field::Attr(name) => event.attr(name).map(|value| match value {
            AttrValue::Text(value) => Seen::Text(value),
            AttrValue::Integer(value) => Seen::Number(Measured::Integer(*value)),
            AttrValue::Float(value) => Seen::Number(Measured::Float(*value)),
            AttrValue::Bool(value) => Seen::Bool(*value),
        }),
        Field::Hour => Some(Seen::Number(Measured::Integer(ctx.calendar.hour(ctx.ts)))),
        Field::Weekday => Some(Seen::Text(ctx.calendar.weekday(ctx.ts))),
    }
}

pub(crate) fn passes(test: &Test, seen: Option<Seen<'_>>, ctx: &FilterCtx<'_>) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let Some(seen) = seen else {
        return matches!(test, Test::Exists(false) | Test::Ne(_) | Test::NotIn(_));
    };
    let order = |bound| match seen {
        Seen::Number(value) => cmp(value, bound),
        Seen::Text(_) | Seen::Bool(_) => None,
    };
    match test {
        Test::AnyOf(values) => values.iter().any(|value| equal(&seen, value)),
        Test::Ne(value) => !equal(&seen, value),
        Test::Gt(bound) => order(*bound) == Some(Greater),
        Test::Gte(bound) => matches!(order(*bound), Some(Greater | Equal)),
        Test::Lt(bound) => order(*bound) == Some(Less),
        Test::Lte(bound) => matches!(order(*bound), Some(Less | Equal)),
        Test::In(list) => ctx.listed.contains(*list, &text_of(&seen), ctx.ts),
        Test::NotIn(list) => !ctx.listed.contains(*list, &text_of(&seen), ctx.ts),
        Test::Prefix(prefix) => matches!(seen, Seen::Text(text) if text.starts_with(prefix)),
        Test::Cidr(blocks) => match seen {
            Seen::Text(text) => text
                .parse()
                .is_ok_and(|address: IpAddr| blocks.iter().any(|block| block.contains(address))),
            Seen::Number(_) | Seen::Bool(_) => false,
        },
        Test::Exists(expected) => *expected,
    }
}

/// A field's value as it stands in an answer.
pub(crate) fn field_json(seen: &Seen<'_>) -> serde_json::Value {
    match seen {
        Seen::Text(text) => (*text).into(),
        Seen::Number(number) => number.json(),
        Seen::Bool(value) => (*value).into(),
    }
}

fn equal(seen: &Seen<'_>, value: &Value) -> bool {
    match (seen, value) {
        (Seen::Text(seen), Value::Text(value)) => seen == value,
        (Seen::Bool(seen), Value::Bool(value)) => seen == value,
        (Seen::Number(seen), Value::Number(value)) => {
            cmp(*seen, *value) == Some(std::cmp::Ordering::Equal)
        }
        _ => false,
    }
}

fn text_of<'a>(seen: &Seen<'a>) -> Cow<'a, str> {
    match seen {
        Seen::Text(text) => Cow::Borrowed(text),
        Seen::Number(Measured::Integer(value)) => Cow::Owned(value.to_string()),
        Seen::Number(Measured::Float(value)) => Cow::Owned(value.to_string()),
        Seen::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
    }
}
