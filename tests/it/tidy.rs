//! The source itself: what may be used where, the length of files, their opening line.

use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 500;

/// What no pure room may name.
const IMPURE: [&str; 19] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::net::Tcp",
    "std::net::Udp",
    "std::io",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "tokio",
    "rdkafka",
    "axum",
    "lettre",
    "reqwest",
    "tracing",
    "rand",
    "rand_chacha",
];

/// The pure rooms, each with the rooms of the crate that it may use.
const ROOMS: [(&str, &[&str]); 3] = [
    ("event", &["event"]),
    ("rule", &["event", "rule"]),
    ("engine", &["event", "rule", "engine", "near"]),
];

/// Every source file under `dir`, in order of name.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            files.extend(sources(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
    files
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn is_test(file: &Path) -> bool {
    file.file_stem().is_some_and(|stem| stem == "tests")
        || file.components().any(|part| part.as_os_str() == "tests")
}

/// Paths that code names, one segment list a path: `use a::{b, c::d}` gives `a::b` and `a::c::d`.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut outer: Vec<String> = Vec::new();
    let mut path = String::new();
    let mut rest = code.chars().peekable();
    let in_group = |outer: &[String], path: &str| format!("{}{path}", outer.concat());
    while let Some(c) = rest.next() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => path.push(c),
            ':' if rest.next_if_eq(&':').is_some() => path.push_str("::"),
            '{' if path.ends_with("::") => outer.push(std::mem::take(&mut path)),
            _ => {
                if !path.is_empty() {
                    found.push(in_group(&outer, &path));
                    path.clear();
                }
                match c {
                    '{' if !outer.is_empty() => outer.push(String::new()),
                    '}' if !outer.is_empty() => drop(outer.pop()),
                    _ => {}
                }
            }
        }
    }
    found.extend((!path.is_empty()).then(|| in_group(&outer, &path)));
    found
}

/// The code without comments and without the insides of strings that stand on one line.
fn bare(text: &str) -> String {
    let mut bare = String::new();
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or("");
        bare.extend(line.split('"').step_by(2));
        bare.push('\n');
    }
    bare
}

/// Whether `path` is `named` or lies within it.
fn lies_within(path: &str, named: &str) -> bool {
    let Some(rest) = path.strip_prefix(named) else { return false };
    rest.is_empty() || rest.starts_with("::") || named.ends_with("Tcp") || named.ends_with("Udp")
}

/// What a file of a pure room names and must not.
fn forbidden(code: &str, rooms: &[&str]) -> Vec<String> {
    let impure = |path: &String| {
        let within = |named: &&str| path.contains("::") && lies_within(path, named);
        let foreign = path
            .strip_prefix("crate::")
            .is_some_and(|path| !rooms.contains(&path.split("::").next().unwrap_or("")));
        foreign || IMPURE.iter().any(within)
    };
    let mut found: Vec<String> = paths(&bare(code)).into_iter().filter(impure).collect();
    found.dedup();
    found
}

#[test]
fn pure_rooms_name_nothing_impure() {
    let mut faults = Vec::new();
    for (room, rooms) in ROOMS {
        for file in sources(&src().join(room)).iter().filter(|file| !is_test(file)) {
            let names = forbidden(&fs::read_to_string(file).unwrap(), rooms);
            faults.extend(names.iter().map(|name| format!("{}: `{name}`", file.display())));
        }
    }
    assert!(faults.is_empty(), "a pure room names what it must not:\n{}", faults.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut faults = Vec::new();
    for file in sources(&src()) {
        let text = fs::read_to_string(&file).unwrap();
        if !text.starts_with("//!") {
            faults.push(format!("{}: does not open with `//!`", file.display()));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX && !is_test(&file) {
            faults.push(format!("{}: {lines} lines, at most {LINES_MAX}", file.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_check_finds_what_it_is_for() {
    let rows: [(&str, &[&str]); 8] = [
        ("use std::fs;", &["std::fs"]),
        ("use std::{fmt, env::var};", &["std::env::var"]),
        ("use std::collections::{BTreeMap, HashMap};", &["std::collections::HashMap"]),
        ("fn f() { tokio::spawn(g()) }", &["tokio::spawn"]),
        ("use crate::{event::Kind, stream::Log};", &["crate::stream::Log"]),
        ("let now = std::time::Instant::now();", &["std::time::Instant::now"]),
        ("use std::net::IpAddr; use crate::rule::Rule; // std::fs", &[]),
        ("let text = \"std::fs\"; struct A { rand: u8 }", &[]),
    ];
    for (code, expected) in rows {
        assert_eq!(forbidden(code, &["event", "rule"]), expected, "{code}");
    }
}
