//! Seeded events in wire form, the rules to run them under, and the worker's path without Kafka.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on should stop")]

use std::path::Path;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate::control::read_rules;
use tidegate::engine::{Input, LOOK_AHEAD, Lists, Origin, Output, Plan, Settings, State, step};
use tidegate::event::{Decoder, Event, Layouts};
use tidegate::rule::{Source, load};

/// How often each user acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The user of rank k acts in proportion to 1/k.
    Zipf,
    Uniform,
}

/// An endless stream of events, 2,000 a second of event time.
#[derive(Debug)]
pub(crate) struct Events {
    rng: ChaCha8Rng,
    shape: Shape,
    users: u32,
    /// Sources beside those of [`Events::write`]'s own; with any, each event has one of them.
    campaigns: u32,
    n: u64,
}

impl Events {
    pub(crate) fn new(shape: Shape, users: u32) -> Events {
        Events { rng: ChaCha8Rng::seed_from_u64(1), shape, users, campaigns: 0, n: 0 }
    }

    /// Events of so many campaigns, evenly.
    #[allow(dead_code, clippy::allow_attributes, reason = "not in every bench")]
    pub(crate) fn of_campaigns(self, campaigns: u32) -> Events {
        Events { campaigns, ..self }
    }

    fn user(&mut self) -> u32 {
        match self.shape {
            Shape::Uniform => self.rng.random_range(0..self.users),
            Shape::Zipf => {
                // P(rank ≤ k) = ln(k + 1) / ln(users + 1), inverted; a multiplier scatters ranks,
                // so that hot users are no neighbours.
                let u: f64 = self.rng.random();
                let rank = (u * (f64::from(self.users) + 1.0).ln()).exp() - 1.0;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "≥ 0")]
                let rank = u64::from((rank as u32).min(self.users - 1));
                u32::try_from(rank * 7_368_787 % u64::from(self.users)).unwrap()
            }
        }
    }

    /// Appends one line; about 190 bytes.
    pub(crate) fn write(&mut self, text: &mut String) {
        use std::fmt::Write as _;
        let n = self.n;
        self.n += 1;
        let user = self.user();
        let ts = 1_763_740_800_000 + n / 2;
        let (kind, source) = match self.rng.random_range(0..10_u32) {
            0 => ("redeem", "shop"),
            1 => ("expire", "job"),
            2..=4 => ("issue", "share"),
            5 => ("issue", "purchase"),
            _ => ("issue", "signin"),
        };
        let mut campaign = String::new();
        if self.campaigns > 0 {
            write!(campaign, "c{:03}", self.rng.random_range(0..self.campaigns)).unwrap();
        }
        let source = if campaign.is_empty() { source } else { &campaign };
        let points = self.rng.random_range(1..10_u32);
        let (b, c) = (user >> 10 & 255, user >> 2 & 255);
        let device = user.wrapping_mul(2_654_435_761);
        writeln!(
            text,
            r#"{{"id":"01JD8Z6W3X5T{n:014}","ts":{ts},"user":"u-{user:07}","kind":"{kind}","points":{points},"source":"{source}","device":"d-{device:08x}","ip":"10.{}.{b}.{c}","attrs":{{"tier":"gold"}}}}"#,
            user >> 18
        )
        .unwrap();
    }

    pub(crate) fn lines(&mut self, n: usize) -> String {
        let mut text = String::new();
        (0..n).for_each(|_| self.write(&mut text));
        text
    }
}

/// R1–R5 of the comparison with peers.
const FIVE: &str = "
version: 1
timezone: Asia/Shanghai
rules:
  - { name: r1, on: issue, per: user, measure: sum(points), window: day, above: 5000 }
  - { name: r2, on: [issue, redeem, expire], per: user, measure: count, window: 10m, above: 100 }
  - { name: r3, on: redeem, per: user, measure: sum(points), window: 1h, above: 10000 }
  - { name: r4, on: issue, per: global, measure: sum(points), window: 1m, zscore: { above: 6 } }
  - { name: r5, on: [issue, redeem], per: device, measure: distinct(user), window: 1h, above: 5 }
";

/// Ten rules on each of so many campaigns, of which an event sees those of its own; of one
/// campaign: of all events.
#[allow(dead_code, clippy::allow_attributes, reason = "not in every bench")]
pub(crate) fn ten_each(campaigns: u32) -> Plan {
    use std::fmt::Write as _;
    let mut text = "version: 1\ntimezone: Asia/Shanghai\nrules:\n".to_owned();
    let kinds = "on: [issue, redeem, expire]";
    for campaign in 0..campaigns {
        let of = if campaigns > 1 {
            format!("where: {{ source: c{campaign:03} }}, ")
        } else {
            String::new()
        };
        for (at, rule) in [
            "per: user, measure: sum(points), window: day, above: 500000",
            "per: user, measure: count, window: day, above: 5000",
            "per: user, measure: count, window: 10m, above: 1000",
            "per: user, measure: sum(points), window: 1h, above: 100000",
            "per: user, measure: max(points), window: day, above: 1000",
            "per: user, measure: count, window: week, above: 10000",
            "per: device, measure: distinct(user), window: 1h, above: 50",
            "per: device, measure: count, window: day, above: 50000",
            "per: source, measure: sum(points), window: day, above: 1000000000",
            "per: global, measure: sum(points), window: 1m, zscore: { above: 9 }",
        ]
        .iter()
        .enumerate()
        {
            writeln!(text, "  - {{ name: c{campaign}-{at}, {kinds}, {of}{rule} }}").unwrap();
        }
    }
    plan(text)
}

pub(crate) fn five() -> Plan {
    plan(FIVE.to_owned())
}

fn plan(text: String) -> Plan {
    let set = load(&[Source { path: "rules.yaml".into(), text }]).unwrap();
    Plan::new(Arc::new(set), Lists::default(), settings())
}

pub(crate) fn shipped() -> Plan {
    shipped_with(settings())
}

pub(crate) fn shipped_with(settings: Settings) -> Plan {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let (set, entries) = read_rules(&root).unwrap();
    let lists: Lists = entries.into_iter().collect();
    Plan::new(Arc::new(set), lists, settings)
}

pub(crate) fn settings() -> Settings {
    Settings { max_ahead_ms: None, ..Settings::default() }
}

/// Events between two flushes: 100 ms at 200,000 events a second.
pub(crate) const FLUSH_EVERY: usize = 20_000;

/// One events partition and one partials partition, as a worker holds them.
#[derive(Debug, Clone)]
pub(crate) struct Fold {
    pub(crate) events: State,
    pub(crate) shared: State,
    pub(crate) out: Output,
    pub(crate) shared_out: Output,
    decoder: Decoder,
    layouts: Layouts,
    offset: i64,
    records: i64,
    flush_every: usize,
}

impl Fold {
    #[allow(dead_code, clippy::allow_attributes, reason = "not in every bench")]
    pub(crate) fn new() -> Fold {
        Fold::that_flushes(FLUSH_EVERY)
    }

    /// One that flushes after so many events.
    pub(crate) fn that_flushes(flush_every: usize) -> Fold {
        let origin = |topic: &str| Origin { topic: topic.into(), partition: 0 };
        Fold {
            events: State::new(origin("points.events")),
            shared: State::new(origin("tidegate.partials")),
            out: Output::default(),
            shared_out: Output::default(),
            decoder: Decoder::default(),
            layouts: Layouts::default(),
            offset: 0,
            records: 0,
            flush_every,
        }
    }

    /// Decodes and folds in each line; returns the effects put out.
    #[inline(never)]
    pub(crate) fn feed<'a>(&mut self, plan: &Plan, lines: &'a str) -> usize {
        let mut effects = 0;
        let mut lines = lines.lines();
        loop {
            let some = lines.by_ref().take(LOOK_AHEAD);
            let (decoder, layouts) = (&self.decoder, &mut self.layouts);
            let mut decode =
                |line: &'a str| decoder.decode_alike(layouts, line.as_bytes(), 65_536).unwrap();
            let mut decoded: Vec<Event<'a>> = Vec::with_capacity(LOOK_AHEAD);
            for (offset, line) in (self.offset..).zip(some) {
                decoded.push(decode(line));
                if let Some(event) = decoded.last() {
                    self.events.foresee(plan, (offset, event), &self.out.partials);
                }
            }
            if decoded.is_empty() {
                return effects;
            }
            self.events.look_ahead(plan, &self.out.partials);
            for event in &decoded {
                let input = Input::Event { event, offset: self.offset, record_ts: None };
                step(&mut self.events, plan, input, &mut self.out);
                self.offset += 1;
                if self.offset.unsigned_abs().is_multiple_of(self.flush_every as u64) {
                    self.flush(plan);
                    effects += self.out.effects.len() + self.shared_out.effects.len();
                    self.out.effects.clear();
                    self.shared_out.effects.clear();
                }
            }
        }
    }

    fn flush(&mut self, plan: &Plan) {
        let origin = Origin { topic: "points.events".into(), partition: 0 };
        let watermark = self.events.watermark();
        for (_, payload) in self.out.partials.drain(&origin, watermark, 1, false, false) {
            let input =
                Input::Partials { payload: &payload, offset: self.records, record_ts: None };
            step(&mut self.shared, plan, input, &mut self.shared_out);
            self.records += 1;
        }
    }
}
