//! Mutated input to everything that reads what others have written: no panic, and the verdicts
//! that an independent reader comes to.
//!
//! Each target has seeds and words of its format; a case is a number, from which seed and
//! mutations follow. `TIDEGATE_FUZZ_SECONDS` is the time for each target (default 1),
//! `TIDEGATE_FUZZ_CASE` starts elsewhere than at 0. A case that fails is told with the command
//! that runs it again, and with the shortest input found that still fails.
//!
//! No coverage leads the mutations: on stable Rust no fuzzer can measure it. The seeds are near
//! to what is valid instead, so that most cases get past the first check.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tidegate::engine::{Input, Lists, Origin, Output, Plan, Settings, State, step};
use tidegate::event::{AttrValue, Decoder, Event, EventTime, Reason};
use tidegate::rule::{Fault, Source, load, parse_list};

mod changes;
mod snapshots;

/// What is tried, and with what.
struct Target<'a> {
    name: &'a str,
    seeds: &'a [Vec<u8>],
    words: &'a [Vec<u8>],
    /// Panics where it does not hold.
    holds: &'a dyn Fn(&[u8]),
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

impl Target<'_> {
    #[expect(clippy::panic, reason = "a case that fails stops the test")]
    fn run(&self) {
        let seconds = number("TIDEGATE_FUZZ_SECONDS").unwrap_or(1);
        let until = Instant::now() + Duration::from_secs(seconds);
        self.seeds.iter().for_each(|seed| (self.holds)(seed));
        let mut case = number("TIDEGATE_FUZZ_CASE").unwrap_or(0);
        loop {
            let input = self.input(case);
            if self.fails(&input) {
                let short = self.shortest(input);
                // Once more, for its own message.
                let command = format!(
                    "TIDEGATE_FUZZ_CASE={case} cargo test --locked --test it -- fuzz::{}",
                    self.name
                );
                std::io::Write::write_all(
                    &mut std::io::stderr(),
                    format!("again with: {command}\nthe input: {}\n", short.escape_ascii())
                        .as_bytes(),
                )
                .unwrap();
                (self.holds)(&short);
                panic!("case {case} failed once, and then not: {command}");
            }
            case += 1;
            if Instant::now() >= until {
                break;
            }
        }
    }

    fn fails(&self, input: &[u8]) -> bool {
        catch_unwind(AssertUnwindSafe(|| (self.holds)(input))).is_err()
    }

    /// The input of a case; the first of each seed's is near to it, later ones are far.
    fn input(&self, case: u64) -> Vec<u8> {
        let mut rng = ChaCha8Rng::seed_from_u64(case);
        let seed = rng.random_range(0..self.seeds.len());
        let mut input = self.seeds[seed].clone();
        // Half of them are one step away, where most of a binary record is still read.
        let steps = if rng.random() { 1 } else { rng.random_range(2..6) };
        for _ in 0..steps {
            self.mutate(&mut input, &mut rng);
        }
        input
    }

    fn mutate(&self, input: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
        let at = rng.random_range(0..=input.len());
        let end = (at + rng.random_range(1..40)).min(input.len());
        match rng.random_range(0..13) {
            0 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
            // A number of a few bits becomes the one beside it, and stays as long.
            11 | 12 if at < input.len() => input[at] ^= 1 << rng.random_range(0..3),
            1 if at < input.len() => input[at] = rng.random(),
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => {
                let part = input[at..end].to_vec();
                let to = rng.random_range(0..=input.len());
                input.splice(to..to, part);
            }
            5 => {
                let other = &self.seeds[rng.random_range(0..self.seeds.len())];
                let from = rng.random_range(0..=other.len());
                let part = &other[from..(from + rng.random_range(1..60)).min(other.len())];
                input.splice(at..end, part.iter().copied());
            }
            6 => {
                // A number becomes another one.
                let digits = u8::is_ascii_digit;
                let Some(from) = input[at..].iter().position(digits) else { return };
                let from = at + from;
                let len = input[from..].iter().take_while(|byte| digits(byte)).count();
                let numbers =
                    ["0", "-1", "00", "9223372036854775807", "9223372036854775808", "1e999", "0.5"];
                let number = numbers[rng.random_range(0..numbers.len())];
                input.splice(from..from + len, number.bytes());
            }
            _ => {
                let word = &self.words[rng.random_range(0..self.words.len())];
                // In the place of a byte, which may have been a number, or put between.
                let end = (at + rng.random_range(0..2)).min(input.len());
                input.splice(at..end, word.iter().copied());
            }
        }
    }

    /// Without the parts that it can do without and still fail, as far as half a minute goes.
    fn shortest(&self, mut input: Vec<u8>) -> Vec<u8> {
        let until = Instant::now() + Duration::from_secs(30);
        let mut size = input.len() / 2;
        while size > 0 {
            let mut at = 0;
            while at < input.len() && Instant::now() < until {
                let mut shorter = input.clone();
                shorter.drain(at..(at + size).min(input.len()));
                if self.fails(&shorter) {
                    input = shorter;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
        input
    }
}

fn owned(seeds: &[&str]) -> Vec<Vec<u8>> {
    seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}

const EVENTS: [&str; 6] = [
    r#"{"id":"01JD8Z6W3X5T","ts":1763779200123,"user":"u-1001","kind":"issue","points":50,"source":"signin","device":"d-9f3a12","ip":"203.0.113.7","attrs":{"tier":"gold","country":"CN"}}"#,
    r#"{"id":"a","ts":"2025-11-22T10:00:00.685477580712+08:00","user":"u","kind":"adjust","points":-7}"#,
    r#"{"id":"b","ts":1763779200123,"user":"u","kind":"reverse","points":5,"reverses":{"id":"a","ts":1763779200000,"kind":"issue","partial":true}}"#,
    r#"{"points":1000000000000,"kind":"redeem","user":"\u00e9\ud83d\ude00\"","ts":4102444800000,"id":"c","extra":[{"a":[1,2.5e-3,true,null]}]}"#,
    r#"{ "id" : "d" , "ts" : 946684800000 , "user" : "v" , "kind" : "expire" , "points" : 0 , "source" : null , "device" : "" , "attrs" : { "n" : 1.5 , "b" : false , "i" : -3 } }"#,
    r#"{"id":"e","ts":"2016-12-31T23:59:60Z","user":"w","kind":"issue","points":-0,"attrs":{},"ip":"::ffff:10.0.0.1"}"#,
];

const JSON_WORDS: [&str; 26] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\ud83d\\ude00",
    "null",
    "true",
    "-",
    "e5",
    ".0",
    "\"id\":",
    "\"ts\":",
    "\"kind\":\"reverse\",",
    "\"reverses\":{},",
    "\"attrs\":{\"a\":1},",
    "\u{e9}",
    "\0",
    "\n",
    "[[[[[[[[",
    "\"user\":\"x\",",
];

#[test]
fn event() {
    let target = Target {
        name: "event",
        seeds: &owned(&EVENTS),
        words: &owned(&JSON_WORDS),
        holds: &|input| judged_alike(input),
    };
    target.run();
}

/// `serde_json` reads whatever we read, and finds the same in it.
fn judged_alike(input: &[u8]) {
    let theirs = serde_json::from_slice::<Value>(input);
    match Decoder::default().decode(input, 65_536) {
        Ok(event) => {
            // Ours passes over numbers beyond a double where they do not matter.
            let Ok(theirs) = theirs.as_ref() else {
                let fault = theirs.unwrap_err().to_string();
                assert!(fault.contains("out of range"), "{fault}");
                return;
            };
            same(&event, theirs);
            // What is written again reads as the same.
            let again = event.to_json();
            let read = Decoder::default().decode(again.as_bytes(), usize::MAX);
            assert_eq!(format!("{read:?}"), format!("Ok({event:?})"));
        }
        Err(Reason::NotJson) => {
            // Theirs takes the last of equal keys; ours takes none of them.
            let taken = theirs.is_ok_and(|value| value.is_object());
            assert!(!taken || repeats(input), "refused as not JSON");
        }
        Err(Reason::Bad(field)) => {
            let known = ["id", "ts", "user", "kind", "points", "source", "device", "ip"];
            assert!(known.contains(&field) || ["attrs", "reverses"].contains(&field), "{field}");
        }
        Err(reason) => assert_eq!(reason, Reason::TooLarge),
    }
}

fn same(event: &Event<'_>, theirs: &Value) {
    let text = |name: &str| theirs[name].as_str().filter(|text| !text.is_empty());
    assert_eq!(Some(&*event.id), text("id"));
    assert_eq!(Some(&*event.user), text("user"));
    assert_eq!(Some(event.kind.as_str()), text("kind"));
    assert_eq!(Some(event.points), integer(&theirs["points"]));
    assert_eq!(event.source.as_deref(), text("source"));
    assert_eq!(event.device.as_deref(), text("device"));
    assert_eq!(event.ip.as_deref(), text("ip"));
    assert!(EventTime::MIN <= event.ts && event.ts <= EventTime::MAX);
    match theirs["ts"].as_str() {
        Some(text) => {
            // Ours takes any number of digits of a fraction, and cuts them.
            let zone = text
                .get(19..)
                .unwrap_or_default()
                .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
            let theirs: jiff::Timestamp =
                format!("{}{zone}", text.get(..19).unwrap()).parse().unwrap();
            assert_eq!(event.ts.0.div_euclid(1_000), theirs.as_second(), "{text}");
        }
        None => assert_eq!(Some(event.ts.0), integer(&theirs["ts"])),
    }
    for (name, value) in &event.attrs {
        let theirs = &theirs["attrs"][&**name];
        match value {
            AttrValue::Text(text) => assert_eq!(theirs.as_str(), Some(&**text)),
            AttrValue::Integer(integer) => assert_eq!(self::integer(theirs), Some(*integer)),
            AttrValue::Bool(bool) => assert_eq!(theirs.as_bool(), Some(*bool)),
            // serde_json without `float_roundtrip` may be off by the last place.
            AttrValue::Float(float) => {
                let theirs = theirs.as_f64().unwrap();
                assert!((theirs - float).abs() <= float.abs() * 1e-15, "{theirs} {float}");
            }
        }
    }
}

/// `-0` is an integer that theirs reads as a double.
fn integer(value: &Value) -> Option<i64> {
    let zero = value.as_f64().filter(|float| *float == 0.0 && float.is_sign_negative());
    value.as_i64().or(zero.map(|_| 0))
}

/// Whether an object has a key twice, or it is too deep to tell.
fn repeats(input: &[u8]) -> bool {
    struct Strict(bool);
    impl<'de> serde::Deserialize<'de> for Strict {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
            deserializer.deserialize_any(Look)
        }
    }
    struct Look;
    impl<'de> serde::de::Visitor<'de> for Look {
        type Value = Strict;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("JSON")
        }
        fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
            Ok(Strict(false))
        }
        fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
            Ok(Strict(false))
        }
        fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
            Ok(Strict(false))
        }
        fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
            Ok(Strict(false))
        }
        fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
            Ok(Strict(false))
        }
        fn visit_unit<E>(self) -> Result<Strict, E> {
            Ok(Strict(false))
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
            let mut twice = false;
            while let Some(Strict(below)) = items.next_element()? {
                twice |= below;
            }
            Ok(Strict(twice))
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
            let (mut twice, mut names) = (false, BTreeSet::new());
            while let Some((name, Strict(below))) = map.next_entry::<String, Strict>()? {
                twice |= below | !names.insert(name);
            }
            Ok(Strict(twice))
        }
    }
    let deep = input.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() > 60;
    deep || serde_json::from_slice::<Strict>(input).is_ok_and(|Strict(twice)| twice)
}

fn files(folder: &str, extension: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(extension));
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

const EVERY_RULE: &str = "version: 1
timezone: Asia/Shanghai
lists: { bad: { file: bad.csv, field: user } }
budget: { freezes: 100, per: 1h }
rules:
  - { name: a, on: issue, where: { points: { gt: 5 }, any: [{ source: signin }, { not: { ip: { cidr: 10.0.0.0/8 } } }] }, per: device,
      measure: distinct(user), window: 1h, levels: [{ above: 3 }, { above: 9, then: [{ freeze: { scope: issue, for: 2h } }] }] }
  - { name: b, on: [issue, reverse], per: global, measure: count, window: 1m, zscore: { above: 4, below: -4 }, baseline: { method: robust, history: 9, min_windows: 3 } }
  - { name: c, per: global, window: day, ratio: { of: { on: redeem, measure: sum(points) }, to: { on: issue, measure: sum(points) }, min_to: 3 }, above: 2 }
  - { name: d, on: issue, per: source, measure: count, window: 10m, below: 1, cooldown: 1h, mode: shadow }
  - { name: e, where: { user: { in: bad }, device: { exists: true }, hour: { lt: 6 }, weekday: sat }, per: [user, attrs.tier], then: [review] }
  - { name: h, on: issue, measure: sum(points), window: week, above: 9, clear: 5, then: [{ deduct: { points: excess } }] }
  - { name: f, on: redeem, where: { new: { field: device, within: 30d } }, budget: { freezes: 1, per: 1m }, then: [freeze, { unfreeze: { rule: a } }] }
  - { name: g, on: issue, per: global, measure: max(points), window: 30s, above: 40 }
";

const YAML_WORDS: [&str; 34] = [
    "- ",
    ": ",
    "\n",
    "  ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a ",
    "<<: ",
    "!!int ",
    "|\n",
    ">-\n",
    "#",
    "'",
    "\"",
    "---\n",
    "...\n",
    "\t",
    "\u{feff}",
    "~",
    "null",
    "version: 2",
    "above: ",
    "1e999",
    "999999999999d",
    "per: [user, device]\n",
    "window: quarter",
    "measure: distinct(attrs.x)",
    "zscore: { above: .nan }",
    "on: reverse",
    "\u{2028}",
    "? ",
];

#[test]
fn rules() {
    let mut seeds = files("rules", ".yaml");
    seeds.push(EVERY_RULE.as_bytes().to_vec());
    assert!(seeds.len() >= 5);
    // Its fault once stood behind the end.
    seeds.push(b"    :\n    m".to_vec());
    load(&[Source { path: "r.yaml".to_owned(), text: EVERY_RULE.to_owned() }]).unwrap();
    let holds = |input: &[u8]| {
        // Files that are no UTF-8 are refused before.
        let text = String::from_utf8_lossy(input).into_owned();
        let source = Source { path: "r.yaml".to_owned(), text: text.clone() };
        match load(&[source]) {
            Ok(set) => drop(Plan::new(Arc::new(set), Lists::new(9), Settings::default())),
            Err(faults) => placed(&faults, "r.yaml", &text),
        }
    };
    Target { name: "rules", seeds: &seeds, words: &owned(&YAML_WORDS), holds: &holds }.run();
}

/// Each fault stands somewhere in the text, and says something.
fn placed(faults: &[Fault], file: &str, text: &str) {
    assert!(!faults.is_empty());
    let lines = text.chars().filter(|c| matches!(c, '\n' | '\r')).count() + 1;
    for fault in faults {
        let place = &fault.place;
        assert_eq!(place.file, file);
        assert!((1..=lines).contains(&place.line), "{fault}");
        assert!((1..=text.chars().count() + 1).contains(&place.column), "{fault}");
        assert!(!fault.message.is_empty() && !fault.message.contains('\n'), "{fault}");
        assert!(fault.text.chars().count() <= 61, "{fault}");
    }
}

const LISTS: [&str; 4] = [
    "value,reason,expires,author\nu-1,bots,2026-01-01,ann\n\"u,2\",\"said \"\"no\"\"\",2025-12-31T12:00:00Z,\n",
    "\u{feff}value\r\nu-1\r\n\r\nu-2\r\n",
    "author,value,expires\n bob , 203.0.113.7 ,1763779200123\n",
    "value,expires\nu,2026-03-08T02:30:00\n",
];

#[test]
fn lists() {
    let mut seeds = files("rules/lists", ".csv");
    seeds.extend(owned(&LISTS));
    let zone = TimeZone::get("America/New_York").unwrap();
    let holds = |input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        match parse_list(&text, "l.csv", &zone) {
            Ok(entries) => {
                let lines = text.split(['\n', '\r']).count();
                assert!(entries.len() <= lines && entries.iter().all(|one| !one.value.is_empty()));
            }
            Err(faults) => placed(&faults, "l.csv", &text),
        }
    };
    let words = [
        "\"",
        "\"\"",
        ",",
        "\n",
        "\r",
        "\r\n",
        "value",
        "expires",
        "9999-12-31",
        "-9999-01-01",
        "\0",
    ];
    Target { name: "lists", seeds: &seeds, words: &owned(&words), holds: &holds }.run();
}

/// Records of partial aggregates, as a worker writes them for [`EVERY_RULE`].
fn partials(plan: &Plan) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let origin = Origin { topic: "points.events".into(), partition: 0 };
    let (mut state, mut out) = (State::new(origin.clone()), Output::default());
    for n in 0..40_i64 {
        let text = format!(
            r#"{{"id":"e-{n}","ts":{},"user":"u-{}","kind":"{}","points":{n},"device":"d-{}","source":"signin"}}"#,
            1_763_779_200_000 + n * 7_000,
            n % 7,
            ["issue", "redeem"][usize::from(n % 3 == 0)],
            n % 2,
        );
        let event = Decoder::default().decode(text.as_bytes(), 65_536).unwrap();
        step(
            &mut state,
            plan,
            Input::Event { event: &event, offset: n, record_ts: None },
            &mut out,
        );
        if n % 8 == 7 {
            let told = Some(event.ts);
            let drained = out.partials.drain(&origin, told, 1, n > 30, true);
            records.extend(drained.into_iter().map(|(_, record)| record));
        }
    }
    records
}

#[test]
fn partial_aggregates() {
    let source = Source { path: "r.yaml".to_owned(), text: EVERY_RULE.to_owned() };
    let set = Arc::new(load(&[source]).unwrap());
    let plan = Plan::new(set, Lists::new(1), Settings::default());
    let seeds = partials(&plan);
    assert!(seeds.len() >= 5 && seeds.iter().any(|seed| seed.len() > 200));
    let (tried, read) = (Cell::new(0_u64), Cell::new(0_u64));
    let holds = |input: &[u8]| {
        let origin = Origin { topic: "partials".into(), partition: 0 };
        let (mut state, mut out) = (State::new(origin), Output::default());
        // Into a state that holds something, and with something to follow.
        for (offset, payload) in (0..).zip([&seeds[0], input, &seeds[1]]) {
            let record_ts = Some(1_763_779_200_000 + offset);
            step(&mut state, &plan, Input::Partials { payload, offset, record_ts }, &mut out);
        }
        tried.set(tried.get() + 1);
        read.set(read.get() + u64::from(out.counts.partials_unreadable == 0));
        step(&mut state, &plan, Input::End, &mut out);
    };
    let words: [&[u8]; 9] = [
        b"\0",
        b"\x01",
        b"\x02",
        b"\x7f",
        b"d-0",
        // The greatest and the least number, in full and of 32 bits, and small ones.
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff\xff\xff\xff\x0f",
        b"\x80\x01",
    ];
    let words = words.map(<[u8]>::to_vec);
    let target = Target { name: "partial_aggregates", seeds: &seeds, words: &words, holds: &holds };
    target.run();
    // Else it would be the decoder alone that is tried.
    let (tried, read) = (tried.get(), read.get());
    assert!(read * 20 > tried, "{read} of {tried} were read");
}
