//! The tree to typed settings, through serde, with every fault and not the first alone.
//!
//! serde stops at the first fault. So a faulty value is noted, taken out of the tree, and the
//! rest is read again. Unknown keys are noted and passed over, with the nearest known one.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer,
    MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::fault::{Fault, nearest};
use super::tree::{Data, Node, Scalar};

/// Reads `root` whole. `None` when something that has no default was faulty.
pub(super) fn read<T: DeserializeOwned>(mut root: Node, faults: &mut Vec<Fault>) -> Option<T> {
    let mut removed: Vec<Vec<String>> = Vec::new();
    loop {
        let unknown = RefCell::new(Vec::new());
        let result = T::deserialize(At { node: &root, path: &Path::Root, unknown: &unknown });
        for fault in unknown.into_inner() {
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        let stop = match result {
            Ok(read) => return Some(read),
            Err(stop) => stop,
        };
        // What is missing because it was taken out has been told already.
        let told = stop.missing.is_some_and(|name| {
            removed.iter().any(|path| {
                path.split_last().is_some_and(|(last, above)| {
                    last.as_str() == name && above == stop.path.as_slice()
                })
            })
        });
        if !told {
            faults.push(stop.fault(&root));
        }
        let path = remove(&mut root, &stop.path)?;
        removed.push(path);
    }
}

/// Takes the node at `path` out; of a list of scalars the whole list, as others would move up.
/// Returns what was taken out, `None` if there is nothing to take.
fn remove(root: &mut Node, path: &[String]) -> Option<Vec<String>> {
    let (last, above) = path.split_last()?;
    let mut at = &mut *root;
    for name in above {
        at = match &mut at.data {
            Data::Map(entries) => &mut entries.iter_mut().find(|(known, _)| known == name)?.1,
            Data::List(items) => items.get_mut(name.parse::<usize>().ok()?)?,
            Data::Scalar(_) => return None,
        };
    }
    match &mut at.data {
        Data::Map(entries) => {
            let index = entries.iter().position(|(known, _)| known == last)?;
            entries.remove(index);
            Some(path.to_vec())
        }
        _ => remove(root, above),
    }
}

/// Why reading stopped.
#[derive(Debug, Default)]
struct Stop {
    message: String,
    hint: Option<String>,
    /// The field that is missing in what `path` names.
    missing: Option<&'static str>,
    path: Vec<String>,
    placed: bool,
}

impl Stop {
    /// Where it happened; the innermost place counts.
    fn at(mut self, path: &Path<'_>, node: &Node) -> Stop {
        if !self.placed {
            self.placed = true;
            self.path = path.segments();
            // The message may quote the value.
            let secret = matches!(&node.data, Data::Scalar(Scalar { shown: Some(_), .. }));
            if secret {
                "the referenced value cannot be used here".clone_into(&mut self.message);
                self.hint = None;
            }
        }
        self
    }

    fn fault(&self, root: &Node) -> Fault {
        let mut at = root;
        for name in &self.path {
            let below = match &at.data {
                Data::Map(entries) => {
                    entries.iter().find(|(known, _)| known == name).map(|(_, node)| node)
                }
                Data::List(items) => name.parse::<usize>().ok().and_then(|index| items.get(index)),
                Data::Scalar(_) => None,
            };
            at = below.unwrap_or(at);
        }
        Fault::new(&at.origin, &self.path.join("."), &self.message).hinted(self.hint.clone())
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Stop {}

impl Error for Stop {
    fn custom<T: fmt::Display>(message: T) -> Stop {
        Stop { message: message.to_string(), ..Stop::default() }
    }

    fn missing_field(field: &'static str) -> Stop {
        let message = format!("`{field}` is missing");
        Stop { message, missing: Some(field), ..Stop::default() }
    }
}

/// The way from the root, without an allocation per step.
enum Path<'a> {
    Root,
    Below { above: &'a Path<'a>, name: &'a str },
}

impl Path<'_> {
    fn segments(&self) -> Vec<String> {
        match self {
            Path::Root => Vec::new(),
            Path::Below { above, name } => {
                let mut segments = above.segments();
                segments.push((*name).to_owned());
                segments
            }
        }
    }
}

struct At<'a> {
    node: &'a Node,
    path: &'a Path<'a>,
    unknown: &'a RefCell<Vec<Fault>>,
}

impl<'p> At<'p> {
    fn scalar(&self) -> Result<&'p str, Stop> {
        match &self.node.data {
            Data::Scalar(scalar) => Ok(&scalar.text),
            Data::List(_) => Err(Stop::custom("one value is wanted, not a list")),
            Data::Map(_) => Err(Stop::custom("one value is wanted, not a section")),
        }
    }

    fn parsed<T: std::str::FromStr>(&self, what: &str) -> Result<T, Stop> {
        let text = self.scalar()?;
        let wrong = || Stop::custom(format!("`{text}` is not {what}"));
        text.parse().map_err(|_| wrong()).map_err(|stop| stop.at(self.path, self.node))
    }

    fn map<'de, V: Visitor<'de>>(
        self,
        fields: Option<&[&str]>,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let entries = match &self.node.data {
            Data::Map(entries) => entries.as_slice(),
            _ if self.node.is_null() => &[],
            _ => {
                let stop = Stop::custom("a section is wanted: keys with values");
                return Err(stop.at(self.path, self.node));
            }
        };
        let known = |name: &str| fields.is_none_or(|fields| fields.contains(&name));
        for (name, node) in entries.iter().filter(|(name, _)| !known(name)) {
            let mut key = self.path.segments();
            key.push(name.clone());
            let hint = nearest(name, fields.unwrap_or_default().iter().copied());
            let fault = Fault::new(&node.origin, &key.join("."), "unknown key").hinted(hint);
            self.unknown.borrow_mut().push(fault);
        }
        let left: Vec<&(String, Node)> =
            entries.iter().filter(|(name, node)| known(name) && !node.is_null()).collect();
        let access = Entries { left: left.into_iter(), value: None, at: &self };
        visitor.visit_map(access).map_err(|stop| stop.at(self.path, self.node))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            let value = visitor.$visit::<Stop>(self.parsed::<$type>("a number that fits here")?);
            value.map_err(|stop| stop.at(self.path, self.node))
        }
    )*};
}

impl<'de> Deserializer<'de> for At<'_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match &self.node.data {
            Data::Map(_) => self.map(None, visitor),
            Data::List(_) => self.deserialize_seq(visitor),
            Data::Scalar(_) => self.deserialize_str(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let text = self.scalar().map_err(|stop| stop.at(self.path, self.node))?;
        visitor.visit_str::<Stop>(text).map_err(|stop| stop.at(self.path, self.node))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let value = self.parsed::<bool>("`true` or `false`")?;
        visitor.visit_bool(value)
    }

    numbers!(
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64, deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64, deserialize_f64 visit_f64 f64
    );

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let items = match &self.node.data {
            Data::List(items) => items.as_slice(),
            _ if self.node.is_null() => &[],
            _ => return Err(Stop::custom("a list is wanted: `[…]`").at(self.path, self.node)),
        };
        let access = Items { left: items.iter().enumerate(), at: &self };
        visitor.visit_seq(access).map_err(|stop| stop.at(self.path, self.node))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.map(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.map(Some(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let text = self.scalar().map_err(|stop| stop.at(self.path, self.node))?;
        if variants.contains(&text) {
            return visitor.visit_enum(Word(text));
        }
        let message = format!("`{text}` is not one of `{}`", variants.join("`, `"));
        let hint = nearest(text, variants.iter().copied());
        Err(Stop { message, hint, ..Stop::default() }.at(self.path, self.node))
    }

    forward_to_deserialize_any! {
        i128 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
        ignored_any
    }
}

struct Entries<'p> {
    left: std::vec::IntoIter<&'p (String, Node)>,
    value: Option<&'p (String, Node)>,
    at: &'p At<'p>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Stop> {
        self.value = self.left.next();
        let Some((name, _)) = self.value else { return Ok(None) };
        let name: StrDeserializer<'_, Stop> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        let Some((name, node)) = self.value.take() else {
            return Err(Stop::custom("a key without a value"));
        };
        let path = Path::Below { above: self.at.path, name };
        let below = At { node, path: &path, unknown: self.at.unknown };
        seed.deserialize(below).map_err(|stop| stop.at(&path, node))
    }
}

struct Items<'p> {
    left: std::iter::Enumerate<std::slice::Iter<'p, Node>>,
    at: &'p At<'p>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Stop> {
        let Some((index, node)) = self.left.next() else { return Ok(None) };
        let name = index.to_string();
        let path = Path::Below { above: self.at.path, name: &name };
        let below = At { node, path: &path, unknown: self.at.unknown };
        seed.deserialize(below).map(Some).map_err(|stop| stop.at(&path, node))
    }
}

/// A variant without contents.
struct Word<'a>(&'a str);

impl<'de, 'a> EnumAccess<'de> for Word<'a> {
    type Error = Stop;
    type Variant = Word<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Word<'a>), Stop> {
        let name: StrDeserializer<'_, Stop> = self.0.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'_> {
    type Error = Stop;

    fn unit_variant(self) -> Result<(), Stop> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Stop> {
        Err(Stop::custom("one word is wanted"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Stop> {
        Err(Stop::custom("one word is wanted"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Stop> {
        Err(Stop::custom("one word is wanted"))
    }
}
