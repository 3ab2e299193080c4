//! Bytes a user, all in: what the process grew by while every user acted a few times.
//!
//! `cargo bench --bench memory -- [five|shipped] [USERS] [zipf]`; one rule set a run, because freed
//! memory would be used again.
#![expect(clippy::print_stdout, reason = "the figure is the output")]

mod events;

use events::{Events, Fold, Shape, five, shipped};

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
    let plan = if name == "five" { five() } else { shipped() };
    let shape = if words.iter().any(|word| word == "zipf") { Shape::Zipf } else { Shape::Uniform };
    let mut stream = Events::new(shape, users);
    let mut fold = Fold::new();
    fold.feed(&plan, &stream.lines(events::FLUSH_EVERY));
    let before = resident();
    // Three events a user: one user in twenty does not come.
    for _ in 0..3 * users as usize / events::FLUSH_EVERY {
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
