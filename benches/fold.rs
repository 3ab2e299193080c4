//! Decode, rules and partial aggregates over a seeded stream, once: a fixed amount of work for a
//! profiler, or for callgrind to count the instructions of.
//!
//! `cargo bench --bench fold -- [five|shipped|10|100|1000] [zipf|uniform] [USERS] [EVENTS]`; with a number so
//! many rules, of which each event matches ten.
#![expect(clippy::print_stdout, reason = "the figure is the output")]

mod events;

use events::{Events, FLUSH_EVERY, Fold, Shape, five, shipped, ten_each};

/// Nanoseconds that this thread was on a core.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

fn main() {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok());
    let is = |word: &str| words.iter().any(|other| other == word);
    let campaigns = number(0).map_or(0, |rules| u32::try_from(rules / 10).unwrap_or(1).max(1));
    let (plan, name) = match words.first().map(String::as_str) {
        Some("shipped") => (shipped(), "shipped"),
        Some(name) if campaigns > 0 => (ten_each(campaigns), name),
        _ => (five(), "five"),
    };
    let shape = if is("uniform") { Shape::Uniform } else { Shape::Zipf };
    let users = number(2).unwrap_or(100_000);
    let count = number(3).unwrap_or(200_000).max(FLUSH_EVERY);
    let events = Events::new(shape, u32::try_from(users).unwrap_or(u32::MAX));
    let mut events = events.of_campaigns(campaigns);
    let mut fold = Fold::new();
    let (mut effects, mut spent) = (0, 0);
    for _ in 0..count / FLUSH_EVERY {
        let lines = events.lines(FLUSH_EVERY);
        let before = cpu_ns();
        effects += fold.feed(&plan, &lines);
        spent += cpu_ns() - before;
    }
    let count = count as u64 / FLUSH_EVERY as u64 * FLUSH_EVERY as u64;
    println!(
        "{name} rules, {shape:?}, {users} users, {count} events: {effects} effects, {} ns an event",
        spent / count
    );
}
