//! The crowd: ordinary members at ordinary tasks, from a device and address of their own.
//!
//! Paced members stay below the caps of the shipped rules by a leaky bucket each, so that whom
//! a rule freezes in the crowd is a false alarm.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::generate::Options;
use crate::generate::line::{Event, Home, Original};

/// How the events fall on the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Popularity {
    Uniform,
    /// The weight of rank r is 1 / (r + users/100): the busiest member acts 22 times as often as
    /// the average one, the top tenth makes half of the events.
    Zipf,
}

/// A bucket holds 1,000 points and drains by 2,500 a day: at most 3,500 in any calendar day.
const BUCKET_SECONDS: u64 = 34_560;
const SECONDS_A_HUNDRED_POINTS: u64 = 3456;
/// Each earning event weighs at least this many points: at most 25 at a stretch.
const WEIGHT_MIN: u64 = 40;
/// And each redemption this many: at most 3 at a stretch.
const REDEMPTION_WEIGHT: u64 = 300;
const REDRAWS: u32 = 4;

#[derive(Debug)]
pub(super) struct Members {
    rng: ChaCha8Rng,
    users: u64,
    popularity: Popularity,
    start: i64,
    /// Second of the stream at which each member's bucket is empty; none when unpaced.
    full_until: Vec<u32>,
    purchase: Option<Original>,
}

/// What a member does; the original's own points and member for a reversal.
struct Act {
    kind: &'static str,
    source: &'static str,
    points: i64,
    weight: u64,
}

impl Members {
    pub(super) fn new(options: &Options) -> Members {
        let users = options.users.max(1);
        let buckets = if options.paced { usize::try_from(users).unwrap_or(0) } else { 0 };
        Members {
            rng: ChaCha8Rng::seed_from_u64(options.seed),
            users,
            popularity: options.popularity,
            start: options.start,
            full_until: vec![0; buckets],
            purchase: None,
        }
    }

    /// The next event, at `ts`.
    pub(super) fn next(&mut self, ts: i64) -> Event {
        let act = self.act();
        if act.kind == "reverse"
            && let Some(original) = self.purchase.take()
        {
            let (member, points) = (original.member, original.points);
            return event(ts, member, &Act { points, ..act }, Some(original));
        }
        let second = u64::try_from(ts.saturating_sub(self.start)).unwrap_or(0) / 1000;
        for _ in 0..=REDRAWS {
            let member = self.draw();
            if self.has_room(member, second, act.weight) {
                return event(ts, member, &act, None);
            }
        }
        // Points for money spent have no cap. Few, so that a dense stream keeps within the
        // system's.
        let member = self.draw();
        event(ts, member, &purchase(self.rng.random_range(10..30)), None)
    }

    /// Hears of every line: a reversal needs the id of what it takes back.
    pub(super) fn wrote(&mut self, event: &Event, id: &str) {
        if event.kind == "issue" && event.source == "purchase" && self.purchase.is_none() {
            let Event { ts, member, points, .. } = *event;
            self.purchase = Some(Original { id: id.to_owned(), ts, member, points });
        }
    }

    fn act(&mut self) -> Act {
        let earns = |source, points| Act { kind: "issue", source, points, weight: 0 };
        let rng = &mut self.rng;
        let mut act = match rng.random_range(0..200_u32) {
            0..=79 => earns("signin", 10),
            80..=103 => earns("share", 20),
            104..=123 => earns("quiz", 30),
            124..=133 => earns("lottery", rng.random_range(1..=100)),
            134..=143 => earns("promotion", 20),
            144..=147 => earns("profile", 50),
            148..=149 => earns("register", 100),
            150..=179 => purchase(rng.random_range(10..200)),
            180..=191 => redeems(rng.random_range(50..300)),
            192..=197 => Act { kind: "expire", source: "", points: 10, weight: 0 },
            198 => Act { kind: "adjust", source: "", points: rng.random_range(-50..50), weight: 0 },
            // Of a purchase, and with its source, so that the same rules see it.
            _ => return Act { kind: "reverse", source: "purchase", points: 10, weight: 0 },
        };
        if act.kind == "issue" {
            act.weight = act.points.unsigned_abs().max(WEIGHT_MIN);
        }
        act
    }

    fn draw(&mut self) -> u64 {
        match self.popularity {
            Popularity::Uniform => self.rng.random_range(0..self.users),
            Popularity::Zipf => zipf(self.users, self.rng.random()),
        }
    }

    fn has_room(&mut self, member: u64, second: u64, weight: u64) -> bool {
        let bucket = usize::try_from(member).ok().and_then(|at| self.full_until.get_mut(at));
        let Some(bucket) = bucket else { return true };
        let full = u64::from(*bucket).max(second) + weight * SECONDS_A_HUNDRED_POINTS / 100;
        if full > second + BUCKET_SECONDS {
            return false;
        }
        *bucket = u32::try_from(full).unwrap_or(u32::MAX);
        true
    }
}

/// The inverse of the sum of the weights, taken as an integral; `share` lies in [0, 1).
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank is below 2^52, not negative, and cut on purpose"
)]
fn zipf(users: u64, share: f64) -> u64 {
    let all = users as f64;
    let shift = (all / 100.0).max(1.0);
    let rank = shift * (((all + shift) / shift).powf(share) - 1.0);
    (rank as u64).min(users - 1)
}

fn purchase(points: i64) -> Act {
    Act { kind: "issue", source: "purchase", points, weight: 0 }
}

fn redeems(points: i64) -> Act {
    Act { kind: "redeem", source: "", points, weight: REDEMPTION_WEIGHT }
}

fn event(ts: i64, member: u64, act: &Act, reverses: Option<Original>) -> Event {
    // A reversal without an original of its own would be one of nothing.
    let (kind, source, points) = match (act.kind, &reverses) {
        ("reverse", None) => ("expire", "", 10),
        (kind, _) => (kind, act.source, act.points),
    };
    Event { ts, member, name: None, kind, source, points, home: Home::Own, reverses }
}
