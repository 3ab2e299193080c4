//! One event of the stream, and its line in the wire format of contract E1.

use std::fmt::Write as _;

use crate::generate::{Fault, Line};

/// Where an event comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Home {
    /// The member's own device and address, the same for the whole stream.
    Own,
    /// A device and an address that an episode names.
    At { device: String, ip: String },
}

/// The original that a reversal takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Original {
    pub(super) id: String,
    pub(super) ts: i64,
    pub(super) member: u64,
    pub(super) points: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) ts: i64,
    /// Place in the crowd; device, address and attributes follow from it.
    pub(super) member: u64,
    /// Name of someone with a part in an episode; members are named by their place.
    pub(super) name: Option<String>,
    pub(super) kind: &'static str,
    pub(super) source: &'static str,
    pub(super) points: i64,
    pub(super) home: Home,
    pub(super) reverses: Option<Original>,
}

/// Mixes a number well: the finaliser of splitmix64.
pub(super) fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Writes events into a buffer that it keeps.
#[derive(Debug)]
pub(super) struct Writer {
    seed: u64,
    written: u64,
    id: String,
    user: String,
    text: String,
}

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TIERS: [&str; 8] = ["basic", "basic", "basic", "basic", "basic", "silver", "silver", "gold"];

impl Writer {
    pub(super) fn new(seed: u64) -> Writer {
        Writer {
            seed: mix(seed),
            written: 0,
            id: String::new(),
            user: String::new(),
            text: String::new(),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    pub(super) fn line(&self, at: i64, label: Option<usize>, fault: Option<Fault>) -> Line<'_> {
        Line { at, user: &self.user, bytes: self.text.as_bytes(), label, fault }
    }

    /// `at` = the instant of sending, which the id carries.
    pub(super) fn write(&mut self, event: &Event, at: i64) {
        self.next_id(at);
        let traits = mix(event.member);
        self.user.clear();
        match &event.name {
            Some(name) => self.user.push_str(name),
            None => put(&mut self.user, format_args!("u-{}", event.member)),
        }
        let text = &mut self.text;
        text.clear();
        let Event { ts, kind, points, .. } = event;
        put(text, format_args!("{{\"id\":\"{}\",\"ts\":{ts},\"user\":\"{}\"", self.id, self.user));
        put(text, format_args!(",\"kind\":\"{kind}\",\"points\":{points}"));
        if !event.source.is_empty() {
            put(text, format_args!(",\"source\":\"{}\"", event.source));
        }
        match &event.home {
            Home::Own => own_home(text, traits),
            Home::At { device, ip } => {
                put(text, format_args!(",\"device\":\"{device}\",\"ip\":\"{ip}\""));
            }
        }
        if let Some(Original { id, ts, .. }) = &event.reverses {
            let original = format_args!("{{\"id\":\"{id}\",\"ts\":{ts},\"kind\":\"issue\"}}");
            put(text, format_args!(",\"reverses\":{original}"));
        }
        let tier = TIERS[usize::from(traits.to_le_bytes()[7] % 8)];
        put(text, format_args!(",\"attrs\":{{\"tier\":\"{tier}\"}}}}"));
    }

    /// Like a ULID: 48 bits of time, then 40 of the seed and 40 of a running number.
    fn next_id(&mut self, at: i64) {
        self.written += 1;
        self.id.clear();
        let mut digits = |value: u64, digits: u32| {
            for at in (0..digits).rev() {
                let digit = (value >> (5 * at)).to_le_bytes()[0] & 31;
                self.id.push(char::from(CROCKFORD[usize::from(digit)]));
            }
        };
        digits(at.cast_unsigned(), 10);
        digits(self.seed, 8);
        digits(self.written, 8);
    }
}

/// Ten digits of device, so that of ten million members next to none share a device by chance.
fn own_home(text: &mut String, traits: u64) {
    let device = traits >> 24;
    let [a, b, c, ..] = traits.to_le_bytes();
    put(text, format_args!(",\"device\":\"d-{device:010x}\",\"ip\":\"10.{a}.{b}.{c}\""));
}

pub(super) fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // A string takes every byte.
    text.write_fmt(arguments).unwrap_or_default();
}
