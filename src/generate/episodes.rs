//! Episodes laid into the stream: abuse, and legitimate behaviour that looks like it.
//!
//! Sized for the thresholds of the shipped rules. Most lie within one day of their time zone, so
//! that no midnight takes an episode apart; those that need a baseline are left out of streams
//! too short or too thin for one.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::generate::line::{Event, Home, mix};

/// One episode: what it is, who acts where, from when to when, and what ought to find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    pub label: String,
    /// Whether rules should find it; otherwise it is legitimate and must not be frozen.
    pub abuse: bool,
    pub users: Vec<String>,
    /// Devices, addresses and sources that are the episode's own.
    pub devices: Vec<String>,
    pub ips: Vec<String>,
    pub sources: Vec<String>,
    /// It shows in the figures of the whole system.
    pub global: bool,
    /// The episode itself; what went before it on the same accounts lies earlier.
    pub from: i64,
    pub to: i64,
    /// Lines of the stream that belong to it, those before `from` included.
    pub events: u64,
    /// Rules of which at least one ought to find it.
    pub expect: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Planted {
    pub(super) label: usize,
    pub(super) event: Event,
}

/// All episodes of a stream, in order of time.
#[derive(Debug)]
pub(super) struct Episodes {
    pub(super) labels: Vec<Label>,
    events: Vec<Planted>,
    next: usize,
}

/// Where the actors sit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seat {
    /// Each at their own device and address.
    Own,
    /// All at one device and one address.
    OneDevice,
    /// Each at their own device, all at one address.
    OneAddress,
    /// Each at a second device, never seen before.
    NewDevice,
}

#[derive(Clone, Copy)]
struct Shape {
    label: &'static str,
    abuse: bool,
    users: u32,
    /// Events of each user.
    each: u32,
    /// Where it starts and how long it is, thousandths of the day or stream it lies in.
    at: u32,
    length: u32,
    /// And no longer than this.
    minutes: i64,
    kind: &'static str,
    source: &'static str,
    points: i64,
    seat: Seat,
    /// Earlier sign-ins of each user, on their own device.
    history: u32,
    expect: &'static [&'static str],
}

const NOTHING: Shape = Shape {
    label: "",
    abuse: true,
    users: 1,
    each: 1,
    at: 0,
    length: 1,
    minutes: 1440,
    kind: "issue",
    source: "",
    points: 10,
    seat: Seat::Own,
    history: 0,
    expect: &[],
};

/// What moves most points comes last, so that the spikes of a minute do not fall into a cooldown.
#[rustfmt::skip]
const SHAPES: [Shape; 19] = [
    Shape { label: "velocity_bot", each: 40, at: 100, length: 50, minutes: 5, source: "share", points: 5, expect: &["event-burst"], ..NOTHING },
    Shape { label: "signin_farm", users: 45, each: 3, at: 150, length: 100, minutes: 30, source: "signin", seat: Seat::OneDevice, expect: &["device-ring", "address-ring"], ..NOTHING },
    Shape { label: "device_ring", users: 12, each: 10, at: 300, length: 150, minutes: 30, source: "share", points: 50, seat: Seat::OneDevice, expect: &["device-ring"], ..NOTHING },
    Shape { label: "blacklisted", each: 4, at: 350, length: 50, source: "signin", expect: &["blacklisted-member"], ..NOTHING },
    Shape { label: "quiz_cheat", each: 30, at: 450, length: 50, minutes: 8, source: "quiz", points: 100, expect: &["points-burst"], ..NOTHING },
    Shape { label: "slow_drip", users: 2, each: 60, length: 1000, source: "quiz", points: 100, expect: &["user-daily-cap"], ..NOTHING },
    Shape { label: "takeover", users: 3, each: 8, at: 700, length: 20, minutes: 5, kind: "redeem", points: 2000, seat: Seat::NewDevice, history: 6, expect: &["new-device-redemption"], ..NOTHING },
    // Signs in before it redeems: the device is no longer new by then.
    Shape { label: "patient_takeover", users: 2, each: 8, at: 725, length: 20, minutes: 5, kind: "redeem", points: 800, seat: Seat::NewDevice, history: 6, expect: &["redemption-burst"], ..NOTHING },
    Shape { label: "high_value", at: 740, kind: "redeem", points: 15_000, history: 5, expect: &["high-value-redemption"], ..NOTHING },
    Shape { label: "expiry_anomaly", users: 2, each: 6, at: 750, length: 10, kind: "expire", points: 10_000, history: 5, expect: &["expiry-anomaly"], ..NOTHING },
    Shape { label: "proven_cheat", each: 25, at: 780, length: 20, minutes: 30, source: "quiz", points: 1000, expect: &["proven-cheating"], ..NOTHING },
    Shape { label: "lottery_bug", users: 30, each: 40, at: 850, length: 20, minutes: 10, source: "lottery", points: 10_000, expect: &["campaign-daily-cap"], ..NOTHING },
    Shape { label: "family", abuse: false, users: 3, each: 8, at: 50, length: 900, source: "share", points: 20, seat: Seat::OneDevice, ..NOTHING },
    Shape { label: "power_user", abuse: false, each: 26, length: 1000, source: "share", points: 73, ..NOTHING },
    Shape { label: "office", abuse: false, users: 30, each: 2, at: 200, length: 60, minutes: 30, source: "signin", seat: Seat::OneAddress, ..NOTHING },
    Shape { label: "campaign_spike", abuse: false, users: 200, at: 300, length: 50, minutes: 30, source: "promotion", points: 20, ..NOTHING },
    Shape { label: "new_phone", abuse: false, at: 400, kind: "redeem", points: 300, seat: Seat::NewDevice, history: 5, ..NOTHING },
    Shape { label: "big_spender", abuse: false, each: 3, at: 900, length: 90, source: "purchase", points: 9000, history: 3, ..NOTHING },
    Shape { label: "once_banned", abuse: false, each: 3, at: 420, length: 80, source: "signin", ..NOTHING },
];

/// A fault in the price list, and a run on the shop: a minute far above the hour before.
#[rustfmt::skip]
const MINUTES: [Shape; 2] = [
    Shape { label: "tariff_minute", users: 200, at: 600, source: "purchase", points: 10_000, expect: &["issuance-minute"], ..NOTHING },
    Shape { label: "redemption_run", users: 200, at: 650, kind: "redeem", points: 5000, expect: &["redemption-minute"], ..NOTHING },
];
/// Rules that look at the whole system.
const GLOBAL: [&str; 3] = ["issuance-minute", "redemption-minute", "issuance-day"];
const MINUTE_SPIKE_MS: i64 = 40_000;

/// A fault in the price list for a whole day; the points follow from the size of the stream.
const TARIFF_DAY: Shape = Shape {
    label: "tariff_day",
    users: 300,
    each: 2,
    length: 1000,
    source: "purchase",
    expect: &["issuance-day"],
    ..NOTHING
};
/// A member who earned 100 points a day earns 1,500 in one.
const HABIT: Shape = Shape {
    label: "broken_habit",
    each: 10,
    length: 1000,
    source: "share",
    points: 150,
    expect: &["own-habit"],
    ..NOTHING
};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
/// Midnight of the shipped rules' zone, Asia/Shanghai, which has had no DST since 1991.
const ZONE_MS: i64 = 28_800_000;
/// Baselines of days need 7 closed days before the spike's, and the other episodes, which are
/// spikes themselves, come after it.
const DAYS_FOR_BASELINE: i64 = 9;
/// Half an hour of baseline, 10 minutes to close it, and a cooldown between what fires.
const MINUTES_FOR_BASELINE: i64 = 90;
/// Below this many events a minute the smaller episodes are spikes too.
const DENSITY_FOR_BASELINE: u64 = 60;
/// Members remember their devices for 30 days; a history lies well within that.
const HISTORY_MS: i64 = 20 * DAY_MS;
/// 2025-06-01T00:00:00+08:00, when the shipped blacklist lets `u-once-banned` go.
const BAN_ENDED: i64 = 1_748_707_200_000;

/// Half-open `[from, to)` in event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: i64,
    to: i64,
}

impl Span {
    fn length(self) -> i64 {
        self.to - self.from
    }

    fn of(self, shape: &Shape) -> Span {
        let part = |thousandths: u32| {
            self.length() / 1000 * i64::from(thousandths)
                + self.length() % 1000 * i64::from(thousandths) / 1000
        };
        let from = self.from + part(shape.at);
        let length = part(shape.length).clamp(1, shape.minutes * MINUTE_MS);
        Span { from, to: from + length }
    }
}

impl Episodes {
    /// Lays the episodes into a stream of `length_ms` with `count` ordinary events.
    pub(super) fn plan(start: i64, length_ms: u64, count: u64, seed: u64) -> Episodes {
        let stream = Span { from: start, to: start.saturating_add_unsigned(length_ms) };
        let (day, before) = days(stream);
        let mut plan = Planner {
            stream,
            rng: ChaCha8Rng::seed_from_u64(mix(seed ^ 0xe915)),
            labels: Vec::new(),
            events: Vec::new(),
        };
        for shape in &SHAPES {
            let mut shape = *shape;
            if shape.label == "power_user" && day.length() >= 40 * MINUTE_MS {
                // Just below the cap of a day; in a shorter stream, of ten minutes.
                shape.points = 150;
            }
            if shape.label != "once_banned" || start >= BAN_ENDED {
                plan.lay(&shape, day.of(&shape));
            }
        }
        let a_minute = count.saturating_mul(60_000) / length_ms.max(1);
        let long = day.length() >= MINUTES_FOR_BASELINE * MINUTE_MS;
        if long && (a_minute >= DENSITY_FOR_BASELINE || before.is_some()) {
            for shape in &MINUTES {
                let from = day.of(shape).from;
                plan.lay(shape, Span { from, to: from + MINUTE_SPIKE_MS });
            }
        }
        if let Some(before) = before {
            plan.days(before, a_minute);
        }
        plan.events.sort_by_key(|planted| planted.event.ts);
        Episodes { labels: plan.labels, events: plan.events, next: 0 }
    }

    /// The next event of an episode, if it is due at `ts` or before.
    pub(super) fn next_until(&mut self, ts: i64) -> Option<&Planted> {
        let planted = self.events.get(self.next).filter(|planted| planted.event.ts <= ts)?;
        self.next += 1;
        Some(planted)
    }
}

/// The day, or part of one, in which the episodes lie, and for a stream long enough the day for
/// spikes of a day.
fn days(stream: Span) -> (Span, Option<Span>) {
    let midnight = |ts: i64| (ts + ZONE_MS).div_euclid(DAY_MS) * DAY_MS - ZONE_MS;
    let first = midnight(stream.from + DAY_MS - 1);
    let last = midnight(stream.to);
    if last - first >= DAYS_FOR_BASELINE * DAY_MS {
        let day = Span { from: last - DAY_MS, to: last };
        return (day, Some(Span { from: day.from - DAY_MS, to: day.from }));
    }
    let mut longest = Span { from: stream.from, to: stream.to.min(first.max(stream.from)) };
    let mut from = first;
    while from < stream.to {
        let day = Span { from, to: stream.to.min(from + DAY_MS) };
        if day.length() > longest.length() {
            longest = day;
        }
        from += DAY_MS;
    }
    (longest, None)
}

struct Planner {
    stream: Span,
    rng: ChaCha8Rng,
    labels: Vec<Label>,
    events: Vec<Planted>,
}

impl Planner {
    fn lay(&mut self, shape: &Shape, span: Span) {
        let label = self.labels.len();
        let before = self.events.len();
        let users: Vec<String> = (0..shape.users).map(|user| name(shape, user)).collect();
        let (mut devices, mut ips) = (Vec::new(), Vec::new());
        for (user, who) in (0u32..).zip(&users) {
            let actor = Actor { label, user, name: who };
            self.history(&actor, shape, span.from);
            let home = home(shape, user);
            if let Home::At { device, ip } = &home {
                note(&mut ips, ip, shape.seat != Seat::NewDevice);
                note(&mut devices, device, shape.seat != Seat::OneAddress);
            }
            let signs_in = shape.label == "patient_takeover";
            for n in 0..shape.each {
                let mut event = actor.event(self.moment(span, n, shape.each), shape, home.clone());
                if signs_in && n == 0 {
                    (event.kind, event.source, event.points) = ("issue", "signin", 10);
                }
                self.events.push(Planted { label, event });
            }
        }
        self.labels.push(Label {
            label: shape.label.into(),
            abuse: shape.abuse,
            users,
            devices,
            ips,
            sources: own_sources(shape),
            global: shape.expect.iter().any(|rule| GLOBAL.contains(rule)),
            from: span.from,
            to: span.to,
            events: (self.events.len() - before) as u64,
            expect: shape.expect.iter().map(|rule| (*rule).to_owned()).collect(),
        });
    }

    /// What the accounts did before: sign-ins on their own device.
    fn history(&mut self, actor: &Actor<'_>, shape: &Shape, until: i64) {
        let span = Span { from: self.stream.from.max(until - HISTORY_MS), to: until };
        let signin = Shape { kind: "issue", source: "signin", points: 10, ..*shape };
        for n in 0..shape.history {
            let event = actor.event(self.moment(span, n, shape.history), &signin, Home::Own);
            self.events.push(Planted { label: actor.label, event });
        }
    }

    /// Episodes that show against the days before; `day` is the day to stand out.
    fn days(&mut self, day: Span, a_minute: u64) {
        // An ordinary event issues 20 points; three days' worth, above a first day cut short.
        let extra = i64::try_from(a_minute.max(1) * 1440 * 20 * 3).unwrap_or(i64::MAX);
        let points = (extra / i64::from(TARIFF_DAY.users * TARIFF_DAY.each)).clamp(100, 1_000_000);
        let shape = Shape { points, ..TARIFF_DAY };
        self.lay(&shape, day);
        self.lay(&HABIT, day);
        let label = self.labels.len() - 1;
        let actor = Actor { label, user: 0, name: &name(&HABIT, 0) };
        let usual = Shape { points: 50, ..HABIT };
        let mut from = day.from - DAY_MS;
        while from >= self.stream.from {
            for n in 0..2 {
                let ts = self.moment(Span { from, to: from + DAY_MS }, n, 2);
                self.events.push(Planted { label, event: actor.event(ts, &usual, Home::Own) });
                self.labels[label].events += 1;
            }
            from -= DAY_MS;
        }
    }

    /// The `n`-th of `of` moments spread over the span, each anywhere in its part.
    fn moment(&mut self, span: Span, n: u32, of: u32) -> i64 {
        let thousandths = i64::from(n) * 1000 + self.rng.random_range(0..1000);
        let within = span.length() * thousandths / (i64::from(of.max(1)) * 1000);
        (span.from + within).clamp(span.from, (span.to - 1).max(span.from))
    }
}

/// One user with a part in an episode.
struct Actor<'a> {
    label: usize,
    user: u32,
    name: &'a str,
}

impl Actor<'_> {
    fn event(&self, ts: i64, shape: &Shape, home: Home) -> Event {
        Event {
            ts,
            // From the end, so that nobody in the crowd has the same device.
            member: u64::MAX - ((self.label as u64) << 32) - u64::from(self.user),
            name: Some(self.name.to_owned()),
            kind: shape.kind,
            source: shape.source,
            points: shape.points,
            home,
            reverses: None,
        }
    }
}

/// The shipped blacklist names its members; all others are called by their part.
fn name(shape: &Shape, user: u32) -> String {
    match shape.label {
        "blacklisted" => "u-blacklisted".into(),
        "once_banned" => "u-once-banned".into(),
        label => format!("{}-{user}", label.replace('_', "-")),
    }
}

fn home(shape: &Shape, user: u32) -> Home {
    let place =
        |label: &str| mix(label.bytes().fold(0_u64, |hash, byte| mix(hash ^ u64::from(byte))));
    let hash = place(shape.label);
    let device = |n: u64| format!("d-{:010x}", mix(hash ^ n) >> 24);
    // The documentation's networks of RFC 5737.
    let ip = |n: u64| format!("203.0.113.{}", mix(hash ^ n) % 254 + 1);
    match shape.seat {
        Seat::Own => Home::Own,
        Seat::OneDevice => Home::At { device: device(0), ip: ip(0) },
        Seat::OneAddress => Home::At { device: device(u64::from(user) + 1), ip: ip(0) },
        Seat::NewDevice => {
            Home::At { device: device(u64::from(user) + 1), ip: ip(u64::from(user) + 1) }
        }
    }
}

/// A source is an episode's own when the whole source has gone wrong, or when it is legitimate
/// and must go on.
fn own_sources(shape: &Shape) -> Vec<String> {
    match shape.label {
        "lottery_bug" | "campaign_spike" => vec![shape.source.into()],
        _ => Vec::new(),
    }
}

fn note(known: &mut Vec<String>, value: &str, own: bool) {
    if own && !known.iter().any(|other| other == value) {
        known.push(value.to_owned());
    }
}
