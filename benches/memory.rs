//! Bytes a user, all in: what the process grew by while every user acted a few times.
//!
//! `cargo bench --bench memory -- [five|shipped] [USERS] [zipf] [once]`; one rule set a run, because
//! freed memory would be used again. `once`: an event a user, and not three.
//!
//! `cargo bench --bench memory -- flood [USERS] [KEYS]`: the shipped rules, that many users with a
//! device of their own who come once, and states that hold so many keys.
//!
//! `cargo bench --bench memory -- stalls [USERS] [shipped]`: the five rules or those, that many users within two
//! hours before midnight, then one event a second for two more: how long the longest steps took.
#![expect(clippy::print_stdout, reason = "the figure is the output")]

mod events;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use events::{Events, Fold, Shape, five, settings, shipped, shipped_with};
use tidegate::engine::{Plan, Settings};

/// Resident bytes of this process.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0) * 1024
}

fn main() {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let name = words.first().map_or("shipped", String::as_str);
    let users = words.get(1).and_then(|users| users.parse().ok()).unwrap_or(1_000_000u32);
    if name == "flood" {
        let keys = words.get(2).and_then(|keys| keys.parse().ok()).unwrap_or(1_000_000);
        return flood(users, keys);
    }
    if name == "stalls" {
        let is_shipped = words.iter().any(|word| word == "shipped");
        return stalls(&if is_shipped { shipped() } else { five() }, users);
    }
    let plan = if name == "five" { five() } else { shipped() };
    let shape = if words.iter().any(|word| word == "zipf") { Shape::Zipf } else { Shape::Uniform };
    let mut stream = Events::new(shape, users);
    let mut fold = Fold::new();
    fold.feed(&plan, &stream.lines(events::FLUSH_EVERY));
    let before = resident();
    // Three events a user: one user in twenty does not come.
    let times = if words.iter().any(|word| word == "once") { 1 } else { 3 };
    for _ in 0..times * users as usize / events::FLUSH_EVERY {
        fold.feed(&plan, &stream.lines(events::FLUSH_EVERY));
    }
    let grown = resident().saturating_sub(before);
    let ids = fold.events.remembered_ids();
    let counters = fold.events.counters() + fold.shared.counters();
    let told = fold.events.bytes() + fold.shared.bytes();
    println!(
        "{name}: {users} users, {ids} ids remembered, {counters} counters: {} bytes a user, \
         {} of them by the states' own count",
        grown / users as usize,
        told / users as usize
    );
}

/// What is forgotten after midnight, and before it as windows are over, keeps the events waiting that
/// come then.
fn stalls(plan: &Plan, users: u32) {
    /// Milliseconds before midnight.
    const BEFORE: i64 = 7_200_000;
    let mut fold = Fold::that_flushes(10);
    let midnight = 1_763_827_200_000 - BEFORE;
    let mut lines = String::new();
    let mut slowest: Vec<(Duration, i64)> = Vec::new();
    let gap_us = BEFORE * 1000 / i64::from(users);
    let many = (0..i64::from(users)).map(|n| (n, midnight + n * gap_us / 1000));
    let few = (0..BEFORE / 1000).map(|n| (i64::from(users) + n, midnight + BEFORE + n * 1000));
    for (n, ts) in many.chain(few) {
        writeln!(
            lines,
            r#"{{"id":"e-{n}","ts":{ts},"user":"u-{n}","kind":"issue","points":1,"source":"signin","device":"d-{n}"}}"#
        )
        .unwrap_or_default();
        if n % 10 == 9 {
            let began = Instant::now();
            fold.feed(plan, &lines);
            slowest.push((began.elapsed(), (ts - midnight - BEFORE) / 1000));
            lines.clear();
        }
    }
    slowest.sort_unstable_by_key(|(took, _)| std::cmp::Reverse(*took));
    for (took, at) in slowest.iter().take(10) {
        let ms = took.as_secs_f64() * 1000.0;
        println!("{ms:8.1} ms for ten events, {at} s after midnight");
    }
}

/// A tenth of the keys are of users who have come twice before.
fn flood(users: u32, keys: usize) {
    let plan = shipped_with(Settings { max_keys: Some(keys), ..settings() });
    let mut fold = Fold::new();
    let mut n = 0_u64;
    let mut line = |name: &str, lines: &mut String| {
        n += 1;
        let ts = 1_763_740_800_000 + n / 10;
        writeln!(
            lines,
            r#"{{"id":"e-{n}","ts":{ts},"user":"{name}","kind":"issue","points":1,"source":"signin","device":"d-{name}"}}"#
        )
        .unwrap_or_default();
    };
    let slow = keys / 20;
    for round in 0..2 * slow {
        let mut lines = String::new();
        line(&format!("slow-{}", round % slow), &mut lines);
        fold.feed(&plan, &lines);
    }
    let before = resident();
    for some in 0..10 {
        let (first, last) = (users / 10 * some, users / 10 * (some + 1));
        for user in first..last {
            let mut lines = String::new();
            line(&format!("bot-{user}"), &mut lines);
            fold.feed(&plan, &lines);
        }
        let counts = [&fold.out.counts, &fold.shared_out.counts];
        let evicted: u64 = counts.iter().map(|counts| counts.keys_evicted).sum();
        let refused: u64 = counts.iter().map(|counts| counts.keys_refused).sum();
        println!(
            "{last} users: {} keys of users, {} of devices and the like; {evicted} made room, \
             {refused} were refused; {} MiB more, ids among them: {}",
            fold.events.keys(),
            fold.shared.keys(),
            resident().saturating_sub(before) >> 20,
            fold.events.remembered_ids()
        );
    }
}
