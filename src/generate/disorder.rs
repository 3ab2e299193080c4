//! Disorder on purpose: late events, duplicates, records that break E1 and E2.
//!
//! Whole lines are added or dated back; no ordinary event and no episode is lost by it.

use std::collections::VecDeque;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::generate::Line;
use crate::generate::line::{Event, Writer, mix};

/// How much of each, as a share of the ordinary events.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Disorder {
    /// Events dated back behind the allowed lateness of 10 minutes.
    pub late: f64,
    /// Lines sent again, byte for byte.
    pub duplicates: f64,
    /// Lines that are not valid JSON or break E1 or E2, each class in turn.
    pub broken: f64,
    /// Events dated a lifetime ahead. A backtest has no record timestamps to tell by and takes
    /// them at their word, so that all after them is late.
    pub far_ahead: f64,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Late,
    Duplicate,
    /// The reason of E4 for which it is to be quarantined.
    Broken(&'static str),
    FarAhead,
}

/// Behind the watermark by this much at least: the allowed lateness and a minute, since the
/// watermark trails the instant of sending in a thin stream.
const LATE_MIN_MS: i64 = 660_000;
const LATE_MAX_MS: i64 = 2_400_000;
/// A line is sent again within half of the time for which its id is remembered.
const AGAIN_WITHIN_MS: i64 = 300_000;
const REMEMBERED: usize = 64;
/// One byte more than a record may have.
const TOO_LARGE_BYTES: usize = 65_537;
/// 2099-01-01T00:00:00Z.
const FAR_AHEAD_MS: i64 = 4_070_908_800_000;

#[derive(Debug, Clone)]
struct Record {
    at: i64,
    user: String,
    bytes: Vec<u8>,
    fault: Option<Fault>,
}

#[derive(Debug)]
pub(super) struct Mess {
    disorder: Disorder,
    rng: ChaCha8Rng,
    /// Accepted lines that may be sent again.
    recent: VecDeque<Record>,
    waiting: VecDeque<Record>,
    sent: Option<Record>,
    begun: bool,
    broken: usize,
}

impl Mess {
    pub(super) fn new(disorder: Disorder, seed: u64) -> Mess {
        Mess {
            disorder,
            rng: ChaCha8Rng::seed_from_u64(mix(seed ^ 0xd150)),
            recent: VecDeque::new(),
            waiting: VecDeque::new(),
            sent: None,
            begun: false,
            broken: 0,
        }
    }

    /// Takes the next line of disorder, if one is due; [`Mess::line`] shows it.
    pub(super) fn due(&mut self) -> bool {
        self.sent = self.waiting.pop_front();
        self.sent.is_some()
    }

    pub(super) fn line(&self) -> Option<Line<'_>> {
        let Record { at, user, bytes, fault } = self.sent.as_ref()?;
        Some(Line { at: *at, user, bytes, label: None, fault: *fault })
    }

    /// Dates an event back; never the first, which has nothing to be late against.
    pub(super) fn befall(&mut self, event: &mut Event) -> Option<Fault> {
        let first = !std::mem::replace(&mut self.begun, true);
        if first || !self.happens(self.disorder.late) {
            return None;
        }
        event.ts -= self.rng.random_range(LATE_MIN_MS..LATE_MAX_MS);
        Some(Fault::Late)
    }

    /// Keeps a line that may be sent again.
    pub(super) fn remember(&mut self, at: i64, writer: &Writer) {
        if self.disorder.duplicates <= 0.0 {
            return;
        }
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(record(at, writer.user(), writer.bytes().to_vec(), Fault::Duplicate));
    }

    /// What comes after an ordinary event.
    pub(super) fn follow(&mut self, at: i64, fault: Option<Fault>, writer: &Writer) {
        if fault.is_none() {
            self.remember(at, writer);
        }
        if self.happens(self.disorder.duplicates) {
            while self.recent.front().is_some_and(|old| old.at + AGAIN_WITHIN_MS < at) {
                self.recent.pop_front();
            }
            if !self.recent.is_empty() {
                let again = self.rng.random_range(0..self.recent.len());
                self.waiting.push_back(Record { at, ..self.recent[again].clone() });
            }
        }
        if self.happens(self.disorder.broken) {
            let (text, reason) = broken(self.broken, at, writer.user());
            self.broken += 1;
            let fault = Fault::Broken(reason);
            self.waiting.push_back(record(at, writer.user(), text.into_bytes(), fault));
        }
        if self.happens(self.disorder.far_ahead) {
            let text = Raw::new(self.broken, FAR_AHEAD_MS, writer.user()).text();
            self.broken += 1;
            self.waiting.push_back(record(at, writer.user(), text.into_bytes(), Fault::FarAhead));
        }
    }

    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.random::<f64>() < share
    }
}

fn record(at: i64, user: &str, bytes: Vec<u8>, fault: Fault) -> Record {
    Record { at, user: user.to_owned(), bytes, fault: Some(fault) }
}

/// The members of a record as raw JSON, one of which a class of faults spoils.
struct Raw {
    id: String,
    ts: String,
    user: String,
    kind: String,
    points: String,
    rest: String,
}

impl Raw {
    fn new(number: usize, ts: i64, user: &str) -> Raw {
        Raw {
            id: format!("\"id\":\"odd-{number}-{ts}\","),
            ts: format!("\"ts\":{ts},"),
            user: format!("\"user\":\"{user}\","),
            kind: "\"kind\":\"issue\",".into(),
            points: "\"points\":10".into(),
            rest: String::new(),
        }
    }

    fn text(&self) -> String {
        let Raw { id, ts, user, kind, points, rest } = self;
        format!("{{{id}{ts}{user}{kind}{points}{rest}}}")
    }
}

const CLASSES: usize = 24;

/// The `number`-th broken line, a class after the other, and the reason of E4 that it earns.
fn broken(number: usize, at: i64, user: &str) -> (String, &'static str) {
    let mut raw = Raw::new(number, at, user);
    let long = "x".repeat(257);
    let (member, spoilt, reason) = match number % CLASSES {
        0 => return ("hello, this is no JSON".into(), "not_json"),
        1 => return (raw.text().split_off(1), "not_json"),
        2 => return (format!("{}}}", raw.text()), "not_json"),
        3 => return (raw.text().chars().take(40).collect(), "not_json"),
        4 => (&mut raw.rest, ",\"points\":11".into(), "not_json"),
        5 => (&mut raw.id, "\"id\":\"\\ud800\",".into(), "not_json"),
        6 => (&mut raw.id, String::new(), "bad_id"),
        7 => (&mut raw.id, format!("\"id\":\"{long}\","), "bad_id"),
        8 => (&mut raw.ts, String::new(), "bad_ts"),
        9 => (&mut raw.ts, "\"ts\":\"yesterday\",".into(), "bad_ts"),
        10 => (&mut raw.ts, "\"ts\":0,".into(), "bad_ts"),
        11 => (&mut raw.user, String::new(), "bad_user"),
        12 => (&mut raw.user, "\"user\":\"\",".into(), "bad_user"),
        13 => (&mut raw.kind, String::new(), "bad_kind"),
        14 => (&mut raw.kind, "\"kind\":\"gift\",".into(), "bad_kind"),
        15 => (&mut raw.points, "\"points\":null".into(), "bad_points"),
        16 => (&mut raw.points, "\"points\":5.0".into(), "bad_points"),
        17 => (&mut raw.points, "\"points\":-1".into(), "bad_points"),
        18 => (&mut raw.points, "\"points\":1000000000001".into(), "bad_points"),
        19 => (&mut raw.rest, format!(",\"source\":\"{long}\""), "bad_source"),
        20 => (&mut raw.rest, ",\"device\":7".into(), "bad_device"),
        21 => (&mut raw.rest, format!(",\"ip\":\"{long}\""), "bad_ip"),
        22 => (&mut raw.rest, ",\"attrs\":{\"deep\":{\"er\":1}}".into(), "bad_attrs"),
        _ => {
            let pad = "x".repeat(TOO_LARGE_BYTES);
            (&mut raw.rest, format!(",\"note\":\"{pad}\""), "too_large")
        }
    };
    *member = spoilt;
    (raw.text(), reason)
}
