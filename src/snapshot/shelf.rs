//! Snapshots on a store: segments, and a manifest that names them, written last.
//!
//! A manifest is one object, so a snapshot is there whole or not at all, and two writers of the
//! same partition do not disturb each other: segments are named by their content. What was torn,
//! cut short, changed or written by something else is found out by the checksums.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::snapshot::store::{Listed, SharedStore, StoreError};

/// Version of manifest and segments; a reader takes no other.
const FORMAT: u32 = 1;
/// Opens every segment.
const MAGIC: &[u8] = b"tidegate snapshot 1\n";
const MANIFEST: &str = ".manifest";
const SEGMENT: &str = ".segment";
/// zstd's fastest regular level: writing must not cost much, and texts and small numbers shrink
/// well at any level.
const LEVEL: i32 = 1;
/// Largest segment that is unpacked: writers stay far below.
const UNPACKED_MAX: u64 = 1 << 30;
/// A segment that no manifest names is removed when it is so old: its writer has given up.
const ORPHAN_MS: i64 = 3_600_000;

/// Which partition a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    pub topic: String,
    pub partition: i32,
}

/// A record of the log that the state has taken in, so that a log of the same name can be told
/// from this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landmark {
    pub offset: i64,
    /// XXH3 of its key, value and timestamp.
    pub hash: u64,
}

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    #[serde(flatten)]
    pub subject: Subject,
    /// Records before this offset are in it.
    pub offset: i64,
    /// Changes by people before this offset of the control topic are in it.
    pub control: i64,
    /// Offset at which the state was begun empty.
    pub begun_at: i64,
    pub landmark: Option<Landmark>,
    /// The rule set it was made under.
    pub ruleset: String,
    /// Its name, and its offset in the control topic; empty and -1 where nothing was published.
    pub set: String,
    pub set_at: i64,
    /// The set counts otherwise, and the state went on with what it has in common with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warming: bool,
    /// Milliseconds since the epoch.
    pub written_ms: i64,
    pub segments: Vec<Segment>,
}

/// As much of a manifest as every format has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Manifest {
    /// A manifest of no segments yet.
    pub fn new(subject: Subject, offset: i64) -> Manifest {
        Manifest {
            format: FORMAT,
            subject,
            offset,
            control: 0,
            begun_at: 0,
            landmark: None,
            ruleset: String::new(),
            set: String::new(),
            set_at: -1,
            warming: false,
            written_ms: 0,
            segments: Vec::new(),
        }
    }

    /// Bytes on the store, without the manifest.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

/// A part of a snapshot: packed records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// XXH3, 128 bits, of the object's bytes, in hex; its name, too.
    pub hash: String,
    pub bytes: u64,
}

/// Why a snapshot cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    #[error("{name}: {reason}")]
    Damaged { name: String, reason: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The snapshots of one group on one store.
#[derive(Debug, Clone)]
pub struct Shelf {
    store: SharedStore,
    /// Folder of the group.
    folder: String,
    /// Snapshots kept of each partition, at least one.
    keep: usize,
}

impl Shelf {
    pub fn new(store: SharedStore, group: &str, keep: usize) -> Shelf {
        Shelf { store, folder: group.to_owned(), keep: keep.max(1) }
    }

    fn folder(&self, subject: &Subject) -> String {
        format!("{}/{}/{}", self.folder, subject.topic, subject.partition)
    }

    /// Writes some records as a segment.
    ///
    /// # Errors
    /// When the store does not take it.
    pub fn write(&self, subject: &Subject, records: &[u8]) -> Result<Segment, StoreError> {
        let packed = zstd::bulk::compress(records, LEVEL)
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        let object = [MAGIC, &packed].concat();
        let hash = hex(&object);
        let bytes = object.len() as u64;
        self.store.put(&format!("{}/{hash}{SEGMENT}", self.folder(subject)), object)?;
        Ok(Segment { hash, bytes })
    }

    /// Makes a snapshot known, when all its segments are written, and removes old ones.
    ///
    /// # Errors
    /// When the store does not take the manifest. That old ones cannot be removed is no error.
    pub fn publish(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let name = self.name(&manifest.subject, manifest.offset);
        let json = serde_json::to_string(manifest)
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        let text = format!("{json}\n{}\n", hex(json.as_bytes()));
        self.store.put(&name, text.into_bytes())?;
        if let Err(error) = self.clear(manifest) {
            tracing::warn!(%error, "old snapshots cannot be removed");
        }
        Ok(())
    }

    fn name(&self, subject: &Subject, offset: i64) -> String {
        format!("{}/{offset:020}{MANIFEST}", self.folder(subject))
    }

    /// Names of the snapshots of a partition, each with its offset, the newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn names(&self, subject: &Subject) -> Result<Vec<(i64, String)>, StoreError> {
        match self.store.list(&self.folder(subject)) {
            Ok(listed) => Ok(manifests(&listed)),
            Err(StoreError::Missing(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The manifest of this name.
    ///
    /// # Errors
    /// When it cannot be read, or is not what its checksum says.
    pub fn manifest(&self, subject: &Subject, name: &str) -> Result<Manifest, Bad> {
        let bad = |reason: &str| Bad::Damaged { name: name.to_owned(), reason: reason.to_owned() };
        let text = String::from_utf8(self.store.get(name)?).map_err(|_| bad("is no text"))?;
        let mut lines = text.lines();
        let (json, sum) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        if sum != hex(json.as_bytes()) {
            return Err(bad("its checksum does not fit: it is torn or was changed"));
        }
        let Format { format } =
            serde_json::from_str(json).map_err(|_| bad("is no snapshot of tidegate"))?;
        if format != FORMAT {
            return Err(bad(&format!("is of format {format}, not {FORMAT}")));
        }
        let manifest: Manifest =
            serde_json::from_str(json).map_err(|error| bad(&error.to_string()))?;
        if manifest.subject != *subject {
            return Err(bad("is of another partition"));
        }
        Ok(manifest)
    }

    /// The records of a segment.
    ///
    /// # Errors
    /// When it cannot be read, or is not what the manifest says.
    pub fn records(&self, subject: &Subject, segment: &Segment) -> Result<Vec<u8>, Bad> {
        let name = format!("{}/{}{SEGMENT}", self.folder(subject), segment.hash);
        let bad = |reason: String| Bad::Damaged { name: name.clone(), reason };
        let object = self.store.get(&name)?;
        if object.len() as u64 != segment.bytes {
            let (has, wanted) = (object.len(), segment.bytes);
            return Err(bad(format!("has {has} bytes, not {wanted}: it is torn")));
        }
        if hex(&object) != segment.hash {
            return Err(bad("its checksum does not fit: it was changed".to_owned()));
        }
        let packed =
            object.strip_prefix(MAGIC).ok_or_else(|| bad("is no segment of ours".to_owned()))?;
        let size = zstd::zstd_safe::get_frame_content_size(packed).ok().flatten().unwrap_or(0);
        let size = usize::try_from(size.min(UNPACKED_MAX)).unwrap_or(0);
        zstd::bulk::decompress(packed, size).map_err(|error| bad(error.to_string()))
    }

    /// Removes all but the newest snapshots of a partition, and segments that none of those needs.
    fn clear(&self, newest: &Manifest) -> Result<(), StoreError> {
        let subject = &newest.subject;
        let listed = self.store.list(&self.folder(subject))?;
        let (mut needed, mut gone) = (BTreeSet::new(), BTreeSet::new());
        let mut own = 0;
        for (offset, name) in manifests(&listed) {
            // Nothing newer than what was written just now is touched: it is of somebody else.
            own += usize::from(offset <= newest.offset);
            let is_kept = own <= self.keep;
            match self.manifest(subject, &name) {
                Ok(manifest) => {
                    let segments = manifest.segments.into_iter().map(|segment| segment.hash);
                    if is_kept { needed.extend(segments) } else { gone.extend(segments) }
                }
                Err(Bad::Store(error)) => return Err(error),
                Err(Bad::Damaged { .. }) => {}
            }
            if !is_kept {
                self.store.delete(&name)?;
            }
        }
        for object in listed {
            let old = newest.written_ms - object.modified_ms > ORPHAN_MS;
            if let Some(hash) = file(&object.name).strip_suffix(SEGMENT)
                && !needed.contains(hash)
                && (old || gone.contains(hash))
            {
                self.store.delete(&object.name)?;
            }
        }
        Ok(())
    }
}

/// Of the objects of a folder the manifests, each with its offset, the newest first.
fn manifests(listed: &[Listed]) -> Vec<(i64, String)> {
    let offset = |name: &str| file(name).strip_suffix(MANIFEST)?.parse().ok();
    let named = listed.iter().filter_map(|one| Some((offset(&one.name)?, one.name.clone())));
    let mut names: Vec<(i64, String)> = named.collect();
    names.sort_unstable_by(|a, b| b.cmp(a));
    names
}

/// The last part of a name.
fn file(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

#[cfg(test)]
mod tests;
