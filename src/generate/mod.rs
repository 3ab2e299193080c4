//! Seeded streams of events with labelled abuse.
//!
//! The same options give the same bytes: no clock, no environment, one seeded generator.

#[cfg(test)]
mod tests;

use std::io::{self, Write};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// What stream to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Ordinary members, at least 1.
    pub users: u64,
    /// Ordinary events a second of event time, at least 1.
    pub rate: u64,
    /// Length of the stream in event time.
    pub seconds: u64,
    /// Event time of the first instant, milliseconds since the epoch.
    pub start: i64,
    pub seed: u64,
}

/// One episode laid into the stream: what it is, who acts, and from when to when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// `signin_farm`, `device_ring`, `lottery_bug`, `slow_drip`, `takeover`, `campaign_spike`.
    pub label: &'static str,
    /// Whether a rule set should find it; the campaign spike is legitimate.
    pub abuse: bool,
    pub users: Vec<String>,
    pub from: i64,
    pub to: i64,
    pub events: u64,
}

/// One event of the stream in the wire format of contract E1.
#[derive(Debug, Clone, Serialize)]
struct Line {
    id: String,
    ts: i64,
    user: String,
    kind: &'static str,
    points: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    source: &'static str,
    device: String,
    ip: String,
}

/// The shape of an episode; times are thousandths of the stream's length.
struct Shape {
    label: &'static str,
    abuse: bool,
    users: u64,
    each: u64,
    from: u64,
    to: u64,
    kind: &'static str,
    source: &'static str,
    points: u64,
    /// All act from one device and address.
    shared: bool,
}

#[rustfmt::skip]
const SHAPES: [Shape; 6] = [
    Shape { label: "signin_farm", abuse: true, users: 40, each: 3, from: 150, to: 250, kind: "issue", source: "signin", points: 10, shared: true },
    Shape { label: "device_ring", abuse: true, users: 12, each: 10, from: 300, to: 450, kind: "issue", source: "share", points: 50, shared: true },
    Shape { label: "lottery_bug", abuse: true, users: 3, each: 40, from: 500, to: 550, kind: "issue", source: "lottery", points: 500, shared: false },
    Shape { label: "slow_drip", abuse: true, users: 2, each: 60, from: 0, to: 1000, kind: "issue", source: "quiz", points: 100, shared: false },
    Shape { label: "takeover", abuse: true, users: 4, each: 8, from: 700, to: 720, kind: "redeem", source: "", points: 2000, shared: true },
    Shape { label: "campaign_spike", abuse: false, users: 200, each: 1, from: 800, to: 850, kind: "issue", source: "promotion", points: 20, shared: false },
];

/// Writes the stream as JSON lines in order of event time; returns the episodes in it.
pub fn run(options: &Options, out: &mut dyn Write) -> io::Result<Vec<Label>> {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let length = options.seconds.saturating_mul(1000);
    let mut planted = Vec::new();
    let mut labels = Vec::new();
    for shape in &SHAPES {
        labels.push(plant(shape, options.start, length, &mut rng, &mut planted));
    }
    planted.sort_by_key(|line: &Line| line.ts);
    let mut planted = planted.into_iter().peekable();
    let rate = options.rate.max(1);
    for n in 0..options.seconds.saturating_mul(rate) {
        let line = ordinary(
            n,
            options.start.saturating_add_unsigned(n.saturating_mul(1000) / rate),
            options.users.max(1),
            &mut rng,
        );
        while let Some(earlier) = planted.next_if(|other| other.ts <= line.ts) {
            write(out, &earlier)?;
        }
        write(out, &line)?;
    }
    planted.try_for_each(|line| write(out, &line))?;
    Ok(labels)
}

fn write(out: &mut dyn Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// An ordinary member at an ordinary task, from a device and address of their own.
fn ordinary(n: u64, ts: i64, users: u64, rng: &mut ChaCha8Rng) -> Line {
    let user = rng.random_range(0..users);
    let (kind, source, points) = match rng.random_range(0..20_u32) {
        0..=8 => ("issue", "signin", 10),
        9..=12 => ("issue", "share", 20),
        13..=15 => ("issue", "quiz", 30),
        16..=17 => ("issue", "purchase", rng.random_range(10..200)),
        18 => ("redeem", "", rng.random_range(50..300)),
        _ => ("expire", "", 10),
    };
    Line {
        id: format!("n-{n}"),
        ts,
        user: format!("u-{user}"),
        kind,
        points,
        source,
        device: format!("d-{user}"),
        ip: format!("10.{}.{}.{}", user >> 16 & 255, user >> 8 & 255, user & 255),
    }
}

fn plant(
    shape: &Shape,
    start: i64,
    length: u64,
    rng: &mut ChaCha8Rng,
    into: &mut Vec<Line>,
) -> Label {
    let at = |part: u64| start.saturating_add_unsigned(length / 1000 * part);
    let (from, to) = (at(shape.from), at(shape.to));
    let name = |user: u64| format!("{}-{user}", shape.label);
    for user in 0..shape.users {
        for n in 0..shape.each {
            let who = if shape.shared { 0 } else { user };
            into.push(Line {
                id: format!("{}-{user}-{n}", shape.label),
                ts: rng.random_range(from..=to),
                user: name(user),
                kind: shape.kind,
                points: shape.points,
                source: shape.source,
                device: format!("d-{}-{who}", shape.label),
                ip: format!("203.0.113.{}", who % 250),
            });
        }
    }
    Label {
        label: shape.label,
        abuse: shape.abuse,
        users: (0..shape.users).map(name).collect(),
        from,
        to,
        events: shape.users * shape.each,
    }
}
