//! Snapshots: records that pass every checksum and are not what a state has told, and files that
//! are not what was written. What is loaded can go on stepping; nothing panics, hangs, or takes
//! memory that the input does not pay for.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidegate::engine::{Input, Loaded, Loader, Origin, Output, Plan, State, step};
use tidegate::event::Decoder;
use tidegate::snapshot::{Bad, Listed, Manifest, Shelf, Store, StoreError, Subject};

use super::{Target, owned};
use crate::naive::plan;
use crate::snapshot::{RULES, Told, Two};

const START: i64 = 1_763_779_200_000;
/// Bytes that a state made from a seed of some 10 KB may take: estimates of distinct values are
/// large, and so is a table's first page.
const BYTES_MAX: usize = 64 << 20;
/// A case that takes longer would hold up a restart.
const LONGEST: Duration = Duration::from_secs(20);

/// An event: of few users, sources and devices, `n` apart in time.
fn line(n: i64, ts: i64) -> Vec<u8> {
    let kind = ["issue", "redeem", "issue"][usize::try_from(n % 3).unwrap()];
    format!(
        r#"{{"id":"e{n}","ts":{ts},"user":"u{}","kind":"{kind}","points":{},"source":"s{}","device":"d{}"}}"#,
        n % 4,
        n * 7 % 45,
        n % 2,
        n % 5
    )
    .into_bytes()
}

/// The states after so many events, one a few minutes.
fn after(plan: &Plan, events: i64) -> Two {
    let mut two = Two::new();
    for n in 0..events {
        let line = line(n, START + n * 200_000);
        two.feed(plan, &Decoder::default().decode(&line, 65_536).unwrap());
    }
    two
}

/// What each of the two states tells.
fn told(two: &mut Two, plan: &Plan) -> [Vec<u8>; 2] {
    two.begin(plan);
    let mut told = Told::default();
    while !told.is_over() {
        told.sweep(two, plan, 1 << 16);
    }
    told.pieces.map(|pieces| pieces.concat())
}

/// A window with more values than are kept one by one.
fn crowded(plan: &Plan) -> [Vec<u8>; 2] {
    let mut two = after(plan, 3);
    for n in 0..1_100 {
        let line = format!(
            r#"{{"id":"c{n}","ts":{},"user":"u0","kind":"issue","points":1,"device":"c{n}"}}"#,
            START + 700_000 + n * 10
        );
        two.feed(plan, &Decoder::default().decode(line.as_bytes(), 65_536).unwrap());
    }
    told(&mut two, plan)
}

fn load(plan: &Plan, topic: &str, records: &[u8]) -> Option<Loaded> {
    let origin = Origin { topic: topic.into(), partition: 0 };
    let mut loader = Loader::new(plan, origin);
    loader.take(records).ok()?;
    loader.finish().ok()
}

fn feed(plan: &Plan, (state, out): (&mut State, &mut Output), offset: i64, line: &[u8]) {
    let event = &Decoder::default().decode(line, 65_536).unwrap();
    step(state, plan, Input::Event { event, offset, record_ts: None }, out);
}

/// Steps on: events soon and much later, partial aggregates, the end, and another snapshot.
fn goes_on(plan: &Plan, loaded: Loaded, partials: &[Vec<u8>]) {
    let Loaded { mut state, output: mut out, .. } = loaded;
    assert!(state.bytes() < BYTES_MAX, "{} bytes", state.bytes());
    state.canonical(plan, &out);
    let told = state.watermark().map_or(START, |watermark| watermark.0).clamp(START, START * 2);
    for (n, later) in (0..).zip([1_000, 2_000, 700_000, 90_000_000, 8 * 86_400_000]) {
        feed(plan, (&mut state, &mut out), n, &line(n + 900, told + later));
        out.effects.clear();
    }
    for (offset, payload) in (0..).zip(partials) {
        let record_ts = Some(START + 40_000_000 + offset);
        step(&mut state, plan, Input::Partials { payload, offset, record_ts }, &mut out);
    }
    step(&mut state, plan, Input::End, &mut out);
    state.canonical(plan, &out);
}

/// Partial aggregates of an hour and more after the seeds.
fn partials(plan: &Plan) -> Vec<Vec<u8>> {
    let origin = Origin { topic: "events".into(), partition: 0 };
    let mut state = State::new(origin.clone());
    let mut out = Output::default();
    for n in 0..20 {
        feed(plan, (&mut state, &mut out), n, &line(n, START + 36_000_000 + n * 200_000));
    }
    let drained = out.partials.drain(&origin, state.watermark(), 1, false, true);
    drained.into_iter().map(|(_, record)| record).collect()
}

fn words() -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = [
        b"\0".as_slice(),
        b"\x01",
        b"\x02",
        b"\x03",
        b"\x06",
        b"\x7f",
        // The greatest and the least number, in full and of 32 bits.
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff\xff\xff\xff\x0f",
        // Some days more or less.
        b"\x80\xb0\xd4\xf4\x0f",
        b"\xff\xb0\xd4\xf4\x0f",
        b"\0\0\0\0\0\0\xf0\x7f",
        b"\0\0\0\0\0\0\xf8\x7f",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    words.extend(owned(&["9", "-", "null", ",", "1763779200000", "true"]));
    words
}

#[test]
fn records() {
    let plan = plan(RULES);
    let partials = partials(&plan);
    let seeds: Vec<Vec<u8>> =
        [told(&mut after(&plan, 12), &plan), told(&mut after(&plan, 60), &plan), crowded(&plan)]
            .concat();
    assert!(!partials.is_empty() && seeds.iter().all(|seed| seed.len() > 1_000));
    let (tried, loaded) = (Cell::new(0_u64), Cell::new(0_u64));
    let holds = |input: &[u8]| {
        let began = Instant::now();
        tried.set(tried.get() + 1);
        for topic in ["events", "partials"] {
            if let Some(made) = load(&plan, topic, input) {
                loaded.set(loaded.get() + 1);
                goes_on(&plan, made, &partials);
            }
        }
        assert!(began.elapsed() < LONGEST, "{:?}", began.elapsed());
    };
    for seed in &seeds {
        holds(seed);
    }
    assert_eq!((tried.get(), loaded.get()), (6, 6));
    let words = words();
    let name = "snapshots::records";
    Target { name, seeds: &seeds, words: &words, holds: &holds }.run();
    // Else it would be the codec's outermost checks alone that are tried.
    let (tried, loaded) = (tried.get(), loaded.get());
    assert!(loaded * 50 > tried, "{loaded} of {tried} were loaded");
}

/// Objects by name.
#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<String, Vec<u8>>>);

impl Store for Memory {
    fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.0.lock().unwrap().insert(name.to_owned(), bytes);
        Ok(())
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let object = self.0.lock().unwrap().get(name).cloned();
        object.ok_or_else(|| StoreError::Missing(name.to_owned()))
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError> {
        let objects = self.0.lock().unwrap();
        let names = objects.keys().filter(|name| name.starts_with(folder)).cloned();
        Ok(names.map(|name| Listed { name, modified_ms: 0 }).collect())
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }
}

/// Bytes in the place of a manifest, or of a segment that a manifest names with their checksum:
/// what is read is what was written, or nothing.
#[test]
fn stored_bytes() {
    let plan = plan(RULES);
    let records = told(&mut after(&plan, 12), &plan)[0].clone();
    let subject = Subject { topic: "events".to_owned(), partition: 0 };
    let store = Arc::new(Memory::default());
    let shelf = Shelf::new(store.clone(), "g", 2);
    let mut manifest = Manifest::new(subject.clone(), 12);
    manifest.segments.push(shelf.write(&subject, &records).unwrap());
    shelf.publish(&manifest).unwrap();
    let name = shelf.names(&subject).unwrap().remove(0).1;
    let segment = format!("g/events/0/{}.segment", manifest.segments[0].hash);
    let seeds = [store.get(&name).unwrap(), store.get(&segment).unwrap()];
    let (manifests, segments) = (Cell::new(0_u64), Cell::new(0_u64));
    let holds = |input: &[u8]| {
        let began = Instant::now();
        // As a manifest, with its checksum and without.
        let text = String::from_utf8_lossy(input);
        let json = text.lines().next().unwrap_or_default();
        let summed = format!("{json}\n{:032x}\n", xxhash_rust::xxh3::xxh3_128(json.as_bytes()));
        for bytes in [input.to_vec(), summed.into_bytes()] {
            store.put(&name, bytes).unwrap();
            if let Ok(read) = shelf.manifest(&subject, &name) {
                manifests.set(manifests.get() + 1);
                assert_eq!(read.subject, subject);
                let unlike = |segment: &_| shelf.records(&subject, segment);
                read.segments.iter().for_each(|segment| drop(unlike(segment)));
            }
        }
        // As a segment that is whole by its checksum.
        let hash = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(input));
        let other = format!("g/events/0/{hash}.segment");
        store.put(&other, input.to_vec()).unwrap();
        let named = tidegate::snapshot::Segment { hash, bytes: input.len() as u64 };
        match shelf.records(&subject, &named) {
            Ok(records) => {
                segments.set(segments.get() + 1);
                drop(load(&plan, "events", &records));
            }
            Err(bad) => assert!(matches!(bad, Bad::Damaged { .. }), "{bad}"),
        }
        store.delete(&other).unwrap();
        // As the segment that a good manifest names.
        store.put(&segment, input.to_vec()).unwrap();
        if let Ok(read) = shelf.records(&subject, &manifest.segments[0]) {
            assert!(read == records, "a changed segment passes for the one that was written");
        }
        store.put(&segment, seeds[1].clone()).unwrap();
        assert!(began.elapsed() < LONGEST, "{:?}", began.elapsed());
    };
    let words =
        [words(), owned(&["\"segments\":[],", "\"bytes\":", "\n", "\"format\":2,"])].concat();
    let name = "snapshots::stored_bytes";
    Target { name, seeds: &seeds, words: &words, holds: &holds }.run();
    assert!(manifests.get() > 2 && segments.get() > 1);
}
