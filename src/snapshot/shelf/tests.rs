//! A shelf on a real folder: what is damaged is found out, what is old goes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::snapshot::Objects;

fn shelf(folder: &Path) -> Shelf {
    let store = Objects::open(&format!("file:{}", folder.display())).unwrap();
    Shelf::new(Arc::new(store), "tidegate", 2)
}

fn subject() -> Subject {
    Subject { topic: "points.events".to_owned(), partition: 3 }
}

fn put(shelf: &Shelf, offset: i64, pieces: &[&[u8]]) -> Manifest {
    let mut manifest = Manifest::new(subject(), offset);
    for piece in pieces {
        manifest.segments.push(shelf.write(&subject(), piece).unwrap());
    }
    shelf.publish(&manifest).unwrap();
    manifest
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let within = folder.join("tidegate/points.events/3");
    let files = std::fs::read_dir(within).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    files.sort();
    files
}

#[test]
fn what_was_written_is_read_the_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf(folder.path());
    assert_eq!(shelf.names(&subject()).unwrap(), []);
    let long = vec![7; 100_000];
    put(&shelf, 9, &[b"nine"]);
    let wanted = put(&shelf, 1_000, &[b"first", &long, b""]);
    let names = shelf.names(&subject()).unwrap();
    assert_eq!(names.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [1_000, 9]);
    let manifest = shelf.manifest(&subject(), &names[0].1).unwrap();
    assert_eq!(manifest, wanted);
    let records: Vec<Vec<u8>> = manifest
        .segments
        .iter()
        .map(|segment| shelf.records(&subject(), segment).unwrap())
        .collect();
    assert_eq!(records, [b"first".to_vec(), long, b"".to_vec()]);
}

#[test]
fn only_the_newest_are_kept_and_a_segment_that_two_need_stays() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf(folder.path());
    put(&shelf, 1, &[b"shared", b"one"]);
    put(&shelf, 2, &[b"two"]);
    put(&shelf, 3, &[b"shared"]);
    let offsets: Vec<i64> =
        shelf.names(&subject()).unwrap().into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, [3, 2]);
    assert_eq!(files(folder.path(), SEGMENT).len(), 2);
    let (_, name) = &shelf.names(&subject()).unwrap()[0];
    let manifest = shelf.manifest(&subject(), name).unwrap();
    assert_eq!(shelf.records(&subject(), &manifest.segments[0]).unwrap(), b"shared");
}

#[test]
fn every_torn_changed_or_foreign_file_is_found_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf(folder.path());
    let manifest = put(&shelf, 5, &[b"some records of a state"]);
    let (_, name) = shelf.names(&subject()).unwrap().remove(0);
    for path in [files(folder.path(), SEGMENT), files(folder.path(), MANIFEST)].concat() {
        let whole = std::fs::read(&path).unwrap();
        let read = || -> Result<Vec<u8>, Bad> {
            let manifest = shelf.manifest(&subject(), &name)?;
            shelf.records(&subject(), &manifest.segments[0])
        };
        assert!(read().is_ok());
        // Cut at every length; the last line end of a manifest carries nothing.
        for length in 0..whole.len() - 1 {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = read().unwrap_err().to_string();
            let file = path.file_name().unwrap().to_str().unwrap();
            assert!(error.contains(file), "{length}: {error}");
        }
        // Every bit turned.
        for bit in 0..(whole.len() - 1) * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &changed).unwrap();
            assert!(read().is_err(), "bit {bit} of {}", path.display());
        }
        std::fs::write(&path, b"something else altogether").unwrap();
        assert!(read().is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(read(), Err(Bad::Store(StoreError::Missing(_)))));
        std::fs::write(&path, &whole).unwrap();
    }
    let other = Subject { partition: 4, ..subject() };
    assert!(shelf.manifest(&other, &name).unwrap_err().to_string().contains("another partition"));
    let mut newer = Manifest { format: FORMAT + 1, ..manifest };
    newer.offset = 6;
    shelf.publish(&newer).unwrap();
    let (_, name) = shelf.names(&subject()).unwrap().remove(0);
    let error = shelf.manifest(&subject(), &name).unwrap_err().to_string();
    assert!(error.contains("format 2, not 1"), "{error}");
}
