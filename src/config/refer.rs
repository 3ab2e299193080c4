//! References in values, resolved: `${NAME}`, `file:PATH`; and paths of the file made absolute
//! from its folder.
//!
//! Each value that holds a reference keeps what may be shown of it: the text as written, with
//! `***` for each reference.

use std::path::{Path, PathBuf};

use super::fault::Fault;
use super::layer::Sources;
use super::tree::{Data, Node, Origin, Scalar};

/// What stands for a secret wherever a configuration is shown.
pub(super) const HIDDEN: &str = "***";

/// A secret is short; a larger file was not meant.
const FILE_BYTES_MAX: u64 = 65_536;

pub(super) struct Resolver<'a> {
    pub(super) sources: &'a Sources,
    pub(super) folder: PathBuf,
    pub(super) faults: Vec<Fault>,
}

impl Resolver<'_> {
    /// Resolves every value in the tree below `node`.
    pub(super) fn resolve(&mut self, node: &mut Node, path: &mut Vec<String>) {
        match &mut node.data {
            Data::Scalar(scalar) => self.scalar(scalar, &node.origin, path),
            Data::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.push(index.to_string());
                    self.resolve(item, path);
                    path.pop();
                }
            }
            Data::Map(entries) => {
                for (name, below) in entries {
                    path.push(name.clone());
                    self.resolve(below, path);
                    path.pop();
                }
            }
        }
    }

    fn scalar(&mut self, scalar: &mut Scalar, origin: &Origin, path: &[String]) {
        // Of the file, and of nothing else: who writes a flag thinks of the working folder.
        let folder = match origin {
            Origin::File { .. } => self.folder.clone(),
            _ => PathBuf::new(),
        };
        let keys: Vec<&str> = path.iter().map(String::as_str).collect();
        let is_store = keys == ["state", "snapshots"];
        let mut shown = String::new();
        let result = match scalar.text.strip_prefix("file:") {
            Some(file) if !is_store => {
                shown.push_str(HIDDEN);
                let mut written = String::new();
                let file = self.expand(file, &mut written);
                file.and_then(|file| read(&folder, &file, &written))
            }
            _ => self.expand(&scalar.text, &mut shown),
        };
        let resolved = match result {
            Ok(text) => text,
            Err(message) => {
                self.faults.push(Fault::new(origin, &path.join("."), &message));
                // Not the reference itself, which might pass for a value.
                String::new()
            }
        };
        let by_reference = scalar.text.starts_with("file:") && !is_store || shown != resolved;
        scalar.text = match keys.as_slice() {
            _ if resolved.is_empty() => resolved,
            ["rules"]
            | ["notify", "templates"]
            | ["notify", "receivers", _, "templates"]
            | ["notify", "receivers", _, "email", "ca"]
            | ["notify", "receivers", _, "outbox", "folder"] => beside(&folder, &resolved),
            ["state", "snapshots"] => store_beside(&folder, &resolved),
            _ => resolved,
        };
        scalar.shown = by_reference.then_some(shown);
    }

    /// `text` with its references replaced; `shown` becomes the same with `***` for each.
    fn expand(&self, text: &str, shown: &mut String) -> Result<String, String> {
        let in_url = is_url(text);
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            // `$${` stands for `${`.
            if let Some(before) = before.strip_suffix('$') {
                for text in [&mut out, &mut *shown] {
                    text.push_str(before);
                    text.push_str("${");
                }
                rest = after;
                continue;
            }
            let (name, after) = after.split_once('}').ok_or("`${` without its `}`")?;
            if !is_name(name) {
                return Err(format!("`${{{name}}}` is not the name of a variable"));
            }
            let value = self.sources.variable(name);
            let value = value.ok_or_else(|| format!("the variable `{name}` is not set"))?;
            for text in [&mut out, &mut *shown] {
                text.push_str(before);
            }
            if in_url {
                out.push_str(&percent(value));
            } else {
                out.push_str(value);
            }
            shown.push_str(HIDDEN);
            rest = after;
        }
        out.push_str(rest);
        shown.push_str(rest);
        Ok(out)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether `text` starts with a scheme and `://`.
pub(super) fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
    })
}

/// All but the unreserved characters of RFC 3986 percent-encoded, as UTF-8.
pub(crate) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for half in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(u32::from(half), 16).map(|c| c.to_ascii_uppercase()));
            }
        }
    }
    out
}

/// The text of a secret's file, without the line end that editors put behind it. `written` names
/// the file in faults.
fn read(folder: &Path, file: &str, written: &str) -> Result<String, String> {
    let path = folder.join(file.strip_prefix("//").unwrap_or(file));
    let unreadable = |error: std::io::Error| format!("cannot read the file `{written}`: {error}");
    if std::fs::metadata(&path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(format!("the file `{written}` is larger than {FILE_BYTES_MAX} bytes"));
    }
    let text = std::fs::read_to_string(&path).map_err(unreadable)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// `path`, from `folder` if it is relative.
pub(super) fn beside(folder: &Path, path: &str) -> String {
    let plain = path.strip_prefix("./").filter(|rest| !rest.is_empty());
    match plain {
        Some(plain) if !folder.as_os_str().is_empty() => folder.join(plain),
        _ => folder.join(path),
    }
    .display()
    .to_string()
}

/// The same for the path behind `file:`; other stores are left as they are.
pub(super) fn store_beside(folder: &Path, store: &str) -> String {
    match store.strip_prefix("file:") {
        Some(path) => format!("file:{}", beside(folder, path.strip_prefix("//").unwrap_or(path))),
        None => store.to_owned(),
    }
}
