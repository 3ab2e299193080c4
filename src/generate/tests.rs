//! The stream is a function of its options, in order, readable as events, and as disorderly as
//! asked.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::*;
use crate::event::{Decoder, EventTime};

fn options(seed: u64) -> Options {
    Options { users: 500, rate: 5, seconds: 600, seed, ..Options::default() }
}

fn bytes(options: &Options) -> (Vec<u8>, Vec<Label>) {
    let mut out = Vec::new();
    let labels = run(options, &mut out).unwrap();
    (out, labels)
}

#[test]
fn same_seed_gives_the_same_bytes_and_another_seed_others() {
    assert_eq!(bytes(&options(7)), bytes(&options(7)));
    assert_ne!(bytes(&options(7)).0, bytes(&options(8)).0);
}

#[test]
fn every_line_is_an_event_in_order_and_labels_count_them() {
    let mut stream = Stream::new(&options(7));
    let decoder = Decoder::default();
    let (mut last, mut lines, mut size) = (EventTime::MIN, 0, 0);
    let mut ids = BTreeSet::new();
    let mut labelled = BTreeMap::<usize, u64>::new();
    while let Some(line) = stream.next_line() {
        let event = decoder.decode(line.bytes, 65_536).unwrap();
        assert_eq!(event.ts.0, line.at);
        assert_eq!(event.user, line.user);
        assert!(event.ts >= last);
        assert!(ids.insert(event.id.to_string()), "{} twice", event.id);
        assert_eq!(line.fault, None);
        if let Some(label) = line.label {
            *labelled.entry(label).or_default() += 1;
        }
        last = event.ts;
        lines += 1;
        size += line.bytes.len();
    }
    let counts: Vec<u64> = stream.labels().iter().map(|label| label.events).collect();
    assert_eq!(labelled.into_values().collect::<Vec<_>>(), counts);
    assert_eq!(lines, 3000 + counts.iter().sum::<u64>());
    let mean = size as u64 / lines;
    assert!((170..=190).contains(&mean), "{mean} bytes an event");
}

#[test]
fn labels_name_who_acts_where_and_when() {
    let mut stream = Stream::new(&options(7));
    let labels = stream.labels().to_vec();
    let decoder = Decoder::default();
    while let Some(line) = stream.next_line() {
        let event = decoder.decode(line.bytes, 65_536).unwrap();
        let Some(label) = line.label.map(|at| &labels[at]) else {
            assert!(labels.iter().all(|label| !label.users.contains(&event.user.to_string())));
            continue;
        };
        assert!(label.users.contains(&event.user.to_string()), "{label:?}");
        assert!(event.ts.0 <= label.to, "{label:?}");
        let own =
            event.device.as_ref().is_some_and(|device| label.devices.contains(&device.to_string()));
        assert!(label.devices.is_empty() || own || event.ts.0 < label.from, "{label:?}");
    }
    let mut shared = BTreeSet::new();
    for label in labels {
        for place in label.devices.iter().chain(&label.ips) {
            assert!(shared.insert(place.clone()), "{place} in two episodes");
        }
        assert_eq!(label.abuse, !label.expect.is_empty(), "{label:?}");
        assert!(label.from < label.to, "{label:?}");
    }
}

#[test]
fn a_member_keeps_a_device_and_stays_below_the_caps_when_paced() {
    let dense = Options { users: 50, rate: 20, ..options(7) };
    let (mut devices, mut points) = (HashMap::new(), HashMap::<String, i64>::new());
    let mut stream = Stream::new(&dense);
    let decoder = Decoder::default();
    while let Some(line) = stream.next_line() {
        let event = decoder.decode(line.bytes, 65_536).unwrap();
        if line.label.is_some() {
            continue;
        }
        let user = event.user.to_string();
        let device = event.device.unwrap().to_string();
        assert_eq!(*devices.entry(user.clone()).or_insert(device.clone()), device);
        if event.kind.as_str() == "issue" && event.source.as_deref() != Some("purchase") {
            *points.entry(user).or_default() += event.points;
        }
    }
    assert!(points.values().all(|points| *points <= 1100), "{points:?}");
}

#[test]
fn the_busiest_tenth_of_zipf_makes_half_of_the_events_and_of_uniform_a_tenth() {
    let share = |popularity| {
        let mut stream =
            Stream::new(&Options { popularity, paced: false, rate: 100, ..options(3) });
        let (mut all, mut top) = (0, 0);
        while let Some(line) = stream.next_line() {
            if let Some(rank) =
                line.user.strip_prefix("u-").and_then(|rank| rank.parse::<u64>().ok())
            {
                all += 1;
                top += u64::from(rank < 50);
            }
        }
        top * 100 / all
    };
    assert!((48..=56).contains(&share(Popularity::Zipf)), "{}", share(Popularity::Zipf));
    assert!((8..=12).contains(&share(Popularity::Uniform)));
}

#[test]
fn disorder_is_what_it_says_and_takes_nothing_away() {
    let plain = options(7);
    let disorder = Disorder { late: 0.05, duplicates: 0.05, broken: 0.05, far_ahead: 0.01 };
    let mut stream = Stream::new(&Options { disorder, ..plain.clone() });
    let decoder = Decoder::default();
    let mut seen = BTreeSet::new();
    let mut counts = BTreeMap::<String, u64>::new();
    let mut last = i64::MIN;
    while let Some(line) = stream.next_line() {
        let decoded = decoder.decode(line.bytes, 65_536);
        assert!(line.at >= last && line.at < 1_763_741_400_000 + 1000);
        last = line.at;
        let name = line.fault.map_or("none".into(), |fault| format!("{fault:?}"));
        *counts.entry(name).or_default() += 1;
        match line.fault {
            None => assert!(seen.insert(line.bytes.to_vec())),
            Some(Fault::Duplicate) => assert!(seen.contains(line.bytes)),
            Some(Fault::Broken(reason)) => {
                let text = String::from_utf8_lossy(&line.bytes[..line.bytes.len().min(200)]);
                assert_eq!(decoded.unwrap_err().to_string(), reason, "{text}");
            }
            Some(Fault::Late) => assert!(decoded.unwrap().ts.0 < line.at - 600_000),
            Some(Fault::FarAhead) => assert!(decoded.unwrap().ts.0 > line.at + 300_000),
        }
    }
    let planted: u64 = stream.labels().iter().map(|label| label.events).sum();
    assert_eq!(counts["none"] + counts["Late"], 3000 + planted);
    assert!((100..=200).contains(&counts["Late"]), "{counts:?}");
    assert!((100..=200).contains(&counts["Duplicate"]), "{counts:?}");
    let broken = counts.keys().filter(|name| name.starts_with("Broken")).count();
    // not_json, too_large and the members id ts user kind points source device ip attrs.
    assert_eq!(broken, 11, "{counts:?}");
}
