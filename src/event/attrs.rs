//! The attributes of a record.

use std::borrow::Cow;

use crate::event::decode::{ATTRS, Members, TEXT_BYTES_MAX, plain, present, required};
use crate::event::scan::Scanner;
use crate::event::span::{Sort, Span};
use crate::event::{AttrValue, Attrs, Reason};

const ATTRS_MAX: usize = 32;
const BAD: Reason = Reason::Bad("attrs");

#[inline]
pub(super) fn attributes<'a>(members: &Members<'a>) -> Result<Attrs<'a>, Reason> {
    let object = members.values[ATTRS];
    if !object.is(Sort::Object) && present(object) {
        return Err(BAD);
    }
    match texts(members) {
        Some(attrs) => Ok(attrs),
        None => mixed(members),
    }
}

/// The attributes where they are few, and all plain texts.
#[inline]
fn texts<'a>(members: &Members<'a>) -> Option<Attrs<'a>> {
    let Members { scanner, attrs: own, mapped, .. } = members;
    let mut attrs = Attrs::new();
    if !mapped.is_empty() || own.len() > attrs.inline_size() {
        return None;
    }
    for (name, value) in own {
        let (name, value) = (plain(*scanner, *name)?, plain(*scanner, *value)?);
        attrs.push((Cow::Borrowed(name), AttrValue::Text(Cow::Borrowed(value))));
    }
    Some(attrs)
}

/// Attributes of all sorts.
#[inline(never)]
fn mixed<'a>(members: &Members<'a>) -> Result<Attrs<'a>, Reason> {
    let Members { scanner, attrs: own, mapped, .. } = members;
    let mut attrs = Attrs::new();
    let mut count = 0;
    let mut take = |name: Cow<'a, str>, value| {
        count += 1;
        if count > ATTRS_MAX || name.len() > TEXT_BYTES_MAX {
            return Err(BAD);
        }
        if present(value) {
            attrs.push((name, attribute(*scanner, value)?));
        }
        Ok(())
    };
    for (name, value) in mapped {
        take(Cow::Owned(name.clone()), *value)?;
    }
    for (name, value) in own {
        let name = scanner.string(*name);
        if !mapped.iter().any(|(known, _)| *known == name) {
            take(name, *value)?;
        }
    }
    Ok(attrs)
}

#[inline]
fn attribute(scanner: Scanner<'_>, value: Span) -> Result<AttrValue<'_>, Reason> {
    Ok(match value.sort() {
        Sort::Text | Sort::Escaped => {
            AttrValue::Text(required(scanner, value, TEXT_BYTES_MAX, "attrs")?)
        }
        Sort::True => AttrValue::Bool(true),
        Sort::False => AttrValue::Bool(false),
        Sort::Integer | Sort::Decimal => number(scanner.slice(value)).ok_or(BAD)?,
        Sort::Null | Sort::Object | Sort::Array => return Err(BAD),
    })
}

fn number<'a>(text: &str) -> Option<AttrValue<'a>> {
    if let Ok(integer) = text.parse() {
        return Some(AttrValue::Integer(integer));
    }
    text.parse().ok().filter(|float: &f64| float.is_finite()).map(AttrValue::Float)
}
